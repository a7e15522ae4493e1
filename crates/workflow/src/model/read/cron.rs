//! The five fields of a schedule. Owns whether they are valid; when they fire is decided elsewhere.

struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
    /// The value of the first name.
    first: u32,
}

const MONTHS: &[&str] = &[
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FIELDS: [Field; 5] = [
    Field {
        min: 0,
        max: 59,
        names: &[],
        first: 0,
    },
    Field {
        min: 0,
        max: 23,
        names: &[],
        first: 0,
    },
    Field {
        min: 1,
        max: 31,
        names: &[],
        first: 0,
    },
    Field {
        min: 1,
        max: 12,
        names: MONTHS,
        first: 1,
    },
    Field {
        min: 0,
        max: 6,
        names: DAYS,
        first: 0,
    },
];

/// GitHub's message for a schedule that is not valid.
pub(super) const INVALID_CRON: &str =
    "Invalid cron expression. Expected format: '* * * * *' (minute hour day month weekday)";

/// Tells whether a text is a schedule that GitHub accepts.
pub(super) fn is_valid_cron(text: &str) -> bool {
    let parts: Vec<&str> = text.split_whitespace().collect();
    parts.len() == FIELDS.len() && parts.iter().zip(&FIELDS).all(|(part, field)| field.accepts(part))
}

impl Field {
    fn accepts(&self, part: &str) -> bool {
        part.split(',').all(|item| self.accepts_item(item))
    }

    fn accepts_item(&self, item: &str) -> bool {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        // A step is a count, not a value of the field, but GitHub holds it to the field's bounds.
        let step_fits =
            step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0 && step <= self.max));
        step_fits && (range == "*" || self.accepts_range(range))
    }

    fn accepts_range(&self, range: &str) -> bool {
        match range.split_once('-') {
            Some((start, end)) => {
                matches!((self.value(start), self.value(end)), (Some(start), Some(end)) if start <= end)
            }
            None => self.value(range).is_some(),
        }
    }

    fn value(&self, text: &str) -> Option<u32> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u32::try_from(at).ok().map(|at| at + self.first);
        }
        // Anything that is no number is no value; the caller says that the schedule is invalid.
        let number = text.parse::<u32>().ok()?;
        (self.min..=self.max).contains(&number).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid_cron;

    #[test]
    fn schedules_are_five_fields_within_their_bounds() {
        for text in [
            "0 0 * * *",
            "*/5 1-5 1,15 JAN-MAR mon",
            "0 12 31 12 6",
            "5/15 * * * *",
        ] {
            assert!(is_valid_cron(text), "{text}");
        }
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-1 * * * *",
        ] {
            assert!(!is_valid_cron(text), "{text}");
        }
        for text in [
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "@daily",
            "* * * * * *",
        ] {
            assert!(!is_valid_cron(text), "{text}");
        }
    }
}

//! Reads instants as agent programs write them. Owns RFC 3339 in the shapes they use; knows no time zone database.

use gantry_core::time::Timestamp;

/// Reads `2026-11-23T16:52:34.477Z`, with any number of digits of a second and an offset for the `Z`.
///
/// Shape: `None` for what is no such instant. Units: milliseconds; finer digits are dropped.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let sign = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(sign(4, b"-") && sign(7, b"-") && sign(10, b"Tt ") && sign(13, b":") && sign(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fits =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !fits {
        return None;
    }
    let mut at = 19;
    let mut millis = 0;
    if sign(at, b".") {
        at += 1;
        let digits = bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        for place in 0..3 {
            millis = millis * 10
                + if place < digits {
                    i64::from(bytes[at + place] - b'0')
                } else {
                    0
                };
        }
        at += digits;
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        mark @ (b'+' | b'-') if bytes.len() == at + 6 && sign(at + 3, b":") => {
            let minutes = number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?;
            if *mark == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        - offset_minutes * 60;
    Some(Timestamp::from_millis(seconds * 1000 + millis))
}

/// Returns an instant from seconds since the epoch, `None` if they do not fit.
pub(crate) fn from_seconds(seconds: u64) -> Option<Timestamp> {
    let millis = i64::try_from(seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis))
}

/// Counts days in the proleptic Gregorian calendar. The year is taken to begin in March, so that a leap day is its last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_to_the_millisecond() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-23T16:52:34.477Z", Some(1_795_452_754_477)),
            ("2026-11-23T17:52:34.4779+01:00", Some(1_795_452_754_477)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199_000)),
            ("2000-03-01T00:00:00.5Z", Some(951_868_800_500)),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-23T16:52:34", None),
            ("2026-11-23", None),
            ("", None),
            ("äää-11-23T16:52:34.477Z", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_rfc3339(text).map(Timestamp::as_millis), millis, "{text}");
        }
    }
}

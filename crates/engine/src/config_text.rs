//! What all configuration files have in common: places of errors, nearest words, durations and sizes as people write
//! them. Reads no file.

use std::time::Duration;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// ` line 3, column 1`, or empty if the whole file is meant.
    pub place: String,
    /// The problem and the mend.
    pub problem: String,
}

/// Puts an error of the TOML reader into words: its place, and for an unknown key the nearest of `keys`.
#[must_use]
pub fn explain(text: &str, error: &toml::de::Error, keys: &[&str]) -> Wrong {
    let place = error.span().map_or(String::new(), |span| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!(" line {line}, column {column}")
    });
    let message = error.message();
    let unknown = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split('`').next());
    let problem = match unknown.and_then(|key| nearest(key, keys).map(|near| (key, near))) {
        Some((key, near)) => format!("unknown key {key:?}; did you mean {near:?}?"),
        None => message.to_owned(),
    };
    Wrong { place, problem }
}

/// Returns the word that is most like `key`, if any is like it at all.
#[must_use]
pub fn nearest<'a>(key: &str, words: &[&'a str]) -> Option<&'a str> {
    words
        .iter()
        .map(|word| (strsim::jaro_winkler(key, word), *word))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// Reads a duration such as `90s`, `10m`, `1h30m` or `250ms`; `None` for anything else.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let tail = rest.get(digits..)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let unit = match tail.get(..unit_end)? {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "d" => Duration::from_secs(86_400),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(u32::try_from(number).ok()?)?)?;
        rest = tail.get(unit_end..)?;
    }
    Some(total)
}

/// Reads a number of bytes such as `512MiB`, `2GB`, `64k` or `1048576`; `None` for anything else.
///
/// Units: `k M G T` with or without `iB` are powers of 1,024; with `B` alone (`kB MB GB TB`) powers of 1,000.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (text.get(..digits)?, text.get(digits..)?.trim());
    let factor: u64 = match unit {
        "" | "B" => 1,
        "k" | "K" | "KiB" | "kiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(factor),
        Some((whole, part)) => {
            let parts = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
            let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
            let part = part.parse::<u64>().ok()?.checked_mul(factor)? / parts;
            whole.checked_add(part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_numbers_with_units() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "10", "m", "-1m", "1x", "99999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        assert_eq!(parse_bytes("512MiB"), Some(512 << 20));
        assert_eq!(parse_bytes("1.5G"), Some(3 << 29));
        assert_eq!(parse_bytes("2GB"), Some(2_000_000_000));
        assert_eq!(parse_bytes("4096"), Some(4096));
        for bad in ["", "x", "1.2.3G", "-1G", "1XB", "99999999999999T", "1.G"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}

//! YAML scalars as GitHub reads them: the 1.2 core schema, so that `on` and `yes` are words. Owns the resolution of
//! plain text and the text of numbers; must never look at the schema of a file.

use serde_json::Value;

/// What a YAML scalar means.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Nothing was written, or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number; GitHub holds all of them as 64-bit floats.
    Number(f64),
    /// Anything else, and everything in quotes.
    Text(String),
}

/// Why a tagged scalar cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagFault {
    /// The tag is not one of the core schema.
    Unknown,
    /// The text does not fit the tag.
    Misfit,
}

impl Scalar {
    /// Resolves plain, untagged text.
    pub(crate) fn from_plain(text: &str) -> Scalar {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
            "true" | "True" | "TRUE" => Scalar::Boolean(true),
            "false" | "False" | "FALSE" => Scalar::Boolean(false),
            _ => match parse_integer(text).or_else(|| parse_float(text)) {
                Some(number) => Scalar::Number(number),
                None => Scalar::Text(text.to_string()),
            },
        }
    }

    /// Resolves text under a tag of the core schema, named without its `tag:yaml.org,2002:`.
    pub(crate) fn from_tagged(text: &str, tag: &str) -> Result<Scalar, TagFault> {
        let plain = Scalar::from_plain(text);
        match (tag, plain) {
            ("str", _) => Ok(Scalar::Text(text.to_string())),
            ("null", Scalar::Null) => Ok(Scalar::Null),
            ("bool", Scalar::Boolean(value)) => Ok(Scalar::Boolean(value)),
            ("int", Scalar::Number(value)) if parse_integer(text).is_some() => Ok(Scalar::Number(value)),
            ("float", Scalar::Number(value)) => Ok(Scalar::Number(value)),
            ("null" | "bool" | "int" | "float", _) => Err(TagFault::Misfit),
            _ => Err(TagFault::Unknown),
        }
    }

    /// Returns the text that GitHub makes of the value where a string is wanted.
    pub fn to_text(&self) -> String {
        match self {
            Scalar::Null => String::new(),
            Scalar::Boolean(value) => value.to_string(),
            Scalar::Number(value) => number_text(*value),
            Scalar::Text(text) => text.clone(),
        }
    }

    /// Returns the value as JSON; what JSON cannot hold (infinities) becomes its text.
    pub fn to_json(&self) -> Value {
        match self {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Number(value) => number_json(*value),
            Scalar::Text(text) => Value::String(text.clone()),
        }
    }
}

/// The largest whole number that a 64-bit float holds exactly.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

fn number_json(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= EXACT_INTEGER_MAX {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole and within the range both types hold exactly"
        )]
        let whole = value as i64;
        return Value::from(whole);
    }
    serde_json::Number::from_f64(value).map_or_else(|| Value::String(number_text(value)), Value::Number)
}

/// Returns the text GitHub makes of a number: at most 15 significant digits, an exponent for the very large and small.
///
/// Source: the .NET format `G15`, which the runner uses.
pub fn number_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    if value == 0.0 {
        return "0".into();
    }
    let scientific = format!("{value:.14e}");
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("the e format always writes an exponent");
    let exponent: i32 = exponent.parse().expect("the e format writes a whole exponent");
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    if (-5..15).contains(&exponent) {
        format!("{sign}{}", place_point(digits, exponent))
    } else {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let mark = if exponent < 0 { '-' } else { '+' };
        format!("{sign}{first}{point}{rest}E{mark}{:02}", exponent.abs())
    }
}

/// Writes `digits` (first one not zero) times ten to the `exponent` without an exponent.
fn place_point(digits: &str, exponent: i32) -> String {
    let Ok(before) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("0.{zeros}{digits}");
    };
    if before == 0 {
        return format!("0.{digits}");
    }
    if digits.len() <= before {
        return format!("{digits}{}", "0".repeat(before - digits.len()));
    }
    format!("{}.{}", &digits[..before], &digits[before..])
}

fn parse_integer(text: &str) -> Option<f64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return parse_radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return parse_radix(digits, 8);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits alone are a number to the standard parser, so `None` cannot come from here.
    text.parse().ok()
}

fn parse_radix(digits: &str, radix: u32) -> Option<f64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0.0, |sum: f64, digit| {
        Some(sum * f64::from(radix) + f64::from(digit.to_digit(radix)?))
    })
}

fn parse_float(text: &str) -> Option<f64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if rest.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let starts_well = rest.starts_with(|c: char| c.is_ascii_digit())
        || (rest.starts_with('.') && rest[1..].starts_with(|c: char| c.is_ascii_digit()));
    let all_known = rest
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    if !starts_well || !all_known {
        return None;
    }
    // Text that the standard parser refuses (two points, an empty exponent) is a word to YAML.
    rest.parse::<f64>().ok().map(|value| sign * value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_read_as_the_core_schema_says() {
        let numbers = [
            ("1", 1.0),
            ("-1", -1.0),
            ("+1", 1.0),
            ("0755", 755.0),
            ("0o10", 8.0),
            ("0xff", 255.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("1.", 1.0),
            ("1.2e2", 120.0),
            ("+1.2E-2", 0.012),
            (".inf", f64::INFINITY),
            ("-.INF", f64::NEG_INFINITY),
            ("3.10", 3.1),
        ];
        for (text, value) in numbers {
            assert_eq!(Scalar::from_plain(text), Scalar::Number(value), "{text}");
        }
        for text in [
            "on", "yes", "off", "y", "12_345", "NaN", "Infinity", "1.2.3", "e5", ".", "-", "+", "0x", "1e",
        ] {
            assert_eq!(Scalar::from_plain(text), Scalar::Text(text.into()), "{text}");
        }
        for text in ["", "~", "null", "NULL"] {
            assert_eq!(Scalar::from_plain(text), Scalar::Null, "{text}");
        }
        for (text, value) in [("true", true), ("True", true), ("FALSE", false)] {
            assert_eq!(Scalar::from_plain(text), Scalar::Boolean(value), "{text}");
        }
    }

    #[test]
    fn numbers_become_the_text_that_the_runner_writes() {
        let cases = [
            (0.845_512_408_225_570_1, "0.84551240822557"),
            (123456.0, "123456"),
            (0.123456, "0.123456"),
            (123456.123456, "123456.123456"),
            (1587106672383762434.0, "1.58710667238376E+18"),
            (3.1, "3.1"),
            (-0.0, "0"),
            (-2.5, "-2.5"),
            (0.00001, "0.00001"),
            (0.000001, "1E-06"),
            (1e15, "1E+15"),
            (100000000000000.0, "100000000000000"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(number_text(value), text);
        }
    }

    #[test]
    fn a_tag_that_does_not_fit_is_a_fault() {
        assert_eq!(
            Scalar::from_tagged("true", "str"),
            Ok(Scalar::Text("true".into()))
        );
        assert_eq!(Scalar::from_tagged("test", "float"), Err(TagFault::Misfit));
        assert_eq!(Scalar::from_tagged("1.5", "int"), Err(TagFault::Misfit));
        assert_eq!(
            Scalar::from_tagged("2022-10-26", "timestamp"),
            Err(TagFault::Unknown)
        );
    }
}

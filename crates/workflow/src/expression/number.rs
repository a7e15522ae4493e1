//! Numbers from text and back. Owns the rules of both, which are the runner's: .NET's, with JavaScript's prefixes.

use super::limits::NUMBER_DIGITS;

/// Reads a number as GitHub coerces text, NaN where it is none.
///
/// Source: `ExpressionUtility.ParseNumber` of actions/runner.
pub(super) fn parse_number(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    if is_decimal(text) {
        // The grammar just checked is a part of the one that the standard library reads.
        return text.parse().unwrap_or(f64::NAN);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return parse_bits(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return parse_bits(digits, 8);
    }
    let (negative, word) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    match (word.eq_ignore_ascii_case("infinity"), negative) {
        (true, false) => f64::INFINITY,
        (true, true) => f64::NEG_INFINITY,
        (false, _) => f64::NAN,
    }
}

/// True for an optional sign, digits with at most one point among them, and an optional exponent.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_is_right = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent_is_right
}

/// Reads the digits after `0x` or `0o` into a signed number of 32 bits: `0xffffffff` is -1, and more is no number.
fn parse_bits(digits: &str, radix: u32) -> f64 {
    let digits_only = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    let bits = digits_only.then(|| u32::from_str_radix(digits, radix));
    match bits {
        Some(Ok(bits)) => f64::from(bits.cast_signed()),
        Some(Err(_)) | None => f64::NAN,
    }
}

/// Writes a number as GitHub shows it: 15 digits, `1E+15` from there on and `1E-05` below a ten-thousandth.
pub(super) fn format_number(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:.*e}", NUMBER_DIGITS - 1, number.abs());
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("the scientific form has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a small whole number");
    let digits = mantissa.replace('.', "");
    let digits = digits.trim_end_matches('0');
    let sign = if number < 0.0 { "-" } else { "" };
    let fixed_below = i32::try_from(NUMBER_DIGITS).expect("the number of digits is small");
    let shown = if exponent >= fixed_below || exponent < -4 {
        scientific_text(digits, exponent)
    } else {
        fixed_text(digits, exponent)
    };
    format!("{sign}{shown}")
}

fn scientific_text(digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}E{sign}{:02}", exponent.unsigned_abs())
}

fn fixed_text(digits: &str, exponent: i32) -> String {
    let Ok(whole) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("0.{zeros}{digits}");
    };
    if whole == 0 {
        return format!("0.{digits}");
    }
    if digits.len() <= whole {
        return format!("{digits}{}", "0".repeat(whole - digits.len()));
    }
    let (before, after) = digits.split_at(whole);
    format!("{before}.{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_the_runner_shows_them() {
        let check = |number: f64, expected: &str| assert_eq!(format_number(number), expected);
        check(0.1 + 0.2, "0.3");
        check(-0.0, "0");
        check(1.0, "1");
        check(10.0, "10");
        check(-1234.5, "-1234.5");
        check(1_604_889_000_000.0, "1604889000000");
        check(999_999_999_999_999.0, "999999999999999");
        check(1e15, "1E+15");
        check(1.5e300, "1.5E+300");
        check(0.01, "0.01");
        check(0.000_1, "0.0001");
        check(0.000_012, "1.2E-05");
        check(123_456_789_012_345.67, "123456789012346");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Infinity");
    }

    #[test]
    fn text_becomes_a_number_as_in_the_runner() {
        let check = |text: &str, expected: f64| {
            let number = parse_number(text);
            assert!(
                number == expected || (number.is_nan() && expected.is_nan()),
                "{text:?} gave {number}, not {expected}"
            );
        };
        check("", 0.0);
        check(" \t\n", 0.0);
        check("5.", 5.0);
        check(".5", 0.5);
        check(".", f64::NAN);
        check("1e", f64::NAN);
        check("1e400", f64::INFINITY);
        check("1_000", f64::NAN);
        check("0x", f64::NAN);
        check("0xFFFFFFFF", -1.0);
        check("0x100000000", f64::NAN);
        check("0x+1", f64::NAN);
        check("0o17", 15.0);
        check("0o8", f64::NAN);
        check("-0x1", f64::NAN);
        check("inf", f64::NAN);
        check("nan", f64::NAN);
        check("-Infinity", f64::NEG_INFINITY);
    }
}

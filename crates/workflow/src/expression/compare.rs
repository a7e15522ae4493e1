//! How values compare. Owns case folding, equality and order; the same whether an operator or a function asks.

use std::cmp::Ordering;

use super::value::Value;

/// Folds a character as .NET's ordinal comparison does: to its upper case if that is one character.
///
/// Dotless i and long s stay what they are, and letters with a iota below take their single capital.
fn fold_char(c: char) -> char {
    match c {
        'ı' | 'ſ' => c,
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
            char::from_u32(u32::from(c) + 8).unwrap_or(c)
        }
        'ᾳ' => 'ᾼ',
        'ῃ' => 'ῌ',
        'ῳ' => 'ῼ',
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                _ => c,
            }
        }
    }
}

/// Folds text so that two texts that differ in case alone become one.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().map(fold_char).collect()
}

/// Tells whether two texts differ in case at most.
pub(super) fn equal_ignoring_case(left: &str, right: &str) -> bool {
    if left.is_ascii() && right.is_ascii() {
        return left.eq_ignore_ascii_case(right);
    }
    left.chars().map(fold_char).eq(right.chars().map(fold_char))
}

/// Orders two texts without regard to case, by UTF-16 code unit.
fn order_ignoring_case(left: &str, right: &str) -> Ordering {
    fold(left).encode_utf16().cmp(fold(right).encode_utf16())
}

/// Orders two values as `<` and `>` see them; `None` if neither holds nor `==`.
///
/// Source: `EvaluationResult.AbstractEqual` and its kin in actions/runner.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::String(left), Value::String(right)) => Some(order_ignoring_case(left, right)),
        (Value::Array(left), Value::Array(right)) => left.is_same(right).then_some(Ordering::Equal),
        (Value::Object(left), Value::Object(right)) => left.is_same(right).then_some(Ordering::Equal),
        _ => left.to_number().partial_cmp(&right.to_number()),
    }
}

/// Tells whether two values are equal as `==` sees them.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    if let (Value::String(left), Value::String(right)) = (left, right) {
        return equal_ignoring_case(left, right);
    }
    order(left, right) == Some(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_have_no_single_capital_stay() {
        assert!(equal_ignoring_case("ΣΊΣΥΦΟΣ", "σίσυφος"));
        assert!(!equal_ignoring_case("ß", "SS"));
        assert!(!equal_ignoring_case("ı", "I"));
        assert!(!equal_ignoring_case("ſ", "s"));
        assert!(equal_ignoring_case("ᾳ", "ᾼ"));
    }

    #[test]
    fn order_is_that_of_utf_16() {
        assert_eq!(order_ignoring_case("\u{ffff}", "\u{10000}"), Ordering::Greater);
        assert_eq!(order_ignoring_case("_", "a"), Ordering::Greater, "a counts as A");
    }
}

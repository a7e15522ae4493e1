//! Reads members of JSON that somebody else wrote: what is not there or of another type is `None`, never an error.

use serde_json::Value;

/// Returns what a JSON pointer leads to, unless it is null.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    value.pointer(pointer).filter(|found| !found.is_null())
}

/// Returns a text member.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// Returns a text member as a string of its own.
pub(crate) fn owned(value: &Value, name: &str) -> Option<String> {
    text(value, name).map(str::to_owned)
}

/// Returns a member that counts something.
pub(crate) fn count(value: &Value, name: &str) -> Option<u64> {
    value.get(name).filter(|found| found.is_number()).map(whole)
}

/// Returns a whole number; a fraction is rounded, less than zero is zero.
pub(crate) fn whole(value: &Value) -> u64 {
    match value.as_u64() {
        Some(number) => number,
        None => value.as_f64().map_or(0, |number| rounded(number, 1.0)),
    }
}

/// Returns a price in dollars as millionths, `None` if it is no price.
pub(crate) fn micro_usd(value: &Value) -> Option<u64> {
    let dollars = value.as_f64()?;
    (dollars >= 0.0).then(|| rounded(dollars, 1e6))
}

/// Returns a share of 1 in thousandths, `None` if it is no share.
pub(crate) fn thousandths(value: &Value, whole: f64) -> Option<u32> {
    let share = value.as_f64()?;
    (share >= 0.0).then(|| u32::try_from(rounded(share, 1000.0 / whole)).unwrap_or(u32::MAX))
}

/// Returns `number * factor`, rounded and held within what fits.
fn rounded(number: f64, factor: f64) -> u64 {
    let scaled = (number * factor).round();
    // Text is the one conversion that neither truncates nor wraps in silence; NaN and what does not fit fail to parse.
    let text = format!("{scaled:.0}");
    let huge = scaled > 0.0;
    text.parse().unwrap_or(if huge { u64::MAX } else { 0 })
}

/// Returns the items of an array, none if it is no array.
pub(crate) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_of_any_kind_are_read_and_nothing_else_is() {
        let value = json!({"a": 3, "b": 2.6, "c": -4, "d": "5", "e": 1e300, "f": null});
        let read = ["a", "b", "c", "d", "e", "f", "g"].map(|name| count(&value, name));
        assert_eq!(
            read,
            [Some(3), Some(3), Some(0), None, Some(u64::MAX), None, None]
        );
    }

    #[test]
    fn money_and_shares_are_rounded_to_their_unit() {
        assert_eq!(micro_usd(&json!(0.00456)), Some(4560));
        assert_eq!(micro_usd(&json!(-1)), None);
        assert_eq!(micro_usd(&json!("1")), None);
        assert_eq!(thousandths(&json!(0.79), 1.0), Some(790));
        assert_eq!(thousandths(&json!(41.5), 100.0), Some(415));
    }
}

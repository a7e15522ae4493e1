//! JSON in and out. Owns what `fromJSON` reads, what `toJSON` writes, and the bridge to serde.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::limits::JSON_DEPTH_MAX;
use super::loose_json;
use super::memory::{Counter, MemoryExceeded};
use super::number::format_number;
use super::value::{Array, Object, Value};

/// Reads JSON text.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Err("the text is empty".to_owned());
    }
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => loose_json::parse(text).ok_or_else(|| error.to_string())?,
    };
    if depth(&value) > JSON_DEPTH_MAX {
        return Err(format!("it is nested deeper than {JSON_DEPTH_MAX} levels"));
    }
    Ok(value)
}

/// Counts the levels of arrays and objects. The reader has already bounded them.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(array) => 1 + array.items().iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.entries().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// Writes a value as `toJSON` does, however long it gets.
pub(super) fn write(value: &Value) -> String {
    write_within(value, Counter::new(usize::MAX))
        .unwrap_or_else(|MemoryExceeded| unreachable!("no text takes more memory than there are addresses"))
}

/// Writes a value as `toJSON` does, counting each piece as the runner does.
pub(super) fn write_within(value: &Value, counter: Counter) -> Result<String, MemoryExceeded> {
    let mut writer = Writer {
        out: String::new(),
        counted: 0,
        counter,
    };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    /// The bytes of the text that the counter has seen.
    counted: usize,
    counter: Counter,
}

impl Writer {
    fn value(&mut self, value: &Value, level: usize) -> Result<(), MemoryExceeded> {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.out.push_str(&format_number(*number)),
            Value::String(text) => write_text(&mut self.out, text),
            Value::Array(array) if array.items().is_empty() => self.out.push_str("[]"),
            Value::Array(array) => {
                self.out.push('[');
                self.end_piece()?;
                for (place, item) in array.items().iter().enumerate() {
                    self.start_line(place > 0, level + 1);
                    self.value(item, level + 1)?;
                }
                self.start_line(false, level);
                self.out.push(']');
            }
            Value::Object(object) if object.entries().len() == 0 => self.out.push_str("{}"),
            Value::Object(object) => {
                self.out.push('{');
                self.end_piece()?;
                for (place, (name, value)) in object.entries().enumerate() {
                    self.start_line(place > 0, level + 1);
                    write_text(&mut self.out, name);
                    self.end_piece()?;
                    self.out.push_str(": ");
                    self.value(value, level + 1)?;
                }
                self.start_line(false, level);
                self.out.push('}');
            }
        }
        self.end_piece()
    }

    fn start_line(&mut self, after_another: bool, level: usize) {
        self.out.push_str(if after_another { ",\n" } else { "\n" });
        self.out.extend(std::iter::repeat_n("  ", level));
    }

    fn end_piece(&mut self) -> Result<(), MemoryExceeded> {
        self.counter.add_text(&self.out[self.counted..])?;
        self.counted = self.out.len();
        Ok(())
    }
}

/// Writes text in quotes. What is escaped is what the runner's writer (Newtonsoft.Json) escapes.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes all that is written to it");
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Value>()? {
            items.push(item);
        }
        Ok(Value::Array(items.into_iter().collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry::<String, Value>()? {
            entries.push(entry);
        }
        Ok(Value::Object(entries.into_iter().collect()))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => match as_whole(*number) {
                Some(whole) => serializer.serialize_i64(whole),
                None => serializer.serialize_f64(*number),
            },
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(array) => {
                let mut sequence = serializer.serialize_seq(Some(array.items().len()))?;
                for item in array.items() {
                    sequence.serialize_element(item)?;
                }
                sequence.end()
            }
            Self::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.entries().len()))?;
                for (name, value) in object.entries() {
                    map.serialize_entry(&**name, value)?;
                }
                map.end()
            }
        }
    }
}

/// Returns the number as a whole one if it is one that a double holds exactly.
fn as_whole(number: f64) -> Option<i64> {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
    (number.fract() == 0.0 && number.abs() < EXACT_BELOW).then_some(number as i64)
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(flag),
            // A number that no double holds is not a number to an expression either.
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => {
                Self::Array(items.into_iter().map(Self::from).collect::<Array>())
            }
            serde_json::Value::Object(map) => {
                let entries = map.into_iter().map(|(name, value)| (name, Self::from(value)));
                Self::Object(entries.collect::<Object>())
            }
        }
    }
}

impl From<&Value> for serde_json::Value {
    /// Converts a value; numbers that JSON has not (NaN, infinity) become null.
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => match as_whole(*number) {
                Some(whole) => whole.into(),
                None => (*number).into(),
            },
            Value::String(text) => Self::String(text.to_string()),
            Value::Array(array) => Self::Array(array.items().iter().map(Self::from).collect()),
            Value::Object(object) => {
                let entries = object
                    .entries()
                    .map(|(name, value)| (name.to_string(), Self::from(value)));
                Self::Object(entries.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_control_characters_are_escaped() {
        let value = parse(r#"{"z": [1, {"a": {}}], "a\u0001": "<\u2028/'\u007f\t"}"#).unwrap();
        let expected = "{\n  \"z\": [\n    1,\n    {\n      \"a\": {}\n    }\n  ],\n  \"a\\u0001\": \"<\\u2028/'\u{7f}\\t\"\n}";
        assert_eq!(write(&value), expected);
        let compact = serde_json::to_string(&value).unwrap();
        assert!(compact.starts_with(r#"{"z":[1,{"a":{}}],"#), "{compact}");
    }

    #[test]
    fn text_that_is_nested_too_deep_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(JSON_DEPTH_MAX)).is_ok());
        for levels in [JSON_DEPTH_MAX + 1, 200, 100_000] {
            assert!(parse(&nested(levels)).is_err(), "{levels}");
        }
    }

    #[test]
    fn numbers_without_a_json_form_become_null() {
        let value: serde_json::Value = (&Value::Number(f64::NAN)).into();
        assert_eq!(value, serde_json::Value::Null);
        let value: serde_json::Value = (&Value::Number(1.0)).into();
        assert_eq!(value.to_string(), "1");
    }
}

//! Values of expressions. Owns the six kinds, their order of keys and their coercions; must never evaluate.

use std::collections::HashMap;
use std::sync::Arc;

use super::compare::{equal_ignoring_case, fold};
use super::json;
use super::number::{format_number, parse_number};

/// A value of an expression. Cloning one is cheap and keeps its identity, by which arrays and objects compare.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    String(Arc<str>),
    /// Values in order.
    Array(Array),
    /// Values by name, in order.
    Object(Object),
}

impl Value {
    /// Makes a value of text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }

    /// Reads JSON text as `fromJSON` does, keeping the order of keys.
    ///
    /// Errors: the reader's words, for text that is not JSON or is nested deeper than
    /// [`JSON_DEPTH_MAX`](super::JSON_DEPTH_MAX).
    pub fn from_json_text(text: &str) -> Result<Self, String> {
        json::parse(text)
    }

    /// Tells whether a condition with this value holds: null, false, 0, NaN and empty text do not.
    pub fn truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(flag) => *flag,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::String(text) => !text.is_empty(),
            Self::Array(_) | Self::Object(_) => true,
        }
    }

    /// Writes the value as it stands inside other text: `null` as nothing, arrays and objects as their kind's name.
    pub fn to_text(&self) -> Arc<str> {
        match self {
            Self::Null => "".into(),
            Self::Bool(true) => "true".into(),
            Self::Bool(false) => "false".into(),
            Self::Number(number) => format_number(*number).into(),
            Self::String(text) => Arc::clone(text),
            Self::Array(_) => "Array".into(),
            Self::Object(_) => "Object".into(),
        }
    }

    /// Writes the value as `toJSON` does: two spaces per level, keys in order.
    pub fn to_json_text(&self) -> String {
        json::write(self)
    }

    /// Reads the value as a number, NaN where it is none.
    pub fn to_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Bool(flag) => f64::from(u8::from(*flag)),
            Self::Number(number) => *number,
            Self::String(text) => parse_number(text),
            Self::Array(_) | Self::Object(_) => f64::NAN,
        }
    }

    /// Tells whether the value is neither an array nor an object.
    pub fn is_primitive(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

/// Values in order.
#[derive(Debug, Clone, Default)]
pub struct Array {
    items: Arc<Vec<Value>>,
    /// Whether a wildcard made it, so that what follows applies to each of its items.
    filtered: bool,
}

impl Array {
    /// Makes the array that a wildcard leaves.
    pub(super) fn filtered(items: Vec<Value>) -> Self {
        Self {
            items: Arc::new(items),
            filtered: true,
        }
    }

    /// Tells whether a wildcard made it.
    pub(super) fn is_filtered(&self) -> bool {
        self.filtered
    }

    /// Returns the items in order.
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// Tells whether both are one array in memory.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.items, &other.items)
    }
}

impl FromIterator<Value> for Array {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self {
            items: Arc::new(items.into_iter().collect()),
            filtered: false,
        }
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

/// Values by name, in order. Names are found whatever their case.
#[derive(Debug, Clone, Default)]
pub struct Object(Arc<Entries>);

#[derive(Debug, Default)]
struct Entries {
    list: Vec<(Arc<str>, Value)>,
    /// The places of the folded names; only kept for objects with more than [`SCANNED_ENTRIES_MAX`] entries.
    places: HashMap<String, usize>,
}

/// The most entries that are looked through one by one, which is faster than folding and hashing a name.
const SCANNED_ENTRIES_MAX: usize = 16;

impl Entries {
    fn place(&self, name: &str) -> Option<usize> {
        if self.list.len() > SCANNED_ENTRIES_MAX {
            return self.places.get(&fold(name)).copied();
        }
        self.list
            .iter()
            .position(|(known, _)| equal_ignoring_case(known, name))
    }

    fn insert(&mut self, name: Arc<str>, value: Value) {
        if let Some(place) = self.place(&name) {
            self.list[place].1 = value;
            return;
        }
        self.list.push((name, value));
        match self.list.len() {
            0..=SCANNED_ENTRIES_MAX => {}
            length if length == SCANNED_ENTRIES_MAX + 1 => {
                let names = self.list.iter().map(|(name, _)| fold(name));
                self.places = names.zip(0..).collect();
            }
            length => {
                let name = fold(&self.list[length - 1].0);
                self.places.insert(name, length - 1);
            }
        }
    }
}

impl Object {
    /// Returns the value of `name`, whatever its case.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.place(name).map(|place| &self.0.list[place].1)
    }

    /// Returns the names and values in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Value)> {
        self.0.list.iter().map(|(name, value)| (name, value))
    }

    /// Tells whether both are one object in memory.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, Value)> for Object {
    /// Collects entries: of two with one name the first gives its place and its case, the last its value.
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(entries: I) -> Self {
        let mut collected = Entries::default();
        for (name, value) in entries {
            collected.insert(name.into(), value);
        }
        Self(Arc::new(collected))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.0.list == other.0.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_its_order_and_finds_names_in_any_case() {
        for count in [3, SCANNED_ENTRIES_MAX, SCANNED_ENTRIES_MAX + 1, 100] {
            let names: Vec<String> = (0..count).rev().map(|number| format!("Name{number}")).collect();
            let entries = names
                .iter()
                .map(|name| (name.as_str(), Value::from(name.as_str())));
            let again = [("NAME1", Value::Null)];
            let object: Object = entries.chain(again).collect();
            let kept: Vec<&str> = object.entries().map(|(name, _)| &**name).collect();
            assert_eq!(kept, names);
            assert_eq!(object.get("nAME2"), Some(&Value::from("Name2")));
            assert_eq!(object.get("name1"), Some(&Value::Null), "the last value wins");
            assert_eq!(object.get("name"), None);
        }
    }

    #[test]
    fn emptiness_nothing_and_not_a_number_are_false() {
        for value in [
            Value::Null,
            false.into(),
            0.0.into(),
            (-0.0).into(),
            f64::NAN.into(),
            "".into(),
        ] {
            assert!(!value.truthy(), "{value:?}");
        }
        let array = Value::Array(Array::default());
        let object = Value::Object(Object::default());
        for value in [true.into(), 0.5.into(), "0".into(), "false".into(), array, object] {
            assert!(value.truthy(), "{value:?}");
        }
    }
}

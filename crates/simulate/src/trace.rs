//! A recorded day: JSON lines, one offered change each.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::scenario::{Checks, Offered, Scenario, millis};

/// One line of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// When it was offered, in seconds from any fixed moment.
    pub at_s: f64,
    /// How long its check takes, in seconds.
    pub duration_s: f64,
    /// Its check passes on a good base.
    pub ok: bool,
    /// The changes it fails together with, as numbers of their lines, from 1. It is enough if one of the two names
    /// the other.
    pub conflicts_with: Vec<usize>,
    /// The paths it touches; empty if unknown.
    pub paths: Vec<String>,
    /// Who offered it.
    pub author: Option<String>,
}

/// A recorded day, in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// The offers by line number; blank lines hold none.
    offers: BTreeMap<usize, Offer>,
}

/// Why a trace cannot be read: the line, and the field where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// The line is no JSON object.
    #[error("line {line}: not a JSON object: {reason}")]
    NotAnObject {
        /// Counted from 1.
        line: usize,
        /// What the JSON reader says.
        reason: String,
    },
    /// A field that every line needs is not there.
    #[error("line {line}: `{field}` is missing")]
    Missing {
        /// Counted from 1.
        line: usize,
        /// Its name.
        field: &'static str,
    },
    /// A field holds something else.
    #[error("line {line}: `{field}` must be {expected}, not {found}")]
    Wrong {
        /// Counted from 1.
        line: usize,
        /// Its name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A field that no trace has.
    #[error(
        "line {line}: `{field}` is no field of a trace; there are at_s, duration_s, ok, conflicts_with, paths, author"
    )]
    Unknown {
        /// Counted from 1.
        line: usize,
        /// Its name.
        field: String,
    },
    /// `conflicts_with` names a line without an offer.
    #[error("line {line}: `conflicts_with` names line {other}, which holds no other offer")]
    NoSuchLine {
        /// Counted from 1.
        line: usize,
        /// What is named.
        other: usize,
    },
    /// There is no offer at all.
    #[error("the trace holds no offers")]
    Empty,
}

impl Trace {
    /// Reads a trace. Blank lines are skipped; the lines need not be sorted by time.
    ///
    /// # Errors
    ///
    /// The first line that cannot be read, with the field.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut offers = BTreeMap::new();
        for (index, content) in text.lines().enumerate() {
            if !content.trim().is_empty() {
                offers.insert(index + 1, parse_line(index + 1, content)?);
            }
        }
        if offers.is_empty() {
            return Err(TraceError::Empty);
        }
        for (line, offer) in &offers {
            let known = |other: &usize| other != line && offers.contains_key(other);
            if let Some(other) = offer.conflicts_with.iter().find(|o| !known(o)) {
                let (line, other) = (*line, *other);
                return Err(TraceError::NoSuchLine { line, other });
            }
        }
        Ok(Trace { offers })
    }

    /// Makes a trace of offers that are at hand; they are the lines 1, 2, 3 and so on.
    ///
    /// Shape: what `conflicts_with` names and is not there, is left out.
    #[must_use]
    pub fn of(offers: Vec<Offer>) -> Self {
        Trace {
            offers: (1..).zip(offers).collect(),
        }
    }

    /// How many changes are offered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offers.len()
    }

    /// True if nothing is offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// The day to run policies over, its offers sorted by time.
    pub(crate) fn scenario(&self, slots: usize) -> Scenario {
        let mut sorted: Vec<(&usize, &Offer)> = self.offers.iter().collect();
        sorted.sort_by(|(_, a), (_, b)| a.at_s.total_cmp(&b.at_s));
        let first = sorted.first().map_or(0.0, |(_, offer)| offer.at_s);
        let mut paths: BTreeMap<&str, u64> = BTreeMap::new();
        let mut authors: BTreeMap<&str, usize> = BTreeMap::new();
        let mut changes = Vec::new();
        for (_, offer) in &sorted {
            let mut footprint = Vec::new();
            for path in &offer.paths {
                let fresh = paths.len() as u64;
                footprint.push(*paths.entry(path).or_insert(fresh));
            }
            footprint.sort_unstable();
            let fresh = authors.len();
            let author = offer.author.as_deref();
            changes.push(Offered {
                at: millis((offer.at_s - first) / 60.0),
                bad: !offer.ok,
                pass_probability: None,
                check: millis(offer.duration_s / 60.0),
                author: author.map(|a| *authors.entry(a).or_insert(fresh)),
                footprint,
            });
        }
        Scenario {
            slots: slots.max(1),
            flake: 0.0,
            seed: 0,
            clashes: clashes(&sorted),
            changes,
            checks: Checks::Recorded,
            rates: None,
        }
    }
}

/// For each offer, the earlier ones that it or they name.
fn clashes(sorted: &[(&usize, &Offer)]) -> Vec<Vec<usize>> {
    let named = |a: usize, b: usize| sorted[a].1.conflicts_with.contains(sorted[b].0);
    (0..sorted.len())
        .map(|place| {
            (0..place)
                .filter(|e| named(place, *e) || named(*e, place))
                .collect()
        })
        .collect()
}

/// The fields of one line.
struct Fields {
    line: usize,
    map: Map<String, Value>,
}

fn parse_line(line: usize, content: &str) -> Result<Offer, TraceError> {
    let not_an_object = |reason: String| TraceError::NotAnObject { line, reason };
    let value: Value = serde_json::from_str(content).map_err(|e| not_an_object(e.to_string()))?;
    let Value::Object(map) = value else {
        return Err(not_an_object(format!("it is {}", kind(&value))));
    };
    let mut fields = Fields { line, map };
    let ok = fields.take("ok")?;
    let offer = Offer {
        at_s: fields.seconds("at_s")?,
        duration_s: fields.seconds("duration_s")?,
        ok: ok
            .as_bool()
            .ok_or_else(|| fields.wrong("ok", "true or false", &ok))?,
        conflicts_with: fields.list("conflicts_with", "a list of line numbers", line_number)?,
        paths: fields.list("paths", "a list of texts", |v| v.as_str().map(str::to_owned))?,
        author: fields.author()?,
    };
    match fields.map.keys().next() {
        Some(field) => Err(TraceError::Unknown {
            line,
            field: field.clone(),
        }),
        None => Ok(offer),
    }
}

fn line_number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}

impl Fields {
    fn take(&mut self, field: &'static str) -> Result<Value, TraceError> {
        let line = self.line;
        self.map.remove(field).ok_or(TraceError::Missing { line, field })
    }

    fn wrong(&self, field: &'static str, expected: &'static str, value: &Value) -> TraceError {
        TraceError::Wrong {
            line: self.line,
            field,
            expected,
            found: kind(value),
        }
    }

    fn seconds(&mut self, field: &'static str) -> Result<f64, TraceError> {
        let value = self.take(field)?;
        value
            .as_f64()
            .filter(|seconds| *seconds >= 0.0)
            .ok_or_else(|| self.wrong(field, "a number of seconds, not negative", &value))
    }

    fn list<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, TraceError> {
        let Some(value) = self.map.remove(field).filter(|v| !v.is_null()) else {
            return Ok(Vec::new());
        };
        let entries = value
            .as_array()
            .map(|entries| entries.iter().map(&read).collect::<Option<Vec<T>>>());
        entries
            .flatten()
            .ok_or_else(|| self.wrong(field, expected, &value))
    }

    fn author(&mut self) -> Result<Option<String>, TraceError> {
        match self.map.remove("author") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(author)) => Ok(Some(author)),
            Some(other) => Err(self.wrong("author", "a text", &other)),
        }
    }
}

/// What a value is, short enough for an error.
fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list of something else".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

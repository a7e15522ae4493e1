//! Values of a workflow's texts. Owns the turning of `${{ }}` into text, numbers and truth, with the place of what is
//! wrong; must never know where a context's values come from.

use gantry_workflow::expression::{
    Availability, Condition, FileHashRequest, Scope, ScopeError, Status, Template, Value,
};
use gantry_workflow::graph::NeedsStatus;
use gantry_workflow::model::{Diagnostic, OrExpression, Place, Spanned, Text, TextMap};

/// Evaluates the texts of one file.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    /// The file's path, for what is wrong.
    pub(super) file: &'a str,
    /// The values.
    pub(super) scope: &'a dyn Scope,
}

impl Evaluator<'_> {
    fn fault(&self, place: Place, message: impl ToString) -> Diagnostic {
        Diagnostic {
            file: self.file.to_owned(),
            place,
            message: message.to_string(),
        }
    }

    /// Returns the value of a text, which is of any kind if it is one expression.
    ///
    /// Errors: what is wrong with the expression, and its place.
    pub(super) fn value(&self, text: &Text, at: &Availability<'_>) -> Result<Value, Diagnostic> {
        self.value_at(&text.value, text.place, at)
    }

    /// As [`Self::value`].
    pub(super) fn value_at(
        &self,
        text: &str,
        place: Place,
        at: &Availability<'_>,
    ) -> Result<Value, Diagnostic> {
        if !text.contains("${{") {
            return Ok(Value::from(text));
        }
        let template = Template::parse(text, at).map_err(|error| self.fault(place, error))?;
        template
            .evaluate(self.scope)
            .map_err(|error| self.fault(place, error))
    }

    /// Returns the text a text becomes.
    ///
    /// Errors: as [`Self::value`].
    pub(super) fn text(&self, text: &Text, at: &Availability<'_>) -> Result<String, Diagnostic> {
        if !text.value.contains("${{") {
            return Ok(text.value.clone());
        }
        self.value(text, at).map(|value| value.to_text().to_string())
    }

    /// As [`Self::text`], `None` if nothing is written or it becomes nothing.
    pub(super) fn optional(
        &self,
        text: Option<&Text>,
        at: &Availability<'_>,
    ) -> Result<Option<String>, Diagnostic> {
        let text = text.map(|text| self.text(text, at)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Returns the pairs of a mapping.
    ///
    /// Errors: as [`Self::value`]; an expression for the whole that makes no mapping.
    pub(super) fn map(
        &self,
        map: &TextMap,
        at: &Availability<'_>,
    ) -> Result<Vec<(String, String)>, Diagnostic> {
        match map {
            TextMap::Pairs(pairs) => pairs
                .iter()
                .map(|(name, value)| Ok((name.value.clone(), self.text(value, at)?)))
                .collect(),
            TextMap::Expression(text) => match self.value(text, at)? {
                Value::Null => Ok(Vec::new()),
                Value::Object(object) => Ok(object
                    .entries()
                    .map(|(name, value)| (name.to_string(), value.to_text().to_string()))
                    .collect()),
                _ => Err(self.fault(text.place, "A mapping was expected")),
            },
        }
    }

    /// Returns a number.
    ///
    /// Errors: as [`Self::value`]; a value that is no number.
    pub(super) fn number(
        &self,
        number: &Spanned<OrExpression<f64>>,
        at: &Availability<'_>,
    ) -> Result<f64, Diagnostic> {
        match &number.value {
            OrExpression::Literal(number) => Ok(*number),
            OrExpression::Expression(text) => {
                let value = self.value_at(text, number.place, at)?.to_number();
                if value.is_nan() {
                    return Err(self.fault(number.place, "A number was expected"));
                }
                Ok(value)
            }
        }
    }

    /// Returns a truth value, false if nothing is written.
    ///
    /// Errors: as [`Self::value`]; a value that is neither true nor false.
    pub(super) fn boolean(
        &self,
        flag: Option<&Spanned<OrExpression<bool>>>,
        at: &Availability<'_>,
    ) -> Result<bool, Diagnostic> {
        let Some(flag) = flag else { return Ok(false) };
        match &flag.value {
            OrExpression::Literal(flag) => Ok(*flag),
            OrExpression::Expression(text) => match self.value_at(text, flag.place, at)? {
                Value::Bool(value) => Ok(value),
                Value::Null => Ok(false),
                Value::String(text) if text.is_empty() => Ok(false),
                Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
                Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
                _ => Err(self.fault(flag.place, "A boolean was expected")),
            },
        }
    }

    /// Tells whether a condition holds; without one, whether nothing has failed.
    ///
    /// Errors: as [`Self::value`].
    pub(super) fn holds(&self, condition: Option<&Text>, at: &Availability<'_>) -> Result<bool, Diagnostic> {
        let place = condition.map_or(Place::START, |text| text.place);
        let text = condition.map_or("", |text| text.value.as_str());
        let condition = Condition::parse(text, at).map_err(|error| self.fault(place, error))?;
        condition
            .holds(self.scope)
            .map_err(|error| self.fault(place, error))
    }
}

/// Contexts that do not change, and the standing of the jobs a job needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Contexts {
    values: Vec<(&'static str, Value)>,
    needs: Option<NeedsStatus>,
}

impl Contexts {
    /// Adds or replaces a context.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name, value)),
        }
    }

    /// Returns a context.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Returns the same contexts with the standing of a job's needs.
    pub(super) fn with_needs_status(&self, status: NeedsStatus) -> Self {
        Self {
            values: self.values.clone(),
            needs: Some(status),
        }
    }
}

impl Scope for Contexts {
    fn context(&self, name: &str) -> Option<Value> {
        self.get(name).cloned()
    }

    fn status(&self, status: Status, jobs: &[&str]) -> Result<bool, ScopeError> {
        let Some(needs) = self.needs else {
            return Err(ScopeError {
                message: "status functions are not available here".to_owned(),
            });
        };
        if jobs.is_empty() {
            return Ok(match status {
                Status::Success => needs.success,
                Status::Failure => needs.failure,
                Status::Cancelled => needs.cancelled,
            });
        }
        let Some(Value::Object(known)) = self.get("needs") else {
            return Err(ScopeError {
                message: format!("the job needs none of: {}", jobs.join(", ")),
            });
        };
        let results = jobs.iter().map(|job| {
            let Some(Value::Object(need)) = known.get(job) else {
                return Err(ScopeError {
                    message: format!("the job does not need '{job}'"),
                });
            };
            Ok(need.get("result").map(Value::to_text).unwrap_or_default())
        });
        let results = results.collect::<Result<Vec<_>, _>>()?;
        Ok(match status {
            Status::Success => results.iter().all(|result| &**result == "success"),
            Status::Failure => results.iter().any(|result| &**result == "failure"),
            Status::Cancelled => needs.cancelled,
        })
    }

    fn hash_files(&self, _: &FileHashRequest) -> Result<String, ScopeError> {
        Err(ScopeError {
            message: "hashFiles() needs a workspace, and there is none here".to_owned(),
        })
    }
}

/// Makes an object of pairs.
pub(super) fn object_of(pairs: &[(String, String)]) -> Value {
    Value::Object(
        pairs
            .iter()
            .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
            .collect(),
    )
}

/// Turns JSON into a value, keeping the order of keys.
pub(super) fn value_of_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(value_of_json).collect()),
        serde_json::Value::Object(object) => Value::Object(
            object
                .iter()
                .map(|(name, value)| (name.as_str(), value_of_json(value)))
                .collect(),
        ),
    }
}

/// Turns a value into JSON; what JSON cannot hold becomes null.
pub(super) fn json_of_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole and within the range both types hold exactly"
            )]
            let whole = *number as i64;
            #[expect(clippy::cast_precision_loss, reason = "compared with what it was made of")]
            if whole as f64 == *number {
                whole.into()
            } else {
                (*number).into()
            }
        }
        Value::String(text) => (**text).into(),
        Value::Array(array) => array.items().iter().map(json_of_value).collect(),
        Value::Object(object) => {
            let pairs = object
                .entries()
                .map(|(name, value)| (name.to_string(), json_of_value(value)));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

//! Text with `${{ }}` in it. Owns where an expression starts and ends, and how its value joins the text.

use super::availability::Availability;
use super::error::{EvaluationError, EvaluationErrorKind, TemplateError};
use super::limits::MEMORY_BYTES_MAX;
use super::memory::Counter;
use super::scope::Scope;
use super::tree::Expression;
use super::value::Value;

/// A text with any number of expressions in it.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    /// An expression, and the byte of the whole text at which it starts.
    Expression(usize, Expression),
}

/// What starts an expression in a text.
pub(super) const OPENING: &str = "${{";
/// What ends it.
const CLOSING: &str = "}}";

impl Template {
    /// Reads a text.
    ///
    /// Errors: an expression that is not closed, is empty or cannot be read, with its place in the text.
    pub fn parse(text: &str, available: &Availability<'_>) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut place = 0;
        while let Some(found) = text[place..].find(OPENING) {
            if found > 0 {
                parts.push(Part::Text(text[place..place + found].to_owned()));
            }
            let opening = place + found;
            let from = opening + OPENING.len();
            let length =
                expression_length(&text[from..]).ok_or(TemplateError::Unclosed { offset: opening })?;
            let inner = &text[from..from + length];
            let trimmed = inner.trim();
            if trimmed.is_empty() {
                return Err(TemplateError::Empty { offset: opening });
            }
            let offset = from + (inner.len() - inner.trim_start().len());
            let expression = Expression::parse(trimmed, available)
                .map_err(|error| TemplateError::Expression { offset, error })?;
            parts.push(Part::Expression(offset, expression));
            place = from + length + CLOSING.len();
        }
        if place < text.len() {
            parts.push(Part::Text(text[place..].to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// Evaluates it: the value itself if the text is one expression and nothing else, otherwise text.
    ///
    /// Errors: those of the first expression that has no value; a text longer than GitHub makes.
    pub fn evaluate(&self, scope: &(impl Scope + ?Sized)) -> Result<Value, EvaluationError> {
        if let [Part::Expression(_, expression)] = &self.parts[..] {
            return expression.evaluate(scope);
        }
        let mut counter = Counter::new(MEMORY_BYTES_MAX);
        let mut out = String::new();
        for part in &self.parts {
            let text = match part {
                Part::Text(text) => text.as_str().into(),
                Part::Expression(_, expression) => expression.evaluate(scope)?.to_text(),
            };
            counter.add_text(&text).map_err(|_| self.memory_error())?;
            out.push_str(&text);
        }
        Ok(Value::text(out))
    }

    fn memory_error(&self) -> EvaluationError {
        EvaluationError {
            kind: EvaluationErrorKind::Memory(self.text.clone()),
            expression: self.text.as_str().into(),
            offset: 0,
        }
    }

    /// Returns the text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns its expressions, each with the byte of the text at which it starts.
    pub fn expressions(&self) -> impl Iterator<Item = (usize, &Expression)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(offset, expression) => Some((*offset, expression)),
            Part::Text(_) => None,
        })
    }

    /// Tells whether it is one expression and nothing else, so that its value may be other than text.
    pub fn is_one_expression(&self) -> bool {
        matches!(&self.parts[..], [Part::Expression(..)])
    }
}

/// Returns how many bytes an expression has up to its closing braces; those inside quotes do not close it.
fn expression_length(text: &str) -> Option<usize> {
    let mut in_quotes = false;
    let bytes = text.as_bytes();
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            b'\'' => in_quotes = !in_quotes,
            b'}' if !in_quotes && place > 0 && bytes[place - 1] == b'}' => return Some(place - 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::fixed_scope::FixedScope;

    const AVAILABLE: Availability<'static> = Availability::of(&["env"]);

    fn value(text: &str) -> Value {
        let scope = FixedScope::of([("env", r#"{"A": 1, "list": [1, 2]}"#)]);
        Template::parse(text, &AVAILABLE)
            .unwrap()
            .evaluate(&scope)
            .unwrap()
    }

    #[test]
    fn one_expression_alone_keeps_its_kind_and_others_become_text() {
        assert_eq!(value("${{ env.a }}"), Value::Number(1.0));
        assert_eq!(value("${{env.list[1]}}"), Value::Number(2.0));
        assert_eq!(value(" ${{ env.a }}"), Value::from(" 1"));
        assert_eq!(
            value("${{ env.a }}-${{ env.list }}${{ env.b }}."),
            Value::from("1-Array.")
        );
        assert_eq!(
            value("no $ {{ expression }}"),
            Value::from("no $ {{ expression }}")
        );
        assert_eq!(value(""), Value::from(""));
        assert_eq!(value("${{ 'a }} b' }}}}"), Value::from("a }} b}}"));
    }

    #[test]
    fn what_is_wrong_in_a_text_has_its_place() {
        let check = |text: &str, offset: usize, message: &str| {
            let error = Template::parse(text, &AVAILABLE).unwrap_err();
            assert_eq!(error.offset(), offset, "{text}");
            assert!(error.to_string().contains(message), "{text}: {error}");
        };
        check("ab ${{ env.a }", 3, "The expression is not closed");
        check("${{ 1 }} ${{ 'a }}", 9, "The expression is not closed");
        check("é${{  }}", 2, "An expression was expected");
        check(
            "é${{  1 + 2 }}",
            9,
            "Unexpected symbol: '+'. Located at position 3 within expression: 1 + 2",
        );
    }
}

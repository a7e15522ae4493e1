//! The text of an `if:`. Owns when `${{ }}` may be left out and when `success()` is meant without being said.

use super::availability::{Availability, StatusArguments};
use super::error::{EvaluationError, TemplateError};
use super::scope::{Scope, Status};
use super::template::{OPENING, Template};
use super::tree::Expression;

/// A condition of a job or a step.
#[derive(Debug, Clone)]
pub struct Condition {
    body: Body,
    /// Whether nothing may have failed besides.
    wants_success: bool,
}

#[derive(Debug, Clone)]
enum Body {
    /// Nothing is written: `success()` alone decides.
    Empty,
    Expression(Expression),
    Template(Template),
}

impl Condition {
    /// Reads a condition, with or without `${{ }}` around it.
    ///
    /// Errors: as [`Template::parse`]; without `${{ }}` places count from the first character that is no space.
    pub fn parse(text: &str, available: &Availability<'_>) -> Result<Self, TemplateError> {
        let body = if text.trim().is_empty() {
            Body::Empty
        } else if text.contains(OPENING) {
            Body::Template(Template::parse(text, available)?)
        } else {
            let offset = text.len() - text.trim_start().len();
            let expression = Expression::parse(text.trim(), available);
            Body::Expression(expression.map_err(|error| TemplateError::Expression { offset, error })?)
        };
        let says_status = match &body {
            Body::Empty => false,
            Body::Expression(expression) => expression.uses_status_function(),
            Body::Template(template) => template
                .expressions()
                .any(|(_, expression)| expression.uses_status_function()),
        };
        Ok(Self {
            body,
            wants_success: !says_status && available.status != StatusArguments::Unavailable,
        })
    }

    /// Tells whether it holds.
    ///
    /// Errors: as [`Expression::evaluate`].
    pub fn holds(&self, scope: &(impl Scope + ?Sized)) -> Result<bool, EvaluationError> {
        if self.wants_success {
            let succeeded = scope
                .status(Status::Success, &[])
                .map_err(|error| EvaluationError {
                    kind: error.into(),
                    expression: "success()".into(),
                    offset: 0,
                })?;
            if !succeeded {
                return Ok(false);
            }
        }
        Ok(match &self.body {
            Body::Empty => true,
            Body::Expression(expression) => expression.evaluate(scope)?.truthy(),
            Body::Template(template) => template.evaluate(scope)?.truthy(),
        })
    }

    /// Tells whether it is text with expressions inside, which is never empty and so always holds. It is what
    /// `${{ a }} == 'b'` and a block with a line break after `${{ a }}` are, and hardly ever what is meant.
    pub fn is_always_true_text(&self) -> bool {
        matches!(&self.body, Body::Template(template) if !template.is_one_expression())
    }

    /// Returns its expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let (one, many) = match &self.body {
            Body::Empty => (None, None),
            Body::Expression(expression) => (Some(expression), None),
            Body::Template(template) => (None, Some(template)),
        };
        let many = many.into_iter().flat_map(Template::expressions);
        one.into_iter().chain(many.map(|(_, expression)| expression))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::fixed_scope::FixedScope;
    use crate::expression::place::workflow;

    fn holds(text: &str, failed: bool) -> bool {
        let mut scope = FixedScope::of([("env", r#"{"on": "yes", "off": ""}"#)]);
        scope.failed = failed;
        let condition = Condition::parse(text, &workflow::STEP_IF).unwrap();
        condition.holds(&scope).unwrap()
    }

    #[test]
    fn success_is_meant_unless_a_status_is_asked_for() {
        // Text, then whether it holds after success, and after a failure.
        let table = [
            ("", true, false),
            ("env.on", true, false),
            (" env.off ", false, false),
            ("${{ env.on == 'YES' }}", true, false),
            ("${{ env.off }}", false, false),
            ("always()", true, true),
            ("${{ Always() }}", true, true),
            ("failure()", false, true),
            ("failure() && env.off", false, false),
            ("env.off || !contains('a', FAILURE())", true, true),
            ("'always()'", true, false),
            ("success() || env.on", true, true),
        ];
        for (text, after_success, after_failure) in table {
            assert_eq!(holds(text, false), after_success, "{text:?} after success");
            assert_eq!(holds(text, true), after_failure, "{text:?} after a failure");
        }
    }

    #[test]
    fn text_around_an_expression_always_holds_and_says_so() {
        for text in ["${{ env.off }} == 'x'", "${{ env.off }}\n", "!${{ env.on }}"] {
            assert!(holds(text, false), "{text:?}");
            let condition = Condition::parse(text, &workflow::STEP_IF).unwrap();
            assert!(condition.is_always_true_text(), "{text:?}");
        }
        let condition = Condition::parse("${{ env.off }}", &workflow::STEP_IF).unwrap();
        assert!(!condition.is_always_true_text());
        assert_eq!(condition.expressions().count(), 1);
    }

    #[test]
    fn secrets_are_not_available_to_a_condition() {
        let error = Condition::parse(" secrets.TOKEN != ''", &workflow::STEP_IF).unwrap_err();
        assert_eq!(error.offset(), 1);
        assert_eq!(
            error.to_string(),
            "Unrecognized named-value: 'secrets'. Located at position 1 within expression: secrets.TOKEN != ''"
        );
    }
}

//! Why an expression cannot be read or evaluated. Owns the wording, which is GitHub's, and the place.

use std::ops::Range;
use std::sync::Arc;

use super::limits::{EXPRESSION_DEPTH_MAX, EXPRESSION_UNITS_MAX};
use super::scope::ScopeError;

/// Why an expression cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", self.place())]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// The expression.
    pub expression: String,
    /// The bytes of the expression that are wrong; `None` if it is wrong as a whole.
    pub bytes: Option<Range<usize>>,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Its tree has too many levels.
    #[error("Exceeded max expression depth {EXPRESSION_DEPTH_MAX}")]
    ExceededMaxDepth,
    /// It is too long.
    #[error("Exceeded max expression length {EXPRESSION_UNITS_MAX}")]
    ExceededMaxLength,
    /// A function has too few arguments.
    #[error("Too few parameters supplied")]
    TooFewParameters,
    /// A function has too many arguments.
    #[error("Too many parameters supplied")]
    TooManyParameters,
    /// `case` has no default.
    #[error("Even number of parameters supplied, requires an odd number of parameters")]
    EvenParameters,
    /// Something has to follow.
    #[error("Unexpected end of expression")]
    UnexpectedEndOfExpression,
    /// Something stands where it may not.
    #[error("Unexpected symbol")]
    UnexpectedSymbol,
    /// The function is not there, or not available at this place.
    #[error("Unrecognized function")]
    UnrecognizedFunction,
    /// The context is not there, or not available at this place.
    #[error("Unrecognized named-value")]
    UnrecognizedNamedValue,
}

impl ParseError {
    pub(super) fn whole(kind: ParseErrorKind, expression: &str) -> Self {
        Self {
            kind,
            expression: expression.to_owned(),
            bytes: None,
        }
    }

    pub(super) fn at(kind: ParseErrorKind, expression: &str, bytes: Range<usize>) -> Self {
        Self {
            kind,
            expression: expression.to_owned(),
            bytes: Some(bytes),
        }
    }

    fn place(&self) -> String {
        let Some(bytes) = self.bytes.clone() else {
            return String::new();
        };
        let token = &self.expression[bytes.clone()];
        let position = position(&self.expression, bytes.start);
        let expression = &self.expression;
        format!(": '{token}'. Located at position {position} within expression: {expression}")
    }
}

/// Returns the place of a byte as GitHub counts it: from 1, in UTF-16 code units.
fn position(text: &str, offset: usize) -> usize {
    text[..offset].encode_utf16().count() + 1
}

/// Why a text with `${{ }}` in it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `${{` has no `}}`.
    #[error(
        "The expression is not closed. An unescaped ${{{{ sequence was found, but the closing }}}} sequence was not \
         found (byte {offset})."
    )]
    Unclosed {
        /// The byte of the text at which the `${{` starts.
        offset: usize,
    },
    /// A `${{ }}` has nothing in it.
    #[error("An expression was expected (byte {offset}).")]
    Empty {
        /// The byte of the text at which the `${{` starts.
        offset: usize,
    },
    /// An expression cannot be read.
    #[error("{error}")]
    Expression {
        /// The byte of the text at which the expression starts; [`ParseError::bytes`] count from there.
        offset: usize,
        /// Why.
        error: ParseError,
    },
}

impl TemplateError {
    /// Returns the byte of the text that is wrong.
    pub fn offset(&self) -> usize {
        match self {
            Self::Unclosed { offset } | Self::Empty { offset } => *offset,
            Self::Expression { offset, error } => {
                offset + error.bytes.as_ref().map_or(0, |bytes| bytes.start)
            }
        }
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}. Located at position {} within expression: {expression}", position(expression, *offset))]
pub struct EvaluationError {
    /// What went wrong.
    pub kind: EvaluationErrorKind,
    /// The expression.
    pub expression: Arc<str>,
    /// The byte of the expression at which the part that went wrong starts.
    pub offset: usize,
}

/// What went wrong in an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationErrorKind {
    /// A condition of `case` is neither true nor false.
    #[error("case predicate must evaluate to a boolean value")]
    CasePredicate,
    /// The first argument of `format` is no format.
    #[error("The following format string is invalid: {0}")]
    InvalidFormat(String),
    /// The first argument of `format` names an argument that is not there.
    #[error("The following format string references more arguments than were supplied: {0}")]
    FormatArgument(String),
    /// The first argument of `format` says how to show an argument, which no kind of value supports.
    #[error("The format specifiers '{specifiers}' are not valid for objects of type '{kind}'")]
    FormatSpecifiers {
        /// What follows the colon.
        specifiers: String,
        /// The kind of the argument.
        kind: &'static str,
    },
    /// The argument of `fromJSON` is not JSON.
    #[error("Error parsing fromJson: {0}")]
    Json(String),
    /// `hashFiles` was given an option that it does not have.
    #[error("Invalid glob option {0}, available option: '--follow-symbolic-links'")]
    GlobOption(String),
    /// The values would take more memory than allowed.
    #[error("The maximum allowed memory size was exceeded while evaluating the following expression: {0}")]
    Memory(String),
    /// The scope has no answer.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

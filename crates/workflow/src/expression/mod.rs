//! Expressions: `${{ }}` text and contexts in, values out, as GitHub documents them. Must never read a file, a
//! clock or an environment: what an expression asks of the world, it asks of a [`Scope`].
//!
//! The grammar, the limits, the order of evaluation and the wording of errors are those of the runner
//! (actions/runner, `src/Sdk/DTExpressions2`); GitHub's own known answers are run in `known_answers`.

mod availability;
mod compare;
mod condition;
mod error;
mod evaluate;
mod file_hash;
mod file_pattern;
mod format;
mod function;
mod json;
mod lexer;
mod limits;
mod loose_json;
mod memory;
mod number;
mod parser;
mod place;
mod scope;
mod template;
mod token;
mod tree;
mod value;

#[cfg(test)]
mod fixed_scope;
#[cfg(test)]
mod known_answers;
#[cfg(test)]
mod properties;

pub use availability::{Availability, StatusArguments};
pub use condition::Condition;
pub use error::{EvaluationError, EvaluationErrorKind, ParseError, ParseErrorKind, TemplateError};
pub use file_hash::{FileHashError, WorkspaceFiles, hash_files};
pub use file_pattern::{FilePatternError, FilePatterns};
pub use function::Function;
pub use limits::{EXPRESSION_DEPTH_MAX, EXPRESSION_UNITS_MAX, JSON_DEPTH_MAX, MEMORY_BYTES_MAX};
pub use place::actions;
pub use place::workflow;
pub use scope::{FileHashRequest, Scope, ScopeError, Status};
pub use template::Template;
pub use tree::Expression;
pub use value::{Array, Object, Value};

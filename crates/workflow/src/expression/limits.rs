//! The bounds of an expression, as GitHub sets them. Owns their values and nothing else.

/// The longest expression that is read.
///
/// Units: UTF-16 code units. Source: `ExpressionConstants.MaxLength` of actions/runner.
pub const EXPRESSION_UNITS_MAX: usize = 21_000;

/// The most levels a syntax tree has; `a && b && c` is one level above its operands.
///
/// Source: `ExpressionConstants.MaxDepth` of actions/runner.
pub const EXPRESSION_DEPTH_MAX: usize = 50;

/// The most memory the values of one evaluation may take, by GitHub's reckoning.
///
/// Units: bytes. Source: `PipelineTemplateEvaluator.MaxResultSize` of actions/runner; its tests use 1 MiB.
pub const MEMORY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The most levels of arrays and objects that `fromJSON` reads.
///
/// Source: the default of the JSON reader that actions/runner uses (Newtonsoft.Json 13).
pub const JSON_DEPTH_MAX: usize = 64;

/// The most arguments of `format`, `case` and `hashFiles`.
pub(super) const ARGUMENTS_MAX: usize = 255;

/// The digits a number is shown with.
///
/// Source: the format `G15` of actions/runner.
pub(super) const NUMBER_DIGITS: usize = 15;

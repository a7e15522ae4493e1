//! Workflow and action files: text in, jobs and steps with their places out, and what would not be honoured.

mod place;
mod scalar;
mod schema;
mod yaml;

pub use place::{Diagnostic, Place, Spanned, render_invalid_workflow};
pub use scalar::{Scalar, number_text};
pub use schema::{EVENTS, EventRule, Filters};
pub use yaml::{DEPTH_MAX, FILE_CHARS_MAX, NODES_MAX, Node, NodeKind};

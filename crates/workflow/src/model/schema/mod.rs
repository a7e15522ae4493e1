//! What GitHub allows in a workflow or action file: tables of keys, and the walk that holds a file against them.

mod action;
mod check;
mod event;
mod expression;
mod rule;
mod workflow;

pub(crate) use action::ACTION;
pub(crate) use check::check_node;
pub use event::{EVENTS, EventRule, Filters};
pub use expression::calls_status_function;
pub(crate) use workflow::WORKFLOW;

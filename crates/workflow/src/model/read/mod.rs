//! From checked YAML to types. Owns the faults that tables cannot express: ids, needs, references, inputs.

mod action;
mod cron;
mod fields;
mod identifier;
mod job;
mod needs;
mod step;
mod trigger;
mod workflow;

pub(super) use action::read_action;
pub(super) use workflow::read_workflow;

//! What happened, and which workflows that starts.

mod decide;
mod pattern;

pub use decide::{Event, GitRef, Refusal, TriggerDecision, triggers};
pub use pattern::{Pattern, PatternFault, last_match};

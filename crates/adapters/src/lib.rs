//! Outside things, one door each.

/// The clocks.
pub mod clock;
/// Boxes: one check, one fresh sandbox.
pub mod engine;
/// Git repositories: reading commits, replaying changes, moving refs.
pub mod git;
/// Processes that outlive the one that started them.
pub mod job;
/// Other programs: how they are started, bounded and ended.
pub mod process;

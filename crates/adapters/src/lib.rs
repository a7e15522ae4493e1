//! Outside things, one door each.

/// The clocks.
pub mod clock;
/// Boxes: one check, one fresh sandbox.
pub mod engine;
/// Git repositories: reading commits, replaying changes, moving refs.
pub mod git;
/// Other programs: how they are started, bounded and ended.
pub mod process;

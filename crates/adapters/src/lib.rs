//! Outside things, one door each.

/// Git repositories: reading commits, replaying changes, moving refs.
pub mod git;

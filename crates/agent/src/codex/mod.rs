//! Codex. Owns what is its own: its options and configuration, its stream and its rollouts.
//!
//! Source: codex 0.169, observed; the captures in this crate's tests.

mod launch;
mod rollout;
mod stream;

pub(crate) use launch::plan_launch;
pub(crate) use rollout::RolloutReader;
pub(crate) use stream::CodexStream;

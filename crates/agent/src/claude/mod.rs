//! Claude Code. Owns what is its own: its options and files, its stream and its session files.
//!
//! Source: claude 2.1.330, observed; the captures in this crate's tests.

mod failure;
mod launch;
mod session;
mod stream;

pub(crate) use launch::plan_launch;
pub(crate) use session::SessionReader;
pub(crate) use stream::ClaudeStream;

//! Runs workflow jobs in boxes. Declares its parts only; must never know an HTTP server or a terminal.

pub mod action;
pub mod artifact;
pub mod cache;
mod digest;
#[cfg(test)]
mod fake_box;
pub mod files;
pub mod mask;
pub mod mirror;
pub mod run;
pub mod snapshot;
pub mod version;

//! A build as a process of its own: it outlives the daemon, which finds it again. Owns the forms in which the two talk,
//! and what the process does; must never touch the database or the repository's refs.
//!
//! Source: docs/design/0004-jobs.md.

mod entry;
mod process;
mod wire;

pub(crate) use entry::{read_order, run_if_asked};
pub(crate) use process::CANCEL;
pub use process::{JOB_WORD, run_job_if_asked};
pub use wire::{JobEvent, JobOrder, JobReport, REPORT};

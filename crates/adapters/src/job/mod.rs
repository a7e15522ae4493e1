//! Processes that outlive the one that started them: a job has a folder, a lock, a socket and a lease. Owns how one is
//! started, found again, listened to and ended; must never know what a job does.
//!
//! ```text
//! start ─► claimed (lock held, socket open) ─► events … ─► ended (lock free, `report` written or not)
//!               ▲                    │
//!               └── renew ── lease ──┴── nobody renews: the job is told to end
//! ```
//!
//! The lock is the truth: while somebody holds it the job lives, and the kernel lets go of it when the job dies.

mod client;
mod folder;
mod server;
mod start;

pub use client::{JobClient, WatchEnd};
pub use folder::{JobFolder, JobLock};
pub use server::{JobServer, Reply};
pub use start::start_job;

//! The native engine: Linux namespaces, no daemon, no setuid program. Owns nothing itself: it declares the
//! parts. Nothing a box wrote is ever executed or followed on the host.
//!
//! ```text
//!   daemon ── spawns ──► supervise ── unshares, spawns ──► init ── mounts, spawns ──► exec ── becomes ──► check
//!   (run)                (host pids)                       (pid 1 of the box)        (user of the box)
//! ```
//!
//! All but the check are this same binary, entered through `enter_if_asked`. When any of them dies, the
//! kernel ends everything to its right.

mod attempt;
mod entry;
mod exec;
mod folder;
mod init;
mod loopback;
mod mounts;
mod native_engine;
mod order;
mod pending;
mod probe;
mod reap;
mod status;
mod supervise;
mod view;

pub use entry::enter_if_asked;
pub use native_engine::NativeEngine;

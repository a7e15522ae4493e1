//! The native engine: Linux namespaces, no daemon, no setuid program. Owns nothing itself: it declares the
//! parts. Nothing a box wrote is ever executed or followed on the host.
//!
//! ```text
//!   daemon's thread ── unshares, spawns ──► init ── for each command ──► exec ── enters, becomes ──► the command
//!   (a plain user: supervise)               (pid 1, outside the root)    (user of the box)
//! ```
//!
//! All but the command are this same binary, entered through `enter_if_asked`. When any of them dies, the
//! kernel ends everything to its right.

mod cgroup;
mod changes;
mod disk;
mod entry;
mod exec;
mod files;
mod folder;
mod follow;
mod image_users;
mod init;
mod loopback;
mod message;
mod mounts;
mod native_engine;
mod native_sandbox;
mod open;
mod outer;
mod probe;
mod proxy;
mod reap;
mod root;
mod seccomp;
mod services;
mod setup;
mod status;
mod supervise;
mod take;
mod view;
mod visit;
mod warm;

pub use entry::enter_if_asked;
pub use native_engine::NativeEngine;
pub use take::{TakeError, take_commit};

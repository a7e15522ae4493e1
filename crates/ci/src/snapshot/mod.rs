//! Directories that boxes are given read-only with a private layer on top, such as a package registry. Declares its
//! parts only.

mod store;
mod taken;

pub use store::{Snapshot, SnapshotError, SnapshotStore, Taken};

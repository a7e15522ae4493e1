//! Local copies of remote actions, so that a workflow runs without a network. Declares its parts only.

mod reference;
mod store;

pub use reference::{ActionRef, RefError};
pub use store::{Mirror, MirrorError, Mirrored};

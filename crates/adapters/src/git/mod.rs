//! The door to Git repositories, in process. Owns nothing itself: it declares the parts and re-exports them.
//! Never starts the git program, never runs hooks, never touches a work tree.

mod error;
mod files;
mod journal;
mod refs;
mod replay;
mod repository;
#[cfg(test)]
mod tests;

pub use error::GitError;
pub use files::FileAt;
pub use journal::Entry;
pub use refs::Swap;
pub use replay::{Member, Method, Replay, Step};
pub use repository::GitRepository;

//! The door to Git repositories, in process. Owns nothing itself: it declares the parts and re-exports them.
//! Never runs hooks; the git program is started by `program` alone.

mod delta;
mod error;
mod history;
mod merge;
mod program;
mod refs;
mod replay;
mod repository;
#[cfg(test)]
mod tests;
mod text;

pub use error::GitError;
pub use program::{GitProgram, ProgramError, TreeMerge};
pub use refs::Swap;
pub use replay::{Member, Method, Replay, Step};
pub use repository::GitRepository;

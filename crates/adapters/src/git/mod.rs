//! The door to Git repositories, in process. Owns nothing itself: it declares the parts and re-exports them.
//! Never runs hooks; the git program is started by `program` alone, and no work tree but a box's own is written.

mod checkout;
mod culprit;
mod delta;
#[cfg(test)]
mod differential_tests;
mod error;
mod files;
#[cfg(test)]
mod hardening_tests;
mod history;
#[cfg(test)]
mod invented;
mod journal;
mod layer;
mod merge;
mod objects;
mod own_locks;
mod pairs;
mod program;
mod radar;
mod refs;
mod replay;
mod repository;
mod revert;
mod serve;
mod snapshot;
mod split_index;
#[cfg(test)]
mod tests;
mod text;
mod worktree;

pub(crate) use checkout::CheckoutError;
pub use error::GitError;
pub use files::FileAt;
pub use journal::Entry;
pub(crate) use layer::Layer;
pub use own_locks::clear_own_locks;
pub use pairs::{Overlap, PairVerdict};
pub use program::{GitProgram, ProgramError, TreeMerge};
pub use radar::{OpenHead, Radar, Standing, Verdict};
pub use refs::Swap;
pub use replay::{Member, Method, Replay, Step};
pub use repository::GitRepository;
pub use revert::SilentRevert;
pub use snapshot::{WorkTreeSnapshot, snapshot_work_tree};
pub use worktree::{LeftAlone, WorkTreeNotice, WorkTreeOutcome, bring_along};

//! The door to Git repositories, in process. Owns nothing itself: it declares the parts and re-exports them.
//! Never starts the git program, never runs hooks, never touches a work tree but the
//! fresh ones `checkout` makes.

mod checkout;
mod error;
mod refs;
mod replay;
mod repository;
#[cfg(test)]
mod tests;

pub(crate) use checkout::CheckoutError;
pub use error::GitError;
pub use refs::Swap;
pub use replay::{Member, Method, Replay, Step};
pub use repository::GitRepository;

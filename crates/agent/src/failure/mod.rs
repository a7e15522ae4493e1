//! Why a run failed, in a closed list, and what is done about it. Owns the classes, what texts belong to which, and the
//! rule for trying again; tries nothing itself.

mod class;
mod retry;
mod text;

pub use class::{Failure, FailureClass};
pub use retry::{RetryRule, retry_rule};
pub(crate) use text::class_of_status;
pub use text::classify_text;

//! Boxes with a profile: which engine makes them, what they are given, and the receipt they leave. Owns the way from a
//! profile to a box that is ready, and from a box that ended to its receipt.

mod caches;
mod engines;
mod identity;
mod kept_log;
mod order;
mod plan;
mod process;
mod profiled;
mod receipt;

pub use caches::{Caches, Trust};
pub use engines::{Engines, Images, NoImages};
pub use identity::{Identity, name_of_boxes};
pub use kept_log::KeptLog;
pub use order::{BoxEvent, BoxOrder, BoxRequest, BoxState, frame};
pub use plan::{BoxPlan, Place, PlanError, Subject};
pub use process::{BOX_WORD, run_box_if_asked};
pub use profiled::{Command, ProfiledSandbox};
pub use receipt::{LogForm, RECEIPT, Receipt, receipt_name};

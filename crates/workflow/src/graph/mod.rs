//! Which jobs of a run start, wait, are skipped or cancelled. Pure: states and events in, states and actions out.

mod call;
mod concurrency;
mod machine;
mod plan;

pub use call::{CALL_DEPTH_MAX, CALLED_WORKFLOWS_MAX, CallFault, CallStack, check_call};
pub use concurrency::{Group, GroupAction, PENDING_MAX, Queue, enter_group, group_key, leave_group};
pub use machine::{
    Conclusion, Expansion, IllegalTransition, JobEvent, JobNode, JobState, LegState, NeedsStatus, RunState,
};
pub use plan::{JobAction, merge_outputs, plan_jobs};

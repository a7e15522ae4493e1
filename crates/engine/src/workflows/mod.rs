//! The repository's own workflows: found at a commit, looked at before anything runs, and run for an event in boxes of a
//! profile. Owns what a run is given; how a workflow runs is `gantry-ci`'s.

mod event;
mod files;
mod gate;
mod look;
mod run;

pub use event::{EventChoice, EventName};
pub use files::{FoundWorkflow, WORKFLOWS, find_workflows};
pub use gate::{GateWorkflows, WorkflowChecks, examine_gate};
pub use look::{Look, known, look_at};
pub use run::{WorkflowRun, check_runs, mirror_path, mirrored};

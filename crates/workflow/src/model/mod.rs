//! Workflow and action files: text in, jobs and steps with their places out, and what would not be honoured.

mod action;
mod job;
mod place;
mod read;
mod scalar;
mod schema;
mod step;
mod text;
mod uses;
mod workflow;
mod yaml;

pub use action::{
    ActionFile, ActionInput, ActionOutput, ActionRuns, DockerAction, DockerImage, JavascriptAction,
};
pub use job::{
    CallJob, Concurrency, Container, Defaults, Environment, Job, JobKind, PassedSecrets, Permissions, RunsOn,
    Services, StepsJob, Strategy,
};
pub use place::{Diagnostic, Place, Spanned, render_invalid_workflow};
pub use scalar::{Scalar, number_text};
pub use schema::{EVENTS, EventRule, Filters, calls_status_function};
pub use step::{RunStep, Step, StepKind, UsesStep};
pub use text::{OrExpression, Text, TextMap};
pub use uses::{RemoteRef, UsesRef, WorkflowRef};
pub use workflow::{
    CallInterface, Cron, EventFilter, InputDefinition, InputType, SecretDefinition, Trigger, TriggerKind,
    WorkflowFile,
};
pub use yaml::{DEPTH_MAX, FILE_CHARS_MAX, NODES_MAX, Node, NodeKind};

//! The runner of workflows: parsed files, an event and boxes in, a report out.

mod cancel;
mod command_files;
mod composite;
mod concurrency;
mod evaluate;
mod event;
mod frame;
mod github;
mod javascript;
mod job;
mod layout;
mod leg;
mod log;
mod mirrored;
mod native;
mod output;
mod post;
mod preflight;
mod report;
mod request;
mod run_leg;
mod schedule;
mod scope;
mod script;
mod service;
mod shell;
mod slots;
mod stage;
mod step;
mod steps;
mod uses;
mod workflow_run;
mod workflows;

pub use concurrency::ConcurrencyGroups;
pub use event::RunEvent;
pub use preflight::check_workflow;
pub use report::{JobReport, RunReport, StepReport, WorkflowOutcome, WorkflowReport};
pub use request::{
    ActionPart, Containers, EventInput, Images, Library, NoLibrary, RepositoryInput, RunIdentity, RunRequest,
    Stores,
};
pub use workflows::{RunError, run_workflows};

//! A workflow file as types: events, jobs, and what counts for all of them. Owns the types and their doors; reading is
//! in `read`, steps are in `step`, jobs in `job`.

use super::job::{Concurrency, Defaults, Job, Permissions};
use super::place::{Diagnostic, Place, Spanned};
use super::text::{OrExpression, Text, TextMap};

/// A valid workflow file.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowFile {
    /// The path it was read from, relative to the repository.
    pub path: String,
    /// `name`.
    pub name: Option<Text>,
    /// `run-name`.
    pub run_name: Option<Text>,
    /// `on`, in the order written.
    pub on: Vec<Trigger>,
    /// `env`.
    pub env: TextMap,
    /// `defaults.run`.
    pub defaults: Defaults,
    /// `permissions`.
    pub permissions: Option<Permissions>,
    /// `cache-mode`.
    pub cache_mode: Option<Text>,
    /// `concurrency`.
    pub concurrency: Option<Concurrency>,
    /// `jobs`, in the order written; at least one.
    pub jobs: Vec<Job>,
    /// Keys that GitHub reads over: unknown ones under `workflow_dispatch`.
    pub ignored_keys: Vec<Spanned<String>>,
    /// Where keys are expressions (`${{ insert }}`), which the types cannot hold.
    pub expression_keys: Vec<Place>,
}

impl WorkflowFile {
    /// Reads a workflow file.
    ///
    /// Errors: every fault found, in GitHub's words, with file, line and column.
    pub fn parse(path: &str, text: &str) -> Result<WorkflowFile, Vec<Diagnostic>> {
        super::read::read_workflow(path, text)
    }

    /// Returns the name that GitHub shows: `name`, else the path.
    pub fn display_name(&self) -> &str {
        self.name
            .as_ref()
            .filter(|name| !name.value.is_empty())
            .map_or(&self.path, |name| &name.value)
    }

    /// Finds a job by its id.
    pub fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id.value == id)
    }

    /// Finds a trigger by its event's name.
    pub fn trigger(&self, event: &str) -> Option<&Trigger> {
        self.on.iter().find(|trigger| trigger.event.value == event)
    }

    /// Returns the inputs, outputs and secrets of `workflow_call`, or nothing if the file cannot be called.
    pub fn call(&self) -> Option<&CallInterface> {
        self.on.iter().find_map(|trigger| match &trigger.kind {
            TriggerKind::Call(interface) => Some(interface),
            _ => None,
        })
    }

    /// Returns the inputs of `workflow_dispatch`, or nothing if the file cannot be started by hand.
    pub fn dispatch_inputs(&self) -> Option<&[InputDefinition]> {
        self.on.iter().find_map(|trigger| match &trigger.kind {
            TriggerKind::Dispatch(inputs) => Some(inputs.as_slice()),
            _ => None,
        })
    }
}

/// One event under `on`.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// The event's name.
    pub event: Spanned<String>,
    /// What is written under it.
    pub kind: TriggerKind,
}

/// What is written under an event.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerKind {
    /// Activity types and filters.
    Filtered(EventFilter),
    /// `schedule`.
    Schedule(Vec<Cron>),
    /// `workflow_dispatch` and its inputs.
    Dispatch(Vec<InputDefinition>),
    /// `workflow_call`.
    Call(CallInterface),
}

/// Activity types and filters of an event; `None` where the key is not written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventFilter {
    /// `types`.
    pub types: Option<Vec<Spanned<String>>>,
    /// `branches`.
    pub branches: Option<Vec<Spanned<String>>>,
    /// `branches-ignore`.
    pub branches_ignore: Option<Vec<Spanned<String>>>,
    /// `tags`.
    pub tags: Option<Vec<Spanned<String>>>,
    /// `tags-ignore`.
    pub tags_ignore: Option<Vec<Spanned<String>>>,
    /// `paths`.
    pub paths: Option<Vec<Spanned<String>>>,
    /// `paths-ignore`.
    pub paths_ignore: Option<Vec<Spanned<String>>>,
    /// `workflows`.
    pub workflows: Option<Vec<Spanned<String>>>,
}

/// One entry of `schedule`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cron {
    /// The five fields, checked.
    pub cron: Spanned<String>,
    /// `timezone`.
    pub timezone: Option<Spanned<String>>,
}

/// The types an input may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputType {
    /// Any text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// One of the options.
    Choice,
    /// The name of an environment.
    Environment,
}

/// An input of `workflow_dispatch` or `workflow_call`.
#[derive(Debug, Clone, PartialEq)]
pub struct InputDefinition {
    /// Its name.
    pub name: Spanned<String>,
    /// Its type; text unless written otherwise.
    pub kind: InputType,
    /// Whether it must be given.
    pub required: bool,
    /// What counts if it is not given.
    pub default: Option<Spanned<OrExpression<super::scalar::Scalar>>>,
    /// What a choice may be.
    pub options: Vec<String>,
    /// `description`.
    pub description: Option<String>,
}

/// What a workflow that can be called takes and gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallInterface {
    /// `inputs`.
    pub inputs: Vec<InputDefinition>,
    /// `secrets`.
    pub secrets: Vec<SecretDefinition>,
    /// `outputs`: names and the texts that make them.
    pub outputs: Vec<(Spanned<String>, Text)>,
}

/// A secret of `workflow_call`.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretDefinition {
    /// Its name.
    pub name: Spanned<String>,
    /// Whether it must be given.
    pub required: bool,
}

impl EventFilter {
    /// Returns every written filter with its key, for listing.
    pub fn written(&self) -> Vec<(&'static str, Place)> {
        let all = [
            ("types", &self.types),
            ("branches", &self.branches),
            ("branches-ignore", &self.branches_ignore),
            ("tags", &self.tags),
            ("tags-ignore", &self.tags_ignore),
            ("paths", &self.paths),
            ("paths-ignore", &self.paths_ignore),
            ("workflows", &self.workflows),
        ];
        all.into_iter()
            .filter_map(|(key, list)| list.as_ref()?.first().map(|item| (key, item.place)))
            .collect()
    }
}

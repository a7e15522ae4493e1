//! Steps of jobs and of composite actions. Owns the types only.

use super::place::{Place, Spanned};
use super::text::{OrExpression, Text, TextMap};
use super::uses::UsesRef;

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where it starts.
    pub place: Place,
    /// `id`.
    pub id: Option<Spanned<String>>,
    /// `name`.
    pub name: Option<Text>,
    /// `if`, with or without its `${{ }}`.
    pub condition: Option<Text>,
    /// `continue-on-error`.
    pub continue_on_error: Option<Spanned<OrExpression<bool>>>,
    /// `timeout-minutes`.
    pub timeout_minutes: Option<Spanned<OrExpression<f64>>>,
    /// `env`.
    pub env: TextMap,
    /// Where `background: true` stands, if it does: the next step does not wait for this one.
    pub background: Option<Place>,
    /// What it does.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// `run`.
    Run(RunStep),
    /// `uses`.
    Uses(UsesStep),
    /// `wait`: for these background steps.
    Wait(Vec<Spanned<String>>),
    /// `wait-all`: for every background step.
    WaitAll,
    /// `cancel`: this background step.
    Cancel(Spanned<String>),
    /// `parallel`: these at once, then wait for all; only `run` and `uses` are in it.
    Parallel(Vec<Step>),
}

/// A step that runs a script.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStep {
    /// The script.
    pub script: Text,
    /// `shell`.
    pub shell: Option<Text>,
    /// `working-directory`.
    pub working_directory: Option<Text>,
}

/// A step that uses an action.
#[derive(Debug, Clone, PartialEq)]
pub struct UsesStep {
    /// The action.
    pub uses: Spanned<UsesRef>,
    /// `with`.
    pub with: TextMap,
}

impl Step {
    /// Returns the name that is shown if `name` is absent, expressions not evaluated.
    ///
    /// Shape: `Run` and the script's first line, or `Run` and the action, as GitHub shows them.
    pub fn default_name(&self) -> String {
        match &self.kind {
            StepKind::Run(run) => {
                let first = run.script.value.trim_start().lines().next().unwrap_or("");
                format!("Run {first}")
            }
            StepKind::Uses(uses) => format!("Run {}", uses.uses.value),
            StepKind::Wait(_) => "Wait".into(),
            StepKind::WaitAll => "Wait for all".into(),
            StepKind::Cancel(_) => "Cancel".into(),
            StepKind::Parallel(_) => "Parallel group".into(),
        }
    }
}

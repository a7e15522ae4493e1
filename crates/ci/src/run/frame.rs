//! A list of steps that is being run: a job's, or a composite action's. Owns what its steps know of one another; must
//! never run one.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gantry_workflow::expression::{Availability, Value, actions, workflow};
use gantry_workflow::graph::Conclusion;

use super::evaluate::object_of;
use super::report::StepFault;

/// How a job, or a composite action, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// Nothing has failed.
    #[default]
    Success,
    /// A step has failed.
    Failure,
    /// It was cancelled.
    Cancelled,
}

impl Standing {
    /// Returns the word in `job.status`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of a step, for `steps`.
#[derive(Debug, Clone)]
pub(super) struct StepRecord {
    pub(super) id: String,
    pub(super) outputs: Vec<(String, String)>,
    pub(super) outcome: Conclusion,
    pub(super) conclusion: Conclusion,
}

/// A composite action whose steps are being run.
#[derive(Debug, Clone)]
pub(super) struct FrameAction {
    /// `github.action_path`.
    pub(super) path: PathBuf,
    /// `github.action_repository`; empty for a local action.
    pub(super) repository: String,
    /// `github.action_ref`.
    pub(super) reference: String,
    /// The action file, for what is wrong.
    pub(super) file: String,
}

/// A list of steps that is being run.
pub(super) struct Frame<'a> {
    /// The file the steps are in.
    pub(super) file: &'a str,
    /// The composite action; `None` for a job.
    pub(super) action: Option<&'a FrameAction>,
    /// `inputs`.
    pub(super) inputs: Value,
    /// What the steps get on top of the leg's variables.
    pub(super) env: Vec<(String, String)>,
    /// How many composite actions it is in.
    pub(super) depth: usize,
    /// The number of the job's step that this belongs to; 0 for the job itself.
    pub(super) number: usize,
    /// Names the frame among all of the leg, for what actions save.
    pub(super) key: String,
    state: Mutex<FrameState>,
}

#[derive(Debug, Default)]
struct FrameState {
    standing: Standing,
    steps: Vec<StepRecord>,
    /// Of the first step that failed and was not allowed to.
    fault: Option<StepFault>,
}

/// What is available in the keys of a step.
pub(super) struct StepPlaces {
    pub(super) condition: &'static Availability<'static>,
    pub(super) other: &'static Availability<'static>,
}

impl<'a> Frame<'a> {
    /// Starts the frame of a job.
    pub(super) fn of_job(file: &'a str, inputs: Value) -> Self {
        Self {
            file,
            action: None,
            inputs,
            env: Vec::new(),
            depth: 0,
            number: 0,
            key: String::new(),
            state: Mutex::default(),
        }
    }

    /// Starts the frame of a composite action that a step of this frame uses.
    pub(super) fn inside<'b>(
        &self,
        action: &'b FrameAction,
        inputs: Value,
        env: Vec<(String, String)>,
        (number, key): (usize, String),
    ) -> Frame<'b> {
        Frame {
            file: &action.file,
            action: Some(action),
            inputs,
            env,
            depth: self.depth + 1,
            number,
            key,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, FrameState> {
        // Plain values that are changed whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is available in the keys of its steps.
    pub(super) fn places(&self) -> StepPlaces {
        match self.action {
            None => StepPlaces {
                condition: &workflow::STEP_IF,
                other: &workflow::STEP_RUN,
            },
            Some(_) => StepPlaces {
                condition: &actions::STEP_IF,
                other: &actions::STEP,
            },
        }
    }

    /// Tells how it stands; for a job, see the leg.
    pub(super) fn standing(&self) -> Standing {
        self.state().standing
    }

    /// Keeps what became of a step.
    pub(super) fn record(&self, record: StepRecord, fault: Option<StepFault>) {
        let mut state = self.state();
        if state.fault.is_none() {
            state.fault = fault;
        }
        match record.conclusion {
            Conclusion::Failure => state.standing = Standing::Failure,
            Conclusion::Cancelled if state.standing == Standing::Success => {
                state.standing = Standing::Cancelled
            }
            Conclusion::Cancelled | Conclusion::Success | Conclusion::Skipped => {}
        }
        if record.id.is_empty() {
            return;
        }
        state
            .steps
            .retain(|known| !known.id.eq_ignore_ascii_case(&record.id));
        state.steps.push(record);
    }

    /// Takes why the action failed, if it did.
    pub(super) fn take_fault(&self) -> Option<StepFault> {
        self.state().fault.take()
    }

    /// Returns `steps`.
    pub(super) fn steps_context(&self) -> Value {
        let state = self.state();
        let entry = |step: &StepRecord| {
            let fields = [
                ("outputs", object_of(&step.outputs)),
                ("outcome", Value::from(step.outcome.as_str())),
                ("conclusion", Value::from(step.conclusion.as_str())),
            ];
            (step.id.clone(), Value::Object(fields.into_iter().collect()))
        };
        Value::Object(state.steps.iter().map(entry).collect())
    }
}

//! What came of a run. Owns plain values; every text in them has been masked.

use std::path::PathBuf;
use std::time::Duration;

use gantry_adapters::engine::SandboxReceipt;
use gantry_core::queue::build::{Ending, Trouble};
use gantry_workflow::command::Annotation;
use gantry_workflow::graph::Conclusion;
use gantry_workflow::support::Unsupported;

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// One entry for each workflow that is not only called, in the order given.
    pub workflows: Vec<WorkflowReport>,
}

impl RunReport {
    /// Tells how the run counts as a whole.
    ///
    /// Shape: a failure is a verdict and comes first; then what is no verdict: trouble, a time limit, a cancel.
    #[must_use]
    pub fn ending(&self) -> Ending {
        join_endings(
            self.workflows
                .iter()
                .filter_map(|workflow| match &workflow.outcome {
                    WorkflowOutcome::Ran { .. } | WorkflowOutcome::Refused(_) => Some(workflow.ending()),
                    WorkflowOutcome::Ignored(_) => None,
                }),
        )
    }
}

/// What came of a workflow.
#[derive(Debug, Clone)]
pub struct WorkflowReport {
    /// Its path.
    pub path: String,
    /// The name GitHub would show.
    pub name: String,
    /// What became of it.
    pub outcome: WorkflowOutcome,
    /// Every job leg, those of called workflows among them, in the order they ended.
    pub jobs: Vec<JobReport>,
}

/// What became of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkflowOutcome {
    /// The event does not start it; why.
    Ignored(String),
    /// Nothing of it was started, because these parts would not be honoured.
    Refused(Vec<Unsupported>),
    /// It ran.
    Ran {
        /// How it ended in GitHub's words.
        conclusion: Conclusion,
        /// Why it has no jobs to tell of, if it could not be started.
        fault: Option<String>,
    },
}

impl WorkflowReport {
    /// Tells how the workflow counts.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match &self.outcome {
            WorkflowOutcome::Ignored(_) => Ending::Passed,
            // The workflow's own text is what cannot be run: trying again would not help.
            WorkflowOutcome::Refused(_) => Ending::Failed,
            WorkflowOutcome::Ran { fault: Some(_), .. } => Ending::Failed,
            WorkflowOutcome::Ran { conclusion, .. } => {
                let counted = self
                    .jobs
                    .iter()
                    .filter(|job| !job.tolerated)
                    .map(|job| job.ending);
                match (join_endings(counted), conclusion) {
                    (Ending::Passed, Conclusion::Failure) => Ending::Failed,
                    (Ending::Passed, Conclusion::Cancelled) => Ending::Cancelled,
                    (ending, _) => ending,
                }
            }
        }
    }
}

/// Joins endings: a failure first, then trouble, time limits and cancels; passed if all are.
pub(super) fn join_endings(endings: impl Iterator<Item = Ending>) -> Ending {
    let rank = |ending: &Ending| match ending {
        Ending::Failed => 4,
        Ending::Trouble(_) => 3,
        Ending::TimedOut => 2,
        Ending::Cancelled => 1,
        Ending::Passed => 0,
    };
    endings.max_by_key(rank).unwrap_or(Ending::Passed)
}

/// What came of one leg of a job.
#[derive(Debug, Clone)]
pub struct JobReport {
    /// The workflow it is in.
    pub workflow: String,
    /// Its key under `jobs`, with those of the jobs that called its workflow before it: `caller/build`, or
    /// `caller.1/build` if the second leg of a matrix called it.
    pub id: String,
    /// The name GitHub would show: `caller / build (1, a)`.
    pub name: String,
    /// Its number among the legs of its matrix, from 0.
    pub leg: usize,
    /// How it ended in GitHub's words.
    pub conclusion: Conclusion,
    /// Whether `continue-on-error` lets its failure count as success.
    pub tolerated: bool,
    /// How it counts: a verdict or none.
    pub ending: Ending,
    /// Why it has no verdict, or why it failed before its first step.
    pub detail: String,
    /// Its steps in the order of starting, those of `pre` and `post` among them.
    pub steps: Vec<StepReport>,
    /// Its outputs.
    pub outputs: Vec<(String, String)>,
    /// What its steps said about places in files; at most `ANNOTATIONS_MAX`.
    pub annotations: Vec<Annotation>,
    /// How many annotations are left out.
    pub annotations_left_out: usize,
    /// The lines that matter of the first step that failed.
    pub evidence: Vec<String>,
    /// The joined summaries of its steps, if they wrote any.
    pub summary: Option<PathBuf>,
    /// Its log, if it had a box.
    pub log: Option<PathBuf>,
    /// What is known of its box.
    pub receipt: Option<SandboxReceipt>,
    /// From asking for the box to its end.
    pub duration: Duration,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// Its number in the job, from 1, in the order of starting.
    pub number: usize,
    /// Its `id`; empty if none is written.
    pub id: String,
    /// The name shown.
    pub name: String,
    /// What happened.
    pub outcome: Conclusion,
    /// What it counts as: `continue-on-error` makes a failure a success.
    pub conclusion: Conclusion,
    /// Why it did not succeed, in a sentence; empty if it did or was skipped.
    pub detail: String,
    /// How long it took.
    pub duration: Duration,
    /// Its outputs.
    pub outputs: Vec<(String, String)>,
}

/// Why a step did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepFault {
    /// It says that the tree is bad.
    Failed(String),
    /// It ran into a time limit.
    TimedOut(String),
    /// It was asked to end.
    Cancelled,
    /// The box or the host is to blame; nothing more can be run in the box.
    Trouble(Trouble, String),
}

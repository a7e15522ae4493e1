//! What a run tells while it runs. Owns the list of what can be told; every text in it has been masked.

use std::time::Duration;

use gantry_workflow::graph::Conclusion;

use super::report::JobReport;

/// Something that happened in a run.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// A workflow is not started by the event.
    WorkflowIgnored {
        /// Its path.
        workflow: &'a str,
        /// Why, in a sentence.
        reason: &'a str,
    },
    /// A workflow starts.
    WorkflowStarted {
        /// Its path.
        workflow: &'a str,
    },
    /// The box of a job is open and its first step starts.
    JobStarted {
        /// The job's shown name, with those that called it before it.
        job: &'a str,
    },
    /// A step starts.
    StepStarted {
        /// The job.
        job: &'a str,
        /// Its number in the job, from 1, in the order of starting.
        number: usize,
        /// Its shown name.
        name: &'a str,
    },
    /// Lines for the log, each with its end.
    Lines {
        /// The job.
        job: &'a str,
        /// The step, 0 for what belongs to none.
        number: usize,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A step has ended.
    StepEnded {
        /// The job.
        job: &'a str,
        /// As of [`RunEvent::StepStarted`].
        number: usize,
        /// Its shown name.
        name: &'a str,
        /// What it counts as.
        conclusion: Conclusion,
        /// How long it took.
        duration: Duration,
    },
    /// A job has ended.
    JobEnded(&'a JobReport),
    /// A workflow has ended.
    WorkflowEnded {
        /// Its path.
        workflow: &'a str,
        /// How.
        conclusion: Conclusion,
    },
}

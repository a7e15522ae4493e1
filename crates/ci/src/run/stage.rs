//! One command of a step with all that belongs to it: its output, its files, its end. Owns turning an end into a
//! verdict; must never decide what a verdict does to the job.

use std::time::Duration;

use gantry_adapters::engine::{ExecEnding, ExecReport, SandboxError};
use gantry_core::queue::build::Trouble;

use super::cancel::Cancel;
use super::command_files::{make_files, take_files};
use super::frame::Frame;
use super::github::{StepFields, runner_variables};
use super::layout::StepFolder;
use super::leg::{Exec, Leg, set_pair};
use super::output::{Effects, Listener};
use super::report::StepFault;

/// What a command of a step came to.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) effects: Effects,
    /// Why it did not succeed.
    pub(super) fault: Option<StepFault>,
    /// The lines that matter if it failed.
    pub(super) evidence: Vec<String>,
}

impl Ran {
    /// Nothing ran, for this reason.
    pub(super) fn fault(fault: StepFault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }
}

/// Where and how long a command of a step runs.
pub(super) struct Stage<'a, 'l> {
    pub(super) leg: &'a Leg<'l>,
    /// The number of the job's step.
    pub(super) number: usize,
    pub(super) folder: &'a StepFolder,
    pub(super) cancel: &'a Cancel,
    /// The step's own limit.
    pub(super) timeout: Option<Duration>,
}

/// A command, as a step asks for it.
pub(super) struct StageCommand<'a> {
    pub(super) words: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) directory: &'a str,
    /// What the log shows first.
    pub(super) heading: Vec<String>,
}

impl Stage<'_, '_> {
    /// Runs a command to its end and reads what it wrote for its runner.
    pub(super) fn run(&self, command: StageCommand<'_>) -> Ran {
        let leg = self.leg;
        let mut listener = Listener::new(leg, self.number, &command.env);
        let started = command.heading.iter().try_for_each(|line| listener.say(line));
        let (timeout, of_job) = leg.time_left(self.timeout);
        let exec = Exec {
            words: command.words,
            env: command.env,
            directory: command.directory,
            timeout,
            cancel: self.cancel,
        };
        let report = match started {
            Ok(()) => leg.exec(&exec, &mut |bytes| listener.push(bytes)),
            Err(error) => ExecReport {
                ending: ExecEnding::Trouble(
                    Trouble::Interrupted,
                    format!("the log cannot be written: {error}"),
                ),
                duration: Duration::ZERO,
            },
        };
        let mut fault = self.judge(report.ending, timeout, of_job);
        if matches!(fault, Some(StepFault::Trouble(..))) && leg.is_missing(command.directory) {
            let why = format!("The working directory '{}' is not there.", command.directory);
            fault = Some(StepFault::Failed(why));
        }
        if let Some(StepFault::Failed(why) | StepFault::TimedOut(why)) = &fault {
            // A log that cannot be written is told by `finish` below.
            let _ = listener.say(&format!("##[error]{why}"));
        }
        let (end, written) = listener.finish();
        let (mut effects, tail) = (end.effects, end.tail);
        if end.unsafe_to_show {
            let why = effects.failure.take().unwrap_or_default();
            leg.state().broken = true;
            return Ran {
                effects,
                fault: Some(StepFault::Failed(why)),
                evidence: Vec::new(),
            };
        }
        if let Err(error) = written {
            let why = format!("the log cannot be written: {error}");
            fault = Some(StepFault::Trouble(Trouble::OutOfDisk, why));
        }
        if !matches!(fault, Some(StepFault::Trouble(..))) {
            self.read_files(&mut effects, &mut fault);
        }
        let evidence = if fault.is_some() {
            tail.evidence()
        } else {
            Vec::new()
        };
        Ran {
            effects,
            fault,
            evidence,
        }
    }

    fn read_files(&self, effects: &mut Effects, fault: &mut Option<StepFault>) {
        let leg = self.leg;
        match take_files(leg.sandbox, self.folder, effects) {
            Ok(written) => {
                for said in &written.said {
                    leg.say_error(self.number, said);
                }
                if let Some(summary) = written.summary {
                    leg.state()
                        .summaries
                        .entry(self.number)
                        .or_default()
                        .extend(summary);
                }
            }
            Err(error) => *fault = Some(box_trouble(&error)),
        }
        // Whoever found the failure has said it.
        if let (None, Some(why)) = (&fault, effects.failure.take()) {
            *fault = Some(StepFault::Failed(why));
        }
    }

    fn judge(&self, ending: ExecEnding, timeout: Duration, of_job: bool) -> Option<StepFault> {
        match ending {
            ExecEnding::Exited { code: 0 } => None,
            ExecEnding::Exited { code } => Some(StepFault::Failed(format!(
                "Process completed with exit code {code}."
            ))),
            // A shell would say it so; nothing in the box did.
            ExecEnding::Signalled { signal } => Some(StepFault::Failed(format!(
                "Process completed with exit code {} (signal {signal}).",
                128 + signal
            ))),
            ExecEnding::OutOfMemory => Some(StepFault::Failed(
                "The box reached its memory limit and the kernel ended a process.".to_owned(),
            )),
            ExecEnding::TimedOut if of_job => {
                let minutes = self.leg.plan.timeout.as_secs_f64() / 60.0;
                self.leg.run_out_of_time();
                Some(StepFault::TimedOut(format!(
                    "The job has exceeded the maximum execution time of {minutes} minutes."
                )))
            }
            ExecEnding::TimedOut => {
                let minutes = timeout.as_secs_f64() / 60.0;
                Some(StepFault::TimedOut(format!(
                    "The action has timed out after {minutes} minutes."
                )))
            }
            ExecEnding::Cancelled => Some(StepFault::Cancelled),
            ExecEnding::Trouble(kind, why) => Some(StepFault::Trouble(kind, why)),
        }
    }
}

/// A box that does not do what it is asked has ended, or its disk is full.
pub(super) fn box_trouble(error: &SandboxError) -> StepFault {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    let kind = match error {
        SandboxError::System { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Trouble::OutOfDisk
        }
        SandboxError::Gone | SandboxError::Path { .. } | SandboxError::System { .. } => Trouble::Interrupted,
    };
    StepFault::Trouble(kind, format!("{error}{cause}"))
}

/// Gives out a folder for the files of steps that run one after the other.
///
/// Errors: what the box said.
pub(super) fn new_folder(leg: &Leg<'_>) -> Result<StepFolder, StepFault> {
    let place = {
        let mut state = leg.state();
        state.folders += 1;
        state.folders - 1
    };
    let folder = StepFolder::new(place);
    make_files(leg.sandbox, &folder).map_err(|error| box_trouble(&error))?;
    Ok(folder)
}

/// Returns what the workflow, the job and earlier steps set.
pub(super) fn job_env(leg: &Leg<'_>) -> Vec<(String, String)> {
    let mut env = leg.plan.env.clone();
    let set_by_steps = leg.state().env.clone();
    set_by_steps
        .into_iter()
        .for_each(|(name, value)| set_pair(&mut env, name, value));
    env
}

/// Returns `env` of a step: what the workflow, the job, earlier steps, the action's user and the step itself set.
pub(super) fn context_env(
    leg: &Leg<'_>,
    frame: &Frame<'_>,
    step: &[(String, String)],
) -> Vec<(String, String)> {
    let mut env = job_env(leg);
    for (name, value) in frame.env.iter().cloned().chain(step.iter().cloned()) {
        set_pair(&mut env, name, value);
    }
    env
}

/// Returns the variables of a step's process.
///
/// Shape: the later of two equal names wins; GitHub's own cannot be changed by a step.
pub(super) fn process_env(
    leg: &Leg<'_>,
    env: &[(String, String)],
    fields: &StepFields<'_>,
    extra: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let (mut pairs, fixed): (Vec<_>, Vec<_>) = runner_variables(leg.request.identity.debug)
        .into_iter()
        .partition(|(name, _)| !name.starts_with("RUNNER_"));
    pairs.extend(env.iter().cloned());
    pairs.extend(fixed);
    pairs.extend(leg.plan.github.variables(fields));
    pairs.extend(extra);
    let paths = leg.state().paths.clone();
    if !paths.is_empty() {
        let own = env
            .iter()
            .rev()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| value.as_str());
        let folders = paths
            .iter()
            .map(String::as_str)
            .chain([own.unwrap_or(&leg.plan.path)]);
        pairs.push(("PATH".to_owned(), folders.collect::<Vec<_>>().join(":")));
    }
    pairs
}

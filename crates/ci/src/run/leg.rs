//! The state of one job leg while its box lives. Owns what its steps share: variables, folders of `PATH`, secrets,
//! standing, reports; must never run a step.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    ExecReport, ExecSpec, FileVisitor, Found, Output, Sandbox, SandboxControl, SandboxError,
};
use gantry_core::limits::{JOB_ANNOTATIONS_MAX, STEP_GRACE};
use gantry_core::mask::{MaskError, Secrets, mask_text};
use gantry_core::queue::build::{Ending, Trouble};
use gantry_workflow::command::{Annotation, AnnotationLevel, Matchers};
use gantry_workflow::expression::Value;
use gantry_workflow::model::StepsJob;

use super::cancel::Cancel;
use super::event::RunEvent;
use super::frame::Standing;
use super::github::GithubContext;
use super::log::LegLog;
use super::post::Post;
use super::report::{StepFault, StepReport};
use super::request::RunRequest;
use super::uses::Action;

/// What is known of a leg before its box is open.
pub(super) struct LegPlan<'a> {
    /// The workflow's path.
    pub(super) file: &'a str,
    /// The steps and all that belongs to them.
    pub(super) job: &'a StepsJob,
    /// The name shown.
    pub(super) name: String,
    /// `github`, but for what hangs on a step.
    pub(super) github: GithubContext,
    /// The contexts that never change: vars, secrets, inputs, matrix, needs, strategy, runner.
    pub(super) contexts: super::evaluate::Contexts,
    /// The variables of the workflow and the job.
    pub(super) env: Vec<(String, String)>,
    /// The shell and the directory of steps that name none.
    pub(super) defaults: StepDefaults,
    /// Wall time of all steps together.
    pub(super) timeout: Duration,
    /// How long it may go on once it is cancelled.
    pub(super) cancel_grace: Duration,
    /// The workspace in the box.
    pub(super) workspace: String,
    /// The `PATH` of the box before any step adds to it.
    pub(super) path: String,
    /// `job.container` and `job.services`.
    pub(super) container: Value,
    /// As above.
    pub(super) services: Value,
}

/// `defaults.run`, evaluated.
#[derive(Debug, Clone, Default)]
pub(super) struct StepDefaults {
    /// `shell`.
    pub(super) shell: Option<String>,
    /// `working-directory`.
    pub(super) working_directory: Option<String>,
}

/// A leg whose box is open.
pub(super) struct Leg<'a> {
    pub(super) request: &'a RunRequest<'a>,
    pub(super) plan: &'a LegPlan<'a>,
    pub(super) sandbox: &'a dyn Sandbox,
    pub(super) log: &'a LegLog,
    /// Set when the leg is to end.
    pub(super) cancel: &'a Cancel,
    /// Since the first step.
    pub(super) clock: Stopwatch,
    /// Whether the box has bash, once a step that names no shell has asked.
    pub(super) has_bash: OnceLock<bool>,
    /// `HOME` of the box's user, once a built-in action has asked.
    pub(super) home: OnceLock<Option<String>>,
    pub(super) state: Mutex<LegState>,
    /// Actions of other repositories that have been brought into the box, by what names them.
    pub(super) actions: Mutex<BTreeMap<String, Action>>,
}

/// What the steps of a leg share.
#[derive(Default)]
pub(super) struct LegState {
    /// Variables that steps have set for those after them.
    pub(super) env: Vec<(String, String)>,
    /// Folders that steps have put before the box's `PATH`, in its order.
    pub(super) paths: Vec<String>,
    pub(super) secrets: Secrets,
    /// Grows with every secret, so that streams know when theirs are old.
    pub(super) secrets_version: u64,
    /// The same for streams that outlive a look at this; nothing if a secret could not be added.
    pub(super) live_secrets: LiveSecrets,
    pub(super) matchers: Matchers,
    /// Whether any were ever added, so that most steps need not ask.
    pub(super) has_matchers: bool,
    pub(super) annotations: Vec<Annotation>,
    pub(super) annotations_left_out: usize,
    pub(super) standing: Standing,
    pub(super) steps: Vec<StepReport>,
    /// How many steps have been started.
    pub(super) started: usize,
    /// How many folders of step files have been given out.
    pub(super) folders: usize,
    /// What is still to be run, the last one first.
    pub(super) posts: Vec<Post>,
    /// What actions have saved for their later stages, by the step that uses them.
    pub(super) saved: BTreeMap<String, Vec<(String, String)>>,
    /// Summaries by step, in the order of starting.
    pub(super) summaries: BTreeMap<usize, Vec<u8>>,
    /// Why the leg will not be a success.
    pub(super) cause: Option<(Ending, String)>,
    pub(super) evidence: Vec<String>,
    /// The lines that matter of the last step of a composite action that failed.
    pub(super) inner_evidence: Vec<String>,
    /// The box can run nothing any more.
    pub(super) broken: bool,
    /// When steps that run although the leg was cancelled have to be done, on the leg's clock.
    pub(super) grace_ends: Option<Duration>,
}

impl LegState {
    /// Adds a secret.
    ///
    /// Errors: it cannot be masked; nothing more may be shown then.
    pub(super) fn add_secret(&mut self, name: &str, value: &str) -> Result<(), MaskError> {
        let added = self.secrets.insert(name, value.as_bytes());
        self.secrets_version += 1;
        let known = added.is_ok().then(|| self.secrets.clone());
        self.live_secrets.set(self.secrets_version, known);
        added
    }

    /// Keeps an annotation.
    pub(super) fn annotate(&mut self, annotation: Annotation) {
        if self.annotations.len() < JOB_ANNOTATIONS_MAX {
            self.annotations.push(annotation);
        } else {
            self.annotations_left_out += 1;
        }
    }

    /// Notes why the leg will not be a success: a verdict replaces what is none, otherwise the first stays.
    pub(super) fn blame(&mut self, ending: Ending, detail: &str) {
        let replaces = match &self.cause {
            None => true,
            Some((old, _)) => ending == Ending::Failed && matches!(old, Ending::TimedOut | Ending::Cancelled),
        };
        if replaces {
            self.cause = Some((ending, detail.to_owned()));
        }
    }

    /// Sets a variable for the steps that follow.
    pub(super) fn set_env(&mut self, name: String, value: String) {
        set_pair(&mut self.env, name, value);
    }
}

/// The secrets of a leg for streams that are masked while steps add more.
#[derive(Clone)]
pub(super) struct LiveSecrets(Arc<Mutex<(u64, Option<Secrets>)>>);

impl Default for LiveSecrets {
    fn default() -> Self {
        Self::new(&Secrets::new())
    }
}

impl LiveSecrets {
    pub(super) fn new(secrets: &Secrets) -> Self {
        Self(Arc::new(Mutex::new((0, Some(secrets.clone())))))
    }

    fn set(&self, version: u64, secrets: Option<Secrets>) {
        // Plain values that are changed whole.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (version, secrets);
    }

    /// Returns how often they have changed, and what they are unless one could not be added.
    pub(super) fn now(&self) -> (u64, Option<Secrets>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sets a value by its name, which keeps its place.
pub(super) fn set_pair(pairs: &mut Vec<(String, String)>, name: String, value: String) {
    match pairs.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => pairs.push((name, value)),
    }
}

/// An annotation that belongs to no place.
pub(super) fn remark(level: AnnotationLevel, message: String) -> Annotation {
    Annotation {
        level,
        message,
        title: None,
        file: None,
        line: None,
        end_line: None,
        column: None,
        end_column: None,
        code: None,
    }
}

impl Leg<'_> {
    /// Locks what the steps share.
    pub(super) fn state(&self) -> MutexGuard<'_, LegState> {
        // Every change is made whole under the lock; a panic of another step ends the leg anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether there is nothing at a path of a box that answers.
    pub(super) fn is_missing(&self, at: &str) -> bool {
        let seen = self.sandbox.visit_files(Path::new(at), &mut NothingRead);
        matches!(seen, Err(SandboxError::Path { .. }))
    }

    /// Tells whether the box has bash.
    pub(super) fn has_bash(&self) -> bool {
        *self.has_bash.get_or_init(|| {
            let places = ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"];
            places
                .iter()
                .any(|at| self.sandbox.visit_files(Path::new(at), &mut NothingRead).is_ok())
        })
    }

    /// Returns the home of the box's user, as the box says; nothing if it does not say.
    pub(super) fn home(&self) -> Option<String> {
        let ask = || {
            let words = ["/bin/sh", "-c", "printf %s \"$HOME\""];
            let asked = crate::files::ask(
                self.sandbox,
                &SandboxControl::default(),
                &words,
                &[],
                Path::new("/"),
            );
            // A box that does not answer is told by the action's own commands.
            asked
                .ok()
                .map(|asked| asked.text)
                .filter(|text| text.starts_with('/'))
        };
        self.home.get_or_init(ask).clone()
    }

    /// Tells the owner of the run.
    pub(super) fn tell(&self, event: RunEvent<'_>) {
        (self.request.tell)(event);
    }

    /// Writes a line of the runner's own into the log, masked.
    ///
    /// Errors: the log cannot be written.
    pub(super) fn say(&self, number: usize, line: &str) -> Result<(), StepFault> {
        let secrets = self.state().secrets.clone();
        let mut shown = mask_text(&secrets, line);
        shown.push('\n');
        self.show(number, shown.as_bytes())
    }

    /// Writes what is masked already.
    ///
    /// Errors: the log cannot be written.
    pub(super) fn show(&self, number: usize, bytes: &[u8]) -> Result<(), StepFault> {
        self.log.write(bytes).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::StorageFull => Trouble::OutOfDisk,
                _ => Trouble::Interrupted,
            };
            StepFault::Trouble(kind, format!("the log cannot be written: {error}"))
        })?;
        self.tell(RunEvent::Lines {
            job: &self.plan.name,
            number,
            bytes,
        });
        Ok(())
    }

    /// Says a fault in the log as GitHub shows errors.
    pub(super) fn say_error(&self, number: usize, message: &str) {
        // A log that cannot be written has already ended the step that found it; the fault is in the report, too.
        let _ = self.say(number, &format!("##[error]{message}"));
    }

    /// Says how much time a command has that starts now, and what it means if it runs out.
    pub(super) fn time_left(&self, step: Option<Duration>) -> (Duration, bool) {
        let grace = self.state().grace_ends;
        let elapsed = self.clock.elapsed();
        let of_job = match grace {
            Some(ends) => ends.saturating_sub(elapsed),
            None => self.plan.timeout.saturating_sub(elapsed),
        };
        match step {
            Some(step) if step < of_job => (step, false),
            _ => (of_job, true),
        }
    }

    /// Runs a command; a cancel of the leg, or of `also`, ends it.
    pub(super) fn exec(&self, command: &Exec<'_>, output: &mut Output<'_>) -> ExecReport {
        let control = SandboxControl::default();
        let _attached = command.cancel.attach_control(&control);
        let spec = ExecSpec {
            command: command.words.clone(),
            env: command.env.clone(),
            directory: command.directory.into(),
            timeout: command.timeout,
            grace: STEP_GRACE,
        };
        self.sandbox.exec(&spec, output, &control)
    }
}

/// Asks only whether something is there.
struct NothingRead;

impl FileVisitor for NothingRead {
    fn enter(&mut self, _: &Found) -> bool {
        false
    }

    fn visit(&mut self, _: &Found, _: &mut dyn Read) -> io::Result<()> {
        Ok(())
    }
}

/// A command of a step.
pub(super) struct Exec<'a> {
    pub(super) words: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) directory: &'a str,
    pub(super) timeout: Duration,
    pub(super) cancel: &'a Cancel,
}

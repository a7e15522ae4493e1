//! One step from its condition to its record. Owns the order in which a step's keys are evaluated and what a step's end
//! does to the job; must never know what its action does.
//!
//! ```text
//! env ─► if ─► name, timeout ─► run ─► outcome ─► continue-on-error ─► conclusion
//!         └─► skipped
//! ```

use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_core::queue::build::{Ending, Trouble};
use gantry_workflow::command::{AnnotationLevel, NameUse, env_name_use, put_path_first};
use gantry_workflow::graph::Conclusion;
use gantry_workflow::model::{Diagnostic, Spanned, Step, StepKind};

use super::cancel::Cancel;
use super::evaluate::Evaluator;
use super::event::RunEvent;
use super::frame::{Frame, Standing, StepRecord};
use super::github::StepFields;
use super::layout::StepFolder;
use super::leg::{Leg, remark};
use super::output::Effects;
use super::report::{StepFault, StepReport};
use super::scope::StepScope;
use super::script::run_script;
use super::stage::{Ran, Stage, context_env};
use super::uses::run_action;

/// Which step of its frame a step is, and what it is given.
pub(super) struct StepAt<'a> {
    /// Its place in the frame, from 0; those of a `parallel` block continue behind all others.
    pub(super) index: usize,
    /// Its number in the job; that of the step around it in an action.
    pub(super) number: usize,
    /// `github.action`.
    pub(super) action: String,
    pub(super) folder: &'a StepFolder,
    /// Ends the step.
    pub(super) cancel: &'a Cancel,
}

/// A step whose condition holds.
pub(super) struct StepCall<'a, 'l> {
    pub(super) leg: &'a Leg<'l>,
    pub(super) frame: &'a Frame<'a>,
    pub(super) number: usize,
    pub(super) index: usize,
    pub(super) action: &'a str,
    pub(super) name: String,
    /// `env`.
    pub(super) env: Vec<(String, String)>,
    pub(super) folder: &'a StepFolder,
    pub(super) cancel: &'a Cancel,
    pub(super) timeout: Option<Duration>,
}

impl<'a, 'l> StepCall<'a, 'l> {
    /// What `github` holds of the step.
    pub(super) fn fields(&self) -> StepFields<'_> {
        fields(self.frame, self.action, Some(self.folder))
    }

    pub(super) fn scope(&self) -> StepScope<'_, 'l> {
        StepScope {
            leg: self.leg,
            frame: self.frame,
            env: &self.env,
            fields: self.fields(),
        }
    }

    pub(super) fn evaluator<'e>(&'e self, scope: &'e StepScope<'_, '_>) -> Evaluator<'e> {
        Evaluator {
            file: self.frame.file,
            scope,
        }
    }

    pub(super) fn stage(&self) -> Stage<'_, 'l> {
        Stage {
            leg: self.leg,
            number: self.number,
            folder: self.folder,
            cancel: self.cancel,
            timeout: self.timeout,
        }
    }

    /// Names the step among all of the leg.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.frame.key, self.index)
    }
}

fn fields<'a>(frame: &'a Frame<'_>, action: &'a str, folder: Option<&'a StepFolder>) -> StepFields<'a> {
    let inside = frame.action;
    StepFields {
        action,
        path: inside.and_then(|inside| inside.path.to_str()).unwrap_or(""),
        repository: inside.map_or("", |inside| &inside.repository),
        reference: inside.map_or("", |inside| &inside.reference),
        status: inside.map(|_| frame.standing().as_str()),
        folder,
    }
}

/// What became of a step, before anything follows from it.
pub(super) struct StepDone {
    number: usize,
    id: String,
    name: String,
    ran: Ran,
    skipped: bool,
    tolerated: bool,
    duration: Duration,
}

impl StepDone {
    /// The end of a stage before or after the steps; `None` if it was not run.
    pub(super) fn of_stage(number: usize, name: String, ran: Option<Ran>, duration: Duration) -> Self {
        Self {
            number,
            id: String::new(),
            name,
            skipped: ran.is_none(),
            ran: ran.unwrap_or_default(),
            tolerated: false,
            duration,
        }
    }
}

enum Prepared {
    Skipped,
    Ready {
        env: Vec<(String, String)>,
        timeout: Option<Duration>,
        tolerated: bool,
    },
}

/// A step whose condition has been looked at.
pub(super) struct Begun {
    done: StepDone,
    ready: Option<Ready>,
}

struct Ready {
    env: Vec<(String, String)>,
    timeout: Option<Duration>,
}

impl Begun {
    /// Tells whether the step does not run: its condition does not hold, or cannot be evaluated.
    pub(super) fn is_skipped(&self) -> bool {
        self.ready.is_none()
    }
}

/// Evaluates whether and how a step runs, at its place in the order of steps.
pub(super) fn begin_step(leg: &Leg<'_>, frame: &Frame<'_>, step: &Step, at: &StepAt<'_>) -> Begun {
    let mut done = StepDone {
        number: at.number,
        id: step.id.as_ref().map_or_else(String::new, |id| id.value.clone()),
        name: shown_name(leg, frame, step, at),
        ran: Ran::default(),
        skipped: false,
        tolerated: false,
        duration: Duration::ZERO,
    };
    leg.note_cancel();
    let ready = match prepare(leg, frame, step, at) {
        Err(diagnostic) => {
            let why = format!("The template is not valid. {diagnostic}");
            leg.say_error(at.number, &why);
            done.ran = Ran::fault(StepFault::Failed(why));
            None
        }
        Ok(Prepared::Skipped) => {
            done.skipped = true;
            None
        }
        Ok(Prepared::Ready {
            env,
            timeout,
            tolerated,
        }) => {
            done.tolerated = tolerated;
            Some(Ready { env, timeout })
        }
    };
    Begun { done, ready }
}

/// Runs a step that has begun; what follows from its end is for [`conclude`].
pub(super) fn finish_step(
    leg: &Leg<'_>,
    frame: &Frame<'_>,
    step: &Step,
    at: &StepAt<'_>,
    begun: Begun,
) -> StepDone {
    let watch = Stopwatch::start();
    let Begun { mut done, ready } = begun;
    let Some(Ready { env, timeout }) = ready else {
        return done;
    };
    if frame.depth == 0 {
        leg.tell(RunEvent::StepStarted {
            job: &leg.plan.name,
            number: at.number,
            name: &leg.masked(&done.name),
        });
    }
    // A step that wants to run in a cancelled leg is ended by the time that is left, not by that cancel.
    let fresh = Cancel::default();
    let is_late = leg.state().grace_ends.is_some();
    let call = StepCall {
        leg,
        frame,
        number: at.number,
        index: at.index,
        action: &at.action,
        name: done.name.clone(),
        env,
        folder: at.folder,
        cancel: if is_late { &fresh } else { at.cancel },
        timeout,
    };
    done.ran = match &step.kind {
        StepKind::Run(run) => run_script(&call, run),
        StepKind::Uses(uses) => run_action(&call, uses),
        StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) | StepKind::Parallel(_) => Ran::default(),
    };
    done.duration = watch.elapsed();
    done
}

fn shown_name(leg: &Leg<'_>, frame: &Frame<'_>, step: &Step, at: &StepAt<'_>) -> String {
    let written = match (&step.name, &step.kind) {
        (Some(name), _) => name.clone(),
        (None, StepKind::Run(run)) => Spanned::new(step.default_name(), run.script.place),
        (None, _) => return step.default_name(),
    };
    let env = context_env(leg, frame, &[]);
    let scope = StepScope {
        leg,
        frame,
        env: &env,
        fields: fields(frame, &at.action, None),
    };
    let evaluator = Evaluator {
        file: frame.file,
        scope: &scope,
    };
    // A name that cannot be evaluated is shown as it is written, as GitHub does before the step runs.
    evaluator
        .text(&written, frame.places().other)
        .unwrap_or(written.value)
}

fn prepare(leg: &Leg<'_>, frame: &Frame<'_>, step: &Step, at: &StepAt<'_>) -> Result<Prepared, Diagnostic> {
    if leg.state().broken {
        return Ok(Prepared::Skipped);
    }
    let places = frame.places();
    let before = context_env(leg, frame, &[]);
    let step_fields = || fields(frame, &at.action, Some(at.folder));
    let scope = StepScope {
        leg,
        frame,
        env: &before,
        fields: step_fields(),
    };
    let own = Evaluator {
        file: frame.file,
        scope: &scope,
    }
    .map(&step.env, places.other)?;
    let env = context_env(leg, frame, &own);
    let scope = StepScope {
        leg,
        frame,
        env: &env,
        fields: step_fields(),
    };
    let evaluator = Evaluator {
        file: frame.file,
        scope: &scope,
    };
    if !evaluator.holds(step.condition.as_ref(), places.condition)? || leg.grace_is_over() {
        return Ok(Prepared::Skipped);
    }
    let minutes = step
        .timeout_minutes
        .as_ref()
        .map(|minutes| evaluator.number(minutes, places.other))
        .transpose()?;
    let tolerated = evaluator.boolean(step.continue_on_error.as_ref(), places.other)?;
    Ok(Prepared::Ready {
        timeout: minutes.and_then(minutes_of),
        env,
        tolerated,
    })
}

/// Turns minutes into time; what is no positive number is no limit.
pub(super) fn minutes_of(minutes: f64) -> Option<Duration> {
    (minutes > 0.0).then(|| Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX))
}

/// Lets a step's end count: variables, outputs, the job's standing, the report.
pub(super) fn conclude(leg: &Leg<'_>, frame: &Frame<'_>, done: StepDone) {
    let StepDone {
        number,
        id,
        name,
        ran,
        skipped,
        tolerated,
        duration,
    } = done;
    let Ran {
        effects,
        fault,
        evidence,
    } = ran;
    let outcome = match &fault {
        None if skipped => Conclusion::Skipped,
        None => Conclusion::Success,
        Some(StepFault::Failed(_) | StepFault::TimedOut(_) | StepFault::Trouble(..)) => Conclusion::Failure,
        Some(StepFault::Cancelled) => Conclusion::Cancelled,
    };
    let is_trouble = matches!(fault, Some(StepFault::Trouble(..)));
    let conclusion = match outcome {
        Conclusion::Failure if tolerated && !is_trouble => Conclusion::Success,
        other => other,
    };
    let outputs = effects.outputs.clone();
    apply(leg, number, effects);
    let record = StepRecord {
        id: id.clone(),
        outputs: outputs.clone(),
        outcome,
        conclusion,
    };
    let counted = fault.clone().filter(|_| conclusion != Conclusion::Success);
    frame.record(record, counted.clone());
    if let Some(StepFault::Trouble(..)) = &fault {
        leg.state().broken = true;
    }
    if frame.depth > 0 {
        if let Some(StepFault::Failed(_)) = &fault {
            leg.state().inner_evidence = evidence;
        }
        return;
    }
    let detail = fault.as_ref().map_or_else(String::new, detail_of);
    if let Some(fault) = &counted {
        let evidence = if evidence.is_empty() {
            std::mem::take(&mut leg.state().inner_evidence)
        } else {
            evidence
        };
        leg.count_fault(fault, &detail, evidence);
    }
    leg.tell(RunEvent::StepEnded {
        job: &leg.plan.name,
        number,
        name: &leg.masked(&name),
        conclusion,
        duration,
    });
    leg.state().steps.push(StepReport {
        number,
        id,
        name,
        outcome,
        conclusion,
        detail,
        duration,
        outputs,
    });
}

fn detail_of(fault: &StepFault) -> String {
    match fault {
        StepFault::Failed(why) | StepFault::TimedOut(why) | StepFault::Trouble(_, why) => why.clone(),
        StepFault::Cancelled => "The operation was canceled.".to_owned(),
    }
}

/// Lets what a step asked for count.
fn apply(leg: &Leg<'_>, number: usize, effects: Effects) {
    let mut blocked = Vec::new();
    {
        let mut state = leg.state();
        for (name, value) in effects.env {
            match env_name_use(&name) {
                NameUse::Free | NameUse::RunnerWins => state.set_env(name, value),
                NameUse::Blocked(message) => blocked.push(message),
            }
        }
        for path in effects.paths {
            put_path_first(&mut state.paths, path);
        }
    }
    for message in blocked {
        leg.say_error(number, &message);
        leg.state().annotate(remark(AnnotationLevel::Error, message));
    }
}

impl Leg<'_> {
    /// How the job stands, a cancel that has just come included.
    pub(super) fn standing(&self) -> Standing {
        if self.cancel.is_cancelled() {
            return Standing::Cancelled;
        }
        self.state().standing
    }

    /// Counts a step of the job and returns its number.
    pub(super) fn start_step(&self) -> usize {
        let mut state = self.state();
        state.started += 1;
        state.started
    }

    /// Starts the time that a cancelled leg has left, once.
    pub(super) fn note_cancel(&self) {
        if self.cancel.is_cancelled() {
            let now = self.clock.elapsed();
            let mut state = self.state();
            state.standing = Standing::Cancelled;
            state.grace_ends.get_or_insert(now + self.plan.cancel_grace);
            state.blame(Ending::Cancelled, "the job was cancelled");
        }
    }

    /// The job's own time is over: like a cancel, but nobody asked.
    pub(super) fn run_out_of_time(&self) {
        let now = self.clock.elapsed();
        let mut state = self.state();
        state.standing = Standing::Cancelled;
        state.grace_ends.get_or_insert(now + self.plan.cancel_grace);
    }

    /// Tells whether even steps that run in a cancelled leg may not start any more.
    pub(super) fn grace_is_over(&self) -> bool {
        let ends = self.state().grace_ends;
        ends.is_some_and(|ends| ends <= self.clock.elapsed())
    }

    /// Masks a text that is shown at once.
    pub(super) fn masked(&self, text: &str) -> String {
        let secrets = self.state().secrets.clone();
        gantry_core::mask::mask_text(&secrets, text)
    }

    /// Lets a fault of a step count for the job.
    fn count_fault(&self, fault: &StepFault, detail: &str, evidence: Vec<String>) {
        let ending = match fault {
            StepFault::Failed(_) => Ending::Failed,
            StepFault::TimedOut(_) => Ending::TimedOut,
            StepFault::Cancelled => Ending::Cancelled,
            StepFault::Trouble(kind, _) => Ending::Trouble(*kind),
        };
        let mut state = self.state();
        match ending {
            Ending::Cancelled if !self.cancel.is_cancelled() => return,
            Ending::Cancelled => {}
            Ending::Failed | Ending::TimedOut | Ending::Trouble(_) | Ending::Passed => {
                if state.standing == Standing::Success {
                    state.standing = Standing::Failure;
                }
                if state.evidence.is_empty() {
                    state.evidence = evidence;
                }
            }
        }
        state.blame(ending, detail);
    }

    /// Notes that the box cannot be used any more.
    pub(super) fn break_off(&self, kind: Trouble, why: &str) {
        let mut state = self.state();
        state.broken = true;
        state.blame(Ending::Trouble(kind), why);
    }
}

//! One job leg from an empty slot to its report. Owns the box's life: open, steps, posts, close; must never decide
//! whether the leg runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    Image, Mount, MountKind, OpenError, Sandbox, SandboxControl, SandboxReceipt, SandboxSpec, ServiceSpec,
    Workspace,
};
use gantry_core::mask::{Secrets, mask_bytes, mask_text};
use gantry_core::queue::build::{Ending, Trouble};
use gantry_workflow::command::{Annotation, AnnotationLevel};
use gantry_workflow::expression::{Value, workflow};
use gantry_workflow::graph::Conclusion;

use super::cancel::Cancel;
use super::evaluate::Evaluator;
use super::event::RunEvent;
use super::frame::{Frame, Standing};
use super::github::StepFields;
use super::layout;
use super::leg::{Leg, LegPlan, LegState, LiveSecrets, remark};
use super::log::LegLog;
use super::post::{run_posts, run_pres};
use super::report::{JobReport, StepFault};
use super::request::RunRequest;
use super::scope::StepScope;
use super::stage::{box_trouble, new_folder};
use super::steps::run_list;

/// What names a leg, and its box.
pub(super) struct LegOrder<'a> {
    pub(super) plan: LegPlan<'a>,
    /// The path of the workflow that the event started.
    pub(super) workflow: &'a str,
    /// With the ids of the jobs that called before it.
    pub(super) id: String,
    pub(super) leg: usize,
    pub(super) tolerated: bool,
    pub(super) image: Image,
    /// Whether the commit's files are in the workspace from the start.
    pub(super) wants_commit: bool,
    pub(super) container_env: Vec<(String, String)>,
    pub(super) services: Vec<ServiceSpec>,
    pub(super) secrets: Secrets,
}

impl LegOrder<'_> {
    /// Returns the report of a leg that has not run.
    pub(super) fn report(&self, conclusion: Conclusion, ending: Ending, detail: String) -> JobReport {
        JobReport {
            workflow: self.workflow.to_owned(),
            id: self.id.clone(),
            name: mask_text(&self.secrets, &self.plan.name),
            leg: self.leg,
            conclusion,
            tolerated: self.tolerated,
            ending,
            detail: mask_text(&self.secrets, &detail),
            steps: Vec::new(),
            outputs: Vec::new(),
            annotations: Vec::new(),
            annotations_left_out: 0,
            evidence: Vec::new(),
            summary: None,
            log: None,
            receipt: None,
            duration: Duration::ZERO,
        }
    }

    fn file(&self, request: &RunRequest<'_>, suffix: &str) -> PathBuf {
        let plain =
            |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', ".");
        let file = Path::new(self.workflow)
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into());
        let name = format!("{}-{}{suffix}", plain(&self.id), self.leg);
        request.folder.join(plain(&file)).join(name)
    }

    fn spec(&self, request: &RunRequest<'_>) -> SandboxSpec {
        SandboxSpec {
            name: format!(
                "R{}-{}-{}",
                request.identity.id,
                self.id.replace('/', "-"),
                self.leg
            ),
            image: self.image.clone(),
            workspace: if self.wants_commit {
                Workspace::Commit {
                    repository: request.repository.git_dir.clone(),
                    commit: request.event.commit,
                }
            } else {
                Workspace::Empty
            },
            workspace_at: PathBuf::from(&self.plan.workspace),
            mounts: own_mounts(request)
                .chain(request.mounts.iter().cloned())
                .collect(),
            env: request.env.iter().chain(&self.container_env).cloned().collect(),
            network: request.network.clone(),
            limits: request.limits.clone(),
            user: request.user,
            services: self.services.clone(),
        }
    }
}

/// The folder of the run that is shown to boxes where they write and nothing is to be read.
const EMPTY: &str = "empty";

/// The folders beside the workspace that are the box's own, whatever its root is.
fn own_mounts(request: &RunRequest<'_>) -> impl Iterator<Item = Mount> {
    let host = request.folder.join(EMPTY);
    [layout::TEMP, layout::ACTIONS].into_iter().map(move |at| Mount {
        host: host.clone(),
        at: PathBuf::from(at),
        kind: MountKind::CopyOnWrite,
    })
}

/// Runs a leg. Its outputs in the report are not masked: see [`mask_report`].
pub(super) fn run_leg(request: &RunRequest<'_>, order: &LegOrder<'_>, cancel: &Cancel) -> JobReport {
    let watch = Stopwatch::start();
    let log_path = order.file(request, ".log");
    let made = log_path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::create_dir_all(request.folder.join(EMPTY)))
        .and_then(|()| LegLog::create(&log_path));
    let log = match made {
        Ok(log) => log,
        Err(error) => {
            let why = format!("the log {} cannot be made: {error}", log_path.display());
            return order.report(Conclusion::Failure, Ending::Trouble(Trouble::OutOfDisk), why);
        }
    };
    let control = SandboxControl::default();
    let opened = {
        let _attached = cancel.attach_control(&control);
        request.engine.open(&order.spec(request), &control)
    };
    let sandbox = match opened {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let (conclusion, ending) = match &error {
                OpenError::Refused(_) => (Conclusion::Failure, Ending::Failed),
                OpenError::Unsupported(_) => (Conclusion::Failure, Ending::Trouble(Trouble::CouldNotStart)),
                OpenError::Cancelled => (Conclusion::Cancelled, Ending::Cancelled),
                OpenError::Trouble(kind, _) => (Conclusion::Failure, Ending::Trouble(*kind)),
            };
            let mut report = order.report(conclusion, ending, error.to_string());
            report.duration = watch.elapsed();
            return report;
        }
    };
    (request.tell)(RunEvent::JobStarted {
        job: &mask_text(&order.secrets, &order.plan.name),
    });
    let (state, outputs) = live(request, order, &log, (&*sandbox, cancel));
    let receipt = sandbox.close();
    let mut report = finish(request, order, &log, (state, outputs), receipt);
    report.duration = watch.elapsed();
    report
}

type Outputs = Vec<(String, String)>;

fn live(
    request: &RunRequest<'_>,
    order: &LegOrder<'_>,
    log: &LegLog,
    (sandbox, cancel): (&dyn Sandbox, &Cancel),
) -> (LegState, Outputs) {
    let leg = Leg {
        request,
        plan: &order.plan,
        sandbox,
        log,
        cancel,
        clock: Stopwatch::start(),
        has_bash: OnceLock::new(),
        home: OnceLock::new(),
        state: Mutex::new(LegState {
            secrets: order.secrets.clone(),
            live_secrets: LiveSecrets::new(&order.secrets),
            ..LegState::default()
        }),
        actions: Mutex::new(BTreeMap::new()),
    };
    let inputs = order.plan.contexts.get("inputs").cloned().unwrap_or(Value::Null);
    let frame = Frame::of_job(order.plan.file, inputs);
    match prepare(&leg) {
        Ok(folder) => {
            run_pres(&leg, &frame, &order.plan.job.steps, &folder);
            run_list(&leg, &frame, &order.plan.job.steps, &folder, cancel);
            run_posts(&leg, &frame, &folder);
            leg.note_cancel();
        }
        Err(StepFault::Trouble(kind, why)) => leg.break_off(kind, &why),
        Err(StepFault::Failed(why) | StepFault::TimedOut(why)) => leg.break_off(Trouble::CouldNotStart, &why),
        Err(StepFault::Cancelled) => leg.note_cancel(),
    }
    let outputs = outputs(&leg, &frame);
    let state = leg
        .state
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    (state, outputs)
}

/// Brings what every job has into its box.
fn prepare(leg: &Leg<'_>) -> Result<layout::StepFolder, StepFault> {
    let payload = leg.request.event.payload.to_string();
    leg.sandbox
        .put_file(Path::new(layout::EVENT_PATH), payload.as_bytes(), 0o644)
        .map_err(|error| box_trouble(&error))?;
    new_folder(leg)
}

/// Evaluates the job's outputs; one that holds a secret is left out, as GitHub does.
fn outputs(leg: &Leg<'_>, frame: &Frame<'_>) -> Outputs {
    let env = super::stage::job_env(leg);
    let fields = StepFields {
        action: "",
        path: "",
        repository: "",
        reference: "",
        status: None,
        folder: None,
    };
    let scope = StepScope {
        leg,
        frame,
        env: &env,
        fields,
    };
    let evaluated = Evaluator {
        file: leg.plan.file,
        scope: &scope,
    }
    .map(&leg.plan.job.outputs, &workflow::JOB_OUTPUTS);
    let pairs = match evaluated {
        Ok(pairs) => pairs,
        Err(diagnostic) => {
            let why = format!("The template is not valid. {diagnostic}");
            leg.say_error(0, &why);
            let mut state = leg.state();
            state.annotate(remark(AnnotationLevel::Error, why.clone()));
            if state.standing == Standing::Success {
                state.standing = Standing::Failure;
            }
            state.blame(Ending::Failed, &why);
            return Vec::new();
        }
    };
    let secrets = leg.state().secrets.clone();
    let (shown, hidden): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .partition(|(_, value)| mask_text(&secrets, value) == *value);
    for (name, _) in hidden {
        let message = format!("Skip output '{name}' since it may contain secret.");
        leg.state().annotate(remark(AnnotationLevel::Warning, message));
    }
    // An output that became nothing is not set.
    shown.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn finish(
    request: &RunRequest<'_>,
    order: &LegOrder<'_>,
    log: &LegLog,
    (mut state, outputs): (LegState, Outputs),
    receipt: SandboxReceipt,
) -> JobReport {
    if let Err(error) = log.finish() {
        state.blame(
            Ending::Trouble(Trouble::OutOfDisk),
            &format!("the log cannot be written: {error}"),
        );
    }
    let summary = match write_summary(request, order, &state) {
        Ok(path) => path,
        Err(error) => {
            let why = format!("the summary cannot be written: {error}");
            state.blame(Ending::Trouble(Trouble::OutOfDisk), &why);
            None
        }
    };
    let (ending, detail) = state.cause.take().unwrap_or((Ending::Passed, String::new()));
    let conclusion = match (state.standing, ending) {
        (Standing::Failure, _) | (_, Ending::Trouble(_)) => Conclusion::Failure,
        (Standing::Cancelled, Ending::Failed) => Conclusion::Failure,
        (Standing::Cancelled, _) => Conclusion::Cancelled,
        (Standing::Success, _) => Conclusion::Success,
    };
    let mut report = order.report(conclusion, ending, detail);
    report.steps = state.steps;
    report.steps.sort_by_key(|step| step.number);
    report.outputs = outputs;
    report.annotations = state.annotations;
    report.annotations_left_out = state.annotations_left_out;
    report.evidence = state.evidence;
    report.summary = summary;
    report.log = Some(log.path().to_owned());
    report.receipt = Some(receipt);
    mask_report(&mut report, &state.secrets);
    report
}

/// Masks whatever steps have written into a report with every secret there was in the end. Outputs of the job hold none.
fn mask_report(report: &mut JobReport, secrets: &Secrets) {
    let mask = |text: &mut String| *text = mask_text(secrets, text);
    mask(&mut report.name);
    mask(&mut report.detail);
    for step in &mut report.steps {
        mask(&mut step.name);
        mask(&mut step.detail);
        step.outputs.iter_mut().for_each(|(_, value)| mask(value));
    }
    for annotation in &mut report.annotations {
        let Annotation {
            message,
            title,
            file,
            code,
            ..
        } = annotation;
        mask(message);
        [title, file, code].into_iter().flatten().for_each(mask);
    }
    report.evidence.iter_mut().for_each(mask);
}

fn write_summary(
    request: &RunRequest<'_>,
    order: &LegOrder<'_>,
    state: &LegState,
) -> std::io::Result<Option<PathBuf>> {
    if state.summaries.is_empty() {
        return Ok(None);
    }
    let mut joined = Vec::new();
    for summary in state.summaries.values() {
        joined.extend_from_slice(summary);
        if !joined.ends_with(b"\n") {
            joined.push(b'\n');
        }
    }
    let path = order.file(request, ".summary.md");
    fs::write(&path, mask_bytes(&state.secrets, &joined))?;
    Ok(Some(path))
}

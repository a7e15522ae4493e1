//! The checks of one build, one fresh box each, in order. Owns how a box's ending reads, and that each box leaves its
//! receipt; decides nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_adapters::clock;
use gantry_adapters::engine::{
    CheckHooks, CheckReport, CheckSpec, ExecEnding, Network, Sandbox, SandboxControl, SandboxEnding,
    SandboxError, run_check_in,
};
use gantry_adapters::job::JobFolder;
use gantry_core::id::{BuildId, CommitId};
use gantry_core::limits::CHECK_OUTPUT_BYTES_MAX;
use gantry_core::mask::{Masker, Secrets, mask_text};
use gantry_core::queue::build::{CheckRun, Ending, Trouble};

use crate::boxes::BoxReport;
use crate::gate::{Check, Gate};
use crate::job::JobEvent;
use crate::profile::{Handed, Profile};
use crate::sandbox::{
    BoxPlan, Caches, Engines, Images, LogForm, Place, Receipt, Subject, Trust, receipt_name,
};

/// Everything the checks of one build need.
pub struct CheckJob {
    /// Which build.
    pub build: BuildId,
    /// What is checked out.
    pub commit: CommitId,
    /// The Git storage that holds it.
    pub repository: PathBuf,
    /// What has to pass.
    pub gate: Gate,
    /// What the boxes are given.
    pub profile: Profile,
    /// Makes the boxes.
    pub engines: Engines,
    /// Finds images.
    pub images: Arc<dyn Images>,
    /// Whose word the caches are.
    pub trust: Trust,
    /// Where logs and receipts go.
    pub folder: JobFolder,
    /// Ends it.
    pub control: SandboxControl,
    /// Told what happens.
    pub tell: Arc<dyn Fn(JobEvent) + Send + Sync>,
}

impl std::fmt::Debug for CheckJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckJob")
            .field("build", &self.build)
            .finish_non_exhaustive()
    }
}

impl CheckJob {
    /// Runs the checks in order; the first that does not pass ends the build.
    #[must_use]
    pub fn run(&self) -> BoxReport {
        let mut checks = Vec::with_capacity(self.gate.checks.len());
        let mut ending = Ending::Passed;
        for check in &self.gate.checks {
            (self.tell)(JobEvent::CheckStarted {
                name: check.name.clone(),
            });
            let run = self.check(check);
            ending = run.ending;
            (self.tell)(JobEvent::CheckEnded {
                name: check.name.clone(),
                ending: ending.as_str().to_owned(),
            });
            checks.push(run);
            if ending != Ending::Passed {
                break;
            }
        }
        BoxReport {
            build: self.build,
            ending,
            checks,
        }
    }

    fn check(&self, check: &Check) -> CheckRun {
        let name = format!("{}-{}", self.build, check.name);
        let subject = Subject::Commit {
            repository: self.repository.clone(),
            commit: self.commit,
        };
        let place = Place {
            folder: self.folder.path(),
            trust: &self.trust,
        };
        let plan = match BoxPlan::of(&self.profile, &name, subject, &self.engines, &*self.images, place) {
            Ok(plan) => plan,
            Err(error) => {
                let why = format!("gave no verdict: profile {:?}: {error}", self.profile.name);
                return check_run(
                    check,
                    Ending::Trouble(Trouble::CouldNotStart),
                    why,
                    Duration::ZERO,
                );
            }
        };
        let spec = CheckSpec {
            name,
            repository: self.repository.clone(),
            commit: self.commit,
            command: check.command.clone(),
            env: Vec::new(),
            timeout: check.timeout,
            output_bytes_max: CHECK_OUTPUT_BYTES_MAX,
            log: self.folder.file(&format!("{}.log", check.name)),
            fail_fast: check.fail_fast.clone(),
            network: Network::None,
        };
        let started_at = clock::now();
        let mut hooks = HandOver {
            handed: &plan.handed,
            caches: plan.caches.as_ref(),
            masker: Masker::new(&plan.secrets),
            notes: Vec::new(),
        };
        let report = run_check_in(&*plan.engine, &plan.spec, &spec, &mut hooks, &self.control);
        let (ending, detail) = words(&report.ending, check.timeout);
        let detail = mask_text(&plan.secrets, &detail);
        let notes = std::mem::take(&mut hooks.notes);
        self.keep_receipt(check, &plan, &report, (started_at.as_millis(), notes));
        if let Some(leftover) = &report.leftover {
            eprintln!(
                "{}: left behind: {leftover}; it is tried again at the next start",
                spec.name
            );
        }
        CheckRun {
            evidence: report.evidence,
            ..check_run(check, ending, detail, report.duration)
        }
    }

    fn keep_receipt(&self, check: &Check, plan: &BoxPlan, report: &CheckReport, at: (i64, Vec<String>)) {
        let mut receipt = Receipt::begin(&plan.spec, &plan.image, at.0);
        plan.engine.name().clone_into(&mut receipt.engine);
        receipt.command.clone_from(&check.command);
        receipt.ending = words(&report.ending, check.timeout).1;
        receipt.notes = at.1;
        if let Some(told) = report.receipt.clone() {
            receipt.finish(told, clock::now().as_millis());
        }
        receipt.usage.output_bytes = report.output_bytes;
        match LogForm::of(&self.folder.file(&format!("{}.log", check.name))) {
            Ok(form) => receipt.log = Some(form),
            Err(error) => receipt.notes.push(format!("the log cannot be read: {error}")),
        }
        write_receipt(&self.folder, &check.name, receipt, &plan.secrets);
    }
}

/// Writes the receipt of one box of a build; without it the verdict stands, and the log says so.
pub(crate) fn write_receipt(folder: &JobFolder, name: &str, receipt: Receipt, secrets: &Secrets) {
    let written = serde_json::to_vec_pretty(&receipt.masked(secrets))
        .map_err(std::io::Error::from)
        .and_then(|bytes| folder.write_whole(&receipt_name(name), &bytes));
    if let Err(error) = written {
        eprintln!("{name}: its receipt cannot be written: {error}");
    }
}

/// Hands in what a profile names, masks what comes out, and takes credentials back.
struct HandOver<'a> {
    handed: &'a Handed,
    caches: Option<&'a Caches>,
    masker: Masker,
    notes: Vec<String>,
}

impl CheckHooks for HandOver<'_> {
    fn opened(&mut self, sandbox: &dyn Sandbox) -> Result<(), SandboxError> {
        self.handed.write_files(sandbox)
    }

    fn closing(&mut self, sandbox: &dyn Sandbox, ending: &ExecEnding) {
        self.notes.extend(self.handed.take_back(sandbox));
        if let (Some(caches), ExecEnding::Exited { code: 0 }) = (self.caches, ending) {
            self.notes.extend(caches.publish(sandbox));
        }
    }

    fn show(&mut self, bytes: Option<&[u8]>, shown: &mut Vec<u8>) {
        match bytes {
            Some(bytes) => self.masker.push(bytes, shown),
            None => self.masker.finish(shown),
        }
    }
}

fn check_run(check: &Check, ending: Ending, detail: String, duration: Duration) -> CheckRun {
    CheckRun {
        name: check.name.clone(),
        ending,
        detail,
        duration,
        evidence: Vec::new(),
    }
}

/// Makes the report of a build that could not begin.
#[must_use]
pub fn trouble(build: BuildId, text: &str) -> BoxReport {
    trouble_of(build, Trouble::CouldNotStart, text)
}

pub(crate) fn trouble_of(build: BuildId, kind: Trouble, text: &str) -> BoxReport {
    let ending = Ending::Trouble(kind);
    BoxReport {
        build,
        ending,
        checks: vec![CheckRun {
            name: "box".into(),
            ending,
            detail: text.to_owned(),
            duration: Duration::ZERO,
            evidence: Vec::new(),
        }],
    }
}

/// Puts a box's ending into the build's words.
fn words(ending: &SandboxEnding, limit: Duration) -> (Ending, String) {
    match ending {
        SandboxEnding::Exited { code: 0 } => (Ending::Passed, "passed".into()),
        SandboxEnding::Exited { code } => (Ending::Failed, format!("failed (exit {code})")),
        SandboxEnding::Signalled { signal } => (Ending::Failed, format!("was ended by signal {signal}")),
        SandboxEnding::Refused(why) => (Ending::Failed, format!("could not be checked out: {why}")),
        // The limit is the profile's own, not the host's: the tree needs more than it may have.
        SandboxEnding::OutOfMemory => (
            Ending::Failed,
            "needed more memory than its profile gives it".into(),
        ),
        SandboxEnding::TimedOut => (
            Ending::TimedOut,
            format!("ran longer than its limit of {} s", limit.as_secs_f64()),
        ),
        SandboxEnding::Cancelled => (Ending::Cancelled, "was ended early".into()),
        SandboxEnding::Trouble(trouble, why) => {
            (Ending::Trouble(*trouble), format!("gave no verdict: {why}"))
        }
    }
}

//! One run of workflows: what it is given from a profile, and what its report comes to as checks of a build.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{Image, SandboxControl};
use gantry_adapters::job::JobFolder;
use gantry_ci::action::NoSource;
use gantry_ci::artifact::ArtifactStore;
use gantry_ci::cache::{CacheAccess, CacheStore};
use gantry_ci::mirror::Mirror;
use gantry_ci::run::{
    ConcurrencyGroups, Containers, Images as BoxImages, JobReport, RepositoryInput, RunEvent, RunIdentity,
    RunReport, RunRequest, Stores, WorkflowOutcome, run_workflows,
};
use gantry_core::limits::{WORKFLOW_CANCEL_GRACE, WORKFLOW_SLOTS_MAX};
use gantry_core::mask::Secrets;
use gantry_core::queue::build::{CheckRun, Ending, Trouble};
use gantry_workflow::graph::Conclusion;
use gantry_workflow::model::WorkflowFile;

use super::event::{EventChoice, EventName};
use crate::checks::write_receipt;
use crate::profile::{EngineName, Profile};
use crate::sandbox::{BoxPlan, Engines, Images, LogForm, Place, Receipt, Subject, Trust};

/// Everything one run of workflows needs.
pub struct WorkflowRun<'a> {
    /// The files: those the event starts run, the others may be called.
    pub files: &'a [WorkflowFile],
    /// What it is for.
    pub event: &'a EventChoice,
    /// The Git storage that holds the commit.
    pub repository: &'a Path,
    /// What the boxes are given.
    pub profile: &'a Profile,
    /// Makes the boxes.
    pub engines: &'a Engines,
    /// Finds images.
    pub images: &'a dyn Images,
    /// Where logs, summaries and artifacts go; it is there.
    pub folder: &'a Path,
    /// How many boxes may live at once.
    pub slots: usize,
    /// The number of the run.
    pub number: u64,
    /// Ends it.
    pub control: &'a SandboxControl,
    /// Is told what happens, from several threads.
    pub tell: &'a (dyn Fn(RunEvent<'_>) + Sync),
}

impl WorkflowRun<'_> {
    /// Runs the workflows to their end. Blocks.
    ///
    /// Errors: a sentence about what the run could not be given; nothing ran then.
    pub fn run(&self) -> Result<(RunReport, Secrets), String> {
        let trust = Trust {
            repository: self.repository.display().to_string(),
            access: self.access(),
        };
        let place = Place {
            folder: self.folder,
            trust: &trust,
        };
        let plan = BoxPlan::of(
            self.profile,
            "workflow",
            Subject::Nothing,
            self.engines,
            self.images,
            place,
        )
        .map_err(|error| error.to_string())?;
        let said = |error: &dyn std::error::Error| crate::line::chain(error);
        let data = &self.engines.data;
        let mirror = Mirror::open(&mirror_path(data)).map_err(|error| said(&error))?;
        let artifacts = ArtifactStore::open(&self.folder.join("artifacts")).map_err(|error| said(&error))?;
        let (owner, name) = &self.event.repository;
        let caches = CacheStore::open(&data.join("caches").join(plain(&format!("{owner}-{name}"))))
            .map_err(|error| said(&error))?;
        let access = self.access();
        let stores = Stores {
            artifacts: &artifacts,
            caches: &caches,
            access: &access,
            source: &NoSource,
        };
        let secrets: Vec<(String, String)> = plan.handed.masked.clone();
        let request = RunRequest {
            workflows: self.files,
            event: &self.event.input(),
            repository: &RepositoryInput {
                owner: owner.clone(),
                name: name.clone(),
                default_branch: self.event.branch.clone(),
                git_dir: self.repository.to_owned(),
            },
            actor: "gantry",
            vars: &[],
            secrets: &secrets,
            inputs: &self.event.inputs,
            engine: &*plan.engine,
            images: &self.box_images(&plan.spec.image),
            mounts: &plan.spec.mounts,
            env: &plan.handed.env,
            user: plan.spec.user,
            slots: self.slots.clamp(1, WORKFLOW_SLOTS_MAX),
            limits: &plan.spec.limits,
            network: &plan.spec.network,
            identity: RunIdentity {
                id: self.number,
                number: self.number,
                attempt: 1,
                debug: false,
            },
            folder: self.folder.to_owned(),
            stores: Some(&stores),
            library: &mirror,
            groups: &ConcurrencyGroups::default(),
            cancel_grace: WORKFLOW_CANCEL_GRACE,
            control: self.control,
            tell: self.tell,
        };
        let report = run_workflows(&request).map_err(|error| said(&error))?;
        Ok((report, plan.secrets))
    }

    fn access(&self) -> CacheAccess {
        let branch = &self.event.branch;
        // A control run is of the target's own commit.
        if self.event.base == Some(self.event.commit) {
            return CacheAccess::landed(branch, branch);
        }
        match self.event.name {
            EventName::MergeGroup | EventName::PullRequest => {
                CacheAccess::unmerged(&self.event.git_ref(), branch, branch)
            }
            EventName::Push | EventName::WorkflowDispatch | EventName::Schedule => {
                CacheAccess::landed(branch, branch)
            }
        }
    }

    fn box_images(&self, image: &Image) -> BoxImages {
        let mut labels: Vec<(String, Option<Image>)> = Vec::new();
        let asked = self.files.iter().flat_map(runs_on_labels);
        for label in asked.chain(["ubuntu-latest".to_owned()]) {
            if label.starts_with("ubuntu-") && !labels.iter().any(|(name, _)| *name == label) {
                labels.push((label, Some(image.clone())));
            }
        }
        for label in ["self-hosted", "linux", "x64"] {
            labels.push((label.to_owned(), Some(image.clone())));
        }
        BoxImages {
            labels,
            containers: match self.profile.engine {
                EngineName::Native => Containers::Known(self.images.all()),
                EngineName::Docker | EngineName::Podman => Containers::ByEngine,
            },
        }
    }
}

/// Versions of the runner's image that every `ubuntu-*` label means here.
fn runs_on_labels(_: &WorkflowFile) -> Vec<String> {
    [
        "ubuntu-latest",
        "ubuntu-24.04",
        "ubuntu-22.04",
        "ubuntu-20.04",
        "ubuntu-26.04",
        "ubuntu-slim",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Where the mirror of a data directory is.
#[must_use]
pub fn mirror_path(data: &Path) -> PathBuf {
    data.join("actions")
}

/// Names what the mirror of a data directory has, as a check of workflows asks for it: whole repositories. Whether one has
/// the action or workflow that is named in it shows when the run begins.
///
/// Errors: a sentence.
pub fn mirrored(data: &Path) -> Result<BTreeSet<String>, String> {
    let list = Mirror::open(&mirror_path(data)).and_then(|mirror| mirror.list());
    let list = list.map_err(|error| crate::line::chain(&error))?;
    Ok(list
        .into_iter()
        .map(|entry| format!("{}/*@{}", entry.repository.to_ascii_lowercase(), entry.version))
        .collect())
}

/// Puts a run's report into checks of a build: one for each leg of a job, with its log and receipt in the build's folder.
#[must_use]
pub fn check_runs(report: &RunReport, folder: &JobFolder, secrets: &Secrets, commit: &str) -> Vec<CheckRun> {
    let mut checks = Vec::new();
    for workflow in &report.workflows {
        let file = workflow.path.rsplit('/').next().unwrap_or(&workflow.path);
        let fault = match &workflow.outcome {
            WorkflowOutcome::Ran { fault, .. } => fault.clone(),
            WorkflowOutcome::Refused(what) => Some(
                what.iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
            WorkflowOutcome::Ignored(_) => None,
        };
        if let Some(detail) = fault {
            checks.push(CheckRun {
                name: plain(file),
                // What cannot be run says nothing about the tree.
                ending: match workflow.outcome {
                    WorkflowOutcome::Refused(_) => Ending::Trouble(Trouble::CouldNotStart),
                    _ => workflow.ending(),
                },
                detail,
                duration: std::time::Duration::ZERO,
                evidence: Vec::new(),
            });
        }
        // A job that was left out checked nothing.
        let jobs = workflow
            .jobs
            .iter()
            .filter(|job| job.conclusion != Conclusion::Skipped);
        for job in jobs {
            let name = plain(&format!("{file} {}", job.name));
            keep(job, &name, folder, secrets, commit);
            checks.push(CheckRun {
                name,
                ending: if job.tolerated { Ending::Passed } else { job.ending },
                detail: detail_of(job),
                duration: job.duration,
                evidence: if job.ending == Ending::Passed {
                    Vec::new()
                } else {
                    job.evidence.clone()
                },
            });
        }
    }
    checks
}

fn detail_of(job: &JobReport) -> String {
    let words = job.conclusion.as_str();
    let failed = job
        .steps
        .iter()
        .find(|step| step.conclusion == Conclusion::Failure);
    let place = failed.map_or(String::new(), |step| format!(" in step {:?}", step.name));
    let why = match (job.detail.is_empty(), failed) {
        (true, Some(step)) => &step.detail,
        (true, None) | (false, _) => &job.detail,
    };
    if why.is_empty() {
        format!("{words}{place}")
    } else {
        format!("{words}{place}: {why}")
    }
}

/// Puts a leg's log where logs of checks are, and writes its receipt.
fn keep(job: &JobReport, name: &str, folder: &JobFolder, secrets: &Secrets, commit: &str) {
    let mut receipt = Receipt {
        version: 1,
        name: name.to_owned(),
        commit: Some(commit.to_owned()),
        ending: job.conclusion.as_str().to_owned(),
        command: vec!["workflow".to_owned(), job.workflow.clone(), job.id.clone()],
        ..Receipt::default()
    };
    if let Some(told) = job.receipt.clone() {
        receipt.finish(told, gantry_adapters::clock::now().as_millis());
        let wall = i64::try_from(receipt.usage.wall_ms).unwrap_or(i64::MAX);
        receipt.started_at_ms = receipt.ended_at_ms.saturating_sub(wall);
    }
    if let Some(log) = &job.log {
        match LogForm::of(log) {
            Ok(form) => receipt.log = Some(form),
            Err(error) => receipt.notes.push(format!("the log cannot be read: {error}")),
        }
        // A second name for the same bytes, where `build log` looks.
        if let Err(error) = std::fs::hard_link(log, folder.file(&format!("{name}.log"))) {
            receipt
                .notes
                .push(format!("the log is only at {}: {error}", log.display()));
        }
    }
    write_receipt(folder, name, receipt, secrets);
}

/// Makes a text that can be a file's name: what separates paths or cannot be seen becomes a dash.
fn plain(text: &str) -> String {
    let name: String = text
        .chars()
        .take(100)
        .map(|c| {
            if c == '/' || c == '\\' || c.is_control() {
                '-'
            } else {
                c
            }
        })
        .collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("-{rest}"),
        None => name,
    }
}

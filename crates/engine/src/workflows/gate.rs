//! The workflows of a gate: whether they can be its checks, and what they are run for. Owns the rule that their text comes
//! from the target, never from the change under test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_adapters::engine::SandboxControl;
use gantry_adapters::git::{GitError, GitRepository};
use gantry_adapters::job::JobFolder;
use gantry_ci::run::RunEvent;
use gantry_core::id::{BuildId, CommitId};
use gantry_core::queue::build::{CheckRun, Ending, Trouble};
use gantry_workflow::model::WorkflowFile;
use sha2::{Digest as _, Sha256};

use super::event::{EventChoice, EventName};
use super::files::{FoundWorkflow, WORKFLOWS, find_workflows};
use super::look::{Look, known, look_at};
use super::run::{WorkflowRun, check_runs, mirrored};
use crate::gate::Gate;
use crate::job::JobEvent;
use crate::profile::{EngineName, Profile};
use crate::sandbox::{Engines, Images};

/// The events a gate's workflow may be written for, the best first: a repository whose workflow knows no merge queue is
/// run as its change or its push would be.
const EVENTS: [EventName; 3] = [EventName::MergeGroup, EventName::PullRequest, EventName::Push];

/// What a gate's workflows are at a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GateWorkflows {
    /// Changes with the text of any workflow; empty if there are none.
    pub digest: String,
    /// Why they cannot be checks, a line each; empty if they can.
    pub problems: Vec<String>,
}

impl GateWorkflows {
    /// Returns what a verdict names its checks by: the gate file's content, and that of the workflows if it has any.
    #[must_use]
    pub fn digest_of_gate(&self, file: &str) -> String {
        if self.digest.is_empty() {
            file.to_owned()
        } else {
            format!("{file}+{}", self.digest)
        }
    }
}

/// Looks at the workflows a gate names, as a commit has them.
///
/// `data` is the data directory, whose mirror and profiles say what can be had. Errors: [`GitError`].
pub fn examine_gate(
    repository: &GitRepository,
    at: CommitId,
    gate: &Gate,
    data: Option<&Path>,
) -> Result<GateWorkflows, GitError> {
    if gate.workflows.is_empty() {
        return Ok(GateWorkflows::default());
    }
    let found = find_workflows(repository, at)?;
    let (engine, mirror) = match data {
        Some(data) => (
            engine_of(gate, data),
            // A mirror that cannot be read has nothing; the run itself says why.
            mirrored(data).unwrap_or_default(),
        ),
        None => (EngineName::Native, std::collections::BTreeSet::new()),
    };
    let look = look_at(&found, &known(engine, mirror, true));
    let mut problems = look.refusals(|file| is_named(gate, file));
    for name in &gate.workflows {
        if !found.iter().any(|workflow| workflow.name() == name) {
            problems.push(format!(
                "{WORKFLOWS}/{name} is not there; take it out of `workflows`, or commit it"
            ));
        }
    }
    for file in look.files.iter().filter(|file| is_named(gate, &file.path)) {
        if event_for(file).is_none() {
            problems.push(format!(
                "{} is started by none of merge_group, pull_request and push; add `merge_group:` to its `on:`",
                file.path
            ));
        }
    }
    Ok(GateWorkflows {
        digest: digest_of(&found),
        problems,
    })
}

fn engine_of(gate: &Gate, data: &Path) -> EngineName {
    let engines = Engines::load(data, &data.join("boxes"));
    let profile = engines
        .and_then(|engines| Profile::find(gate.profile.as_deref(), &engines.file.profiles, &gate.profiles));
    // A profile that is not there stops the build, with its own words.
    profile.map_or(EngineName::Native, |profile| profile.engine)
}

fn is_named(gate: &Gate, path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    gate.workflows.iter().any(|name| name == file)
}

fn digest_of(found: &[FoundWorkflow]) -> String {
    let mut hash = Sha256::new();
    for workflow in found {
        hash.update(workflow.path.as_bytes());
        hash.update([0]);
        hash.update(workflow.id.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the event a workflow is run for as a check, if any starts it on the protected branch, whatever it is called.
fn event_for(file: &WorkflowFile) -> Option<EventName> {
    let listens = |name: EventName| file.on.iter().any(|trigger| trigger.event.value == name.as_str());
    EVENTS.into_iter().find(|name| listens(*name))
}

/// The workflows of one build.
pub struct WorkflowChecks<'a> {
    /// Which build.
    pub build: BuildId,
    /// The commit under test.
    pub commit: CommitId,
    /// The commit of the target below it, whose workflows count.
    pub base: CommitId,
    /// The protected branch.
    pub target: &'a str,
    /// The repository's name in the factory.
    pub name: &'a str,
    /// Its Git storage.
    pub repository: &'a Path,
    /// The gate.
    pub gate: &'a Gate,
    /// What boxes are given.
    pub profile: &'a Profile,
    /// Makes them.
    pub engines: &'a Engines,
    /// Finds images.
    pub images: &'a dyn Images,
    /// The build's folder.
    pub folder: &'a JobFolder,
    /// Boxes at once.
    pub slots: usize,
    /// Ends it.
    pub control: &'a SandboxControl,
    /// Told what happens.
    pub tell: Arc<dyn Fn(JobEvent) + Send + Sync>,
}

impl WorkflowChecks<'_> {
    /// Runs the gate's workflows and returns a check for each leg of their jobs.
    #[must_use]
    pub fn run(&self) -> Vec<CheckRun> {
        self.try_run().unwrap_or_else(|why| vec![trouble(&why)])
    }

    fn try_run(&self) -> Result<Vec<CheckRun>, String> {
        let said = |error: &dyn std::error::Error| crate::line::chain(error);
        let repository = GitRepository::open(self.repository).map_err(|error| said(&error))?;
        let found = find_workflows(&repository, self.base).map_err(|error| said(&error))?;
        let mirror = mirrored(&self.engines.data)?;
        let look = look_at(&found, &known(self.profile.engine, mirror, true));
        let refused = look.refusals(|file| is_named(self.gate, file));
        if !refused.is_empty() {
            return Err(refused.join("; "));
        }
        let message = repository
            .subject_and_author(self.commit)
            .map_err(|error| said(&error))?;
        let mut checks = Vec::new();
        for event in EVENTS {
            let files = self.files_for(&look, event);
            if files.iter().all(|file| !is_named(self.gate, &file.path)) {
                continue;
            }
            let choice = EventChoice {
                name: event,
                repository: ("local".to_owned(), self.name.to_owned()),
                branch: self.target.to_owned(),
                commit: self.commit,
                base: Some(self.base),
                head_branch: format!("gantry-queue/{}", self.build),
                inputs: Vec::new(),
                changed_paths: None,
                message: message.clone(),
            };
            checks.extend(self.run_event(&files, &choice)?);
            if checks.iter().any(|check| check.ending != Ending::Passed) {
                break;
            }
        }
        if checks.is_empty() {
            return Err(
                "no job of the gate's workflows ran: their conditions or filters leave all of them out"
                    .to_owned(),
            );
        }
        Ok(checks)
    }

    fn run_event(&self, files: &[WorkflowFile], choice: &EventChoice) -> Result<Vec<CheckRun>, String> {
        let folder: PathBuf = self.folder.file(choice.name.as_str());
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let tell = |event: RunEvent<'_>| match event {
            RunEvent::JobStarted { job } => (self.tell)(JobEvent::CheckStarted { name: job.to_owned() }),
            RunEvent::StepEnded {
                job,
                name,
                conclusion,
                duration,
                ..
            } => (self.tell)(JobEvent::StepEnded {
                job: job.to_owned(),
                step: name.to_owned(),
                ending: conclusion.as_str().to_owned(),
                duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            }),
            RunEvent::JobEnded(report) => (self.tell)(JobEvent::CheckEnded {
                name: report.name.clone(),
                ending: report.ending.as_str().to_owned(),
            }),
            RunEvent::WorkflowIgnored { .. }
            | RunEvent::WorkflowStarted { .. }
            | RunEvent::StepStarted { .. }
            | RunEvent::Lines { .. }
            | RunEvent::WorkflowEnded { .. } => {}
        };
        let run = WorkflowRun {
            files,
            event: choice,
            repository: self.repository,
            profile: self.profile,
            engines: self.engines,
            images: self.images,
            folder: &folder,
            slots: self.slots,
            number: self.build.number(),
            control: self.control,
            tell: &tell,
        };
        let (report, secrets) = run.run()?;
        Ok(check_runs(
            &report,
            self.folder,
            &secrets,
            &self.commit.to_string(),
        ))
    }

    /// Returns the named files that this event is the best for, and of the others what may be called.
    fn files_for(&self, look: &Look, event: EventName) -> Vec<WorkflowFile> {
        let mut files = Vec::new();
        for file in &look.files {
            if is_named(self.gate, &file.path) && event_for(file) == Some(event) {
                files.push(file.clone());
                continue;
            }
            let mut called = file.clone();
            called.on.retain(|trigger| trigger.event.value == "workflow_call");
            if !called.on.is_empty() {
                files.push(called);
            }
        }
        files
    }
}

fn trouble(why: &str) -> CheckRun {
    CheckRun {
        name: "workflows".to_owned(),
        ending: Ending::Trouble(Trouble::CouldNotStart),
        detail: format!("gave no verdict: {why}"),
        duration: std::time::Duration::ZERO,
        evidence: Vec::new(),
    }
}

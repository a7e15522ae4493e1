//! One way to run workflows in a test: what is given, and what came of it in few words.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use gantry_adapters::engine::{Image, Limits, Network, SandboxControl};
use gantry_ci::action::NoSource;
use gantry_ci::artifact::ArtifactStore;
use gantry_ci::cache::{CacheAccess, CacheStore};
use gantry_ci::run::{
    ActionPart, ConcurrencyGroups, Containers, EventInput, Images, JobReport, Library, RepositoryInput,
    RunEvent, RunIdentity, RunReport, RunRequest, Stores, run_workflows,
};
use gantry_core::id::CommitId;
use gantry_workflow::model::WorkflowFile;

use super::host_engine::HostEngine;

/// A repository of another owner: `owner/name@ref`, paths and texts.
pub type Mirrored = (String, Vec<(String, String)>);

/// What a run is given.
pub struct World {
    pub engine: HostEngine,
    pub event: EventInput,
    pub vars: Vec<(String, String)>,
    pub secrets: Vec<(String, String)>,
    pub inputs: Vec<(String, String)>,
    pub mirrored: Vec<Mirrored>,
    pub slots: usize,
    pub cancel_grace: Duration,
    pub control: SandboxControl,
    pub groups: ConcurrencyGroups,
    pub folder: tempfile::TempDir,
    /// What was told, in few words.
    pub told: Mutex<Vec<String>>,
}

impl Default for World {
    fn default() -> Self {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        Self {
            engine: HostEngine::default(),
            event: EventInput {
                name: "push".into(),
                payload: serde_json::json!({"ref": "refs/heads/main", "head_commit": {"message": "a message"}}),
                git_ref: "refs/heads/main".into(),
                commit: commit.parse::<CommitId>().expect("it is a commit"),
                base_ref: String::new(),
                head_ref: String::new(),
                changed_paths: None,
            },
            vars: Vec::new(),
            secrets: Vec::new(),
            inputs: Vec::new(),
            mirrored: Vec::new(),
            slots: 2,
            cancel_grace: Duration::from_secs(30),
            control: SandboxControl::default(),
            groups: ConcurrencyGroups::default(),
            folder: tempfile::tempdir().expect("a folder"),
            told: Mutex::default(),
        }
    }
}

impl Library for World {
    fn repository(
        &self,
        owner: &str,
        name: &str,
        reference: &str,
    ) -> Result<Option<Vec<ActionPart>>, String> {
        let wanted = format!("{owner}/{name}@{reference}");
        let found = self.mirrored.iter().find(|(name, _)| *name == wanted);
        Ok(found.map(|(_, files)| {
            let part = |(path, text): &(String, String)| ActionPart {
                path: PathBuf::from(path),
                mode: 0o755,
                bytes: text.as_bytes().to_vec(),
            };
            files.iter().map(part).collect()
        }))
    }
}

impl World {
    /// Runs workflows, given as paths and texts.
    pub fn run(&self, texts: &[(&str, &str)]) -> RunReport {
        let files: Vec<WorkflowFile> = texts
            .iter()
            .map(|(path, text)| {
                WorkflowFile::parse(path, text).unwrap_or_else(|faults| panic!("{path}: {faults:?}"))
            })
            .collect();
        let tell = |event: RunEvent<'_>| {
            let line = match event {
                RunEvent::StepStarted { job, name, .. } => format!("{job}: {name} starts"),
                RunEvent::StepEnded {
                    job,
                    name,
                    conclusion,
                    ..
                } => format!("{job}: {name} {}", conclusion.as_str()),
                RunEvent::JobEnded(report) => format!("{} {}", report.name, report.conclusion.as_str()),
                RunEvent::WorkflowIgnored { workflow, reason } => format!("{workflow} ignored: {reason}"),
                _ => return,
            };
            self.told.lock().expect("nobody panics with it").push(line);
        };
        let images = Images {
            labels: vec![
                ("ubuntu-latest".into(), Some(Image::Host)),
                ("self-hosted".into(), None),
            ],
            containers: Containers::Known(vec![("debian:13".into(), Image::Host)]),
        };
        let repository = RepositoryInput {
            owner: "octo".into(),
            name: "repo".into(),
            default_branch: "main".into(),
            git_dir: self.folder.path().join("origin"),
        };
        let artifacts = ArtifactStore::open(&self.folder.path().join("artifacts")).expect("it opens");
        let caches = CacheStore::open(&self.folder.path().join("caches")).expect("it opens");
        let access = CacheAccess::landed("main", "main");
        let stores = Stores {
            artifacts: &artifacts,
            caches: &caches,
            access: &access,
            source: &NoSource,
        };
        let request = RunRequest {
            workflows: &files,
            event: &self.event,
            repository: &repository,
            actor: "ada",
            vars: &self.vars,
            secrets: &self.secrets,
            inputs: &self.inputs,
            engine: &self.engine,
            images: &images,
            mounts: &[],
            env: &[],
            user: gantry_adapters::engine::BoxUser::Plain,
            slots: self.slots,
            limits: &Limits::default(),
            network: &Network::None,
            identity: RunIdentity {
                id: 7,
                number: 3,
                attempt: 1,
                debug: false,
            },
            folder: self.folder.path().to_owned(),
            stores: Some(&stores),
            library: self,
            groups: &self.groups,
            cancel_grace: self.cancel_grace,
            control: &self.control,
            tell: &tell,
        };
        let report = run_workflows(&request).expect("the secrets can be masked");
        assert_eq!(
            self.engine.living.lock().expect("nobody panics with it").0,
            0,
            "every box is closed"
        );
        report
    }

    /// Runs one workflow.
    pub fn run_one(&self, text: &str) -> RunReport {
        self.run(&[(".github/workflows/ci.yml", text)])
    }
}

/// Returns the log of a job.
pub fn log_of(job: &JobReport) -> String {
    let path = job.log.as_ref().expect("it has a log");
    String::from_utf8_lossy(&std::fs::read(path).expect("the log is there")).into_owned()
}

/// Returns the job of a name.
pub fn job<'r>(report: &'r RunReport, name: &str) -> &'r JobReport {
    let mut jobs = report.workflows.iter().flat_map(|workflow| &workflow.jobs);
    jobs.find(|job| job.name == name)
        .unwrap_or_else(|| panic!("no job {name} in {report:#?}"))
}

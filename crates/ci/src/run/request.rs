//! What a run is asked for. Owns plain values and the questions a run puts to its owner; must never act.

use std::path::PathBuf;
use std::time::Duration;

use gantry_adapters::engine::{BoxUser, Image, Limits, Mount, Network, SandboxControl, SandboxEngine};
use gantry_core::id::CommitId;
use gantry_workflow::model::WorkflowFile;

use super::concurrency::ConcurrencyGroups;
use super::event::RunEvent;
use crate::action::Source;
use crate::artifact::ArtifactStore;
use crate::cache::{CacheAccess, CacheStore};

/// One run of a commit's workflows for one event.
pub struct RunRequest<'a> {
    /// The commit's workflow files: those the event starts are run, the others may be called.
    pub workflows: &'a [WorkflowFile],
    /// The event.
    pub event: &'a EventInput,
    /// The repository.
    pub repository: &'a RepositoryInput,
    /// Who caused it.
    pub actor: &'a str,
    /// `vars`.
    pub vars: &'a [(String, String)],
    /// `secrets`; every value is masked wherever it would be shown.
    pub secrets: &'a [(String, String)],
    /// `inputs` of a `workflow_dispatch`, as text.
    pub inputs: &'a [(String, String)],
    /// What makes boxes.
    pub engine: &'a dyn SandboxEngine,
    /// Which image stands for which label.
    pub images: &'a Images,
    /// What else each box is handed in.
    pub mounts: &'a [Mount],
    /// Variables every box has; those of the workflow count before them.
    pub env: &'a [(String, String)],
    /// Whom steps run as.
    pub user: BoxUser,
    /// How many boxes with steps may live at once; at least 1.
    pub slots: usize,
    /// What a box may use.
    pub limits: &'a Limits,
    /// What a box can reach.
    pub network: &'a Network,
    /// Which run this is.
    pub identity: RunIdentity,
    /// Where logs, summaries and artifacts go; it is there.
    pub folder: PathBuf,
    /// Artifacts, caches and other commits for built-in actions; without them every built-in action fails.
    pub stores: Option<&'a Stores<'a>>,
    /// Actions and workflows of other repositories.
    pub library: &'a dyn Library,
    /// The groups of `concurrency` that this run shares with others.
    pub groups: &'a ConcurrencyGroups,
    /// How long jobs that are cancelled may go on with steps that want to run all the same.
    pub cancel_grace: Duration,
    /// Ends the run early.
    pub control: &'a SandboxControl,
    /// Is told what happens, from several threads.
    pub tell: &'a (dyn Fn(RunEvent<'_>) + Sync),
}

/// What built-in actions work with.
pub struct Stores<'a> {
    /// The run's artifacts.
    pub artifacts: &'a ArtifactStore,
    /// The repository's caches.
    pub caches: &'a CacheStore,
    /// Which of them the run may read and write.
    pub access: &'a CacheAccess,
    /// Where other commits and repositories come from.
    pub source: &'a dyn Source,
}

/// The numbers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunIdentity {
    /// `github.run_id`.
    pub id: u64,
    /// `github.run_number`.
    pub number: u64,
    /// `github.run_attempt`, from 1.
    pub attempt: u64,
    /// `runner.debug`: steps show what they only tell those who debug.
    pub debug: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub struct EventInput {
    /// The event's name, such as `push`.
    pub name: String,
    /// What `github.event` holds.
    pub payload: serde_json::Value,
    /// `github.ref`, such as `refs/heads/main`.
    pub git_ref: String,
    /// `github.sha`: the commit that is run.
    pub commit: CommitId,
    /// `github.base_ref`, for pull requests.
    pub base_ref: String,
    /// `github.head_ref`, for pull requests.
    pub head_ref: String,
    /// The paths that changed; `None` if nobody knows, which passes every path filter.
    pub changed_paths: Option<Vec<String>>,
}

/// The repository whose workflows run.
#[derive(Debug, Clone)]
pub struct RepositoryInput {
    /// Its owner.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Its default branch.
    pub default_branch: String,
    /// The Git directory that holds the commit.
    pub git_dir: PathBuf,
}

/// Which image a job runs on.
#[derive(Debug, Clone, Default)]
pub struct Images {
    /// Labels of `runs-on`, in lower case; a job's labels must all be known, the first that has an image decides.
    pub labels: Vec<(String, Option<Image>)>,
    /// How `container` and services find their image.
    pub containers: Containers,
}

/// How the names of images are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Containers {
    /// Only these names are known.
    Known(Vec<(String, Image)>),
    /// The engine itself finds whatever is named.
    ByEngine,
}

impl Default for Containers {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

impl Images {
    /// Finds the image for the labels of a job.
    ///
    /// Errors: what is missing, in a sentence.
    pub fn for_labels(&self, labels: &[String]) -> Result<Image, String> {
        let mut chosen = None;
        for label in labels {
            let known = self
                .labels
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(label));
            let Some((_, image)) = known else {
                return Err(format!(
                    "no image stands for the label '{label}' of runs-on; name one for it"
                ));
            };
            chosen = chosen.or(image.as_ref());
        }
        chosen.cloned().ok_or_else(|| {
            let labels = labels.join(", ");
            format!("none of the labels '{labels}' of runs-on has an image; name one for it")
        })
    }

    /// Finds an image by the name a container gives it.
    ///
    /// Errors: what is missing, in a sentence.
    pub fn for_container(&self, name: &str) -> Result<Image, String> {
        match &self.containers {
            Containers::ByEngine => Ok(Image::Named(name.to_owned())),
            Containers::Known(known) => known
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, image)| image.clone())
                .ok_or_else(|| {
                    format!("the image '{name}' is not among those that are known here; import it first")
                }),
        }
    }
}

/// A file of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionPart {
    /// Where it is, relative to the repository's root.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Actions and workflows of other repositories, as they are kept here.
pub trait Library: Sync {
    /// Returns every file of a repository at a reference; `None` if it is not kept here.
    ///
    /// Errors: what kept it from being read, in a sentence.
    fn repository(&self, owner: &str, name: &str, reference: &str)
    -> Result<Option<Vec<ActionPart>>, String>;
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoLibrary;

impl Library for NoLibrary {
    fn repository(&self, _: &str, _: &str, _: &str) -> Result<Option<Vec<ActionPart>>, String> {
        Ok(None)
    }
}

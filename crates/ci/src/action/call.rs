//! What a built-in action is given and what it leaves. Owns plain values and the questions that all actions ask of a
//! box; must never know which action it is.

use std::path::{Path, PathBuf};

use gantry_adapters::engine::{Sandbox, SandboxControl, SandboxError};
use gantry_core::time::Timestamp;

use super::checkout::{Source, SourceError};
use super::inputs::{InputError, Inputs};
use crate::artifact::{ArtifactStore, DownloadError, NameError, StoreError, UploadError};
use crate::cache::{Bases, CacheAccess, CacheSpec, CacheStore, KeyError, TransferError};
use crate::files::{Asked, PatternError, SearchError, ShellError, ask};
use crate::mask::MaskSource;
use crate::version::VersionFileError;

/// What a line of an action's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// A plain line.
    Info,
    /// Shown to whoever asks for more.
    Debug,
    /// An annotation.
    Warning,
}

/// Takes the lines of an action's log.
pub type Log<'a> = dyn FnMut(LogLevel, &str) + 'a;

/// What a run gives to all of its actions.
pub struct RunStores<'a> {
    /// The run's artifacts.
    pub artifacts: &'a ArtifactStore,
    /// The repository's caches.
    pub caches: &'a CacheStore,
    /// Which of them the run may read and write.
    pub access: &'a CacheAccess,
    /// Where other commits and repositories come from.
    pub source: &'a dyn Source,
    /// Through what everything goes that people may read.
    pub mask: &'a MaskSource<'a>,
}

/// One use of an action in a step.
pub struct ActionCall<'a> {
    /// What stands after `@`.
    pub version: &'a str,
    /// The `with` of the step.
    pub inputs: Inputs,
    /// The step's environment: `HOME`, `PATH`, `GITHUB_*` and `RUNNER_*` among it; the later of two equal names wins.
    pub env: Vec<(String, String)>,
    /// The workspace in the box; absolute.
    pub workspace: &'a Path,
    /// The box.
    pub sandbox: &'a dyn Sandbox,
    /// Ends what runs in it.
    pub control: &'a SandboxControl,
    /// What the run has.
    pub stores: &'a RunStores<'a>,
    /// Now.
    pub now: Timestamp,
    /// Takes its log.
    pub log: &'a mut Log<'a>,
}

/// A problem matcher that is to be registered, as the JSON its own file would hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matcher(pub &'static str);

/// When the post step of an action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostWhen {
    /// Whatever happened.
    Always,
    /// If the job went well so far.
    Success,
    /// If the job went well, or a variable of the environment is `true`.
    SuccessOr(&'static str),
}

/// What an action does at the end of its job.
pub type PostStep = fn(&mut ActionCall<'_>, &[(String, String)]) -> Result<(), ActionError>;

/// What an action leaves.
#[derive(Debug, Clone, Default)]
pub struct ActionOutcome {
    /// Its outputs.
    pub outputs: Vec<(String, String)>,
    /// Variables for the steps after it.
    pub env: Vec<(String, String)>,
    /// Directories put before `PATH` for the steps after it; the last one ends up first.
    pub path: Vec<String>,
    /// What its post step is handed.
    pub state: Vec<(String, String)>,
    /// Problem matchers for the steps after it.
    pub matchers: Vec<Matcher>,
    /// Its post step.
    pub post: Option<(PostWhen, PostStep)>,
}

impl ActionOutcome {
    pub(super) fn output(&mut self, name: &str, value: impl Into<String>) {
        self.outputs.push((name.to_owned(), value.into()));
    }

    pub(super) fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.env.push((name.to_owned(), value.into()));
    }

    pub(super) fn save_state(&mut self, name: &str, value: impl Into<String>) {
        self.state.push((name.to_owned(), value.into()));
    }
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// An input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// What is asked for cannot be had without a network.
    #[error("{0}")]
    Offline(String),
    /// A tool is not there in a version that is asked for.
    #[error(
        "{tool} {wanted} is not in this box, and nothing is downloaded; there {}",
        present_text(present)
    )]
    Missing {
        /// The tool.
        tool: String,
        /// What is asked for.
        wanted: String,
        /// What there is.
        present: Vec<String>,
    },
    /// What the official action would fail with.
    #[error("{0}")]
    Failed(String),
    /// A file that names a version.
    #[error(transparent)]
    VersionFile(#[from] VersionFileError),
    /// Patterns.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A search in the box.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A cache.
    #[error(transparent)]
    Cache(#[from] TransferError),
    /// A cache's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An artifact's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An artifact.
    #[error(transparent)]
    Artifact(#[from] StoreError),
    /// An artifact that was to be kept.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// An artifact that was to arrive.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A command in the box.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The box.
    #[error(transparent)]
    Box(#[from] SandboxError),
    /// Another commit or repository.
    #[error(transparent)]
    Source(#[from] SourceError),
}

fn present_text(present: &[String]) -> String {
    match present {
        [] => "is none at all".to_owned(),
        [one] => format!("is only {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

impl<'a> ActionCall<'a> {
    /// Returns a variable of the step's environment; one that is empty is none.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().rev().find(|(other, _)| other == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Returns the home of the box's user.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }

    /// Returns the directory for temporary files in the box.
    #[must_use]
    pub fn temp(&self) -> PathBuf {
        self.var("RUNNER_TEMP")
            .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
    }

    /// Returns the architecture as the official runner names it, in small letters.
    pub(super) fn arch(&self) -> String {
        self.var("RUNNER_ARCH").unwrap_or("X64").to_lowercase()
    }

    pub(super) fn say(&mut self, text: &str) {
        (self.log)(LogLevel::Info, text);
    }

    pub(super) fn warn(&mut self, text: &str) {
        (self.log)(LogLevel::Warning, text);
    }

    pub(super) fn debug(&mut self, text: &str) {
        (self.log)(LogLevel::Debug, text);
    }

    /// Says of inputs that were given that they change nothing here.
    pub(super) fn without_effect(&mut self, names: &[&str], why: &str) {
        for name in names {
            let value = self.inputs.get(name);
            if !matches!(value, "" | "false") {
                let text = format!("the input {name} has no effect: {why}");
                self.debug(&text);
            }
        }
    }

    /// Refuses programs of another architecture than the box's.
    pub(super) fn check_architecture(&self) -> Result<(), ActionError> {
        let plain = |name: &str| match name.to_lowercase().as_str() {
            "amd64" | "x86_64" => "x64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        let wanted = self.inputs.get("architecture");
        if wanted.is_empty() || plain(wanted) == plain(&self.arch()) {
            return Ok(());
        }
        Err(ActionError::Offline(format!(
            "this box is {}, and has no programs for {wanted}",
            self.arch()
        )))
    }

    /// Runs a command in the workspace.
    pub(super) fn ask(&self, command: &[&str]) -> Result<Asked, ActionError> {
        self.ask_in(command, self.workspace)
    }

    /// Runs a command in a directory.
    pub(super) fn ask_in(&self, command: &[&str], directory: &Path) -> Result<Asked, ActionError> {
        Ok(ask(self.sandbox, self.control, command, &self.env, directory)?)
    }

    /// Runs a command in a directory that has to end well, and returns what it wrote without the last line feed.
    pub(super) fn tell_in(&self, command: &[&str], directory: &Path) -> Result<String, ActionError> {
        let asked = self.ask_in(command, directory)?;
        if asked.code == 0 {
            return Ok(asked.text.trim_end().to_owned());
        }
        Err(ActionError::Shell(ShellError::Failed {
            command: command.join(" "),
            code: asked.code,
            text: asked.text.trim().to_owned(),
        }))
    }

    /// Returns a path of the box from an input: `~`, relative to the workspace, or absolute.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix('~'), self.home()) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => self.workspace.join(text),
        }
    }

    pub(super) fn bases(&self) -> Bases {
        Bases {
            workspace: self.workspace.to_owned(),
            home: self.home(),
        }
    }

    /// Hands on what moves caches of some paths.
    pub(super) fn with_cache<T>(&self, paths: &str, act: impl FnOnce(&CacheSpec<'_>) -> T) -> T {
        act(&CacheSpec {
            sandbox: self.sandbox,
            control: self.control,
            env: &self.env,
            bases: &self.bases(),
            temp: &self.temp(),
            paths,
            now: self.now,
        })
    }

    /// Reads a text file of the box; `None` if there is none.
    pub(super) fn read_file(&self, at: &Path) -> Result<Option<String>, ActionError> {
        crate::files::read_text(self.sandbox, at).map_err(ActionError::Box)
    }
}

//! Where things are in a box. Owns the paths; must never look whether something is there.

use std::path::PathBuf;

use gantry_workflow::model::RemoteRef;

/// Where everything of a run is in a box, as a literal to build the others from. `HOME` is the box's own.
macro_rules! home {
    () => {
        "/home/runner"
    };
}

/// Where workspaces, actions and temporary files are.
pub(super) const WORK: &str = concat!(home!(), "/work");
/// `RUNNER_TEMP`.
pub(super) const TEMP: &str = concat!(home!(), "/work", "/_temp");
/// Where actions of other repositories are.
pub(super) const ACTIONS: &str = concat!(home!(), "/work", "/_actions");
/// `RUNNER_TOOL_CACHE`.
pub(super) const TOOL_CACHE: &str = "/opt/hostedtoolcache";
/// `GITHUB_EVENT_PATH`.
pub(super) const EVENT_PATH: &str = concat!(home!(), "/work", "/_temp/_github_workflow/event.json");

/// Returns where the workspace of a repository is.
pub(super) fn workspace(repository: &str) -> String {
    format!("{WORK}/{repository}/{repository}")
}

/// Returns where an action of another repository is.
pub(super) fn action_root(action: &RemoteRef) -> PathBuf {
    PathBuf::from(format!(
        "{ACTIONS}/{}/{}/{}",
        action.owner,
        action.repository,
        action.reference.replace(['/', '\\'], "_")
    ))
}

/// The files of one step, in a folder of their own; one step at a time uses a folder.
#[derive(Debug, Clone)]
pub(super) struct StepFolder {
    /// The folder.
    pub(super) path: String,
}

impl StepFolder {
    /// Names the folder of a place: 0 for steps that run one after the other, others for background steps.
    pub(super) fn new(place: usize) -> Self {
        Self {
            path: format!("{TEMP}/_runner_file_commands/{place}"),
        }
    }

    /// Returns where a step's script goes, but for what its name ends with.
    pub(super) fn script(&self, step: &str) -> String {
        format!(
            "{}-{step}",
            self.path.replace("_runner_file_commands/", "script-")
        )
    }

    /// Returns the path of one of [`COMMAND_FILES`].
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// The files a step may write, and the variable and the key of `github` that name each.
pub(super) const COMMAND_FILES: [(&str, &str, &str); 5] = [
    ("env", "GITHUB_ENV", "env"),
    ("path", "GITHUB_PATH", "path"),
    ("output", "GITHUB_OUTPUT", "output"),
    ("state", "GITHUB_STATE", "state"),
    ("step_summary", "GITHUB_STEP_SUMMARY", "step_summary"),
];

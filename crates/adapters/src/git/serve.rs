//! Making and serving repositories that gantry owns. Owns their configuration; must never touch a repository of
//! somebody else.

use std::path::Path;
use std::process::Command;

use gantry_core::id::BranchName;

use super::GitProgram;
use super::program::ProgramError;

/// How long writing one setting may take.
const CONFIG_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// What a repository that takes offers by push is told.
const SERVED: [(&str, &str); 5] = [
    // Pushes to refs/for/ go to the hook instead of making refs.
    ("receive.procReceiveRefs", "refs/for"),
    ("receive.advertisePushOptions", "true"),
    // gantry's own refs are its journal: nobody else may see or write them.
    ("transfer.hideRefs", "refs/gantry"),
    ("receive.denyDeleteCurrent", "refuse"),
    ("receive.fsckObjects", "true"),
];

impl GitProgram {
    /// Prepares `git http-backend` over the repositories below `root`: hooks are those gantry wrote there.
    ///
    /// The caller adds the request's variables, and owns the process. Only with a `REMOTE_USER` may a request write.
    #[must_use]
    pub fn http_backend(root: &Path) -> Command {
        let mut command = crate::process::command("git");
        command
            .arg("http-backend")
            .current_dir(root)
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("GIT_PROJECT_ROOT", root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("LC_ALL", "C");
        command
    }

    /// Writes the settings of a repository that takes offers by push, and makes the target what a clone checks out;
    /// twice is the same as once.
    ///
    /// Errors: [`ProgramError`].
    pub fn configure_served(&self, target: &BranchName) -> Result<(), ProgramError> {
        self.succeed(&["symbolic-ref", "HEAD", &target.full_ref()], &[], CONFIG_TIMEOUT)?;
        for (key, value) in SERVED {
            self.succeed(&["config", key, value], &[], CONFIG_TIMEOUT)?;
        }
        Ok(())
    }
}

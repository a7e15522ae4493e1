//! The demo's own proof that main was never red: every commit that main's first parents reach is checked out afresh
//! and its tests are run again, outside gantry.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use gantry_adapters::process::{self, Bounds, ProcessError};

use super::repository::Repository;

/// How long one run of the tests may take.
const SUITE: Bounds = Bounds {
    timeout: Duration::from_secs(120),
    output_bytes_max: 1024 * 1024,
};
/// How often a commit's tests are run before it is called red. One change brings in a test that fails in one run of
/// three: a commit that passes now and then is flaky, and counted as such.
const RUNS_MAX: usize = 6;

/// What was seen.
#[derive(Debug, Default)]
pub struct Proof {
    /// Commits whose tests passed at once.
    pub green: usize,
    /// Commits whose tests passed in a later run only.
    pub flaky: Vec<String>,
    /// Commits whose tests never passed.
    pub red: Vec<String>,
}

/// Runs the tests of the work tree at `root` and says whether they pass.
///
/// Errors: they could not be started.
pub fn passes(root: &Path) -> anyhow::Result<bool> {
    let mut command = process::command("/bin/sh");
    command.arg("./ci.sh").current_dir(root);
    match process::run(&mut command, SUITE) {
        Ok(finished) => Ok(finished.status.success()),
        Err(ProcessError::TimedOut { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Runs the tests of every first-parent commit of main.
///
/// Errors: Git or the disk is in the way.
pub fn of_main(repository: &Repository, scratch: &Path) -> anyhow::Result<Proof> {
    let commits = repository.git("Ada", &["rev-list", "--first-parent", "--reverse", "main"])?;
    ensure!(!commits.is_empty(), "main holds no commit");
    let mut proof = Proof::default();
    for commit in commits.lines() {
        let folder = scratch.join(format!("check-{commit}"));
        let place = folder.to_string_lossy();
        repository.git("Ada", &["worktree", "add", "--quiet", "--detach", &place, commit])?;
        let subject = repository.git("Ada", &["show", "--no-patch", "--format=%h %s", commit])?;
        match green_in_run(&folder)? {
            Some(1) => proof.green += 1,
            Some(run) => proof.flaky.push(format!("{subject} (green in run {run})")),
            None => proof.red.push(subject),
        }
        repository.git("Ada", &["worktree", "remove", "--force", &place])?;
    }
    Ok(proof)
}

/// Returns the first run of the tests that passed, counted from 1; `None` if none of [`RUNS_MAX`] did.
fn green_in_run(root: &Path) -> anyhow::Result<Option<usize>> {
    for run in 1..=RUNS_MAX {
        if passes(root)? {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

//! Other programs whose output people watch. Owns that they keep this program's terminal and environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gantry_adapters::git::GitProgram;
use gantry_adapters::process::{self, Bounds};

/// How long a step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Makes a command for cargo, with this program's environment.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Makes a command for any program, with this program's environment.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = process::member_command(name);
    command.envs(std::env::vars_os());
    command
}

/// Runs a command to its end, its output where this program's is.
///
/// Errors: it could not be started, failed, or took longer than an hour.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    match process::wait_within(&mut child, STEP_TIMEOUT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{name} ended with {status}"),
        None => {
            child.kill()?;
            child.wait()?;
            bail!("{name} took more than an hour and was ended")
        }
    }
}

/// Finds the root of the work tree this program is started in.
///
/// Errors: it is in none.
pub fn root() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let root = answer(&mut GitProgram::at(&here).command(["rev-parse", "--show-toplevel"]))?;
    Ok(PathBuf::from(root.trim_end()))
}

/// Lists the files that Git knows under `root`, and those that are new and not ignored.
///
/// Errors: Git is in the way, or a name is not UTF-8.
pub fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let words = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ];
    let list = answer(&mut GitProgram::at(root).command(words))?;
    let names = list.split('\0').filter(|name| !name.is_empty());
    Ok(names
        .filter(|name| root.join(name).is_file())
        .map(str::to_owned)
        .collect())
}

/// Runs a command and returns what it printed.
///
/// Errors: it could not be started, failed, or printed something that is not UTF-8.
pub fn answer(command: &mut Command) -> anyhow::Result<String> {
    let bounds = Bounds {
        timeout: STEP_TIMEOUT,
        output_bytes_max: 256 * 1024 * 1024,
    };
    let finished = process::run(command, bounds)?;
    if !finished.status.success() {
        bail!(
            "{} ended with {}: {}",
            command.get_program().to_string_lossy(),
            finished.status,
            String::from_utf8_lossy(&finished.stderr).trim()
        );
    }
    Ok(String::from_utf8(finished.stdout)?)
}

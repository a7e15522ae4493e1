//! The factory of the demo: the real program on a scratch data directory. Owns that it is stopped whatever happens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use gantry_adapters::process::{self, Bounds, Finished};
use serde_json::Value;

/// What one command of the program may use.
const COMMAND: Bounds = Bounds {
    timeout: Duration::from_secs(60),
    output_bytes_max: 64 * 1024 * 1024,
};

/// The program's exit code when no daemon runs (`gantry help exit-codes`).
const NO_DAEMON: i32 = 3;

/// A running daemon.
#[derive(Debug)]
pub struct Factory {
    program: PathBuf,
    data: PathBuf,
}

impl Factory {
    /// Starts the daemon in the background, protecting main of `repository`.
    ///
    /// Errors: what the program said.
    pub fn start(program: &Path, data: &Path, repository: &Path) -> anyhow::Result<Self> {
        let factory = Self {
            program: program.to_owned(),
            data: data.to_owned(),
        };
        let repository = repository.to_str().context("the path is not UTF-8")?;
        factory.text(&["up", "--detach", "--repo", repository])?;
        Ok(factory)
    }

    /// Runs a command and returns what it printed.
    ///
    /// Errors: it could not be started, or failed.
    pub fn text(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let finished = self.run(arguments)?;
        if !finished.status.success() {
            bail!(
                "gantry {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&finished.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&finished.stdout).trim_end().to_owned())
    }

    /// Runs a command with `--json` and returns its document, whatever its exit code.
    ///
    /// Errors: it could not be started, or printed no document.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let finished = self.run(&[arguments, &["--json"]].concat())?;
        serde_json::from_slice(&finished.stdout).with_context(|| {
            format!(
                "gantry {} printed no JSON: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&finished.stderr).trim()
            )
        })
    }

    /// Runs a command and returns how it ended.
    ///
    /// Errors: it could not be started or took too long.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        run(&self.program, &self.data, arguments)
    }
}

/// Stops the factory of a data directory, if it runs.
///
/// Errors: what the program said.
pub fn stop(program: &Path, data: &Path) -> anyhow::Result<()> {
    let finished = run(program, data, &["down"])?;
    ensure!(
        finished.status.success() || finished.status.code() == Some(NO_DAEMON),
        "gantry down failed: {}",
        String::from_utf8_lossy(&finished.stderr).trim()
    );
    Ok(())
}

fn run(program: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<Finished> {
    let mut command = process::command(program);
    // The box shows toolchains of the home directory; the compiler may be one of them.
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home);
    }
    command.arg("--data-dir").arg(data).args(arguments);
    Ok(process::run(&mut command, COMMAND)?)
}

impl Drop for Factory {
    fn drop(&mut self) {
        if let Err(error) = stop(&self.program, &self.data) {
            eprintln!(
                "the factory in {} could not be stopped: {error:#}",
                self.data.display()
            );
        }
    }
}

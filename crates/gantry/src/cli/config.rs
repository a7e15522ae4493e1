//! `config check`.

use std::path::PathBuf;

use clap::Subcommand;
use gantry_adapters::git::{FileAt, GitRepository};
use gantry_core::id::BranchName;
use gantry_core::limits::GATE_FILE_BYTES_MAX;
use gantry_engine::gate::{EXAMPLE, GATE_FILE, Gate};
use serde_json::json;

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read a repository's gate and say what it means, or what is wrong with it
    #[command(
        after_help = "Example:\n  gantry config check --repo .\n  gantry config check --file .gantry.toml\n\n\
        With --repo the file is read from the target branch, as the queue does; --file reads one that is not \
        committed yet."
    )]
    Check {
        /// The repository
        #[arg(long, value_name = "PATH", default_value = ".")]
        repo: PathBuf,
        /// The protected branch
        #[arg(long, default_value = "main")]
        target: String,
        /// A file instead
        #[arg(long, value_name = "FILE", conflicts_with = "repo")]
        file: Option<PathBuf>,
    },
}

impl Config {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let Self::Check { repo, target, file } = self;
        let (place, bytes) = match file {
            Some(path) => {
                let bytes = std::fs::read(&path).map_err(|error| {
                    Coded::new(
                        ExitCode::NotFound,
                        format!("cannot read {}: {error}", path.display()),
                    )
                })?;
                (path.display().to_string(), Ok(bytes))
            }
            None => committed(&repo, &target)?,
        };
        let gate = bytes.and_then(|bytes| Gate::parse(&bytes).map_err(|error| error.to_string()));
        match gate {
            Ok(gate) => {
                print(common, &place, &gate)?;
                Ok(ExitCode::Done)
            }
            Err(problem) => {
                if common.json() {
                    show::json(&json!({"usable": false, "place": place, "problem": problem}))?;
                } else {
                    show::line(&format!("{place}: {problem}"))?;
                }
                Ok(ExitCode::No)
            }
        }
    }
}

type Found = (String, Result<Vec<u8>, String>);

fn committed(repo: &std::path::Path, target: &str) -> Result<Found, Coded> {
    let usage = |text: String| Coded::new(ExitCode::Usage, text);
    let repository = GitRepository::open(repo)
        .map_err(|error| Coded::new(ExitCode::NotFound, gantry_engine::line::chain(&error)))?;
    let branch = BranchName::parse(target).map_err(|error| usage(error.to_string()))?;
    let tip = repository.tip(&branch)?.ok_or_else(|| {
        Coded::new(
            ExitCode::NotFound,
            format!("{} has no branch {branch}", repo.display()),
        )
    })?;
    let place = format!("{GATE_FILE} at {branch} ({})", tip.short());
    let bytes = match repository.file_at(tip, GATE_FILE, GATE_FILE_BYTES_MAX as u64)? {
        FileAt::File { bytes, .. } => Ok(bytes),
        FileAt::Missing => Err(format!(
            "it is not there, so nothing can land; commit one such as:\n{EXAMPLE}"
        )),
        FileAt::NotAFile => Err("it is not a regular file".to_owned()),
        FileAt::TooLarge { bytes } => Err(format!("it has {bytes} bytes, more than {GATE_FILE_BYTES_MAX}")),
    };
    Ok((place, bytes))
}

fn print(common: &Common, place: &str, gate: &Gate) -> Result<(), Coded> {
    let slots = gate.slots.unwrap_or_else(crate::wiring::default_slots);
    let method = format!("{:?}", gate.method).to_lowercase();
    if common.json() {
        let checks: Vec<_> = gate
            .checks
            .iter()
            .map(|check| {
                let patterns: Vec<&str> = check.fail_fast.iter().map(regex_text).collect();
                json!({"name": check.name, "command": check.command, "timeout_s": check.timeout.as_secs_f64(),
                       "fail_fast": patterns})
            })
            .collect();
        return show::json(
            &json!({"usable": true, "place": place, "method": method, "batch_max": gate.batch_max,
            "slots": slots, "patience": gate.patience, "independent": gate.independent, "checks": checks}),
        );
    }
    show::line(&format!("{place} is usable"))?;
    show::line(&format!(
        "  method {method}, at most {} changes in a candidate, {slots} builds at once",
        gate.batch_max
    ))?;
    show::line(&format!(
        "  an hour of waiting is worth {} processor-hours",
        gate.patience
    ))?;
    for check in &gate.checks {
        show::line(&format!(
            "  check {}: {} (at most {} s)",
            check.name,
            check.command.join(" "),
            check.timeout.as_secs_f64()
        ))?;
    }
    Ok(())
}

fn regex_text(pattern: &regex::bytes::Regex) -> &str {
    pattern.as_str()
}

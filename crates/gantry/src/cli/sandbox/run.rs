//! `box run`.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use gantry_adapters::clock;
use gantry_adapters::git::{FileAt, GitRepository, snapshot_work_tree};
use gantry_adapters::job::{JobClient, JobFolder, start_job};
use gantry_core::id::CommitId;
use gantry_core::limits::{
    BOX_KEEP, CHECK_TIMEOUT, CHECK_TIMEOUT_MAX, GATE_FILE_BYTES_MAX, JOB_RENEW_INTERVAL,
};
use gantry_engine::config_text::parse_duration;
use gantry_engine::gate::GATE_FILE;
use gantry_engine::profile::{Overrides, Profile};
use gantry_engine::sandbox::{BOX_WORD, BoxEvent, BoxOrder, BoxRequest, Engines};
use serde_json::json;

use super::live;
use crate::cli::ci::clear_leftovers;
use crate::cli::{Common, show};
use crate::data_dir::DataDir;
use crate::exit_code::{Coded, ExitCode};
use crate::wiring::SELF;

#[derive(Debug, Args)]
pub struct Run {
    /// The profile from gantry.toml or .gantry.toml
    #[arg(long)]
    profile: Option<String>,
    /// The engine: native, docker, podman
    #[arg(long)]
    engine: Option<String>,
    /// The image; `host` is the host's own programs
    #[arg(long)]
    image: Option<String>,
    /// The user in the box: box, root
    #[arg(long)]
    user: Option<String>,
    /// What it can reach: none, full, or host:port (again for more)
    #[arg(long, value_name = "WHAT")]
    network: Vec<String>,
    /// The most memory, such as 2GiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Processor cores, such as 1.5
    #[arg(long, value_name = "CORES")]
    cpus: Option<f64>,
    /// The most processes
    #[arg(long, value_name = "COUNT")]
    processes: Option<u64>,
    /// The most it may write, such as 10GiB
    #[arg(long, value_name = "SIZE")]
    disk: Option<String>,
    /// Keep what it writes in memory
    #[arg(long)]
    in_memory: bool,
    /// Set a variable in the box (NAME=VALUE, or NAME for this shell's)
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Wall time, such as 10m
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// The checkout
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// A commit instead of the work tree as it stands
    #[arg(long, value_name = "REVISION", conflicts_with = "empty")]
    commit: Option<String>,
    /// An empty workspace
    #[arg(long)]
    empty: bool,
    /// If the command fails, keep the box for a look: `box shell`, `box retry`, `box stop`
    #[arg(long)]
    keep_on_failure: bool,
    /// Return at once; the box goes on
    #[arg(long)]
    detach: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Run {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let data = common.data()?;
        data.create()?;
        let mut order = self.order(&data)?;
        // Only now: what the command line gets wrong leaves no folder.
        let (name, folder) = new_folder(&data)?;
        order.name.clone_from(&name);
        let text = serde_json::to_vec(&order)?;
        if let Ok(engines) = Engines::load(data.root(), &data.boxes()) {
            clear_leftovers(&engines, &Profile::plain());
        }
        // A file that cannot be read is named by the box's own process.
        let variables = Engines::load(data.root(), &data.boxes())
            .map_or_else(|_| Vec::new(), |engines| engines.file.variables());
        let mut child = start_job(SELF.as_ref(), &[OsStr::new(BOX_WORD)], &folder, &text, &variables)
            .with_context(|| format!("cannot start the box's process in {}", folder.path().display()))?;
        let client = JobClient::of(folder.clone());
        // Once it listens, others can find it; one that could not begin is told of as if it were waited for.
        if self.detach && live::connect(&folder, &client, BoxRequest::State, Some(&mut child))?.is_some() {
            if common.json() {
                show::json(&json!({"box": name}))?;
            } else {
                show::line(&name)?;
            }
            return Ok(ExitCode::Done);
        }
        let attached = live::connect(&folder, &client, BoxRequest::Attach, Some(&mut child))?;
        match attached {
            Some(stream) if !common.json() => copy_log(stream)?,
            Some(mut stream) => {
                std::io::copy(&mut stream, &mut std::io::sink())?;
            }
            // It ended before it listened: its events tell why.
            None => {}
        }
        let ended = live::ending(&folder, &client)?;
        let (ending, code) = match ended {
            Some(BoxEvent::Ended { ending, code }) => (ending, code),
            Some(BoxEvent::Kept { ending }) => {
                // The child goes on; the system waits for it once this process is gone.
                return kept(common, &name, &ending);
            }
            _ => return Err(anyhow!("the box's process died; {}", live::last_words(&folder)).into()),
        };
        child.wait()?;
        if common.json() {
            show::json(&json!({"box": name, "ending": ending, "exit_code": code}))?;
        } else if ending.starts_with("trouble") || code == 125 {
            eprintln!("gantry: {}", show::harmless(&ending));
        } else if code != 0 {
            eprintln!("gantry: {name}: {}", show::harmless(&ending));
        }
        Ok(ExitCode::Command(u8::try_from(code).unwrap_or(1)))
    }

    /// Puts the command line into an order; the box has no name yet.
    fn order(&self, data: &DataDir) -> Result<BoxOrder, Coded> {
        let usage = |text: String| Coded::new(ExitCode::Usage, text);
        let timeout = match &self.timeout {
            None => CHECK_TIMEOUT,
            Some(text) => parse_duration(text)
                .filter(|time| !time.is_zero() && *time <= CHECK_TIMEOUT_MAX)
                .ok_or_else(|| {
                    usage(format!(
                        "--timeout {text:?}: write a number and s, m or h, up to 24h"
                    ))
                })?,
        };
        if let Some(cpus) = self.cpus.filter(|cpus| !cpus.is_finite()) {
            return Err(usage(format!(
                "--cpus {cpus}: write a number of cores, such as 1.5"
            )));
        }
        let subject = if self.empty { None } else { self.subject()? };
        let gate = match &subject {
            None => None,
            Some((storage, commit)) => gate_text(storage, *commit)?,
        };
        Ok(BoxOrder {
            name: String::new(),
            data: data.root().to_owned(),
            boxes: data.boxes(),
            subject: subject.map(|(storage, commit)| (storage, commit.to_string())),
            gate,
            profile: self.profile.clone(),
            overrides: Overrides {
                engine: self.engine.clone(),
                image: self.image.clone(),
                user: self.user.clone(),
                network: self.network.clone(),
                memory: self.memory.clone(),
                cpus: self.cpus,
                processes: self.processes,
                disk: self.disk.clone(),
                in_memory: self.in_memory,
                env: self
                    .env
                    .iter()
                    .map(|text| variable(text))
                    .collect::<Result<_, _>>()?,
            },
            command: self.command.clone(),
            timeout_ms: millis(timeout),
            keep_ms: if self.keep_on_failure { millis(BOX_KEEP) } else { 0 },
            detached: self.detach,
            owner: std::env::var("USER").unwrap_or_default(),
            asked_at_ms: clock::now().as_millis(),
        })
    }

    /// Finds what the workspace holds.
    fn subject(&self) -> Result<Option<(PathBuf, CommitId)>, Coded> {
        if let Some(revision) = &self.commit {
            let repository = GitRepository::open(&self.repo)?;
            let commit = repository
                .resolve(revision)
                .map_err(|error| Coded::new(ExitCode::NotFound, gantry_engine::line::chain(&error)))?;
            return Ok(Some((repository.common_directory(), commit)));
        }
        match snapshot_work_tree(&self.repo)? {
            Some(taken) => Ok(Some((taken.storage, taken.commit))),
            None => Err(Coded::new(
                ExitCode::NotFound,
                format!(
                    "{} is in no Git work tree; give one with --repo, or --empty for an empty workspace",
                    self.repo.display()
                ),
            )),
        }
    }
}

fn gate_text(storage: &std::path::Path, commit: CommitId) -> Result<Option<String>, Coded> {
    let repository = GitRepository::open(storage)?;
    match repository.file_at(commit, GATE_FILE, GATE_FILE_BYTES_MAX as u64)? {
        FileAt::File { bytes, .. } => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        FileAt::Missing | FileAt::NotAFile | FileAt::TooLarge { .. } => Ok(None),
    }
}

/// Makes a folder with the next free number.
fn new_folder(data: &DataDir) -> anyhow::Result<(String, JobFolder)> {
    let runs = data.runs();
    std::fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
    let mut number = live::numbers(&runs)?.into_iter().max().unwrap_or(0);
    loop {
        number += 1;
        let name = format!("box-{number}");
        let path = runs.join(&name);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok((name, JobFolder::create(path)?)),
            // Somebody else was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
}

fn variable(text: &str) -> Result<(String, String), Coded> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => match std::env::var(text) {
            Ok(value) => (text, value),
            Err(error) => {
                return Err(Coded::new(
                    ExitCode::Usage,
                    format!("--env {text}: this shell's variable: {error}"),
                ));
            }
        },
    };
    if name.is_empty() {
        return Err(Coded::new(ExitCode::Usage, format!("--env {text:?} has no name")));
    }
    Ok((name.to_owned(), value))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Copies the log to standard output as it comes.
fn copy_log(mut stream: impl Read) -> Result<(), Coded> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        show::raw(&chunk[..count])?;
    }
}

fn kept(common: &Common, name: &str, ending: &str) -> Result<ExitCode, Coded> {
    if common.json() {
        show::json(&json!({"box": name, "ending": ending, "kept": true}))?;
    } else {
        eprintln!(
            "gantry: {name}: {}; the box is kept for {} hours\n  gantry box shell {name}   look around\n  \
             gantry box retry {name}   run the command again\n  gantry box stop {name}    end it",
            show::harmless(ending),
            BOX_KEEP.as_secs() / 3600
        );
    }
    Ok(ExitCode::No)
}

/// Renews a detached box's lease while somebody waits for it.
pub(super) const RENEW: Duration = JOB_RENEW_INTERVAL;

//! `ci …`: the repository's own workflows, here and now. Needs no daemon.

mod screen;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use gantry_adapters::engine::SandboxControl;
use gantry_adapters::git::{FileAt, GitRepository, snapshot_work_tree};
use gantry_adapters::job::JobFolder;
use gantry_ci::mirror::{ActionRef, Mirror};
use gantry_core::id::CommitId;
use gantry_core::limits::GATE_FILE_BYTES_MAX;
use gantry_engine::gate::{GATE_FILE, Gate};
use gantry_engine::profile::{Overrides, Profile};
use gantry_engine::sandbox::{Engines, Images as _};
use gantry_engine::workflows::{
    EventChoice, EventName, Look, WorkflowRun, check_runs, find_workflows, known, look_at, mirror_path,
    mirrored,
};
use gantry_workflow::support::Verdict;
use serde_json::json;

use self::screen::{Screen, finish};
use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::images::StoredImages;

#[derive(Debug, Subcommand)]
pub enum Ci {
    /// Run this checkout's workflows in boxes
    #[command(
        after_help = "Example:\n  gantry ci run\n  gantry ci run --event pull_request ci.yml\n\n\
        Runs .github/workflows of the work tree as it stands, for an event, jobs side by side. What cannot be run is \
        named with its line before anything starts."
    )]
    Run(Run),
    /// Say what these workflows use that would not be honoured, by file and line
    #[command(after_help = "Example:\n  gantry ci check\n  gantry ci check --commit main --json")]
    Check(Check),
    /// Keep a copy of a remote action, for boxes without a network
    #[command(after_help = "Example:\n  gantry ci mirror owner/action@v2 ~/src/action\n\n\
        PATH is a clone, of which the files of the ref are taken, or a plain directory.")]
    Mirror {
        /// owner/name@ref
        action: String,
        /// A clone or directory of it
        path: PathBuf,
    },
    /// List the actions that are kept
    #[command(after_help = "Example:\n  gantry ci mirrored")]
    Mirrored,
}

#[derive(Debug, Args)]
pub struct Subject {
    /// The checkout
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// A commit instead of the work tree as it stands
    #[arg(long, value_name = "REVISION")]
    commit: Option<String>,
    /// The profile of the boxes
    #[arg(long)]
    profile: Option<String>,
    /// Only these files, such as ci.yml
    files: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    subject: Subject,
    /// The event: merge_group, pull_request, push, workflow_dispatch, schedule
    #[arg(long, default_value = "push")]
    event: String,
    /// The branch it is about
    #[arg(long, default_value = "main")]
    target: String,
    /// An input of workflow_dispatch (NAME=VALUE, again for more)
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Boxes at once
    #[arg(long, value_name = "COUNT")]
    slots: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    subject: Subject,
}

impl Ci {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        match self {
            Self::Run(run) => run.run(common),
            Self::Check(check) => check.run(common),
            Self::Mirror { action, path } => mirror(common, &action, &path),
            Self::Mirrored => list(common),
        }
    }
}

/// What a subject comes to.
struct Found {
    storage: PathBuf,
    commit: CommitId,
    name: String,
    profile: Profile,
    engines: Engines,
    look: Look,
}

impl Subject {
    fn find(&self, common: &Common) -> Result<Found, Coded> {
        let data = common.data()?;
        data.create()?;
        let (storage, root, commit) = match &self.commit {
            Some(revision) => {
                let repository = GitRepository::open(&self.repo)?;
                let commit = repository.resolve(revision).map_err(|error| not_found(&error))?;
                (repository.common_directory(), self.repo.clone(), commit)
            }
            None => match snapshot_work_tree(&self.repo)? {
                Some(taken) => (taken.storage, taken.root, taken.commit),
                None => {
                    let text = format!(
                        "{} is in no Git work tree; give one with --repo",
                        self.repo.display()
                    );
                    return Err(Coded::new(ExitCode::NotFound, text));
                }
            },
        };
        let repository = GitRepository::open(&storage)?;
        let usage = |text: String| Coded::new(ExitCode::Usage, text);
        let engines = Engines::load(data.root(), &data.boxes()).map_err(usage)?;
        let own = match repository.file_at(commit, GATE_FILE, GATE_FILE_BYTES_MAX as u64)? {
            FileAt::File { bytes, .. } => {
                Gate::parse_profiles(&bytes).map_err(|error| usage(error.to_string()))?
            }
            FileAt::Missing | FileAt::NotAFile | FileAt::TooLarge { .. } => std::collections::BTreeMap::new(),
        };
        let profile = Profile::find(self.profile.as_deref(), &engines.file.profiles, &own)
            .and_then(|profile| profile.overridden(&Overrides::default()))
            .map_err(usage)?;
        let found = find_workflows(&repository, commit)?;
        if found.is_empty() {
            return Err(Coded::new(
                ExitCode::NotFound,
                format!(
                    "there are no workflows in .github/workflows of {}",
                    root.display()
                ),
            ));
        }
        for name in &self.files {
            if !found.iter().any(|workflow| workflow.name() == plain(name)) {
                return Err(Coded::new(
                    ExitCode::NotFound,
                    format!("there is no workflow {name:?}"),
                ));
            }
        }
        let kept = mirrored(data.root()).map_err(usage)?;
        let images = !StoredImages::of(data.root()).all().is_empty();
        let look = look_at(&found, &known(profile.engine, kept, images));
        let name = root.canonicalize().unwrap_or(root);
        let name = name.file_name().map_or_else(
            || "repository".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(Found {
            storage,
            commit,
            name,
            profile,
            engines,
            look,
        })
    }

    fn is_meant(&self, path: &str) -> bool {
        self.files.is_empty() || self.files.iter().any(|name| plain(name) == plain(path))
    }
}

fn plain(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn not_found(error: &dyn std::error::Error) -> Coded {
    Coded::new(ExitCode::NotFound, gantry_engine::line::chain(error))
}

impl Check {
    fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let found = self.subject.find(common)?;
        let subject = &self.subject;
        let refusals = found.look.refusals(|file| subject.is_meant(file));
        let notes: Vec<String> = found
            .look
            .unsupported
            .iter()
            .filter(|note| note.verdict != Verdict::Refused && subject.is_meant(&note.file))
            .map(ToString::to_string)
            .collect();
        let files = found
            .look
            .files
            .iter()
            .filter(|file| subject.is_meant(&file.path))
            .count();
        if common.json() {
            show::json(
                &json!({"commit": found.commit.to_string(), "files": files, "refused": refusals,
                "notes": notes}),
            )?;
        } else {
            for line in refusals.iter().chain(&notes) {
                show::line(line)?;
            }
            show::line(&format!(
                "{files} workflows read, {} things refused, {} notes",
                refusals.len(),
                notes.len()
            ))?;
        }
        Ok(if refusals.is_empty() {
            ExitCode::Done
        } else {
            ExitCode::No
        })
    }
}

impl Run {
    fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let usage = |text: String| Coded::new(ExitCode::Usage, text);
        let event = EventName::ALL
            .iter()
            .find(|row| row.0 == self.event)
            .map(|row| row.1);
        let event = event.ok_or_else(|| {
            let words: Vec<&str> = EventName::ALL.iter().map(|row| row.0).collect();
            usage(format!(
                "--event {:?} is none of {}",
                self.event,
                words.join(", ")
            ))
        })?;
        let found = self.subject.find(common)?;
        let refusals = found.look.refusals(|file| self.subject.is_meant(file));
        if !refusals.is_empty() {
            return Err(usage(format!("nothing was run:\n  {}", refusals.join("\n  "))));
        }
        let repository = GitRepository::open(&found.storage)?;
        let choice = EventChoice {
            name: event,
            repository: ("local".to_owned(), found.name.clone()),
            branch: self.target.clone(),
            commit: found.commit,
            base: repository.first_parent(found.commit)?,
            head_branch: "work-tree".to_owned(),
            inputs: self.inputs()?,
            changed_paths: None,
            message: repository.subject_and_author(found.commit)?,
        };
        let (number, folder) = run_folder(common)?;
        let images = StoredImages::of(&found.engines.data);
        let control = SandboxControl::default();
        end_on_signals(control.clone())?;
        clear_leftovers(&found.engines, &found.profile);
        let screen = Screen::new(common.json());
        let mut files = found.look.files.clone();
        for file in &mut files {
            if !self.subject.is_meant(&file.path) {
                file.on.retain(|trigger| trigger.event.value == "workflow_call");
            }
        }
        files.retain(|file| !file.on.is_empty());
        let run = WorkflowRun {
            files: &files,
            event: &choice,
            repository: &found.storage,
            profile: &found.profile,
            engines: &found.engines,
            images: &images,
            folder: folder.path(),
            slots: self.slots.unwrap_or_else(crate::wiring::default_slots),
            number,
            control: &control,
            tell: &|event| screen.show(&event),
        };
        let (report, secrets) = run.run().map_err(|why| Coded::new(ExitCode::Trouble, why))?;
        let checks = check_runs(&report, &folder, &secrets, &found.commit.to_string());
        finish(common, &report, &folder, checks.len())
    }

    fn inputs(&self) -> Result<Vec<(String, String)>, Coded> {
        let pair = |text: &String| {
            text.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .ok_or_else(|| Coded::new(ExitCode::Usage, format!("--input {text:?}: write NAME=VALUE")))
        };
        self.input.iter().map(pair).collect()
    }
}

/// Makes a folder with the next free number for the logs of a run.
fn run_folder(common: &Common) -> Result<(u64, JobFolder), Coded> {
    let root = common.data()?.runs();
    std::fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let mut number = 0;
    for entry in std::fs::read_dir(&root)? {
        let name = entry?.file_name();
        let taken = name
            .to_str()
            .and_then(|name| name.strip_prefix("ci-")?.parse::<u64>().ok());
        number = number.max(taken.unwrap_or(0));
    }
    loop {
        number += 1;
        let path = root.join(format!("ci-{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok((number, JobFolder::create(path)?)),
            // Somebody else was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends the run, and with it its boxes, when somebody interrupts it.
fn end_on_signals(control: SandboxControl) -> Result<(), Coded> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    // Caught from here on, before any box is made.
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            eprintln!("gantry: interrupted; the boxes are ended");
            control.cancel();
        })?;
    Ok(())
}

/// Clears away what boxes of dead owners left; what stays is said, and does not stop anybody.
pub(super) fn clear_leftovers(engines: &Engines, profile: &Profile) {
    let cleared = engines.make(profile.engine).map(|engine| engine.reap());
    if let Ok(Err(error)) = cleared {
        eprintln!("gantry: {}", gantry_engine::line::chain(&error));
    }
}

fn mirror(common: &Common, action: &str, path: &Path) -> Result<ExitCode, Coded> {
    let data = common.data()?;
    data.create()?;
    let action = ActionRef::parse(action).map_err(|error| Coded::new(ExitCode::Usage, error.to_string()))?;
    let kept = Mirror::open(&mirror_path(data.root()))?.add(&action, path)?;
    if common.json() {
        show::json(&serde_json::to_value(&kept)?)?;
    } else {
        show::line(&format!(
            "{}@{}: {} files, {}",
            kept.repository,
            kept.version,
            kept.file_count,
            kept.commit.as_deref().unwrap_or("from a plain directory")
        ))?;
    }
    Ok(ExitCode::Done)
}

fn list(common: &Common) -> Result<ExitCode, Coded> {
    let kept = Mirror::open(&mirror_path(common.data()?.root()))?.list()?;
    if common.json() {
        show::json(&json!({"actions": serde_json::to_value(&kept)?}))?;
        return Ok(ExitCode::Done);
    }
    if kept.is_empty() {
        show::line("no actions are kept; gantry ci mirror owner/name@ref PATH keeps one")?;
    }
    for entry in kept {
        show::line(&format!(
            "{}@{} {}",
            entry.repository, entry.version, entry.digest
        ))?;
    }
    Ok(ExitCode::Done)
}

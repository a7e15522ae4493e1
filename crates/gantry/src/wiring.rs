//! Builds the parts and connects them: repositories to forges, boxes and lines.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use gantry_adapters::git::{GitProgram, GitRepository, clear_own_locks};
use gantry_core::event::{Fact, FactKind};
use gantry_core::id::BranchName;
use gantry_core::limits::SLOTS_MAX;
use gantry_core::repository::Repository;
use gantry_core::time::Timestamp;
use gantry_engine::event_loop::Message;
use gantry_engine::git_forge::GitForge;
use gantry_engine::line::Line;
use gantry_engine::rebuild;
use gantry_engine::runner::{BoxRunner, Yard};
use gantry_store::Store;

use crate::data_dir::DataDir;
use crate::images::boxes_of;
use crate::web::Sender;
use crate::web::dto::RepositoryBody;

/// This very program, though its file may have been replaced meanwhile.
pub const SELF: &str = "/proc/self/exe";

/// Paths that lines are made from.
pub struct Wiring {
    /// The data directory.
    pub data: DataDir,
}

/// A repository that was asked for, looked at but not yet added.
#[derive(Debug)]
pub struct Wanted {
    name: String,
    /// Where its Git storage is, or will be if it is to be served.
    path: PathBuf,
    target: BranchName,
    /// Copied from here, if gantry is to own it.
    serve_from: Option<PathBuf>,
}

impl Wanted {
    /// True if this repository is that one.
    pub fn is_same(&self, known: &Repository) -> bool {
        Path::new(&known.path) == self.path && known.target == self.target
    }
}

impl Wiring {
    /// Looks at a repository that is to be added.
    ///
    /// Errors: it cannot be opened, has no such branch, or its name cannot be used.
    pub fn plan_repository(&self, body: &RepositoryBody) -> anyhow::Result<Wanted> {
        let given = std::path::absolute(&body.path).with_context(|| format!("cannot use {}", body.path))?;
        let repository = GitRepository::open(&given).map_err(|_| {
            anyhow!(
                "{} is no Git repository; give the folder that holds .git, or a bare one",
                given.display()
            )
        })?;
        let storage = repository.common_directory();
        let target = BranchName::parse(body.target.as_deref().unwrap_or("main"))?;
        if repository.tip(&target)?.is_none() {
            bail!(
                "{} has no branch {target}; name the protected branch with --target",
                given.display()
            );
        }
        let folder = given
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let name = body
            .name
            .clone()
            .unwrap_or_else(|| folder.trim_end_matches(".git").to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with(['.', '-']) {
            bail!(
                "{name:?} cannot name a repository: use letters, digits, dashes, dots and underscores (--name)"
            );
        }
        if storage.to_str().is_none() {
            bail!("the path {} is not UTF-8; move the repository", storage.display());
        }
        let (path, serve_from) = if body.serve {
            (
                self.data.repositories().join(format!("{name}.git")),
                Some(storage),
            )
        } else {
            (storage, None)
        };
        Ok(Wanted {
            name,
            path,
            target,
            serve_from,
        })
    }

    /// Adds the repository to the store, copying it first if gantry is to own it; if its refs tell of changes that
    /// the database does not know, they are taken over.
    ///
    /// Errors: the name is taken, the copy failed, or the store is in the way.
    pub fn add(&self, store: &mut Store, wanted: &Wanted, now: Timestamp) -> anyhow::Result<Repository> {
        let known = store.load_repositories()?;
        if let Some(found) = known.iter().find(|repository| wanted.is_same(repository)) {
            return Ok(found.clone());
        }
        if let Some(other) = known
            .iter()
            .find(|repository| Path::new(&repository.path) == wanted.path)
        {
            bail!(
                "{} of this repository is protected already (as {:?}), and one repository has one target here; for a second \
                 one use another data directory and a clone",
                other.target,
                other.name
            );
        }
        if known.iter().any(|repository| repository.name == wanted.name) {
            bail!(
                "a repository named {:?} is there already; give another with --name",
                wanted.name
            );
        }
        if let Some(from) = &wanted.serve_from {
            // A copy that is there was made by an earlier try, or outlived the database: it is used as it is.
            if !wanted.path.exists() {
                let partial = wanted.path.with_extension("part");
                if partial.exists() {
                    std::fs::remove_dir_all(&partial)?;
                }
                GitProgram::clone_bare(from, &partial)?;
                std::fs::rename(&partial, &wanted.path)?;
            }
        }
        let path = wanted
            .path
            .to_str()
            .ok_or_else(|| anyhow!("the path is not UTF-8"))?;
        let repository =
            store.insert_repository(&wanted.name, path, &wanted.target, wanted.serve_from.is_some())?;
        let fact = Fact {
            at: now,
            kind: FactKind::RepositoryAdded,
            repository: repository.id,
            change: None,
            build: None,
            text: format!("{} protects {} of {path}", wanted.name, wanted.target),
            evidence: Vec::new(),
        };
        store.save_repository(&repository, &[fact])?;
        let mut forge = GitForge::open(&wanted.path, wanted.target.clone())?;
        rebuild::rebuild(store, &repository, &mut forge, now)?;
        Ok(repository)
    }

    /// Opens the line of a repository.
    ///
    /// Errors: the repository cannot be opened, or its hook cannot be written.
    pub fn open_line(
        &self,
        repository: Repository,
        sender: &Sender,
    ) -> anyhow::Result<Line<GitForge, BoxRunner>> {
        let path = PathBuf::from(&repository.path);
        if repository.served {
            self.prepare_served(&repository)?;
        }
        // A daemon that was killed in the middle of a write left its lock; whoever opens a line holds the data directory.
        let cleared =
            clear_own_locks(&path).with_context(|| format!("cannot look for locks in {}", path.display()))?;
        if cleared > 0 {
            tracing::info!(
                repository = repository.name,
                cleared,
                "cleared locks that a killed daemon left on its own refs"
            );
        }
        let forge = GitForge::open(&path, repository.target.clone())?.offering(self.data.root());
        let (id, sender) = (repository.id, sender.clone());
        let tell = Arc::new(move |news| {
            // The loop is gone: the daemon shuts down, and the next one ends the build as interrupted.
            drop(sender.send(Message::News(id, news)));
        });
        let yard = Yard {
            program: SELF.into(),
            data: self.data.root().to_owned(),
            boxes: self.data.boxes(),
            builds: self.data.logs(),
            name: repository.name.clone(),
            repository: path,
            target: repository.target.to_string(),
            identity: boxes_of(self.data.root()),
            slots: default_slots(),
        };
        let runner = BoxRunner::new(yard, tell);
        Ok(Line::new(repository, forge, runner, default_slots()))
    }

    /// Sets a repository of gantry's own up for offers by push; twice is the same as once.
    ///
    /// Errors: its configuration or its hook cannot be written.
    pub fn prepare_served(&self, repository: &Repository) -> anyhow::Result<()> {
        let path = Path::new(&repository.path);
        GitProgram::at(path).configure_served(&repository.target)?;
        self.write_hook(path)
    }

    /// Writes the hook that takes offers by push; it starts this very program.
    fn write_hook(&self, repository: &Path) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let folder = repository.join("hooks");
        std::fs::create_dir_all(&folder)?;
        let text = format!(
            "#!/bin/sh\nexec {} __hook proc-receive --data-dir {}\n",
            quoted(&program)?,
            quoted(self.data.root())?
        );
        let (path, partial) = (folder.join("proc-receive"), folder.join("proc-receive.part"));
        std::fs::write(&partial, text)?;
        std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&partial, &path)?;
        Ok(())
    }
}

/// Writes a path as one word of a shell.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .ok_or_else(|| anyhow!("the path {} is not UTF-8", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

/// Builds at once if nobody says: a core and 2 GiB of memory for each.
pub fn default_slots() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("MemTotal:"))?
            .to_owned();
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    });
    let by_memory = memory.map_or(cores, |kib| (kib / (2 * 1024 * 1024)).max(1));
    cores.min(by_memory).clamp(1, SLOTS_MAX)
}

//! The factory under fire: a repository with changes that keep coming, boxes by hand, and a daemon that is started
//! again. Owns the scratch folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use gantry_adapters::clock::Stopwatch;
use gantry_adapters::git::GitProgram;
use gantry_adapters::process::{self, Bounds};
use serde_json::Value;

use crate::demo::factory::{self, Factory};

const GATE: &str = "[gate]\nslots = 3\nbatch_max = 4\n\n[[gate.check]]\nname = \"leftover-one\"\nrun = \"sh ci.sh\"\n\n\
    [[gate.check]]\nname = \"leftover-two\"\nrun = \"sh ci.sh\"\n";
/// A check that leaves as much behind as it can, and ends soon.
const CHECK: &str = "mkdir -p out/a/b && chmod 000 out/a\n(setsid sleep 600 &)\nsleep 600 &\nhead -c 200000 /dev/zero > big\n\
    for f in *.txt; do [ ! -e bad ] || exit 1; done\nsleep 0.1\n";
const GIT: Bounds = Bounds {
    timeout: Duration::from_secs(60),
    output_bytes_max: 1024 * 1024,
};
/// How long everything may take to come to rest.
const REST_WITHIN: Duration = Duration::from_secs(600);
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// What came to an end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) changes: usize,
    pub(super) boxes: usize,
}

/// A factory that is being shot at.
pub(super) struct Scene {
    folder: tempfile::TempDir,
    program: PathBuf,
    data: PathBuf,
    repository: PathBuf,
    factory: Factory,
}

impl Scene {
    pub(super) fn make(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gantry-leftovers-").tempdir()?;
        let repository = folder.path().join("repository");
        std::fs::create_dir(&repository)?;
        git(&repository, &["init", "-q", "-b", "main"])?;
        std::fs::write(repository.join(".gantry.toml"), GATE)?;
        std::fs::write(repository.join("ci.sh"), CHECK)?;
        std::fs::write(repository.join("base.txt"), "base\n")?;
        git(&repository, &["add", "."])?;
        git(&repository, &["commit", "-qm", "Begin"])?;
        // The target moves under a work tree that has it checked out; this one does not.
        git(&repository, &["checkout", "-q", "--detach"])?;
        let data = folder.path().join("data");
        let factory = Factory::start(program, &data, &repository)?;
        Ok(Self {
            folder,
            program: program.to_owned(),
            data,
            repository,
            factory,
        })
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Offers a change; every fourth fails its check.
    pub(super) fn offer(&self, number: u32) -> anyhow::Result<()> {
        let branch = format!("change-{number}");
        git(&self.repository, &["checkout", "-q", "-B", &branch, "main"])?;
        std::fs::write(self.repository.join(format!("{branch}.txt")), "content\n")?;
        if (number / super::KILLS_PER_OFFER) % 4 == 3 {
            std::fs::write(self.repository.join("bad"), "bad\n")?;
        }
        git(&self.repository, &["add", "."])?;
        git(&self.repository, &["commit", "-qm", &branch])?;
        git(&self.repository, &["checkout", "-q", "--detach"])?;
        let watch = Stopwatch::start();
        // The daemon may be shot while it is asked: asked again, it knows the head.
        while self.factory.text(&["queue", "add", &branch]).is_err() {
            ensure!(
                !watch.left_of(REST_WITHIN).is_zero(),
                "{branch} cannot be offered"
            );
            self.restart_if_gone()?;
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(())
    }

    /// Starts a box by hand that nobody waits for.
    pub(super) fn start_box(&self) -> anyhow::Result<()> {
        let repository = self.repository.to_str().context("the path is not UTF-8")?;
        let arguments = [
            "box",
            "run",
            "--detach",
            "--repo",
            repository,
            "--timeout",
            "20s",
            "--",
            "sh",
            "ci.sh",
        ];
        self.factory.text(&arguments).map(drop)
    }

    /// Starts the daemon again after its death.
    pub(super) fn restart(&mut self) -> anyhow::Result<()> {
        self.restart_if_gone()
    }

    fn restart_if_gone(&self) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        loop {
            let up = self.factory.run(&["up", "--detach"])?;
            let status = self.factory.run(&["status", "--json"])?;
            if status.status.success() {
                return Ok(());
            }
            if watch.left_of(REST_WITHIN).is_zero() {
                bail!(
                    "the daemon does not come up: {}",
                    String::from_utf8_lossy(&up.stderr).trim()
                );
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Waits until every change is decided and every box has ended.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        self.restart_if_gone()?;
        let watch = Stopwatch::start();
        loop {
            let open = self.open()?;
            if open.is_empty() {
                return Ok(());
            }
            if watch.left_of(REST_WITHIN).is_zero() {
                bail!("these have no end: {}", open.join(", "));
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    fn open(&self) -> anyhow::Result<Vec<String>> {
        let mut open = Vec::new();
        let changes = self.factory.json(&["queue", "list", "--all"])?;
        for change in changes["changes"].as_array().context("no list of changes")? {
            let state = change["state"].as_str().unwrap_or_default();
            if !matches!(state, "landed" | "bounced" | "cancelled" | "held") {
                open.push(format!("{} {state}", text(&change["change"])));
            }
        }
        let boxes = self.factory.json(&["box", "list"])?;
        for one in boxes["boxes"].as_array().context("no list of boxes")? {
            let state = one["state"].as_str().unwrap_or_default();
            if !matches!(state, "ended" | "lost") {
                open.push(format!("{} {state}", text(&one["box"])));
            }
        }
        Ok(open)
    }

    /// Stops the factory, after one more start that clears away what the dead left.
    pub(super) fn end(self) -> anyhow::Result<Ends> {
        let count = |value: &Value, key: &str| value[key].as_array().map_or(0, Vec::len);
        let ends = Ends {
            changes: count(&self.factory.json(&["queue", "list", "--all"])?, "changes"),
            boxes: count(&self.factory.json(&["box", "list"])?, "boxes"),
        };
        let audit = self.factory.run(&["audit"])?;
        ensure!(
            audit.status.success(),
            "the audit does not hold: {}",
            String::from_utf8_lossy(&audit.stdout)
        );
        factory::stop(&self.program, &self.data)?;
        self.factory.text(&["up", "--detach"])?;
        factory::stop(&self.program, &self.data)?;
        let boxes = std::fs::read_dir(self.data.join("boxes"))?;
        let folders: Vec<String> = boxes
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with('B') || name.starts_with("box-"))
            .collect();
        ensure!(
            folders.is_empty(),
            "folders of boxes are left: {}",
            folders.join(", ")
        );
        drop(self.factory);
        self.folder.close()?;
        Ok(ends)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn git(at: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let identity = ["-c", "user.name=demo", "-c", "user.email=demo@example.org"];
    let mut command = GitProgram::at(at).command(identity.iter().chain(arguments));
    let finished = process::run(&mut command, GIT)?;
    ensure!(
        finished.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&finished.stderr).trim()
    );
    Ok(())
}

//! A scratch repository and the `git` program over it, with fixed names and dates.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The checks of every scratch repository: quick, and steered by the files of the change.
///
/// A file `bad-…` fails; `left` beside `right` fails; `wait` holds the name of a valve that the test opens.
pub const CHECKS: &str = r#"#!/bin/sh
echo "testing $(git rev-parse HEAD) $(git rev-parse 'HEAD^{tree}')"
git status --porcelain
for file in bad-*; do
    if [ -e "$file" ]; then echo "error: $file is bad"; exit 1; fi
done
if [ -e left ] && [ -e right ]; then echo "error: left and right"; exit 1; fi
if [ -e wait ]; then gantry-valve "$(cat wait)"; fi
exit 0
"#;

/// The gate of most scratch repositories.
pub const GATE: &str = "[gate]\nmethod = \"rebase\"\nslots = 2\n\n[[gate.check]]\nname = \"test\"\nrun = \"sh ci.sh\"\ntimeout = \"2m\"\n";

/// A repository, work tree or bare.
#[derive(Debug, Clone)]
pub struct Repo {
    pub path: PathBuf,
}

impl Repo {
    /// Makes a work tree with checks and a gate on main.
    pub fn work_tree(path: impl Into<PathBuf>) -> Self {
        Self::with_gate(path, GATE)
    }

    /// Makes a work tree with this gate on main; the work tree itself is on another branch.
    pub fn with_gate(path: impl Into<PathBuf>, gate: &str) -> Self {
        let repo = Self::empty(path);
        repo.write("ci.sh", CHECKS);
        repo.write(".gantry.toml", gate);
        repo.write("README", "a scratch repository\n");
        repo.commit("begin");
        // Main is not checked out: what lands needs no work tree, and tests write on branches.
        repo.git(&["switch", "-q", "-c", "idle"]);
        repo
    }

    /// Makes a work tree without a commit.
    pub fn empty(path: impl Into<PathBuf>) -> Self {
        let repo = Self { path: path.into() };
        std::fs::create_dir_all(&repo.path).expect("a folder");
        repo.git(&["init", "-q", "-b", "main", "."]);
        repo
    }

    /// Clones it bare.
    pub fn bare_clone(&self, path: impl Into<PathBuf>) -> Self {
        let bare = Self { path: path.into() };
        let to = bare.path.to_str().expect("UTF-8");
        self.git(&["clone", "-q", "--bare", ".", to]);
        bare
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        std::fs::write(path, content).expect("written");
    }

    /// Commits everything in the work tree.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.rev("HEAD")
    }

    /// Makes a branch off main with one commit that writes these files.
    pub fn branch(&self, name: &str, files: &[(&str, &str)]) -> String {
        self.branch_off("main", name, files)
    }

    /// Makes a branch off another with one commit that writes these files.
    pub fn branch_off(&self, from: &str, name: &str, files: &[(&str, &str)]) -> String {
        self.git(&["switch", "-q", "-C", name, from]);
        for (path, content) in files {
            self.write(path, content);
        }
        let head = self.commit(&format!("work of {name}"));
        self.git(&["switch", "-q", "idle"]);
        head
    }

    /// Pushes straight to main, as people do: a commit on its tip that writes these files.
    pub fn push_to_main(&self, files: &[(&str, &str)]) -> String {
        let tip = self.rev("main");
        self.git(&["switch", "-q", "--detach", &tip]);
        for (path, content) in files {
            self.write(path, content);
        }
        let head = self.commit("pushed by hand");
        self.git(&["update-ref", "refs/heads/main", &head, &tip]);
        self.git(&["switch", "-q", "idle"]);
        head
    }

    pub fn rev(&self, name: &str) -> String {
        self.git(&["rev-parse", "--verify", name])
    }

    /// Reads a file at a commit, byte for byte.
    pub fn file(&self, commit: &str, path: &str) -> Vec<u8> {
        let output = self.try_git(&["cat-file", "blob", &format!("{commit}:{path}")], b"");
        assert!(output.status.success(), "{path} is not in {commit}");
        output.stdout
    }

    pub fn has(&self, commit: &str, path: &str) -> bool {
        self.try_git(&["cat-file", "-e", &format!("{commit}:{path}")], b"")
            .status
            .success()
    }

    /// Runs git, which has to succeed; returns its output without the last line end.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_in(arguments, b"")
    }

    /// Runs git with something on its standard input.
    #[track_caller]
    pub fn git_in(&self, arguments: &[&str], input: &[u8]) -> String {
        let output = self.try_git(arguments, input);
        assert!(
            output.status.success(),
            "git {arguments:?}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs git, whatever comes of it.
    pub fn try_git(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = command(&self.path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // Git may end before it has read everything; its status says what came of it.
        drop(stdin.write_all(input));
        drop(stdin);
        child.wait_with_output().expect("git ends")
    }
}

/// The git program with nobody's configuration, and an author of its own.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("HOME", "/nonexistent")
        .env("GIT_AUTHOR_NAME", "Ann Author")
        .env("GIT_AUTHOR_EMAIL", "ann@example.org")
        .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05+0200")
        .env("GIT_COMMITTER_NAME", "Carl Committer")
        .env("GIT_COMMITTER_EMAIL", "carl@example.org")
        .env("GIT_COMMITTER_DATE", "2026-01-03T03:04:05+0200")
        .args([
            "-c",
            "protocol.file.allow=always",
            "-c",
            "advice.detachedHead=false",
        ]);
    command
}

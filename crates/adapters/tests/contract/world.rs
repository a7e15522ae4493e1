//! Boxes for one clause, and what is asked of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    BoxUser, ExecEnding, ExecReport, ExecSpec, Limits, Network, Sandbox, SandboxControl, SandboxSpec,
    Workspace,
};
use gantry_adapters::process;
use gantry_core::id::CommitId;

use crate::subject::Subject;

/// How long anything may take that should take no time at all.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Where the workspace is.
pub const WORKSPACE: &str = "/box/workspace";

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub report: ExecReport,
    pub output: Vec<u8>,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

impl Subject {
    /// Returns what an empty box without network is made of.
    pub fn spec(&self) -> SandboxSpec {
        SandboxSpec {
            name: "clause".to_owned(),
            image: self.image.clone(),
            workspace: Workspace::Empty,
            workspace_at: PathBuf::from(WORKSPACE),
            mounts: Vec::new(),
            env: Vec::new(),
            network: Network::None,
            limits: Limits::default(),
            user: BoxUser::Plain,
            services: Vec::new(),
        }
    }

    /// Opens a box with changes to [`Self::spec`].
    pub fn open_with(&self, change: impl FnOnce(&mut SandboxSpec)) -> Box<dyn Sandbox> {
        let mut spec = self.spec();
        change(&mut spec);
        self.engine
            .open(&spec, &SandboxControl::default())
            .unwrap_or_else(|error| panic!("no box: {error}"))
    }

    pub fn open(&self) -> Box<dyn Sandbox> {
        self.open_with(|_| ())
    }

    /// Makes an empty folder of the clause's own that everybody may use.
    pub fn fresh(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        if path.exists() {
            fs::remove_dir_all(&path).expect("removed");
        }
        fs::create_dir(&path).expect("a folder");
        open_to_all(&path);
        // The folder above is private to this user, which the box's user may not be.
        open_to_all(self.folder.path());
        path
    }
}

/// Lets everybody read and write.
pub fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("its mode");
}

/// Returns one shell line as a command with patience.
pub fn shell(line: &str) -> ExecSpec {
    ExecSpec {
        command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        env: Vec::new(),
        directory: PathBuf::from(WORKSPACE),
        timeout: PATIENCE,
        grace: Duration::from_millis(500),
    }
}

/// Runs a command.
pub fn run_spec(sandbox: &dyn Sandbox, spec: &ExecSpec) -> Ran {
    let mut output = Vec::new();
    let mut keep = |bytes: &[u8]| {
        output.extend_from_slice(bytes);
        Ok(())
    };
    let report = sandbox.exec(spec, &mut keep, &SandboxControl::default());
    Ran { report, output }
}

pub fn run(sandbox: &dyn Sandbox, line: &str) -> Ran {
    run_spec(sandbox, &shell(line))
}

/// Runs a line that must end so, and returns its output.
pub fn check(sandbox: &dyn Sandbox, line: &str, ending: &ExecEnding) -> String {
    let ran = run(sandbox, line);
    assert_eq!(&ran.report.ending, ending, "{line}\n{}", ran.text());
    ran.text()
}

/// Runs a line that must pass, and returns its output.
pub fn passes(sandbox: &dyn Sandbox, line: &str) -> String {
    check(sandbox, line, &ExecEnding::Exited { code: 0 })
}

/// Waits for a condition, and fails if it does not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !condition() {
        assert!(watch.elapsed() < PATIENCE, "waited too long until {what}");
        thread::yield_now();
    }
}

/// Returns the numbers of all processes of the host whose arguments hold a text.
pub fn processes_naming(text: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let named = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        let found = arguments
            .windows(text.len())
            .any(|window| window == text.as_bytes());
        found.then_some(number)
    });
    named.collect()
}

fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = process::command("git")
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input)
        .expect("git reads");
    let output = child.wait_with_output().expect("git ends");
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a bare repository with one commit of these files: path, mode, content.
pub fn repository(folder: &Path, files: &[(&str, &str, &str)]) -> (PathBuf, CommitId) {
    git(folder, &["init", "-q", "--bare", "-b", "main", "repo.git"], b"");
    let repository = folder.join("repo.git");
    let mut stream = "commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 1\nm\n".to_owned();
    for (path, mode, content) in files {
        stream.push_str(&format!(
            "M {mode} inline \"{path}\"\ndata {}\n{content}\n",
            content.len()
        ));
    }
    git(&repository, &["fast-import", "--quiet"], stream.as_bytes());
    let commit = git(&repository, &["rev-parse", "main"], b"");
    (repository, commit.parse().expect("a commit's name"))
}

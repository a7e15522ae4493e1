//! A repository, an engine and a place for logs; ends with a look for leftovers.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    BoxUser, CheckReport, CheckSpec, ExecEnding, ExecReport, ExecSpec, Image, Limits, NativeEngine, Network,
    OpenError, Sandbox, SandboxControl, SandboxEnding, SandboxEngine, SandboxSpec, Workspace, run_check,
};
use gantry_adapters::process;
use gantry_core::id::CommitId;

/// How long anything may take that should take no time at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether boxes can be made here; says so loudly if not.
static POSSIBLE: LazyLock<bool> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = NativeEngine::new(entry(), folder.path().join("boxes"));
    match engine.probe() {
        Ok(held) => {
            eprintln!("boxes here: {}", held.join("; "));
            true
        }
        Err(why) => {
            eprintln!("\n!!! NO BOX CAN BE MADE HERE, THE TESTS OF BOXES TEST NOTHING: {why}\n");
            assert!(std::env::var_os("GANTRY_BOXES_REQUIRED").is_none(), "{why}");
            false
        }
    }
});

/// The program the engine starts: an example, which cargo builds with the tests.
pub fn entry() -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    let target = test.parent().and_then(Path::parent).expect("cargo's folder");
    let entry = target.join("examples/sandbox_entry");
    assert!(
        entry.is_file(),
        "build it first: cargo build -p gantry-adapters --examples"
    );
    entry
}

pub struct World {
    pub folder: tempfile::TempDir,
    pub engine: NativeEngine,
    pub commit: CommitId,
}

impl World {
    /// Makes a world whose repository holds these files, or nothing where boxes cannot be made.
    pub fn with(files: &[(&[u8], &str, &[u8])]) -> Option<Self> {
        if !*POSSIBLE {
            eprintln!("skipped: no box can be made here");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        git(
            folder.path(),
            &["init", "-q", "--bare", "-b", "main", "repo.git"],
            b"",
        );
        let commit = commit_files(&folder.path().join("repo.git"), files);
        let engine = NativeEngine::new(entry(), folder.path().join("data/boxes"));
        Some(Self {
            folder,
            engine,
            commit,
        })
    }

    pub fn new() -> Option<Self> {
        Self::with(&[(b"README", "100644", b"hello\n")])
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn spec(&self, line: &str) -> CheckSpec {
        CheckSpec {
            name: "B1-test".to_owned(),
            repository: self.path("repo.git"),
            commit: self.commit,
            command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
            env: Vec::new(),
            timeout: PATIENCE,
            output_bytes_max: 1024 * 1024,
            log: self.path("log"),
            fail_fast: Vec::new(),
            network: Network::None,
        }
    }

    pub fn run(&self, spec: &CheckSpec, control: &SandboxControl) -> CheckReport {
        run_check(&self.engine, spec, control)
    }

    /// Returns what a box of the commit is given, without limits.
    pub fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec {
            name: "B1-test".to_owned(),
            image: Image::Host,
            workspace: Workspace::Commit {
                repository: self.path("repo.git"),
                commit: self.commit,
            },
            workspace_at: "/box/workspace".into(),
            mounts: Vec::new(),
            env: Vec::new(),
            network: Network::None,
            limits: Limits::default(),
            user: BoxUser::Plain,
            services: Vec::new(),
        }
    }

    pub fn open(&self, spec: &SandboxSpec) -> Box<dyn Sandbox> {
        self.engine.open(spec, &SandboxControl::default()).expect("a box")
    }

    /// Opens a box that may be refused.
    pub fn engine_open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, OpenError> {
        self.engine.open(spec, &SandboxControl::default())
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Runs a line and expects its end, and nothing left behind.
    pub fn check(&self, line: &str, expected: &SandboxEnding) -> CheckReport {
        let report = self.run(&self.spec(line), &SandboxControl::default());
        assert_eq!(
            &report.ending,
            expected,
            "{line}\n{}\n{:?}",
            self.log(),
            report.evidence
        );
        self.nothing_is_left();
        report
    }

    pub fn passes(&self, line: &str) -> String {
        self.check(line, &SandboxEnding::Exited { code: 0 });
        self.log()
    }

    pub fn nothing_is_left(&self) {
        let boxes = self.path("data/boxes");
        let folders: Vec<_> = fs::read_dir(&boxes).map_or_else(
            |_| Vec::new(),
            |entries| {
                let entries = entries.flatten();
                entries.filter(|entry| entry.file_name() != ".warm").collect()
            },
        );
        assert!(folders.is_empty(), "folders are left: {folders:?}");
        let scratch = boxes.as_os_str().as_bytes().to_vec();
        let processes = || processes_naming(&scratch);
        wait_until("no process of a box is left", || processes().is_empty());
        let groups = groups_left();
        assert!(groups.is_empty(), "groups are left: {groups:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        assert!(
            !mounts.contains(boxes.to_str().expect("text")),
            "a mount is left:\n{mounts}"
        );
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.nothing_is_left();
        }
    }
}

/// Returns the numbers of all processes whose arguments hold a text.
pub fn processes_naming(text: &[u8]) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let named = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        let found = arguments.windows(text.len()).any(|window| window == text);
        found.then_some(number)
    });
    named.collect()
}

/// Waits for a condition, and fails if it does not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !condition() {
        assert!(watch.elapsed() < PATIENCE, "waited too long until {what}");
        thread::yield_now();
    }
}

pub fn command(program: &str) -> Command {
    process::command(program)
}

pub fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = command("git")
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

/// Commits files by path, mode and content; a mode of `160000` takes a commit's name as content.
pub fn commit_files(repository: &Path, files: &[(&[u8], &str, &[u8])]) -> CommitId {
    let mut stream = b"commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 1\nm\n".to_vec();
    for (path, mode, content) in files {
        let mut quoted = vec![b'"'];
        for byte in *path {
            quoted.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        }
        quoted.push(b'"');
        if *mode == "160000" {
            stream.extend_from_slice(b"M 160000 ");
            stream.extend_from_slice(content);
            stream.extend_from_slice(b" ");
            stream.extend_from_slice(&quoted);
        } else {
            stream.extend_from_slice(format!("M {mode} inline ").as_bytes());
            stream.extend_from_slice(&quoted);
            stream.extend_from_slice(format!("\ndata {}\n", content.len()).as_bytes());
            stream.extend_from_slice(content);
        }
        stream.push(b'\n');
    }
    git(repository, &["fast-import", "--quiet", "--force"], &stream);
    git(repository, &["rev-parse", "refs/heads/main"], b"")
        .parse()
        .expect("a commit")
}

/// Runs a line in a box and returns how it ended and what it wrote.
pub fn sh(sandbox: &dyn Sandbox, line: &str) -> (ExecReport, String) {
    exec(sandbox, &line_spec(line), &SandboxControl::default())
}

/// Returns the command that runs a line.
pub fn line_spec(line: &str) -> ExecSpec {
    ExecSpec {
        command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        env: Vec::new(),
        directory: "/".into(),
        timeout: PATIENCE,
        grace: Duration::from_secs(1),
    }
}

pub fn exec(sandbox: &dyn Sandbox, spec: &ExecSpec, control: &SandboxControl) -> (ExecReport, String) {
    let mut said = Vec::new();
    let report = sandbox.exec(
        spec,
        &mut |bytes| {
            said.extend_from_slice(bytes);
            Ok(())
        },
        control,
    );
    (report, String::from_utf8_lossy(&said).into_owned())
}

/// Runs a line that must pass and returns what it wrote.
pub fn passes(sandbox: &dyn Sandbox, line: &str) -> String {
    let (report, said) = sh(sandbox, line);
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 }, "{line}\n{said}");
    said
}

/// Returns the groups of this process's boxes that are there.
pub fn groups_left() -> Vec<PathBuf> {
    let mine = format!(".{}-", std::process::id());
    let mut left = Vec::new();
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    for root in roots
        .map(|entry| entry.path().join("gantry"))
        .chain(["/sys/fs/cgroup/gantry".into()])
    {
        let groups = fs::read_dir(root).into_iter().flatten().flatten();
        left.extend(
            groups
                .map(|entry| entry.path())
                .filter(|path| path.to_string_lossy().contains(&mine)),
        );
    }
    left
}

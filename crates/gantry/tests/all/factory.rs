//! One factory: a data directory, and a daemon that is looked after to its very end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use gantry_adapters::engine::{NativeEngine, SandboxEngine};
use serde_json::Value;

use crate::repo::Repo;

/// How long anything may take that should take no time at all.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether boxes can be made here; says so loudly if not.
static POSSIBLE: LazyLock<bool> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = NativeEngine::new(program(), folder.path().join("boxes"));
    match engine.probe() {
        Ok(_) => true,
        Err(why) => {
            eprintln!("\n!!! NO BOX CAN BE MADE HERE, THE TESTS OF THE PROGRAM TEST NOTHING: {why}\n");
            assert!(std::env::var_os("GANTRY_BOXES_REQUIRED").is_none(), "{why}");
            false
        }
    }
});

/// A program that waits in a check until the test opens its valve.
const VALVE: &str = "#!/bin/sh\nuntil [ -e \"$(dirname \"$0\")/open-$1\" ]; do sleep 0.02; done\n";

pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_gantry"))
}

pub struct Factory {
    pub folder: tempfile::TempDir,
    pub repo: Repo,
    data: PathBuf,
    daemon: Option<Child>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Factory {
    /// Makes a folder with a work tree, without a daemon; `None` where boxes cannot be made.
    pub fn new() -> Option<Self> {
        Self::with_gate(crate::repo::GATE)
    }

    /// Makes a folder with a work tree whose gate this is, without a daemon.
    pub fn with_gate(gate: &str) -> Option<Self> {
        let factory = Self::without_boxes(|path| Repo::with_gate(path, gate));
        if !*POSSIBLE {
            eprintln!("skipped: no box can be made here");
            return None;
        }
        Some(factory)
    }

    /// Makes a folder with a repository for tests that start no check.
    pub fn without_boxes(make: impl FnOnce(PathBuf) -> Repo) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gantry-")
            .tempdir()
            .expect("a folder");
        std::fs::create_dir(folder.path().join("valves")).expect("a folder");
        let valve = folder.path().join("valves/gantry-valve");
        std::fs::write(&valve, VALVE).expect("written");
        set_mode(&valve, 0o755);
        set_mode(folder.path(), 0o755);
        let repo = make(folder.path().join("repo"));
        Self {
            data: folder.path().join("data"),
            folder,
            repo,
            daemon: None,
        }
    }

    /// The same with the daemon running.
    pub fn running() -> Option<Self> {
        let mut factory = Self::new()?;
        factory.up();
        Some(factory)
    }

    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Puts the data directory elsewhere, before anything is there.
    pub fn keep_data_in(&mut self, folder: PathBuf) {
        self.data = folder;
    }

    /// Lets the checks that wait for this valve go on.
    pub fn open(&self, valve: &str) {
        File::create(self.folder.path().join("valves").join(format!("open-{valve}"))).expect("opened");
    }

    /// Starts the daemon on the repository and waits until it answers.
    pub fn up(&mut self) {
        let repo = self.repo.path.to_str().expect("UTF-8").to_owned();
        self.up_with(&["--repo", &repo]);
    }

    /// Starts the daemon with these options and waits until it answers.
    pub fn up_with(&mut self, options: &[&str]) {
        self.spawn(options);
        wait_for("the daemon answers", || {
            let ended = self.daemon.as_mut().expect("started").try_wait().expect("known");
            assert!(ended.is_none(), "the daemon ended: {}", self.log());
            self.run(&["status"]).code == 0
        });
    }

    /// Starts the daemon and does not wait.
    pub fn spawn(&mut self, options: &[&str]) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log");
        let daemon = self
            .command(&["up"])
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        self.daemon = Some(daemon);
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").id()
    }

    /// What the daemons of this factory logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends the daemon as a power loss would.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("killed");
            daemon.wait().expect("reaped");
        }
    }

    /// Ends the daemon as people do, and waits for it.
    pub fn down(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let said = self.run(&["down"]);
        if said.code != 0 {
            daemon.kill().expect("killed");
            daemon.wait().expect("reaped");
            panic!("down: {said:?}\n{}", self.log());
        }
        assert!(daemon.wait().expect("reaped").success(), "{}", self.log());
    }

    /// A command on this factory's data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        let path = std::env::var("PATH").expect("a path");
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GANTRY_HOME", self.data())
            .env(
                "PATH",
                format!("{path}:{}", self.folder.path().join("valves").display()),
            )
            .env("USER", "tester")
            .env_remove("GANTRY_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("it starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command with `--json`, which has to succeed.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}\n{}", self.log());
        ran.json()
    }

    /// Runs a command with `--json`, which has to be refused with this code.
    #[track_caller]
    pub fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert_eq!(ran.out, "", "a refusal says nothing on standard output");
        assert!(!ran.err.trim().is_empty(), "a refusal says why");
        ran.err
    }

    /// Offers a branch; returns the change's id.
    #[track_caller]
    pub fn offer(&self, branch: &str) -> String {
        self.offer_with(branch, &[])
    }

    #[track_caller]
    pub fn offer_with(&self, branch: &str, options: &[&str]) -> String {
        let added = self.ask(&[&["queue", "add", branch], options].concat());
        text(&added["id"])
    }

    #[track_caller]
    pub fn show(&self, change: &str) -> Value {
        self.ask(&["queue", "show", change])
    }

    pub fn state(&self, change: &str) -> String {
        text(&self.show(change)["state"])
    }

    /// Waits until these, or all that are queued, are decided; returns exit code and answer.
    #[track_caller]
    pub fn decided(&self, changes: &[&str]) -> i32 {
        let ran = self.run(&[&["queue", "wait", "--timeout", "60s", "--json"], changes].concat());
        assert!(
            matches!(ran.code, 0 | 1),
            "{ran:?}\n{}\n{}",
            self.run(&["queue", "list", "--all"]).out,
            self.log()
        );
        ran.code
    }

    /// Waits until these have landed.
    #[track_caller]
    pub fn landed(&self, changes: &[&str]) {
        if self.decided(changes) != 0 {
            let list: Vec<_> = changes
                .iter()
                .map(|change| self.show(change)["reason"].clone())
                .collect();
            panic!("{list:#?}\n{}", self.log());
        }
    }

    /// Waits until the reason of a change is this one.
    #[track_caller]
    pub fn until_reason(&self, change: &str, code: &str) -> Value {
        let mut seen = Value::Null;
        let watch = Instant::now();
        while watch.elapsed() < PATIENCE {
            seen = self.show(change);
            if seen["reason"]["code"] == code {
                return seen;
            }
            pause();
        }
        panic!("{change} is never {code}: {:#}", seen["reason"])
    }

    pub fn tip(&self) -> String {
        self.repo.rev("main")
    }

    /// Every recorded fact.
    pub fn events(&self) -> Vec<Value> {
        self.ask(&["events"])["events"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// The proof has to hold; returns it.
    #[track_caller]
    pub fn proven(&self) -> Value {
        let audit = self.ask(&["audit"]);
        assert_eq!(audit["repositories"][0]["sound"], true, "{audit:#}");
        audit["repositories"][0].clone()
    }

    /// Ends the daemon and looks for what it left.
    fn finish(&mut self) {
        self.down();
        let left = leftovers(self.folder.path());
        assert!(left.is_empty(), "left behind: {left:#?}");
        let names = self.boxes_left();
        assert!(names.is_empty(), "boxes are left: {names:?}");
    }

    /// Folders of boxes that are still there; the warm checkouts stay for the next box.
    pub fn boxes_left(&self) -> Vec<String> {
        let Ok(boxes) = std::fs::read_dir(self.data().join("boxes")) else {
            return Vec::new();
        };
        let names = boxes
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != ".warm").collect()
    }
}

impl Drop for Factory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill();
        } else {
            self.finish();
        }
    }
}

/// Processes and mounts that name a folder.
pub fn leftovers(folder: &Path) -> Vec<String> {
    let name = folder.to_str().expect("UTF-8");
    let mut left: Vec<String> = std::fs::read_to_string("/proc/self/mountinfo")
        .expect("mounts")
        .lines()
        .filter(|line| line.contains(name))
        .map(|line| format!("mount {line}"))
        .collect();
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let id = entry.file_name();
        let id = id.to_string_lossy();
        if !id.bytes().all(|byte| byte.is_ascii_digit()) || id == std::process::id().to_string().as_str() {
            continue;
        }
        // A process may end while it is looked at.
        let read = |what: &str| std::fs::read(entry.path().join(what)).unwrap_or_default();
        let words = [read("cmdline"), read("environ")].concat();
        let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if String::from_utf8_lossy(&words).contains(name) || folder.starts_with(name) {
            left.push(format!(
                "process {id} {}",
                String::from_utf8_lossy(&read("cmdline"))
            ));
        }
    }
    left
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// Asks again and again until it is so.
#[track_caller]
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let watch = Instant::now();
    while !done() {
        assert!(watch.elapsed() < PATIENCE, "waited too long until {what}");
        pause();
    }
}

/// The gap between two looks at a condition that tells nobody of itself.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

//! An engine for tests whose boxes are folders of the host: `/home/runner` of a box is such a folder, everything else is
//! the host's. Owns the translation of paths, both ways; must never be taken for isolation.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    EngineUnavailable, ExecEnding, ExecReport, ExecSpec, FileVisitor, Found, FoundKind, OpenError, Output,
    ReapError, Sandbox, SandboxControl, SandboxEngine, SandboxError, SandboxReceipt, SandboxSpec, Workspace,
};
use gantry_adapters::process;
use gantry_core::queue::build::Trouble;

/// Where a box believes to be.
const INSIDE: &str = "/home/runner";

/// Makes boxes and remembers what was asked for.
#[derive(Default)]
pub struct HostEngine {
    /// Says what is wrong instead of opening.
    pub refuses: Option<OpenError>,
    /// Which command in all boxes, from 1, meets this trouble.
    pub breaks: Option<(usize, Trouble)>,
    /// What boxes were asked for.
    pub opened: Mutex<Vec<SandboxSpec>>,
    /// Commands in all boxes.
    pub commands: Arc<Mutex<Vec<ExecSpec>>>,
    /// How many boxes live, and how many lived at once at most.
    pub living: Arc<Mutex<(usize, usize)>>,
}

/// Runs git in a folder and returns what it says.
pub fn git(folder: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let ended = process::command("git")
        .args(identity)
        .args(words)
        .current_dir(folder)
        .output()
        .expect("the host works");
    assert!(
        ended.status.success(),
        "git {words:?}: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    String::from_utf8_lossy(&ended.stdout).trim().to_owned()
}

struct HostBox {
    root: tempfile::TempDir,
    env: Vec<(String, String)>,
    breaks: Option<(usize, Trouble)>,
    commands: Arc<Mutex<Vec<ExecSpec>>>,
    living: Arc<Mutex<(usize, usize)>>,
}

impl SandboxEngine for HostEngine {
    fn name(&self) -> &'static str {
        "host"
    }

    fn probe(&self) -> Result<Vec<String>, EngineUnavailable> {
        Ok(Vec::new())
    }

    fn open(&self, spec: &SandboxSpec, control: &SandboxControl) -> Result<Box<dyn Sandbox>, OpenError> {
        if control.is_cancelled() {
            return Err(OpenError::Cancelled);
        }
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        self.opened
            .lock()
            .expect("nobody panics with it")
            .push(spec.clone());
        {
            let mut living = self.living.lock().expect("nobody panics with it");
            living.0 += 1;
            living.1 = living.1.max(living.0);
        }
        let made = HostBox {
            root: tempfile::tempdir().expect("the host works"),
            env: spec.env.clone(),
            breaks: self.breaks,
            commands: Arc::clone(&self.commands),
            living: Arc::clone(&self.living),
        };
        let workspace = made.outside(&spec.workspace_at);
        fs::create_dir_all(&workspace).expect("the host works");
        if let Workspace::Commit { repository, .. } = &spec.workspace {
            git(
                &workspace,
                &["clone", "-q", &repository.display().to_string(), "."],
            );
        }
        Ok(Box::new(made))
    }

    fn reap(&self) -> Result<usize, ReapError> {
        Ok(0)
    }
}

impl HostBox {
    fn home(&self) -> String {
        self.root.path().join("home").display().to_string()
    }

    fn outside(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(INSIDE) {
            Ok(rest) => Path::new(&self.home()).join(rest),
            Err(_) => path.to_owned(),
        }
    }

    fn outside_text(&self, text: &str) -> String {
        text.replace(INSIDE, &self.home())
    }

    /// A box that names its own paths names those it believes in.
    fn inside_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let home = self.home();
        match std::str::from_utf8(bytes) {
            Ok(text) => text.replace(&home, INSIDE).into_bytes(),
            Err(_) => bytes.to_vec(),
        }
    }

    fn show(&self, at: &Path, path: PathBuf, visitor: &mut dyn FileVisitor) -> io::Result<()> {
        let meta = fs::symlink_metadata(at)?;
        let bytes = if meta.is_file() {
            self.inside_bytes(&fs::read(at)?)
        } else {
            Vec::new()
        };
        let kind = if meta.is_dir() {
            FoundKind::Directory
        } else if meta.is_file() {
            FoundKind::File {
                bytes: bytes.len() as u64,
            }
        } else if meta.is_symlink() {
            FoundKind::Link(fs::read_link(at)?)
        } else {
            FoundKind::Other
        };
        let found = Found {
            path,
            mode: meta.permissions().mode() & 0o7777,
            kind,
        };
        visitor.visit(&found, &mut &bytes[..])?;
        if found.kind == FoundKind::Directory && visitor.enter(&found) {
            let mut names: Vec<_> = fs::read_dir(at)?
                .map(|entry| entry.expect("the host works").file_name())
                .collect();
            names.sort();
            for name in names {
                self.show(&at.join(&name), found.path.join(&name), visitor)?;
            }
        }
        Ok(())
    }

    fn follow(
        &self,
        child: &mut Child,
        spec: &ExecSpec,
        output: &mut Output<'_>,
        control: &SandboxControl,
    ) -> ExecEnding {
        let mut stdout = child.stdout.take().expect("the host works");
        thread::scope(|scope| {
            let reader = scope.spawn(move || -> io::Result<()> {
                let mut chunk = vec![0; 64 * 1024];
                loop {
                    match stdout.read(&mut chunk)? {
                        0 => return Ok(()),
                        count => output(&self.inside_bytes(&chunk[..count]))?,
                    }
                }
            });
            let watch = Stopwatch::start();
            let mut asked: Option<(ExecEnding, Stopwatch)> = None;
            let ending = loop {
                if let Some(status) =
                    process::wait_within(child, Duration::from_millis(5)).expect("the host works")
                {
                    let by_itself = match process::signal_of(status) {
                        Some(signal) => ExecEnding::Signalled { signal },
                        None => ExecEnding::Exited {
                            code: status.code().unwrap_or(-1),
                        },
                    };
                    break asked.map_or(by_itself, |(ending, _)| ending);
                }
                match &asked {
                    Some((ending, since)) if since.left_of(spec.grace).is_zero() => break ending.clone(),
                    Some(_) => {}
                    None => {
                        let ending = if control.is_cancelled() {
                            Some(ExecEnding::Cancelled)
                        } else {
                            watch
                                .left_of(spec.timeout)
                                .is_zero()
                                .then_some(ExecEnding::TimedOut)
                        };
                        if let Some(ending) = ending {
                            let group = format!("-{}", child.id());
                            process::command("kill")
                                .args(["-TERM", "--", &group])
                                .status()
                                .expect("the host works");
                            asked = Some((ending, Stopwatch::start()));
                        }
                    }
                }
            };
            process::end_group(child).expect("the host works");
            match reader.join().expect("the host works") {
                Ok(()) => ending,
                Err(error) => ExecEnding::Trouble(Trouble::Interrupted, error.to_string()),
            }
        })
    }
}

impl Sandbox for HostBox {
    fn exec(&self, spec: &ExecSpec, output: &mut Output<'_>, control: &SandboxControl) -> ExecReport {
        self.commands
            .lock()
            .expect("nobody panics with it")
            .push(spec.clone());
        let count = self.commands.lock().expect("nobody panics with it").len();
        if let Some((at, trouble)) = self.breaks.filter(|(at, _)| *at == count) {
            let ending = ExecEnding::Trouble(trouble, format!("command {at} broke"));
            return ExecReport {
                ending,
                duration: Duration::ZERO,
            };
        }
        let watch = Stopwatch::start();
        let mut command = process::command("/bin/sh");
        command.args(["-c", "exec 2>&1; exec \"$@\"", "sh"]);
        command.args(spec.command.iter().map(|word| self.outside_text(word)));
        let env = self.env.iter().chain(&spec.env);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home());
        command.envs(env.map(|(name, value)| (name, self.outside_text(value))));
        command
            .current_dir(self.outside(&spec.directory))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let ending = if control.is_cancelled() {
            ExecEnding::Cancelled
        } else {
            match command.spawn() {
                Ok(mut child) => self.follow(&mut child, spec, output, control),
                Err(error) => ExecEnding::Trouble(Trouble::CouldNotStart, error.to_string()),
            }
        };
        ExecReport {
            ending,
            duration: watch.elapsed(),
        }
    }

    fn put_file(&self, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError> {
        let at = self.outside(at);
        let failed = |source| SandboxError::System {
            doing: format!("write {}", at.display()),
            source,
        };
        fs::create_dir_all(at.parent().expect("the host works")).map_err(failed)?;
        // Scripts name the box's own paths.
        let text = std::str::from_utf8(bytes).map(|text| self.outside_text(text).into_bytes());
        fs::write(&at, text.unwrap_or_else(|_| bytes.to_vec())).map_err(failed)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).map_err(failed)
    }

    fn visit_files(&self, at: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError> {
        let outside = self.outside(at);
        let real = fs::canonicalize(&outside).map_err(|error| SandboxError::Path {
            path: at.display().to_string(),
            why: error.to_string(),
        })?;
        self.show(&real, PathBuf::new(), visitor)
            .map_err(|source| SandboxError::System {
                doing: format!("show {}", at.display()),
                source,
            })
    }

    fn changed_root(&self) -> Option<PathBuf> {
        None
    }

    fn freeze(&self, _: bool) -> Result<(), SandboxError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> SandboxReceipt {
        self.living.lock().expect("nobody panics with it").0 -= 1;
        SandboxReceipt {
            engine: "host".to_owned(),
            ..SandboxReceipt::default()
        }
    }
}

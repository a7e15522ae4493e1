//! A box for tests that is a folder of the host: paths in it are the host's own, commands run on the host in it.
//! Owns the folder; must never be taken for isolation.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    ExecEnding, ExecReport, ExecSpec, FileVisitor, Found, FoundKind, Output, Sandbox, SandboxControl,
    SandboxError, SandboxReceipt,
};
use gantry_adapters::process;
use gantry_core::queue::build::Trouble;

/// A box that is a folder.
#[derive(Debug)]
pub struct FakeBox {
    root: tempfile::TempDir,
    commands: Mutex<Vec<Vec<String>>>,
}

impl FakeBox {
    /// Makes an empty one with a workspace, a home and a folder for temporary files.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("the host has room");
        let made = Self {
            root,
            commands: Mutex::default(),
        };
        for folder in [made.workspace(), made.home(), made.temp()] {
            fs::create_dir_all(folder).expect("the host has room");
        }
        made
    }

    /// Returns the folder that is the box; its real path.
    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.root.path()).expect("it is there")
    }

    /// Returns the workspace.
    pub fn workspace(&self) -> PathBuf {
        self.root().join("workspace")
    }

    /// Returns the home of the box's user.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// Returns the folder for temporary files.
    pub fn temp(&self) -> PathBuf {
        self.root().join("temp")
    }

    /// Returns every command that was run, oldest first.
    pub fn commands(&self) -> Vec<Vec<String>> {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes an executable shell script below the box's root and returns its path.
    pub fn script(&self, path: &str, text: &str) -> PathBuf {
        let at = self.root().join(path);
        self.put_file(&at, format!("#!/bin/sh\n{text}\n").as_bytes(), 0o755)
            .expect("it is written");
        at
    }

    fn inside(&self, path: &Path) -> Result<PathBuf, SandboxError> {
        let wrong = |why: String| SandboxError::Path {
            path: path.display().to_string(),
            why,
        };
        let real = fs::canonicalize(path).map_err(|error| wrong(error.to_string()))?;
        if real.starts_with(self.root()) {
            Ok(real)
        } else {
            Err(wrong("it is outside the box".to_owned()))
        }
    }

    fn show(at: &Path, path: PathBuf, visitor: &mut dyn FileVisitor) -> io::Result<()> {
        let meta = fs::symlink_metadata(at)?;
        let kind = if meta.is_dir() {
            FoundKind::Directory
        } else if meta.is_file() {
            FoundKind::File { bytes: meta.len() }
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
        if let FoundKind::File { .. } = found.kind {
            return visitor.visit(&found, &mut fs::File::open(at)?);
        }
        visitor.visit(&found, &mut io::empty())?;
        if found.kind == FoundKind::Directory && visitor.enter(&found) {
            let mut names = fs::read_dir(at)?
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<Vec<_>, _>>()?;
            names.sort();
            for name in names {
                Self::show(&at.join(&name), found.path.join(&name), visitor)?;
            }
        }
        Ok(())
    }
}

fn follow(
    child: &mut Child,
    spec: &ExecSpec,
    output: &mut Output<'_>,
    control: &SandboxControl,
) -> io::Result<ExecEnding> {
    let mut stdout = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("it has no output"))?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || -> io::Result<()> {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                match stdout.read(&mut chunk)? {
                    0 => return Ok(()),
                    count => output(&chunk[..count])?,
                }
            }
        });
        let watch = Stopwatch::start();
        let ending = loop {
            if let Some(status) = process::wait_within(child, Duration::from_millis(20))? {
                break match process::signal_of(status) {
                    Some(signal) => ExecEnding::Signalled { signal },
                    None => ExecEnding::Exited {
                        code: status.code().unwrap_or(-1),
                    },
                };
            }
            if control.is_cancelled() {
                break ExecEnding::Cancelled;
            }
            if watch.left_of(spec.timeout).is_zero() {
                break ExecEnding::TimedOut;
            }
        };
        process::end_group(child)?;
        let read = reader
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the reader panicked")));
        Ok(match read {
            Ok(()) => ending,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                ExecEnding::Trouble(Trouble::TooMuchOutput, error.to_string())
            }
            Err(error) => ExecEnding::Trouble(Trouble::Interrupted, error.to_string()),
        })
    })
}

impl Sandbox for FakeBox {
    fn exec(&self, spec: &ExecSpec, output: &mut Output<'_>, control: &SandboxControl) -> ExecReport {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(spec.command.clone());
        let watch = Stopwatch::start();
        let mut command = process::command("/bin/sh");
        command
            .args(["-c", "exec 2>&1; exec \"$@\"", "sh"])
            .args(&spec.command);
        command
            .env("HOME", self.home())
            .envs(spec.env.iter().map(|(name, value)| (name, value)));
        command
            .current_dir(&spec.directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let ending = if control.is_cancelled() {
            ExecEnding::Cancelled
        } else {
            match command.spawn() {
                Ok(mut child) => follow(&mut child, spec, output, control)
                    .unwrap_or_else(|error| ExecEnding::Trouble(Trouble::Interrupted, error.to_string())),
                Err(error) => ExecEnding::Trouble(Trouble::CouldNotStart, error.to_string()),
            }
        };
        ExecReport {
            ending,
            duration: watch.elapsed(),
        }
    }

    fn put_file(&self, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError> {
        let parent = at.parent().unwrap_or(Path::new("/"));
        let existing = parent
            .ancestors()
            .find(|folder| folder.exists())
            .unwrap_or(Path::new("/"));
        self.inside(existing)?;
        let failed = |source| SandboxError::System {
            doing: format!("write {}", at.display()),
            source,
        };
        fs::create_dir_all(parent).map_err(failed)?;
        let target = self.inside(parent)?.join(at.file_name().unwrap_or_default());
        if target.is_symlink() {
            fs::remove_file(&target).map_err(failed)?;
        }
        fs::write(&target, bytes).map_err(failed)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(failed)
    }

    fn visit_files(&self, at: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError> {
        let real = self.inside(at)?;
        Self::show(&real, PathBuf::new(), visitor).map_err(|source| SandboxError::System {
            doing: format!("show {}", at.display()),
            source,
        })
    }

    fn changed_root(&self) -> Option<PathBuf> {
        None
    }

    fn freeze(&self, _frozen: bool) -> Result<(), SandboxError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> SandboxReceipt {
        SandboxReceipt::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, timeout: Duration) -> ExecSpec {
        ExecSpec {
            command: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            env: Vec::new(),
            directory: PathBuf::from("/"),
            timeout,
            grace: Duration::ZERO,
        }
    }

    #[test]
    fn commands_end_in_every_way_they_can() {
        let sandbox = FakeBox::new();
        let run = |text: &str, timeout_ms| {
            let mut output = |_: &[u8]| Ok(());
            let spec = line(text, Duration::from_millis(timeout_ms));
            sandbox
                .exec(&spec, &mut output, &SandboxControl::default())
                .ending
        };
        assert_eq!(run("exit 4", 20_000), ExecEnding::Exited { code: 4 });
        assert_eq!(run("kill -9 $$", 20_000), ExecEnding::Signalled { signal: 9 });
        assert_eq!(run("sleep 600", 100), ExecEnding::TimedOut);
        assert_eq!(sandbox.commands().len(), 3);
    }

    #[test]
    fn files_outside_are_refused() {
        let sandbox = FakeBox::new();
        let outside = tempfile::tempdir().expect("a folder");
        assert!(sandbox.put_file(&outside.path().join("x"), b"", 0o644).is_err());
    }
}

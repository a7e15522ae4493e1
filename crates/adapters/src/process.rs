//! The door to other programs. Owns how they start (scrubbed environment, own process group), how long they
//! may run, how much of their output is kept, and how they are ended. Must never know which program it is.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::clock::Stopwatch;

/// Makes a command for `program` that starts in a process group of its own, with nothing on standard input
/// and an environment that holds `PATH` only.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = member_command(program);
    command.process_group(0);
    command
}

/// Makes a command as [`command`] does, but one that stays in its parent's process group.
pub fn member_command(program: impl AsRef<OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the door to other programs")]
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// What a program may use.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Wall time until its group is killed.
    pub timeout: Duration,
    /// Bytes kept of each of its two outputs; the rest is read and dropped.
    pub output_bytes_max: usize,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output, up to the bound.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, up to the bound.
    pub stderr: Vec<u8>,
    /// Whether either output was longer than the bound.
    pub cut: bool,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ran into its time limit and its group was killed.
    #[error("{program} took longer than {timeout:?} and was killed")]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        timeout: Duration,
    },
    /// Its output or its end could not be read.
    #[error("cannot follow {program}")]
    Follow {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Runs a command to its end within bounds and returns what it said; its whole group is killed at the limit.
///
/// Errors: [`ProcessError`]; a program that ran and failed is not one.
pub fn run(command: &mut Command, bounds: Bounds) -> Result<Finished, ProcessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let follow = |source| ProcessError::Follow {
        program: program.clone(),
        source,
    };
    let watch = Stopwatch::start();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ProcessError::Start {
            program: program.clone(),
            source,
        })?;
    let kept = match read_outputs(&mut child, bounds, watch) {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            end_group(&mut child).map_err(follow)?;
            return Err(ProcessError::TimedOut {
                program,
                timeout: bounds.timeout,
            });
        }
        Err(source) => {
            end_group(&mut child).map_err(follow)?;
            return Err(follow(source));
        }
    };
    let Some(status) = wait_within(&mut child, watch.left_of(bounds.timeout)).map_err(follow)? else {
        end_group(&mut child).map_err(follow)?;
        return Err(ProcessError::TimedOut {
            program,
            timeout: bounds.timeout,
        });
    };
    let [stdout, stderr] = kept;
    Ok(Finished {
        status,
        cut: stdout.cut || stderr.cut,
        stdout: stdout.bytes,
        stderr: stderr.bytes,
    })
}

/// Kills the process group that `child` leads and waits for the child itself.
///
/// Errors: what the system said while waiting; a group that is already gone is not an error.
pub fn end_group(child: &mut Child) -> io::Result<ExitStatus> {
    if let Ok(pid) = i32::try_from(child.id()) {
        // Losing the answer is safe: the group is gone, or the wait below tells.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    child.wait()
}

/// Waits for the child until `limit` has passed, and returns `None` if it still runs then.
///
/// Errors: what the system said while waiting.
pub fn wait_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let watch = Stopwatch::start();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = watch.left_of(limit);
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Tells the number of the signal that ended a program, if one did.
#[must_use]
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

struct Kept<R> {
    source: R,
    bytes: Vec<u8>,
    cut: bool,
    open: bool,
}

impl<R: Read> Kept<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            bytes: Vec::new(),
            cut: false,
            open: true,
        }
    }

    fn take(&mut self, bytes_max: usize, chunk: &mut [u8]) -> io::Result<()> {
        let count = match self.source.read(chunk) {
            Ok(count) => count,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(source) => return Err(source),
        };
        self.open = count > 0;
        let room = bytes_max.saturating_sub(self.bytes.len());
        self.cut |= count > room;
        self.bytes.extend_from_slice(&chunk[..count.min(room)]);
        Ok(())
    }
}

struct Output {
    bytes: Vec<u8>,
    cut: bool,
}

/// Reads both outputs to their ends, or returns `None` at the time limit.
fn read_outputs(child: &mut Child, bounds: Bounds, watch: Stopwatch) -> io::Result<Option<[Output; 2]>> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the outputs were taken by somebody else"));
    };
    let mut out = Kept::new(stdout);
    let mut err = Kept::new(stderr);
    let mut chunk = [0; 16 * 1024];
    while out.open || err.open {
        let left = watch.left_of(bounds.timeout);
        if left.is_zero() {
            return Ok(None);
        }
        let (out_ready, err_ready) = {
            let mut waits = Vec::with_capacity(2);
            use std::os::fd::AsFd;
            if out.open {
                waits.push(PollFd::new(out.source.as_fd(), PollFlags::POLLIN));
            }
            if err.open {
                waits.push(PollFd::new(err.source.as_fd(), PollFlags::POLLIN));
            }
            let timeout =
                PollTimeout::try_from(left.min(Duration::from_secs(60))).unwrap_or(PollTimeout::MAX);
            match poll(&mut waits, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let mut ready = waits.iter().map(|wait| wait.any().unwrap_or(false));
            let out_ready = out.open && ready.next().unwrap_or(false);
            (out_ready, err.open && ready.next().unwrap_or(false))
        };
        if out_ready {
            out.take(bounds.output_bytes_max, &mut chunk)?;
        }
        if err_ready {
            err.take(bounds.output_bytes_max, &mut chunk)?;
        }
    }
    Ok(Some([
        Output {
            bytes: out.bytes,
            cut: out.cut,
        },
        Output {
            bytes: err.bytes,
            cut: err.cut,
        },
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(line: &str, bounds: Bounds) -> Result<Finished, ProcessError> {
        run(command("/bin/sh").args(["-c", line]), bounds)
    }

    const BOUNDS: Bounds = Bounds {
        timeout: Duration::from_secs(20),
        output_bytes_max: 1000,
    };

    #[test]
    fn both_outputs_and_the_exit_code_come_back() {
        let finished = sh("echo out; echo err >&2; exit 3", BOUNDS).expect("sh runs");
        assert_eq!(finished.stdout, b"out\n");
        assert_eq!(finished.stderr, b"err\n");
        assert_eq!(finished.status.code(), Some(3));
        assert!(!finished.cut);
    }

    #[test]
    fn long_output_is_read_to_its_end_and_cut() {
        let finished = sh("head -c 300000 /dev/zero", BOUNDS).expect("sh runs");
        assert_eq!(finished.stdout.len(), 1000);
        assert!(finished.cut && finished.status.success());
    }

    #[test]
    fn a_group_that_takes_too_long_is_killed_whole() {
        let bounds = Bounds {
            timeout: Duration::from_millis(100),
            ..BOUNDS
        };
        let watch = Stopwatch::start();
        let ended = sh("sleep 600 & sleep 600", bounds);
        assert!(matches!(ended, Err(ProcessError::TimedOut { .. })), "{ended:?}");
        assert!(watch.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_environment_is_not_handed_on() {
        let finished = sh("env | grep -c CARGO", BOUNDS).expect("sh runs");
        assert_eq!(finished.stdout, b"0\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let ended = run(&mut command("/nonexistent/program"), BOUNDS);
        let text = ended.expect_err("it is not there").to_string();
        assert_eq!(text, "cannot start /nonexistent/program");
    }
}

//! One command in a box from its start to its end. Owns its time limit, its output and what its end means; must
//! never return before the command has ended, or the box with it.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gantry_core::limits::BOX_DISK_FREE_BYTES_MIN;
use gantry_core::queue::build::Trouble;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use nix::unistd::{Gid, Uid, fchown};

use super::entry::host_uid;
use super::exec::tag;
use super::init::ask;
use super::message::Message;
use super::native_sandbox::{Lifeline, NativeSandbox};
use super::status::Status;
use crate::clock::Stopwatch;
use crate::engine::{ExecEnding, ExecReport, ExecSpec, Output, SandboxControl};

/// How long a killed command may take to be gone.
const HARD_END_AFTER: Duration = Duration::from_secs(5);
/// The longest wait between two looks at the clock and the cancel mark.
const TICK: Duration = Duration::from_millis(200);
const CHUNK_BYTES: usize = 64 * 1024;
/// More than this on the status pipe is not a status.
const STATUS_BYTES_MAX: usize = 64 * 1024;
/// What may be in the pipe when the command has ended: more is written by what it left behind.
const REST_BYTES_MAX: usize = 1024 * 1024;

/// Runs a command.
pub(super) fn exec(
    sandbox: &NativeSandbox,
    spec: &ExecSpec,
    output: &mut Output<'_>,
    control: &SandboxControl,
) -> ExecReport {
    let watch = Stopwatch::start();
    let ending = if control.is_cancelled() {
        ExecEnding::Cancelled
    } else {
        run(sandbox, spec, output, control, watch)
    };
    ExecReport {
        ending,
        duration: watch.elapsed(),
    }
}

fn run(
    sandbox: &NativeSandbox,
    spec: &ExecSpec,
    output: &mut Output<'_>,
    control: &SandboxControl,
    watch: Stopwatch,
) -> ExecEnding {
    let number = sandbox.numbers.fetch_add(1, Ordering::SeqCst);
    let oom_before = sandbox.parts.groups.oom_kills();
    let (out, status) = match start(sandbox, spec, number) {
        Ok(started) => started,
        Err(source) => {
            return ExecEnding::Trouble(Trouble::Interrupted, format!("the box has ended: {source}"));
        }
    };
    let channel = Arc::clone(&sandbox.parts.channel);
    control.on_cancel(move || {
        // A box that is gone has no command to end.
        let _ = channel.signal(number, Signal::SIGTERM);
    });
    let mut follow = Follow {
        channel: &sandbox.parts.channel,
        spec,
        control,
        watch,
        number,
        output_bytes: 0,
        told: Vec::new(),
        ending: None,
    };
    follow.follow(out, status, output);
    control.detach();
    sandbox
        .output_bytes
        .fetch_add(follow.output_bytes, Ordering::SeqCst);
    // A command that a cancel ended may be gone before the loop saw the mark; it did not fail.
    let cancelled = control.is_cancelled().then_some(ExecEnding::Cancelled);
    if let Some(ending) = follow.ending.map(|(ending, _)| ending).or(cancelled) {
        return ending;
    }
    judge(sandbox, &follow.told, oom_before)
}

fn start(sandbox: &NativeSandbox, spec: &ExecSpec, number: u64) -> io::Result<(PipeReader, PipeReader)> {
    let parts = &sandbox.parts;
    let (out, writer) = io::pipe()?;
    if parts.privileged {
        // The command may open its output again, by /dev/stdout; a pipe belongs to who made it.
        let owner = host_uid(parts.spec.user);
        fchown(&writer, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    }
    fcntl(&out, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let (status, told) = io::pipe()?;
    let mut message = Message::default();
    message.push(tag::NUMBER, number.to_string(), "");
    message.push(tag::DIRECTORY, &spec.directory, "");
    if let Some(count) = parts.spec.limits.processes {
        message.push(tag::PROCESSES_MAX, count.to_string(), "");
    }
    for argument in &spec.command {
        message.push(tag::ARGUMENT, argument, "");
    }
    for (name, value) in &parts.env {
        message.push(tag::VARIABLE, name, value);
    }
    for (name, value) in &spec.env {
        message.push(tag::VARIABLE, name, value);
    }
    parts
        .channel
        .ask(ask::EXEC, &[writer.as_fd(), told.as_fd()], &message)?;
    Ok((out, status))
}

struct Follow<'a> {
    channel: &'a Lifeline,
    spec: &'a ExecSpec,
    control: &'a SandboxControl,
    watch: Stopwatch,
    number: u64,
    output_bytes: u64,
    told: Vec<u8>,
    /// An ending decided on this side of the pipes, and since when.
    ending: Option<(ExecEnding, Stopwatch)>,
}

impl Follow<'_> {
    /// Reads what the command writes until it has ended, and ends it where a limit is reached.
    fn follow(&mut self, mut out: PipeReader, mut status: PipeReader, output: &mut Output<'_>) {
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut output_open, mut status_open, mut killed) = (true, true, false);
        while status_open {
            self.look_at_limits();
            let mut wait = self.watch.left_of(self.spec.timeout);
            if let Some((_, since)) = &self.ending {
                wait = since.left_of(self.spec.grace);
                if wait.is_zero() && !killed {
                    killed = true;
                    self.signal(Signal::SIGKILL);
                }
                if killed {
                    wait = since.left_of(self.spec.grace + HARD_END_AFTER);
                    if wait.is_zero() {
                        break;
                    }
                }
            }
            let ready = wait_for(&out, &status, output_open, wait.min(TICK));
            if ready[0] {
                output_open = self.take(&mut out, output, &mut chunk).is_some();
            }
            if ready[1] {
                let count = read_some(&mut status, &mut chunk);
                status_open = count > 0;
                let room = STATUS_BYTES_MAX.saturating_sub(self.told.len());
                self.told.extend_from_slice(&chunk[..count.min(room)]);
            }
        }
        let mut rest = 0;
        while output_open && rest < REST_BYTES_MAX {
            match self.take(&mut out, output, &mut chunk) {
                Some(0) => break,
                Some(count) => rest += count,
                None => output_open = false,
            }
        }
        if output_open {
            drop_the_rest(out);
        }
    }

    fn look_at_limits(&mut self) {
        if self.ending.is_some() {
            return;
        }
        if self.control.is_cancelled() {
            self.end(ExecEnding::Cancelled, Signal::SIGTERM);
        } else if self.watch.left_of(self.spec.timeout).is_zero() {
            self.end(ExecEnding::TimedOut, Signal::SIGTERM);
        }
    }

    fn end(&mut self, ending: ExecEnding, signal: Signal) {
        self.ending = Some((ending, Stopwatch::start()));
        self.signal(signal);
    }

    fn signal(&self, signal: Signal) {
        // A box that is gone has no command to end.
        let _ = self.channel.signal(self.number, signal);
    }

    /// Hands on what is there; `None` at the end of the output, zero if there is nothing now.
    fn take(&mut self, out: &mut PipeReader, output: &mut Output<'_>, chunk: &mut [u8]) -> Option<usize> {
        let count = match out.read(chunk) {
            Ok(0) => return None,
            Ok(count) => count,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => return Some(0),
            Err(source) if source.kind() == io::ErrorKind::WouldBlock => return Some(0),
            Err(_) => return None,
        };
        self.output_bytes += count as u64;
        if let Err(source) = output(&chunk[..count])
            && self.ending.is_none()
        {
            self.end(output_trouble(&source), Signal::SIGKILL);
        }
        Some(count)
    }
}

/// Sorts what whoever takes the output refused.
fn output_trouble(source: &io::Error) -> ExecEnding {
    let trouble = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::OutOfDisk,
        io::ErrorKind::FileTooLarge => Trouble::TooMuchOutput,
        _ => Trouble::Interrupted,
    };
    ExecEnding::Trouble(trouble, source.to_string())
}

/// Says what the words about a command that ended by itself mean.
fn judge(sandbox: &NativeSandbox, told: &[u8], oom_before: u64) -> ExecEnding {
    let (statuses, last_words) = Status::parse_all(told);
    let parts = &sandbox.parts;
    for status in &statuses {
        if let Status::Trouble(trouble, why) = status {
            return ExecEnding::Trouble(*trouble, why.clone());
        }
    }
    if parts
        .disk
        .as_ref()
        .is_some_and(super::disk::DiskWatch::is_exceeded)
    {
        let limits = &parts.spec.limits;
        let words = [
            limits.disk_bytes.map(|bytes| format!("{bytes} bytes")),
            limits.inodes.map(|count| format!("{count} files")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let why = format!(
            "the box wrote more than its limit of {} and was ended",
            words.join(" or ")
        );
        return ExecEnding::Trouble(Trouble::OutOfDisk, why);
    }
    let ending = match statuses.last() {
        Some(Status::Exited(0)) => return ExecEnding::Exited { code: 0 },
        Some(Status::Exited(code)) => ExecEnding::Exited { code: *code },
        Some(Status::Signalled(signal)) => ExecEnding::Signalled { signal: *signal },
        _ => ExecEnding::Trouble(Trouble::Interrupted, format!("the box died; {last_words}")),
    };
    if parts.groups.oom_kills() > oom_before {
        return ExecEnding::OutOfMemory;
    }
    if !matches!(ending, ExecEnding::Trouble(..)) && !parts.spec.limits.in_memory && disk_is_full(sandbox) {
        let why = "the command failed while the disk of the boxes was full".to_owned();
        return ExecEnding::Trouble(Trouble::OutOfDisk, why);
    }
    ending
}

fn disk_is_full(sandbox: &NativeSandbox) -> bool {
    // A disk that cannot be asked is not known to be full.
    statvfs(&sandbox.parts.scratch)
        .is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < BOX_DISK_FREE_BYTES_MIN)
}

/// Keeps reading what background processes write: they must neither wait for a reader nor die of having none.
fn drop_the_rest(out: PipeReader) {
    let started = std::thread::Builder::new()
        .name("box-rest".to_owned())
        .spawn(move || {
            let mut out = out;
            let mut chunk = vec![0; 4096];
            loop {
                match out.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(source) if source.kind() == io::ErrorKind::WouldBlock => {
                        let mut waits = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
                        if let Err(errno) = poll(&mut waits, PollTimeout::NONE)
                            && errno != Errno::EINTR
                        {
                            return;
                        }
                    }
                    Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
    // Without a thread the background processes find their output closed.
    drop(started);
}

fn wait_for(out: &PipeReader, status: &PipeReader, output_open: bool, limit: Duration) -> [bool; 2] {
    let mut waits = vec![PollFd::new(status.as_fd(), PollFlags::POLLIN)];
    if output_open {
        waits.push(PollFd::new(out.as_fd(), PollFlags::POLLIN));
    }
    let millis = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX).max(1);
    // Interrupted or not: what is ready is read, the rest is looked at again.
    let _ = poll(&mut waits, PollTimeout::from(millis));
    let ready = |at: usize| waits.get(at).is_some_and(|wait| wait.any().unwrap_or(false));
    [ready(1), ready(0)]
}

/// Reads what is there; a pipe that cannot be read any more has ended.
fn read_some(from: &mut impl Read, chunk: &mut [u8]) -> usize {
    loop {
        match from.read(chunk) {
            Ok(count) => return count,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

//! One box from its making to its removal. Owns the order of the steps, the time limit, and what an end means;
//! must never return while anything of the box runs.

use std::fs::File;
use std::io::{self, BufReader, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_core::limits::{BOX_DISK_FREE_BYTES_MIN, BOX_GRACE, CHECK_OUTPUT_FLOOD_FACTOR};
use gantry_core::queue::build::Trouble;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use nix::unistd::{Gid, Uid, fchown};

use super::NativeEngine;
use super::entry::{BOX_HOST_UID, Stage, StageName};
use super::folder::BoxFolder;
use super::init::END_GENTLY;
use super::order::Order;
use super::status::Status;
use super::view::object_directory;
use crate::clock::Stopwatch;
use crate::engine::evidence::choose_evidence;
use crate::engine::output::{OutputLog, PatternWatch};
use crate::engine::{CheckReport, CheckSpec, SandboxControl, SandboxEnding};
use crate::git::{CheckoutError, GitRepository};
use crate::process;

/// How long after the grace a box may take to end until its processes are killed from outside.
const HARD_END_AFTER: Duration = Duration::from_secs(3);
/// How long the kernel may take to clear a killed box away.
const CLEARED_WITHIN: Duration = Duration::from_secs(10);
/// The longest wait between two looks at the clock and the cancel mark.
const TICK: Duration = Duration::from_secs(1);
const CHUNK_BYTES: usize = 64 * 1024;
/// More than this on the status pipe is not a status; it is read and dropped.
const STATUS_BYTES_MAX: usize = 64 * 1024;

/// Where the workspace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The commit of the spec.
    Commit,
    /// Nowhere: it is empty.
    Empty,
}

/// An ending that is decided on this side of the pipes.
type Ended = SandboxEnding;

pub(super) struct Attempt<'a> {
    engine: &'a NativeEngine,
    spec: &'a CheckSpec,
    control: &'a SandboxControl,
    watch: Stopwatch,
    doomed: bool,
    output_bytes: u64,
}

/// A box whose processes run.
struct Running {
    child: Child,
    output: PipeReader,
    status: ChildStderr,
    life: Life,
}

/// The pipe a box lives by: a word on it asks it to end, its closing ends it.
#[derive(Clone)]
struct Life(Arc<Mutex<Option<ChildStdin>>>);

impl Life {
    fn end_gently(&self) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipe.as_mut() {
            // A box that does not read any more has ended.
            let _ = pipe.write_all(&[END_GENTLY]);
        }
    }

    fn end_now(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl<'a> Attempt<'a> {
    pub(super) fn new(engine: &'a NativeEngine, spec: &'a CheckSpec, control: &'a SandboxControl) -> Self {
        Self {
            engine,
            spec,
            control,
            watch: Stopwatch::start(),
            doomed: false,
            output_bytes: 0,
        }
    }

    /// Runs the box to its end and removes it.
    pub(super) fn run(mut self, source: Source) -> CheckReport {
        let (ending, folder) = match BoxFolder::create(&self.engine.scratch, &self.spec.name) {
            Ok(folder) => {
                self.engine.running().insert(folder.path().to_owned());
                (
                    self.run_in(&folder, source).unwrap_or_else(|ended| ended),
                    Some(folder),
                )
            }
            Err(source) => (host_trouble("make the box's folder", &source), None),
        };
        let duration = self.watch.elapsed();
        let evidence = self.evidence(&ending);
        let leftover = folder.and_then(|folder| {
            let path = folder.path().to_owned();
            let left = folder.remove().err();
            self.engine.running().remove(&path);
            left.map(|source| format!("{}: {source}", path.display()))
        });
        CheckReport {
            ending,
            duration,
            output_bytes: self.output_bytes,
            evidence,
            doomed: self.doomed,
            leftover,
        }
    }

    fn run_in(&mut self, folder: &BoxFolder, source: Source) -> Result<SandboxEnding, Ended> {
        let mut log = OutputLog::create(&self.spec.log, self.spec.output_bytes_max)
            .map_err(|source| host_trouble("make the log", &source))?;
        let objects = match source {
            Source::Commit => self.fill_workspace(folder)?,
            Source::Empty => Vec::new(),
        };
        if self.engine.privileged {
            folder
                .give_to_box_user()
                .map_err(|source| host_trouble("give the workspace to the box", &source))?;
        }
        if self.control.is_cancelled() {
            return Ok(SandboxEnding::Cancelled);
        }
        let order = self.engine.host.plan(self.spec, folder, &objects);
        let mut running = self
            .start(folder, &order)
            .map_err(|source| host_trouble("start the box", &source))?;
        let life = running.life.clone();
        self.control.on_cancel(move || life.end_gently());
        let (ended, told) = self.follow(&mut running, &mut log);
        self.control.detach();
        self.output_bytes = log.written_bytes();
        let finished = log.finish();
        if let Some(ended) = ended {
            return Ok(ended);
        }
        finished.map_err(|source| host_trouble("write the log", &source))?;
        Ok(self.judge(&told))
    }

    /// Checks the commit out; returns the host's object directories, which the box may read.
    fn fill_workspace(&self, folder: &BoxFolder) -> Result<Vec<std::path::PathBuf>, Ended> {
        let fill = || {
            let repository = GitRepository::open(&self.spec.repository)?;
            let workspace = folder.workspace();
            repository.check_out(self.spec.commit, &workspace, &|| self.control.is_cancelled())?;
            let objects = repository.object_directories()?;
            let inside: Vec<_> = (0..objects.len()).map(object_directory).collect();
            repository.write_git_directory(self.spec.commit, &workspace, &inside)?;
            Ok(objects)
        };
        fill().map_err(|failed: CheckoutError| match &failed {
            CheckoutError::Stopped => SandboxEnding::Cancelled,
            CheckoutError::Refused { .. } => SandboxEnding::Refused(failed.to_string()),
            CheckoutError::Write { source, .. } => host_trouble("check the commit out", source),
            CheckoutError::Git(_) => SandboxEnding::Trouble(Trouble::CouldNotStart, chain(&failed)),
        })
    }

    fn start(&self, folder: &BoxFolder, order: &Order) -> io::Result<Running> {
        let stage = Stage {
            name: StageName::Supervise,
            folder: folder.path().to_owned(),
            privileged: self.engine.privileged,
            network: self.spec.network.clone(),
        };
        let (output, writer) = io::pipe()?;
        if self.engine.privileged {
            // The check may open its output again, by /dev/stdout; a pipe belongs to who made it.
            fchown(
                &writer,
                Some(Uid::from_raw(BOX_HOST_UID)),
                Some(Gid::from_raw(BOX_HOST_UID)),
            )?;
        }
        let mut child = process::command(&self.engine.entry)
            .args(stage.arguments())
            .stdin(Stdio::piped())
            .stdout(OwnedFd::from(writer))
            .stderr(Stdio::piped())
            .spawn()?;
        let (Some(mut stdin), Some(status)) = (child.stdin.take(), child.stderr.take()) else {
            process::end_group(&mut child)?;
            return Err(io::Error::other("the pipes of the box were not made"));
        };
        // A box that died already says why on its status pipe.
        match order.write(&mut stdin) {
            Ok(()) => {}
            Err(source) if source.kind() == io::ErrorKind::BrokenPipe => {}
            Err(source) => {
                process::end_group(&mut child)?;
                return Err(source);
            }
        }
        Ok(Running {
            child,
            output,
            status,
            life: Life(Arc::new(Mutex::new(Some(stdin)))),
        })
    }

    /// Reads what the box writes until everything in it has ended, and ends it where a limit is reached.
    fn follow(&mut self, running: &mut Running, log: &mut OutputLog) -> (Option<Ended>, Vec<u8>) {
        let started = Stopwatch::start();
        let mut ending: Option<(Ended, Stopwatch)> = None;
        let mut patterns = PatternWatch::new(&self.spec.fail_fast);
        let mut told = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut output_open, mut status_open) = (true, true);
        while output_open || status_open {
            if ending.is_none() {
                if self.control.is_cancelled() {
                    ending = Some((SandboxEnding::Cancelled, Stopwatch::start()));
                } else if started.left_of(self.spec.timeout).is_zero() {
                    running.life.end_gently();
                    ending = Some((SandboxEnding::TimedOut, Stopwatch::start()));
                }
            }
            let mut wait = started.left_of(self.spec.timeout);
            if let Some((_, since)) = &ending {
                wait = since.left_of(BOX_GRACE + HARD_END_AFTER);
                if wait.is_zero() {
                    break;
                }
            }
            let ready = wait_for(
                &running.output,
                &running.status,
                [output_open, status_open],
                wait.min(TICK),
            );
            if ready[0] {
                let count = read_some(&mut running.output, &mut chunk);
                output_open = count > 0;
                let failed = self.take_output(&chunk[..count], log, &mut patterns);
                if let (Some(failed), None) = (failed, &ending) {
                    running.life.end_now();
                    ending = Some((failed, Stopwatch::start()));
                }
            }
            if ready[1] {
                let count = read_some(&mut running.status, &mut chunk);
                status_open = count > 0;
                let room = STATUS_BYTES_MAX.saturating_sub(told.len());
                told.extend_from_slice(&chunk[..count.min(room)]);
            }
        }
        running.life.end_now();
        let cleared = clear(&mut running.child);
        // A check that a cancel ended may be gone before this loop saw the mark; it did not fail.
        let cancelled = self.control.is_cancelled().then_some(SandboxEnding::Cancelled);
        let ended = ending.map(|(ended, _)| ended).or(cancelled).or(cleared.err());
        (ended, told)
    }

    /// Keeps output; returns an ending if the box must not go on.
    fn take_output(
        &mut self,
        bytes: &[u8],
        log: &mut OutputLog,
        patterns: &mut PatternWatch<'_>,
    ) -> Option<Ended> {
        if let Err(source) = log.write(bytes) {
            return Some(host_trouble("write the log", &source));
        }
        if patterns.sees(bytes) {
            self.doomed = true;
            self.control.doom();
        }
        let flood_bytes = self
            .spec
            .output_bytes_max
            .saturating_mul(CHECK_OUTPUT_FLOOD_FACTOR);
        (log.written_bytes() > flood_bytes).then(|| {
            let why = format!("the check wrote more than {flood_bytes} bytes and was ended");
            SandboxEnding::Trouble(Trouble::TooMuchOutput, why)
        })
    }

    /// Says what the words of a box that ended by itself mean.
    fn judge(&self, told: &[u8]) -> SandboxEnding {
        let (statuses, last_words) = Status::parse_all(told);
        let trouble = statuses.iter().find_map(|status| match status {
            Status::Trouble(trouble, why) => Some((*trouble, why.clone())),
            Status::Died(how) => Some((Trouble::Interrupted, format!("pid 1 of the box died {how}"))),
            Status::Started | Status::Exited(_) | Status::Signalled(_) => None,
        });
        if let Some((trouble, why)) = trouble {
            return SandboxEnding::Trouble(trouble, why);
        }
        match statuses.last() {
            Some(Status::Exited(0)) => SandboxEnding::Exited { code: 0 },
            Some(Status::Exited(_) | Status::Signalled(_)) if self.disk_is_full() => {
                let why = "the check failed while the disk of the boxes was full".to_owned();
                SandboxEnding::Trouble(Trouble::OutOfDisk, why)
            }
            Some(Status::Exited(code)) => SandboxEnding::Exited { code: *code },
            Some(Status::Signalled(signal)) if *signal == Signal::SIGKILL as i32 => {
                let why = "the check was killed from outside".to_owned();
                SandboxEnding::Trouble(Trouble::Interrupted, why)
            }
            Some(Status::Signalled(signal)) => SandboxEnding::Signalled { signal: *signal },
            Some(_) => SandboxEnding::Trouble(Trouble::Interrupted, format!("the box died; {last_words}")),
            None => SandboxEnding::Trouble(
                Trouble::CouldNotStart,
                format!("the box died before its check started; {last_words}"),
            ),
        }
    }

    fn disk_is_full(&self) -> bool {
        // A disk that cannot be asked is not known to be full.
        statvfs(&self.engine.scratch)
            .is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < BOX_DISK_FREE_BYTES_MIN)
    }

    fn evidence(&self, ending: &SandboxEnding) -> Vec<String> {
        if ending.passed() {
            return Vec::new();
        }
        let read = || choose_evidence(BufReader::with_capacity(CHUNK_BYTES, File::open(&self.spec.log)?));
        let mut lines =
            read().unwrap_or_else(|source| vec![format!("gantry: cannot read the log: {source}")]);
        if let SandboxEnding::Refused(why) = ending {
            lines.push(crate::engine::evidence::show_line(why.as_bytes()));
        }
        lines
    }
}

/// Waits for the outermost process, and kills it if it does not end; the kernel takes the rest with it.
fn clear(child: &mut Child) -> Result<(), Ended> {
    let interrupted = |source: io::Error| {
        SandboxEnding::Trouble(Trouble::Interrupted, format!("cannot wait for the box: {source}"))
    };
    if process::wait_within(child, HARD_END_AFTER)
        .map_err(interrupted)?
        .is_none()
    {
        // The wait below tells whether it has ended.
        let _ = child.kill();
    }
    match process::wait_within(child, CLEARED_WITHIN).map_err(interrupted)? {
        Some(_) => Ok(()),
        None => Err(interrupted(io::Error::other(
            "the kernel does not end its processes",
        ))),
    }
}

fn wait_for(output: &PipeReader, status: &ChildStderr, open: [bool; 2], limit: Duration) -> [bool; 2] {
    let mut waits = Vec::with_capacity(2);
    if open[0] {
        waits.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
    }
    if open[1] {
        waits.push(PollFd::new(status.as_fd(), PollFlags::POLLIN));
    }
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    // Interrupted or not: what is ready is read, the rest is looked at again.
    let _ = poll(&mut waits, timeout);
    let mut ready = waits.iter().map(|wait| wait.any().unwrap_or(false));
    let output_ready = open[0] && ready.next().unwrap_or(false);
    [output_ready, open[1] && ready.next().unwrap_or(false)]
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

/// Sorts what the host refused: a full disk from everything else.
fn host_trouble(doing: &str, source: &io::Error) -> SandboxEnding {
    let full = [Errno::ENOSPC, Errno::EDQUOT].map(|errno| Some(errno as i32));
    let trouble = if full.contains(&source.raw_os_error()) {
        Trouble::OutOfDisk
    } else {
        Trouble::CouldNotStart
    };
    SandboxEnding::Trouble(trouble, format!("cannot {doing}: {source}"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

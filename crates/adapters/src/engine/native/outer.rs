//! The outermost process of a box, on a thread of its own. Owns starting it in its namespaces, waiting for it and
//! ending it. The thread lives as long as the process: the kernel ends the box with either.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::entry::{Net, Stage, StageName};
use super::supervise::namespaces;
use crate::process;

/// How long a box that is asked to end may take until it is killed from outside.
const HARD_END_AFTER: Duration = Duration::from_secs(3);
/// How long the kernel may take to clear a killed box away.
const CLEARED_WITHIN: Duration = Duration::from_secs(10);

/// A box's outermost process: pid 1 itself if the daemon is root, its supervisor otherwise.
#[derive(Debug)]
pub(super) struct BoxProcess {
    pub(super) pid: u32,
    /// Told to one waiter only.
    ended: Mutex<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BoxProcess {
    /// Starts it; `channel` becomes its standard input. Returns its status pipe too.
    ///
    /// Errors: what the system said.
    pub(super) fn start(
        entry: PathBuf,
        stage: Stage,
        channel_end: OwnedFd,
    ) -> io::Result<(Self, PipeReader)> {
        let (status, told) = io::pipe()?;
        let (started_sender, started) = channel();
        let (ended_sender, ended) = channel();
        let thread = thread::Builder::new().name("box".to_owned()).spawn(move || {
            let child = spawn(&entry, &stage, channel_end, told.into());
            let (answer, child) = match child {
                Ok(child) => (Ok(child.id()), Some(child)),
                Err(source) => (Err(source), None),
            };
            // Whoever started this waits for the answer.
            let _ = started_sender.send(answer);
            if let Some(mut child) = child {
                // Only another waiter could make this fail, and there is none.
                let _ = child.wait();
            }
            // An owner that is gone does not wait.
            let _ = ended_sender.send(());
        })?;
        let pid = started
            .recv()
            .map_err(|_| io::Error::other("the thread of the box panicked"))??;
        let process = Self {
            pid,
            ended: Mutex::new(ended),
            thread: Some(thread),
        };
        Ok((process, status))
    }

    /// Waits for the end of a box whose channel is closed, and kills it if it takes too long.
    ///
    /// Errors: in words, if the kernel does not end it.
    pub(super) fn end(&mut self) -> Result<(), String> {
        // Waiting changes nothing that a panic could leave half changed.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(HARD_END_AFTER).is_err() {
            if let Ok(pid) = i32::try_from(self.pid) {
                // It has not been waited for yet: the number is its own still.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if ended.recv_timeout(CLEARED_WITHIN).is_err() {
                return Err("the kernel does not end its processes".to_owned());
            }
        }
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told of it already.
            drop(thread.join());
        }
        Ok(())
    }
}

fn spawn(
    entry: &std::path::Path,
    stage: &Stage,
    channel_end: OwnedFd,
    told: OwnedFd,
) -> io::Result<std::process::Child> {
    let mut stage = stage.clone();
    if stage.privileged {
        // Namespaces are a thread's own affair: the rest of the daemon stays where it is.
        let refused = |errno| io::Error::other(format!("cannot make namespaces: {errno}"));
        if let Net::Of(pid) = stage.net {
            let joined = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
            setns(joined, CloneFlags::CLONE_NEWNET).map_err(refused)?;
        }
        unshare(namespaces(stage.net)).map_err(refused)?;
        stage = stage.next(StageName::Init);
    }
    // Pid 1 starts a session of its own, which a leader of a group cannot.
    let start = if stage.privileged {
        process::member_command
    } else {
        process::command
    };
    start(entry)
        .args(stage.arguments())
        .stdin(channel_end)
        .stdout(Stdio::null())
        .stderr(told)
        .spawn()
}

/// Makes the two ends of a box's channel.
///
/// Errors: what the system said.
pub(super) fn channel_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}

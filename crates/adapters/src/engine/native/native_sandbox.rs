//! A box that lives. Owns its parts and their end: nothing of it is left when it is closed or dropped.

use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_core::limits::RECEIPT_PATHS_MAX;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::cgroup::BoxGroups;
use super::changes::{Changes, parse_changes};
use super::disk::DiskWatch;
use super::exec::tag;
use super::folder::BoxFolder;
use super::init::ask;
use super::message::{Message, send};
use super::outer::BoxProcess;
use super::proxy::Proxy;
use super::services::Service;
use super::warm::Loan;
use super::{follow, visit};
use crate::clock::Stopwatch;
use crate::engine::{
    ExecReport, ExecSpec, FileVisitor, Image, Network, Output, Sandbox, SandboxControl, SandboxError,
    SandboxReceipt, SandboxSpec,
};

/// How long pid 1 may take to count what the box wrote.
const COUNTED_WITHIN: Duration = Duration::from_secs(20);
/// The longest summary: its numbers and its paths.
const SUMMARY_BYTES_MAX: u64 = 256 + RECEIPT_PATHS_MAX as u64 * 4097;

/// The channel to pid 1. Closing it ends the box.
#[derive(Debug)]
pub(super) struct Lifeline {
    channel: UnixStream,
    /// One request at a time is written whole.
    turn: Mutex<()>,
}

impl Lifeline {
    pub(super) fn new(channel: UnixStream) -> Self {
        Self {
            channel,
            turn: Mutex::default(),
        }
    }

    /// Sends a request.
    ///
    /// Errors: what the system said; a broken pipe if the box is gone.
    pub(super) fn ask(&self, kind: u8, descriptors: &[BorrowedFd<'_>], message: &Message) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        send(&self.channel, kind, descriptors, message)
    }

    /// Signals the session of a command.
    ///
    /// Errors: as [`Self::ask`].
    pub(super) fn signal(&self, number: u64, signal: Signal) -> io::Result<()> {
        let mut message = Message::default();
        message.push(tag::NUMBER, number.to_string(), "");
        message.push(b'S', (signal as i32).to_string(), "");
        self.ask(ask::SIGNAL, &[], &message)
    }

    /// Signals every process of the box.
    ///
    /// Errors: as [`Self::ask`].
    pub(super) fn signal_all(&self, signal: Signal) -> io::Result<()> {
        let mut message = Message::default();
        message.push(b'S', (signal as i32).to_string(), "");
        self.ask(ask::SIGNAL_ALL, &[], &message)
    }

    /// Returns what the box wrote so far; `None` if it is gone or does not say.
    pub(super) fn changes(&self) -> Option<Changes> {
        let (mut reader, writer) = io::pipe().ok()?;
        self.ask(ask::CHANGES, &[writer.as_fd()], &Message::default())
            .ok()?;
        drop(writer);
        let mut waits = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(COUNTED_WITHIN).unwrap_or(PollTimeout::MAX);
        if poll(&mut waits, limit).ok()? == 0 {
            return None;
        }
        let mut text = Vec::new();
        (&mut reader)
            .take(SUMMARY_BYTES_MAX)
            .read_to_end(&mut text)
            .ok()?;
        parse_changes(&text)
    }

    fn close(&self) {
        // A channel that is closed already needs no closing.
        let _ = self.channel.shutdown(Shutdown::Both);
    }
}

/// What a box is made of on this side.
pub(super) struct Parts {
    pub(super) spec: SandboxSpec,
    pub(super) privileged: bool,
    pub(super) scratch: PathBuf,
    pub(super) process: BoxProcess,
    pub(super) channel: Arc<Lifeline>,
    pub(super) env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    pub(super) groups: BoxGroups,
    pub(super) limits: Vec<String>,
    pub(super) proxy: Option<Proxy>,
    pub(super) disk: Option<DiskWatch>,
    pub(super) loan: Option<Loan>,
}

/// A box.
pub(super) struct NativeSandbox {
    pub(super) parts: Parts,
    pub(super) services: Vec<Service>,
    pub(super) output_bytes: AtomicU64,
    pub(super) numbers: AtomicU64,
    folder: Option<BoxFolder>,
    watch: Stopwatch,
}

impl NativeSandbox {
    pub(super) fn new(parts: Parts, folder: BoxFolder, watch: Stopwatch) -> Self {
        Self {
            parts,
            services: Vec::new(),
            output_bytes: AtomicU64::new(0),
            numbers: AtomicU64::new(1),
            folder: Some(folder),
            watch,
        }
    }

    /// Returns the host's number of the process whose network the box has.
    pub(super) fn network_of(&self) -> Option<i32> {
        let pid = i32::try_from(self.parts.process.pid).ok()?;
        if self.parts.privileged {
            return Some(pid);
        }
        // A plain user's supervisor has one child, pid 1 of the box, in the same network as itself.
        Some(pid)
    }

    /// Ends the box, once; `None` if it has been ended before.
    fn end(&mut self) -> Option<SandboxReceipt> {
        let folder = self.folder.take()?;
        // Their network is this box's: they end first.
        self.services.clear();
        let parts = &mut self.parts;
        parts.disk = None;
        // A box that cannot be thawed is killed below.
        let _ = parts.groups.freeze(false);
        let changes = parts.channel.changes().unwrap_or_default();
        parts.channel.close();
        let ended = parts.process.end();
        if ended.is_err() {
            parts.groups.kill();
        }
        let hosts = match &parts.spec.network {
            Network::Full => None,
            Network::None | Network::Allow(_) => {
                Some(parts.proxy.take().map_or_else(Vec::new, |proxy| proxy.asked()))
            }
        };
        let mut usage = parts.groups.usage();
        usage.wall = self.watch.elapsed();
        usage.output_bytes = self.output_bytes.load(Ordering::SeqCst);
        parts.groups.remove();
        let path = folder.path().to_owned();
        let removed = folder
            .remove()
            .map_err(|source| format!("{}: {source}", path.display()));
        parts.loan = None;
        Some(SandboxReceipt {
            engine: "native".to_owned(),
            image: match &parts.spec.image {
                Image::Host => "host".to_owned(),
                Image::Layers { digest, .. } => digest.clone(),
                Image::Named(name) => name.clone(),
            },
            usage,
            files: changes.files,
            hosts,
            limits: parts.limits.clone(),
            leftover: ended.and(removed).err(),
        })
    }
}

impl Drop for NativeSandbox {
    fn drop(&mut self) {
        // Whoever drops a box does not ask for its receipt; what stays is taken by the next reap.
        drop(self.end());
    }
}

impl Sandbox for NativeSandbox {
    fn exec(&self, spec: &ExecSpec, output: &mut Output<'_>, control: &SandboxControl) -> ExecReport {
        follow::exec(self, spec, output, control)
    }

    fn put_file(&self, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError> {
        visit::put_file(&self.parts.channel, at, bytes, mode)
    }

    fn visit_files(&self, at: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError> {
        visit::visit_files(&self.parts.channel, at, visitor)
    }

    fn changed_root(&self) -> Option<PathBuf> {
        let on_disk =
            matches!(self.parts.spec.image, Image::Layers { .. }) && !self.parts.spec.limits.in_memory;
        let folder = self.folder.as_ref().filter(|_| on_disk)?;
        Some(folder.path().join("root-upper"))
    }

    fn freeze(&self, frozen: bool) -> Result<(), SandboxError> {
        let system = |source| SandboxError::System {
            doing: if frozen {
                "stop the box"
            } else {
                "continue the box"
            }
            .to_owned(),
            source,
        };
        // The groups of a box that is gone can be frozen as well: nothing is in them. An order without a signal changes
        // nothing.
        self.parts
            .channel
            .ask(ask::SIGNAL_ALL, &[], &Message::default())
            .map_err(|_| SandboxError::Gone)?;
        if self.parts.groups.freeze(frozen).map_err(system)? {
            return Ok(());
        }
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.parts
            .channel
            .signal_all(signal)
            .map_err(|_| SandboxError::Gone)
    }

    fn close(mut self: Box<Self>) -> SandboxReceipt {
        self.end().unwrap_or_default()
    }
}

/// Reads a status pipe to its end.
pub(super) fn read_status(pipe: io::PipeReader) -> Vec<u8> {
    let mut told = Vec::new();
    // What was read before a failure is what was told.
    let _ = File::from(std::os::fd::OwnedFd::from(pipe))
        .take(64 * 1024)
        .read_to_end(&mut told);
    told
}

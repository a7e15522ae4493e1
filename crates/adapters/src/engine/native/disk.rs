//! The limit on what a box writes to a disk without quotas. Owns looking at it, as seldom as it can: only while
//! the disk has lost as much since the last look as the box had left, so that a box that writes little is never
//! walked through. A box over its limit is ended, its command with the reason.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;

use super::native_sandbox::Lifeline;
use crate::engine::{Limits, SandboxSpec};

/// How often the disk's own counters are read.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many looks in a row the counters are believed: others may free what this box writes.
const BELIEVED_LOOKS: u32 = 20;

/// A watch over one box; dropping it ends it.
#[derive(Debug)]
pub(super) struct DiskWatch {
    exceeded: Arc<AtomicBool>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl DiskWatch {
    /// Starts the watch if the box's limits need one.
    pub(super) fn start(spec: &SandboxSpec, folder: &Path, channel: &Arc<Lifeline>) -> Option<Self> {
        let limits = &spec.limits;
        if limits.in_memory || (limits.disk_bytes.is_none() && limits.inodes.is_none()) {
            return None;
        }
        let exceeded = Arc::new(AtomicBool::new(false));
        let stop: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let look = Look {
            limits: limits.clone(),
            folder: folder.to_owned(),
            channel: Arc::clone(channel),
            exceeded: Arc::clone(&exceeded),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("box-disk".to_owned())
            .spawn(move || look.run())
            .ok()?;
        Some(Self {
            exceeded,
            stop,
            thread: Some(thread),
        })
    }

    /// Says whether the box was ended for what it wrote.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::SeqCst)
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told of it already.
            drop(thread.join());
        }
    }
}

struct Look {
    limits: Limits,
    folder: PathBuf,
    channel: Arc<Lifeline>,
    exceeded: Arc<AtomicBool>,
    stop: Arc<(Mutex<bool>, Condvar)>,
}

impl Look {
    fn run(&self) {
        let bytes_max = self.limits.disk_bytes.unwrap_or(u64::MAX);
        let files_max = self.limits.inodes.unwrap_or(u64::MAX);
        let mut before = free(&self.folder);
        let mut left = (bytes_max, files_max);
        let mut looks = 0;
        loop {
            let stop = self.stop.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.stop.1.wait_timeout_while(stop, LOOK_EVERY, |stop| !*stop);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            let now = free(&self.folder);
            let lost = (before.0.saturating_sub(now.0), before.1.saturating_sub(now.1));
            looks += 1;
            if lost.0 < left.0 && lost.1 < left.1 && looks < BELIEVED_LOOKS {
                continue;
            }
            looks = 0;
            let Some(found) = self.channel.changes() else {
                return;
            };
            if found.disk_bytes > bytes_max || found.files.changed_count > files_max {
                self.exceeded.store(true, Ordering::SeqCst);
                // A box that is gone needs no end.
                let _ = self.channel.signal_all(Signal::SIGKILL);
                return;
            }
            before = now;
            left = (
                bytes_max - found.disk_bytes,
                files_max.saturating_sub(found.files.changed_count),
            );
        }
    }
}

/// Returns the free bytes and files of a disk; one that cannot be asked is looked at every time.
fn free(at: &Path) -> (u64, u64) {
    statvfs(at).map_or((0, 0), |disk| {
        (disk.blocks_free() * disk.fragment_size(), disk.files_free())
    })
}

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
    look: Arc<Look>,
    thread: Option<JoinHandle<()>>,
}

impl DiskWatch {
    /// Starts the watch if the box's limits need one.
    pub(super) fn start(spec: &SandboxSpec, folder: &Path, channel: &Arc<Lifeline>) -> Option<Self> {
        let limits = &spec.limits;
        if limits.in_memory || (limits.disk_bytes.is_none() && limits.inodes.is_none()) {
            return None;
        }
        let look = Arc::new(Look {
            limits: limits.clone(),
            folder: folder.to_owned(),
            channel: Arc::clone(channel),
            exceeded: AtomicBool::new(false),
            stop: (Mutex::new(false), Condvar::new()),
            known: Mutex::new(Known {
                free: free(folder),
                left: limits_of(limits),
                believed: 0,
            }),
        });
        let looks = Arc::clone(&look);
        let thread = thread::Builder::new()
            .name("box-disk".to_owned())
            .spawn(move || looks.run())
            .ok()?;
        Some(Self {
            look,
            thread: Some(thread),
        })
    }

    /// Looks once more and says whether the box is over its limit, and was ended for that.
    pub(super) fn is_exceeded(&self) -> bool {
        self.look.exceeded.load(Ordering::SeqCst) || self.look.look() == Some(true)
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        let (stop, told) = &self.look.stop;
        *stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        told.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told of it already.
            drop(thread.join());
        }
    }
}

#[derive(Debug)]
struct Look {
    limits: Limits,
    folder: PathBuf,
    channel: Arc<Lifeline>,
    exceeded: AtomicBool,
    stop: (Mutex<bool>, Condvar),
    known: Mutex<Known>,
}

/// What the last walk through the box found.
#[derive(Debug)]
struct Known {
    /// The disk's free bytes and files then; `None` if it does not count them.
    free: Option<(u64, u64)>,
    /// What the box had left of its limits.
    left: (u64, u64),
    /// How many looks have believed the counters since.
    believed: u32,
}

impl Look {
    fn run(&self) {
        loop {
            let stop = self.stop.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.stop.1.wait_timeout_while(stop, LOOK_EVERY, |stop| !*stop);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 || self.look() != Some(false) {
                return;
            }
        }
    }

    /// Says whether the box is over its limit, and ends it then; `None` if the box is gone.
    fn look(&self) -> Option<bool> {
        // A look that panicked left what an earlier one knew.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = free(&self.folder);
        known.believed += 1;
        if let (Some(before), Some(now)) = (known.free, now)
            && before.0.saturating_sub(now.0) < known.left.0
            && before.1.saturating_sub(now.1) < known.left.1
            && known.believed < BELIEVED_LOOKS
        {
            return Some(false);
        }
        let found = self.channel.changes()?;
        let (bytes_max, files_max) = limits_of(&self.limits);
        if found.disk_bytes > bytes_max || found.files.changed_count > files_max {
            self.exceeded.store(true, Ordering::SeqCst);
            // A box that is gone needs no end.
            let _ = self.channel.signal_all(Signal::SIGKILL);
            return Some(true);
        }
        let left = (
            bytes_max - found.disk_bytes,
            files_max - found.files.changed_count,
        );
        *known = Known {
            free: now,
            left,
            believed: 0,
        };
        Some(false)
    }
}

fn limits_of(limits: &Limits) -> (u64, u64) {
    (
        limits.disk_bytes.unwrap_or(u64::MAX),
        limits.inodes.unwrap_or(u64::MAX),
    )
}

/// Returns the free bytes and files of a disk; `None` for one that cannot be asked or counts no files.
fn free(at: &Path) -> Option<(u64, u64)> {
    let disk = statvfs(at).ok().filter(|disk| disk.files() > 0)?;
    Some((disk.blocks_free() * disk.fragment_size(), disk.files_free()))
}

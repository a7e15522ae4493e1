//! Leftovers of owners that are gone. Owns ending one folder's box: its lock is free when its owner is gone, its
//! processes are found by their arguments, its mounts go with them, then the folder is removed.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::Groups;
use super::entry::ENTRY_WORD;
use super::folder::{lock_folder, remove_tree};
use super::warm::{WARM, collect_all};
use crate::clock::Stopwatch;
use crate::engine::ReapError;

/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Ends every box whose owner is gone, and removes groups and checkouts nobody needs.
///
/// Errors: [`ReapError`] for the first that could not be ended; the others are ended all the same.
pub(super) fn reap(scratch: &Path, groups: &Groups) -> Result<usize, ReapError> {
    let trouble = |path: &Path, source| ReapError {
        path: path.to_owned(),
        source,
    };
    let entries = match fs::read_dir(scratch) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(trouble(scratch, source)),
    };
    let mut ended = 0;
    let mut first = None;
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(source) => return Err(trouble(scratch, source)),
        };
        if path.file_name().is_some_and(|name| name == WARM) {
            continue;
        }
        match reap_entry(&path) {
            Ok(true) => ended += 1,
            Ok(false) => {}
            Err(source) => first = first.or(Some(trouble(&path, source))),
        }
    }
    // Groups are shared by every engine of this host's group: only those of this scratch directory are its own.
    let mark = group_mark(scratch);
    groups.sweep(&|name| {
        let own = name.strip_suffix(&mark).and_then(|name| name.strip_suffix('@'));
        own.is_none_or(|folder| scratch.join(folder).exists())
    });
    collect_all(scratch);
    first.map_or(Ok(ended), Err)
}

/// Returns what the names of a scratch directory's groups end with.
pub(super) fn group_mark(scratch: &Path) -> String {
    let mut key = 0xcbf2_9ce4_8422_2325_u64;
    for byte in scratch.as_os_str().as_bytes() {
        key = (key ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{key:016x}")
}

fn reap_entry(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path).map(|()| true);
    }
    let Some(_alone) = lock_folder(path)? else {
        return Ok(false);
    };
    reap_folder(path).map(|()| true)
}

/// Ends the box of a folder and removes the folder.
///
/// Errors: what the system said.
fn reap_folder(folder: &Path) -> io::Result<()> {
    let watch = Stopwatch::start();
    loop {
        let alive = processes_of(folder)?;
        if alive.is_empty() {
            break;
        }
        for pid in alive {
            // Gone already is what is wanted; anything else shows in the next round.
            let _ = kill(pid, Signal::SIGKILL);
        }
        if watch.left_of(GONE_WITHIN).is_zero() {
            return Err(io::Error::other("its processes cannot be ended"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    remove_tree(folder)
}

/// Finds the processes that make a folder's box: they name it in their arguments. A check cannot pass for one
/// on this side, as its own processes end with pid 1.
fn processes_of(folder: &Path) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ended in the meantime is not one of them; a dead one has no arguments.
        let Ok(arguments) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let mut words = arguments.split(|byte| *byte == 0).skip(1);
        let is_entry = words.next() == Some(ENTRY_WORD.as_bytes());
        if is_entry && words.nth(1) == Some(folder.as_os_str().as_bytes()) {
            found.push(Pid::from_raw(number));
        }
    }
    Ok(found)
}

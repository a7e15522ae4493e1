//! Leftovers of an earlier daemon. Owns ending one folder's box: its processes are found by their arguments,
//! its mounts go with them, then the folder is removed.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::entry::ENTRY_WORD;
use super::folder::remove_tree;
use crate::clock::Stopwatch;

/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Ends the box of a folder and removes the folder.
///
/// Errors: what the system said.
pub(super) fn reap_folder(folder: &Path) -> io::Result<()> {
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
    match remove_tree(folder) {
        Err(source) if source.kind() == io::ErrorKind::NotADirectory => fs::remove_file(folder),
        other => other,
    }
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

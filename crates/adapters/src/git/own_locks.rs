//! Lock files that a killed gantry left on its own refs. Owns clearing them; must never touch a lock outside
//! `refs/gantry/`, which is gantry's alone.

use std::fs;
use std::io;
use std::path::Path;

/// Removes every lock file on refs below `refs/gantry/` of the repository whose Git storage is at `storage`, and returns
/// how many there were. To be called by the one process that writes these refs, before it begins.
///
/// Errors: what the system said; a repository without such refs has no locks.
pub fn clear_own_locks(storage: &Path) -> io::Result<usize> {
    let mut folders = vec![storage.join("refs/gantry")];
    let mut cleared = 0;
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name().to_string_lossy().ends_with(".lock") {
                fs::remove_file(entry.path())?;
                cleared += 1;
            }
        }
    }
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locks_of_gantrys_own_refs_are_cleared() {
        let scratch = tempfile::tempdir().expect("a folder");
        for folder in ["refs/gantry/candidates", "refs/heads"] {
            fs::create_dir_all(scratch.path().join(folder)).expect("room");
        }
        let files = [
            "refs/gantry/journal",
            "refs/gantry/journal.lock",
            "refs/gantry/candidates/B1.lock",
            "refs/heads/main.lock",
        ];
        for file in files {
            fs::write(scratch.path().join(file), "x").expect("room");
        }
        assert_eq!(clear_own_locks(scratch.path()).expect("readable"), 2);
        let left = files.map(|file| scratch.path().join(file).exists());
        assert_eq!(left, [true, false, false, true]);
        assert_eq!(
            clear_own_locks(&scratch.path().join("none")).expect("nothing there"),
            0
        );
    }
}

//! Files that are there whole or not at all, whatever moment the machine stops at; locks that end with their process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::FlockOperation;

/// Makes what was renamed into a folder last.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Replaces a file in one step; `scratch` is on the same file system.
pub(super) fn replace_file(scratch: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(scratch)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(scratch, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Opens a lock file and takes the lock; the kernel gives it back when the file is closed, also by SIGKILL.
pub(super) fn lock(path: &Path, how: FlockOperation) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    loop {
        match rustix::fs::flock(&file, how) {
            Err(rustix::io::Errno::INTR) => {}
            other => {
                other?;
                return Ok(file);
            }
        }
    }
}

/// As [`lock`], without waiting; `None` if somebody holds it.
pub(super) fn try_lock(path: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    match lock(path, how) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a folder that may hold anything, also folders whose modes forbid it.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_folders(folder)?;
            std::fs::remove_dir_all(folder)
        }
        other => other,
    }
}

fn open_folders(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}

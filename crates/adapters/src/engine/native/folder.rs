//! A box's folder on the host. Owns making it and removing it, whatever a box left in it: links are removed
//! and never followed, closed directories are opened first, and depth costs neither memory nor descriptors.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, renameat};
use nix::libc::O_DIRECTORY;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How deep a removal goes before it moves what is below to the top.
const DEPTH_MAX: usize = 32;
/// How much of a box's name is in the name of its folder.
const NAME_BYTES_MAX: usize = 60;

/// The folder of one box. Its lock, which dies with this process, tells that its owner lives.
#[derive(Debug)]
pub(super) struct BoxFolder {
    path: PathBuf,
    _alive: Flock<File>,
}

impl BoxFolder {
    /// Makes a folder for a box of this name below `scratch`, which is made too.
    ///
    /// Errors: what the system said.
    pub(super) fn create(scratch: &Path, name: &str) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(scratch)?;
        let name = plain_name(name);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = scratch.join(format!("{name}.{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // A leftover of an earlier daemon has this number.
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(source),
            }
            if let Some(alive) = lock_folder(&path)? {
                return Ok(Self { path, _alive: alive });
            }
            // Somebody who reaps was faster than the lock, and removes it.
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name no other box of this host has now.
    pub(super) fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Removes the folder and everything in it.
    ///
    /// Errors: what the system said about the first thing that stayed.
    pub(super) fn remove(self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

/// Locks a folder, unless its owner lives; the lock says that it is the folder of this name still.
///
/// Errors: what the system said.
pub(super) fn lock_folder(path: &Path) -> io::Result<Option<Flock<File>>> {
    let directory = match File::open(path) {
        Ok(directory) => directory,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(source),
    };
    let opened = directory.metadata()?.ino();
    let Ok(lock) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) else {
        return Ok(None);
    };
    let is_there = fs::metadata(path).is_ok_and(|found| found.ino() == opened);
    Ok(is_there.then_some(lock))
}

/// Returns a box's name as a file name, cut.
fn plain_name(name: &str) -> String {
    name.bytes()
        .take(NAME_BYTES_MAX)
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                char::from(byte)
            } else {
                '_'
            }
        })
        .collect()
}

/// Gives a tree to a user and its group, links themselves included. Call it before anything of a box runs.
///
/// Errors: what the system said.
pub(super) fn give_to(tree: &Path, owner: u32) -> io::Result<()> {
    lchown(tree, Some(owner), Some(owner))?;
    let mut directories = vec![tree.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            lchown(entry.path(), Some(owner), Some(owner))?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Removes a directory and everything in it; nothing in it may be in use.
///
/// Errors: what the system said about the first thing that stayed; a directory that is not there is no error.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open_directory(None, path) {
        Ok(top) => top,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(source),
    };
    let mut moved = 0;
    // Each round removes what is near the top and moves what is deep up to the top, for the next round.
    loop {
        let before = moved;
        empty(&top, &top, 0, &mut moved)?;
        if moved == before {
            break;
        }
    }
    unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir).map_err(io::Error::from)
}

fn empty(directory: &File, top: &File, depth: usize, moved: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = Path::new(&name);
        if !entry.file_type()?.is_dir() {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
        } else if depth < DEPTH_MAX {
            let below = open_directory(Some(directory), name)?;
            empty(&below, top, depth + 1, moved)?;
            unlinkat(directory, name, UnlinkatFlags::RemoveDir)?;
        } else {
            // Opened first: a directory that is closed cannot be moved to another parent.
            drop(open_directory(Some(directory), name)?);
            move_up(directory, name, top, moved)?;
        }
    }
    Ok(())
}

/// Moves a directory to the top, under a name nothing there has.
fn move_up(directory: &File, name: &Path, top: &File, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let to = format!(".gantry-removes-{moved}");
        match renameat(directory, name, top, to.as_str()) {
            Ok(()) => return Ok(()),
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Opens a directory, never through a link, after taking its owner's rights on it back.
fn open_directory(parent: Option<&File>, name: &Path) -> io::Result<File> {
    let at = match parent {
        Some(parent) => PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name),
        None => name.to_owned(),
    };
    let found = fs::symlink_metadata(&at)?;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if !found.permissions().mode() & 0o700 != 0 {
        let mode = Mode::S_IRWXU;
        match parent {
            Some(parent) => fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)?,
            None => fchmodat(AT_FDCWD, name, mode, FchmodatFlags::FollowSymlink)?,
        }
    }
    File::options()
        .read(true)
        .custom_flags(O_DIRECTORY | OFlag::O_NOFOLLOW.bits())
        .open(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::mkdirat;

    #[test]
    fn a_removal_follows_no_link_and_opens_closed_directories() {
        let scratch = tempfile::tempdir().expect("a folder");
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).expect("a folder");
        fs::write(outside.join("kept"), "x").expect("a file");
        let folder = BoxFolder::create(&scratch.path().join("boxes"), "../B1 \n").expect("a box folder");
        let workspace = folder.path().join("upper");
        fs::create_dir(&workspace).expect("a folder");
        std::os::unix::fs::symlink(&outside, workspace.join("out")).expect("a link");
        fs::create_dir(workspace.join("closed")).expect("a folder");
        fs::write(workspace.join("closed/file"), "x").expect("a file");
        let none = fs::Permissions::from_mode(0o0);
        fs::set_permissions(workspace.join("closed"), none).expect("its mode");
        assert!(
            folder
                .path()
                .ends_with(folder.path().file_name().expect("a name"))
        );
        let path = folder.path().to_owned();
        assert_eq!(path.parent(), Some(scratch.path().join("boxes").as_path()));
        folder.remove().expect("removed");
        assert!(!path.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let scratch = tempfile::tempdir().expect("a folder");
        let top = scratch.path().join("deep");
        fs::create_dir(&top).expect("a folder");
        let mut at = open_directory(None, &top).expect("the folder");
        for depth in 0..3000 {
            let name = if depth % 7 == 0 {
                ".gantry-removes-1"
            } else {
                "directory"
            };
            mkdirat(&at, name, Mode::S_IRWXU).expect("a folder");
            at = open_directory(Some(&at), Path::new(name)).expect("the folder");
        }
        drop(at);
        remove_tree(&top).expect("removed");
        assert!(!top.exists());
    }
}

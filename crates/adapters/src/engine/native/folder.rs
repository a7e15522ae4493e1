//! A box's folder on the host. Owns making it and removing it, whatever a box left in it: links are removed
//! and never followed, closed directories are opened first, and depth costs neither memory nor descriptors.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, renameat};
use nix::libc::O_DIRECTORY;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::entry::{BOX_HOST_UID, BOX_UID};
use super::view::HOME;

/// How deep a removal goes before it moves what is below to the top.
const DEPTH_MAX: usize = 32;
/// How much of a box's name is in the name of its folder.
const NAME_BYTES_MAX: usize = 60;

/// The folder of one box.
#[derive(Debug)]
pub(super) struct BoxFolder {
    path: PathBuf,
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
        let name: String = name
            .bytes()
            .take(NAME_BYTES_MAX)
            .map(|byte| {
                if byte.is_ascii_alphanumeric() || byte == b'-' {
                    char::from(byte)
                } else {
                    '_'
                }
            })
            .collect();
        let path = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = scratch.join(format!("{name}.{number}"));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                // A leftover of an earlier daemon has this number.
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(source),
            }
        };
        let folder = Self { path };
        let made = folder.fill();
        if made.is_err() {
            // The cause is told by the error; what is left is taken by the next reap.
            let _ = remove_tree(&folder.path);
        }
        made.map(|()| folder)
    }

    fn fill(&self) -> io::Result<()> {
        for path in [self.path.join("root"), self.workspace(), self.home()] {
            fs::DirBuilder::new().mode(0o755).create(path)?;
        }
        let passwd = format!(
            "root:x:0:0:root:/root:/bin/sh\nbox:x:{BOX_UID}:{BOX_UID}:box:{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
        );
        let group = format!("root:x:0:\nbox:x:{BOX_UID}:\nnogroup:x:65534:\n");
        for (name, text) in [("passwd", passwd), ("group", group)] {
            let path = self.settings(name);
            fs::write(&path, text)?;
            // The box's user reads them, whatever mask this process has.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.path.join("workspace")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    pub(super) fn settings(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Gives the workspace and the home to the box's user on the host. Call it before anything of the box runs.
    ///
    /// Errors: what the system said.
    pub(super) fn give_to_box_user(&self) -> io::Result<()> {
        let mut directories = vec![self.workspace(), self.home()];
        while let Some(directory) = directories.pop() {
            lchown(&directory, Some(BOX_HOST_UID), Some(BOX_HOST_UID))?;
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                } else {
                    lchown(entry.path(), Some(BOX_HOST_UID), Some(BOX_HOST_UID))?;
                }
            }
        }
        Ok(())
    }

    /// Removes the folder and everything in it.
    ///
    /// Errors: what the system said about the first thing that stayed.
    pub(super) fn remove(self) -> io::Result<()> {
        remove_tree(&self.path)
    }
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
        let workspace = folder.workspace();
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

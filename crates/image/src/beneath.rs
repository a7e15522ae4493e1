//! A folder that is never left: every path is resolved by the kernel below it, and no symbolic link is followed.
//! Must never take a path apart to decide whether it is safe; `openat2` does.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::layer::OwnerBase;

/// How often a resolution is tried again when the kernel says that something was renamed meanwhile.
const RENAMED_TRIES_MAX: usize = 16;

/// A folder and what is below it.
pub(crate) struct Beneath {
    folder: OwnedFd,
    /// Whose the folders made below are, if not this process's user's.
    owner: Option<OwnerBase>,
}

impl Beneath {
    /// Opens the folder itself; here links are followed, as the caller chose the path.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { folder, owner: None })
    }

    /// Gives the folder, and every folder that will be made below, to root of boxes.
    pub(crate) fn owned(self, owner: Option<OwnerBase>) -> io::Result<Self> {
        if let Some(base) = owner {
            base.give(&self.folder, (0, 0))?;
        }
        Ok(Self { owner, ..self })
    }

    fn resolve(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RENAMED_TRIES_MAX {
            match rustix::fs::openat2(&self.folder, path, flags | OFlags::CLOEXEC, mode, rules) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens a folder below, or this one for an empty path.
    pub(crate) fn folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens a folder below, making what is missing on the way with mode 0755.
    pub(crate) fn ensure_folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match self.folder(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut at = 0;
        while at < path.len() {
            let end = path[at..]
                .iter()
                .position(|byte| *byte == b'/')
                .map_or(path.len(), |slash| at + slash);
            let (parent, name) = self.parent(&path[..end])?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    if let Some(base) = self.owner {
                        base.give_name(&parent, name, (0, 0))?;
                    }
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            at = end + 1;
        }
        self.folder(path)
    }

    /// Opens the folder a path's last name is in, and returns it with that name.
    pub(crate) fn parent<'a>(&self, path: &'a [u8]) -> io::Result<(OwnedFd, &'a [u8])> {
        let (folder, name) = split(path);
        Ok((self.folder(folder)?, name))
    }

    /// Opens a regular file below for reading.
    ///
    /// Errors: `InvalidInput` for anything but a regular file; opening a pipe does not wait for its writer.
    pub(crate) fn file(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::from(self.resolve(path, flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ))
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// Parts a path into the folder and the last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn neither_links_nor_dots_lead_out() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        std::fs::create_dir_all(scratch.path().join("in/deep")).expect("folders");
        std::fs::write(scratch.path().join("secret"), b"x").expect("a file");
        symlink("../secret", scratch.path().join("in/link")).expect("a link");
        symlink("..", scratch.path().join("in/up")).expect("a link");
        let folder = Beneath::open(&scratch.path().join("in")).expect("the folder");
        for path in [
            "link",
            "up/secret",
            "../secret",
            "/etc/passwd",
            "deep/../../secret",
        ] {
            assert!(folder.file(path.as_bytes()).is_err(), "{path}");
        }
        assert!(folder.ensure_folder(b"up/made").is_err());
        assert!(!scratch.path().join("made").exists());
        folder.ensure_folder(b"deep/a/b").expect("new folders");
        assert!(scratch.path().join("in/deep/a/b").is_dir());
    }
}

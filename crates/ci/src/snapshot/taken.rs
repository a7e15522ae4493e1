//! Copies a directory out of a box into one of the host. Owns what may be in it; must never write through a link, and
//! never outside of the directory it was given.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use gantry_adapters::engine::{FileVisitor, Found, FoundKind};
use gantry_core::limits::{CACHE_ENTRY_BYTES_MAX, CACHE_ENTRY_FILES_MAX};

use crate::digest::Running;

/// Writes what it is shown below a directory that nobody else writes to.
pub(super) struct Copying {
    root: PathBuf,
    /// Over every path, mode and content.
    pub(super) digest: Running,
    /// How many things.
    pub(super) entries: usize,
    /// Bytes of the files.
    pub(super) bytes: u64,
    /// Devices, sockets and pipes that were left out.
    pub(super) left_out: usize,
    directories: Vec<(PathBuf, u32)>,
}

impl Copying {
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            digest: Running::default(),
            entries: 0,
            bytes: 0,
            left_out: 0,
            directories: Vec::new(),
        }
    }

    /// Gives directories their modes, which might have kept files from being written into them before.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        for (path, mode) in self.directories.drain(..).rev() {
            // Always the owner's to list and change, or nobody could remove it.
            fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o700))?;
        }
        Ok(())
    }

    fn too_large() -> io::Error {
        let text =
            format!("it holds more than {CACHE_ENTRY_FILES_MAX} files or {CACHE_ENTRY_BYTES_MAX} bytes");
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    }

    fn copy(&mut self, at: &Path, mode: u32, content: &mut dyn Read) -> io::Result<()> {
        let mut file = File::create_new(at)?;
        let mut chunk = vec![0; 128 * 1024];
        loop {
            let count = content.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            self.bytes += count as u64;
            if self.bytes > CACHE_ENTRY_BYTES_MAX {
                return Err(Self::too_large());
            }
            self.digest.take(&chunk[..count]);
            file.write_all(&chunk[..count])?;
        }
        fs::set_permissions(at, fs::Permissions::from_mode(mode | 0o400))
    }
}

impl FileVisitor for Copying {
    fn visit(&mut self, found: &Found, content: &mut dyn Read) -> io::Result<()> {
        if found
            .path
            .components()
            .any(|part| !matches!(part, Component::Normal(_)))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a path leads elsewhere",
            ));
        }
        let is_root = found.path.as_os_str().is_empty();
        if is_root != (is_root && found.kind == FoundKind::Directory) {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no directory"));
        }
        self.entries += 1;
        if self.entries > CACHE_ENTRY_FILES_MAX {
            return Err(Self::too_large());
        }
        let (at, mode) = (self.root.join(&found.path), found.mode & 0o777);
        let name = found.path.as_os_str().as_bytes();
        let length = match &found.kind {
            FoundKind::File { bytes } => *bytes,
            _ => 0,
        };
        self.digest
            .take(format!("{mode:o} {length} {} ", name.len()).as_bytes());
        self.digest.take(name);
        match &found.kind {
            FoundKind::Directory => {
                if !is_root {
                    fs::create_dir(&at)?;
                }
                self.directories.push((at, mode));
                Ok(())
            }
            FoundKind::Link(target) => {
                self.digest.take(b"link");
                self.digest.take(target.as_os_str().as_bytes());
                symlink(target, &at)
            }
            FoundKind::File { .. } => self.copy(&at, mode, content),
            FoundKind::Other => {
                self.entries -= 1;
                self.left_out += 1;
                Ok(())
            }
        }
    }
}

//! What a step changed, as a layer's tar: the upper folder of an overlay walked in the order of names. The same
//! folder gives the same bytes, whoever owns its files, unless they are those of boxes' users. Must follow no link and open nothing but files and folders.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use gantry_core::limits::IMAGE_ENTRIES_MAX;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::owner::OwnerBase;
use super::whiteout;
use crate::archive::{Meta, TarWriter, WriteEntry};
use crate::beneath::Beneath;

/// Why a folder cannot be written as a layer.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file of the folder, or the target.
    #[error("{path} cannot be written into a layer")]
    Io {
        /// Below the folder.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The overlay moved a folder by a mark that a layer cannot say.
    #[error("{path}: the overlay moved this folder (redirect_dir); mount it with redirect_dir=off")]
    Redirect {
        /// Below the folder.
        path: String,
    },
    /// A bound is reached.
    #[error("the step made more than {max} files")]
    Bound {
        /// How many are allowed.
        max: u64,
    },
}

/// Writes the upper folder of an overlay as an uncompressed tar, deletions as `.wh.` names. Where files belong
/// to the users of boxes those are written as owners; elsewhere an image has one owner, 0:0, the box's root.
pub(crate) fn capture<W: Write>(
    upper: &Path,
    target: W,
    owner: Option<OwnerBase>,
) -> Result<W, CaptureError> {
    let io = |source| CaptureError::Io {
        path: upper.display().to_string(),
        source,
    };
    let root = Beneath::open(upper).map_err(io)?;
    let mut capture = Capture {
        writer: TarWriter::new(target),
        owner,
        links: HashMap::new(),
        entries: 0,
    };
    let folder = root.folder(b"").map_err(io)?;
    capture.folder(&folder, b"")?;
    capture.writer.finish().map_err(io)
}

struct Capture<W: Write> {
    writer: TarWriter<W>,
    owner: Option<OwnerBase>,
    /// The first path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
}

fn failed(path: &[u8]) -> impl FnOnce(io::Error) -> CaptureError + '_ {
    |source| CaptureError::Io {
        path: String::from_utf8_lossy(path).into_owned(),
        source,
    }
}

impl<W: Write> Capture<W> {
    fn folder(&mut self, folder: &OwnedFd, path: &[u8]) -> Result<(), CaptureError> {
        if whiteout::mark(folder, "redirect")
            .map_err(failed(path))?
            .is_some()
        {
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(CaptureError::Redirect { path });
        }
        if whiteout::is_opaque(folder).map_err(failed(path))? {
            self.empty(&child(path, whiteout::OPAQUE))?;
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(folder).map_err(|error| failed(path)(error.into()))? {
            let name = entry
                .map_err(|error| failed(path)(error.into()))?
                .file_name()
                .to_bytes()
                .to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            self.name(folder, &name, &child(path, &name))?;
        }
        Ok(())
    }

    fn name(&mut self, folder: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), CaptureError> {
        self.entries += 1;
        if self.entries > IMAGE_ENTRIES_MAX {
            return Err(CaptureError::Bound {
                max: IMAGE_ENTRIES_MAX,
            });
        }
        if whiteout::is_whiteout(folder, name).map_err(failed(path))? {
            let (parent, _) = crate::beneath::split(path);
            return self.empty(&child(parent, &[whiteout::PREFIX, name].concat()));
        }
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(path)(error.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(folder, name, flags, Mode::empty())
                    .map_err(|error| failed(path)(error.into()))?;
                let meta = self.meta(&stat, Some(&opened)).map_err(failed(path))?;
                self.append(path, WriteEntry::Folder, &meta)?;
                self.folder(&opened, path)
            }
            FileType::RegularFile => self.file(folder, name, path, &stat),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name, Vec::new())
                    .map_err(|error| failed(path)(error.into()))?;
                let meta = self.meta(&stat, None).map_err(failed(path))?;
                self.append(path, WriteEntry::Symlink(target.as_bytes()), &meta)
            }
            FileType::Fifo => {
                let meta = self.meta(&stat, None).map_err(failed(path))?;
                self.append(path, WriteEntry::Pipe, &meta)
            }
            // Sockets live with their process, and devices are not for images.
            _ => Ok(()),
        }
    }

    fn file(&mut self, folder: &OwnedFd, name: &[u8], path: &[u8], stat: &Stat) -> Result<(), CaptureError> {
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key).cloned() {
                let meta = self.meta(stat, None).map_err(failed(path))?;
                return self.append(path, WriteEntry::HardLink(&first), &meta);
            }
            self.links.insert(key, path.to_vec());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, name, flags, Mode::empty())
            .map_err(|error| failed(path)(error.into()))?;
        let meta = self.meta(stat, Some(&opened)).map_err(failed(path))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut file = File::from(opened);
        self.writer
            .append(path, WriteEntry::File(size), &meta, &mut file)
            .map_err(failed(path))
    }

    fn append(&mut self, path: &[u8], what: WriteEntry<'_>, meta: &Meta) -> Result<(), CaptureError> {
        self.writer
            .append(path, what, meta, &mut io::empty())
            .map_err(failed(path))
    }

    /// Reads what the archive says of a file; attributes only where the file is open.
    fn meta(&self, stat: &Stat, opened: Option<&OwnedFd>) -> io::Result<Meta> {
        let (uid, gid) = self.owner.map_or((0, 0), |base| base.of(stat));
        Ok(Meta {
            mode: stat.st_mode & 0o1777,
            uid,
            gid,
            modified: u64::try_from(stat.st_mtime).unwrap_or(0),
            attributes: opened.map_or(Ok(Vec::new()), attributes)?,
        })
    }

    fn empty(&mut self, path: &[u8]) -> Result<(), CaptureError> {
        self.append(path, WriteEntry::File(0), &Meta::default())
    }
}

fn child(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}

fn attributes(file: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The kernel's own bounds: 64 KiB for the names, 64 KiB for a value.
    let mut names = vec![0_u8; 65_536];
    let count = match rustix::fs::flistxattr(file, &mut names) {
        Ok(count) => count,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names[..count]
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user."))
    {
        if whiteout::is_mark(name) {
            continue;
        }
        let mut value = vec![0_u8; 65_536];
        let length = rustix::fs::fgetxattr(file, name, &mut value)?;
        found.push((name.to_vec(), value[..length].to_vec()));
    }
    found.sort();
    Ok(found)
}

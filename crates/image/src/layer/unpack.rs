//! A layer's tar unpacked into a folder. Owns what may be made there: nothing outside the folder, no device, no
//! set-id bit, everything owned by whoever unpacks or by the users of boxes. Must never trust a path, a link or a size of the archive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gantry_core::limits::{IMAGE_ENTRIES_MAX, IMAGE_LAYER_BYTES_MAX};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::notes::{NoteKind, Notes};
use super::owner::OwnerBase;
use super::skeleton::SkeletonWriter;
use super::unpack_error::UnpackError;
use super::{CONTENTS, REPLACED, SKELETON, TREE, whiteout};
use crate::archive::{Entry, Kind, TarError, TarReader};
use crate::beneath::{Beneath, split};
use crate::bounded::Bounded;
use crate::digest::{Digest, Hashing};

/// How much one layer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerLimits {
    /// The most entries.
    pub entries: u64,
    /// The most bytes when unpacked, holes counted.
    pub bytes: u64,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self {
            entries: IMAGE_ENTRIES_MAX,
            bytes: IMAGE_LAYER_BYTES_MAX,
        }
    }
}

/// What a layer turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// The digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub(crate) tar_bytes: u64,
    /// Bytes of all files' contents.
    pub(crate) content_bytes: u64,
    pub(crate) entries: u64,
    pub(crate) notes: Notes,
}

/// Unpacks an uncompressed tar into a new folder.
///
/// Errors: [`UnpackError`]; what was made is left for the caller to remove.
pub(crate) fn unpack(
    tar: impl Read,
    layer: &Path,
    limits: LayerLimits,
    owner: Option<OwnerBase>,
) -> Result<Unpacked, UnpackError> {
    let at = |path: &str| {
        let path = path.to_owned();
        move |source| UnpackError::Io { path, source }
    };
    for folder in [TREE, REPLACED] {
        std::fs::create_dir_all(layer.join(folder)).map_err(at(folder))?;
    }
    let mut unpacker = Unpacker {
        tree: Beneath::open(&layer.join(TREE))
            .and_then(|tree| tree.owned(owner))
            .map_err(at(TREE))?,
        owner,
        replaced: Beneath::open(&layer.join(REPLACED)).map_err(at(REPLACED))?,
        skeleton: SkeletonWriter::new(File::create(layer.join(SKELETON)).map_err(at(SKELETON))?),
        limits,
        content_bytes: 0,
        entries: 0,
        notes: Notes::default(),
        contents: Vec::new(),
        number_of: HashMap::new(),
        folders: BTreeMap::new(),
        deleted: BTreeSet::new(),
        opaque: BTreeSet::new(),
    };
    let mut reader = TarReader::new(Hashing::new(Bounded::new(tar, limits.bytes)));
    while let Some(entry) = reader.next(&mut unpacker.skeleton)? {
        unpacker.entry(&entry, &mut reader)?;
    }
    let (diff_id, tar_bytes) = reader.into_inner().finish();
    unpacker.apply_whiteouts()?;
    unpacker.apply_folders()?;
    let contents: Vec<u8> = unpacker
        .contents
        .iter()
        .flat_map(|path| [path.as_slice(), b"\0"].concat())
        .collect();
    std::fs::write(layer.join(CONTENTS), contents).map_err(at(CONTENTS))?;
    unpacker.skeleton.finish().map_err(at(SKELETON))?;
    Ok(Unpacked {
        diff_id,
        tar_bytes,
        content_bytes: unpacker.content_bytes,
        entries: unpacker.entries,
        notes: unpacker.notes,
    })
}

/// What a folder is given after everything in it is there.
struct Folder {
    owner: (u32, u32),
    mode: u32,
    modified: (i64, u32),
}

struct Unpacker {
    tree: Beneath,
    owner: Option<OwnerBase>,
    replaced: Beneath,
    skeleton: SkeletonWriter,
    limits: LayerLimits,
    content_bytes: u64,
    entries: u64,
    notes: Notes,
    /// Paths of contents below the layer's folder, by number.
    contents: Vec<Vec<u8>>,
    /// The number of the content now at a path of the tree.
    number_of: HashMap<Vec<u8>, usize>,
    folders: BTreeMap<Vec<u8>, Folder>,
    /// Paths that the archive deletes from lower layers.
    deleted: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn failed(path: &[u8]) -> impl FnOnce(io::Error) -> UnpackError + '_ {
    |source| {
        // What the kernel answers when a path would leave the folder or pass a link.
        let outside = matches!(
            source.raw_os_error().map(Errno::from_raw_os_error),
            Some(Errno::LOOP | Errno::XDEV)
        );
        let path = shown(path);
        if outside {
            let why = "its path passes a symbolic link or leaves the layer";
            return UnpackError::Escape { path, why };
        }
        UnpackError::Io { path, source }
    }
}

/// Takes `.`, doubled and trailing slashes out of a path; the kernel looks after the rest.
fn plain(path: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let escape = |why| UnpackError::Escape {
        path: shown(path),
        why,
    };
    if path.starts_with(b"/") {
        return Err(escape("its path is absolute"));
    }
    if path.contains(&0) {
        return Err(escape("its path holds a NUL"));
    }
    let names: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .collect();
    if names.contains(&&b".."[..]) {
        return Err(escape("its path goes up with `..`"));
    }
    Ok(names.join(&b'/'))
}

impl Unpacker {
    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut TarReader<R>) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(UnpackError::Bound {
                what: "entries",
                max: self.limits.entries,
            });
        }
        let path = plain(&entry.path)?;
        let (folder, name) = split(&path);
        if name == whiteout::OPAQUE {
            self.opaque.insert(folder.to_vec());
            self.tree.ensure_folder(folder).map_err(failed(&path))?;
            return Ok(());
        }
        if let Some(gone) = name.strip_prefix(whiteout::PREFIX) {
            return self.delete(&path, folder, gone);
        }
        if path.is_empty() {
            return self.folder(&path, entry);
        }
        match entry.kind {
            Kind::Folder => self.folder(&path, entry),
            Kind::File | Kind::Sparse => self.file(&path, entry, reader),
            Kind::HardLink => self.hard_link(&path, entry),
            Kind::Symlink => self.symlink(&path, entry),
            Kind::Pipe => self.pipe(&path, entry),
            Kind::Device => {
                self.notes.add(NoteKind::Device, &path);
                Ok(())
            }
            _ => {
                self.notes.add(NoteKind::UnknownKind, &path);
                Ok(())
            }
        }
    }

    fn delete(&mut self, path: &[u8], folder: &[u8], gone: &[u8]) -> Result<(), UnpackError> {
        if matches!(gone, b"" | b"." | b"..") {
            let why = "it deletes no name";
            return Err(UnpackError::Escape {
                path: shown(path),
                why,
            });
        }
        // Names of other programs' own files (`.wh..wh.plnk`) are no deletions.
        if gone.starts_with(whiteout::PREFIX) {
            self.notes.add(NoteKind::UnknownKind, path);
            return Ok(());
        }
        self.tree.ensure_folder(folder).map_err(failed(path))?;
        self.deleted.insert(join(folder, gone));
        Ok(())
    }

    /// Opens the folder of an entry and makes room for its name.
    fn place<'a>(&mut self, path: &'a [u8]) -> Result<(OwnedFd, &'a [u8]), UnpackError> {
        let (folder, name) = split(path);
        let folder = self.tree.ensure_folder(folder).map_err(failed(path))?;
        let Some(kind) = kind_at(&folder, name).map_err(failed(path))? else {
            return Ok((folder, name));
        };
        if kind == FileType::Directory {
            let why = "it takes the place of a folder of the same archive";
            return Err(UnpackError::Escape {
                path: shown(path),
                why,
            });
        }
        match self.number_of.remove(path) {
            Some(number) => {
                let kept = number.to_string();
                rustix::fs::renameat(&folder, name, &self.replaced, kept.as_str())
                    .map_err(|error| failed(path)(error.into()))?;
                self.contents[number] = format!("{REPLACED}/{kept}").into_bytes();
            }
            None => rustix::fs::unlinkat(&folder, name, AtFlags::empty())
                .map_err(|error| failed(path)(error.into()))?,
        }
        Ok((folder, name))
    }

    fn folder(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let (parent, name) = split(path);
        if !path.is_empty() {
            let parent = self.tree.ensure_folder(parent).map_err(failed(path))?;
            let kind = kind_at(&parent, name).map_err(failed(path))?;
            if kind.is_some_and(|kind| kind != FileType::Directory) {
                self.place(path)?;
            }
        }
        let folder = self.tree.ensure_folder(path).map_err(failed(path))?;
        self.attributes(&folder, path, entry)?;
        let mode = self.mode(path, entry.mode) | 0o700;
        let folder = Folder {
            owner: entry.owner,
            mode,
            modified: entry.modified,
        };
        self.folders.insert(path.to_vec(), folder);
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        path: &[u8],
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), UnpackError> {
        let (folder, name) = self.place(path)?;
        self.content_bytes = self.content_bytes.saturating_add(entry.full_size);
        if self.content_bytes > self.limits.bytes {
            return Err(UnpackError::Bound {
                what: "bytes",
                max: self.limits.bytes,
            });
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|error| failed(path)(error.into()))?;
        let file = File::from(file);
        let number = self.contents.len();
        self.contents.push(join(TREE.as_bytes(), path));
        self.number_of.insert(path.to_vec(), number);
        let pieces = entry.pieces.clone().unwrap_or_else(|| vec![(0, entry.size)]);
        let stored = u32::try_from(number).expect("the entries of a layer are fewer than 2^32");
        self.skeleton.content(stored, &pieces).map_err(failed(path))?;
        for (offset, length) in pieces {
            fill(&file, offset, length, reader, path)?;
        }
        if entry.pieces.is_some() {
            file.set_len(entry.full_size).map_err(failed(path))?;
        }
        let file = OwnedFd::from(file);
        self.attributes(&file, path, entry)?;
        let mode = self.mode(path, entry.mode) | 0o400;
        // Before the mode: a new owner takes bits of it away.
        if let Some(base) = self.owner {
            base.give(&file, entry.owner).map_err(failed(path))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|error| failed(path)(error.into()))?;
        rustix::fs::futimens(&file, &dates(entry.modified)).map_err(|error| failed(path)(error.into()))
    }

    fn hard_link(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let target = plain(&entry.link)?;
        let (from, from_name) = self.tree.parent(&target).map_err(failed(path))?;
        let linked = kind_at(&from, from_name).map_err(failed(path))?;
        if matches!(linked, None | Some(FileType::Directory)) {
            let why = "it is a hard link to what is no file of this archive";
            return Err(UnpackError::Escape {
                path: shown(path),
                why,
            });
        }
        if target == path {
            return Ok(());
        }
        let (folder, name) = self.place(path)?;
        rustix::fs::linkat(&from, from_name, &folder, name, AtFlags::empty())
            .map_err(|error| failed(path)(error.into()))
    }

    fn symlink(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let (folder, name) = self.place(path)?;
        // The target is any text: it is resolved inside the box, and never followed here.
        rustix::fs::symlinkat(entry.link.as_slice(), &folder, name)
            .map_err(|error| failed(path)(error.into()))?;
        self.give_name(&folder, name, path, entry)?;
        rustix::fs::utimensat(&folder, name, &dates(entry.modified), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(path)(error.into()))
    }

    fn pipe(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let (folder, name) = self.place(path)?;
        let mode = Mode::from_raw_mode(self.mode(path, entry.mode));
        rustix::fs::mknodat(&folder, name, FileType::Fifo, mode, 0)
            .map_err(|error| failed(path)(error.into()))?;
        self.give_name(&folder, name, path, entry)
    }

    /// Gives what cannot be opened to its owner; a link itself, not what it leads to.
    fn give_name(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        match self.owner {
            Some(base) => base.give_name(folder, name, entry.owner).map_err(failed(path)),
            None => Ok(()),
        }
    }

    /// Returns the mode without set-id bits; the sticky bit stays.
    fn mode(&mut self, path: &[u8], mode: u32) -> u32 {
        if mode & 0o6000 != 0 {
            self.notes.add(NoteKind::SetId, path);
        }
        mode & 0o1777
    }

    fn attributes(&mut self, file: &OwnedFd, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        for (name, value) in &entry.attributes {
            if !name.starts_with(b"user.") || whiteout::is_mark(name) {
                self.notes.add(NoteKind::Attribute, path);
                continue;
            }
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                // The file system has none, or no room for it: the file works without.
                Err(Errno::NOTSUP | Errno::NOSPC | Errno::RANGE | Errno::TOOBIG | Errno::INVAL) => {
                    self.notes.add(NoteKind::Attribute, path);
                }
                Err(error) => return Err(failed(path)(error.into())),
            }
        }
        Ok(())
    }

    /// Deletions concern lower layers only: what this archive has at such a path stays.
    fn apply_whiteouts(&mut self) -> Result<(), UnpackError> {
        for path in std::mem::take(&mut self.deleted) {
            let (parent, name) = split(&path);
            if self.opaque.contains(parent) {
                continue;
            }
            let folder = self.tree.folder(parent).map_err(failed(&path))?;
            match kind_at(&folder, name).map_err(failed(&path))? {
                None => whiteout::put_whiteout(&folder, name).map_err(failed(&path))?,
                Some(FileType::Directory) => {
                    self.opaque.insert(path.clone());
                }
                Some(_) => {}
            }
        }
        for path in &self.opaque {
            let folder = self.tree.folder(path).map_err(failed(path))?;
            whiteout::put_opaque(&folder).map_err(failed(path))?;
        }
        Ok(())
    }

    /// Modes and dates of folders come last, deepest first: filling a folder changes its date.
    fn apply_folders(&mut self) -> Result<(), UnpackError> {
        for (path, folder) in self.folders.iter().rev() {
            let opened = self.tree.folder(path).map_err(failed(path))?;
            if let Some(base) = self.owner {
                base.give(&opened, folder.owner).map_err(failed(path))?;
            }
            rustix::fs::fchmod(&opened, Mode::from_raw_mode(folder.mode))
                .map_err(|error| failed(path)(error.into()))?;
            rustix::fs::futimens(&opened, &dates(folder.modified))
                .map_err(|error| failed(path)(error.into()))?;
        }
        Ok(())
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}

fn kind_at(folder: &OwnedFd, name: &[u8]) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn dates(modified: (i64, u32)) -> Timestamps {
    let at = Timespec {
        tv_sec: modified.0,
        tv_nsec: modified.1.into(),
    };
    Timestamps {
        last_access: at,
        last_modification: at,
    }
}

fn fill<R: Read>(
    file: &File,
    mut offset: u64,
    length: u64,
    reader: &mut TarReader<R>,
    path: &[u8],
) -> Result<(), UnpackError> {
    let mut buffer = vec![0; 128 * 1024];
    let mut left = length;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = reader.read_content(&mut buffer[..want])?;
        if count == 0 {
            return Err(TarError::Truncated(shown(path)).into());
        }
        file.write_all_at(&buffer[..count], offset)
            .map_err(failed(path))?;
        offset += count as u64;
        left -= count as u64;
    }
    Ok(())
}

//! What a box wrote, summarised from the layers that hold it. Owns the count and its form on the way to the
//! engine; must never follow a link, and never hold more than the bounds.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use gantry_core::limits::{RECEIPT_FILES_MAX, RECEIPT_PATHS_MAX};

use crate::engine::FilesWritten;

/// What a block of `stat` is, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// A layer and where the box sees it.
#[derive(Debug, Clone)]
pub(super) struct UpperAt {
    pub(super) directory: PathBuf,
    pub(super) at: PathBuf,
    /// What is in it from the start, and was made for the box rather than by it.
    pub(super) given: Vec<PathBuf>,
}

/// What a box wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) files: FilesWritten,
    /// Bytes of the disk its files hold, which is less than their length where they have holes.
    pub(super) disk_bytes: u64,
}

/// Counts what is in the layers and writes the summary.
pub(super) fn tell_changes(uppers: &[UpperAt], to: OwnedFd) {
    let mut found = Changes::default();
    for upper in uppers {
        count(upper, &mut found);
    }
    let files = &found.files;
    let numbers = [
        files.changed_count,
        files.removed_count,
        files.bytes,
        found.disk_bytes,
    ];
    let mut bytes = numbers.map(|number| number.to_string()).join(" ").into_bytes();
    bytes.push(b'\n');
    for path in &files.paths {
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        bytes.push(0);
    }
    // An engine that does not listen any more has no use for it.
    let _ = File::from(to).write_all(&bytes);
}

/// Reads what [`tell_changes`] wrote; `None` for anything else.
pub(super) fn parse_changes(text: &[u8]) -> Option<Changes> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let mut numbers = std::str::from_utf8(&text[..end]).ok()?.split(' ').map(str::parse);
    let mut next = || numbers.next()?.ok();
    let (changed_count, removed_count, bytes, disk_bytes) = (next()?, next()?, next()?, next()?);
    let paths = text[end + 1..]
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
        .collect();
    let files = FilesWritten {
        changed_count,
        removed_count,
        bytes,
        paths,
    };
    Some(Changes { files, disk_bytes })
}

/// Adds what is in one layer, names of a directory in byte order.
pub(super) fn count(upper: &UpperAt, changes: &mut Changes) {
    let Changes {
        files: found,
        disk_bytes,
    } = changes;
    let mut open = vec![(upper.directory.clone(), upper.at.clone())];
    while let Some((directory, at)) = open.pop() {
        // A directory that went away or cannot be read is not counted further.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        let mut entries: Vec<_> = entries.flatten().take(RECEIPT_FILES_MAX).collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        let mut below = Vec::new();
        for entry in entries {
            if found.changed_count + found.removed_count >= RECEIPT_FILES_MAX as u64 {
                return;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let kind = metadata.file_type();
            let path = at.join(entry.file_name());
            if upper.given.contains(&path) || (kind.is_dir() && is_copied_up(&entry.path())) {
                if kind.is_dir() {
                    below.push((entry.path(), path));
                }
                continue;
            }
            if kind.is_char_device() && metadata.rdev() == 0 {
                found.removed_count += 1;
            } else {
                found.changed_count += 1;
            }
            *disk_bytes += metadata.blocks() * BLOCK_BYTES;
            if kind.is_file() {
                found.bytes += metadata.len();
            }
            if found.paths.len() < RECEIPT_PATHS_MAX {
                found.paths.push(path.clone());
            }
            if kind.is_dir() {
                below.push((entry.path(), path));
            }
        }
        open.extend(below.into_iter().rev());
    }
}

/// Says whether an overlay made a directory to hold what changed below it. Source: the kernel's
/// `filesystems/overlayfs.rst`, `trusted.overlay.origin`, which a mount with `userxattr` keeps in `user.`.
fn is_copied_up(directory: &Path) -> bool {
    let mut value = [0; 256];
    ["trusted.overlay.origin", "user.overlay.origin"]
        .iter()
        .any(|name| rustix::fs::lgetxattr(directory, *name, &mut value).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_layer_is_counted_and_links_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("a/b")).expect("folders");
        fs::write(folder.path().join("a/b/c"), "12345").expect("a file");
        std::os::unix::fs::symlink("/usr", folder.path().join("out")).expect("a link");
        let mut found = Changes::default();
        fs::write(folder.path().join("given"), "x").expect("a file");
        let upper = UpperAt {
            directory: folder.path().to_owned(),
            at: "/there".into(),
            given: vec!["/there/given".into()],
        };
        count(&upper, &mut found);
        let paths = ["/there/a", "/there/out", "/there/a/b", "/there/a/b/c"].map(PathBuf::from);
        assert_eq!((found.files.changed_count, found.files.bytes), (4, 5));
        assert_eq!(found.files.paths, paths);
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        tell_changes(&[upper], writer.into());
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut text).expect("read");
        assert_eq!(parse_changes(&text), Some(found));
        assert_eq!(parse_changes(b"nothing"), None);
    }
}

//! The members of an archive of an image, or of a folder laid out like one: found by name, opened on their own. Must
//! never unpack an archive to look into it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use crate::archive::{Kind, TarError, TarReader};
use crate::beneath::Beneath;
use crate::digest::Digest;

/// The most members an archive of an image may have.
const MEMBERS_MAX: usize = 10_000;

/// Where a member is in the archive, or what it links to.
enum Place {
    At(u64, u64),
    Link(String),
}

/// The members, by path.
pub(crate) enum Members {
    Folder(Beneath),
    Archive(File, HashMap<String, ArchiveMember>),
}

/// One member of an archive.
pub(crate) struct ArchiveMember(Place);

/// Part of a file, read without moving the file's own position.
pub(crate) struct Part {
    file: File,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Counts what is read.
struct Counting<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl Members {
    /// Looks at a tar; `None` if it is a root file system and no archive of an image.
    pub(crate) fn of_archive(file: File) -> Result<Option<Self>, TarError> {
        let source = BufReader::with_capacity(256 * 1024, file.try_clone().map_err(TarError::Read)?);
        let mut reader = TarReader::new(Counting {
            inner: source,
            count: 0,
        });
        let mut members = HashMap::new();
        while let Some(entry) = reader.next(&mut ())? {
            let Ok(path) = String::from_utf8(entry.path) else {
                return Ok(None);
            };
            let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
            if path.is_empty() {
                continue;
            }
            if !is_of_image(&path) || members.len() >= MEMBERS_MAX {
                return Ok(None);
            }
            let place = match entry.kind {
                Kind::File => Place::At(reader.get_ref().count, entry.size),
                Kind::Symlink => Place::Link(String::from_utf8_lossy(&entry.link).into_owned()),
                _ => continue,
            };
            members.insert(path, ArchiveMember(place));
        }
        let is_image = members.contains_key("manifest.json") || members.contains_key("index.json");
        Ok(is_image.then_some(Self::Archive(file, members)))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.file(path.as_bytes()).is_ok(),
            Self::Archive(_, members) => members.contains_key(path),
        }
    }

    /// Opens a member.
    ///
    /// Errors: `NotFound` for one that is not there, and the file system's.
    pub(crate) fn open(&self, path: &str) -> io::Result<Part> {
        match self {
            Self::Folder(folder) => {
                let file = folder.file(path.as_bytes())?;
                let left = file.metadata()?.len();
                Ok(Part { file, at: 0, left })
            }
            Self::Archive(file, members) => {
                let missing = || io::Error::new(io::ErrorKind::NotFound, "the archive has no such member");
                let mut found = members.get(path).ok_or_else(missing)?;
                // Old `docker save` linked layers that two images share, one step deep.
                if let ArchiveMember(Place::Link(target)) = found {
                    found = members.get(&linked(path, target)).ok_or_else(missing)?;
                }
                let ArchiveMember(Place::At(at, left)) = found else {
                    return Err(missing());
                };
                Ok(Part {
                    file: file.try_clone()?,
                    at: *at,
                    left: *left,
                })
            }
        }
    }
}

fn linked(path: &str, target: &str) -> String {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

/// Says whether a path is one that archives of images have at their top.
fn is_of_image(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or(path);
    let stem = first.trim_end_matches(".json").trim_end_matches(".tar");
    matches!(
        first,
        "oci-layout" | "index.json" | "manifest.json" | "repositories" | "blobs"
    ) || Digest::parse_hex(stem).is_ok()
}

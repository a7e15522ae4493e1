//! Files into a box that runs, and out of it. Owns the order a visitor is shown them in; what a link leads to is the
//! container's own business, and nothing is ever written on the host.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use bollard::query_parameters::ContainerArchiveInfoOptionsBuilder;
use tar::EntryType;

use super::archive::{Archive, ArchiveReader};
use super::body::Ids;
use super::connection::{CallError, Connection};
use crate::engine::{FileVisitor, Found, FoundKind, SandboxError};

/// How many links in a path are followed, as the kernel does.
const LINKS_MAX: usize = 40;
/// The most things one visit shows.
const VISITED_MAX: usize = 5_000_000;

/// What the daemon says is at a path; the type bits are Go's.
struct Seen {
    directory: bool,
    link: Option<String>,
}

const GO_DIRECTORY: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;

/// The files of one container.
pub(super) struct Files<'a> {
    pub(super) connection: &'a Connection,
    pub(super) container: &'a str,
    pub(super) ids: Ids,
}

impl Files<'_> {
    /// Writes a file and the parents it lacks.
    ///
    /// Errors: [`SandboxError`].
    pub(super) fn put(&self, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError> {
        let path = plain_path(at)?;
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(wrong(at, "is not the path of a file"));
        };
        let (base, missing) = self.deepest_directory(at, parent)?;
        let there = self.look(&path)?;
        if there.is_some_and(|seen| seen.directory) {
            return Err(wrong(at, "is a directory"));
        }
        let pack = || {
            let mut archive = Archive::new(self.ids);
            let mut inner = PathBuf::new();
            for part in missing.components() {
                inner.push(part);
                archive.directory(&inner, 0o755)?;
            }
            archive.file(&inner.join(name), mode & 0o7777, self.ids, bytes)?;
            Ok::<_, io::Error>(archive)
        };
        let archive = pack().map_err(|source| system("pack a file", source))?;
        let sent = archive.send(self.connection, self.container, &text(at, &base)?);
        sent.map_err(|error| self.sort(at, error))
    }

    /// Returns the deepest directory of a path that is there, and what is missing below it.
    fn deepest_directory(&self, at: &Path, path: &Path) -> Result<(PathBuf, PathBuf), SandboxError> {
        for base in path.ancestors() {
            let Some(mut seen) = self.look(base)? else {
                continue;
            };
            let mut place = base.to_owned();
            for _ in 0..LINKS_MAX {
                let Some(target) = seen.link else { break };
                place = PathBuf::from(target);
                seen = self
                    .look(&place)?
                    .ok_or_else(|| wrong(at, "goes through a link to nothing"))?;
            }
            if !seen.directory {
                return Err(wrong(at, "goes through something that is not a directory"));
            }
            let missing = path.strip_prefix(base).unwrap_or(Path::new("")).to_owned();
            return Ok((place, missing));
        }
        Err(wrong(at, "has no root"))
    }

    /// Shows what is at and below a path.
    ///
    /// Errors: [`SandboxError`].
    pub(super) fn visit(&self, at: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError> {
        let mut place = plain_path(at)?;
        let mut left = LINKS_MAX;
        loop {
            let seen = self.look(&place)?.ok_or_else(|| wrong(at, "is not there"))?;
            let Some(target) = seen.link else { break };
            left -= 1;
            if left == 0 {
                return Err(wrong(at, "has too many links in it"));
            }
            place = PathBuf::from(target);
        }
        let mut reader = ArchiveReader::open(self.connection, self.container, &text(at, &place)?);
        let visited = self.visit_archive(&mut reader, &place, visitor);
        match reader.failed {
            Some(error) => Err(self.sort(at, error)),
            None => visited.map_err(|source| system(&format!("read {} in the box", at.display()), source)),
        }
    }

    fn visit_archive(
        &self,
        reader: &mut ArchiveReader<'_>,
        place: &Path,
        visitor: &mut dyn FileVisitor,
    ) -> io::Result<()> {
        let mut archive = tar::Archive::new(reader);
        let mut top: Option<PathBuf> = None;
        let mut skipped: Option<PathBuf> = None;
        for (count, entry) in archive.entries()?.enumerate() {
            if count >= VISITED_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("there are more than {VISITED_MAX} files"),
                ));
            }
            let mut entry = entry?;
            let name = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path_bytes()));
            let name: PathBuf = name
                .components()
                .filter(|part| matches!(part, Component::Normal(_)))
                .collect();
            let top = top.get_or_insert_with(|| name.clone());
            let path = name.strip_prefix(&*top).unwrap_or(&name).to_owned();
            if skipped.as_ref().is_some_and(|skipped| path.starts_with(skipped)) {
                continue;
            }
            let mode = entry.header().mode()? & 0o7777;
            let kind = match entry.header().entry_type() {
                EntryType::Directory => FoundKind::Directory,
                EntryType::Symlink => FoundKind::Link(entry.link_name()?.unwrap_or_default().into_owned()),
                EntryType::Link => {
                    self.visit_linked(place, path, mode, visitor)?;
                    continue;
                }
                kind if kind.is_file() || kind.is_gnu_sparse() => FoundKind::File { bytes: entry.size() },
                _ => FoundKind::Other,
            };
            let found = Found { path, mode, kind };
            visitor.visit(&found, &mut entry)?;
            if found.kind == FoundKind::Directory && !visitor.enter(&found) {
                if found.path.as_os_str().is_empty() {
                    return Ok(());
                }
                skipped = Some(found.path);
            }
        }
        Ok(())
    }

    /// Shows a further name of a file whose bytes were under its first name: asked for by itself, it has them too.
    fn visit_linked(
        &self,
        place: &Path,
        path: PathBuf,
        mode: u32,
        visitor: &mut dyn FileVisitor,
    ) -> io::Result<()> {
        let whole = place.join(&path);
        let text = whole.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut reader = ArchiveReader::open(self.connection, self.container, text);
        let mut archive = tar::Archive::new(&mut reader);
        let mut entry = archive.entries()?.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        let bytes = entry.size();
        visitor.visit(
            &Found {
                path,
                mode,
                kind: FoundKind::File { bytes },
            },
            &mut entry,
        )
    }

    /// Asks what is at a path; `None` if nothing is.
    fn look(&self, path: &Path) -> Result<Option<Seen>, SandboxError> {
        let options = ContainerArchiveInfoOptionsBuilder::default()
            .path(&text(path, path)?)
            .build();
        let docker = self.connection.docker();
        let call = docker.get_container_archive_info(self.container, Some(options));
        match self.connection.call("look for a file", call) {
            Ok(seen) => Ok(Some(Seen {
                directory: seen.file_mode & GO_DIRECTORY != 0,
                link: (seen.file_mode & GO_LINK != 0).then_some(seen.link_target),
            })),
            Err(error) if error.is_missing() => self.alive().map(|()| None),
            Err(error) => Err(self.sort(path, error)),
        }
    }

    /// Tells a file that is not there from a box that is not.
    ///
    /// Errors: [`SandboxError::Gone`].
    pub(super) fn alive(&self) -> Result<(), SandboxError> {
        match self.connection.wait(self.connection.runs(self.container)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SandboxError::Gone),
            Err(error) => Err(system("look for the box", error.into_io())),
        }
    }

    fn sort(&self, at: &Path, error: CallError) -> SandboxError {
        if error.status().is_none() {
            return system("speak to the daemon", error.into_io());
        }
        if let Err(gone) = self.alive() {
            return gone;
        }
        match error.is_missing() {
            true => wrong(at, "is not there"),
            false => wrong(at, &error.text()),
        }
    }
}

fn wrong(at: &Path, why: &str) -> SandboxError {
    SandboxError::Path {
        path: at.display().to_string(),
        why: why.to_owned(),
    }
}

fn system(doing: &str, source: io::Error) -> SandboxError {
    SandboxError::System {
        doing: doing.to_owned(),
        source,
    }
}

/// Returns a path of the box without `.` in it.
fn plain_path(at: &Path) -> Result<PathBuf, SandboxError> {
    if !at.is_absolute() || at.components().any(|part| part == Component::ParentDir) {
        return Err(wrong(at, "is not an absolute path without `..`"));
    }
    Ok(at.components().collect())
}

fn text(at: &Path, path: &Path) -> Result<String, SandboxError> {
    let text = path
        .to_str()
        .ok_or_else(|| wrong(at, "is not UTF-8, which the daemon's interface cannot name"))?;
    Ok(text.to_owned())
}

//! Tar streams between this process and a container. Owns building and reading them; must never unpack one on the
//! host.

use std::collections::HashMap;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bollard::errors::Error;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use futures_util::{Stream, StreamExt};
use tar::{Builder, EntryType, Header};

use super::body::{Ids, PLAIN_HOME};
use super::connection::{CallError, Connection};
use super::image::LocalImage;
use crate::engine::OpenError;

/// The most bytes of an image's list of users or groups that are read.
const USERS_BYTES_MAX: u64 = 1024 * 1024;
/// How many images' lists are remembered.
const IMAGES_REMEMBERED_MAX: usize = 64;

/// What a container's archive is read from, piece by piece.
pub(super) struct ArchiveReader<'a> {
    connection: &'a Connection,
    pieces: Pin<Box<dyn Stream<Item = Result<Vec<u8>, Error>> + 'a>>,
    piece: Vec<u8>,
    /// How much of the piece was given away.
    given: usize,
    /// What the daemon said, which a reader of tar would not tell.
    pub(super) failed: Option<CallError>,
}

impl<'a> ArchiveReader<'a> {
    /// Asks for what is at a path; nothing is read yet.
    pub(super) fn open(connection: &'a Connection, container: &str, path: &str) -> Self {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let pieces = connection
            .docker()
            .download_from_container(container, Some(options));
        Self {
            connection,
            pieces: Box::pin(pieces.map(|piece| piece.map(Vec::from))),
            piece: Vec::new(),
            given: 0,
            failed: None,
        }
    }
}

impl Read for ArchiveReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.piece.len() {
            match self.connection.wait(self.pieces.next()) {
                None => return Ok(0),
                Some(Ok(piece)) => (self.piece, self.given) = (piece, 0),
                Some(Err(source)) => {
                    let error = self.connection.failed("read files of a box", source);
                    let text = error.text();
                    self.failed = Some(error);
                    return Err(io::Error::other(text));
                }
            }
        }
        let left = &self.piece[self.given..];
        let count = buffer.len().min(left.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

/// A tar stream that is being built.
pub(super) struct Archive {
    builder: Builder<Vec<u8>>,
    ids: Ids,
}

impl Archive {
    /// Starts one whose entries belong to these numbers unless said otherwise.
    pub(super) fn new(ids: Ids) -> Self {
        Self {
            builder: Builder::new(Vec::new()),
            ids,
        }
    }

    /// Adds a directory.
    ///
    /// Errors: a name that tar cannot hold.
    pub(super) fn directory(&mut self, path: &std::path::Path, mode: u32) -> io::Result<()> {
        let mut header = self.header(EntryType::Directory, mode, self.ids);
        self.builder.append_data(&mut header, path, io::empty())
    }

    /// Adds a regular file.
    ///
    /// Errors: a name that tar cannot hold.
    pub(super) fn file(
        &mut self,
        path: &std::path::Path,
        mode: u32,
        ids: Ids,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, mode, ids);
        header.set_size(bytes.len() as u64);
        self.builder.append_data(&mut header, path, bytes)
    }

    fn header(&self, kind: EntryType, mode: u32, ids: Ids) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(ids.uid.into());
        header.set_gid(ids.gid.into());
        header.set_mtime(crate::clock::now().as_millis().unsigned_abs() / 1000);
        header.set_size(0);
        header
    }

    /// Unpacks it in a container, below a directory that is there.
    ///
    /// Errors: [`CallError`].
    pub(super) fn send(self, connection: &Connection, container: &str, path: &str) -> Result<(), CallError> {
        let bytes = self
            .builder
            .into_inner()
            .map_err(|source| connection.failed("pack files for a box", source.into()))?;
        let options = UploadToContainerOptionsBuilder::default().path(path).build();
        let body = bollard::body_full(bytes.into());
        let call = connection
            .docker()
            .upload_to_container(container, Some(options), body);
        connection.call("write files in a box", call)
    }
}

/// Lists of users and groups that were read from images.
#[derive(Default)]
pub(super) struct UserFiles(Mutex<HashMap<String, Lists>>);

#[derive(Clone, Default)]
struct Lists {
    users: Vec<u8>,
    groups: Vec<u8>,
}

/// Makes the box's user known in a container that has not started, with a home.
///
/// Errors: [`OpenError`].
pub(super) fn put_user_files(
    connection: &Connection,
    known: &UserFiles,
    container: &str,
    image: &LocalImage,
    ids: Ids,
) -> Result<(), OpenError> {
    let remembered = || known.0.lock().unwrap_or_else(PoisonError::into_inner);
    let found = remembered().get(&image.id).cloned();
    let lists = match found {
        Some(lists) => lists,
        None => {
            let read = |path| read_file(connection, container, path);
            let lists = Lists {
                users: read("/etc/passwd")?,
                groups: read("/etc/group")?,
            };
            let mut remembered = remembered();
            if remembered.len() >= IMAGES_REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(image.id.clone(), lists.clone());
            lists
        }
    };
    let Ids { uid, gid } = ids;
    let users = with_line(
        &lists.users,
        uid,
        &format!("box:x:{uid}:{gid}:box:{PLAIN_HOME}:/bin/sh\n"),
    );
    let groups = with_line(&lists.groups, gid, &format!("box:x:{gid}:\n"));
    let root = Ids { uid: 0, gid: 0 };
    let pack = || {
        let mut archive = Archive::new(ids);
        archive.file("etc/passwd".as_ref(), 0o644, root, &users)?;
        archive.file("etc/group".as_ref(), 0o644, root, &groups)?;
        archive.directory(PLAIN_HOME.trim_start_matches('/').as_ref(), 0o755)?;
        Ok::<_, io::Error>(archive)
    };
    let archive = pack().map_err(|source| connection.failed("pack the list of users", source.into()))?;
    Ok(archive.send(connection, container, "/")?)
}

/// Adds a line and takes away those that give the same name or number to somebody else.
fn with_line(list: &[u8], number: u32, line: &str) -> Vec<u8> {
    let number = number.to_string();
    let mut new = Vec::with_capacity(list.len() + line.len());
    for old in list.split_inclusive(|byte| *byte == b'\n') {
        let mut fields = old.split(|byte| *byte == b':');
        let name = fields.next();
        let taken = name == Some(b"box".as_slice()) || fields.nth(1) == Some(number.as_bytes());
        if !taken {
            new.extend_from_slice(old);
        }
    }
    if new.last().is_some_and(|byte| *byte != b'\n') {
        new.push(b'\n');
    }
    new.extend_from_slice(line.as_bytes());
    new
}

/// Reads a small regular file of a container; empty if there is none.
fn read_file(connection: &Connection, container: &str, path: &str) -> Result<Vec<u8>, CallError> {
    let mut reader = ArchiveReader::open(connection, container, path);
    let mut bytes = Vec::new();
    let read = first_file(&mut reader, &mut bytes);
    match (read, reader.failed) {
        (_, Some(error)) if error.is_missing() => Ok(Vec::new()),
        (_, Some(error)) => Err(error),
        (Err(source), None) => Err(connection.failed("read the list of users", source.into())),
        (Ok(()), None) => Ok(bytes),
    }
}

fn first_file(reader: &mut ArchiveReader<'_>, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    if let Some(entry) = archive.entries()?.next() {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            entry.take(USERS_BYTES_MAX).read_to_end(bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_user_takes_its_name_and_number_from_whoever_has_them() {
        let line = "box:x:1000:1000:box:/home/box:/bin/sh\n";
        for (list, expected) in [
            ("", ""),
            ("root:x:0:0:root:/root:/bin/sh", "root:x:0:0:root:/root:/bin/sh\n"),
            (
                "root:x:0:0::/:\nnode:x:1000:1000::/home/node:/bin/bash\nbox:x:7:7::/:\n",
                "root:x:0:0::/:\n",
            ),
            ("n:x:10000:1:::\n", "n:x:10000:1:::\n"),
        ] {
            let new = with_line(list.as_bytes(), 1000, line);
            assert_eq!(String::from_utf8_lossy(&new), format!("{expected}{line}"));
        }
    }
}

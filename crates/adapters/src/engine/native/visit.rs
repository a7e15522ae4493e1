//! Files of a box as the engine reads and writes them. Owns the conversation with the process inside; must never
//! resolve a path of the box on the host.

use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::files::{GO_IN, tag};
use super::init::ask;
use super::message::Message;
use super::native_sandbox::{Lifeline, read_status};
use super::status::Status;
use crate::engine::{FileVisitor, Found, FoundKind, SandboxError};

/// The longest piece of a file that is believed.
const PIECE_BYTES_MAX: u32 = 64 * 1024;

/// Writes a file in the box.
///
/// Errors: [`SandboxError`].
pub(super) fn put_file(channel: &Lifeline, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError> {
    let system = |source| SandboxError::System {
        doing: format!("write {} in the box", at.display()),
        source,
    };
    if !at.is_absolute() {
        return Err(wrong(at, "it is not absolute"));
    }
    let (content, mut writer) = io::pipe().map_err(system)?;
    let (status, told) = io::pipe().map_err(system)?;
    channel
        .ask(ask::PUT, &[content.as_fd(), told.as_fd()], &Message::default())
        .map_err(|_| SandboxError::Gone)?;
    drop((content, told));
    let mut order = Message::default();
    order.push(tag::PATH, at, format!("{:o}", mode & 0o7777));
    let write = |writer: &mut PipeWriter| {
        order.write(writer)?;
        writer.write_all(bytes)
    };
    // A process that gave up says why on its status.
    let written = write(&mut writer);
    drop(writer);
    answer(at, &read_status(status), written)
}

/// Shows what is at and below a path of the box.
///
/// Errors: [`SandboxError`].
pub(super) fn visit_files(
    channel: &Lifeline,
    at: &Path,
    visitor: &mut dyn FileVisitor,
) -> Result<(), SandboxError> {
    let system = |source| SandboxError::System {
        doing: format!("read {} in the box", at.display()),
        source,
    };
    if !at.is_absolute() {
        return Err(wrong(at, "it is not absolute"));
    }
    let (ours, theirs) = UnixStream::pair().map_err(system)?;
    let (status, told) = io::pipe().map_err(system)?;
    channel
        .ask(ask::VISIT, &[theirs.as_fd(), told.as_fd()], &Message::default())
        .map_err(|_| SandboxError::Gone)?;
    drop((theirs, told));
    let mut order = Message::default();
    order.push(tag::PATH, at, "");
    let mut conversation = Conversation {
        input: io::BufReader::with_capacity(PIECE_BYTES_MAX as usize, &ours),
        output: &ours,
        visitor,
    };
    let shown = order.write(&mut &ours).and_then(|()| conversation.run());
    drop(ours);
    match shown {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(wrong(at, &why)),
        Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            answer(at, &read_status(status), Err(source))
        }
        Err(source) => Err(system(source)),
    }
}

fn answer(at: &Path, told: &[u8], sent: io::Result<()>) -> Result<(), SandboxError> {
    let (statuses, _) = Status::parse_all(told);
    match statuses.first() {
        Some(Status::Done) => sent.map_err(|_| SandboxError::Gone),
        Some(Status::Trouble(_, why)) => Err(wrong(at, why)),
        _ => Err(SandboxError::Gone),
    }
}

fn wrong(at: &Path, why: &str) -> SandboxError {
    SandboxError::Path {
        path: at.display().to_string(),
        why: why.to_owned(),
    }
}

struct Conversation<'a> {
    input: io::BufReader<&'a UnixStream>,
    output: &'a UnixStream,
    visitor: &'a mut dyn FileVisitor,
}

impl Conversation<'_> {
    /// Shows everything; returns what was wrong with the path, if anything was.
    fn run(&mut self) -> io::Result<Option<String>> {
        loop {
            let message = Message::read(&mut self.input)?;
            let mut records = message.0.into_iter();
            let record = records.next().ok_or(io::ErrorKind::InvalidData)?;
            let second = record.second.to_string_lossy().into_owned();
            let mut numbers = second.split(' ');
            let mode = numbers.next().and_then(|mode| mode.parse().ok()).unwrap_or(0);
            let found = |kind| Found {
                path: PathBuf::from(&record.first),
                mode,
                kind,
            };
            match record.tag {
                tag::END => return Ok(None),
                tag::WRONG => return Ok(Some(second)),
                tag::DIRECTORY => {
                    let directory = found(FoundKind::Directory);
                    self.visitor.visit(&directory, &mut io::empty())?;
                    let answer = if self.visitor.enter(&directory) {
                        GO_IN
                    } else {
                        b'n'
                    };
                    self.output.write_all(&[answer])?;
                }
                tag::LINK => {
                    let target = records.next().ok_or(io::ErrorKind::InvalidData)?.first;
                    let link = found(FoundKind::Link(target.into()));
                    self.visitor.visit(&link, &mut io::empty())?;
                }
                tag::FILE => {
                    let bytes = numbers.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
                    let file = found(FoundKind::File { bytes });
                    let mut pieces = Pieces {
                        input: &mut self.input,
                        left: 0,
                        ended: false,
                    };
                    self.visitor.visit(&file, &mut pieces)?;
                    io::copy(&mut pieces, &mut io::sink())?;
                }
                tag::OTHER => self.visitor.visit(&found(FoundKind::Other), &mut io::empty())?,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// A file's content as it arrives: pieces behind their lengths, an empty one last.
struct Pieces<'a, R> {
    input: &'a mut R,
    left: usize,
    ended: bool,
}

impl<R: Read> Read for Pieces<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut length = [0; 4];
            self.input.read_exact(&mut length)?;
            let length = u32::from_le_bytes(length);
            if length > PIECE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.left = length as usize;
            self.ended = length == 0;
        }
        let count = to.len().min(self.left);
        if count == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut to[..count])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_pieces_are_put_together_and_lies_about_length_refused() {
        let mut bytes = Vec::new();
        for piece in [&b"abc"[..], b"de", b""] {
            bytes.extend_from_slice(&u32::try_from(piece.len()).expect("short").to_le_bytes());
            bytes.extend_from_slice(piece);
        }
        let read = |mut input: &[u8]| {
            let mut text = String::new();
            let mut pieces = Pieces {
                input: &mut input,
                left: 0,
                ended: false,
            };
            pieces.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read(&bytes).expect("whole"), "abcde");
        assert!(read(&bytes[..5]).is_err() && read(b"\xff\xff\xff\xff").is_err());
    }
}

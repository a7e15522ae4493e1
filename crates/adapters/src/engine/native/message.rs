//! What the engine and pid 1 of a box say to each other. Owns the bytes: records of a tag and two texts, any name
//! and value included, and the descriptors that go with a request; must never trust a length it has not bounded.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The longest text of a record; Linux takes no longer argument.
const FIELD_BYTES_MAX: u32 = 256 * 1024;
/// The most records of one message.
const RECORDS_MAX: u32 = 1 << 16;
/// The most descriptors that go with one request.
const DESCRIPTORS_MAX: usize = 3;

/// A list of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message(pub(super) Vec<Record>);

/// A tag and two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) tag: u8,
    pub(super) first: OsString,
    pub(super) second: OsString,
}

impl Message {
    pub(super) fn push(&mut self, tag: u8, first: impl AsRef<OsStr>, second: impl AsRef<OsStr>) {
        self.0.push(Record {
            tag,
            first: first.as_ref().to_owned(),
            second: second.as_ref().to_owned(),
        });
    }

    /// Writes the message.
    ///
    /// Errors: what the system said.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::new();
        push_number(&mut bytes, self.0.len());
        for record in &self.0 {
            bytes.push(record.tag);
            for field in [&record.first, &record.second] {
                push_number(&mut bytes, field.len());
                bytes.extend_from_slice(field.as_bytes());
            }
        }
        to.write_all(&bytes)
    }

    /// Reads a message, and not one byte behind it.
    ///
    /// Errors: what the system said, `InvalidData` for anything that is not a message.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut message = Self::default();
        for _ in 0..read_number(from, RECORDS_MAX)? {
            let mut tag = [0];
            from.read_exact(&mut tag)?;
            let (first, second) = (read_field(from)?, read_field(from)?);
            message.push(tag[0], first, second);
        }
        Ok(message)
    }

    /// Returns the first text of the first record with this tag.
    pub(super) fn first(&self, tag: u8) -> Option<&OsStr> {
        let found = self.0.iter().find(|record| record.tag == tag);
        found.map(|record| record.first.as_os_str())
    }
}

fn push_number(bytes: &mut Vec<u8>, number: usize) {
    // A number that does not fit is refused by the reader.
    bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn read_number(from: &mut impl Read, max: u32) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    let number = u32::from_le_bytes(bytes);
    if number > max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(number)
}

fn read_field(from: &mut impl Read) -> io::Result<OsString> {
    let len = read_number(from, FIELD_BYTES_MAX)?;
    let mut bytes = vec![0; len as usize];
    from.read_exact(&mut bytes)?;
    Ok(OsString::from_vec(bytes))
}

/// Sends a request: its kind with the descriptors, then its message.
///
/// Errors: what the system said.
pub(super) fn send(
    mut channel: &UnixStream,
    kind: u8,
    descriptors: &[BorrowedFd<'_>],
    message: &Message,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        channel,
        &[IoSlice::new(&[kind])],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    message.write(&mut channel)
}

/// A request as it arrived.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: u8,
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) message: Message,
}

/// Receives the next request; `None` if the other side is gone.
///
/// Errors: what the system said, `InvalidData` for anything that is not a request.
pub(super) fn receive(mut channel: &UnixStream) -> io::Result<Option<Request>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut kind = [0];
    let count = loop {
        match recvmsg(
            channel,
            &mut [IoSliceMut::new(&mut kind)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(received) => break received.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    if count == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(handed) = message {
            descriptors.extend(handed);
        }
    }
    Ok(Some(Request {
        kind: kind[0],
        descriptors,
        message: Message::read(&mut channel)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_message_is_read_as_it_was_written_and_nothing_behind_it() {
        let mut message = Message::default();
        message.push(b'e', "A", "b=c\nd");
        message.push(b'w', OsString::from_vec(b"/a\xff\n\"".to_vec()), "");
        let mut bytes = Vec::new();
        message.write(&mut bytes).expect("memory takes it");
        bytes.extend_from_slice(b"rest");
        let mut reader = &bytes[..];
        assert_eq!(Message::read(&mut reader).expect("a message"), message);
        assert_eq!(reader, b"rest");
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        for bytes in [
            &b""[..],
            b"\xff\xff\xff\xff",
            b"\x01\0\0\0a\0\0\0\0\xff\xff\xff\xff",
        ] {
            assert!(Message::read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn descriptors_arrive_with_their_request_and_a_closed_channel_is_told() {
        let (ours, theirs) = UnixStream::pair().expect("a channel");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut message = Message::default();
        message.push(b'c', "true", "");
        send(&ours, b'x', &[writer.as_fd()], &message).expect("sent");
        drop((writer, ours));
        let request = receive(&theirs).expect("received").expect("a request");
        assert_eq!((request.kind, &request.message), (b'x', &message));
        let mut handed = std::fs::File::from(request.descriptors.into_iter().next().expect("the pipe"));
        handed.write_all(b"through").expect("written");
        drop(handed);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "through");
        assert!(receive(&theirs).expect("the end").is_none());
    }
}

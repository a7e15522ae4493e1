//! What a box is told to be, as bytes on a pipe: never as arguments, which every process of the host can read.
//! Owns the format, which lives as long as one box: both ends are the same binary.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Longer orders are not read: something else is on the pipe.
const FIELD_BYTES_MAX: usize = 16 * 1024 * 1024;
const RECORDS_MAX: u32 = 1_000_000;

/// One step of making what a box sees; paths in the box are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A symbolic link.
    Link { target: PathBuf, at: PathBuf },
    /// A host's file or directory, for reading.
    ReadOnly { host: PathBuf, at: PathBuf },
    /// A directory of this box, for writing.
    Writable { host: PathBuf, at: PathBuf },
    /// Nothing where the host has something; skipped if the box has nothing there.
    Hide { at: PathBuf },
}

/// What a box is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) steps: Vec<Step>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) command: Vec<OsString>,
}

impl Order {
    /// Writes the order.
    ///
    /// Errors: what the system said.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::new();
        let records = self.steps.len() + self.env.len() + self.command.len();
        push_number(&mut bytes, records);
        for step in &self.steps {
            match step {
                Step::Link { target, at } => push(&mut bytes, b'l', target, at),
                Step::ReadOnly { host, at } => push(&mut bytes, b'r', host, at),
                Step::Writable { host, at } => push(&mut bytes, b'w', host, at),
                Step::Hide { at } => push(&mut bytes, b'h', "", at),
            }
        }
        for (name, value) in &self.env {
            push(&mut bytes, b'e', name, value);
        }
        for argument in &self.command {
            push(&mut bytes, b'a', "", argument);
        }
        to.write_all(&bytes)
    }

    /// Reads an order, and not one byte behind it.
    ///
    /// Errors: what the system said, `InvalidData` for anything that is not an order.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut order = Self::default();
        for _ in 0..read_number(from, RECORDS_MAX)? {
            let mut tag = [0];
            from.read_exact(&mut tag)?;
            let (first, second) = (read_field(from)?, read_field(from)?);
            let path = |field: OsString| PathBuf::from(field);
            match tag[0] {
                b'l' => order.steps.push(Step::Link {
                    target: path(first),
                    at: path(second),
                }),
                b'r' => order.steps.push(Step::ReadOnly {
                    host: path(first),
                    at: path(second),
                }),
                b'w' => order.steps.push(Step::Writable {
                    host: path(first),
                    at: path(second),
                }),
                b'h' => order.steps.push(Step::Hide { at: path(second) }),
                b'e' => order.env.push((first, second)),
                b'a' => order.command.push(second),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(order)
    }

    /// Adds a read-only view of a host's path at the same path.
    pub(super) fn show(&mut self, host: &Path) {
        self.steps.push(Step::ReadOnly {
            host: host.to_owned(),
            at: host.to_owned(),
        });
    }
}

fn push(bytes: &mut Vec<u8>, tag: u8, first: impl AsRef<OsStr>, second: impl AsRef<OsStr>) {
    bytes.push(tag);
    for field in [first.as_ref(), second.as_ref()] {
        push_number(bytes, field.len());
        bytes.extend_from_slice(field.as_bytes());
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
    let max = u32::try_from(FIELD_BYTES_MAX).unwrap_or(u32::MAX);
    let len = read_number(from, max)? as usize;
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    Ok(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written_and_nothing_behind_it() {
        let mut order = Order {
            steps: vec![
                Step::Link {
                    target: "usr/bin".into(),
                    at: "/bin".into(),
                },
                Step::Writable {
                    host: OsString::from_vec(b"/a\xff\n\"".to_vec()).into(),
                    at: "/box".into(),
                },
                Step::Hide { at: "/x".into() },
            ],
            env: vec![("A".into(), "b=c\nd".into()), ("B".into(), "".into())],
            command: vec!["-x".into(), "".into()],
        };
        order.show(Path::new("/usr"));
        let mut bytes = Vec::new();
        order.write(&mut bytes).expect("memory takes it");
        bytes.extend_from_slice(b"rest");
        let mut reader = &bytes[..];
        assert_eq!(Order::read(&mut reader).expect("an order"), order);
        assert_eq!(reader, b"rest");
    }

    #[test]
    fn what_is_not_an_order_is_refused() {
        for bytes in [
            &b""[..],
            b"\x01\0\0\0?",
            b"\xff\xff\xff\xff",
            b"\x01\0\0\0a\0\0\0\0\xff\xff\xff\xff",
        ] {
            assert!(Order::read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }
}

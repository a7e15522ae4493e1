//! A tar archive written entry by entry: ustar where it fits, pax records for what does not. The same input gives the
//! same bytes.

use std::io::{self, Read, Write};

use super::header::{BLOCK_BYTES, put_number};

/// What an entry to write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteEntry<'a> {
    /// A regular file and its size; the content follows.
    File(u64),
    Folder,
    Symlink(&'a [u8]),
    HardLink(&'a [u8]),
    Pipe,
}

/// Writes entries.
pub(crate) struct TarWriter<W: Write> {
    target: W,
}

/// Owner, mode, date and attributes of an entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meta {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: u64,
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(target: W) -> Self {
        Self { target }
    }

    /// Writes an entry with the content its kind promises.
    ///
    /// Errors: the target's, the content's, and `UnexpectedEof` if the content is shorter than promised.
    pub(crate) fn append(
        &mut self,
        path: &[u8],
        what: WriteEntry<'_>,
        meta: &Meta,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let size = self.begin(path, what, meta)?;
        let copied = io::copy(&mut content.take(size), &mut self.target)?;
        if copied != size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file became shorter while it was read",
            ));
        }
        self.end(size)
    }

    /// Returns where the content of the entry that was begun goes.
    pub(crate) fn content(&mut self) -> &mut W {
        &mut self.target
    }

    /// Ends an entry whose content of that size was written.
    pub(crate) fn end(&mut self, size: u64) -> io::Result<()> {
        self.pad(size)
    }

    /// Writes the headers of an entry and returns how many bytes of content have to follow.
    pub(crate) fn begin(&mut self, path: &[u8], what: WriteEntry<'_>, meta: &Meta) -> io::Result<u64> {
        let (kind, link, size) = match what {
            WriteEntry::File(size) => (b'0', &[][..], size),
            WriteEntry::Folder => (b'5', &[][..], 0),
            WriteEntry::Symlink(link) => (b'2', link, 0),
            WriteEntry::HardLink(link) => (b'1', link, 0),
            WriteEntry::Pipe => (b'6', &[][..], 0),
        };
        let mut name = path.to_vec();
        if kind == b'5' && !name.ends_with(b"/") {
            name.push(b'/');
        }
        let mut records = Vec::new();
        if name.len() > 100 {
            record(&mut records, b"path", &name);
        }
        if link.len() > 100 {
            record(&mut records, b"linkpath", link);
        }
        for (key, value) in &meta.attributes {
            record(&mut records, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
        }
        if !records.is_empty() {
            let length = records.len() as u64;
            self.header(
                b"PaxHeaders/entry",
                b'x',
                &[],
                length,
                &Meta {
                    mode: 0o644,
                    ..Meta::default()
                },
            )?;
            self.target.write_all(&records)?;
            self.pad(length)?;
        }
        self.header(&name, kind, link, size, meta)?;
        Ok(size)
    }

    /// Writes the end and returns the target.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.target.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.target.flush()?;
        Ok(self.target)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK_BYTES as u64).expect("a rest below 512 fits");
        self.target
            .write_all(&[0; BLOCK_BYTES][..(BLOCK_BYTES - over) % BLOCK_BYTES])
    }

    fn header(&mut self, name: &[u8], kind: u8, link: &[u8], size: u64, meta: &Meta) -> io::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        let put = |block: &mut [u8], text: &[u8]| {
            let count = text.len().min(block.len());
            block[..count].copy_from_slice(&text[..count]);
        };
        put(&mut block[..100], name);
        put_number(&mut block[100..108], u64::from(meta.mode & 0o7777));
        put_number(&mut block[108..116], u64::from(meta.uid));
        put_number(&mut block[116..124], u64::from(meta.gid));
        put_number(&mut block[124..136], size);
        put_number(&mut block[136..148], meta.modified);
        block[156] = kind;
        put(&mut block[157..257], link);
        put(&mut block[257..265], b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        put_number(&mut block[148..155], sum);
        self.target.write_all(&block)
    }
}

/// Adds `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    to.extend_from_slice(length.to_string().as_bytes());
    to.extend_from_slice(b" ");
    to.extend_from_slice(key);
    to.extend_from_slice(b"=");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\n");
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, TarReader};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let long = [b"d/".repeat(90), b"\xff name".to_vec()].concat();
        let meta = Meta {
            mode: 0o754,
            modified: 12,
            attributes: vec![(b"user.note".to_vec(), b"a=b\n\0c".to_vec())],
            ..Meta::default()
        };
        let mut writer = TarWriter::new(Vec::new());
        writer
            .append(&long, WriteEntry::File(3), &meta, &mut &b"abc"[..])
            .expect("memory");
        writer
            .append(
                b"l",
                WriteEntry::Symlink(&long),
                &Meta::default(),
                &mut io::empty(),
            )
            .expect("memory");
        let bytes = writer.finish().expect("memory");
        let mut reader = TarReader::new(bytes.as_slice());
        let first = reader.next(&mut ()).expect("an entry").expect("not the end");
        assert_eq!((first.path, first.mode, first.size), (long.clone(), 0o754, 3));
        assert_eq!((first.modified, first.attributes), ((12, 0), meta.attributes));
        let second = reader.next(&mut ()).expect("an entry").expect("not the end");
        assert_eq!((second.kind, second.link), (Kind::Symlink, long));
        assert_eq!(reader.next(&mut ()).expect("the end"), None);
    }
}

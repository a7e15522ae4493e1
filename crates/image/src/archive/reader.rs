//! A tar archive read entry by entry, with every byte that is not a file's content handed to a sink, so that the
//! archive can be put together again to the byte. Understands ustar, GNU and pax; refuses what it would guess at.

use std::io::{self, Read};

use gantry_core::limits::{IMAGE_HEADER_BYTES_MAX, IMAGE_PATH_BYTES_MAX};

use crate::bounded::TooLarge;

use super::header::{BLOCK_BYTES, Header, Kind, sparse_more, text};

/// The most pieces the map of one sparse file may have.
const SPARSE_PIECES_MAX: usize = 65_536;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The source failed; a compressed stream that is broken ends here, too.
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
    /// It ends inside of an entry.
    #[error("the archive ends in the middle of {0}; fetch it again")]
    Truncated(String),
    /// A header is not one.
    #[error("this is no tar archive: {0}")]
    Header(&'static str),
    /// A form that is not understood, and that must not be guessed at.
    #[error("{path}: {form} is not understood; make the archive with GNU tar's default format")]
    Form {
        /// The entry.
        path: String,
        /// The form.
        form: &'static str,
    },
    /// A bound is reached.
    #[error("{what} is larger than the {max} bytes allowed")]
    Bound {
        /// What is too large.
        what: &'static str,
        /// The bound, in bytes.
        max: u64,
    },
    /// The sink of raw bytes failed.
    #[error("the record of the archive cannot be written")]
    Sink(#[source] io::Error),
}

/// Takes the bytes of the archive that are not the content of files.
pub(crate) trait RawSink {
    /// Takes the next raw bytes.
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// For readers that do not put anything together again.
impl RawSink for () {
    fn raw(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// One entry, with long names and extended headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// As written: not checked in any way.
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    /// The numbers of the owner and its group.
    pub(crate) owner: (u32, u32),
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
    /// Bytes of content in the archive.
    pub(crate) size: u64,
    /// Where the content's pieces belong, if there are holes; their sum is `size`.
    pub(crate) pieces: Option<Vec<(u64, u64)>>,
    /// Bytes of the file with its holes.
    pub(crate) full_size: u64,
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What extended headers said.
#[derive(Debug, Clone, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    modified: Option<(i64, u32)>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: bool,
}

/// Reads entries; the caller takes each one's content before the next.
pub(crate) struct TarReader<R> {
    source: R,
    global: Extended,
    /// Content of the current entry that was not taken yet, and the padding behind it.
    left: u64,
    padding: usize,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            global: Extended::default(),
            left: 0,
            padding: 0,
        }
    }

    pub(crate) fn get_ref(&self) -> &R {
        &self.source
    }

    pub(crate) fn into_inner(self) -> R {
        self.source
    }

    /// Returns the next entry, or `None` at the end; what stands behind the end goes to the sink, too.
    pub(crate) fn next(&mut self, sink: &mut dyn RawSink) -> Result<Option<Entry>, TarError> {
        self.skip_content(sink)?;
        let mut own = self.global.clone();
        let mut extra_bytes = 0;
        loop {
            let Some(block) = self.block(sink)? else {
                return Ok(None);
            };
            if block.iter().all(|byte| *byte == 0) {
                self.rest(sink)?;
                return Ok(None);
            }
            let header = Header(&block);
            if !header.is_sound() {
                return Err(TarError::Header("a header's checksum is wrong"));
            }
            let size = header.size().ok_or(TarError::Header("a size cannot be read"))?;
            let kind = header.kind();
            if !matches!(
                kind,
                Kind::LongPath | Kind::LongLink | Kind::Extended | Kind::Global
            ) {
                return self.entry(&header, own, size, sink).map(Some);
            }
            extra_bytes += size;
            if extra_bytes > IMAGE_HEADER_BYTES_MAX {
                return Err(TarError::Bound {
                    what: "an extended header",
                    max: IMAGE_HEADER_BYTES_MAX,
                });
            }
            let body = self.small(size, sink)?;
            match kind {
                Kind::LongPath => own.path = Some(text(&body).to_vec()),
                Kind::LongLink => own.link = Some(text(&body).to_vec()),
                Kind::Extended => own.read(&body)?,
                _ => {
                    self.global.read(&body)?;
                    own = self.global.clone();
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header<'_>,
        own: Extended,
        size: u64,
        sink: &mut dyn RawSink,
    ) -> Result<Entry, TarError> {
        let path = own.path.unwrap_or_else(|| header.path());
        let shown = || String::from_utf8_lossy(&path).into_owned();
        if path.len() > IMAGE_PATH_BYTES_MAX {
            return Err(TarError::Bound {
                what: "a path",
                max: IMAGE_PATH_BYTES_MAX as u64,
            });
        }
        if own.sparse {
            return Err(TarError::Form {
                path: shown(),
                form: "a sparse file in pax form",
            });
        }
        let size = own.size.unwrap_or(size);
        let mut kind = header.kind();
        let mut pieces = None;
        let mut full_size = size;
        if kind == Kind::Sparse {
            let (found, full) = self.sparse_map(header, sink)?;
            if !is_sparse_map(&found, size, full) {
                return Err(TarError::Header("a sparse file's map does not fit its size"));
            }
            (pieces, full_size) = (Some(found), full);
        }
        // Before POSIX a folder was a file whose name ends with a slash.
        if kind == Kind::File && path.ends_with(b"/") {
            kind = Kind::Folder;
        }
        self.left = size;
        self.padding = padding(size);
        let (uid, gid) = header.owner();
        Ok(Entry {
            kind,
            link: own.link.unwrap_or_else(|| header.link()),
            mode: header.mode().ok_or(TarError::Header("a mode cannot be read"))?,
            owner: (own.uid.unwrap_or(uid), own.gid.unwrap_or(gid)),
            modified: own.modified.unwrap_or((header.modified(), 0)),
            size,
            pieces,
            full_size,
            attributes: own.attributes,
            path,
        })
    }

    fn sparse_map(
        &mut self,
        header: &Header<'_>,
        sink: &mut dyn RawSink,
    ) -> Result<(Vec<(u64, u64)>, u64), TarError> {
        let wrong = TarError::Header("a sparse file's map cannot be read");
        let Some((mut pieces, mut more, full)) = header.sparse() else {
            return Err(wrong);
        };
        while more {
            let block = self
                .block(sink)?
                .ok_or_else(|| TarError::Truncated("a sparse file's map".to_owned()))?;
            let Some((further, again)) = sparse_more(&block) else {
                return Err(wrong);
            };
            pieces.extend(further);
            more = again;
            if pieces.len() > SPARSE_PIECES_MAX {
                return Err(TarError::Bound {
                    what: "a sparse file's map",
                    max: SPARSE_PIECES_MAX as u64,
                });
            }
        }
        Ok((pieces, full))
    }

    /// Reads content of the current entry; zero at its end. The bytes do not go to the sink.
    pub(crate) fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let count = self.source.read(&mut buffer[..want]).map_err(unreadable)?;
        if count == 0 {
            return Err(TarError::Truncated("a file's content".to_owned()));
        }
        self.left -= count as u64;
        Ok(count)
    }

    /// Hands what is left of the entry to the sink.
    fn skip_content(&mut self, sink: &mut dyn RawSink) -> Result<(), TarError> {
        let mut buffer = [0; 8192];
        loop {
            match self.read_content(&mut buffer)? {
                0 => break,
                count => sink.raw(&buffer[..count]).map_err(TarError::Sink)?,
            }
        }
        let padding = std::mem::take(&mut self.padding);
        self.fill(&mut buffer[..padding])?;
        sink.raw(&buffer[..padding]).map_err(TarError::Sink)
    }

    fn small(&mut self, size: u64, sink: &mut dyn RawSink) -> Result<Vec<u8>, TarError> {
        let body = usize::try_from(size).map_err(|_| TarError::Header("a size cannot be read"))?;
        let mut bytes = vec![0; body + padding(size)];
        self.fill(&mut bytes)?;
        sink.raw(&bytes).map_err(TarError::Sink)?;
        bytes.truncate(body);
        Ok(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        self.source
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => TarError::Truncated("an entry".to_owned()),
                _ => unreadable(error),
            })
    }

    /// Reads one block; `None` where the archive ends without the two empty blocks.
    fn block(&mut self, sink: &mut dyn RawSink) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        let mut at = 0;
        while at < BLOCK_BYTES {
            match self.source.read(&mut block[at..]) {
                Ok(0) if at == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated("a header".to_owned())),
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        sink.raw(&block).map_err(TarError::Sink)?;
        Ok(Some(block))
    }

    fn rest(&mut self, sink: &mut dyn RawSink) -> Result<(), TarError> {
        let mut buffer = [0; 8192];
        loop {
            match self.source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => sink.raw(&buffer[..count]).map_err(TarError::Sink)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
    }
}

/// Tells a bound of the source from a failure of it.
fn unreadable(error: io::Error) -> TarError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()) {
        Some(TooLarge(max)) => TarError::Bound {
            what: "the unpacked archive",
            max: *max,
        },
        None => TarError::Read(error),
    }
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK_BYTES as u64).expect("a rest below 512 fits");
    (BLOCK_BYTES - over) % BLOCK_BYTES
}

/// Says whether the pieces follow each other, lie in the file and hold exactly the content.
fn is_sparse_map(pieces: &[(u64, u64)], size: u64, full: u64) -> bool {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for (offset, length) in pieces {
        let Some(next) = offset.checked_add(*length) else {
            return false;
        };
        if *offset < end || next > full {
            return false;
        }
        end = next;
        sum += length;
    }
    sum == size
}

impl Extended {
    /// Applies records `LENGTH KEY=VALUE\n`. Source: POSIX.1-2017 `pax`, "pax Extended Header".
    fn read(&mut self, mut body: &[u8]) -> Result<(), TarError> {
        const WRONG: TarError = TarError::Header("an extended header cannot be read");
        while !body.is_empty() && body[0] != 0 {
            let space = body.iter().position(|byte| *byte == b' ').ok_or(WRONG)?;
            let length: usize = decimal(&body[..space]).ok_or(WRONG)?;
            if length <= space + 1 || length > body.len() || body[length - 1] != b'\n' {
                return Err(WRONG);
            }
            let record = &body[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
            self.apply(&record[..equals], &record[equals + 1..])
                .ok_or(WRONG)?;
            body = &body[length..];
        }
        Ok(())
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            // A number too large for a user is nobody's, and no reason to refuse the archive.
            b"uid" => self.uid = Some(decimal(value).unwrap_or(u32::MAX)),
            b"gid" => self.gid = Some(decimal(value).unwrap_or(u32::MAX)),
            b"mtime" => self.modified = Some(instant(value)?),
            _ => {
                self.sparse |= key.starts_with(b"GNU.sparse.");
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

fn decimal<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let plain = digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// Reads seconds with a fraction; what is before 1970 counts as 1970.
fn instant(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('-') {
        return Some((0, 0));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos = format!("{fraction:0<9}");
    Some((whole.parse().ok()?, nanos.get(..9)?.parse().ok()?))
}

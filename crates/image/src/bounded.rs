//! Sources that end in an error instead of never, and the compressions layers come in.

use std::io::{self, BufRead, BufReader, Read};

/// More bytes came than were allowed.
#[derive(Debug, thiserror::Error)]
#[error("there are more than the {0} bytes allowed")]
pub(crate) struct TooLarge(pub(crate) u64);

/// Hands on at most `max` bytes, then fails with [`TooLarge`].
pub(crate) struct Bounded<R> {
    inner: R,
    max: u64,
    left: u64,
}

impl<R: Read> Bounded<R> {
    pub(crate) fn new(inner: R, max: u64) -> Self {
        Self {
            inner,
            max,
            left: max,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left =
            (self.left.checked_sub(count as u64)).ok_or_else(|| io::Error::other(TooLarge(self.max)))?;
        Ok(count)
    }
}

/// Reads a document that is held in memory.
///
/// Errors: the source's, and [`TooLarge`] inside of an `Other`.
pub(crate) fn read_document(source: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Bounded::new(source, max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Undoes gzip or Zstandard, told by the first bytes; anything else is handed on as it is.
pub(crate) fn unpacked<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(64 * 1024, source);
    // A pipe may give fewer bytes than asked for, so what is seen first is put back in front.
    let mut first = [0; 4];
    let mut seen = 0;
    while seen < first.len() {
        let available = source.fill_buf()?;
        let count = available.len().min(first.len() - seen);
        if count == 0 {
            break;
        }
        first[seen..seen + count].copy_from_slice(&available[..count]);
        source.consume(count);
        seen += count;
    }
    let head = io::Cursor::new(first).take(seen as u64);
    let whole = BufReader::new(head.chain(source));
    Ok(match first {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(whole).map_err(io::Error::other)?;
            Box::new(decoder)
        }
        _ => Box::new(whole),
    })
}

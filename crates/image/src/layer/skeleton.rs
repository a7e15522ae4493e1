//! The skeleton of an archive: its bytes without the contents of files, and where those go. With it and the unpacked
//! tree the archive is put together again, the same to the byte, without being kept a second time.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::archive::RawSink;

/// How many raw bytes one record holds at most.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// One record of a skeleton.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// The content of a file: its number, and the pieces (offset, length) that the archive holds.
    Content(u32, Vec<(u64, u64)>),
}

/// Writes a skeleton.
pub(super) struct SkeletonWriter {
    target: BufWriter<GzEncoder<File>>,
    pending: Vec<u8>,
}

impl SkeletonWriter {
    pub(super) fn new(file: File) -> Self {
        let target = BufWriter::new(GzEncoder::new(file, Compression::fast()));
        Self {
            target,
            pending: Vec::new(),
        }
    }

    pub(super) fn content(&mut self, number: u32, pieces: &[(u64, u64)]) -> io::Result<()> {
        self.flush_pending()?;
        self.target.write_all(&[1])?;
        self.target.write_all(&number.to_le_bytes())?;
        let count = u32::try_from(pieces.len()).map_err(io::Error::other)?;
        self.target.write_all(&count.to_le_bytes())?;
        for (offset, length) in pieces {
            self.target.write_all(&offset.to_le_bytes())?;
            self.target.write_all(&length.to_le_bytes())?;
        }
        Ok(())
    }

    fn flush_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let count = u32::try_from(self.pending.len()).map_err(io::Error::other)?;
        self.target.write_all(&[0])?;
        self.target.write_all(&count.to_le_bytes())?;
        self.target.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush_pending()?;
        let encoder = self.target.into_inner().map_err(io::IntoInnerError::into_error)?;
        encoder.finish()?;
        Ok(())
    }
}

impl RawSink for SkeletonWriter {
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(RECORD_BYTES_MAX) {
            if self.pending.len() + part.len() > RECORD_BYTES_MAX {
                self.flush_pending()?;
            }
            self.pending.extend_from_slice(part);
        }
        Ok(())
    }
}

/// Reads a skeleton record by record.
pub(super) struct SkeletonReader {
    source: BufReader<GzDecoder<File>>,
}

impl SkeletonReader {
    pub(super) fn new(file: File) -> Self {
        Self {
            source: BufReader::new(GzDecoder::new(file)),
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let mut tag = [0];
        if self.source.read(&mut tag)? == 0 {
            return Ok(None);
        }
        let first = self.number()?;
        if tag[0] == 0 {
            let length = usize::try_from(first).map_err(io::Error::other)?;
            if length > RECORD_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a record is too long"));
            }
            let mut bytes = vec![0; length];
            self.source.read_exact(&mut bytes)?;
            return Ok(Some(Record::Raw(bytes)));
        }
        let count = self.number()?;
        let mut pieces = Vec::new();
        for _ in 0..count {
            let mut piece = [0; 16];
            self.source.read_exact(&mut piece)?;
            let (offset, length) = piece.split_at(8);
            let long = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("it is 8 bytes long"));
            pieces.push((long(offset), long(length)));
        }
        Ok(Some(Record::Content(first, pieces)))
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.source.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

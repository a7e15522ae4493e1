//! The log of one job leg. Owns the file and the end of what a step wrote; whatever comes here has been masked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gantry_adapters::engine::{OutputLog, choose_evidence};
use gantry_core::limits::JOB_LOG_BYTES_MAX;

/// How much of a step's output is looked through for the lines that matter.
///
/// Units: bytes.
const EVIDENCE_BYTES_MAX: usize = 256 * 1024;

/// A log that several steps may write to, whole lines at a time.
#[derive(Debug)]
pub(super) struct LegLog {
    path: PathBuf,
    file: Mutex<OutputLog>,
}

impl LegLog {
    /// Makes the log.
    ///
    /// Errors: what the system said.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(OutputLog::create(path, JOB_LOG_BYTES_MAX)?),
        })
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds lines; past its bound the log keeps its first and its last half.
    ///
    /// Errors: what the system said.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    /// Ends the log.
    ///
    /// Errors: what the system said.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

/// The last bytes of a step's output.
#[derive(Debug, Default)]
pub(super) struct StepTail(Vec<u8>);

impl StepTail {
    /// Takes more output.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(EVIDENCE_BYTES_MAX)..];
        self.0.extend_from_slice(bytes);
        // Cutting at twice the bound makes the copying a constant part of the writing.
        if self.0.len() > 2 * EVIDENCE_BYTES_MAX {
            self.0.drain(..self.0.len() - EVIDENCE_BYTES_MAX);
        }
    }

    /// Returns the lines that matter.
    pub(super) fn evidence(&self) -> Vec<String> {
        // Memory is always readable.
        choose_evidence(&self.0[..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_takes_bounded_memory_and_keeps_its_end() {
        let mut tail = StepTail::default();
        for _ in 0..100 {
            tail.push(&[b'x'; EVIDENCE_BYTES_MAX / 3]);
            assert!(tail.0.len() <= 2 * EVIDENCE_BYTES_MAX);
        }
        tail.push(b"\nerror: this is why\n");
        assert_eq!(
            tail.evidence().last().map(String::as_str),
            Some("error: this is why")
        );
    }
}

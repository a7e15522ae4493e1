//! SHA-256 of bytes and files, in hexadecimal. Owns nothing; must never be asked for another digest.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Bytes that are being digested.
#[derive(Default)]
pub(crate) struct Running(Sha256);

impl Running {
    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest.
    pub(crate) fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                write!(text, "{byte:02x}").expect("a string takes text");
                text
            })
    }
}

/// Returns the digest of some bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    let mut running = Running::default();
    running.take(bytes);
    running.finish()
}

/// Returns a file's digest and its length.
///
/// Errors: what the system said.
pub(crate) fn of_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut running = Running::default();
    let mut chunk = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((running.finish(), total)),
            count => {
                running.take(&chunk[..count]);
                total += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(
            of_bytes(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").expect("written");
        assert_eq!(of_file(&path).expect("read"), (of_bytes(b"abc"), 3));
    }
}

//! The hook through which every byte that leaves a box for people goes. Owns its shape and its use on a stream; must
//! never know a secret, and must never let bytes pass that the hook did not take.

use std::io::{self, Read, Write};

/// Masks one stream: takes its next bytes, or `None` at its end, and appends what may be shown.
///
/// What it holds back to look at across a border it gives out later. An error ends whatever the bytes were for.
pub type MaskStream = Box<dyn FnMut(Option<&[u8]>, &mut Vec<u8>) -> io::Result<()>>;

/// Starts the masking of a new stream.
pub type MaskSource<'a> = dyn Fn() -> MaskStream + Sync + 'a;

/// How much is masked at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Masks a short text whole.
///
/// Errors: what the mask said.
pub fn mask_text(source: &MaskSource<'_>, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut shown = Vec::with_capacity(text.len());
    let mut stream = source();
    stream(Some(text), &mut shown)?;
    stream(None, &mut shown)?;
    Ok(shown)
}

/// Copies a stream through a mask and returns how many bytes were read.
///
/// Errors: what reading, masking or writing said; [`io::ErrorKind::FileTooLarge`] for more than `bytes_max`.
pub fn copy_masked(
    source: &MaskSource<'_>,
    from: &mut dyn Read,
    to: &mut dyn Write,
    bytes_max: u64,
) -> io::Result<u64> {
    let mut stream = source();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut shown = Vec::new();
    let mut total: u64 = 0;
    loop {
        let count = match from.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += count as u64;
        if total > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("there are more than {bytes_max} bytes"),
            ));
        }
        shown.clear();
        stream((count > 0).then_some(&chunk[..count]), &mut shown)?;
        to.write_all(&shown)?;
        if count == 0 {
            return Ok(total);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A mask that holds back all it has until the end, and takes one word out.
    pub(crate) fn without(word: &'static str) -> impl Fn() -> MaskStream + Sync {
        move || {
            let mut held = Vec::new();
            Box::new(move |bytes, shown| {
                match bytes {
                    Some(bytes) => held.extend_from_slice(bytes),
                    None => shown.extend(String::from_utf8_lossy(&held).replace(word, "***").into_bytes()),
                }
                Ok(())
            })
        }
    }

    #[test]
    fn a_secret_across_two_reads_is_masked() {
        let mut from = (&b"a sec"[..]).chain(&b"ret b"[..]);
        let mut to = Vec::new();
        assert_eq!(
            copy_masked(&without("secret"), &mut from, &mut to, 100).ok(),
            Some(10)
        );
        assert_eq!(to, b"a *** b");
    }

    #[test]
    fn a_mask_that_fails_lets_nothing_pass() {
        let failing = || -> MaskStream { Box::new(|_, _| Err(io::Error::other("no rules"))) };
        let mut to = Vec::new();
        assert!(copy_masked(&failing, &mut &b"secret"[..], &mut to, 100).is_err());
        assert!(to.is_empty());
        assert!(mask_text(&failing, b"secret").is_err());
    }

    #[test]
    fn more_bytes_than_allowed_are_refused() {
        let mut to = Vec::new();
        let error = copy_masked(&without("x"), &mut &[0; 11][..], &mut to, 10).expect_err("it is too long");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}

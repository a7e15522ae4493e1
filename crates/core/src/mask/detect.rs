//! Finds secrets where none may be: image layers, artifacts. Names whose secret it is and where, never its value.

use crate::limits::SECRET_FOUND_BYTES_MIN;

use super::scan::{PIECE_BYTES, walk};
use super::secrets::Secrets;

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where it starts.
    ///
    /// Units: bytes from the start of the stream.
    pub offset: u64,
    /// The name it was given.
    pub name: String,
}

/// Looks for secrets in one stream.
///
/// Shape: forms shorter than [`SECRET_FOUND_BYTES_MIN`] are masked like all others but prove nothing where they turn
/// up, and are passed over here.
#[derive(Debug)]
pub struct Detector {
    secrets: Secrets,
    held: Vec<u8>,
    offset: u64,
}

impl Detector {
    /// Starts a stream.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self {
            secrets: secrets.clone(),
            held: Vec::new(),
            offset: 0,
        }
    }

    /// Takes the next bytes and returns the first secret that is certain to be there.
    ///
    /// Shape: a finding ends the stream; the rest of `bytes` was not looked at.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Finding> {
        bytes.chunks(PIECE_BYTES).find_map(|piece| {
            self.held.extend_from_slice(piece);
            self.look(false)
        })
    }

    /// Ends the stream: returns the secret that its last bytes are, if so.
    pub fn finish(&mut self) -> Option<Finding> {
        self.look(true)
    }

    fn look(&mut self, last: bool) -> Option<Finding> {
        let mut hit = None;
        let stop = walk(self.secrets.patterns(), &self.held, last, |at, length, owner| {
            if length >= SECRET_FOUND_BYTES_MIN {
                hit = Some((at, owner));
            }
            hit.is_none()
        });
        let found = hit.map(|(at, owner)| Finding {
            offset: self.offset + at as u64,
            name: self.secrets.name(owner).to_owned(),
        });
        let done = if hit.is_some() { self.held.len() } else { stop };
        self.offset += done as u64;
        self.held.drain(..done);
        found
    }
}

/// Finds the first secret of a whole text.
#[must_use]
pub fn find_secret(secrets: &Secrets, bytes: &[u8]) -> Option<Finding> {
    let mut detector = Detector::new(secrets);
    detector.push(bytes).or_else(|| detector.finish())
}

/// Tells whether a whole text holds a secret.
#[must_use]
pub fn contains_secret(secrets: &Secrets, bytes: &[u8]) -> bool {
    find_secret(secrets, bytes).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let mut secrets = Secrets::new();
        secrets
            .insert("DEPLOY_KEY", b"correct-horse-battery")
            .expect("a small secret fits");
        secrets.insert("PIN", b"1234").expect("a small secret fits");
        secrets
    }

    fn check(text: &str, expected: Option<(u64, &str)>) {
        let expected = expected.map(|(offset, name)| Finding {
            offset,
            name: name.to_owned(),
        });
        assert_eq!(find_secret(&secrets(), text.as_bytes()), expected, "{text}");
        for cut in 0..text.len() {
            let mut detector = Detector::new(&secrets());
            let (one, two) = text.as_bytes().split_at(cut);
            let found = detector
                .push(one)
                .or_else(|| detector.push(two))
                .or_else(|| detector.finish());
            assert_eq!(found, expected, "{text} cut at {cut}");
        }
    }

    #[test]
    fn a_secret_is_named_with_its_place_however_the_stream_is_cut() {
        check("key=correct-horse-battery;", Some((4, "DEPLOY_KEY")));
        check("correct-horse-battery", Some((0, "DEPLOY_KEY")));
        check("correct-horse-correct-horse-battery", Some((14, "DEPLOY_KEY")));
        check(
            "QmVhcmVyIGNvcnJlY3QtaG9yc2UtYmF0dGVyeQ== Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
            Some((12, "DEPLOY_KEY")),
        );
    }

    #[test]
    fn a_form_too_short_to_prove_anything_is_passed_over() {
        check("12345678 and 1234", None);
        check("correct-horse-batter", None);
    }
}

//! Finds secrets where none may be: image layers, artifacts. Names whose secret it is and where, never its value.

use std::fmt;

use crate::limits::SECRET_FOUND_BYTES_MIN;

use super::pattern::Patterns;
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
/// Shape: forms that prove nothing where they turn up are masked like all others but passed over here: those shorter
/// than [`SECRET_FOUND_BYTES_MIN`], and of a secret of several lines those lines that are short or hold white space.
pub struct Detector {
    secrets: Secrets,
    proofs: Patterns,
    held: Vec<u8>,
    offset: u64,
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("secrets", &self.secrets)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Detector {
    /// Starts a stream.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self {
            secrets: secrets.clone(),
            proofs: secrets.patterns().proofs(SECRET_FOUND_BYTES_MIN),
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
        let stop = walk(&self.proofs, &self.held, last, |at, _, owner| {
            hit = Some((at, owner));
            false
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
        let pem = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n";
        secrets.insert("PEM", pem).expect("a small secret fits");
        let account = b"{\n  \"type\": \"service_account\",\n  \"id\": 1\n}";
        secrets.insert("ACCOUNT", account).expect("a small secret fits");
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
    fn a_form_that_proves_nothing_is_passed_over() {
        check("12345678 and 1234", None);
        check("-----BEGIN PRIVATE KEY-----", None);
        check(
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF",
            Some((28, "PEM")),
        );
        check("{\"type\": \"service_account\",", None);
        check("correct-horse-batter", None);
    }

    #[test]
    fn a_line_that_proves_nothing_does_not_hide_a_secret_that_starts_where_it_does() {
        let mut secrets = Secrets::new();
        secrets
            .insert("LINES", b"battery staple\nhorse")
            .expect("a small secret fits");
        assert_eq!(find_secret(&secrets, b"a battery staple"), None);
        secrets.insert("WORD", b"battery").expect("a small secret fits");
        let expected = Finding {
            offset: 2,
            name: "WORD".to_owned(),
        };
        assert_eq!(find_secret(&secrets, b"a battery staple"), Some(expected));
        assert!(contains_secret(&secrets, b"battery") && !contains_secret(&secrets, b"horse"));
    }

    #[test]
    fn a_line_of_one_secret_that_is_another_secret_proves_that_one() {
        for order in [["LINES", "WORD"], ["WORD", "LINES"]] {
            let mut secrets = Secrets::new();
            for name in order {
                let value = if name == "WORD" {
                    "battery staple"
                } else {
                    "battery staple\nhorse"
                };
                secrets
                    .insert(name, value.as_bytes())
                    .expect("a small secret fits");
            }
            let found = find_secret(&secrets, b"battery staple").expect("the word is a secret");
            assert_eq!(found.name, "WORD", "added as {order:?}");
        }
    }
}

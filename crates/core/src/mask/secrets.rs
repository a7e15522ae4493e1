//! The set of secrets and the forms they are recognised in. Owns what is registered for a value; must never show one.

use std::fmt;
use std::sync::Arc;

use crate::limits::{MASK_PATTERN_BYTES_MAX, MASK_SECRET_BYTES_MAX, MASK_SECRETS_MAX};

use super::encode::forms;
use super::pattern::Patterns;

/// A secret that cannot be masked. Whoever meets this ends the output: it must not go out unmasked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// There are too many of them.
    #[error(
        "secret {name} is one too many: {MASK_SECRETS_MAX} values and lines are masked at most; hand in fewer"
    )]
    TooMany {
        /// Which did not fit.
        name: String,
    },
    /// One is too long to be held back.
    #[error(
        "secret {name} has {bytes} bytes, {MASK_SECRET_BYTES_MAX} at most can be masked; mount it as a file"
    )]
    TooLong {
        /// Which.
        name: String,
        /// How long it is.
        bytes: usize,
    },
    /// Together they need too much memory.
    #[error(
        "secret {name} needs more memory than the {MASK_PATTERN_BYTES_MAX} bytes for masking; hand in fewer"
    )]
    TooLarge {
        /// Which did not fit.
        name: String,
    },
}

/// The secrets of a run. Cheap to clone.
///
/// Shape: each value is known whole and line by line (trimmed, empty lines dropped), with no minimum length, in
/// every form of `encode`. Forms neither start nor end in white space, so that a mask never eats a line's end.
#[derive(Clone)]
pub struct Secrets {
    set: Arc<Set>,
}

#[derive(Clone)]
struct Set {
    names: Vec<String>,
    /// Values and lines.
    count: usize,
    patterns: Patterns,
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("names", &self.set.names)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// Returns an empty set, which masks nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            set: Arc::new(Set {
                names: Vec::new(),
                count: 0,
                patterns: Patterns::new(),
            }),
        }
    }

    /// Adds a secret. An empty one, or one of white space, is passed over: it would mask every gap of a text.
    ///
    /// Shape: `name` is for people and is shown. On an error the set is as it was.
    /// Errors: [`MaskError`], each limit one.
    pub fn insert(&mut self, name: &str, value: &[u8]) -> Result<(), MaskError> {
        self.extend([(name, value)])
    }

    /// Adds several secrets at once, which is faster than one by one.
    ///
    /// Shape: on an error the set is as it was. Errors: [`MaskError`], each limit one.
    pub fn extend<'a>(
        &mut self,
        secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), MaskError> {
        let mut count = self.set.count;
        let mut bytes = self.set.patterns.bytes();
        let mut names = Vec::new();
        let mut patterns = Vec::new();
        for (name, value) in secrets {
            if value.len() > MASK_SECRET_BYTES_MAX {
                return Err(MaskError::TooLong {
                    name: name.to_owned(),
                    bytes: value.len(),
                });
            }
            let owner = u32::try_from(self.set.names.len() + names.len()).unwrap_or(u32::MAX);
            let values = values(value);
            count += values.len();
            if count > MASK_SECRETS_MAX {
                return Err(MaskError::TooMany {
                    name: name.to_owned(),
                });
            }
            for form in distinct_forms(&values) {
                bytes += form.len();
                if bytes > MASK_PATTERN_BYTES_MAX {
                    return Err(MaskError::TooLarge {
                        name: name.to_owned(),
                    });
                }
                patterns.push((form, owner));
            }
            if !values.is_empty() {
                names.push(name.to_owned());
            }
        }
        let set = Arc::make_mut(&mut self.set);
        set.count = count;
        set.names.extend(names);
        set.patterns.extend(patterns);
        Ok(())
    }

    /// Tells whether nothing would be masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.patterns.is_empty()
    }

    /// Returns how much a masker holds back at most.
    ///
    /// Units: bytes.
    #[must_use]
    pub fn longest_form(&self) -> usize {
        self.set.patterns.longest()
    }

    pub(super) fn patterns(&self) -> &Patterns {
        &self.set.patterns
    }

    pub(super) fn name(&self, owner: u32) -> &str {
        self.set.names.get(owner as usize).map_or("", String::as_str)
    }
}

/// The value, as it is and trimmed, and its lines.
fn values(value: &[u8]) -> Vec<&[u8]> {
    let mut all = vec![value, trim(value)];
    all.extend(value.split(|byte| matches!(byte, b'\r' | b'\n')).map(trim));
    all.retain(|value| !trim(value).is_empty());
    all.sort_unstable();
    all.dedup();
    all
}

fn distinct_forms(values: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = values
        .iter()
        .flat_map(|value| forms(value))
        .map(|form| trim(&form).to_vec())
        .collect();
    all.retain(|form| !form.is_empty());
    all.sort_unstable();
    all.dedup();
    all
}

/// Without white space at the ends, Unicode's included where the bytes are text.
fn trim(value: &[u8]) -> &[u8] {
    std::str::from_utf8(value).map_or_else(|_| value.trim_ascii(), |text| text.trim().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let mut secrets = Secrets::new();
        secrets
            .insert("TOKEN", b"hunter2hunter2")
            .expect("a small secret fits");
        let shown = format!("{secrets:?} {:?}", crate::mask::Masker::new(&secrets));
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_limit_that_is_passed_is_an_error_and_leaves_the_set_as_it_was() {
        let mut secrets = Secrets::new();
        let long = vec![b'x'; MASK_SECRET_BYTES_MAX + 1];
        assert_eq!(
            secrets.insert("KEY", &long),
            Err(MaskError::TooLong {
                name: "KEY".to_owned(),
                bytes: MASK_SECRET_BYTES_MAX + 1
            })
        );
        let lines = (0..=MASK_SECRETS_MAX)
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        assert_eq!(
            secrets.insert(
                "LINES",
                &lines.as_bytes()[..MASK_SECRET_BYTES_MAX.min(lines.len())]
            ),
            Err(MaskError::TooMany {
                name: "LINES".to_owned()
            })
        );
        assert!(secrets.is_empty());
        let mut fitted = 0;
        let error = loop {
            let value = format!("{fitted:08}").repeat(MASK_SECRET_BYTES_MAX / 8);
            match secrets.insert("BIG", value.as_bytes()) {
                Ok(()) => fitted += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(
            error,
            MaskError::TooLarge {
                name: "BIG".to_owned()
            }
        );
        assert!(fitted > 0 && secrets.patterns().bytes() <= MASK_PATTERN_BYTES_MAX);
    }

    #[test]
    fn white_space_alone_is_no_secret() {
        let mut secrets = Secrets::new();
        for value in ["", " ", "\r\n\t", "\u{2003}"] {
            secrets
                .insert("EMPTY", value.as_bytes())
                .expect("nothing is added");
        }
        assert!(secrets.is_empty());
    }
}

//! The set of secrets and the forms they are recognised in. Owns what is registered for a value; must never show one.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::limits::{
    MASK_PATTERN_BYTES_MAX, MASK_SECRET_BYTES_MAX, MASK_SECRETS_MAX, SECRET_LINE_FOUND_BYTES_MIN,
};

use super::encode::forms;
use super::pattern::{Owner, Patterns};

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
    /// Values and lines, so that one said again costs nothing: programs mask the same token over and over.
    values: HashSet<Known>,
    patterns: Patterns,
}

/// A value or a line, and whether it proves its secret where it is found.
type Known = (Box<[u8]>, bool);

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
                values: HashSet::new(),
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
        let mut added: HashSet<Known> = HashSet::new();
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
            let index = u32::try_from(self.set.names.len() + names.len());
            let index = index.expect("there are fewer names than values, and those are limited");
            let mut values = values(value);
            values.retain(|known| !self.set.values.contains(known) && added.insert(known.clone()));
            if self.set.values.len() + added.len() > MASK_SECRETS_MAX {
                return Err(MaskError::TooMany {
                    name: name.to_owned(),
                });
            }
            for (form, proves) in distinct_forms(&values) {
                bytes += form.len();
                if bytes > MASK_PATTERN_BYTES_MAX {
                    return Err(MaskError::TooLarge {
                        name: name.to_owned(),
                    });
                }
                patterns.push((form, Owner { name: index, proves }));
            }
            if !values.is_empty() {
                names.push(name.to_owned());
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        let set = Arc::make_mut(&mut self.set);
        set.values.extend(added);
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

    pub(super) fn name(&self, owner: Owner) -> &str {
        &self.set.names[owner.name as usize]
    }
}

/// The value, as it is and trimmed, and its lines. What is both whole and a line counts as whole.
fn values(value: &[u8]) -> Vec<Known> {
    let whole = trim(value);
    let mut all: Vec<Known> = vec![(value.into(), true), (whole.into(), true)];
    let lines = value.split(|byte| matches!(byte, b'\r' | b'\n')).map(trim);
    all.extend(
        lines
            .filter(|line| *line != whole)
            .map(|line| (line.into(), line_proves(line))),
    );
    all.retain(|(value, _)| !trim(value).is_empty());
    all.sort_unstable();
    all.dedup();
    all
}

/// Headings of keys and the fixed lines of a JSON file are part of secrets and known to everybody.
fn line_proves(line: &[u8]) -> bool {
    line.len() >= SECRET_LINE_FOUND_BYTES_MIN && !line.iter().any(u8::is_ascii_whitespace)
}

fn distinct_forms(values: &[Known]) -> Vec<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    for (value, proves) in values {
        all.extend(forms(value).iter().map(|form| (trim(form).to_vec(), *proves)));
    }
    all.retain(|(form, _)| !form.is_empty());
    all.sort_unstable_by(|a, b| (&a.0, b.1).cmp(&(&b.0, a.1)));
    all.dedup_by(|later, earlier| later.0 == earlier.0);
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
    fn a_secret_said_again_costs_nothing() {
        let mut secrets = Secrets::new();
        secrets
            .insert("KEY", b"first line\nsecond line")
            .expect("a small secret fits");
        let bytes = secrets.patterns().bytes();
        for _ in 0..2 * MASK_SECRETS_MAX {
            secrets
                .insert("AGAIN", b" second line ")
                .expect("a known secret fits always");
            secrets
                .insert("AGAIN", b"first line\nsecond line")
                .expect("a known secret fits always");
        }
        let again = secrets.patterns().bytes();
        assert_eq!(
            secrets.set.names,
            ["KEY", "AGAIN"],
            "the first time, its white space was new"
        );
        assert!(again < 3 * bytes, "{again} after {bytes}");
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

//! What caches are found by: a key, and the version that says which paths are in it. Owns their rules; must never look
//! at a path.
//!
//! Source: the rules and messages of `@actions/cache`.

use std::fmt;

use gantry_core::limits::CACHE_KEY_CHARS_MAX;
use serde::{Deserialize, Serialize};

use crate::digest;

/// Why a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("Key Validation Error: the key is empty")]
    Empty,
    /// It is too long.
    #[error("Key Validation Error: {0} cannot be larger than {CACHE_KEY_CHARS_MAX} characters.")]
    Long(String),
    /// It would be read as two.
    #[error("Key Validation Error: {0} cannot contain commas.")]
    Comma(String),
}

/// The key of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheKey(String);

impl CacheKey {
    /// Checks a key.
    ///
    /// Errors: [`KeyError`].
    pub fn parse(key: &str) -> Result<Self, KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.chars().count() > CACHE_KEY_CHARS_MAX {
            return Err(KeyError::Long(key.to_owned()));
        }
        if key.contains(',') {
            return Err(KeyError::Comma(key.to_owned()));
        }
        Ok(Self(key.to_owned()))
    }

    /// Returns the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says which paths a cache is of: an entry is found only by who asks for the same ones, written the same way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheVersion(String);

/// Part of every version: a new form of the archive must not be read by an older gantry.
const FORM: &str = "gantry-tar-zst-1";

impl CacheVersion {
    /// Makes the version of a `path` input.
    #[must_use]
    pub fn of_paths(paths: &str) -> Self {
        let lines: Vec<&str> = paths
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Self(digest::of_bytes(format!("{}|{FORM}", lines.join("|")).as_bytes()))
    }

    /// Returns its digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_single() {
        assert_eq!(CacheKey::parse(""), Err(KeyError::Empty));
        assert!(matches!(CacheKey::parse("a,b"), Err(KeyError::Comma(_))));
        assert!(CacheKey::parse(&"ü".repeat(512)).is_ok());
        assert!(matches!(
            CacheKey::parse(&"a".repeat(513)),
            Err(KeyError::Long(_))
        ));
    }

    #[test]
    fn a_version_is_its_paths_in_their_order() {
        let version = CacheVersion::of_paths("a\nb");
        assert_eq!(version, CacheVersion::of_paths(" a \n\nb\n"));
        assert_ne!(version, CacheVersion::of_paths("b\na"));
        assert_ne!(version, CacheVersion::of_paths("a"));
    }
}

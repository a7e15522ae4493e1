//! Typed identifiers. Numbers carry a letter when shown (`C7`, `B12`), so that no two kinds can be mixed up
//! by a person or by the compiler; Git object names are 20 bytes, shown as 40 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text is not the letter of this kind followed by a number.
    #[error("{text:?} is not {kind}: write {example}")]
    Shape {
        /// What was given.
        text: String,
        /// What kind was wanted.
        kind: &'static str,
        /// A text that would do.
        example: &'static str,
    },
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $kind:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Makes the identifier from its number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Returns the number without its letter.
            #[must_use]
            pub const fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError::Shape { text: text.to_owned(), kind: $kind, example: $example };
                let digits = text
                    .strip_prefix($letter)
                    .or_else(|| text.strip_prefix(&$letter.to_ascii_lowercase()))
                    .unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(wrong());
                }
                digits.parse().map(Self).map_err(|_| wrong())
            }
        }
    };
}

numbered!(
    /// A change offered for landing, shown as `C7`. Numbers are never used twice in a factory.
    ChangeId, "C", "a change", "C7"
);
numbered!(
    /// One check run of a candidate, shown as `B12`.
    BuildId, "B", "a build", "B12"
);
numbered!(
    /// A repository and its target, shown as `R1`.
    RepositoryId, "R", "a repository", "R1"
);

macro_rules! object {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 20]);

        impl $name {
            /// Makes the name from its 20 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }

            /// Returns the 20 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }

            /// Returns the first ten hexadecimal digits, for people.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string()[..10].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError::Shape {
                    text: text.to_owned(),
                    kind: $kind,
                    example: "40 hexadecimal digits",
                };
                if text.len() != 40 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                let mut bytes = [0; 20];
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

object!(
    /// The name of a Git commit.
    CommitId, "a commit"
);
object!(
    /// The name of a Git tree: equal names mean equal content, byte for byte.
    TreeId, "a tree"
);

/// A branch, without `refs/heads/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchName(String);

/// Why a text cannot name a branch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot name a branch: {why}")]
pub struct BadBranchName {
    /// What was given.
    pub name: String,
    /// The rule it breaks.
    pub why: &'static str,
}

impl BranchName {
    /// Checks a name by Git's own rules.
    ///
    /// Errors: [`BadBranchName`] with the rule that is broken. Source: git-check-ref-format(1).
    pub fn parse(name: &str) -> Result<Self, BadBranchName> {
        let name = name.strip_prefix("refs/heads/").unwrap_or(name);
        let why = if name.is_empty() {
            Some("it is empty")
        } else if name.len() > 512 {
            Some("it is longer than 512 bytes")
        } else if name.starts_with('-') {
            Some("it starts with a dash")
        } else if name.bytes().any(|b| b < 0x20 || b == 0x7f) {
            Some("it holds a control character")
        } else if name.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) {
            Some("it holds one of: space ~ ^ : ? * [ \\")
        } else if name.contains("..") || name.contains("@{") || name == "@" {
            Some("it holds `..` or `@{`, or is `@`")
        } else if name.starts_with('/') || name.ends_with('/') || name.contains("//") {
            Some("it has an empty part between slashes")
        } else if name.ends_with('.') {
            Some("it ends with a dot")
        } else if name
            .split('/')
            .any(|part| part.starts_with('.') || part.ends_with(".lock"))
        {
            Some("one of its parts starts with a dot or ends with .lock")
        } else {
            None
        };
        match why {
            Some(why) => Err(BadBranchName {
                name: name.to_owned(),
                why,
            }),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// Returns the name without `refs/heads/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the whole ref, `refs/heads/<name>`.
    #[must_use]
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BranchName {
    type Err = BadBranchName;
    fn from_str(text: &str) -> Result<Self, BadBranchName> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_back_as_they_are_shown() {
        assert_eq!("C7".parse(), Ok(ChangeId::new(7)));
        assert_eq!("c7".parse(), Ok(ChangeId::new(7)));
        assert_eq!("7".parse(), Ok(ChangeId::new(7)));
        assert_eq!(BuildId::new(12).to_string(), "B12");
        assert!("B7".parse::<ChangeId>().is_err());
        assert!("C".parse::<ChangeId>().is_err());
        assert!("C-1".parse::<ChangeId>().is_err());
        let hex = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(hex.parse::<CommitId>().expect("40 digits").to_string(), hex);
        assert!(
            "é123456789abcdef0123456789abcdef0123456"
                .parse::<CommitId>()
                .is_err()
        );
    }

    #[test]
    fn branch_names_follow_gits_rules() {
        for good in ["main", "feature/a-b", "quo\"te", "ünï", "refs/heads/x"] {
            assert!(BranchName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "-x", "a..b", "a\nb", "a b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "@", "a@{b", "a.",
        ] {
            assert!(BranchName::parse(bad).is_err(), "{bad:?}");
        }
    }
}

//! What artifacts and the files in them may be called. Owns the forbidden characters; must never rename anything.
//!
//! Source: the rules and messages of `@actions/artifact`, version 2.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of an artifact, in bytes: what a file system takes for one name.
const NAME_BYTES_MAX: usize = 255;

/// Characters that neither a name nor a path may hold, and what they are called.
const FORBIDDEN: &[(char, &str)] = &[
    ('"', " Double quote \""),
    (':', " Colon :"),
    ('<', " Less than <"),
    ('>', " Greater than >"),
    ('|', " Vertical bar |"),
    ('*', " Asterisk *"),
    ('?', " Question mark ?"),
    ('\r', " Carriage return \\r"),
    ('\n', " Line feed \\n"),
];

/// Characters that a name may not hold in addition.
const FORBIDDEN_IN_NAME: &[(char, &str)] = &[('\\', " Backslash \\"), ('/', " Forward slash /")];

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is none.
    #[error("Provided artifact name input during validation is empty")]
    Empty,
    /// It is too long.
    #[error("the artifact name {name} is longer than {NAME_BYTES_MAX} bytes")]
    Long {
        /// The name.
        name: String,
    },
    /// It means a directory itself.
    #[error("The artifact name is not valid: {name}. It is the name of a directory itself")]
    Dots {
        /// The name.
        name: String,
    },
    /// A character of the name.
    #[error(
        "The artifact name is not valid: {name}. Contains the following character: {character}\n\nInvalid characters include: {list}\n\nThese characters are not allowed in the artifact name due to limitations with certain file systems such as NTFS. To maintain file system agnostic behavior, these characters are intentionally not allowed to prevent potential problems with downloads on different file systems."
    )]
    Character {
        /// The name.
        name: String,
        /// What it is called.
        character: &'static str,
        /// All that are forbidden.
        list: String,
    },
    /// A character of a file's path.
    #[error(
        "The path for one of the files in artifact is not valid: {path}. Contains the following character: {character}\n\nInvalid characters include: {list}"
    )]
    PathCharacter {
        /// The path.
        path: String,
        /// What it is called.
        character: &'static str,
        /// All that are forbidden.
        list: String,
    },
    /// A file's path that leads out of the artifact, or is none.
    #[error("The path for one of the files in artifact is not valid: {path}. It {why}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

fn list(of: &[&[(char, &'static str)]]) -> String {
    of.iter()
        .flat_map(|part| part.iter())
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .join(",")
}

/// The name of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactName(String);

impl ArtifactName {
    /// Checks a name.
    ///
    /// Errors: [`NameError`].
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let own = || name.to_owned();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let parts = [FORBIDDEN, FORBIDDEN_IN_NAME];
        if let Some((_, character)) = parts
            .iter()
            .flat_map(|part| part.iter())
            .find(|(c, _)| name.contains(*c))
        {
            return Err(NameError::Character {
                name: own(),
                character,
                list: list(&parts),
            });
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::Long { name: own() });
        }
        // A download makes a directory of this name (CVE-2024-42471 is what becomes of one that leads elsewhere).
        if name == "." || name == ".." || name.contains('\0') {
            return Err(NameError::Dots { name: own() });
        }
        Ok(Self(own()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ArtifactName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<ArtifactName> for String {
    fn from(name: ArtifactName) -> Self {
        name.0
    }
}

/// Checks the path of a file in an artifact: relative, with slashes, and nowhere but below where it is unpacked.
///
/// Errors: [`NameError`].
pub(super) fn check_path(path: &str) -> Result<(), NameError> {
    let own = || path.to_owned();
    if let Some((_, character)) = FORBIDDEN.iter().find(|(c, _)| path.contains(*c)) {
        return Err(NameError::PathCharacter {
            path: own(),
            character,
            list: list(&[FORBIDDEN]),
        });
    }
    let why = if path.is_empty() {
        "is empty"
    } else if path.starts_with('/') {
        "is absolute"
    } else if path.contains('\\') {
        "holds a backslash, which is a separator elsewhere"
    } else if path.contains('\0') {
        "holds a zero byte"
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "holds an empty, '.' or '..' part"
    } else {
        return Ok(());
    };
    Err(NameError::Path { path: own(), why })
}

/// Says whether a name is what a `pattern` input means: `*`, `?`, `[…]` and `{a,b}`, as minimatch has them.
#[must_use]
pub fn matches_name(pattern: &str, name: &ArtifactName) -> bool {
    let (pattern, negated) = match pattern.strip_prefix('!') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    braces(pattern)
        .iter()
        .any(|one| crate::files::name_matches(one, name.as_str()))
        != negated
}

/// The most alternatives a pattern's braces may mean; what is beyond them means nothing.
const ALTERNATIVES_MAX: usize = 1_000;

/// Writes a pattern's `{a,b}` out.
fn braces(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(next) = open.pop() {
        match inner_braces(&next) {
            Some((begin, end)) if done.len() + open.len() < ALTERNATIVES_MAX => {
                let choices: Vec<&str> = next[begin + 1..end].split(',').collect();
                open.extend(
                    choices
                        .iter()
                        .map(|choice| format!("{}{choice}{}", &next[..begin], &next[end + 1..])),
                );
            }
            Some(_) => {}
            None => done.push(next),
        }
    }
    done
}

/// Returns where the innermost braces with a comma are.
fn inner_braces(pattern: &str) -> Option<(usize, usize)> {
    let mut begin = None;
    for (at, c) in pattern.char_indices() {
        match c {
            '{' => begin = Some(at),
            '}' => match begin.take() {
                Some(from) if pattern[from..at].contains(',') => return Some((from, at)),
                _ => {}
            },
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_some_file_system_does_not_take_is_refused() {
        for name in [
            "a/b", "a\\b", "a:b", "a\"b", "a<b", "a>b", "a|b", "a*b", "a?b", "a\rb", "a\nb",
        ] {
            assert!(
                matches!(ArtifactName::parse(name), Err(NameError::Character { .. })),
                "{name:?}"
            );
        }
        assert_eq!(ArtifactName::parse(""), Err(NameError::Empty));
        for name in [".", "..", "a\0b"] {
            assert!(
                matches!(ArtifactName::parse(name), Err(NameError::Dots { .. })),
                "{name:?}"
            );
        }
        assert!(matches!(
            ArtifactName::parse(&"a".repeat(256)),
            Err(NameError::Long { .. })
        ));
        for name in ["a", "a b", "…", "...", "a.zip"] {
            assert!(ArtifactName::parse(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn the_message_is_the_official_one() {
        let text = ArtifactName::parse("a/b").expect_err("it is refused").to_string();
        let begin = "The artifact name is not valid: a/b. Contains the following character:  Forward slash /\n\nInvalid characters include:  Double quote \", Colon :";
        assert!(text.starts_with(begin), "{text}");
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for path in [
            "",
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "a/.",
            "a\\..\\b",
            "a\0b",
            "c:x",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        for path in ["a", "a/b", ".a", "..a", "a/...", "ü"] {
            assert!(check_path(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn patterns_choose_among_names() {
        let check =
            |pattern: &str, name: &str| matches_name(pattern, &ArtifactName::parse(name).expect("a name"));
        assert!(check("*", "a") && check("a-*", "a-1") && check("{a,b}-?", "b-1") && check("!a", "b"));
        assert!(check("{a,b{c,d}}", "bd") && check("[ab]x", "ax"));
        assert!(!check("a-*", "b-1") && !check("{a,b}", "c") && !check("!a", "a") && !check("*", ".a"));
    }
}

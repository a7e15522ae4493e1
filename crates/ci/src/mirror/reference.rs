//! What `uses:` says of a remote action. Owns its form; must never let a part of it be a path that leads elsewhere.

use std::fmt;

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no remote action: {why}; write owner/name@ref or owner/name/path@ref")]
pub struct RefError {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

/// A remote action.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionRef {
    /// Whose it is, in small letters.
    pub owner: String,
    /// The repository, in small letters.
    pub name: String,
    /// The directory in it; empty for its root.
    pub path: String,
    /// A branch, tag or commit.
    pub version: String,
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl ActionRef {
    /// Reads `owner/name[/path]@ref`.
    ///
    /// Errors: [`RefError`].
    pub fn parse(text: &str) -> Result<Self, RefError> {
        let wrong = |why| RefError {
            text: text.to_owned(),
            why,
        };
        let (place, version) = text.split_once('@').ok_or_else(|| wrong("it names no ref"))?;
        let mut parts = place.split('/');
        let owner = parts
            .next()
            .filter(|part| is_name(part))
            .ok_or_else(|| wrong("it names no owner"))?;
        let name = parts
            .next()
            .filter(|part| is_name(part))
            .ok_or_else(|| wrong("it names no repository"))?;
        let path: Vec<&str> = parts.collect();
        let leads_out =
            |part: &&str| part.is_empty() || matches!(*part, "." | "..") || part.contains(['\\', '\0']);
        if path.iter().any(leads_out) {
            return Err(wrong("its path leads elsewhere"));
        }
        if version.is_empty()
            || version
                .bytes()
                .any(|byte| byte.is_ascii_control() || byte == b' ')
        {
            return Err(wrong("its ref is empty or holds a space"));
        }
        Ok(Self {
            owner: owner.to_lowercase(),
            name: name.to_lowercase(),
            path: path.join("/"),
            version: version.to_owned(),
        })
    }

    /// Returns the same without the path: what is mirrored is a repository.
    #[must_use]
    pub fn repository(&self) -> Self {
        Self {
            path: String::new(),
            ..self.clone()
        }
    }
}

impl fmt::Display for ActionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        write!(f, "@{}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_and_hostile_ones_are_refused() {
        let parsed = ActionRef::parse("Octo/Cat/sub/dir@v1/x").expect("it is one");
        assert_eq!(parsed.to_string(), "octo/cat/sub/dir@v1/x");
        assert_eq!(parsed.repository().to_string(), "octo/cat@v1/x");
        for text in [
            "a/b",
            "a@v1",
            "../b@v1",
            "a/..@v1",
            "a/b/../c@v1",
            "a/b//c@v1",
            "a/b@",
            "a/b@x y",
            "/a/b@v1",
            "a b/c@v1",
        ] {
            assert!(ActionRef::parse(text).is_err(), "{text}");
        }
    }
}

//! Names of images: `repository:tag`, with the registry in front where there is one. Owns which texts are names; a
//! digest is none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: it has to fit a file name with its separators escaped.
const NAME_BYTES_MAX: usize = 200;

/// A name of an image.
///
/// Shape: always with a tag; `latest` if the text has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

/// A text that is no name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name of an image: {why}; write for example factory:latest")]
pub struct NameError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl ImageName {
    /// Returns the whole name with its tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the tag.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.0
            .rsplit_once(':')
            .map_or(self.0.as_str(), |(repository, _)| repository)
    }

    /// Returns the tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.0.rsplit_once(':').map_or("latest", |(_, tag)| tag)
    }

    /// Returns the name of the file that holds it.
    pub(crate) fn file_name(&self) -> String {
        self.0.replace('/', "%2F")
    }

    pub(crate) fn from_file_name(name: &str) -> Result<Self, NameError> {
        name.replace("%2F", "/").parse()
    }
}

fn is_part(part: &str, more: &[u8]) -> bool {
    let bytes = part.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(|byte| plain(byte) || *byte == b'_')
        && bytes
            .iter()
            .all(|byte| plain(byte) || b"._-".contains(byte) || more.contains(byte))
}

impl FromStr for ImageName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |why| NameError {
            text: text.to_owned(),
            why,
        };
        if text.len() > NAME_BYTES_MAX {
            return Err(wrong("it is longer than 200 bytes"));
        }
        if text.contains('@') {
            return Err(wrong("a digest is not a part of it"));
        }
        let slash = text.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match text[slash..].rfind(':') {
            Some(colon) => (&text[..slash + colon], &text[slash + colon + 1..]),
            None => (text, "latest"),
        };
        if !is_part(tag, b"") {
            return Err(wrong("its tag has other characters than letters, digits, . _ -"));
        }
        for (index, part) in repository.split('/').enumerate() {
            // Only the registry in front may have a port.
            let more: &[u8] = if index == 0 && slash > 0 { b":" } else { b"" };
            if !is_part(part, more) {
                return Err(wrong("a part between its slashes is empty or has odd characters"));
            }
        }
        Ok(Self(format!("{repository}:{tag}")))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_tag_and_no_way_out_of_its_folder() {
        let check = |text: &str, name: Option<&str>| {
            let parsed = text.parse::<ImageName>().ok();
            assert_eq!(parsed.as_ref().map(ImageName::as_str), name, "{text}");
            if let Some(parsed) = parsed {
                assert_eq!(ImageName::from_file_name(&parsed.file_name()), Ok(parsed));
            }
        };
        check("factory", Some("factory:latest"));
        check("debian:12-slim", Some("debian:12-slim"));
        check("127.0.0.1:5000/a/b", Some("127.0.0.1:5000/a/b:latest"));
        check("localhost:5000/a:v1", Some("localhost:5000/a:v1"));
        for wrong in [
            "",
            ".",
            "..",
            "a/../b",
            "/a",
            "a/",
            "a:",
            "a b",
            "a@sha256:00",
            "a%2Fb",
            "a:b:c",
        ] {
            check(wrong, None);
        }
    }
}

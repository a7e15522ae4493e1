//! Keys: hashes that say whether something was built already. Owns their form; a change of it means that everything is
//! built once more, and nothing worse.

use std::io;
use std::path::Path;

use super::stages::Recipe;
use crate::digest::{Digest, Hashing};

/// Hashes parts so that no two lists of parts give the same bytes.
pub(crate) struct KeyHash(Hashing<io::Sink>);

impl KeyHash {
    pub(crate) fn new(kind: &str) -> Self {
        let mut hash = Self(Hashing::new(io::sink()));
        hash.part(b"gantry-image 1").part(kind.as_bytes());
        hash
    }

    pub(crate) fn part(&mut self, bytes: &[u8]) -> &mut Self {
        use io::Write;
        let length = (bytes.len() as u64).to_le_bytes();
        for bytes in [&length[..], bytes] {
            self.0.write_all(bytes).expect("a sink takes everything");
        }
        self
    }

    pub(crate) fn parts<'a>(&mut self, parts: impl IntoIterator<Item = &'a str>) -> &mut Self {
        let parts: Vec<&str> = parts.into_iter().collect();
        self.part(&(parts.len() as u64).to_le_bytes());
        for part in parts {
            self.part(part.as_bytes());
        }
        self
    }

    pub(crate) fn finish(self) -> Digest {
        self.0.finish().0
    }
}

/// Returns the key of a recipe: its steps, and the content of its key files as `read` gives it.
///
/// Shape: 64 hexadecimal digits. A key file that is not there (`NotFound`) is a part of the key as such.
/// Errors: what `read` fails with otherwise.
pub fn recipe_key(recipe: &Recipe, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> io::Result<String> {
    let mut hash = KeyHash::new("recipe");
    let texts = recipe.step_texts();
    hash.parts(texts.iter().map(String::as_str));
    for (name, default) in &recipe.arguments {
        hash.part(name.as_bytes())
            .part(default.as_deref().unwrap_or("").as_bytes());
    }
    for file in &recipe.key_files {
        hash.part(file.as_bytes());
        match read(Path::new(file)) {
            Ok(bytes) => hash.part(b"present").part(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => hash.part(b"missing"),
            Err(error) => return Err(error),
        };
    }
    Ok(hash.finish().hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::ImageSection;

    #[test]
    fn the_key_changes_with_everything_that_matters() {
        let key = |text: &str, content: Option<&str>| {
            let section =
                ImageSection::parse(&toml::Value::Table(text.parse().expect("TOML"))).expect("a table");
            let read = |_: &Path| {
                content
                    .map(|text| text.as_bytes().to_vec())
                    .ok_or(io::ErrorKind::NotFound.into())
            };
            recipe_key(&section.recipe(), &read).expect("a key")
        };
        let texts = [
            "setup = ['a']",
            "setup = ['b']",
            "setup = ['a', 'b']",
            "base = 'x'\nsetup = ['a']",
        ];
        let mut keys: Vec<String> = texts.iter().map(|text| key(text, None)).collect();
        for content in [None, Some(""), Some("1"), Some("2")] {
            keys.push(key("setup = ['a']\nkey = ['lock']", content));
        }
        let distinct: std::collections::HashSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(key(texts[0], None), key(texts[0], Some("not asked for")));
    }

    #[test]
    fn a_key_file_that_cannot_be_read_gives_no_key() {
        let section = ImageSection {
            base: "x".into(),
            packages: vec![],
            setup: vec![],
            key: vec!["f".into()],
        };
        let read = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        assert!(recipe_key(&section.recipe(), &read).is_err());
    }
}

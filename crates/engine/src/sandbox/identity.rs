//! What a result of a check depends on beside its tree and its gate: the factory's profiles and the images. Owns the name
//! under which results are kept.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// How many digits of the digest are in the name.
const DIGITS: usize = 16;

/// Names the boxes of a factory as they are now; asked whenever a result is kept or looked for.
#[derive(Clone)]
pub struct Identity(Arc<dyn Fn() -> String + Send + Sync>);

impl Identity {
    /// Asks `name` each time.
    pub fn new(name: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(name))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> String {
        (self.0)()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.name()).finish()
    }
}

/// Names boxes by what decides about them: the text of `gantry.toml`, and each image's name with its digest.
///
/// Shape: `native:host` for a factory with neither; otherwise that and a digest that changes with any of them.
#[must_use]
pub fn name_of_boxes(file: &[u8], images: &[(String, String)]) -> String {
    if file.is_empty() && images.is_empty() {
        return "native:host".to_owned();
    }
    let mut hash = Sha256::new();
    hash.update((file.len() as u64).to_le_bytes());
    hash.update(file);
    for (name, digest) in images {
        for text in [name, digest] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("native:host+{}", &digest[..DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_profile_or_another_image_of_the_same_name_is_another_box() {
        let image = |digest: &str| vec![("acme".to_owned(), digest.to_owned())];
        let names = [
            name_of_boxes(b"", &[]),
            name_of_boxes(b"[profile.ci]\n", &[]),
            name_of_boxes(b"[profile.ci]\nmemory = '1GiB'\n", &[]),
            name_of_boxes(b"", &image("sha256:1")),
            name_of_boxes(b"", &image("sha256:2")),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{names:?}");
        }
        assert_eq!(names[0], "native:host");
        assert_eq!(name_of_boxes(b"", &image("sha256:1")), names[3]);
    }
}

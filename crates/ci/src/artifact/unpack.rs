//! Reads an artifact's zip file. Owns what is refused in one: paths that lead out, doubled names, links, more than the
//! bounds, other bytes than were kept.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gantry_core::limits::{ARTIFACT_BYTES_MAX, ARTIFACT_FILES_MAX};
use zip::ZipArchive;

use super::name::{NameError, check_path};
use super::store::Artifact;
use crate::digest;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Why an artifact is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be read.
    #[error("cannot read the artifact {name}")]
    Read {
        /// Its name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not what was kept.
    #[error("the artifact {name} has the digest {found}, not {wanted}: it was changed after it was kept")]
    Changed {
        /// Its name.
        name: String,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
    /// A path in it.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something in it that no upload makes.
    #[error("the artifact {name} holds {path}, which {why}; it is not unpacked")]
    Content {
        /// Its name.
        name: String,
        /// The path in it.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// There is more in it than allowed.
    #[error("the artifact {name} holds more than {ARTIFACT_FILES_MAX} files or {ARTIFACT_BYTES_MAX} bytes")]
    TooLarge {
        /// Its name.
        name: String,
    },
    /// Whoever takes the files gave up.
    #[error("cannot take {path} out of the artifact")]
    Take {
        /// The path in it.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Stops at a bound, whatever the zip file says of its own sizes.
struct Bounded<'a, R> {
    from: R,
    left: &'a mut u64,
    passed: &'a mut bool,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => *self.left = left,
            None => {
                *self.passed = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(count)
    }
}

/// Shows every file of an artifact, after all names were checked: nothing is handed on of one that is refused for a
/// name.
///
/// Errors: [`UnpackError`].
pub fn unpack(
    zip: &Path,
    artifact: &Artifact,
    take: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> Result<Unpacked, UnpackError> {
    let name = || artifact.name.to_string();
    let read = |source| UnpackError::Read { name: name(), source };
    let (found, _) = digest::of_file(zip).map_err(read)?;
    if found != artifact.digest {
        return Err(UnpackError::Changed {
            name: name(),
            found,
            wanted: artifact.digest.clone(),
        });
    }
    unpack_unverified(zip, &artifact.name.to_string(), ARTIFACT_BYTES_MAX, take)
}

fn unpack_unverified(
    zip: &Path,
    name: &str,
    bytes_max: u64,
    take: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> Result<Unpacked, UnpackError> {
    let read = |source: io::Error| UnpackError::Read {
        name: name.to_owned(),
        source,
    };
    let mut archive = File::open(zip)
        .and_then(|file| ZipArchive::new(file).map_err(io::Error::from))
        .map_err(read)?;
    check_names(&mut archive, name)?;
    let mut unpacked = Unpacked::default();
    let mut left = bytes_max;
    let mut passed = false;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| read(error.into()))?;
        if entry.is_dir() {
            continue;
        }
        let path = entry.name().map_err(|error| read(error.into()))?.into_owned();
        let before = left;
        let mut bounded = Bounded {
            from: entry,
            left: &mut left,
            passed: &mut passed,
        };
        let taken = take(&path, &mut bounded);
        if passed {
            return Err(UnpackError::TooLarge {
                name: name.to_owned(),
            });
        }
        taken.map_err(|source| UnpackError::Take { path, source })?;
        unpacked.files += 1;
        unpacked.bytes += before - left;
    }
    Ok(unpacked)
}

fn check_names(archive: &mut ZipArchive<File>, name: &str) -> Result<(), UnpackError> {
    if archive.len() > ARTIFACT_FILES_MAX {
        return Err(UnpackError::TooLarge {
            name: name.to_owned(),
        });
    }
    let mut seen = HashSet::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| UnpackError::Read {
            name: name.to_owned(),
            source: error.into(),
        })?;
        let path = match entry.name() {
            Ok(path) => path.into_owned(),
            Err(error) => {
                let (name, source) = (name.to_owned(), error.into());
                return Err(UnpackError::Read { name, source });
            }
        };
        let wrong = |why| UnpackError::Content {
            name: name.to_owned(),
            path: path.clone(),
            why,
        };
        check_path(path.strip_suffix('/').unwrap_or(&path))?;
        if std::str::from_utf8(entry.name_raw()).is_err() {
            return Err(wrong("has a name that is not UTF-8"));
        }
        if entry
            .unix_mode()
            .is_some_and(|mode| mode & 0o170_000 == 0o120_000)
        {
            return Err(wrong("is a link"));
        }
        if entry.encrypted() {
            return Err(wrong("is encrypted"));
        }
        if !entry.is_dir() && !seen.insert(path.clone()) {
            return Err(wrong("is there twice"));
        }
    }
    // A file whose path is also a directory of another file would be written through.
    for path in &seen {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        if let Some(parent) = parents.into_iter().find(|parent| seen.contains(*parent)) {
            return Err(UnpackError::Content {
                name: name.to_owned(),
                path: parent.to_owned(),
                why: "is a file and a directory",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn make(fill: impl Fn(&mut ZipWriter<File>)) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.zip");
        let mut zip = ZipWriter::new(File::create(&path).expect("made"));
        fill(&mut zip);
        zip.finish().expect("finished");
        (folder, path)
    }

    fn read(path: &Path, bytes_max: u64) -> (Result<Unpacked, UnpackError>, Vec<String>) {
        let mut taken = Vec::new();
        let result = unpack_unverified(path, "a", bytes_max, &mut |path, content| {
            taken.push(path.to_owned());
            io::copy(content, &mut io::sink()).map(|_| ())
        });
        (result, taken)
    }

    #[test]
    fn names_that_lead_out_are_refused_before_anything_is_taken() {
        for name in ["../x", "/etc/x", "a/../../x", "..\\x", "a/./b", "c:x"] {
            let (_folder, path) = make(|zip| {
                zip.start_file("fine", SimpleFileOptions::default())
                    .expect("begun");
                zip.start_file(name, SimpleFileOptions::default()).expect("begun");
            });
            let (result, taken) = read(&path, 1000);
            assert!(matches!(result, Err(UnpackError::Name(_))), "{name}: {result:?}");
            assert!(taken.is_empty(), "{name}");
        }
    }

    #[test]
    fn links_and_files_that_are_directories_are_refused() {
        let (_folder, path) = make(|zip| {
            zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default())
                .expect("added");
        });
        assert!(matches!(
            read(&path, 1000).0,
            Err(UnpackError::Content { why: "is a link", .. })
        ));
        let (_folder, path) = make(|zip| {
            zip.start_file("a", SimpleFileOptions::default()).expect("begun");
            zip.start_file("a/b", SimpleFileOptions::default())
                .expect("begun");
        });
        assert!(matches!(read(&path, 1000).0, Err(UnpackError::Content { .. })));
    }

    #[test]
    fn an_archive_that_grows_past_the_bound_is_stopped() {
        let (_folder, path) = make(|zip| {
            zip.start_file("zeros", SimpleFileOptions::default())
                .expect("begun");
            zip.write_all(&[0; 2000]).expect("written");
        });
        assert!(matches!(read(&path, 1000).0, Err(UnpackError::TooLarge { .. })));
        assert_eq!(
            read(&path, 2000).0.expect("it fits"),
            Unpacked {
                files: 1,
                bytes: 2000
            }
        );
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused() {
        let (_folder, path) = make(|zip| {
            zip.start_file("a", SimpleFileOptions::default()).expect("begun");
            zip.write_all(b"content").expect("written");
        });
        let bytes = std::fs::read(&path).expect("read");
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).expect("written");
            assert!(read(&path, 1000).0.is_err(), "{length}");
        }
    }
}

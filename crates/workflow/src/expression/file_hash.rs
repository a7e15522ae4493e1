//! The hash of `hashFiles()`. Owns how the hashes of files become one; reads files only through its caller.

use std::fmt::Write as _;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::file_pattern::{FilePatternError, FilePatterns};
use super::scope::FileHashRequest;

/// The files of a workspace, for [`hash_files`].
pub trait WorkspaceFiles {
    /// Lists the files that may be meant; [`FilePatterns::may_match_below`] says which folders to look into.
    ///
    /// Shape: paths relative to the workspace, with `/`, in any order; no folders, nor links to folders. A link to
    /// a file is a file. Only with `follow_symbolic_links` are links to folders looked into, each folder once on
    /// a way. Errors: a folder that cannot be read.
    fn list(&self, patterns: &FilePatterns, follow_symbolic_links: bool) -> io::Result<Vec<String>>;

    /// Opens a file that was listed.
    ///
    /// Errors: a file that cannot be read.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// Why files have no hash.
#[derive(Debug, thiserror::Error)]
pub enum FileHashError {
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] FilePatternError),
    /// The workspace cannot be listed.
    #[error("the files of '{workspace}' cannot be listed")]
    List {
        /// The workspace.
        workspace: String,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("'{path}' cannot be read")]
    Read {
        /// The file, relative to the workspace.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// How much of a file is in memory at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Hashes the files that a request names: the SHA-256 of their SHA-256s in order, empty if there are none.
///
/// Shape: `workspace` is an absolute path with `/`; the answer is 64 small hexadecimal digits or nothing.
/// Errors: see [`FileHashError`]. Source: `src/Misc/expressionFunc/hashFiles` of actions/runner.
pub fn hash_files(
    request: &FileHashRequest,
    workspace: &str,
    files: &(impl WorkspaceFiles + ?Sized),
) -> Result<String, FileHashError> {
    let patterns = FilePatterns::parse(&request.patterns, workspace)?;
    let listed = files.list(&patterns, request.follow_symbolic_links);
    let listed = listed.map_err(|source| FileHashError::List {
        workspace: workspace.to_owned(),
        source,
    })?;
    let meant = patterns.select(listed);
    if meant.is_empty() {
        return Ok(String::new());
    }
    let mut whole = Sha256::new();
    for path in meant {
        let hash = files.open(&path).and_then(|mut reader| hash_file(&mut reader));
        whole.update(hash.map_err(|source| FileHashError::Read { path, source })?);
    }
    let mut hex = String::with_capacity(64);
    for byte in whole.finalize() {
        write!(hex, "{byte:02x}").expect("a String takes all that is written to it");
    }
    Ok(hex)
}

fn hash_file(reader: &mut dyn Read) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct Files(HashMap<&'static str, &'static [u8]>);

    impl WorkspaceFiles for Files {
        fn list(&self, _: &FilePatterns, _: bool) -> io::Result<Vec<String>> {
            Ok(self
                .0
                .keys()
                .map(|path| (*path).to_owned())
                .chain(["gone".to_owned()])
                .collect())
        }

        fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
            match self.0.get(path) {
                Some(bytes) => Ok(Box::new(*bytes)),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn hash(patterns: &[&str]) -> Result<String, FileHashError> {
        let request = FileHashRequest {
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            follow_symbolic_links: false,
        };
        let files = Files(HashMap::from([("a", &b"hello\n"[..]), ("b/c", &b""[..])]));
        hash_files(&request, "/w", &files)
    }

    #[test]
    fn the_hash_is_that_of_the_hashes_in_order() {
        // sha256sum a | cut -c-64 | xxd -r -p | sha256sum
        assert_eq!(
            hash(&["a"]).unwrap(),
            "ecb65bb98f9d905b70458986c39fcbad7715e5f2fcc3b1f07767d7c83e2438cc"
        );
        // The same with both hashes, one after the other.
        assert_eq!(
            hash(&["a", "b/**"]).unwrap(),
            "38c5ca80a58ce6f351ca1c826a1618b9c9f0052e2887d2e80f2e2f0b2d56042e"
        );
        assert_eq!(
            hash(&["b/**", "a"]).unwrap(),
            "d07c559ff4ce6eb61fc9212d538eeb714038bdbbf928bfaefc9e75577d0532f4"
        );
        assert_eq!(hash(&["x"]).unwrap(), "");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        assert_eq!(hash(&["gone"]).unwrap_err().to_string(), "'gone' cannot be read");
    }
}

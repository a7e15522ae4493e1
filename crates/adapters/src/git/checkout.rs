//! A commit's files in a fresh directory, and a Git directory of its own beside them. Owns writing both from
//! objects, byte for byte; must never run a filter or a hook, and never write outside the directory: every
//! directory it enters was made by itself, and every file is made where none was.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_core::id::CommitId;
use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use gix::objs::tree::EntryKind;

use super::repository::object_id;
use super::split_index::{SPLIT_BYTES_MIN, shared_name};
use super::{GitError, GitRepository};

/// Why a commit is not in its directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    /// The tree names a file that no file system takes or that would leave the directory.
    #[error("the tree cannot be checked out: {path:?} {why}")]
    Refused {
        /// The path in the tree.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The repository cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("the checkout was stopped")]
    Stopped,
}

impl GitRepository {
    /// Returns every directory objects are read from: the repository's own, then its alternates.
    pub(crate) fn object_directories(&self) -> Result<Vec<PathBuf>, GitError> {
        let store = self.inner.objects.store_ref();
        let mut directories = vec![store.path().to_owned()];
        let alternates = store
            .alternate_db_paths()
            .map_err(|source| self.storage("read the alternates".to_owned(), source))?;
        directories.extend(alternates);
        Ok(directories)
    }

    /// Writes the files of a commit into `directory`, which must be empty.
    ///
    /// Regular files, executables and symbolic links are as in the tree; a submodule is an empty directory.
    /// `stop` is asked between files.
    ///
    /// Errors: [`CheckoutError`].
    pub(crate) fn check_out(
        &self,
        commit: CommitId,
        directory: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), CheckoutError> {
        let root = self.commit(object_id(commit))?.tree;
        let mut trees = vec![(root, Vec::new())];
        while let Some((id, prefix)) = trees.pop() {
            let tree = self
                .inner
                .find_tree(id)
                .map_err(|source| self.object_trouble("tree", id, Some(source)))?;
            for entry in tree.iter() {
                if stop() {
                    return Err(CheckoutError::Stopped);
                }
                let entry = entry.map_err(|source| self.object_trouble("tree", id, Some(source)))?;
                let path = join(&prefix, entry.filename())?;
                let at = directory.join(path.to_path_lossy());
                match entry.mode().kind() {
                    EntryKind::Tree => {
                        make_directory(&at, &path)?;
                        trees.push((entry.object_id(), path));
                    }
                    EntryKind::Commit => make_directory(&at, &path)?,
                    EntryKind::Blob => self.write_file(entry.object_id(), &at, &path, 0o644)?,
                    EntryKind::BlobExecutable => self.write_file(entry.object_id(), &at, &path, 0o755)?,
                    EntryKind::Link => self.write_link(entry.object_id(), &at, &path)?,
                }
            }
        }
        Ok(())
    }

    /// Makes `directory/.git`: HEAD at the commit, the repository's tags, an index that matches the files, and
    /// objects borrowed from the directories `objects` names as the box will see them. Nothing of the
    /// repository's configuration or hooks is in it.
    ///
    /// Errors: [`CheckoutError`].
    pub(crate) fn write_git_directory(
        &self,
        commit: CommitId,
        directory: &Path,
        objects: &[PathBuf],
    ) -> Result<(), CheckoutError> {
        let git = directory.join(".git");
        for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
            let path = git.join(folder);
            fs::create_dir_all(&path).map_err(|source| write_error(&path, source))?;
        }
        let mut alternates = Vec::new();
        for path in objects {
            alternates.extend_from_slice(path.as_os_str().as_bytes());
            alternates.push(b'\n');
        }
        // The owner and the change time differ inside a user namespace; the files are the same.
        let config = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfilemode = true\n\tcheckStat = minimal\n\ttrustctime = false\n[gc]\n\tauto = 0\n";
        let shallow = self
            .inner
            .shallow_file()
            .map_err(|source| self.storage("find the shallow file".to_owned(), source))?;
        let shallow = fs::read(shallow).ok();
        let mut files = vec![
            ("HEAD", format!("{commit}\n").into_bytes()),
            ("config", config.as_bytes().to_vec()),
            ("objects/info/alternates", alternates),
            ("packed-refs", self.packed_tags()?),
        ];
        // A repository that is not shallow has no such file, and a box without it reads the same objects.
        files.extend(shallow.map(|bytes| ("shallow", bytes)));
        for (name, bytes) in files {
            let path = git.join(name);
            fs::write(&path, bytes).map_err(|source| write_error(&path, source))?;
        }
        self.write_index(commit, directory, &git.join("index"))
    }

    pub(super) fn packed_tags(&self) -> Result<Vec<u8>, GitError> {
        let trouble = |source| self.storage("list the tags".to_owned(), source);
        let platform = self.inner.references().map_err(trouble)?;
        let mut tags = Vec::new();
        for tag in platform.tags().map_err(trouble)? {
            // A tag that cannot be read is one the box does without.
            let Ok(tag) = tag else { continue };
            if let gix::refs::TargetRef::Object(id) = tag.target() {
                tags.extend_from_slice(format!("{} ", id.to_hex()).as_bytes());
                tags.extend_from_slice(tag.name().as_bstr());
                tags.push(b'\n');
            }
        }
        Ok(tags)
    }

    fn write_index(&self, commit: CommitId, directory: &Path, to: &Path) -> Result<(), CheckoutError> {
        let tree = self.commit(object_id(commit))?.tree;
        // Names that Git refuses on other systems are refused here only: without an index, `git status` calls
        // every file new, and nothing else changes.
        let Ok(mut index) = self.inner.index_from_tree(&tree) else {
            return Ok(());
        };
        for (entry, path) in index.entries_mut_with_paths() {
            let at = directory.join(path.to_path_lossy());
            let metadata = gix::index::fs::Metadata::from_path_no_follow(&at)
                .map_err(|source| write_error(&at, source))?;
            if let Ok(stat) = gix::index::entry::Stat::from_fs(&metadata) {
                entry.stat = stat;
            }
        }
        let mut bytes = Vec::new();
        index
            .write_to(&mut bytes, gix::index::write::Options::default())
            .map_err(|source| self.storage("write an index".to_owned(), source))?;
        let shared = shared_name(&bytes).filter(|_| bytes.len() as u64 >= SPLIT_BYTES_MIN);
        fs::write(to, bytes)
            .and_then(|()| age_index(to))
            // The same file under the name by which indexes that differ from it find it.
            .and_then(|()| match shared {
                Some(name) => fs::hard_link(to, to.with_file_name(name)),
                None => Ok(()),
            })
            .map_err(|source| write_error(to, source))
    }

    pub(super) fn write_file(
        &self,
        id: ObjectId,
        at: &Path,
        path: &[u8],
        mode: u32,
    ) -> Result<(), CheckoutError> {
        let bytes = self.file_bytes(id)?;
        let mut options = File::options();
        options.write(true).create_new(true).mode(mode);
        let mut file = options
            .open(at)
            .map_err(|source| refuse_or_fail(at, path, source))?;
        let write = |file: &mut File| {
            file.write_all(&bytes)?;
            // Whatever mask this process has, the tree's modes are the same everywhere.
            file.set_permissions(fs::Permissions::from_mode(mode))
        };
        write(&mut file).map_err(|source| write_error(at, source))
    }

    pub(super) fn write_link(&self, id: ObjectId, at: &Path, path: &[u8]) -> Result<(), CheckoutError> {
        let bytes = self.file_bytes(id)?;
        let refused = |why| {
            Err(CheckoutError::Refused {
                path: path.as_bstr().to_string(),
                why,
            })
        };
        if bytes.is_empty() || bytes.contains(&0) {
            return refused("is a symbolic link to nothing");
        }
        if bytes.len() >= LINK_BYTES_MAX {
            return refused("is a symbolic link that is too long");
        }
        std::os::unix::fs::symlink(bytes.as_bstr().to_path_lossy(), at)
            .map_err(|source| refuse_or_fail(at, path, source))
    }

    fn file_bytes(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        let blob = self
            .inner
            .find_blob(id)
            .map_err(|source| self.object_trouble("file", id, Some(source)))?;
        Ok(blob.detach().data)
    }
}

/// What Linux takes, `PATH_MAX`.
const LINK_BYTES_MAX: usize = 4096;

/// Returns the path of an entry, or refuses a name that is not one name of one file.
fn join(prefix: &[u8], name: &BStr) -> Result<Vec<u8>, CheckoutError> {
    let mut path = prefix.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    check_name(&path, name)?;
    Ok(path)
}

/// Refuses a name that is not one name of one file; `path` is where it stands.
pub(super) fn check_name(path: &[u8], name: &[u8]) -> Result<(), CheckoutError> {
    let why = if name.is_empty() {
        "has an empty name in it"
    } else if name == b"." || name == b".." {
        "would leave the directory"
    } else if name.contains(&b'/') || name.contains(&0) {
        "has a name with a slash or a zero byte in it"
    } else if name.eq_ignore_ascii_case(b".git") {
        "would replace Git's own directory"
    } else {
        return Ok(());
    };
    Err(CheckoutError::Refused {
        path: path.as_bstr().to_string(),
        why,
    })
}

/// How much younger an index is made than the files it knows.
const INDEX_AGE: Duration = Duration::from_secs(2);

/// Makes an index look younger than every file it knows. Git reads a file again whose time is not before the
/// index's own: it may have changed in the same instant. Nobody changes these.
pub(super) fn age_index(index: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(index)?;
    let written = file.metadata()?.modified()?;
    file.set_modified(written + INDEX_AGE)
}

pub(super) fn make_directory(at: &Path, path: &[u8]) -> Result<(), CheckoutError> {
    fs::DirBuilder::new()
        .mode(0o755)
        .create(at)
        .map_err(|source| refuse_or_fail(at, path, source))?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).map_err(|source| write_error(at, source))
}

/// Sorts what the tree itself is to blame for from what the host is.
pub(super) fn refuse_or_fail(at: &Path, path: &[u8], source: io::Error) -> CheckoutError {
    let why = match source.kind() {
        io::ErrorKind::AlreadyExists => "is in the tree twice",
        io::ErrorKind::InvalidFilename => "is too long for the file system",
        _ => return write_error(at, source),
    };
    CheckoutError::Refused {
        path: path.as_bstr().to_string(),
        why,
    }
}

pub(super) fn write_error(path: &Path, source: io::Error) -> CheckoutError {
    CheckoutError::Write {
        path: path.to_owned(),
        source,
    }
}

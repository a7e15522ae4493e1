//! One opened repository. Owns opening and reading commits and refs; must never write anything.

use std::path::{Path, PathBuf};

use gantry_core::id::{BranchName, CommitId, TreeId};
use gix::ObjectId;

use super::GitError;

/// A bare or non-bare repository whose objects and refs are used in process.
#[derive(Debug)]
pub struct GitRepository {
    pub(super) inner: gix::Repository,
}

impl GitRepository {
    /// Opens the repository at `path` with its own configuration only, so that hosts do not differ.
    ///
    /// Errors: [`GitError::Open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, GitError> {
        let path = path.into();
        let mut inner =
            gix::open_opts(&path, gix::open::Options::isolated()).map_err(|source| GitError::Open {
                path,
                source: Box::new(source),
            })?;
        inner.object_cache_size(OBJECT_CACHE_BYTES);
        Ok(Self { inner })
    }

    /// Returns the commit a branch is at, or `None` if there is no such branch.
    ///
    /// Errors: [`GitError::Ref`], [`GitError::Symbolic`].
    pub fn tip(&self, branch: &BranchName) -> Result<Option<CommitId>, GitError> {
        self.ref_target(&branch.full_ref())
    }

    /// Returns the tree of a commit.
    ///
    /// Errors: [`GitError::Object`].
    pub fn tree_of(&self, commit: CommitId) -> Result<TreeId, GitError> {
        Ok(tree_id(self.commit(object_id(commit))?.tree))
    }

    /// Tells whether `a` is reachable from `b`; a commit is its own ancestor.
    ///
    /// Errors: [`GitError::Object`] if either or a commit on the way is missing, [`GitError::Storage`].
    pub fn is_ancestor(&self, a: CommitId, b: CommitId) -> Result<bool, GitError> {
        let (a, b) = (object_id(a), object_id(b));
        self.commit(a)?;
        self.commit(b)?;
        let relation = super::history::Ancestry::default().relate(self, a, &[b])?;
        Ok(relation.bases.contains(&a))
    }

    pub(super) fn directory(&self) -> &Path {
        self.inner.git_dir()
    }

    /// Sorts a failure of Git's storage into a missing or corrupt object, and anything else.
    pub(super) fn storage(&self, doing: String, source: gix::Error) -> GitError {
        if let Some(id) = self.missing_object(&source) {
            return self.object_trouble("object", id, Some(source));
        }
        let repository = self.directory().to_owned();
        let source = Box::new(source);
        if source.is_not_found() || source.is_corrupted() {
            return GitError::Object {
                what: "an object needed to",
                id: doing,
                repository,
                source: Some(source),
            };
        }
        GitError::Storage {
            doing,
            repository,
            source,
        }
    }

    /// Finds the object whose absence caused a failure: not every part of gix classifies it, all of them name it.
    fn missing_object(&self, source: &gix::Error) -> Option<ObjectId> {
        let texts: Vec<String> = source.iter_errors().map(ToString::to_string).collect();
        texts
            .iter()
            .flat_map(|text| text.split(|c: char| !c.is_ascii_hexdigit()))
            .filter_map(|word| ObjectId::from_hex(word.as_bytes()).ok())
            .find(|id| !self.inner.has_object(id))
    }

    pub(super) fn unrelated(&self, head: ObjectId, onto: ObjectId) -> GitError {
        GitError::Unrelated {
            head: head.to_string(),
            onto: onto.to_string(),
            repository: self.directory().to_owned(),
        }
    }

    pub(super) fn object_trouble(
        &self,
        what: &'static str,
        id: ObjectId,
        source: Option<gix::Error>,
    ) -> GitError {
        GitError::Object {
            what,
            id: id.to_string(),
            repository: self.directory().to_owned(),
            source: source.map(Box::new),
        }
    }

    /// Reads one commit and splits it into the parts a replay needs.
    pub(super) fn commit(&self, id: ObjectId) -> Result<Parts, GitError> {
        let commit = self
            .inner
            .find_commit(id)
            .map_err(|source| self.object_trouble("commit", id, Some(source)))?;
        Parts::read(&commit).map_err(|source| self.object_trouble("commit", id, source))
    }

    pub(super) fn ref_target(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        let found = self
            .inner
            .try_find_reference(name)
            .map_err(|source| self.ref_trouble(name, source))?;
        let Some(found) = found else {
            return Ok(None);
        };
        match found.target() {
            gix::refs::TargetRef::Object(id) => Ok(Some(commit_id(id.to_owned()))),
            gix::refs::TargetRef::Symbolic(target) => Err(GitError::Symbolic {
                name: name.to_owned(),
                target: target.as_bstr().to_string(),
                repository: self.directory().to_owned(),
            }),
        }
    }

    pub(super) fn ref_trouble(&self, name: &str, source: gix::Error) -> GitError {
        GitError::Ref {
            name: name.to_owned(),
            repository: self.directory().to_owned(),
            source: Box::new(source),
        }
    }
}

/// How many bytes of decoded objects are kept: enough for the trees of a large repository's hot directories.
pub(super) const OBJECT_CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The parts of a commit, its bytes as they are stored.
pub(super) struct Parts {
    pub(super) tree: ObjectId,
    pub(super) parents: Vec<ObjectId>,
    pub(super) author: Vec<u8>,
    pub(super) encoding: Option<Vec<u8>>,
    pub(super) message: Vec<u8>,
}

impl Parts {
    fn read(commit: &gix::Commit<'_>) -> Result<Self, Option<gix::Error>> {
        let end = commit
            .data
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .ok_or(None)?;
        let header = |name: &[u8]| {
            let mut lines = commit.data[..end].split(|byte| *byte == b'\n');
            lines.find_map(|line| line.strip_prefix(name).map(<[u8]>::to_vec))
        };
        Ok(Self {
            tree: commit.tree_id().map_err(Some)?.detach(),
            parents: commit.parent_ids().map(gix::Id::detach).collect(),
            author: header(b"author ").ok_or(None)?,
            encoding: header(b"encoding "),
            message: commit.data[end + 2..].to_vec(),
        })
    }
}

pub(super) fn object_id(commit: CommitId) -> ObjectId {
    ObjectId::Sha1(*commit.as_bytes())
}

pub(super) fn commit_id(id: ObjectId) -> CommitId {
    CommitId::from_bytes(bytes(id))
}

pub(super) fn tree_id(id: ObjectId) -> TreeId {
    TreeId::from_bytes(bytes(id))
}

fn bytes(id: ObjectId) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(id.as_slice());
    bytes
}

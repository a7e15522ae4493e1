//! Reading what is in a repository by name: files at a commit, refs under a prefix. Never writes.

use gantry_core::id::{BranchName, CommitId};

use super::repository::{commit_id, object_id};
use super::{GitError, GitRepository};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAt {
    /// Nothing, or a directory.
    Missing,
    /// A file's bytes, with the name of the blob in hexadecimal digits.
    File {
        /// The blob's name: equal names mean equal bytes.
        id: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// A file that is larger than was asked for.
    TooLarge {
        /// How large it is.
        bytes: u64,
    },
    /// A symbolic link or a submodule.
    NotAFile,
}

impl GitRepository {
    /// Reads a file at a commit, at most `most` bytes.
    ///
    /// Errors: [`GitError::Object`], [`GitError::Storage`].
    pub fn file_at(&self, commit: CommitId, path: &str, most: u64) -> Result<FileAt, GitError> {
        let doing = || format!("read {path} at {commit}");
        let parts = self.commit(object_id(commit))?;
        let tree = self
            .inner
            .find_tree(parts.tree)
            .map_err(|source| self.object_trouble("tree", parts.tree, Some(source)))?;
        let entry = tree
            .lookup_entry_by_path(path)
            .map_err(|source| self.storage(doing(), source))?;
        let Some(entry) = entry else {
            return Ok(FileAt::Missing);
        };
        if entry.mode().is_tree() {
            return Ok(FileAt::Missing);
        }
        if !entry.mode().is_blob() {
            return Ok(FileAt::NotAFile);
        }
        let id = entry.object_id();
        let trouble = |source| self.object_trouble("blob", id, Some(source));
        let size = self.inner.find_header(id).map_err(trouble)?.size();
        if size > most {
            return Ok(FileAt::TooLarge { bytes: size });
        }
        let blob = self.inner.find_blob(id).map_err(trouble)?;
        Ok(FileAt::File {
            id: id.to_string(),
            bytes: blob.data.clone(),
        })
    }

    /// Names the regular files in a directory at a commit, sorted; none if there is no such directory. Names that are not
    /// UTF-8 are left out.
    ///
    /// Errors: [`GitError::Object`], [`GitError::Storage`].
    pub fn file_names_in(&self, commit: CommitId, path: &str) -> Result<Vec<String>, GitError> {
        let parts = self.commit(object_id(commit))?;
        let trouble = |source| self.object_trouble("tree", parts.tree, Some(source));
        let tree = self.inner.find_tree(parts.tree).map_err(trouble)?;
        let entry = tree
            .lookup_entry_by_path(path)
            .map_err(|source| self.storage(format!("read {path} at {commit}"), source))?;
        let Some(entry) = entry.filter(|entry| entry.mode().is_tree()) else {
            return Ok(Vec::new());
        };
        let id = entry.object_id();
        let directory = self
            .inner
            .find_tree(id)
            .map_err(|source| self.object_trouble("tree", id, Some(source)))?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let entry = entry.map_err(|source| self.object_trouble("tree", id, Some(source)))?;
            if entry.mode().is_blob() {
                names.extend(std::str::from_utf8(entry.filename()).ok().map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads every file a commit holds at these paths, so that a missing or corrupt one is found before a check needs it.
    ///
    /// Errors: [`GitError::Object`] names the first that cannot be read; [`GitError::Storage`].
    pub fn ensure_readable(&self, commit: CommitId, paths: &[Vec<u8>]) -> Result<(), GitError> {
        // What is in memory may have gone bad on the disk since.
        let mut inner = self.inner.clone();
        inner.object_cache_size(None);
        let parts = self.commit(object_id(commit))?;
        let tree = inner
            .find_tree(parts.tree)
            .map_err(|source| self.object_trouble("tree", parts.tree, Some(source)))?;
        for path in paths {
            let entry = tree
                .lookup_entry(path.split(|byte| *byte == b'/'))
                .map_err(|source| self.storage(format!("look into {commit}"), source))?;
            // Deleted files and submodules have no content here.
            let Some(entry) = entry.filter(|entry| entry.mode().is_blob_or_symlink()) else {
                continue;
            };
            let id = entry.object_id();
            inner
                .find_blob(id)
                .map_err(|source| self.object_trouble("blob", id, Some(source)))?;
        }
        Ok(())
    }

    /// Lists the refs whose name starts with `prefix` and that point to a commit directly.
    ///
    /// Shape: sorted by name; symbolic refs are left out. Errors: [`GitError::Ref`].
    pub fn refs_under(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        self.list_refs(prefix, false)
    }

    /// Lists refs; one that cannot be read is an error, or left out if `leave_out` says so.
    fn list_refs(&self, prefix: &str, leave_out: bool) -> Result<Vec<(String, CommitId)>, GitError> {
        let trouble = |source| self.ref_trouble(prefix, source);
        let platform = self.inner.references().map_err(trouble)?;
        let mut found = Vec::new();
        for reference in platform.prefixed(prefix).map_err(trouble)? {
            let reference = match reference {
                Ok(reference) => reference,
                Err(_) if leave_out => continue,
                Err(source) => {
                    let source = gix::Error::from_error(std::io::Error::other(source.to_string()));
                    return Err(self.ref_trouble(prefix, source));
                }
            };
            let Ok(name) = std::str::from_utf8(reference.name().as_bstr()) else {
                continue;
            };
            if let gix::refs::TargetRef::Object(id) = reference.target() {
                found.push((name.to_owned(), commit_id(id.to_owned())));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Lists the branches whose names gantry can hold and whose refs can be read.
    ///
    /// Shape: a branch that is left out may be there all the same: ask for it by [`GitRepository::refs_under`] before
    /// calling it gone. Errors: [`GitError::Ref`].
    pub fn branches(&self) -> Result<Vec<(BranchName, CommitId)>, GitError> {
        let refs = self.list_refs("refs/heads/", true)?;
        Ok(refs
            .into_iter()
            .filter_map(|(name, head)| BranchName::parse(&name).ok().map(|branch| (branch, head)))
            .collect())
    }

    /// Resolves what a person wrote for a commit: a full or short name, a branch, a tag.
    ///
    /// Errors: [`GitError::Storage`] if nothing or more than one thing is meant.
    pub fn resolve(&self, text: &str) -> Result<CommitId, GitError> {
        let doing = || format!("find a commit named {text:?}");
        let id = self
            .inner
            .rev_parse_single(format!("{text}^{{commit}}").as_str())
            .map_err(|source| self.storage(doing(), source))?;
        Ok(commit_id(id.detach()))
    }

    /// Returns the first line of a commit's message and its author's name, for people.
    ///
    /// Errors: [`GitError::Object`].
    pub fn subject_and_author(&self, commit: CommitId) -> Result<(String, String), GitError> {
        let parts = self.commit(object_id(commit))?;
        let message = String::from_utf8_lossy(&parts.message);
        let subject = message.lines().next().unwrap_or("").trim().to_owned();
        let author = String::from_utf8_lossy(&parts.author);
        let name = author.split(" <").next().unwrap_or("").trim().to_owned();
        Ok((subject, name))
    }
}

impl GitRepository {
    /// Returns the commit a ref of gantry's own points at, or `None` if there is no such ref.
    ///
    /// Errors: [`GitError::Ref`], [`GitError::Symbolic`].
    pub fn own_ref(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        self.ref_target(name)
    }

    /// Returns the first parent of a commit, if it has one.
    ///
    /// Errors: [`GitError::Object`].
    pub fn first_parent(&self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        let parts = self.commit(object_id(commit))?;
        Ok(parts.parents.first().map(|parent| commit_id(*parent)))
    }

    /// Returns the directory that holds objects and refs: the repository itself if bare, else its `.git`; of a
    /// linked work tree, that of the main one.
    #[must_use]
    pub fn common_directory(&self) -> std::path::PathBuf {
        let common = self.inner.common_dir();
        std::fs::canonicalize(common).unwrap_or_else(|_| common.to_owned())
    }
}

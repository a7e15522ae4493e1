//! Commits whose message is a fact, in a chain under one ref. Owns appending and reading; must never rewrite one.
//!
//! Source: docs/design/0001-landing-and-its-journal.md.

use gantry_core::id::CommitId;
use gantry_core::time::Timestamp;
use gix::ObjectId;
use gix::objs::Write as _;

use super::repository::{commit_id, object_id};
use super::{GitError, GitRepository, Swap};

/// How often an append is tried anew when somebody else moved the ref.
const APPEND_TRIES: usize = 10;

/// One fact read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The commit that holds it.
    pub id: CommitId,
    /// Its text.
    pub text: String,
    /// The commit it keeps reachable, if any.
    pub keeps: Option<CommitId>,
}

impl GitRepository {
    /// Writes a commit that holds `text` and keeps `keeps` reachable, on top of `parent`; no ref moves.
    ///
    /// Errors: [`GitError::Storage`].
    pub fn write_note(
        &self,
        parent: Option<CommitId>,
        keeps: Option<CommitId>,
        text: &str,
        at: Timestamp,
    ) -> Result<CommitId, GitError> {
        let tree = self.empty_tree()?;
        let mut bytes = format!("tree {tree}\n");
        for id in parent.iter().chain(&keeps) {
            bytes.push_str(&format!("parent {id}\n"));
        }
        let who = format!("gantry <gantry@localhost> {} +0000", at.as_seconds());
        bytes.push_str(&format!("author {who}\ncommitter {who}\n\n{text}\n"));
        let id = self
            .inner
            .write_buf(gix::objs::Kind::Commit, bytes.as_bytes())
            .map_err(|source| self.storage("write a note".to_owned(), source))?;
        self.flush_object(id)?;
        Ok(commit_id(id))
    }

    /// Appends a fact to the chain at `ref_name`. Returns its commit.
    ///
    /// Errors: as [`GitRepository::compare_and_swap`]; [`GitError::Locked`] also after too many lost races.
    pub fn append_entry(
        &self,
        ref_name: &str,
        keeps: Option<CommitId>,
        text: &str,
        at: Timestamp,
    ) -> Result<CommitId, GitError> {
        for _ in 0..APPEND_TRIES {
            let last = self.ref_target(ref_name)?;
            // The first parent is always the chain: the first entry stands on an empty one.
            let parent = match last {
                Some(last) => last,
                None => self.write_note(None, None, "{\"fact\":\"start\"}", Timestamp::from_millis(0))?,
            };
            let entry = self.write_note(Some(parent), keeps, text, at)?;
            if self.compare_and_swap(ref_name, last, Some(entry), "gantry: record")? == Swap::Moved {
                return Ok(entry);
            }
        }
        Err(GitError::Locked {
            lock: self.directory().join(ref_name),
        })
    }

    /// Reads the chain at `ref_name`, newest first, until `visit` says false.
    ///
    /// Errors: [`GitError::Object`] for a missing or corrupt entry, [`GitError::Ref`].
    pub fn read_entries(&self, ref_name: &str, mut visit: impl FnMut(Entry) -> bool) -> Result<(), GitError> {
        let mut next = self.ref_target(ref_name)?;
        while let Some(id) = next {
            let entry = self.read_note(id)?;
            let Some((parent, keeps)) = entry.1 else {
                return Ok(());
            };
            next = Some(parent);
            if !visit(Entry {
                id,
                text: entry.0,
                keeps,
            }) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the text of a note.
    ///
    /// Errors: [`GitError::Object`].
    pub fn note_text(&self, id: CommitId) -> Result<String, GitError> {
        Ok(self.read_note(id)?.0)
    }

    /// Returns a note's text, and its parents if it has any.
    #[expect(
        clippy::type_complexity,
        reason = "a pair of a text and a pair, used in this file alone"
    )]
    fn read_note(&self, id: CommitId) -> Result<(String, Option<(CommitId, Option<CommitId>)>), GitError> {
        let parts = self.commit(object_id(id))?;
        let text = String::from_utf8_lossy(&parts.message).trim_end().to_owned();
        let mut parents = parts.parents.into_iter().map(commit_id);
        let parents = parents.next().map(|first| (first, parents.next()));
        Ok((text, parents))
    }

    /// Puts a loose object on the disk: a ref must never name one that a power loss takes away.
    fn flush_object(&self, id: ObjectId) -> Result<(), GitError> {
        let name = id.to_string();
        let path = self
            .inner
            .common_dir()
            .join("objects")
            .join(&name[..2])
            .join(&name[2..]);
        let flushed = std::fs::File::open(&path).and_then(|file| file.sync_all());
        match flushed {
            // It is in a pack: it was there before.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.storage(
                "write a note to the disk".to_owned(),
                gix::Error::from_error(error),
            )),
            Ok(()) => Ok(()),
        }
    }

    /// Writes the empty tree: Git itself knows it without, other readers may not.
    fn empty_tree(&self) -> Result<ObjectId, GitError> {
        self.inner
            .write_buf(gix::objs::Kind::Tree, &[])
            .map_err(|source| self.storage("write the empty tree".to_owned(), source))
    }
}

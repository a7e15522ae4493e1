//! Merging two sides of a common base. Owns the one merge that candidates and the radar share; must give Git's
//! verdict and Git's tree, and hands every situation it is not sure of to the git program.
//!
//! A merge here is arithmetic over two lists of edits ([`Edit`]): what one side alone touched is taken, what both
//! touched is merged by content. Renames are not searched for. They can matter only where a side deleted files
//! and added others, and the other side touched what was deleted or added to a directory that went away; each of
//! these, and each clash of a file with a directory, is answered [`Combined::Unsure`].

use std::collections::HashMap;

use gix::ObjectId;
use gix::objs::WriteTo as _;

use super::delta::{Edit, Entry, directories, edit_at, edits_under};
use super::program::{GitProgram, TreeMerge};
use super::repository::{commit_id, object_id};
use super::text::{Text, merge_text};
use super::{GitError, GitRepository};

/// A merge that went through, or the paths at which it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merged<T> {
    Clean(T),
    Conflict(Vec<Vec<u8>>),
}

/// What two lists of edits over one base come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Combined {
    /// What has to be done to our side, sorted by path.
    Clean(Vec<Edit>),
    /// The paths in conflict, sorted.
    Conflict(Vec<Vec<u8>>),
    /// Git has to be asked.
    Unsure,
}

enum Content {
    Clean(ObjectId),
    Conflict,
    Unsure,
}

enum One {
    Clean(Entry),
    Conflict,
    Unsure,
}

/// Files above this many bytes are merged by the git program, in its own memory.
const CONTENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Merges content and remembers the answers. A cache: dropping it costs time only.
#[derive(Debug, Default)]
pub(super) struct Contents {
    known: HashMap<[ObjectId; 3], Option<ObjectId>>,
}

/// Answers kept before the memory is emptied: about 100 bytes each.
const ANSWERS_MAX: usize = 200_000;

impl GitRepository {
    /// Merges `theirs` into `ours`, both lists of edits over the tree `base`, sorted by path.
    ///
    /// Errors: [`GitError::Object`].
    pub(super) fn combine(
        &self,
        contents: &mut Contents,
        base: ObjectId,
        ours: &[Edit],
        theirs: &[Edit],
    ) -> Result<Combined, GitError> {
        if self.is_beyond_paths(base, ours, theirs)? || self.is_beyond_paths(base, theirs, ours)? {
            return Ok(Combined::Unsure);
        }
        let (we_add, they_add) = (ours.iter().any(Edit::adds), theirs.iter().any(Edit::adds));
        let mut result = Vec::new();
        let mut paths = Vec::new();
        for their in theirs {
            let Some(our) = edit_at(ours, &their.path) else {
                result.push(their.clone());
                continue;
            };
            let new = match (our.new, their.new) {
                // Deleted by both: each may have renamed it to another name.
                (None, None) if we_add || they_add => return Ok(Combined::Unsure),
                (None, None) => continue,
                (None, Some(_)) if we_add => return Ok(Combined::Unsure),
                (Some(_), None) if they_add => return Ok(Combined::Unsure),
                (None, Some(_)) | (Some(_), None) => {
                    paths.push(their.path.clone());
                    continue;
                }
                (Some(our_new), Some(their_new)) => {
                    match self.merge_entries(contents, their.old, our_new, their_new)? {
                        One::Clean(entry) => entry,
                        One::Conflict => {
                            paths.push(their.path.clone());
                            continue;
                        }
                        One::Unsure => return Ok(Combined::Unsure),
                    }
                }
            };
            if our.new != Some(new) {
                result.push(Edit {
                    path: their.path.clone(),
                    old: our.new,
                    new: Some(new),
                });
            }
        }
        if paths.is_empty() {
            return Ok(Combined::Clean(result));
        }
        Ok(Combined::Conflict(paths))
    }

    /// Tells whether path-by-path merging could differ from Git's, looking at what `one` added.
    fn is_beyond_paths(&self, base: ObjectId, one: &[Edit], other: &[Edit]) -> Result<bool, GitError> {
        let other_adds = other.iter().any(Edit::adds);
        for edit in one.iter().filter(|edit| edit.adds()) {
            if !edits_under(other, &edit.path).is_empty() {
                return Ok(true);
            }
            if !other_adds {
                continue;
            }
            for directory in directories(&edit.path) {
                if self.removed(base, other, directory)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Tells whether a directory of the tree `base` holds nothing any more after `edits`.
    pub(super) fn removed(&self, base: ObjectId, edits: &[Edit], directory: &[u8]) -> Result<bool, GitError> {
        let under = edits_under(edits, directory);
        if under.is_empty() || !under.iter().all(Edit::deletes) {
            return Ok(false);
        }
        let Some(entry) = self
            .entry_at(base, directory)?
            .filter(|entry| entry.is_directory())
        else {
            return Ok(false);
        };
        Ok(self.count_files(entry.id, under.len())? == under.len())
    }

    /// Tells whether merging what two sides made of one path conflicts; renames play no part.
    pub(super) fn clashes_at(
        &self,
        contents: &mut Contents,
        base: Option<Entry>,
        ours: Option<Entry>,
        theirs: Option<Entry>,
    ) -> Result<bool, GitError> {
        if ours == base || theirs == base || ours == theirs {
            return Ok(false);
        }
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return Ok(true);
        };
        let one = self.merge_entries(contents, base, ours, theirs)?;
        Ok(!matches!(one, One::Clean(_)))
    }

    fn merge_entries(
        &self,
        contents: &mut Contents,
        base: Option<Entry>,
        ours: Entry,
        theirs: Entry,
    ) -> Result<One, GitError> {
        if ours == theirs {
            return Ok(One::Clean(ours));
        }
        let plain = ours.is_plain_file() && theirs.is_plain_file() && base.is_none_or(Entry::is_plain_file);
        // Links, submodules, changed kinds, and new files that differ in mode have rules of their own.
        if !plain || (base.is_none() && ours.mode != theirs.mode) {
            return Ok(One::Unsure);
        }
        let base_mode = base.map(|entry| entry.mode);
        let mode = if Some(ours.mode) == base_mode {
            theirs.mode
        } else {
            ours.mode
        };
        let old = base.map(|entry| entry.id);
        let id = if ours.id == theirs.id || old == Some(theirs.id) {
            ours.id
        } else if old == Some(ours.id) {
            theirs.id
        } else {
            match self.merge_contents(contents, old, ours.id, theirs.id)? {
                Content::Clean(id) => id,
                Content::Conflict => return Ok(One::Conflict),
                Content::Unsure => return Ok(One::Unsure),
            }
        };
        Ok(One::Clean(Entry { mode, id }))
    }

    fn merge_contents(
        &self,
        contents: &mut Contents,
        base: Option<ObjectId>,
        ours: ObjectId,
        theirs: ObjectId,
    ) -> Result<Content, GitError> {
        let key = [
            base.unwrap_or_else(|| ObjectId::null(gix::hash::Kind::Sha1)),
            ours,
            theirs,
        ];
        match contents.known.get(&key) {
            Some(Some(id)) => return Ok(Content::Clean(*id)),
            Some(None) => return Ok(Content::Conflict),
            None => {}
        }
        if self.has_own_attributes() {
            return Ok(Content::Unsure);
        }
        let base = match base {
            Some(id) => self.blob(id)?,
            None => Some(Vec::new()),
        };
        let (Some(base), Some(ours), Some(theirs)) = (base, self.blob(ours)?, self.blob(theirs)?) else {
            return Ok(Content::Unsure);
        };
        let answer = match merge_text(&base, &ours, &theirs) {
            Text::Unsure => return Ok(Content::Unsure),
            Text::Clean(merged) => Some(self.write_object(gix::objs::Kind::Blob, &merged)?),
            Text::Conflict => None,
        };
        if contents.known.len() >= ANSWERS_MAX {
            contents.known.clear();
        }
        contents.known.insert(key, answer);
        Ok(answer.map_or(Content::Conflict, Content::Clean))
    }

    /// Reads a file's content, or `None` if it is too large to be merged here.
    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, GitError> {
        let trouble = |source| self.object_trouble("file", id, Some(source));
        let size = self.inner.find_header(id).map_err(trouble)?.size();
        if size > CONTENT_BYTES_MAX {
            return Ok(None);
        }
        let mut blob = self.inner.find_blob(id).map_err(trouble)?;
        Ok(Some(std::mem::take(&mut blob.data)))
    }

    /// Tells whether the repository itself, not a tree in it, says how files are to be merged.
    fn has_own_attributes(&self) -> bool {
        self.inner.common_dir().join("info/attributes").exists()
    }

    /// Merges the trees `[ancestor, ours, theirs]` and writes the result; `commit` is what the trouble is about,
    /// should there be any.
    pub(super) fn merge(
        &self,
        contents: &mut Contents,
        [ancestor, ours, theirs]: [ObjectId; 3],
        commit: ObjectId,
    ) -> Result<Merged<ObjectId>, GitError> {
        if theirs == ancestor || theirs == ours {
            return Ok(Merged::Clean(ours));
        }
        let their_edits = self.delta(ancestor, theirs)?;
        let our_edits = match self.delta_near(ancestor, ours, &their_edits)? {
            Some(edits) => edits,
            None => self.delta(ancestor, ours)?,
        };
        match self.combine(contents, ancestor, &our_edits, &their_edits)? {
            Combined::Clean(edits) => Ok(Merged::Clean(self.apply(ours, &edits)?)),
            Combined::Conflict(paths) => Ok(Merged::Conflict(paths)),
            Combined::Unsure => {
                let base = self.bare_commit(ancestor, &[])?;
                let ours = self.bare_commit(ours, &[base])?;
                let theirs = self.bare_commit(theirs, &[base])?;
                self.ask_git(ours, theirs, commit)
            }
        }
    }

    /// Lists what `ours` did at the paths of `theirs` alone, if nothing else it did can matter to the merge.
    ///
    /// That is so if their side deleted nothing, and our side has a file wherever theirs changed one and still
    /// has every directory theirs added to: then no rename of ours can meet an edit of theirs.
    fn delta_near(
        &self,
        ancestor: ObjectId,
        ours: ObjectId,
        theirs: &[Edit],
    ) -> Result<Option<Vec<Edit>>, GitError> {
        let mut edits = Vec::new();
        for their in theirs {
            if their.deletes() {
                return Ok(None);
            }
            let new = self.entry_at(ours, &their.path)?;
            if new.is_some_and(Entry::is_directory) || (new.is_none() && their.old.is_some()) {
                return Ok(None);
            }
            if their.adds() {
                for directory in directories(&their.path) {
                    let now = self.entry_at(ours, directory)?;
                    let kept = match now {
                        Some(entry) => entry.is_directory(),
                        None => self.entry_at(ancestor, directory)?.is_none(),
                    };
                    if !kept {
                        return Ok(None);
                    }
                }
            }
            if new != their.old {
                edits.push(Edit {
                    path: their.path.clone(),
                    old: their.old,
                    new,
                });
            }
        }
        Ok(Some(edits))
    }

    /// Lets the git program merge two commits.
    pub(super) fn ask_git(
        &self,
        ours: ObjectId,
        theirs: ObjectId,
        about: ObjectId,
    ) -> Result<Merged<ObjectId>, GitError> {
        let program = GitProgram::at(self.inner.common_dir());
        match program.merge_tree(commit_id(ours), commit_id(theirs)) {
            Ok(TreeMerge::Clean(tree)) => Ok(Merged::Clean(ObjectId::Sha1(*tree.as_bytes()))),
            Ok(TreeMerge::Conflict(paths)) => Ok(Merged::Conflict(paths)),
            Err(source) => Err(GitError::Program {
                doing: format!("merge {about}"),
                source: Box::new(source),
            }),
        }
    }

    /// Lets the git program merge two commits that have several merge bases, once the trees are known to be there.
    ///
    /// Git before 2.44 takes a missing tree for an empty one and answers as if all its files had been deleted.
    pub(super) fn ask_git_over(
        &self,
        bases: &[ObjectId],
        ours: ObjectId,
        theirs: ObjectId,
    ) -> Result<Merged<ObjectId>, GitError> {
        let sides = [self.commit(ours)?.tree, self.commit(theirs)?.tree];
        for base in bases {
            let base = self.commit(*base)?.tree;
            for side in sides {
                self.delta(base, side)?;
            }
        }
        self.ask_git(ours, theirs, theirs)
    }

    /// Applies edits to a tree and writes what comes out.
    pub(super) fn apply(&self, tree: ObjectId, edits: &[Edit]) -> Result<ObjectId, GitError> {
        if edits.is_empty() {
            return Ok(tree);
        }
        let trouble = |source| self.storage(format!("edit tree {tree}"), source);
        // The trees come from commits that exist, so names are taken as they are, odd ones included.
        let mut editor = self.inner.edit_tree(tree).map_err(trouble)?.detach();
        let parts = |edit: &Edit| -> Vec<gix::bstr::BString> {
            edit.path
                .split(|byte| *byte == b'/')
                .map(|part| part.to_vec().into())
                .collect()
        };
        for edit in edits.iter().filter(|edit| edit.deletes()) {
            editor.remove(parts(edit)).map_err(trouble)?;
        }
        for edit in edits {
            let Some(new) = edit.new else { continue };
            let kind = gix::objs::tree::EntryMode::try_from(u32::from(new.mode))
                .map_err(|mode| GitError::Object {
                    what: "a known file mode instead of",
                    id: format!("{mode:o}"),
                    repository: self.directory().to_owned(),
                    source: None,
                })?
                .kind();
            editor.upsert(parts(edit), kind, new.id).map_err(trouble)?;
        }
        editor.write(|tree| {
            let mut bytes = Vec::new();
            tree.write_to(&mut bytes)
                .map_err(|source| self.storage("write a tree".to_owned(), gix::Error::from_error(source)))?;
            self.write_object(gix::objs::Kind::Tree, &bytes)
        })
    }

    /// Writes a commit that stands for a tree where the git program wants commits.
    pub(super) fn bare_commit(&self, tree: ObjectId, parents: &[ObjectId]) -> Result<ObjectId, GitError> {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        text.push_str("author gantry <gantry@localhost> 0 +0000\n");
        text.push_str("committer gantry <gantry@localhost> 0 +0000\n\nA tree to be merged\n");
        self.write_object(gix::objs::Kind::Commit, text.as_bytes())
    }

    /// Returns what `git merge-tree` would answer for two commits: the merge the candidates and the radar use.
    ///
    /// Errors: [`GitError::Object`], [`GitError::Unrelated`], [`GitError::Program`], [`GitError::Storage`].
    pub fn merge_commits(
        &self,
        ours: gantry_core::id::CommitId,
        theirs: gantry_core::id::CommitId,
    ) -> Result<TreeMerge, GitError> {
        let (ours, theirs) = (object_id(ours), object_id(theirs));
        let relation = super::history::Ancestry::default().relate(self, theirs, &[ours])?;
        let merged = match relation.bases.as_slice() {
            [] => return Err(self.unrelated(theirs, ours)),
            [base] => {
                let trees = [
                    self.commit(*base)?.tree,
                    self.commit(ours)?.tree,
                    self.commit(theirs)?.tree,
                ];
                self.merge(&mut Contents::default(), trees, theirs)?
            }
            bases => self.ask_git_over(bases, ours, theirs)?,
        };
        Ok(match merged {
            Merged::Clean(tree) => TreeMerge::Clean(super::repository::tree_id(tree)),
            Merged::Conflict(paths) => TreeMerge::Conflict(paths),
        })
    }
}

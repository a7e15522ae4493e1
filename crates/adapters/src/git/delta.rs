//! What differs between two trees, file by file. Owns the walk over two trees; must never guess at renames and
//! never read a file's content.

use gix::ObjectId;
use gix::objs::TreeRefIter;

use super::{GitError, GitRepository};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// The mode as the tree has it.
    pub(super) mode: u16,
    /// The object.
    pub(super) id: ObjectId,
}

const KIND: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;

impl Entry {
    pub(super) fn is_directory(self) -> bool {
        self.mode & KIND == DIRECTORY
    }

    /// Tells whether this is a file with one of the two modes Git writes today.
    pub(super) fn is_plain_file(self) -> bool {
        matches!(self.mode, 0o100_644 | 0o100_755)
    }
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Edit {
    /// The whole path from the root.
    pub(super) path: Vec<u8>,
    /// What stood there.
    pub(super) old: Option<Entry>,
    /// What stands there now; never a directory, like `old`.
    pub(super) new: Option<Entry>,
}

impl Edit {
    pub(super) fn adds(&self) -> bool {
        self.old.is_none() && self.new.is_some()
    }

    pub(super) fn deletes(&self) -> bool {
        self.new.is_none()
    }
}

/// Finds the edit of exactly `path` in edits sorted by path.
pub(super) fn edit_at<'a>(edits: &'a [Edit], path: &[u8]) -> Option<&'a Edit> {
    let at = edits.partition_point(|edit| edit.path.as_slice() < path);
    edits.get(at).filter(|edit| edit.path == path)
}

/// Returns the edits under a directory; `edits` are sorted by path.
pub(super) fn edits_under<'a>(edits: &'a [Edit], directory: &[u8]) -> &'a [Edit] {
    let mut prefix = directory.to_vec();
    prefix.push(b'/');
    let from = edits.partition_point(|edit| edit.path < prefix);
    let length = edits[from..].partition_point(|edit| edit.path.starts_with(&prefix));
    &edits[from..from + length]
}

/// Lists the directories a path lies in, the outermost first, the root left out.
pub(super) fn directories(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| &path[..at])
}

struct Named<'a> {
    name: &'a [u8],
    entry: Entry,
}

impl GitRepository {
    /// Lists what differs from tree `from` to tree `to`, sorted by path; directories are never listed themselves.
    ///
    /// Errors: [`GitError::Object`].
    pub(super) fn delta(&self, from: ObjectId, to: ObjectId) -> Result<Vec<Edit>, GitError> {
        let mut edits = Vec::new();
        let mut open: Vec<(Vec<u8>, Option<ObjectId>, Option<ObjectId>)> =
            vec![(Vec::new(), Some(from), Some(to))];
        while let Some((prefix, from, to)) = open.pop() {
            if from == to {
                continue;
            }
            let (from_data, to_data) = (self.tree_data(from)?, self.tree_data(to)?);
            let old = self.tree_entries(&from_data, from)?;
            let new = self.tree_entries(&to_data, to)?;
            let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
            loop {
                let order = match (old.peek(), new.peek()) {
                    (None, None) => break,
                    (Some(_), None) => std::cmp::Ordering::Less,
                    (None, Some(_)) => std::cmp::Ordering::Greater,
                    (Some(old), Some(new)) => old.name.cmp(new.name),
                };
                let before = if order.is_le() { old.next() } else { None };
                let after = if order.is_ge() { new.next() } else { None };
                let (was, is) = (before.as_ref().map(|n| n.entry), after.as_ref().map(|n| n.entry));
                if was == is {
                    continue;
                }
                let Some(name) = before.as_ref().or(after.as_ref()).map(|named| named.name) else {
                    break;
                };
                let mut path = prefix.clone();
                path.extend_from_slice(name);
                let tree = |entry: Option<Entry>| entry.filter(|e| e.is_directory()).map(|e| e.id);
                let file = |entry: Option<Entry>| entry.filter(|e| !e.is_directory());
                if tree(was).is_some() || tree(is).is_some() {
                    let mut inside = path.clone();
                    inside.push(b'/');
                    open.push((inside, tree(was), tree(is)));
                }
                if file(was).is_some() || file(is).is_some() {
                    edits.push(Edit {
                        path,
                        old: file(was),
                        new: file(is),
                    });
                }
            }
        }
        edits.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(edits)
    }

    /// Returns what stands at `path` in a tree, a directory included.
    ///
    /// Errors: [`GitError::Object`].
    pub(super) fn entry_at(&self, tree: ObjectId, path: &[u8]) -> Result<Option<Entry>, GitError> {
        let mut found = Entry {
            mode: DIRECTORY,
            id: tree,
        };
        for name in path.split(|byte| *byte == b'/') {
            if !found.is_directory() {
                return Ok(None);
            }
            let data = self.tree_data(Some(found.id))?;
            let mut next = None;
            for entry in TreeRefIter::from_bytes(&data, gix::hash::Kind::Sha1) {
                let entry = entry.map_err(|source| self.object_trouble("tree", found.id, Some(source)))?;
                if entry.filename == name {
                    next = Some(Entry {
                        mode: entry.mode.value(),
                        id: entry.oid.to_owned(),
                    });
                    break;
                }
            }
            match next {
                Some(next) => found = next,
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// Counts the files under a tree, stopping above `enough`.
    pub(super) fn count_files(&self, tree: ObjectId, enough: usize) -> Result<usize, GitError> {
        let mut count = 0;
        let mut open = vec![tree];
        while let Some(tree) = open.pop() {
            let data = self.tree_data(Some(tree))?;
            for named in self.tree_entries(&data, Some(tree))? {
                if named.entry.is_directory() {
                    open.push(named.entry.id);
                } else {
                    count += 1;
                }
            }
            if count > enough {
                break;
            }
        }
        Ok(count)
    }

    fn tree_data(&self, tree: Option<ObjectId>) -> Result<Vec<u8>, GitError> {
        let Some(tree) = tree.filter(|id| *id != ObjectId::empty_tree(gix::hash::Kind::Sha1)) else {
            return Ok(Vec::new());
        };
        let mut object = self
            .inner
            .find_tree(tree)
            .map_err(|source| self.object_trouble("tree", tree, Some(source)))?;
        Ok(std::mem::take(&mut object.data))
    }

    /// Splits a tree into entries sorted by name alone, whatever their kind.
    fn tree_entries<'a>(&self, data: &'a [u8], tree: Option<ObjectId>) -> Result<Vec<Named<'a>>, GitError> {
        let mut entries = Vec::with_capacity(data.len() / 32);
        for entry in TreeRefIter::from_bytes(data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|source| {
                let id = tree.unwrap_or_else(|| ObjectId::null(gix::hash::Kind::Sha1));
                self.object_trouble("tree", id, Some(source))
            })?;
            entries.push(Named {
                name: entry.filename.as_ref(),
                entry: Entry {
                    mode: entry.mode.value(),
                    id: entry.oid.to_owned(),
                },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(b.name));
        Ok(entries)
    }
}

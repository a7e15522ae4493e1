//! A repository in memory: commits, trees of whole files, refs, notes and a journal. Outlives the process that is
//! tested; also holds what people did, and every move of the target.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use gantry_adapters::git::GitError;
use gantry_core::id::{CommitId, TreeId};

/// A tree: content by path.
pub type Files = BTreeMap<String, String>;

/// A commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its parents, first parent first.
    pub parents: Vec<CommitId>,
    /// Its tree.
    pub tree: TreeId,
    /// Its message.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// Higher than that of every parent.
    pub(crate) generation: u64,
}

/// A move of the target by gantry.
#[derive(Debug, Clone)]
pub struct Move {
    /// Where it was.
    pub from: CommitId,
    /// Where it went.
    pub to: CommitId,
    /// The passing verdicts of exactly that commit that the journal held at this moment.
    pub verdicts: Vec<gantry_engine::journal::Verdict>,
}

type Surprise = Box<dyn FnOnce(&mut Git)>;

/// The repository.
#[derive(Default)]
pub struct Git {
    commits: HashMap<CommitId, Commit>,
    trees: HashMap<TreeId, Files>,
    ancestors: HashMap<CommitId, Vec<CommitId>>,
    /// All refs by their whole names.
    pub refs: BTreeMap<String, CommitId>,
    /// Texts of notes.
    pub(crate) notes: HashMap<CommitId, String>,
    /// The journal, oldest first.
    pub journal: Vec<String>,
    /// What gantry did to the target.
    pub moves: Vec<Move>,
    /// Commits that cannot be read.
    pub missing: HashSet<CommitId>,
    /// So many writes of refs find a lock.
    pub locked_writes: u32,
    /// Every merge meets trouble.
    pub broken: bool,
    /// What people do at the moment gantry moves the target, one at each try.
    pub(crate) surprises: Vec<Surprise>,
    /// Somebody moved a ref.
    pub(crate) touched: u64,
}

impl std::fmt::Debug for Git {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Git")
            .field("refs", &self.refs)
            .finish_non_exhaustive()
    }
}

/// The target's whole name.
pub(crate) const TARGET: &str = "refs/heads/main";

impl Git {
    /// Writes a commit; the same parts give the same commit.
    pub fn write(
        &mut self,
        parents: Vec<CommitId>,
        files: Files,
        subject: &str,
        author: &str,
        seconds: i64,
    ) -> CommitId {
        let tree = TreeId::from_bytes(name(&("tree", &files)));
        self.trees.entry(tree).or_insert(files);
        let id = CommitId::from_bytes(name(&(&parents, tree, subject, author, seconds)));
        let generation = parents
            .iter()
            .map(|p| self.commits[p].generation + 1)
            .max()
            .unwrap_or(0);
        self.commits.entry(id).or_insert_with(|| Commit {
            parents,
            tree,
            subject: subject.to_owned(),
            author: author.to_owned(),
            generation,
        });
        id
    }

    /// Returns a commit that is known to be there.
    #[must_use]
    pub fn commit(&self, id: CommitId) -> &Commit {
        &self.commits[&id]
    }

    /// Returns the files of a commit.
    #[must_use]
    pub fn files_at(&self, id: CommitId) -> &Files {
        &self.trees[&self.commits[&id].tree]
    }

    /// Returns where the target is.
    #[must_use]
    pub fn tip(&self) -> Option<CommitId> {
        self.refs.get(TARGET).copied()
    }

    /// Returns everything reachable from a commit, itself included.
    pub fn ancestors(&mut self, id: CommitId) -> Vec<CommitId> {
        if let Some(known) = self.ancestors.get(&id) {
            return known.clone();
        }
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut stack = vec![id];
        while let Some(next) = stack.pop() {
            if seen.insert(next) {
                found.push(next);
                if let Some(commit) = self.commits.get(&next) {
                    stack.extend(commit.parents.iter().copied());
                }
            }
        }
        self.ancestors.insert(id, found.clone());
        found
    }

    /// Refuses a commit that cannot be read.
    pub(crate) fn look(&self, id: CommitId) -> Result<&Commit, GitError> {
        match self.commits.get(&id) {
            Some(commit) if !self.missing.contains(&id) => Ok(commit),
            _ => Err(GitError::Object {
                what: "commit",
                id: id.to_string(),
                repository: "virtual".into(),
                source: None,
            }),
        }
    }

    /// Moves a ref as a person does.
    pub fn set_ref(&mut self, name: &str, to: Option<CommitId>) {
        self.touched += 1;
        match to {
            Some(id) => self.refs.insert(name.to_owned(), id),
            None => self.refs.remove(name),
        };
    }

    /// Commits an edit on top of a commit: `path=content` sets, `-path` takes away; several are apart by spaces.
    pub fn edit(&mut self, on: CommitId, edits: &str, subject: &str, author: &str) -> CommitId {
        let mut files = self.files_at(on).clone();
        for edit in edits.split_whitespace() {
            if let Some(path) = edit.strip_prefix('-') {
                files.remove(path);
            } else if let Some((path, content)) = edit.split_once('=') {
                files.insert(path.to_owned(), content.to_owned());
            }
        }
        self.write(vec![on], files, subject, author, 0)
    }

    /// A person pushes an edit to the target.
    pub fn push(&mut self, edits: &str, subject: &str) {
        if let Some(tip) = self.tip() {
            let next = self.edit(tip, edits, subject, "person");
            self.set_ref(TARGET, Some(next));
        }
    }
}

/// Twenty bytes that stand for a value.
pub(crate) fn name(value: &impl Hash) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (salt, part) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        value.hash(&mut hasher);
        let hash = hasher.finish().to_be_bytes();
        let length = part.len();
        part.copy_from_slice(&hash[..length]);
    }
    bytes
}

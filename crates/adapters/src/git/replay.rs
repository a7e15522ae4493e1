//! Replaying changes onto a base. Owns the making of candidates; must never move a ref, and must give the same
//! commits for the same input.

use std::collections::{HashMap, HashSet};

use gantry_core::id::{ChangeId, CommitId, TreeId};
use gantry_core::time::Timestamp;
use gix::ObjectId;

use super::history::Ancestry;
use super::merge::{Contents, Merged};
use super::repository::{Parts, commit_id, object_id, tree_id};
use super::{GitError, GitRepository};

/// One change to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which change it is.
    pub change: ChangeId,
    /// The commit that was offered.
    pub head: CommitId,
    /// What the change is called; the message of a squashed or merging commit.
    pub title: String,
    /// When it was offered: the date of the commits made for it.
    pub offered_at: Timestamp,
    /// Heads it is stacked on that have landed, perhaps under other names: what they hold is not replayed again.
    pub stands_on: Vec<CommitId>,
}

/// How a change is put onto the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Its commits one by one.
    Rebase,
    /// All of it as one commit.
    Squash,
    /// A merge commit whose second parent is the head as offered.
    Merge,
}

/// Where the history is after one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The member's change.
    pub change: ChangeId,
    /// The commit after it.
    pub commit: CommitId,
    /// The tree of that commit.
    pub tree: TreeId,
    /// Nothing was left of the change: the commit is the one before it.
    pub empty: bool,
}

/// What replaying came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// Every member went on; the last step's commit is the candidate.
    Made {
        /// One step for each member, in order.
        steps: Vec<Step>,
    },
    /// A member cannot be merged by Git's rules.
    Conflict {
        /// The member's change.
        change: ChangeId,
        /// The paths in conflict, sorted.
        paths: Vec<Vec<u8>>,
        /// The steps before it.
        made: Vec<Step>,
    },
}

/// What one replay has learnt so far.
#[derive(Debug, Default)]
struct Learnt {
    ancestry: Ancestry,
    contents: Contents,
}

/// The commit that grows while members are replayed.
#[derive(Clone, Copy)]
struct Onto {
    commit: ObjectId,
    tree: ObjectId,
}

impl GitRepository {
    /// Puts `members` onto `base` one after the other and writes the commits; no ref moves.
    ///
    /// Errors: [`GitError::Object`] if something needed is missing or corrupt, [`GitError::Unrelated`],
    /// [`GitError::Storage`]. A conflict is no error.
    pub fn replay(&self, base: CommitId, members: &[Member], method: Method) -> Result<Replay, GitError> {
        let base = object_id(base);
        let mut onto = Onto {
            commit: base,
            tree: self.commit(base)?.tree,
        };
        // What earlier members held is in `onto` in content, though perhaps under other names.
        let mut contained = vec![base];
        let mut steps = Vec::with_capacity(members.len());
        let mut learnt = Learnt::default();
        for member in members {
            let head = object_id(member.head);
            self.commit(head)?;
            let mut known = contained.clone();
            known.push(onto.commit);
            known.extend(member.stands_on.iter().copied().map(object_id));
            let next = match method {
                Method::Rebase => self.rebase(&mut learnt, onto, member, &known)?,
                Method::Squash | Method::Merge => self.join(&mut learnt, onto, member, &known, method)?,
            };
            let next = match next {
                Merged::Clean(next) => next,
                Merged::Conflict(paths) => {
                    let change = member.change;
                    return Ok(Replay::Conflict {
                        change,
                        paths,
                        made: steps,
                    });
                }
            };
            steps.push(Step {
                change: member.change,
                commit: commit_id(next.commit),
                tree: tree_id(next.tree),
                empty: next.commit == onto.commit,
            });
            contained.push(head);
            onto = next;
        }
        Ok(Replay::Made { steps })
    }

    fn rebase(
        &self,
        learnt: &mut Learnt,
        mut onto: Onto,
        member: &Member,
        known: &[ObjectId],
    ) -> Result<Merged<Onto>, GitError> {
        let start = onto;
        let mut has_merge = false;
        for (id, parts) in self.commits_left(&mut learnt.ancestry, object_id(member.head), known)? {
            has_merge |= parts.parents.len() > 1;
            let parent = match parts.parents.as_slice() {
                [] => ObjectId::empty_tree(gix::hash::Kind::Sha1),
                [parent] if *parent == onto.commit => {
                    let tree = parts.tree;
                    onto = Onto { commit: id, tree };
                    continue;
                }
                [parent] => self.commit(*parent)?.tree,
                // A merge inside a branch is skipped: both its sides are picked.
                _ => continue,
            };
            let tree = match self.merge(&mut learnt.contents, [parent, onto.tree, parts.tree], id)? {
                Merged::Clean(tree) => tree,
                Merged::Conflict(paths) => return Ok(Merged::Conflict(paths)),
            };
            let was_empty = parts.tree == parent;
            if tree == onto.tree && !was_empty {
                continue;
            }
            let commit = self.write_commit(tree, &[onto.commit], &parts, member)?;
            onto = Onto { commit, tree };
        }
        if !has_merge {
            return Ok(Merged::Clean(onto));
        }
        // What was edited in a merge commit itself is in no commit that was picked: then all of it lands as one commit.
        match self.join(learnt, start, member, known, Method::Squash)? {
            Merged::Clean(joined) if joined.tree != onto.tree => Ok(Merged::Clean(joined)),
            Merged::Clean(_) => Ok(Merged::Clean(onto)),
            conflict @ Merged::Conflict(_) => Ok(conflict),
        }
    }

    fn join(
        &self,
        learnt: &mut Learnt,
        onto: Onto,
        member: &Member,
        known: &[ObjectId],
        method: Method,
    ) -> Result<Merged<Onto>, GitError> {
        let head = object_id(member.head);
        let relation = learnt.ancestry.relate(self, head, known)?;
        if relation.bases.contains(&head) {
            return Ok(Merged::Clean(onto));
        }
        let offered = self.commit(head)?;
        let merged = match relation.bases.as_slice() {
            [] => return Err(self.unrelated(head, onto.commit)),
            [base] => {
                let trees = [self.commit(*base)?.tree, onto.tree, offered.tree];
                self.merge(&mut learnt.contents, trees, head)?
            }
            // Several bases have to be merged first, which only Git does by Git's rules.
            bases => self.ask_git_over(bases, self.bare_commit(onto.tree, known)?, head)?,
        };
        let tree = match merged {
            Merged::Clean(tree) => tree,
            Merged::Conflict(paths) => return Ok(Merged::Conflict(paths)),
        };
        let (parents, author) = match method {
            Method::Merge => (vec![onto.commit, head], committer_line(member)),
            Method::Squash | Method::Rebase if tree == onto.tree => return Ok(Merged::Clean(onto)),
            Method::Squash | Method::Rebase => (vec![onto.commit], offered.author),
        };
        let parts = Parts {
            author,
            encoding: None,
            message: format!("{}\n", member.title).into_bytes(),
            parents: Vec::new(),
            tree,
        };
        let commit = self.write_commit(tree, &parents, &parts, member)?;
        Ok(Merged::Clean(Onto { commit, tree }))
    }

    /// Lists the commits reachable from `head` and from none of `known`, parents before children.
    fn commits_left(
        &self,
        ancestry: &mut Ancestry,
        head: ObjectId,
        known: &[ObjectId],
    ) -> Result<Vec<(ObjectId, Parts)>, GitError> {
        let own = ancestry.relate(self, head, known)?.own;
        let mut left = HashMap::with_capacity(own.len());
        for id in own {
            left.insert(id, self.commit(id)?);
        }
        let mut ordered = Vec::with_capacity(left.len());
        let mut seen = HashSet::new();
        let mut stack = vec![(head, false)];
        while let Some((id, parents_done)) = stack.pop() {
            if parents_done {
                ordered.extend(left.remove(&id).map(|parts| (id, parts)));
                continue;
            }
            if !seen.insert(id) {
                continue;
            }
            let Some(parts) = left.get(&id) else { continue };
            stack.push((id, true));
            stack.extend(parts.parents.iter().rev().map(|parent| (*parent, false)));
        }
        Ok(ordered)
    }

    /// Writes a commit byte by byte, so that authors and messages stay exactly as they were.
    fn write_commit(
        &self,
        tree: ObjectId,
        parents: &[ObjectId],
        parts: &Parts,
        member: &Member,
    ) -> Result<ObjectId, GitError> {
        let mut bytes = format!("tree {tree}\n").into_bytes();
        for parent in parents {
            bytes.extend(format!("parent {parent}\n").into_bytes());
        }
        let mut header = |name: &str, value: &[u8]| {
            bytes.extend(name.as_bytes());
            bytes.extend(value);
            bytes.push(b'\n');
        };
        header("author ", &parts.author);
        header("committer ", &committer_line(member));
        if let Some(encoding) = &parts.encoding {
            header("encoding ", encoding);
        }
        header("", b"");
        bytes.extend(&parts.message);
        self.write_object(gix::objs::Kind::Commit, &bytes)
    }
}

fn committer_line(member: &Member) -> Vec<u8> {
    format!(
        "gantry <gantry@localhost> {} +0000",
        member.offered_at.as_seconds()
    )
    .into_bytes()
}

/// Returns gantry's own name at the given second, for logs of refs.
pub(super) fn committer(seconds: i64) -> gix::actor::Signature {
    gix::actor::Signature {
        name: "gantry".into(),
        email: "gantry@localhost".into(),
        time: gix::date::Time { seconds, offset: 0 },
    }
}

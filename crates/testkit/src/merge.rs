//! Three-way merges and replays over trees of whole files. Deterministic: equal input gives equal commits.

use std::collections::{BTreeSet, HashSet};

use gantry_adapters::git::{GitError, Member, Method, Replay, Step};
use gantry_core::id::CommitId;

use crate::git::{Files, Git};

/// The files, or the paths in conflict.
type Merged = Result<Files, Vec<String>>;

pub(crate) fn merge(base: &Files, ours: &Files, theirs: &Files) -> Merged {
    let paths: BTreeSet<&String> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
    let mut files = Files::new();
    let mut clashes = Vec::new();
    for path in paths {
        let (old, mine, other) = (base.get(path), ours.get(path), theirs.get(path));
        let kept = if mine == other || old == other {
            mine
        } else if old == mine {
            other
        } else {
            clashes.push(path.clone());
            None
        };
        if let Some(content) = kept {
            files.insert(path.clone(), content.clone());
        }
    }
    if clashes.is_empty() {
        Ok(files)
    } else {
        Err(clashes)
    }
}

impl Git {
    /// Puts members onto a base as the real repository does.
    ///
    /// Errors: an object is missing.
    pub(crate) fn replay(
        &mut self,
        base: CommitId,
        members: &[Member],
        method: Method,
    ) -> Result<Replay, GitError> {
        self.look(base)?;
        let mut onto = base;
        let mut contained = vec![base];
        let mut steps = Vec::new();
        for member in members {
            for id in self.ancestors(member.head) {
                self.look(id)?;
            }
            let mut known = contained.clone();
            known.push(onto);
            known.extend(member.stands_on.iter().copied());
            let next = match method {
                Method::Rebase => self.rebase(onto, member, &known),
                Method::Squash | Method::Merge => self.join(onto, member, &known, method),
            };
            let next = match next {
                Ok(next) => next,
                Err(paths) => {
                    return Ok(Replay::Conflict {
                        change: member.change,
                        paths: paths.into_iter().map(String::into_bytes).collect(),
                        made: steps,
                    });
                }
            };
            steps.push(Step {
                change: member.change,
                commit: next,
                tree: self.commit(next).tree,
                empty: next == onto,
            });
            contained.push(member.head);
            onto = next;
        }
        Ok(Replay::Made { steps })
    }

    fn rebase(
        &mut self,
        mut onto: CommitId,
        member: &Member,
        known: &[CommitId],
    ) -> Result<CommitId, Vec<String>> {
        for id in self.left(member.head, known) {
            let commit = self.commit(id).clone();
            let parent = match commit.parents.as_slice() {
                [] => Files::new(),
                [parent] if *parent == onto => {
                    onto = id;
                    continue;
                }
                [parent] => self.files_at(*parent).clone(),
                _ => continue,
            };
            let files = merge(&parent, self.files_at(onto), self.files_at(id))?;
            if files == *self.files_at(onto) {
                continue;
            }
            let seconds = member.offered_at.as_seconds();
            onto = self.write(vec![onto], files, &commit.subject, &commit.author, seconds);
        }
        Ok(onto)
    }

    fn join(
        &mut self,
        onto: CommitId,
        member: &Member,
        known: &[CommitId],
        method: Method,
    ) -> Result<CommitId, Vec<String>> {
        let head = member.head;
        let Some(base) = self.merge_base(head, known) else {
            return Err(vec!["unrelated".to_owned()]);
        };
        if base == head {
            return Ok(onto);
        }
        let files = merge(self.files_at(base), self.files_at(onto), self.files_at(head))?;
        if files == *self.files_at(onto) && method != Method::Merge {
            return Ok(onto);
        }
        let parents = match method {
            Method::Merge => vec![onto, head],
            Method::Squash | Method::Rebase => vec![onto],
        };
        let author = self.commit(head).author.clone();
        Ok(self.write(
            parents,
            files,
            &member.title,
            &author,
            member.offered_at.as_seconds(),
        ))
    }

    /// Lists what is reachable from `head` and from none of `known`, parents before children.
    pub(crate) fn left(&mut self, head: CommitId, known: &[CommitId]) -> Vec<CommitId> {
        let had: HashSet<CommitId> = known.iter().flat_map(|id| self.ancestors(*id)).collect();
        let mut left: Vec<CommitId> = self
            .ancestors(head)
            .into_iter()
            .filter(|id| !had.contains(id))
            .collect();
        left.sort_by_key(|id| (self.commit(*id).generation, *id));
        left
    }

    /// Returns the youngest commit that both have.
    pub(crate) fn merge_base(&mut self, head: CommitId, known: &[CommitId]) -> Option<CommitId> {
        let had: HashSet<CommitId> = known.iter().flat_map(|id| self.ancestors(*id)).collect();
        let common = self.ancestors(head).into_iter().filter(|id| had.contains(id));
        common.max_by_key(|id| (self.commit(*id).generation, *id))
    }
}

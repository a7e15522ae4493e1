//! Which landing made a change conflict. Owns an index of what the target's recent commits touched; must never
//! name a commit that the change holds already.

use std::collections::HashMap;

use gix::ObjectId;

use super::delta::{Edit, edit_at};
use super::history::Ancestry;
use super::merge::{Contents, Merged};
use super::{GitError, GitRepository};

/// How many commits of the target's first-parent line are searched; older culprits stay unknown.
const LOG_COMMITS_MAX: usize = 2_000;

/// What the target's commits touched, along first parents.
#[derive(Debug, Default)]
pub(super) struct TargetLog {
    /// Oldest first.
    commits: Vec<ObjectId>,
    at: HashMap<ObjectId, usize>,
    touched: HashMap<Vec<u8>, Vec<usize>>,
    /// The search ended here; what lies before is not in the log.
    is_whole: bool,
}

/// One conflict to be explained.
pub(super) struct Case<'a> {
    /// The target's tip.
    pub(super) tip: ObjectId,
    /// The first commit on the target's first-parent line that the change holds.
    pub(super) fork: Option<ObjectId>,
    /// The change's head.
    pub(super) head: ObjectId,
    /// The paths in conflict.
    pub(super) paths: &'a [Vec<u8>],
    /// What the change does since its merge base.
    pub(super) edits: &'a [Edit],
}

impl TargetLog {
    /// Finds the first commit with which any of the paths conflicts, looking at these paths only.
    pub(super) fn culprit_at_paths(
        &mut self,
        repository: &GitRepository,
        ancestry: &mut Ancestry,
        contents: &mut Contents,
        case: &Case<'_>,
    ) -> Result<Option<ObjectId>, GitError> {
        self.extend(repository, ancestry, case.tip)?;
        self.first(case, |commit| {
            let tree = repository.commit(commit)?.tree;
            for path in case.paths {
                let Some(edit) = edit_at(case.edits, path) else {
                    continue;
                };
                let ours = repository
                    .entry_at(tree, path)?
                    .filter(|entry| !entry.is_directory());
                if repository.clashes_at(contents, edit.old, ours, edit.new)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Finds the first commit with which Git cannot merge the change.
    pub(super) fn culprit_by_git(
        &mut self,
        repository: &GitRepository,
        ancestry: &mut Ancestry,
        case: &Case<'_>,
    ) -> Result<Option<ObjectId>, GitError> {
        self.extend(repository, ancestry, case.tip)?;
        self.first(case, |commit| {
            let merged = repository.ask_git(commit, case.head, case.head)?;
            Ok(matches!(merged, Merged::Conflict(_)))
        })
    }

    /// Halves the commits that touched the paths until the first conflicting one is found.
    fn first(
        &self,
        case: &Case<'_>,
        mut conflicts: impl FnMut(ObjectId) -> Result<bool, GitError>,
    ) -> Result<Option<ObjectId>, GitError> {
        let oldest = match case.fork.and_then(|fork| self.at.get(&fork)) {
            Some(at) => at + 1,
            None => 0,
        };
        let Some(newest) = self.at.get(&case.tip).copied() else {
            return Ok(None);
        };
        let mut candidates: Vec<usize> = case
            .paths
            .iter()
            .filter_map(|path| self.touched.get(path))
            .flatten()
            .copied()
            .filter(|at| (oldest..=newest).contains(at))
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        let (mut low, mut high) = (0, candidates.len());
        while low < high {
            let middle = low.midpoint(high);
            if conflicts(self.commits[candidates[middle]])? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let found = candidates.get(low).map(|at| self.commits[*at]);
        // The first commit of a log that was cut off may only be the first that is known.
        Ok(found.filter(|_| low > 0 || self.is_whole || oldest > 0))
    }

    /// Brings the log up to `tip`.
    fn extend(
        &mut self,
        repository: &GitRepository,
        ancestry: &mut Ancestry,
        tip: ObjectId,
    ) -> Result<(), GitError> {
        let mut new = Vec::new();
        let mut next = Some(tip);
        let mut joins = false;
        while let Some(id) = next {
            if self.at.contains_key(&id) {
                joins = self.commits.last() == Some(&id);
                break;
            }
            if new.len() == LOG_COMMITS_MAX {
                break;
            }
            new.push(id);
            next = ancestry.first_parent(repository, id)?;
        }
        if !joins || self.commits.len() + new.len() > 2 * LOG_COMMITS_MAX {
            *self = Self::default();
            new = Self::line(repository, ancestry, tip)?;
            self.is_whole = new.len() < LOG_COMMITS_MAX;
        }
        for id in new.into_iter().rev() {
            let parent = ancestry.first_parent(repository, id)?;
            let from = match parent {
                Some(parent) => repository.commit(parent)?.tree,
                None => ObjectId::empty_tree(gix::hash::Kind::Sha1),
            };
            let at = self.commits.len();
            for edit in repository.delta(from, repository.commit(id)?.tree)? {
                self.touched.entry(edit.path).or_default().push(at);
            }
            self.at.insert(id, at);
            self.commits.push(id);
        }
        Ok(())
    }

    fn line(
        repository: &GitRepository,
        ancestry: &mut Ancestry,
        tip: ObjectId,
    ) -> Result<Vec<ObjectId>, GitError> {
        let mut line = Vec::new();
        let mut next = Some(tip);
        while let Some(id) = next.filter(|_| line.len() < LOG_COMMITS_MAX) {
            line.push(id);
            next = ancestry.first_parent(repository, id)?;
        }
        Ok(line)
    }
}

//! Standing knowledge of open changes: which merge into the target, which do not, because of what, and which get
//! in one another's way. Owns a cache that may be lost at any time; must never answer otherwise than Git would.
//!
//! After a landing only changes that could notice it are merged again. A merge is arithmetic over paths
//! (`merge`), so a landing can change its outcome only if it touched a path, or a directory on the way to a path,
//! that the change touches, unless the target itself may have renamed something of the change's; those changes are
//! marked [`Known::unsteady`] and merged again each time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gantry_core::id::{ChangeId, CommitId, TreeId};
use gix::ObjectId;

use super::culprit::TargetLog;
use super::delta::{Edit, directories, edit_at, edits_under};
use super::history::{Ancestry, Relation};
use super::merge::{Combined, Contents, Merged};
use super::pairs::Pairs;
use super::repository::{commit_id, object_id, tree_id};
use super::{GitError, GitRepository};

/// An open change as it was offered last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHead {
    /// Which change it is.
    pub change: ChangeId,
    /// The commit that was offered.
    pub head: CommitId,
}

/// How a change stands to the target's tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It merges.
    Clean {
        /// The merged tree, if it was written; the radar avoids writing it.
        tree: Option<TreeId>,
    },
    /// It does not merge.
    Conflict {
        /// The paths in conflict, sorted.
        paths: Vec<Vec<u8>>,
        /// The first commit on the target's first-parent line with which it conflicts, if it is known.
        culprit: Option<CommitId>,
    },
    /// The target has its head, or merging it would change nothing.
    AlreadyIn,
    /// It cannot be told: an object is missing or Git failed. Never the change's fault.
    Trouble(String),
}

/// What the radar knows of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which change it is.
    pub change: ChangeId,
    /// The head that was looked at.
    pub head: CommitId,
    /// How it stands.
    pub standing: Standing,
    /// How many commits the target has that the change has not.
    pub behind: usize,
    /// The paths it touches since its merge base, sorted; empty if that is not known.
    pub paths: Arc<[Vec<u8>]>,
}

/// What is kept of one change between landings.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) verdict: Verdict,
    relation: Relation,
    /// What it changes since its merge base.
    pub(super) edits: Arc<[Edit]>,
    /// What merging it would do to the tip; `None` unless it merges.
    pub(super) result: Option<Arc<[Edit]>>,
    /// Counts how often `result` changed.
    pub(super) version: u64,
    /// Any landing may change the verdict.
    unsteady: bool,
    /// Git was asked, so the verdict may rest on paths beside the change's own.
    was_asked: bool,
}

/// The radar of one target. Holds no authority: a new one comes to the same verdicts.
#[derive(Debug, Default)]
pub struct Radar {
    pub(super) tip: Option<ObjectId>,
    pub(super) known: HashMap<ChangeId, Known>,
    ancestry: Ancestry,
    pub(super) contents: Contents,
    log: TargetLog,
    pub(super) memory: Option<GitRepository>,
    pub(super) pairs: Pairs,
    versions: u64,
}

/// Objects kept in memory before the radar forgets all it knows and starts anew.
const MEMORY_OBJECTS_MAX: usize = 50_000;

/// The target as one check sees it.
struct Target {
    tip: ObjectId,
    tree: ObjectId,
    /// What was known before is about an ancestor of the tip: what came since.
    step: Option<Step>,
    /// Edits from a merge base to the tip, of the base asked for last.
    since: Option<(ObjectId, Arc<[Edit]>)>,
}

struct Step {
    edits: Vec<Edit>,
    commits: HashSet<ObjectId>,
}

impl Radar {
    /// Makes a radar that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how each of the open changes stands to `tip`, in the order given.
    ///
    /// Errors: [`GitError`] if the tip itself cannot be read. What is wrong with one change is its
    /// [`Standing::Trouble`].
    pub fn check(
        &mut self,
        repository: &GitRepository,
        tip: CommitId,
        open: &[OpenHead],
    ) -> Result<Vec<Verdict>, GitError> {
        let memory = self.enter(repository)?;
        let checked = self.check_in(&memory, object_id(tip), open);
        self.memory = Some(memory);
        checked
    }

    /// Takes out the view of the repository in which merged files live in memory only.
    pub(super) fn enter(&mut self, repository: &GitRepository) -> Result<GitRepository, GitError> {
        let full = |memory: &GitRepository| memory.inner.objects.num_objects_in_memory() > MEMORY_OBJECTS_MAX;
        let same = |memory: &GitRepository| memory.directory() == repository.directory();
        match self.memory.take().filter(|memory| same(memory) && !full(memory)) {
            Some(memory) => Ok(memory),
            None => {
                *self = Self::default();
                let mut inner = repository.inner.clone().with_object_memory();
                inner.object_cache_size(super::repository::OBJECT_CACHE_BYTES);
                Ok(GitRepository { inner })
            }
        }
    }

    fn check_in(
        &mut self,
        repository: &GitRepository,
        tip: ObjectId,
        open: &[OpenHead],
    ) -> Result<Vec<Verdict>, GitError> {
        let mut target = Target {
            tip,
            tree: repository.commit(tip)?.tree,
            step: None,
            since: None,
        };
        target.step = self.step_to(repository, tip, target.tree)?;
        let wanted: HashSet<ChangeId> = open.iter().map(|open| open.change).collect();
        self.known.retain(|change, _| wanted.contains(change));
        let mut stale: Vec<(Option<ObjectId>, &OpenHead)> = Vec::new();
        for open in open {
            if !self.keeps(open, &target) {
                let relation = self.relation(repository, open, &target);
                let base = relation.as_ref().ok().and_then(|r| r.bases.first().copied());
                self.begin(open, relation);
                stale.push((base, open));
            }
        }
        // Changes that left the target at one commit share the list of what came since.
        stale.sort_by_key(|(base, _)| *base);
        for (_, open) in stale {
            self.examine(repository, open, &mut target);
        }
        self.tip = Some(tip);
        let verdict = |open: &OpenHead| self.known.get(&open.change).map(|known| known.verdict.clone());
        Ok(open.iter().filter_map(verdict).collect())
    }

    /// Finds what came since the last check, if the target only grew.
    fn step_to(
        &mut self,
        repository: &GitRepository,
        tip: ObjectId,
        tree: ObjectId,
    ) -> Result<Option<Step>, GitError> {
        let Some(before) = self.tip else {
            return Ok(None);
        };
        let relation = self.ancestry.relate(repository, tip, &[before])?;
        if relation.bases != [before] {
            return Ok(None);
        }
        let edits = repository.delta(repository.commit(before)?.tree, tree)?;
        let commits = relation.own.into_iter().collect();
        Ok(Some(Step { edits, commits }))
    }

    /// Keeps a verdict that the step cannot have changed, and counts the new commits.
    fn keeps(&mut self, open: &OpenHead, target: &Target) -> bool {
        let Some(known) = self.known.get_mut(&open.change) else {
            return false;
        };
        let Some(step) = &target.step else {
            return false;
        };
        if known.verdict.head != open.head || matches!(known.verdict.standing, Standing::Trouble(_)) {
            return false;
        }
        if known.relation.own.iter().any(|own| step.commits.contains(own)) {
            return false;
        }
        if !step.commits.is_empty() && known.notices(&step.edits) {
            return false;
        }
        if let Standing::Clean { tree } = &mut known.verdict.standing
            && !step.commits.is_empty()
        {
            // The merged tree is another now, though what the merge does to the tip is the same.
            *tree = None;
        }
        known.relation.behind += step.commits.len();
        known.verdict.behind = known.relation.behind;
        true
    }

    fn relation(
        &mut self,
        repository: &GitRepository,
        open: &OpenHead,
        target: &Target,
    ) -> Result<Relation, GitError> {
        if let (Some(known), Some(step)) = (self.known.get(&open.change), &target.step) {
            let apart = known.relation.own.iter().all(|own| !step.commits.contains(own));
            if apart && known.verdict.head == open.head && !known.relation.bases.is_empty() {
                let mut relation = known.relation.clone();
                relation.behind += step.commits.len();
                return Ok(relation);
            }
        }
        let head = object_id(open.head);
        let relation = self.ancestry.relate(repository, head, &[target.tip])?;
        if relation.bases.is_empty() {
            return Err(repository.unrelated(head, target.tip));
        }
        Ok(relation)
    }

    /// Notes the change with what is known before it is merged.
    fn begin(&mut self, open: &OpenHead, relation: Result<Relation, GitError>) {
        let before = self
            .known
            .remove(&open.change)
            .filter(|known| known.verdict.head == open.head);
        let (relation, trouble) = match relation {
            Ok(relation) => (relation, String::new()),
            Err(error) => (Relation::default(), shown(&error)),
        };
        let same_base = before
            .as_ref()
            .is_some_and(|known| known.relation.bases == relation.bases);
        let (edits, result, version) = match before {
            Some(known) if same_base => (Some(known.edits), known.result, known.version),
            _ => (None, None, 0),
        };
        let verdict = Verdict {
            change: open.change,
            head: open.head,
            standing: Standing::Trouble(trouble),
            behind: relation.behind,
            paths: Arc::default(),
        };
        self.known.insert(
            open.change,
            Known {
                verdict,
                relation,
                edits: edits.unwrap_or_default(),
                result,
                version,
                unsteady: false,
                was_asked: false,
            },
        );
    }

    fn examine(&mut self, repository: &GitRepository, open: &OpenHead, target: &mut Target) {
        let Some(mut known) = self.known.remove(&open.change) else {
            return;
        };
        if !known.relation.bases.is_empty() {
            let before = known.result.take();
            match self.merge(repository, &mut known, target) {
                Ok(standing) => known.verdict.standing = standing,
                Err(error) => {
                    known.verdict.standing = Standing::Trouble(shown(&error));
                    known.result = None;
                }
            }
            if known.version == 0 || before != known.result {
                self.versions += 1;
                known.version = self.versions;
            }
        }
        self.known.insert(open.change, known);
    }

    /// Merges one change into the tip.
    fn merge(
        &mut self,
        repository: &GitRepository,
        known: &mut Known,
        target: &mut Target,
    ) -> Result<Standing, GitError> {
        let head = object_id(known.verdict.head);
        let base = known.relation.bases[0];
        if base == head {
            known.unsteady = false;
            known.result = Some(Arc::default());
            return Ok(Standing::AlreadyIn);
        }
        let base_tree = repository.commit(base)?.tree;
        if known.edits.is_empty() {
            known.edits = repository.delta(base_tree, repository.commit(head)?.tree)?.into();
        }
        known.verdict.paths = known.edits.iter().map(|edit| edit.path.clone()).collect();
        let ours = target.since(repository, base, base_tree)?;
        let combined = if known.relation.bases.len() == 1 {
            repository.combine(&mut self.contents, base_tree, &ours, &known.edits)?
        } else {
            Combined::Unsure
        };
        known.was_asked = combined == Combined::Unsure;
        known.unsteady = is_unsteady(repository, target.tree, &ours, &known.edits)?
            || (known.was_asked
                && (known.relation.bases.len() > 1
                    || empties_directory(repository, base_tree, &known.edits)?));
        let (edits, tree) = match combined {
            Combined::Clean(edits) => (edits, None),
            Combined::Conflict(paths) => {
                let culprit = self.log.culprit_at_paths(
                    repository,
                    &mut self.ancestry,
                    &mut self.contents,
                    &super::culprit::Case {
                        tip: target.tip,
                        fork: known.relation.fork,
                        head,
                        paths: &paths,
                        edits: &known.edits,
                    },
                )?;
                return Ok(conflict(paths, culprit));
            }
            Combined::Unsure => match repository.ask_git_over(&known.relation.bases, target.tip, head)? {
                Merged::Clean(tree) => (repository.delta(target.tree, tree)?, Some(tree_id(tree))),
                Merged::Conflict(paths) => {
                    let culprit = self.log.culprit_by_git(
                        repository,
                        &mut self.ancestry,
                        &super::culprit::Case {
                            tip: target.tip,
                            fork: known.relation.fork,
                            head,
                            paths: &paths,
                            edits: &known.edits,
                        },
                    )?;
                    return Ok(conflict(paths, culprit));
                }
            },
        };
        let adds_nothing = edits.is_empty();
        known.result = Some(edits.into());
        Ok(if adds_nothing {
            Standing::AlreadyIn
        } else {
            Standing::Clean { tree }
        })
    }
}

impl Known {
    /// Tells whether what landed could change the verdict.
    fn notices(&self, landed: &[Edit]) -> bool {
        if self.unsteady || touches(&self.edits, landed) {
            return true;
        }
        if !self.was_asked {
            return false;
        }
        match (&self.result, &self.verdict.standing) {
            (Some(result), _) => touches(result, landed),
            (None, Standing::Conflict { paths, .. }) => landed
                .iter()
                .any(|landed| paths.binary_search(&landed.path).is_ok()),
            (None, _) => true,
        }
    }
}

impl Target {
    fn since(
        &mut self,
        repository: &GitRepository,
        base: ObjectId,
        base_tree: ObjectId,
    ) -> Result<Arc<[Edit]>, GitError> {
        if let Some((of, edits)) = &self.since
            && *of == base
        {
            return Ok(Arc::clone(edits));
        }
        let edits: Arc<[Edit]> = repository.delta(base_tree, self.tree)?.into();
        self.since = Some((base, Arc::clone(&edits)));
        Ok(edits)
    }
}

fn conflict(paths: Vec<Vec<u8>>, culprit: Option<ObjectId>) -> Standing {
    Standing::Conflict {
        paths,
        culprit: culprit.map(commit_id),
    }
}

fn shown(error: &GitError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Tells whether what landed could matter to merging a change, renames on the target's side left aside.
fn touches(edits: &[Edit], landed: &[Edit]) -> bool {
    landed.iter().any(|landed| {
        edit_at(edits, &landed.path).is_some()
            || !edits_under(edits, &landed.path).is_empty()
            || directories(&landed.path).any(|directory| {
                edit_at(edits, directory).is_some()
                    // A directory that one side empties while the other adds to it may count as renamed.
                    || edits_under(edits, directory).iter().any(|edit| {
                        (landed.adds() && edit.deletes()) || (landed.deletes() && edit.adds())
                    })
            })
    })
}

/// Tells whether a landing anywhere could turn what merged path by path into a question of renames.
fn is_unsteady(
    repository: &GitRepository,
    tip_tree: ObjectId,
    ours: &[Edit],
    theirs: &[Edit],
) -> Result<bool, GitError> {
    for their in theirs {
        let both = edit_at(ours, &their.path);
        // What the target deleted it may have renamed, to a file that lands only now.
        if both.is_some_and(Edit::deletes) {
            return Ok(true);
        }
        if !their.adds() {
            continue;
        }
        for directory in directories(&their.path) {
            if edits_under(ours, directory).iter().any(Edit::deletes)
                && repository.entry_at(tip_tree, directory)?.is_none()
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Tells whether a change takes everything out of some directory, so that Git may call the directory renamed.
fn empties_directory(repository: &GitRepository, base: ObjectId, edits: &[Edit]) -> Result<bool, GitError> {
    for edit in edits.iter().filter(|edit| edit.deletes()) {
        for directory in directories(&edit.path) {
            if repository.removed(base, edits, directory)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

//! Which open changes get in one another's way. Owns the verdicts on pairs and the search for duplicates; must
//! never merge a pair that shares nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gantry_core::id::ChangeId;
use gix::ObjectId;

use super::delta::{Edit, directories};
use super::merge::{Combined, Merged};
use super::radar::{Radar, Standing};
use super::{GitError, GitRepository};

/// What landing one of two changes means for the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlap {
    /// Both can land.
    Compatible,
    /// Once one has landed the other conflicts, at these paths, sorted.
    Conflict(Vec<Vec<u8>>),
    /// They do the same: once one has landed nothing is left of the other.
    Duplicate,
    /// One of them does not merge into the target as it is, so there is nothing to judge.
    Unjudged,
}

/// Two open changes that touch the same paths, or the same directories in ways that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairVerdict {
    /// The change with the smaller number.
    pub a: ChangeId,
    /// The other one.
    pub b: ChangeId,
    /// How many paths both touch.
    pub paths_shared: usize,
    /// What Git says to merging both into the tip.
    pub overlap: Overlap,
}

type PairKey = (ChangeId, ChangeId);

/// Verdicts on pairs, each with the versions of the two changes it is about.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    verdicts: HashMap<PairKey, ((u64, u64), PairVerdict)>,
}

/// One change as the search sees it.
struct Side {
    change: ChangeId,
    version: u64,
    /// What it does to the tip, or to its merge base if it does not merge.
    edits: Arc<[Edit]>,
    merges: bool,
}

impl Radar {
    /// Returns the pairs of open changes that share something, as of the last [`Radar::check`].
    ///
    /// Shape: sorted by the numbers of the two changes; changes that are in already or in trouble are left out.
    /// Errors: [`GitError`] if an object is missing or Git fails.
    pub fn overlaps(&mut self, repository: &GitRepository) -> Result<Vec<PairVerdict>, GitError> {
        let Some(tip) = self.tip else {
            return Ok(Vec::new());
        };
        let memory = self.enter(repository)?;
        let pairs = self.overlaps_in(&memory, repository, tip);
        self.memory = Some(memory);
        pairs
    }

    fn overlaps_in(
        &mut self,
        memory: &GitRepository,
        repository: &GitRepository,
        tip: ObjectId,
    ) -> Result<Vec<PairVerdict>, GitError> {
        let sides = self.sides();
        let tree = memory.commit(tip)?.tree;
        let mut fresh = HashMap::new();
        for (one, other) in candidates(memory, tree, &sides)? {
            let (one, other) = (&sides[one], &sides[other]);
            let key = (one.change, other.change);
            let versions = (one.version, other.version);
            let kept = self.pairs.verdicts.remove(&key).filter(|(of, _)| *of == versions);
            let verdict = match kept {
                Some((_, verdict)) => verdict,
                None => PairVerdict {
                    a: one.change,
                    b: other.change,
                    paths_shared: shared(&one.edits, &other.edits),
                    overlap: self.judge(memory, repository, (tip, tree), one, other)?,
                },
            };
            fresh.insert(key, (versions, verdict));
        }
        self.pairs.verdicts = fresh;
        let mut verdicts: Vec<_> = self.pairs.verdicts.values().map(|(_, v)| v.clone()).collect();
        verdicts.sort_by_key(|verdict| (verdict.a, verdict.b));
        Ok(verdicts)
    }

    /// Lists the changes that can overlap, by number.
    fn sides(&self) -> Vec<Side> {
        let mut sides: Vec<Side> = self
            .known
            .values()
            .filter(|known| {
                matches!(
                    known.verdict.standing,
                    Standing::Clean { .. } | Standing::Conflict { .. }
                )
            })
            .map(|known| Side {
                change: known.verdict.change,
                version: known.version,
                edits: Arc::clone(known.result.as_ref().unwrap_or(&known.edits)),
                merges: known.result.is_some(),
            })
            .collect();
        sides.sort_by_key(|side| side.change);
        sides
    }

    fn judge(
        &mut self,
        memory: &GitRepository,
        repository: &GitRepository,
        (tip, tree): (ObjectId, ObjectId),
        one: &Side,
        other: &Side,
    ) -> Result<Overlap, GitError> {
        if one.edits == other.edits {
            return Ok(Overlap::Duplicate);
        }
        if !one.merges || !other.merges {
            return Ok(Overlap::Unjudged);
        }
        let merged = match memory.combine(&mut self.contents, tree, &one.edits, &other.edits)? {
            Combined::Clean(edits) => return Ok(outcome(edits.is_empty())),
            Combined::Conflict(paths) => return Ok(Overlap::Conflict(paths)),
            Combined::Unsure => {
                let mut heads = [tip, tip];
                for (head, side) in heads.iter_mut().zip([one, other]) {
                    persist(memory, repository, &side.edits)?;
                    let tree = repository.apply(tree, &side.edits)?;
                    *head = repository.bare_commit(tree, &[tip])?;
                }
                repository.ask_git(heads[0], heads[1], heads[1])?
            }
        };
        Ok(match merged {
            Merged::Clean(_) => Overlap::Compatible,
            Merged::Conflict(paths) => Overlap::Conflict(paths),
        })
    }

    /// Returns groups of open changes that do the same, each sorted, as of the last [`Radar::check`].
    ///
    /// Two changes do the same if merging either would change the same paths to the same content, or, where they
    /// do not merge, if they make the same edits to the same content. Rebased copies are found that way too.
    #[must_use]
    pub fn duplicates(&self) -> Vec<Vec<ChangeId>> {
        let mut groups: HashMap<&[Edit], BTreeSet<ChangeId>> = HashMap::new();
        for known in self.known.values() {
            let edits = known.result.as_ref().unwrap_or(&known.edits);
            if !edits.is_empty() {
                groups.entry(edits).or_default().insert(known.verdict.change);
            }
        }
        let mut groups: Vec<Vec<ChangeId>> = groups
            .into_values()
            .filter(|group| group.len() > 1)
            .map(|group| group.into_iter().collect())
            .collect();
        groups.sort();
        groups
    }
}

fn outcome(nothing_left: bool) -> Overlap {
    if nothing_left {
        Overlap::Duplicate
    } else {
        Overlap::Compatible
    }
}

/// Finds the pairs worth merging, by position, each once.
fn candidates(
    repository: &GitRepository,
    tree: ObjectId,
    sides: &[Side],
) -> Result<Vec<(usize, usize)>, GitError> {
    let mut at_path: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let mut adds_under: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, side) in sides.iter().enumerate() {
        for edit in side.edits.iter() {
            at_path.entry(&edit.path).or_default().push(at);
            if edit.adds() {
                for directory in directories(&edit.path) {
                    let adders = adds_under.entry(directory).or_default();
                    if adders.last() != Some(&at) {
                        adders.push(at);
                    }
                }
            }
        }
    }
    let mut pairs = HashSet::new();
    let mut meet = |one: usize, other: usize| {
        if one != other {
            pairs.insert((one.min(other), one.max(other)));
        }
    };
    for group in at_path.values() {
        for (at, one) in group.iter().enumerate() {
            group[at + 1..].iter().for_each(|other| meet(*one, *other));
        }
    }
    for (at, side) in sides.iter().enumerate() {
        for edit in side.edits.iter() {
            // A file where another change needs a directory.
            if edit.adds() {
                adds_under
                    .get(edit.path.as_slice())
                    .into_iter()
                    .flatten()
                    .for_each(|other| meet(at, *other));
            }
            if !edit.deletes() {
                continue;
            }
            // A directory emptied by one change that another adds to.
            for directory in directories(&edit.path) {
                let Some(adders) = adds_under.get(directory) else {
                    continue;
                };
                if repository.removed(tree, &side.edits, directory)? {
                    adders.iter().for_each(|other| meet(at, *other));
                }
            }
        }
    }
    Ok(pairs.into_iter().collect())
}

/// Counts the paths two sorted lists share.
fn shared(one: &[Edit], other: &[Edit]) -> usize {
    let paths: HashSet<&[u8]> = one.iter().map(|edit| edit.path.as_slice()).collect();
    other
        .iter()
        .filter(|edit| paths.contains(edit.path.as_slice()))
        .count()
}

/// Writes merged files that only memory holds, so that the git program can read them.
fn persist(memory: &GitRepository, repository: &GitRepository, edits: &[Edit]) -> Result<(), GitError> {
    for id in edits.iter().filter_map(|edit| edit.new).map(|entry| entry.id) {
        if repository.inner.has_object(id) {
            continue;
        }
        // A submodule's commit is in no repository of ours.
        let Ok(blob) = memory.inner.find_blob(id) else {
            continue;
        };
        repository.write_object(gix::objs::Kind::Blob, &blob.data)?;
    }
    Ok(())
}

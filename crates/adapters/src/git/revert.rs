//! Silent reverts: a change that brings back an older version of a file without saying so. Owns the search through
//! the target's past; must never accuse a change of what its merge would not do.

use std::collections::HashMap;

use gantry_core::id::CommitId;
use gix::ObjectId;

use super::delta::Entry;
use super::history::Ancestry;
use super::merge::Merged;
use super::repository::{commit_id, object_id};
use super::{GitError, GitRepository};

/// How many commits of the target's first-parent line are searched: at ten landings an hour about a week. A stale
/// copy older than that conflicts with almost everything anyway.
const PAST_COMMITS_MAX: usize = 2_000;

/// A file that a change would take back to a state the target had left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentRevert {
    /// The file.
    pub path: Vec<u8>,
    /// The commit of the target whose work on the file would be undone: the one that left the state that comes back.
    pub undoes: CommitId,
}

impl GitRepository {
    /// Tells whether merging `head` into `tip` would take a file back to an older version of the target's, though
    /// none of the change's commits says it reverts anything.
    ///
    /// Shape: the first such path in order of names; `None` also if the merge conflicts, as then nothing lands.
    /// What the target took back itself since does not count: the version must differ from the tip's. A version that
    /// was the tip's before the oldest of 2,000 first-parent commits is not found.
    ///
    /// Errors: [`GitError::Object`], [`GitError::Unrelated`], [`GitError::Program`], [`GitError::Storage`].
    pub fn silent_revert(&self, tip: CommitId, head: CommitId) -> Result<Option<SilentRevert>, GitError> {
        let (tip, head) = (object_id(tip), object_id(head));
        let mut ancestry = Ancestry::default();
        let relation = ancestry.relate(self, head, &[tip])?;
        if relation.bases.is_empty() {
            return Err(self.unrelated(head, tip));
        }
        for own in &relation.own {
            if says_revert(&self.commit(*own)?.message) {
                return Ok(None);
            }
        }
        let (tip_tree, head_tree) = (self.commit(tip)?.tree, self.commit(head)?.tree);
        let mut base_tree = None;
        let merged = match relation.bases.as_slice() {
            [base] => {
                let base = self.commit(*base)?.tree;
                base_tree = Some(base);
                self.merge(
                    &mut super::merge::Contents::default(),
                    [base, tip_tree, head_tree],
                    head,
                )?
            }
            bases => self.ask_git_over(bases, tip, head)?,
        };
        let Merged::Clean(merged) = merged else {
            return Ok(None);
        };
        let mut suspects: HashMap<Vec<u8>, Vec<ObjectId>> = HashMap::new();
        for edit in self.delta(tip_tree, merged)? {
            // A file that goes was once not there, as every file: deletions tell nothing.
            let Some(new) = edit.new else { continue };
            let mut versions = vec![new.id];
            // The target may have gone on elsewhere in the file, so that the merge is like nothing in the past.
            let offered = self.entry_at(head_tree, &edit.path)?;
            let based = match base_tree {
                Some(tree) => self.entry_at(tree, &edit.path)?,
                None => None,
            };
            versions.extend(
                offered
                    .filter(|offered| Some(*offered) != based)
                    .map(|offered| offered.id),
            );
            suspects.insert(edit.path, versions);
        }
        self.past_version(&mut ancestry, tip, suspects)
    }

    /// Walks back along first parents and finds the suspects' content in the past.
    fn past_version(
        &self,
        ancestry: &mut Ancestry,
        tip: ObjectId,
        mut suspects: HashMap<Vec<u8>, Vec<ObjectId>>,
    ) -> Result<Option<SilentRevert>, GitError> {
        let mut found: Vec<SilentRevert> = Vec::new();
        let mut later = tip;
        for _ in 0..PAST_COMMITS_MAX {
            if suspects.is_empty() {
                break;
            }
            let Some(earlier) = ancestry.first_parent(self, later)? else {
                break;
            };
            for edit in self.delta(self.commit(earlier)?.tree, self.commit(later)?.tree)? {
                let comes_back = |versions: &Vec<ObjectId>| is_version(edit.old, versions);
                if suspects.get(&edit.path).is_some_and(comes_back) {
                    suspects.remove(&edit.path);
                    found.push(SilentRevert {
                        path: edit.path,
                        undoes: commit_id(later),
                    });
                }
            }
            later = earlier;
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found.into_iter().next())
    }
}

/// Compares content alone: a changed mode makes no other version. An empty file tells nothing.
fn is_version(old: Option<Entry>, versions: &[ObjectId]) -> bool {
    let empty = ObjectId::empty_blob(gix::hash::Kind::Sha1);
    old.is_some_and(|old| old.id != empty && versions.contains(&old.id))
}

/// Tells whether a commit says that it takes something back.
fn says_revert(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message).to_lowercase();
    let subject = text.lines().next().unwrap_or_default();
    let said = |word: &str| {
        subject
            .strip_prefix(word)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    };
    said("revert")
        || said("reverts")
        || said("reapply")
        || said("roll back")
        || said("rollback")
        || text.contains("this reverts commit ")
}

#[cfg(test)]
mod tests {
    use super::super::invented::{Files, Invented};
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let entry =
            |(path, text): &(&str, &str)| (path.as_bytes().to_vec(), (0o100_644, text.as_bytes().to_vec()));
        pairs.iter().map(entry).collect()
    }

    const OLD: &str = "one\ntwo\nthree\n";
    const MID: &str = "one\nTWO\nthree\n";
    const NEW: &str = "one\nTWO\nthree\nfour\n";

    /// Checks a branch that starts at the target's commit number `from` and holds `own` as one commit.
    fn check(target: &[&str], from: usize, own: &[(&str, &str)], message: &str, wanted: Option<usize>) {
        let mut invented = Invented::new(1);
        let mut main = Vec::new();
        for text in target {
            let parents: Vec<usize> = main.last().copied().into_iter().collect();
            main.push(invented.commit("main", files(&[("a.txt", text), ("b.txt", "b\n")]), &parents));
        }
        let head = invented.commit_saying("topic", files(own), &[main[from]], message);
        let commits = invented.finish();
        let repository = GitRepository::open(invented.path()).expect("it opens");
        let tip = commits[main[target.len() - 1] - 1];
        let found = repository
            .silent_revert(tip, commits[head - 1])
            .expect("no trouble");
        let wanted = wanted.map(|number| SilentRevert {
            path: b"a.txt".to_vec(),
            undoes: commits[main[number] - 1],
        });
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_stale_copy_committed_over_the_targets_work_names_the_commit_it_undoes() {
        check(
            &[OLD, MID, NEW],
            2,
            &[("a.txt", OLD), ("b.txt", "mine\n")],
            "Improve b",
            Some(1),
        );
        check(
            &[OLD, MID, NEW],
            2,
            &[("a.txt", MID), ("b.txt", "b\n")],
            "Improve a",
            Some(2),
        );
    }

    #[test]
    fn a_revert_that_says_so_is_no_silent_one() {
        let stale = [("a.txt", OLD), ("b.txt", "b\n")];
        check(&[OLD, MID, NEW], 2, &stale, "Revert \"two\"", None);
        check(&[OLD, MID, NEW], 2, &stale, "revert: two", None);
        check(
            &[OLD, MID, NEW],
            2,
            &stale,
            "Undo\n\nThis reverts commit 1234567.",
            None,
        );
        check(
            &[OLD, MID, NEW],
            2,
            &stale,
            "Reverting is not said by this word",
            Some(1),
        );
    }

    #[test]
    fn an_old_branch_that_never_touched_the_file_is_innocent() {
        check(
            &[OLD, MID, NEW],
            0,
            &[("a.txt", OLD), ("b.txt", "mine\n")],
            "Improve b",
            None,
        );
    }

    #[test]
    fn a_file_as_the_target_has_it_is_no_revert() {
        check(
            &[OLD, MID, OLD],
            1,
            &[("a.txt", OLD), ("b.txt", "b\n")],
            "Back to old",
            None,
        );
    }

    #[test]
    fn a_stale_copy_under_an_older_base_is_found_where_it_merges() {
        // The branch began at MID, put OLD back, and the target went on elsewhere in the file.
        let far = "one\ntwo\nthree\n4\n5\n6\n7\n";
        let edited = "one\nTWO\nthree\n4\n5\n6\n7\n";
        let further = "one\nTWO\nthree\n4\n5\n6\nSEVEN\n";
        check(
            &[far, edited, further],
            1,
            &[("a.txt", far), ("b.txt", "b\n")],
            "Improve",
            Some(1),
        );
    }

    #[test]
    fn new_work_is_no_revert() {
        check(
            &[OLD, MID, NEW],
            2,
            &[("a.txt", "new\n"), ("b.txt", "b\n")],
            "Improve",
            None,
        );
    }
}

//! The forge over the repository in memory. Every call counts as an effect at which the process may die.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use gantry_adapters::git::{FileAt, GitError, Member, Method, Replay, Swap};
use gantry_core::id::{BranchName, CommitId, TreeId};
use gantry_core::time::Timestamp;
use gantry_engine::forge::{Forge, OpenHead, Overlap, Revert, Standing, Verdict};
use gantry_engine::gate::GATE_FILE;
use gantry_engine::journal::{Entry, JOURNAL};

use crate::fuse::Fuse;
use crate::git::{Files, Git, Move, TARGET, name};
use crate::merge::merge;

/// A process's view of the repository: nothing in it outlives the process.
#[derive(Debug, Clone)]
pub struct FakeForge {
    git: Rc<RefCell<Git>>,
    fuse: Rc<Fuse>,
}

impl FakeForge {
    /// Opens the repository.
    #[must_use]
    pub fn open(git: Rc<RefCell<Git>>, fuse: Rc<Fuse>) -> Self {
        Self { git, fuse }
    }

    fn ask<T>(&self, perform: impl FnOnce(&mut Git) -> T) -> T {
        self.fuse.effect(|| perform(&mut self.git.borrow_mut()))
    }
}

impl Git {
    fn lock(&mut self, name: &str) -> Result<(), GitError> {
        if self.locked_writes == 0 {
            return Ok(());
        }
        self.locked_writes -= 1;
        Err(GitError::Locked {
            lock: PathBuf::from(format!("{name}.lock")),
        })
    }

    fn trouble(&self) -> Result<(), GitError> {
        if !self.broken {
            return Ok(());
        }
        Err(GitError::Object {
            what: "tree",
            id: "everywhere".into(),
            repository: "virtual".into(),
            source: None,
        })
    }

    fn stand(&mut self, tip: CommitId, open: OpenHead) -> Verdict {
        let verdict = |standing, paths| Verdict {
            change: open.change,
            standing,
            paths,
            behind: 0,
        };
        for id in self.ancestors(open.head) {
            if let Err(error) = self.look(id) {
                return verdict(Standing::Trouble(error.to_string()), Vec::new());
            }
        }
        let Some(base) = self.merge_base(open.head, &[tip]) else {
            return verdict(Standing::Trouble("no common history".into()), Vec::new());
        };
        let (old, ours, theirs) = (self.files_at(base), self.files_at(tip), self.files_at(open.head));
        let paths = differing(old, theirs);
        match merge(old, ours, theirs) {
            Err(clashes) => verdict(
                Standing::Conflict {
                    paths: clashes,
                    culprit: None,
                },
                paths,
            ),
            Ok(files) if base == open.head || files == *ours => verdict(Standing::AlreadyIn, paths),
            Ok(_) => verdict(Standing::Clean, paths),
        }
    }

    /// Says which older content of the target a head brings back without saying so.
    fn find_revert(&mut self, tip: CommitId, head: CommitId) -> Option<Revert> {
        let base = self.merge_base(head, &[tip])?;
        let (old, theirs) = (self.files_at(base).clone(), self.files_at(head).clone());
        if self.commit(head).subject.starts_with("revert") {
            return None;
        }
        for path in differing(&old, &theirs) {
            let mut undoes = base;
            while let Some(parent) = self.commit(undoes).parents.first().copied() {
                let (before, after) = (self.files_at(parent).get(&path), self.files_at(undoes).get(&path));
                if before != after && before.is_some() && before == theirs.get(&path) {
                    return Some(Revert { path, undoes });
                }
                undoes = parent;
            }
        }
        None
    }

    /// Moves the target as the real one does, and keeps what the journal said at that moment.
    fn swap_target(&mut self, from: CommitId, to: CommitId) -> Result<Swap, GitError> {
        self.lock(TARGET)?;
        if !self.surprises.is_empty() {
            let surprise = self.surprises.remove(0);
            surprise(self);
        }
        let actual = self.tip();
        if actual != Some(from) {
            return Ok(Swap::Lost { actual });
        }
        let entries = self
            .journal
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok());
        let verdicts = entries
            .filter_map(|entry| match entry {
                Entry::Verdict(verdict) => Some(verdict),
                Entry::Start | Entry::Init { .. } | Entry::Ended { .. } => None,
            })
            .filter(|verdict| verdict.ending == "passed" && verdict.candidate == to.to_string())
            .collect();
        self.refs.insert(TARGET.to_owned(), to);
        self.moves.push(Move { from, to, verdicts });
        Ok(Swap::Moved)
    }
}

impl Forge for FakeForge {
    fn tip(&mut self) -> Result<Option<CommitId>, GitError> {
        self.ask(|git| Ok(git.tip()))
    }

    fn branches(&mut self) -> Result<BTreeMap<BranchName, CommitId>, GitError> {
        self.ask(|git| {
            let heads = git
                .refs
                .iter()
                .filter(|(name, _)| name.starts_with("refs/heads/"));
            Ok(heads
                .filter_map(|(name, id)| Some((BranchName::parse(name).ok()?, *id)))
                .collect())
        })
    }

    fn gate_file(&mut self, at: CommitId) -> Result<FileAt, GitError> {
        self.ask(|git| {
            git.look(at)?;
            Ok(match git.files_at(at).get(GATE_FILE) {
                None => FileAt::Missing,
                Some(text) => FileAt::File {
                    id: CommitId::from_bytes(name(text)).to_string(),
                    bytes: crate::world::gate_text(text).into_bytes(),
                },
            })
        })
    }

    fn replay(&mut self, base: CommitId, members: &[Member], method: Method) -> Result<Replay, GitError> {
        self.ask(|git| {
            git.trouble()?;
            git.replay(base, members, method)
        })
    }

    fn is_ancestor(&mut self, a: CommitId, b: CommitId) -> Result<bool, GitError> {
        self.ask(|git| {
            git.look(a)?;
            git.look(b)?;
            Ok(git.ancestors(b).contains(&a))
        })
    }

    fn first_parent(&mut self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        self.ask(|git| Ok(git.look(commit)?.parents.first().copied()))
    }

    fn tree_of(&mut self, commit: CommitId) -> Result<TreeId, GitError> {
        self.ask(|git| Ok(git.look(commit)?.tree))
    }

    fn standing(&mut self, tip: CommitId, open: &[OpenHead]) -> Result<Vec<Verdict>, GitError> {
        self.ask(|git| {
            git.trouble()?;
            Ok(open.iter().map(|head| git.stand(tip, *head)).collect())
        })
    }

    fn overlaps(&mut self, _tip: CommitId, _open: &[OpenHead]) -> Result<Vec<Overlap>, GitError> {
        Ok(Vec::new())
    }

    fn silent_revert(&mut self, tip: CommitId, head: CommitId) -> Result<Option<Revert>, GitError> {
        self.ask(|git| {
            git.look(head)?;
            Ok(git.find_revert(tip, head))
        })
    }

    fn move_target(&mut self, from: CommitId, to: CommitId, _why: &str) -> Result<Swap, GitError> {
        self.ask(|git| git.swap_target(from, to))
    }

    fn bring_along(&mut self, _from: CommitId, _to: CommitId) -> Vec<String> {
        self.ask(|_| Vec::new())
    }

    fn make_durable(&mut self) -> Result<(), GitError> {
        self.ask(|_| Ok(()))
    }

    fn ensure_ref(&mut self, name: &str, commit: Option<CommitId>) -> Result<(), GitError> {
        self.ask(|git| {
            if git.refs.get(name).copied() == commit {
                return Ok(());
            }
            git.lock(name)?;
            match commit {
                Some(id) => git.refs.insert(name.to_owned(), id),
                None => git.refs.remove(name),
            };
            Ok(())
        })
    }

    fn own_refs(&mut self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        self.ask(|git| {
            let own = git.refs.iter().filter(|(name, _)| name.starts_with(prefix));
            Ok(own.map(|(name, id)| (name.clone(), *id)).collect())
        })
    }

    fn write_note(
        &mut self,
        ref_name: &str,
        text: &str,
        keeps: CommitId,
        at: Timestamp,
    ) -> Result<(), GitError> {
        let id = CommitId::from_bytes(name(&(text, keeps, at)));
        self.ask(|git| git.notes.insert(id, text.to_owned()));
        self.ensure_ref(ref_name, Some(id))
    }

    fn read_note(&mut self, id: CommitId) -> Result<String, GitError> {
        self.ask(|git| {
            git.notes.get(&id).cloned().ok_or(GitError::Object {
                what: "note",
                id: id.to_string(),
                repository: "virtual".into(),
                source: None,
            })
        })
    }

    fn append(&mut self, text: &str, _keeps: Option<CommitId>, at: Timestamp) -> Result<(), GitError> {
        self.ask(|git| {
            git.lock(JOURNAL)?;
            git.journal.push(text.to_owned());
            git.refs
                .insert(JOURNAL.to_owned(), CommitId::from_bytes(name(&(text, at))));
            Ok(())
        })
    }

    fn read_journal(&mut self, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), GitError> {
        let texts = self.ask(|git| git.journal.clone());
        for text in texts.iter().rev() {
            if !visit(text) {
                break;
            }
        }
        Ok(())
    }

    fn fingerprint(&mut self) -> u64 {
        self.git.borrow().touched
    }

    fn subject_and_author(&mut self, commit: CommitId) -> Result<(String, String), GitError> {
        self.ask(|git| git.look(commit).map(|c| (c.subject.clone(), c.author.clone())))
    }
}

fn differing(old: &Files, new: &Files) -> Vec<String> {
    let mut paths: Vec<String> = old
        .keys()
        .chain(new.keys())
        .filter(|path| old.get(*path) != new.get(*path))
        .cloned()
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

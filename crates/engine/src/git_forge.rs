//! The forge over a real repository, in process. Owns nothing but the opened repository and caches that may be lost.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gantry_adapters::git::{self, FileAt, GitError, GitRepository, Member, Method, Radar, Replay, Swap};
use gantry_core::id::{BranchName, ChangeId, CommitId, TreeId};
use gantry_core::limits::GATE_FILE_BYTES_MAX;
use gantry_core::time::Timestamp;

use crate::forge::{Forge, OpenHead, Overlap, Revert, Standing, Verdict};
use crate::gate::{GATE_FILE, Gate};
use crate::journal::JOURNAL;
use crate::workflows::{GateWorkflows, examine_gate};

/// How deep folders of branches are watched; what is deeper is seen when something else moves.
const FOLDER_DEPTH_MAX: usize = 16;

/// A repository and its target.
#[derive(Debug)]
pub struct GitForge {
    repository: GitRepository,
    radar: Radar,
    path: PathBuf,
    target: BranchName,
    /// Folders of branches, as of the last change.
    folders: Vec<PathBuf>,
    /// The last fingerprint.
    seen: u64,
    /// Open heads whose files were all read.
    readable: HashSet<CommitId>,
    /// The data directory whose mirror and profiles say what workflows can have.
    data: Option<PathBuf>,
}

impl GitForge {
    /// Opens the repository whose Git storage is at `path`.
    ///
    /// Errors: [`GitError::Open`].
    pub fn open(path: &Path, target: BranchName) -> Result<Self, GitError> {
        Ok(Self {
            repository: GitRepository::open(path)?,
            radar: Radar::new(),
            path: path.to_owned(),
            target,
            folders: Vec::new(),
            seen: 0,
            readable: HashSet::new(),
            data: None,
        })
    }

    /// Looks at workflows by what this data directory offers them.
    #[must_use]
    pub fn offering(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// A merge reads only what both sides touched: the other files of a change are looked at here, once for each head,
    /// so that a hole in one change is its own trouble and not that of every box that holds it.
    fn readable_or_trouble(&mut self, seen: git::Verdict, head: CommitId) -> Verdict {
        let clean = matches!(seen.standing, git::Standing::Clean { .. });
        let mut verdict = verdict(&seen);
        if clean && !self.readable.contains(&head) {
            match self.repository.ensure_readable(head, &seen.paths) {
                Ok(()) => {
                    self.readable.insert(head);
                }
                Err(error) => verdict.standing = Standing::Trouble(crate::line::chain(&error)),
            }
        }
        verdict
    }
}

impl Forge for GitForge {
    fn tip(&mut self) -> Result<Option<CommitId>, GitError> {
        self.repository.tip(&self.target)
    }

    fn branches(&mut self) -> Result<BTreeMap<BranchName, CommitId>, GitError> {
        Ok(self.repository.branches()?.into_iter().collect())
    }

    fn gate_file(&mut self, at: CommitId) -> Result<FileAt, GitError> {
        self.repository.file_at(at, GATE_FILE, GATE_FILE_BYTES_MAX as u64)
    }

    fn gate_workflows(&mut self, at: CommitId, gate: &Gate) -> Result<GateWorkflows, GitError> {
        examine_gate(&self.repository, at, gate, self.data.as_deref())
    }

    fn replay(&mut self, base: CommitId, members: &[Member], method: Method) -> Result<Replay, GitError> {
        self.repository.replay(base, members, method)
    }

    fn is_ancestor(&mut self, a: CommitId, b: CommitId) -> Result<bool, GitError> {
        self.repository.is_ancestor(a, b)
    }

    fn first_parent(&mut self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        self.repository.first_parent(commit)
    }

    fn tree_of(&mut self, commit: CommitId) -> Result<TreeId, GitError> {
        self.repository.tree_of(commit)
    }

    fn standing(&mut self, tip: CommitId, open: &[OpenHead]) -> Result<Vec<Verdict>, GitError> {
        let heads = heads_of(open);
        let verdicts = self.radar.check(&self.repository, tip, &heads)?;
        let seen: Vec<Verdict> = verdicts
            .into_iter()
            .zip(open)
            .map(|(seen, open)| self.readable_or_trouble(seen, open.head))
            .collect();
        self.readable
            .retain(|head| open.iter().any(|other| other.head == *head));
        Ok(seen)
    }

    fn doubt(&mut self) {
        self.readable.clear();
    }

    fn overlaps(&mut self, tip: CommitId, open: &[OpenHead]) -> Result<Vec<Overlap>, GitError> {
        let verdicts = self.radar.check(&self.repository, tip, &heads_of(open))?;
        let paths: BTreeMap<ChangeId, _> = verdicts.into_iter().map(|v| (v.change, v.paths)).collect();
        let pairs = self.radar.overlaps(&self.repository)?;
        Ok(pairs
            .into_iter()
            .map(|pair| {
                let paths = match &pair.overlap {
                    git::Overlap::Conflict(paths) => paths.iter().map(|path| shown(path)).collect(),
                    _ => common(paths.get(&pair.a), paths.get(&pair.b)),
                };
                Overlap {
                    first: pair.a,
                    second: pair.b,
                    paths,
                    conflict: matches!(pair.overlap, git::Overlap::Conflict(_)),
                    duplicate: matches!(pair.overlap, git::Overlap::Duplicate),
                }
            })
            .collect())
    }

    fn silent_revert(&mut self, tip: CommitId, head: CommitId) -> Result<Option<Revert>, GitError> {
        let found = self.repository.silent_revert(tip, head)?;
        Ok(found.map(|revert| Revert {
            path: shown(&revert.path),
            undoes: revert.undoes,
        }))
    }

    fn move_target(&mut self, from: CommitId, to: CommitId, why: &str) -> Result<Swap, GitError> {
        self.repository
            .compare_and_swap(&self.target.full_ref(), Some(from), Some(to), why)
    }

    fn bring_along(&mut self, from: CommitId, to: CommitId) -> Vec<String> {
        match git::bring_along(&self.path, &self.target, from, to) {
            Ok(notices) => notices.iter().filter_map(notice).collect(),
            Err(error) => vec![format!(
                "work trees of {} were not looked at: {}",
                self.path.display(),
                crate::line::chain(&error)
            )],
        }
    }

    fn make_durable(&mut self) -> Result<(), GitError> {
        self.repository.make_durable()
    }

    fn ensure_ref(&mut self, name: &str, commit: Option<CommitId>) -> Result<(), GitError> {
        // Only gantry writes under its prefix, one thread per repository: a lost race is a leftover of its own.
        loop {
            let now = self.repository.own_ref(name)?;
            if now == commit {
                return Ok(());
            }
            if self
                .repository
                .compare_and_swap(name, now, commit, "gantry: pin")?
                == Swap::Moved
            {
                return Ok(());
            }
        }
    }

    fn own_refs(&mut self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        self.repository.refs_under(prefix)
    }

    fn write_note(&mut self, name: &str, text: &str, keeps: CommitId, at: Timestamp) -> Result<(), GitError> {
        let note = self.repository.write_note(None, Some(keeps), text, at)?;
        self.ensure_ref(name, Some(note))
    }

    fn read_note(&mut self, id: CommitId) -> Result<String, GitError> {
        self.repository.note_text(id)
    }

    fn append(&mut self, text: &str, keeps: Option<CommitId>, at: Timestamp) -> Result<(), GitError> {
        self.repository.append_entry(JOURNAL, keeps, text, at).map(|_| ())
    }

    fn read_journal(&mut self, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), GitError> {
        self.repository.read_entries(JOURNAL, |entry| visit(&entry.text))
    }

    fn fingerprint(&mut self) -> u64 {
        let mut hasher = DefaultHasher::new();
        stamp(&self.path.join("packed-refs"), &mut hasher);
        stamp(&self.path.join("HEAD"), &mut hasher);
        self.folders.iter().for_each(|folder| stamp(folder, &mut hasher));
        let seen = hasher.finish();
        if seen != self.seen {
            self.seen = seen;
            self.folders.clear();
            list_folders(&self.path.join("refs/heads"), 0, &mut self.folders);
        }
        seen
    }

    fn subject_and_author(&mut self, commit: CommitId) -> Result<(String, String), GitError> {
        self.repository.subject_and_author(commit)
    }
}

/// What people should know of a work tree; one that was brought along needs no word.
fn notice(seen: &git::WorkTreeNotice) -> Option<String> {
    match &seen.outcome {
        git::WorkTreeOutcome::BroughtAlong => None,
        git::WorkTreeOutcome::LeftAlone(why) => Some(format!(
            "the work tree {} was left as it is: {why}",
            seen.path.display()
        )),
    }
}

fn heads_of(open: &[OpenHead]) -> Vec<git::OpenHead> {
    open.iter()
        .map(|head| git::OpenHead {
            change: head.change,
            head: head.head,
        })
        .collect()
}

fn verdict(seen: &git::Verdict) -> Verdict {
    Verdict {
        change: seen.change,
        standing: match &seen.standing {
            git::Standing::Clean { .. } => Standing::Clean,
            git::Standing::Conflict { paths, culprit } => Standing::Conflict {
                paths: paths.iter().map(|path| shown(path)).collect(),
                culprit: *culprit,
            },
            git::Standing::AlreadyIn => Standing::AlreadyIn,
            git::Standing::Trouble(text) => Standing::Trouble(text.clone()),
        },
        paths: seen.paths.iter().map(|path| shown(path)).collect(),
        behind: seen.behind,
    }
}

type Paths = std::sync::Arc<[Vec<u8>]>;

fn common(a: Option<&Paths>, b: Option<&Paths>) -> Vec<String> {
    let (Some(a), Some(b)) = (a, b) else {
        return Vec::new();
    };
    a.iter()
        .filter(|path| b.binary_search(path).is_ok())
        .map(|path| shown(path))
        .collect()
}

/// A path as people can read it: what is not printable is written as an escape, as Git itself does.
pub(crate) fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(|c| c.is_control() || c == '"' || c == '\\') => text.to_owned(),
        _ => format!("\"{}\"", path.escape_ascii()),
    }
}

/// Adds what tells one version of a file from another without reading it.
fn stamp(path: &Path, hasher: &mut DefaultHasher) {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()).hash(hasher),
        Err(error) => error.raw_os_error().hash(hasher),
    }
}

/// Lists a folder of refs and those below it. Git writes a ref by renaming a file into its folder, which changes the
/// folder's own time: files need not be looked at. A folder that cannot be read is listed and looked at again.
fn list_folders(folder: &Path, depth: usize, folders: &mut Vec<PathBuf>) {
    folders.push(folder.to_owned());
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if depth < FOLDER_DEPTH_MAX && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list_folders(&entry.path(), depth + 1, folders);
        }
    }
}

//! What the line asks of a repository. Owns the trait; the real one is `git_forge`, the fake lives in the tests.
//! A conflict is an answer; only trouble with the repository itself is an error.

use crate::gate::Gate;
use crate::workflows::GateWorkflows;
use std::collections::BTreeMap;

use gantry_adapters::git::{FileAt, GitError, Member, Method, Replay, Swap};
use gantry_core::id::{BranchName, ChangeId, CommitId, TreeId};
use gantry_core::time::Timestamp;

/// A change whose standing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHead {
    /// Which change.
    pub change: ChangeId,
    /// What it offers.
    pub head: CommitId,
}

/// How a change stands to the tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It merges.
    Clean,
    /// It does not merge any more.
    Conflict {
        /// The paths in conflict, as shown to people.
        paths: Vec<String>,
        /// The commit of the target that did it, if one is to blame.
        culprit: Option<CommitId>,
    },
    /// Everything in it is on the target.
    AlreadyIn,
    /// The repository cannot say: an object is missing or corrupt.
    Trouble(String),
}

/// What the radar knows of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which change.
    pub change: ChangeId,
    /// How it stands.
    pub standing: Standing,
    /// The paths it touches since it left the target, sorted.
    pub paths: Vec<String>,
    /// How many commits the target has that it has not.
    pub behind: usize,
}

/// The older content a change would bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// The file.
    pub path: String,
    /// The commit of the target it would undo.
    pub undoes: CommitId,
}

/// Two open changes that touch the same paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The older change.
    pub first: ChangeId,
    /// The newer change.
    pub second: ChangeId,
    /// The paths both touch, as shown to people.
    pub paths: Vec<String>,
    /// They do not merge with one another.
    pub conflict: bool,
    /// They make the same difference.
    pub duplicate: bool,
}

/// One repository, seen and moved. Every call is one effect or one observation; none remembers for the caller.
pub trait Forge {
    /// Returns the commit the target is at, or `None` if the branch is gone.
    fn tip(&mut self) -> Result<Option<CommitId>, GitError>;
    /// Returns every branch with its head.
    fn branches(&mut self) -> Result<BTreeMap<BranchName, CommitId>, GitError>;
    /// Reads the gate file at a commit.
    fn gate_file(&mut self, at: CommitId) -> Result<FileAt, GitError>;
    /// Looks at the workflows a gate names, as a commit has them.
    fn gate_workflows(&mut self, at: CommitId, gate: &Gate) -> Result<GateWorkflows, GitError> {
        let _ = (at, gate);
        Ok(GateWorkflows::default())
    }
    /// Makes the candidate of these members; no ref moves.
    fn replay(&mut self, base: CommitId, members: &[Member], method: Method) -> Result<Replay, GitError>;
    /// Tells whether `a` is reachable from `b`.
    fn is_ancestor(&mut self, a: CommitId, b: CommitId) -> Result<bool, GitError>;
    /// Returns the first parent of a commit, if it has one.
    fn first_parent(&mut self, commit: CommitId) -> Result<Option<CommitId>, GitError>;
    /// Returns the tree of a commit.
    fn tree_of(&mut self, commit: CommitId) -> Result<TreeId, GitError>;
    /// Says how each of these stands to the tip, in the order given.
    fn standing(&mut self, tip: CommitId, open: &[OpenHead]) -> Result<Vec<Verdict>, GitError>;
    /// Forgets what was read without trouble: a box has met an object that cannot be read.
    fn doubt(&mut self) {}
    /// Says which of these overlap.
    fn overlaps(&mut self, tip: CommitId, open: &[OpenHead]) -> Result<Vec<Overlap>, GitError>;
    /// Says whether this head would bring back an older version of a file of the target.
    fn silent_revert(&mut self, tip: CommitId, head: CommitId) -> Result<Option<Revert>, GitError>;
    /// Moves the target from one commit to another, or not at all.
    fn move_target(&mut self, from: CommitId, to: CommitId, why: &str) -> Result<Swap, GitError>;
    /// Brings clean work trees that have the target checked out along; returns what people should know.
    fn bring_along(&mut self, from: CommitId, to: CommitId) -> Vec<String>;
    /// Returns when everything written so far outlives a power loss.
    fn make_durable(&mut self) -> Result<(), GitError>;
    /// Points a ref of gantry's own at a commit, or takes it away; doing it twice is the same as once.
    fn ensure_ref(&mut self, name: &str, commit: Option<CommitId>) -> Result<(), GitError>;
    /// Lists gantry's own refs under a prefix.
    fn own_refs(&mut self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError>;
    /// Writes a commit that holds a text and keeps another reachable, and points a ref of gantry's own at it.
    fn write_note(&mut self, name: &str, text: &str, keeps: CommitId, at: Timestamp) -> Result<(), GitError>;
    /// Reads the text of such a commit.
    fn read_note(&mut self, id: CommitId) -> Result<String, GitError>;
    /// Appends a fact to the journal.
    fn append(&mut self, text: &str, keeps: Option<CommitId>, at: Timestamp) -> Result<(), GitError>;
    /// Reads the journal's texts, newest first, until `visit` says false.
    fn read_journal(&mut self, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), GitError>;
    /// A number that changes when people have moved refs; equal numbers mean nothing has to be looked at.
    fn fingerprint(&mut self) -> u64;
    /// Returns the subject and author's name of a commit.
    fn subject_and_author(&mut self, commit: CommitId) -> Result<(String, String), GitError>;
}

//! The closed list of recorded facts. A fact is written in the transaction that makes it true, and never changed.

use crate::id::{BuildId, ChangeId, RepositoryId};
use crate::time::Timestamp;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FactKind {
            $($(#[$doc])* $name,)*
        }

        impl FactKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the word for it, as stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// Reads the word for it, or `None` for any other word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
            }
        }
    };
}

kinds! {
    /// A change was offered.
    ChangeOffered = "change.offered",
    /// Its author pushed another head.
    ChangeHeadMoved = "change.head_moved",
    /// It was given another priority.
    ChangePriority = "change.priority",
    /// A rule or a person stopped it.
    ChangeHeld = "change.held",
    /// A person let it go on.
    ChangeReleased = "change.released",
    /// It was sent back with a reason.
    ChangeBounced = "change.bounced",
    /// The landing that a bounced change does not work with was found.
    ChangeExplained = "change.explained",
    /// It was taken out.
    ChangeCancelled = "change.cancelled",
    /// It is on the target.
    ChangeLanded = "change.landed",
    /// A build's box was started.
    BuildStarted = "build.started",
    /// A build ended.
    BuildEnded = "build.ended",
    /// Somebody else moved the target.
    TargetPushed = "target.pushed",
    /// People push to the target faster than checks end.
    TargetContended = "target.contended",
    /// The target's own checks fail: nobody is blamed until it is mended.
    BaseBroken = "base.broken",
    /// Nothing can be built for now: the host, the gate or the repository is in the way.
    LineStopped = "line.stopped",
    /// What was in the way is gone.
    LineResumed = "line.resumed",
    /// A work tree that has the target checked out was brought along, or left alone.
    WorkTree = "worktree.notice",
    /// A repository was added to the factory.
    RepositoryAdded = "repository.added",
    /// The database was rebuilt from the refs.
    Rebuilt = "store.rebuilt",
    /// Nothing lands until thaw.
    QueueFrozen = "queue.frozen",
    /// Landing goes on.
    QueueThawed = "queue.thawed",
}

/// A recorded fact.
///
/// Shape: a fact about a change or a build names it; the repository is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub kind: FactKind,
    /// The repository it happened in.
    pub repository: RepositoryId,
    /// The change it is about, if any.
    pub change: Option<ChangeId>,
    /// The build it is about, if any.
    pub build: Option<BuildId>,
    /// One line for people.
    pub text: String,
    /// Lines of a log that matter for it; at most [`crate::limits::EVIDENCE_LINES_MAX`].
    pub evidence: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_as_it_is_stored() {
        for kind in FactKind::ALL {
            assert_eq!(FactKind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(FactKind::parse("change.lost"), None);
    }
}

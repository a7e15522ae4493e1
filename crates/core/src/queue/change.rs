//! A change: a branch head offered for landing. Owns the lifecycle; nothing else assigns a state.
//!
//! ```text
//!            offer            start             pass             target moved
//!   Open ──────────► Queued ─────────► Testing ──────► Landing ──────────────► Landed
//!     ▲                │ ▲               │  ▲ └──┐        │
//!     └── new head ────┤ └── requeue ────┘  └────┼────────┘ (the target moved elsewhere)
//!                      ▼                         ▼
//!                    Held ── release ──► Queued  Bounced ── new head, release ──► Queued
//!   Every state but Landing and Landed: cancel ──► Cancelled
//! ```
//!
//! `Landing` cannot be cancelled: the intent is stored and the target may have moved already. Whoever cancels
//! then is told that landing won the race.

use std::fmt;

use crate::id::{BranchName, BuildId, ChangeId, CommitId, RepositoryId};
use crate::time::Timestamp;

/// How urgent a change is. Later variants go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// After everything else.
    Low,
    /// First come first served.
    #[default]
    Normal,
    /// Before normal ones.
    High,
    /// Before all, and interrupts what is being tested.
    Urgent,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Urgent];

    /// Returns the word for it, as written on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }

    /// Reads the word for it, or `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word)
    }
}

/// Why a change waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    /// A person asked for it.
    ByHand {
        /// What they said.
        text: String,
    },
    /// It would bring back an older version of a file.
    SilentRevert {
        /// The commit it would undo.
        undoes: CommitId,
    },
    /// A change it was offered after ended without landing.
    DependencyEnded {
        /// That change.
        dependency: ChangeId,
    },
}

/// Why a change was sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BounceReason {
    /// Its checks fail alone on a green base.
    CheckFailed {
        /// The build that shows it.
        build: BuildId,
    },
    /// Its checks pass alone and fail together with a change that landed first.
    FailsTogether {
        /// The build that shows it.
        build: BuildId,
        /// The change that landed first.
        with: ChangeId,
    },
    /// Its checks run into the time limit, alone and more than once.
    TimedOut {
        /// The last build that shows it.
        build: BuildId,
    },
    /// It no longer merges with the target.
    Conflict {
        /// The landing or push that did it, if one commit is to blame.
        culprit: Option<CommitId>,
        /// The paths in conflict, as shown to people.
        paths: Vec<String>,
    },
}

/// Why a change was cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelReason {
    /// A person or agent asked for it.
    ByHand,
    /// Its branch was deleted.
    BranchDeleted,
    /// It was offered for another target.
    Retargeted,
}

/// How a change came to be on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LandedBy {
    /// gantry moved the target to this tested candidate.
    Build {
        /// The build that passed.
        build: BuildId,
        /// The commit that carries the change.
        commit: CommitId,
    },
    /// Everything in it was on the target already: merged by hand, or empty after replay.
    AlreadyIn,
}

/// Where a change is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeState {
    /// Known, not offered for landing.
    Open,
    /// Waits to be tested.
    Queued,
    /// At least one build with it runs or has passed.
    Testing,
    /// The intent to move the target to this build's candidate is stored; the target may have moved.
    Landing {
        /// The passed build.
        build: BuildId,
    },
    /// On the target.
    Landed(LandedBy),
    /// Waits for a person.
    Held(HoldReason),
    /// Sent back with a reason.
    Bounced(BounceReason),
    /// Taken out.
    Cancelled(CancelReason),
}

/// What may happen to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeEvent {
    /// Its author offers it.
    Offered,
    /// A build with it was started.
    BuildStarted,
    /// No build with it runs or counts any more.
    BuildsGone,
    /// The intent to land it was stored.
    LandingIntended {
        /// The passed build.
        build: BuildId,
    },
    /// The target was seen to hold the candidate.
    LandingSeen {
        /// The commit that carries the change.
        commit: CommitId,
    },
    /// The target was seen to have moved elsewhere, or refused to move.
    LandingLost,
    /// Everything in it was seen on the target.
    FoundLanded,
    /// A rule or a person stopped it.
    Hold(HoldReason),
    /// A person let it go on, or wants a bounced one tried again.
    Release,
    /// It was judged.
    Bounce(BounceReason),
    /// What it was bounced for turned out to come from a change that landed before it.
    FoundPartner {
        /// The build that shows it.
        build: BuildId,
        /// The change it does not work with.
        with: ChangeId,
    },
    /// It was taken out.
    Cancel(CancelReason),
    /// Its author pushed another head; whatever was known about the old one is void.
    NewHead,
}

/// Where the head of a change is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A branch of the repository: the change follows it, and is cancelled when it is deleted.
    Branch,
    /// A push to `refs/for/<target>/<topic>`: the head moves when the topic is pushed again.
    Topic,
}

impl Source {
    /// Returns the word for it, as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Topic => "topic",
        }
    }

    /// Reads the word for it, or `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Branch, Self::Topic]
            .into_iter()
            .find(|source| source.as_str() == word)
    }
}

/// A change as stored: what was offered, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name for people.
    pub id: ChangeId,
    /// Raised by one with every stored write; a write names the version it read.
    pub version: u64,
    /// The repository whose target it is offered for.
    pub repository: RepositoryId,
    /// The branch or topic it was offered as.
    pub branch: BranchName,
    /// Which of the two.
    pub source: Source,
    /// The commit offered last; an older head is never landed.
    pub head: CommitId,
    /// A head for which a person released a hold: rules that hold by themselves let it pass.
    pub waived: Option<CommitId>,
    /// One line for people.
    pub title: String,
    /// Who offered it.
    pub author: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it must be tested and landed alone.
    pub solo: bool,
    /// Changes that have to land before it.
    pub after: Vec<ChangeId>,
    /// When it was offered first.
    pub offered_at: Timestamp,
    /// When its state changed last.
    pub since: Timestamp,
    /// Where it is.
    pub state: ChangeState,
}

impl Change {
    /// Takes an event: the state and its instant change together.
    ///
    /// Errors: [`IllegalTransition`]; the change is as it was.
    pub fn take(&mut self, event: ChangeEvent, now: Timestamp) -> Result<(), IllegalTransition> {
        let next = self.state.clone().apply(event)?;
        if next != self.state {
            self.since = now;
        }
        self.state = next;
        Ok(())
    }
}

/// An event that cannot happen in a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a change that is {} cannot take {event:?}", state.as_str())]
pub struct IllegalTransition {
    /// The state it was in.
    pub state: ChangeState,
    /// What was asked.
    pub event: ChangeEvent,
}

impl ChangeState {
    /// Returns the state after `event`.
    ///
    /// Errors: [`IllegalTransition`] if the event cannot happen here; the state is unchanged then.
    pub fn apply(self, event: ChangeEvent) -> Result<Self, IllegalTransition> {
        use ChangeEvent as E;
        Ok(match (self, event) {
            (Self::Open, E::Offered)
            | (Self::Held(_) | Self::Bounced(_), E::Release)
            | (Self::Testing, E::BuildsGone) => Self::Queued,
            (Self::Queued | Self::Testing, E::BuildStarted) => Self::Testing,
            (Self::Testing, E::LandingIntended { build }) => Self::Landing { build },
            (Self::Landing { build }, E::LandingSeen { commit }) => {
                Self::Landed(LandedBy::Build { build, commit })
            }
            (Self::Landing { .. }, E::LandingLost) => Self::Queued,
            (state, E::FoundLanded) if state.is_pending() || state.is_halted() || state == Self::Open => {
                Self::Landed(LandedBy::AlreadyIn)
            }
            (Self::Open | Self::Queued | Self::Testing, E::Hold(reason)) => Self::Held(reason),
            (Self::Queued | Self::Testing, E::Bounce(reason)) => Self::Bounced(reason),
            (Self::Bounced(BounceReason::CheckFailed { .. }), E::FoundPartner { build, with }) => {
                Self::Bounced(BounceReason::FailsTogether { build, with })
            }
            (
                Self::Open | Self::Queued | Self::Testing | Self::Held(_) | Self::Bounced(_),
                E::Cancel(reason),
            ) => Self::Cancelled(reason),
            (Self::Open, E::NewHead) => Self::Open,
            (Self::Held(reason @ HoldReason::ByHand { .. }), E::NewHead) => Self::Held(reason),
            (Self::Queued | Self::Testing | Self::Held(_) | Self::Bounced(_), E::NewHead) => Self::Queued,
            (state, event) => return Err(IllegalTransition { state, event }),
        })
    }

    /// Says whether the planner counts it: it is in the queue, being tested or about to land.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        match self {
            Self::Queued | Self::Testing => true,
            Self::Open
            | Self::Landing { .. }
            | Self::Landed(_)
            | Self::Held(_)
            | Self::Bounced(_)
            | Self::Cancelled(_) => false,
        }
    }

    /// Says whether it stands still until a person or its author acts.
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        match self {
            Self::Held(_) | Self::Bounced(_) => true,
            Self::Open
            | Self::Queued
            | Self::Testing
            | Self::Landing { .. }
            | Self::Landed(_)
            | Self::Cancelled(_) => false,
        }
    }

    /// Says whether nothing can happen to it any more.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Landed(_) | Self::Cancelled(_) => true,
            Self::Open
            | Self::Queued
            | Self::Testing
            | Self::Landing { .. }
            | Self::Held(_)
            | Self::Bounced(_) => false,
        }
    }

    /// Returns the word for the state, as shown and stored.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Queued => "queued",
            Self::Testing => "testing",
            Self::Landing { .. } => "landing",
            Self::Landed(_) => "landed",
            Self::Held(_) => "held",
            Self::Bounced(_) => "bounced",
            Self::Cancelled(_) => "cancelled",
        }
    }
}

impl fmt::Display for ChangeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit() -> CommitId {
        CommitId::from_bytes([7; 20])
    }

    fn states() -> Vec<ChangeState> {
        let build = BuildId::new(1);
        vec![
            ChangeState::Open,
            ChangeState::Queued,
            ChangeState::Testing,
            ChangeState::Landing { build },
            ChangeState::Landed(LandedBy::AlreadyIn),
            ChangeState::Held(HoldReason::ByHand { text: "wait".into() }),
            ChangeState::Held(HoldReason::SilentRevert { undoes: commit() }),
            ChangeState::Bounced(BounceReason::CheckFailed { build }),
            ChangeState::Cancelled(CancelReason::ByHand),
        ]
    }

    fn events() -> Vec<(&'static str, ChangeEvent)> {
        let build = BuildId::new(1);
        vec![
            ("offered", ChangeEvent::Offered),
            ("build started", ChangeEvent::BuildStarted),
            ("builds gone", ChangeEvent::BuildsGone),
            ("landing intended", ChangeEvent::LandingIntended { build }),
            ("landing seen", ChangeEvent::LandingSeen { commit: commit() }),
            ("landing lost", ChangeEvent::LandingLost),
            ("found landed", ChangeEvent::FoundLanded),
            (
                "hold",
                ChangeEvent::Hold(HoldReason::ByHand { text: "stop".into() }),
            ),
            ("release", ChangeEvent::Release),
            ("bounce", ChangeEvent::Bounce(BounceReason::CheckFailed { build })),
            (
                "found partner",
                ChangeEvent::FoundPartner {
                    build,
                    with: ChangeId::new(2),
                },
            ),
            ("cancel", ChangeEvent::Cancel(CancelReason::ByHand)),
            ("new head", ChangeEvent::NewHead),
        ]
    }

    #[test]
    fn every_event_in_every_state_is_decided() {
        let mut table = String::new();
        for state in states() {
            let accepted: Vec<String> = events()
                .into_iter()
                .filter_map(|(name, event)| {
                    state
                        .clone()
                        .apply(event)
                        .ok()
                        .map(|next| format!("{name} -> {next}"))
                })
                .collect();
            table.push_str(&format!("{state}: {}\n", accepted.join(", ")));
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_change_that_is_landing_cannot_be_cancelled_held_or_bounced() {
        let landing = ChangeState::Landing {
            build: BuildId::new(1),
        };
        for (name, event) in events() {
            if matches!(name, "cancel" | "hold" | "bounce" | "new head" | "found landed") {
                assert!(landing.clone().apply(event).is_err(), "{name}");
            }
        }
    }

    proptest! {
        /// A random walk: what is terminal stays so, and only an observation makes a change landed.
        #[test]
        fn only_an_observation_lands_a_change(walk in prop::collection::vec(0_usize..13, 0..60)) {
            let events = events();
            let mut state = ChangeState::Open;
            for step in walk {
                let (name, event) = events[step].clone();
                let before = state.clone();
                match state.clone().apply(event) {
                    Ok(next) => {
                        prop_assert!(!before.is_terminal(), "{name} moved a terminal state");
                        if matches!(next, ChangeState::Landed(_)) {
                            prop_assert!(matches!(name, "landing seen" | "found landed"));
                        }
                        state = next;
                    }
                    Err(refused) => prop_assert_eq!(refused.state, before),
                }
            }
        }
    }
}

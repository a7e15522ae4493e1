//! A build: one check run of a candidate. A verdict is about the tree; everything else is trouble, blames
//! nobody and is tried again.
//!
//! ```text
//!   Prepared ── box runs ──► Running ── verdict ──► Ended(Passed | Failed | TimedOut)
//!      │                        ├── trouble ──────► Ended(Trouble)
//!      └────── cancel ──────────┴── cancel ───────► Ended(Cancelled)
//! ```

use std::time::Duration;

use crate::id::{BuildId, ChangeId, CommitId, RepositoryId, TreeId};
use crate::limits::{BUILD_RETRY_WAIT, BUILD_RETRY_WAIT_MAX, BUILD_TRIES_MAX};
use crate::queue::planner::Purpose;
use crate::time::Timestamp;

/// One change in a build's candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildMember {
    /// Which change.
    pub change: ChangeId,
    /// The head that was replayed; a build with another head than the change has now proves nothing.
    pub head: CommitId,
    /// The commit after this member was replayed.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
}

/// What one check of a build came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// The check's name in the gate.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// In words: exit code, signal, limit, or what was in the way.
    pub detail: String,
    /// How long it ran.
    pub duration: Duration,
    /// The lines of its output that matter.
    pub evidence: Vec<String>,
}

/// What a build is made of; never changes once stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOrder {
    /// Whose.
    pub repository: RepositoryId,
    /// The commit of the target below the members.
    pub base: CommitId,
    /// In order; empty for a control run.
    pub members: Vec<BuildMember>,
    /// The commit that is tested, and that lands if it passes.
    pub candidate: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// The digest of the gate's definition.
    pub gate: String,
    /// The box it runs in: engine and image.
    pub sandbox: String,
    /// What for.
    pub purpose: Purpose,
    /// The earlier build of the same tree, gate and box whose verdict counts for this one too.
    pub reuses: Option<BuildId>,
    /// When it was decided.
    pub prepared_at: Timestamp,
}

/// A build as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its name for people.
    pub id: BuildId,
    /// What it is made of.
    pub order: BuildOrder,
    /// Where it is.
    pub state: BuildState,
    /// When its box was started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The planner still looks at it.
    pub counts: bool,
    /// One entry for each check that ended, in the gate's order.
    pub checks: Vec<CheckRun>,
}

/// Why a build gave no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The daemon or the box died.
    Interrupted,
    /// The box could not be made or its program could not be started.
    CouldNotStart,
    /// The host or the box ran out of disk.
    OutOfDisk,
    /// The output passed its limit.
    TooMuchOutput,
    /// A check's own process was killed, by itself or by somebody outside: nobody can tell the two apart.
    Killed,
    /// It passed in a small part of the time that it always took: run again before it is believed.
    TooShort,
}

impl Trouble {
    /// Every kind of trouble.
    pub const ALL: [Self; 6] = [
        Self::Interrupted,
        Self::CouldNotStart,
        Self::OutOfDisk,
        Self::TooMuchOutput,
        Self::Killed,
        Self::TooShort,
    ];

    /// Returns the word for it, as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::CouldNotStart => "could_not_start",
            Self::OutOfDisk => "out_of_disk",
            Self::TooMuchOutput => "too_much_output",
            Self::Killed => "killed",
            Self::TooShort => "too_short",
        }
    }

    /// Reads the word for it, or `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.as_str() == word)
    }
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Every check passed.
    Passed,
    /// A check judged the tree and said no.
    Failed,
    /// A check ran into its time limit.
    TimedOut,
    /// No verdict.
    Trouble(Trouble),
    /// The planner or a person ended it.
    Cancelled,
}

impl Ending {
    /// Returns the word for it, as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Trouble(_) => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }

    /// Says whether the ending tells anything about the tree.
    #[must_use]
    pub const fn is_verdict(self) -> bool {
        match self {
            Self::Passed | Self::Failed => true,
            Self::TimedOut | Self::Trouble(_) | Self::Cancelled => false,
        }
    }
}

/// Where a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildState {
    /// Stored, its candidate pinned; no box yet.
    Prepared,
    /// A box runs its checks.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It ended.
    Ended(Ending),
}

/// What may happen to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildEvent {
    /// Its box runs.
    BoxRuns,
    /// All checks passed.
    Pass,
    /// A check failed.
    Fail,
    /// A check ran into its time limit.
    TimeOut,
    /// It gave no verdict.
    Trouble(Trouble),
    /// It is not wanted any more.
    Cancel,
}

/// An event that cannot happen in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a build that is {state:?} cannot take {event:?}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub state: BuildState,
    /// What was asked.
    pub event: BuildEvent,
}

impl BuildState {
    /// Returns the state after `event`.
    ///
    /// Errors: [`IllegalTransition`]; in particular a build that ended never ends again, so a late or doubled
    /// report cannot turn a failure into a pass.
    pub fn apply(self, event: BuildEvent, now: Timestamp) -> Result<Self, IllegalTransition> {
        use BuildEvent as E;
        Ok(match (self, event) {
            (Self::Prepared, E::BoxRuns) => Self::Running { since: now },
            (Self::Running { .. }, E::Pass) => Self::Ended(Ending::Passed),
            (Self::Running { .. }, E::Fail) => Self::Ended(Ending::Failed),
            (Self::Running { .. }, E::TimeOut) => Self::Ended(Ending::TimedOut),
            (Self::Prepared | Self::Running { .. }, E::Trouble(trouble)) => {
                Self::Ended(Ending::Trouble(trouble))
            }
            (Self::Prepared | Self::Running { .. }, E::Cancel) => Self::Ended(Ending::Cancelled),
            (state, event) => return Err(IllegalTransition { state, event }),
        })
    }
}

/// Returns how long to wait before a build without a verdict is tried again, or `None` once it was tried
/// [`BUILD_TRIES_MAX`] times: then the line stops and says why.
///
/// Shape: `tries` is how many have ended in trouble, 1 for the first. Units: wall time.
#[must_use]
pub fn plan_retry(tries: u32) -> Option<Duration> {
    if tries >= BUILD_TRIES_MAX {
        return None;
    }
    Some(
        BUILD_RETRY_WAIT
            .saturating_mul(1 << tries.saturating_sub(1).min(16))
            .min(BUILD_RETRY_WAIT_MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(5);
    const EVENTS: [BuildEvent; 6] = [
        BuildEvent::BoxRuns,
        BuildEvent::Pass,
        BuildEvent::Fail,
        BuildEvent::TimeOut,
        BuildEvent::Trouble(Trouble::OutOfDisk),
        BuildEvent::Cancel,
    ];

    #[test]
    fn a_build_that_ended_never_ends_again() {
        for ending in [
            Ending::Passed,
            Ending::Failed,
            Ending::TimedOut,
            Ending::Cancelled,
        ] {
            for event in EVENTS {
                assert!(
                    BuildState::Ended(ending).apply(event, NOW).is_err(),
                    "{ending:?} {event:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_judged_before_a_box_ran() {
        for event in [BuildEvent::Pass, BuildEvent::Fail, BuildEvent::TimeOut] {
            assert!(BuildState::Prepared.apply(event, NOW).is_err(), "{event:?}");
        }
    }

    #[test]
    fn trouble_and_time_limits_are_not_verdicts() {
        let running = BuildState::Prepared
            .apply(BuildEvent::BoxRuns, NOW)
            .expect("a box may run");
        for event in [
            BuildEvent::TimeOut,
            BuildEvent::Trouble(Trouble::Interrupted),
            BuildEvent::Cancel,
        ] {
            match running.apply(event, NOW) {
                Ok(BuildState::Ended(ending)) => assert!(!ending.is_verdict(), "{ending:?}"),
                other => panic!("{event:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn tries_without_a_verdict_are_bounded_and_wait_longer_each_time() {
        let waits: Vec<_> = (1..).map_while(plan_retry).collect();
        assert_eq!(waits.len(), BUILD_TRIES_MAX as usize - 1);
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(waits.iter().all(|wait| *wait <= BUILD_RETRY_WAIT_MAX));
    }
}

#[cfg(test)]
mod words {
    use super::Trouble;

    #[test]
    fn every_trouble_reads_back_as_it_is_stored() {
        for trouble in Trouble::ALL {
            assert_eq!(Trouble::parse(trouble.as_str()), Some(trouble));
        }
    }
}

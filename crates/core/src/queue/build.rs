//! A build: one check run of a candidate. A verdict is about the tree; everything else is trouble, blames
//! nobody and is tried again.
//!
//! ```text
//!   Prepared ── box runs ──► Running ── verdict ──► Ended(Passed | Failed | TimedOut)
//!      │                        ├── trouble ──────► Ended(Trouble)
//!      └────── cancel ──────────┴── cancel ───────► Ended(Cancelled)
//! ```

use std::time::Duration;

use crate::limits::{BUILD_RETRY_WAIT, BUILD_RETRY_WAIT_MAX, BUILD_TRIES_MAX};
use crate::time::Timestamp;

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

//! Rows to domain and back. A row that no gantry would have written is refused, not repaired.

use gantry_core::id::{BuildId, ChangeId};
use gantry_core::queue::build::{BuildState, Ending, Trouble};
use gantry_core::queue::change::{BounceReason, CancelReason, ChangeState, HoldReason, LandedBy};
use gantry_core::queue::planner::Purpose;
use rusqlite::Row;

use crate::StoreError;

/// A change's state in stored words, with the data valid in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StateColumns {
    /// The word of the state.
    pub state: String,
    /// The word of the reason.
    pub reason: Option<String>,
    /// What a person said, or the paths.
    pub text: Option<String>,
    /// The build that shows it.
    pub build: Option<i64>,
    /// The other change in it.
    pub change: Option<i64>,
    /// The commit in it.
    pub commit: Option<String>,
}

/// Returns a number as SQLite stores it. Identifiers are handed out by SQLite, so they always fit.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a stored number, or refuses a negative one.
pub(crate) fn counted(
    number: i64,
    table: &'static str,
    row: u64,
    column: &'static str,
) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Impossible {
        table,
        row,
        column,
        value: number.to_string(),
    })
}

pub(crate) fn impossible(row: u64, column: &'static str, value: impl Into<String>) -> StoreError {
    StoreError::Impossible {
        table: "change",
        row,
        column,
        value: value.into(),
    }
}

impl StateColumns {
    /// Puts a state into words.
    #[must_use]
    pub fn of(state: &ChangeState) -> Self {
        let mut columns = Self {
            state: state.as_str().to_owned(),
            ..Self::default()
        };
        let reason = match state {
            ChangeState::Open | ChangeState::Queued | ChangeState::Testing => None,
            ChangeState::Landing { build } => {
                columns.build = Some(stored(build.number()));
                None
            }
            ChangeState::Landed(LandedBy::Build { build, commit }) => {
                columns.build = Some(stored(build.number()));
                columns.commit = Some(commit.to_string());
                Some("build")
            }
            ChangeState::Landed(LandedBy::AlreadyIn) => Some("already_in"),
            ChangeState::Held(reason) => Some(columns.take_hold(reason)),
            ChangeState::Bounced(reason) => Some(columns.take_bounce(reason)),
            ChangeState::Cancelled(CancelReason::ByHand) => Some("by_hand"),
            ChangeState::Cancelled(CancelReason::BranchDeleted) => Some("branch_deleted"),
            ChangeState::Cancelled(CancelReason::Retargeted) => Some("retargeted"),
        };
        columns.reason = reason.map(str::to_owned);
        columns
    }

    fn take_hold(&mut self, reason: &HoldReason) -> &'static str {
        match reason {
            HoldReason::ByHand { text } => {
                self.text = Some(text.clone());
                "by_hand"
            }
            HoldReason::SilentRevert { undoes } => {
                self.commit = Some(undoes.to_string());
                "silent_revert"
            }
            HoldReason::DependencyEnded { dependency } => {
                self.change = Some(stored(dependency.number()));
                "dependency_ended"
            }
        }
    }

    fn take_bounce(&mut self, reason: &BounceReason) -> &'static str {
        match reason {
            BounceReason::CheckFailed { build } => {
                self.build = Some(stored(build.number()));
                "check_failed"
            }
            BounceReason::FailsTogether { build, with } => {
                self.build = Some(stored(build.number()));
                self.change = Some(stored(with.number()));
                "fails_together"
            }
            BounceReason::TimedOut { build } => {
                self.build = Some(stored(build.number()));
                "timed_out"
            }
            BounceReason::Conflict { culprit, paths } => {
                self.commit = culprit.map(|commit| commit.to_string());
                self.text = Some(paths.join("\n"));
                "conflict"
            }
        }
    }

    pub(crate) fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            state: row.get("state")?,
            reason: row.get("reason")?,
            text: row.get("reason_text")?,
            build: row.get("reason_build")?,
            change: row.get("reason_change")?,
            commit: row.get("reason_commit")?,
        })
    }

    /// Reads a state; `row` names the place in the error.
    ///
    /// Errors: [`StoreError::Impossible`] for words no gantry writes.
    pub fn state(self, row: u64) -> Result<ChangeState, StoreError> {
        // States without a reason store none. Nothing is lost: a state that needs one has no arm for "" below.
        let reason = self.reason.clone().unwrap_or_default();
        Ok(match (self.state.as_str(), reason.as_str()) {
            ("open", "") => ChangeState::Open,
            ("queued", "") => ChangeState::Queued,
            ("testing", "") => ChangeState::Testing,
            ("landing", "") => ChangeState::Landing {
                build: self.need_build(row)?,
            },
            ("landed", "build") => ChangeState::Landed(LandedBy::Build {
                build: self.need_build(row)?,
                commit: self.need_commit(row)?,
            }),
            ("landed", "already_in") => ChangeState::Landed(LandedBy::AlreadyIn),
            ("held", "by_hand") => {
                let text = self
                    .text
                    .ok_or_else(|| impossible(row, "reason_text", "nothing"))?;
                ChangeState::Held(HoldReason::ByHand { text })
            }
            ("held", "silent_revert") => ChangeState::Held(HoldReason::SilentRevert {
                undoes: self.need_commit(row)?,
            }),
            ("held", "dependency_ended") => ChangeState::Held(HoldReason::DependencyEnded {
                dependency: self.need_change(row)?,
            }),
            ("bounced", "check_failed") => ChangeState::Bounced(BounceReason::CheckFailed {
                build: self.need_build(row)?,
            }),
            ("bounced", "fails_together") => ChangeState::Bounced(BounceReason::FailsTogether {
                build: self.need_build(row)?,
                with: self.need_change(row)?,
            }),
            ("bounced", "timed_out") => ChangeState::Bounced(BounceReason::TimedOut {
                build: self.need_build(row)?,
            }),
            ("bounced", "conflict") => {
                let culprit = if self.commit.is_some() {
                    Some(self.need_commit(row)?)
                } else {
                    None
                };
                let text = self
                    .text
                    .ok_or_else(|| impossible(row, "reason_text", "nothing"))?;
                let paths = crate::event_log::lines(&text);
                ChangeState::Bounced(BounceReason::Conflict { culprit, paths })
            }
            ("cancelled", "by_hand") => ChangeState::Cancelled(CancelReason::ByHand),
            ("cancelled", "branch_deleted") => ChangeState::Cancelled(CancelReason::BranchDeleted),
            ("cancelled", "retargeted") => ChangeState::Cancelled(CancelReason::Retargeted),
            (state, reason) => return Err(impossible(row, "state", format!("{state} ({reason})"))),
        })
    }

    fn need_build(&self, row: u64) -> Result<BuildId, StoreError> {
        let number = self
            .build
            .ok_or_else(|| impossible(row, "reason_build", "nothing"))?;
        counted(number, "change", row, "reason_build").map(BuildId::new)
    }

    fn need_change(&self, row: u64) -> Result<ChangeId, StoreError> {
        let number = self
            .change
            .ok_or_else(|| impossible(row, "reason_change", "nothing"))?;
        counted(number, "change", row, "reason_change").map(ChangeId::new)
    }

    fn need_commit<T: std::str::FromStr>(&self, row: u64) -> Result<T, StoreError> {
        let text = self.commit.as_deref().unwrap_or("nothing");
        text.parse().map_err(|_| impossible(row, "reason_commit", text))
    }
}

/// The columns that hold where a build is and the data valid there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildColumns {
    pub state: &'static str,
    pub trouble: Option<&'static str>,
}

impl BuildColumns {
    pub(crate) fn of(state: BuildState) -> Self {
        let (state, trouble) = match state {
            BuildState::Prepared => ("prepared", None),
            BuildState::Running { .. } => ("running", None),
            BuildState::Ended(ending) => (ending.as_str(), trouble_of(ending)),
        };
        Self { state, trouble }
    }
}

pub(crate) fn trouble_of(ending: Ending) -> Option<&'static str> {
    match ending {
        Ending::Trouble(trouble) => Some(trouble.as_str()),
        Ending::Passed | Ending::Failed | Ending::TimedOut | Ending::Cancelled => None,
    }
}

/// Reads an ending from its word and its trouble; `None` for words no gantry writes.
pub(crate) fn ending(word: &str, trouble: Option<&str>) -> Option<Ending> {
    match (word, trouble) {
        ("passed", None) => Some(Ending::Passed),
        ("failed", None) => Some(Ending::Failed),
        ("timed_out", None) => Some(Ending::TimedOut),
        ("cancelled", None) => Some(Ending::Cancelled),
        ("interrupted", Some(trouble)) => Trouble::parse(trouble).map(Ending::Trouble),
        _ => None,
    }
}

/// Returns the word a purpose is stored and shown as.
pub(crate) const fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Land => "land",
        Purpose::Split => "split",
        Purpose::Retry => "retry",
        Purpose::Control => "control",
        Purpose::Trace => "trace",
    }
}

/// Reads a purpose; `None` for any other word.
pub(crate) fn purpose(word: &str) -> Option<Purpose> {
    [
        Purpose::Land,
        Purpose::Split,
        Purpose::Retry,
        Purpose::Control,
        Purpose::Trace,
    ]
    .into_iter()
    .find(|purpose| purpose_word(*purpose) == word)
}

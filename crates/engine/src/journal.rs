//! The texts of gantry's refs: offers and facts as JSON. Owns their format and its versions; readers ignore fields
//! they do not know, and refuse a text they cannot read.
//!
//! Source: docs/design/0001-landing-and-its-journal.md.

use gantry_core::id::{BuildId, ChangeId, CommitId, RepositoryId, TreeId};
use gantry_core::queue::build::{Build, BuildMember, BuildOrder, BuildState, Ending};
use gantry_core::queue::change::{Change, ChangeState, Priority, Source};
use gantry_core::queue::planner::Purpose;
use gantry_core::time::Timestamp;
use gantry_store::StateColumns;
use serde::{Deserialize, Serialize};

/// The ref of the journal.
pub const JOURNAL: &str = "refs/gantry/journal";
/// Under it, one ref for each living change.
pub const CHANGES: &str = "refs/gantry/changes/";
/// Under it, one ref for each build that counts.
pub const CANDIDATES: &str = "refs/gantry/candidates/";

/// One fact of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Entry {
    /// The chain starts.
    Start,
    /// The factory began to protect the target, which was at this commit.
    Init {
        /// The branch.
        target: String,
        /// Where it was.
        tip: String,
        /// When, in milliseconds since the epoch.
        at_ms: i64,
    },
    /// A build gave a verdict.
    Verdict(Verdict),
    /// A change ended.
    Ended {
        /// Which change, by number.
        change: u64,
        /// The offer as it was last, and how it ended.
        offer: Offer,
        /// When, in milliseconds since the epoch.
        at_ms: i64,
    },
}

/// A verdict as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The build's number.
    pub build: u64,
    /// `passed`, `failed` or `timed_out`.
    pub ending: String,
    /// The commit that was tested.
    pub candidate: String,
    /// Its tree.
    pub tree: String,
    /// The target's commit below it.
    pub base: String,
    /// The members in order.
    pub members: Vec<VerdictMember>,
    /// The digest of the gate, as found at the base.
    pub gate: String,
    /// Engine and image.
    pub sandbox: String,
    /// The build that ran, if this one took over its verdict on the same tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuses: Option<u64>,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// A member of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictMember {
    /// The change's number.
    pub change: u64,
    /// The head that was offered.
    pub head: String,
    /// The commit after it.
    pub commit: String,
    /// That commit's tree.
    pub tree: String,
}

impl Verdict {
    /// Writes down an ended build.
    #[must_use]
    pub fn of(build: &Build, ending: &str, at_ms: i64) -> Self {
        let order = &build.order;
        Self {
            build: build.id.number(),
            ending: ending.to_owned(),
            candidate: order.candidate.to_string(),
            tree: order.tree.to_string(),
            base: order.base.to_string(),
            members: order
                .members
                .iter()
                .map(|member| VerdictMember {
                    change: member.change.number(),
                    head: member.head.to_string(),
                    commit: member.commit.to_string(),
                    tree: member.tree.to_string(),
                })
                .collect(),
            gate: order.gate.clone(),
            sandbox: order.sandbox.clone(),
            reuses: order.reuses.map(|id| id.number()),
            at_ms,
        }
    }

    /// Reads the build back, as one that ended and counts no more; `None` if a field cannot be read.
    #[must_use]
    pub fn restore(&self, repository: RepositoryId) -> Option<Build> {
        let ending = match self.ending.as_str() {
            "passed" => Ending::Passed,
            "failed" => Ending::Failed,
            "timed_out" => Ending::TimedOut,
            _ => return None,
        };
        let at = Timestamp::from_millis(self.at_ms);
        let mut members = Vec::with_capacity(self.members.len());
        for member in &self.members {
            members.push(BuildMember {
                change: ChangeId::new(member.change),
                head: member.head.parse().ok()?,
                commit: member.commit.parse().ok()?,
                tree: member.tree.parse().ok()?,
            });
        }
        Some(Build {
            id: BuildId::new(self.build),
            order: BuildOrder {
                repository,
                base: self.base.parse().ok()?,
                purpose: if members.is_empty() {
                    Purpose::Control
                } else {
                    Purpose::Land
                },
                members,
                candidate: self.candidate.parse().ok()?,
                tree: self.tree.parse().ok()?,
                gate: self.gate.clone(),
                sandbox: self.sandbox.clone(),
                reuses: self.reuses.map(BuildId::new),
                prepared_at: at,
            },
            state: BuildState::Ended(ending),
            started_at: None,
            ended_at: Some(at),
            counts: false,
            checks: Vec::new(),
        })
    }

    /// Says whether it is about this very build: the number, and what was tested by which checks.
    #[must_use]
    pub fn is_of(&self, build: &Build) -> bool {
        let order = &build.order;
        self.build == build.id.number()
            && self.candidate == order.candidate.to_string()
            && self.tree == order.tree.to_string()
            && self.gate == order.gate
            && self.sandbox == order.sandbox
    }

    /// Returns the tested commit and its tree; `None` if the text was tampered with.
    #[must_use]
    pub fn tested(&self) -> Option<(CommitId, TreeId)> {
        Some((self.candidate.parse().ok()?, self.tree.parse().ok()?))
    }
}

/// An offer as its ref keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The branch or topic.
    pub branch: String,
    /// Which of the two.
    pub source: String,
    /// The commit offered last.
    pub head: String,
    /// One line for people.
    pub title: String,
    /// Who offered it.
    pub author: String,
    /// How urgent.
    pub priority: String,
    /// Lands alone.
    pub solo: bool,
    /// Numbers of the changes that have to land before it.
    pub after: Vec<u64>,
    /// When it was offered, in milliseconds since the epoch.
    pub offered_at_ms: i64,
    /// Where it is, as far as that outlives the database.
    pub standing: StateText,
}

/// A state in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateText {
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
}

impl StateText {
    fn of(state: &ChangeState) -> Self {
        // Whether it was being tested is for the builds to say; it starts again as queued.
        let columns = match state {
            ChangeState::Testing | ChangeState::Landing { .. } => StateColumns::of(&ChangeState::Queued),
            other => StateColumns::of(other),
        };
        Self {
            state: columns.state,
            reason: columns.reason,
            text: columns.text,
            build: columns.build,
            change: columns.change,
            commit: columns.commit,
        }
    }

    fn restore(&self, id: ChangeId) -> Option<ChangeState> {
        let columns = StateColumns {
            state: self.state.clone(),
            reason: self.reason.clone(),
            text: self.text.clone(),
            build: self.build,
            change: self.change,
            commit: self.commit.clone(),
        };
        columns.state(id.number()).ok()
    }
}

impl Offer {
    /// Writes down a change.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        Self {
            branch: change.branch.as_str().to_owned(),
            source: change.source.as_str().to_owned(),
            head: change.head.to_string(),
            title: change.title.clone(),
            author: change.author.clone(),
            priority: change.priority.as_str().to_owned(),
            solo: change.solo,
            after: change.after.iter().map(|id| id.number()).collect(),
            offered_at_ms: change.offered_at.as_millis(),
            standing: StateText::of(&change.state),
        }
    }

    /// Reads a change back.
    ///
    /// Errors: the field that cannot be read.
    pub fn restore(
        &self,
        id: ChangeId,
        repository: RepositoryId,
    ) -> Result<gantry_store::NewChange, &'static str> {
        Ok(gantry_store::NewChange {
            id: Some(id),
            repository,
            source: Source::parse(&self.source).ok_or("source")?,
            branch: gantry_core::id::BranchName::parse(&self.branch).map_err(|_| "branch")?,
            head: self.head.parse().map_err(|_| "head")?,
            title: self.title.clone(),
            author: self.author.clone(),
            priority: Priority::parse(&self.priority).ok_or("priority")?,
            solo: self.solo,
            after: self.after.iter().copied().map(ChangeId::new).collect(),
            offered_at: Timestamp::from_millis(self.offered_at_ms),
            state: self.standing.restore(id).ok_or("standing")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(number: u64, fill: u8) -> Build {
        let commit = CommitId::from_bytes([fill; 20]);
        Build {
            id: BuildId::new(number),
            order: BuildOrder {
                repository: RepositoryId::new(1),
                base: commit,
                members: Vec::new(),
                candidate: commit,
                tree: TreeId::from_bytes([fill; 20]),
                gate: "gate".into(),
                sandbox: "native:host".into(),
                purpose: Purpose::Land,
                reuses: None,
                prepared_at: Timestamp::from_millis(1),
            },
            state: BuildState::Ended(Ending::Passed),
            started_at: None,
            ended_at: None,
            counts: true,
            checks: Vec::new(),
        }
    }

    #[test]
    fn a_verdict_is_of_the_build_that_tested_the_same_thing_and_not_of_one_with_its_number() {
        let verdict = Verdict::of(&build(7, 1), "passed", 5);
        assert!(verdict.is_of(&build(7, 1)));
        assert!(
            !verdict.is_of(&build(7, 2)),
            "another candidate was given the number again"
        );
        assert!(!verdict.is_of(&build(8, 1)));
        let mut other_gate = build(7, 1);
        other_gate.order.gate = "another".into();
        assert!(!verdict.is_of(&other_gate));
    }

    #[test]
    fn a_verdict_reads_back_as_it_was_written() {
        let entry = Entry::Verdict(Verdict::of(&build(7, 1), "passed", 5));
        let text = serde_json::to_string(&entry).expect("plain values");
        assert_eq!(serde_json::from_str::<Entry>(&text).expect("it reads"), entry);
    }
}

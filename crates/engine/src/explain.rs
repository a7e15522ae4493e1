//! Why a change is where it is, what would move it, and when it is likely to land. Reads; never writes.

use std::time::Duration;

use gantry_core::id::{BuildId, ChangeId, CommitId, TreeId};
use gantry_core::queue::build::{Build, BuildState, Ending};
use gantry_core::queue::change::{BounceReason, CancelReason, Change, ChangeState, HoldReason, LandedBy};
use gantry_core::time::Timestamp;
use gantry_store::{Store, StoreError};

use crate::boxes::Boxes;
use crate::forge::{Forge, Standing};
use crate::line::{Line, LineError, Scene};

/// One cause and one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// A word for programs; listed in docs/cli.md.
    pub code: &'static str,
    /// The cause, for people.
    pub text: String,
    /// What would make it land sooner, or what to do now.
    pub next_action: String,
}

/// When a change is likely to land; the interval holds four times out of five if the past is a guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eta {
    /// Hardly before.
    pub low: Timestamp,
    /// As likely before as after.
    pub expected: Timestamp,
    /// Hardly after.
    pub high: Timestamp,
}

/// Where a landed change is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The commit that carries it, if gantry landed it.
    pub commit: Option<CommitId>,
    /// That commit's tree.
    pub tree: Option<TreeId>,
    /// When.
    pub at: Timestamp,
    /// The target's commit below the landing.
    pub base: Option<CommitId>,
    /// The build that passed.
    pub build: Option<BuildId>,
}

/// A change with everything people ask about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeView {
    /// The change.
    pub change: Change,
    /// Its repository's name.
    pub repository: String,
    /// Its place in the landing order, 1 for the next; `None` if it is not in the queue.
    pub position: Option<usize>,
    /// Changes and builds it waits for.
    pub waiting_on: Vec<String>,
    /// Why it is where it is.
    pub reason: Reason,
    /// When it is likely to land.
    pub eta: Option<Eta>,
    /// Builds it was in, oldest first.
    pub builds: Vec<Build>,
    /// The paths in conflict with the target and the commit that did it.
    pub conflict: Option<(Vec<String>, Option<CommitId>)>,
    /// Where it landed.
    pub landed: Option<Landed>,
}

/// The facts that views of one line are made from, loaded once for many changes.
pub struct Outlook {
    scene: Scene,
    order: Vec<ChangeId>,
    median: Duration,
    sigma: f64,
    slots: usize,
}

impl<F: Forge, B: Boxes> Line<F, B> {
    /// Loads what views are made from.
    ///
    /// Errors: [`LineError`].
    pub fn outlook(&mut self, store: &Store, now: Timestamp) -> Result<Outlook, LineError> {
        let tip = self.repository.known_tip.unwrap_or(CommitId::from_bytes([0; 20]));
        let scene = Scene::load(store, self.repository.id, tip, now)?;
        let order = scene.pending().iter().map(|change| change.id).collect();
        let learnt = self.learn(store)?;
        Ok(Outlook {
            scene,
            order,
            median: learnt.check_time.median,
            sigma: learnt.check_time.sigma,
            slots: self.slots(),
        })
    }

    /// Views one change.
    ///
    /// Errors: [`StoreError`].
    pub fn view(&self, store: &Store, outlook: &Outlook, change: Change) -> Result<ChangeView, StoreError> {
        let builds = store.load_builds_of(change.id)?;
        let position = outlook
            .order
            .iter()
            .position(|id| *id == change.id)
            .map(|at| at + 1);
        let (reason, waiting_on) = self.reason(outlook, &change, &builds);
        let blocked = matches!(
            reason.code,
            "no_gate" | "bad_gate" | "frozen" | "trouble" | "base_broken" | "repository"
        );
        let eta = position
            .filter(|_| !blocked)
            .map(|position| outlook.eta(&change, position));
        let conflict = match &change.state {
            ChangeState::Bounced(BounceReason::Conflict { culprit, paths }) => {
                Some((paths.clone(), *culprit))
            }
            _ => match self.verdict(change.id).map(|verdict| &verdict.standing) {
                Some(Standing::Conflict { paths, culprit }) => Some((paths.clone(), *culprit)),
                _ => None,
            },
        };
        Ok(ChangeView {
            repository: self.repository.name.clone(),
            position,
            waiting_on,
            reason,
            eta,
            conflict,
            landed: landed(&change, &builds),
            builds,
            change,
        })
    }

    fn reason(&self, outlook: &Outlook, change: &Change, builds: &[Build]) -> (Reason, Vec<String>) {
        match &change.state {
            ChangeState::Queued | ChangeState::Testing => self.waiting_reason(outlook, change, builds),
            ChangeState::Open => (
                reason(
                    "open",
                    "it is not offered for landing",
                    "offer it with `gantry queue add`",
                ),
                vec![],
            ),
            ChangeState::Landing { build } => (
                reason(
                    "landing",
                    &format!("{build} passed and the target is being moved"),
                    "nothing",
                ),
                vec![build.to_string()],
            ),
            ChangeState::Landed(by) => (landed_reason(by, &self.repository.target), vec![]),
            ChangeState::Held(why) => (held_reason(change, why), vec![]),
            ChangeState::Bounced(why) => (
                bounced_reason(change, why, builds, &self.repository.target),
                vec![],
            ),
            ChangeState::Cancelled(why) => (cancelled_reason(why), vec![]),
        }
    }

    fn waiting_reason(&self, outlook: &Outlook, change: &Change, builds: &[Build]) -> (Reason, Vec<String>) {
        if let Some(obstacle) = self.obstacle() {
            return (
                reason(obstacle.code, &obstacle.text, &obstacle.next_action),
                vec![],
            );
        }
        if let Some(freeze) = self
            .repository
            .frozen
            .as_ref()
            .filter(|freeze| freeze.stops(change.priority))
        {
            let text = format!("{} froze the queue: {}", freeze.author, freeze.reason);
            return (
                reason("frozen", &text, "wait for the thaw, or `gantry queue thaw`"),
                vec![],
            );
        }
        if let Some(text) = self.trouble_of(change) {
            let action = "push its objects again, or mend the repository, then push the branch anew";
            return (reason("trouble", text, action), vec![]);
        }
        let ahead: Vec<ChangeId> = change
            .after
            .iter()
            .copied()
            .filter(|id| outlook.scene.change(*id).is_some())
            .collect();
        let running = builds.iter().rev().find(|build| {
            build.counts && matches!(build.state, BuildState::Running { .. } | BuildState::Prepared)
        });
        if let Some(build) = running {
            let with: Vec<String> = build
                .order
                .members
                .iter()
                .filter(|member| member.change != change.id)
                .map(|member| member.change.to_string())
                .collect();
            let company = if with.is_empty() {
                String::new()
            } else {
                format!(" together with {}", with.join(", "))
            };
            let text = format!("it is being tested in {}{company}", build.id);
            return (
                reason("testing", &text, "nothing; it lands when the checks pass"),
                vec![build.id.to_string()],
            );
        }
        if let Some(id) = ahead.first() {
            let text = format!("it was offered after {id}, which has not landed");
            return (
                reason("after", &text, &format!("see `gantry queue show {id}`")),
                names(&ahead),
            );
        }
        let rivals: Vec<ChangeId> = outlook
            .order
            .iter()
            .copied()
            .take_while(|id| *id != change.id)
            .filter(|id| {
                outlook
                    .scene
                    .change(*id)
                    .is_some_and(|other| self.is_rival(change, other))
            })
            .collect();
        if let Some(id) = rivals.first() {
            let text = format!("it conflicts with {id}, which is ahead of it");
            let action = format!("rebase it onto {id}, or wait to see whether {id} lands");
            return (reason("conflicts_ahead", &text, &action), names(&rivals));
        }
        let passed = builds
            .iter()
            .rev()
            .find(|b| b.counts && b.state == BuildState::Ended(Ending::Passed));
        let first: Vec<ChangeId> = outlook
            .order
            .iter()
            .copied()
            .take_while(|id| *id != change.id)
            .take(1)
            .collect();
        if let (Some(build), Some(id)) = (passed, first.first()) {
            let text = format!(
                "it passed in {} and waits for the verdict on {id}, which is ahead of it",
                build.id
            );
            return (
                reason("ahead", &text, "nothing; it lands when those ahead are decided"),
                names(&first),
            );
        }
        let text = "it waits for its turn";
        let action = if self.slots() < 4 {
            "raise `slots` in .gantry.toml if the host has room, or its priority"
        } else {
            "raise its priority"
        };
        (reason("turn", text, action), names(&first))
    }
}

fn names(ids: &[ChangeId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn reason(code: &'static str, text: &str, next_action: &str) -> Reason {
    Reason {
        code,
        text: text.to_owned(),
        next_action: next_action.to_owned(),
    }
}

fn landed_reason(by: &LandedBy, target: &gantry_core::id::BranchName) -> Reason {
    match by {
        LandedBy::Build { build, commit } => reason(
            "landed",
            &format!("it is on {target} as {}, tested in {build}", commit.short()),
            "nothing",
        ),
        LandedBy::AlreadyIn => reason(
            "already_in",
            &format!("everything in it is on {target}"),
            "nothing",
        ),
    }
}

fn held_reason(change: &Change, why: &HoldReason) -> Reason {
    let id = change.id;
    match why {
        HoldReason::ByHand { text } => reason(
            "held_by_hand",
            text,
            &format!("`gantry queue release {id}` when it may go on"),
        ),
        HoldReason::SilentRevert { undoes } => reason(
            "silent_revert",
            &format!(
                "it would undo {} by bringing back an older version of a file",
                undoes.short()
            ),
            &format!(
                "rebase {} and push it, or `gantry queue release {id}` if the revert is meant",
                change.branch
            ),
        ),
        HoldReason::DependencyEnded { dependency } => reason(
            "dependency_ended",
            &format!("{dependency}, which has to land before it, ended without landing"),
            &format!("mend {dependency} and offer it again, or `gantry queue cancel {id}`"),
        ),
    }
}

fn bounced_reason(
    change: &Change,
    why: &BounceReason,
    builds: &[Build],
    target: &gantry_core::id::BranchName,
) -> Reason {
    let branch = &change.branch;
    let detail = |id: &BuildId| {
        let build = builds.iter().find(|build| build.id == *id);
        let check = build.and_then(|b| b.checks.iter().find(|check| check.ending != Ending::Passed));
        check.map_or_else(
            || "its checks failed".to_owned(),
            |check| format!("check {:?} {}", check.name, check.detail),
        )
    };
    match why {
        BounceReason::CheckFailed { build } => reason(
            "check_failed",
            &format!("{} in {build}", detail(build)),
            &format!("read `gantry build log {build}`, mend {branch} and push it"),
        ),
        BounceReason::FailsTogether { build, with } => reason(
            "fails_together",
            &format!(
                "it passes alone and fails together with {with}, which landed first: {} in {build}",
                detail(build)
            ),
            &format!("rebase {branch} onto {target}, mend it and push it"),
        ),
        BounceReason::TimedOut { build } => reason(
            "timed_out",
            &format!("{} in {build}, more than once", detail(build)),
            &format!(
                "read `gantry build log {build}`, mend {branch} and push it, or raise the check's timeout"
            ),
        ),
        BounceReason::Conflict { culprit, paths } => {
            let since = culprit.map_or(String::new(), |commit| format!(" since {}", commit.short()));
            reason(
                "conflict",
                &format!("it conflicts with {target}{since} in {}", paths.join(", ")),
                &format!("rebase {branch} onto {target} and push it"),
            )
        }
    }
}

fn cancelled_reason(why: &CancelReason) -> Reason {
    let again = "offer it again if it should land";
    match why {
        CancelReason::ByHand => reason("cancelled", "it was taken out by hand", again),
        CancelReason::BranchDeleted => reason(
            "branch_deleted",
            "its branch was deleted",
            "push the branch and offer it again",
        ),
        CancelReason::Retargeted => reason("retargeted", "it was offered for another target", again),
    }
}

fn landed(change: &Change, builds: &[Build]) -> Option<Landed> {
    let ChangeState::Landed(by) = &change.state else {
        return None;
    };
    let (build, commit) = match by {
        LandedBy::Build { build, commit } => (Some(*build), Some(*commit)),
        LandedBy::AlreadyIn => (None, None),
    };
    let row = builds.iter().find(|row| Some(row.id) == build);
    let member = row.and_then(|row| row.order.members.iter().find(|member| member.change == change.id));
    Some(Landed {
        commit,
        tree: member.map(|member| member.tree),
        at: change.since,
        base: row.map(|row| row.order.base),
        build,
    })
}

impl Outlook {
    /// The changes that are neither landed nor cancelled.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.scene.changes
    }

    /// Estimates from the learnt check time: what runs already needs the rest of it, others wait for their round.
    fn eta(&self, change: &Change, position: usize) -> Eta {
        let holds = |build: &&Build| {
            build
                .order
                .members
                .iter()
                .any(|member| member.change == change.id)
        };
        let running = self
            .scene
            .builds
            .iter()
            .find(|build| matches!(build.state, BuildState::Running { .. }) && holds(build));
        let median = self.median.as_secs_f64();
        let (expected, rounds) = match running.and_then(|build| build.started_at) {
            Some(started) => (
                (median - self.scene.now.since(started).as_secs_f64()).max(median * 0.1),
                1.0,
            ),
            None => {
                let ahead = self.order.len().min(position) as f64 - 1.0;
                let group = (self.order.len() as f64 / self.slots as f64)
                    .ceil()
                    .clamp(1.0, 8.0);
                let rounds = 1.5 + (ahead / (group * self.slots as f64)).floor();
                (rounds * median, rounds)
            }
        };
        let spread = (1.28 * self.sigma / rounds.sqrt()).exp();
        let at = |seconds: f64| self.scene.now + Duration::from_secs_f64(seconds);
        Eta {
            low: at(expected / spread),
            expected: at(expected),
            // One more round in the bad case: the batch fails and is split.
            high: at(expected * spread + median),
        }
    }
}

//! One repository's line: load what is, decide what should be next, save the intent, act, record. Every call may be
//! the first after a crash; nothing that matters is remembered in memory.
//!
//! ```text
//!   reconcile:  observe tip ─► settle landings ─► close lost builds ─► follow heads ─► radar ─► holds ─► void builds
//!                   ▲                                                                                        │
//!                   └───────────────── again, while a step wrote something ◄──── land / bounce / start ◄── plan
//! ```

mod act;
mod learn;
mod partner;
mod reports;
mod rules;
mod scene;

use std::collections::{HashMap, HashSet};

use gantry_adapters::git::GitError;
use gantry_core::event::{Fact, FactKind};
use gantry_core::id::{BuildId, ChangeId, CommitId};
use gantry_core::limits::{BUILD_RETRY_WAIT_MAX, PLAN_ROUNDS_MAX};
use gantry_core::queue::build::plan_retry;
use gantry_core::queue::{build, change};
use gantry_core::repository::Repository;
use gantry_core::time::Timestamp;
use gantry_store::{Store, StoreError};

use crate::boxes::Boxes;
use crate::forge::{Forge, Verdict};
use crate::gate::Gate;

pub use scene::Scene;

/// Why a line could not go on for now.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The repository is in the way.
    #[error("the repository is in the way")]
    Git(#[from] GitError),
    /// The database is in the way.
    #[error("the database is in the way")]
    Store(#[from] StoreError),
    /// A change was to take an event its state does not allow.
    #[error("a bug: the line asked for an impossible step")]
    Change(#[from] change::IllegalTransition),
    /// A build was to take an event its state does not allow.
    #[error("a bug: the line asked for an impossible step")]
    Build(#[from] build::IllegalTransition),
    /// A fact has no JSON form.
    #[error("a bug: a fact cannot be written down")]
    Format(#[from] serde_json::Error),
    /// The target branch is not there.
    #[error("the target branch {0} is gone; push it again, or remove the repository from the factory")]
    TargetGone(String),
}

/// What keeps a line from building or landing for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// A word for programs: `no_gate`, `bad_gate`, `host`, `repository`, `base_broken`.
    pub code: &'static str,
    /// What it is, for people.
    pub text: String,
    /// What would mend it.
    pub next_action: String,
    /// When it is tried again by itself.
    pub retry_at: Option<Timestamp>,
}

/// The gate as it was found at a commit.
#[derive(Debug, Clone)]
pub enum GateFound {
    /// It reads.
    Ready {
        /// What it says.
        gate: Gate,
        /// The name of its content.
        digest: String,
    },
    /// It is missing or wrong.
    Unusable(Obstacle),
}

/// What may be lost at any time.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    gate: Option<(CommitId, GateFound)>,
    /// Pairs of heads that were seen to conflict with one another.
    conflicts: HashSet<(CommitId, CommitId)>,
    /// Heads that were looked at for silent reverts.
    examined: HashSet<CommitId>,
    verdicts: HashMap<ChangeId, Verdict>,
    /// Tip and heads the verdicts are about.
    verdicts_of: Option<u64>,
    /// Bounced heads whose partner was looked for to the end, or cannot be found.
    traced: HashSet<CommitId>,
    /// Changes that cannot be replayed because of trouble with their objects.
    troubled: HashMap<ChangeId, (CommitId, String)>,
    /// When one of them was found; they are looked at again after a while.
    troubled_at: Option<Timestamp>,
    journaled: HashSet<BuildId>,
    /// The journal was read for verdicts that a crash kept from the database.
    recovered: bool,
    tries: u32,
    retry_at: Option<Timestamp>,
    /// The end of the last wait that was decided.
    backed_off_until: Option<Timestamp>,
    obstacle: Option<Obstacle>,
    /// Boxes give no verdict for now; gone with the next verdict.
    host: Option<Obstacle>,
    /// Pushes by others since the last landing that made running builds useless.
    overtaken: u32,
    broken_base: Option<CommitId>,
    stack_of: HashMap<(CommitId, CommitId), bool>,
    learnt: Option<(BuildId, learn::Learnt)>,
    /// The last fact when that was looked at.
    learnt_at: Option<u64>,
}

impl Memory {
    /// Drops what is known of heads that are not open any more.
    fn forget_all_but(&mut self, heads: &HashSet<CommitId>) {
        self.conflicts
            .retain(|(a, b)| heads.contains(a) && heads.contains(b));
        self.examined.retain(|head| heads.contains(head));
        self.traced.retain(|head| heads.contains(head));
        self.stack_of.retain(|(_, above), _| heads.contains(above));
    }
}

/// A repository with its forge and boxes.
#[derive(Debug)]
pub struct Line<F, B> {
    /// The repository as stored.
    pub repository: Repository,
    forge: F,
    boxes: B,
    slots_default: usize,
    memory: Memory,
}

impl<F: Forge, B: Boxes> Line<F, B> {
    /// Makes the line; nothing is looked at before the first [`Line::reconcile`].
    pub fn new(repository: Repository, forge: F, boxes: B, slots_default: usize) -> Self {
        Self {
            repository,
            forge,
            boxes,
            slots_default,
            memory: Memory::default(),
        }
    }

    /// Does everything that can be done now. Returns when to try again by itself, if something is in the way.
    ///
    /// Errors: none; trouble is kept as the [`Line::obstacle`] and recorded once.
    pub fn reconcile(&mut self, store: &mut Store, now: Timestamp) -> Option<Timestamp> {
        if self.memory.host.is_none() {
            // Trouble with the repository ends by looking: a build kept back for it would wake nobody.
            self.memory.retry_at = None;
        }
        match self.rounds(store, now) {
            Ok(again) => {
                let obstacle = self.gate_obstacle().or_else(|| self.memory.host.clone());
                if self.memory.host.is_none() {
                    self.memory.tries = 0;
                    self.memory.retry_at = None;
                }
                self.set_obstacle(store, obstacle, now);
                // More is to be done: come back at once, after other messages had their turn.
                if again {
                    Some(now)
                } else {
                    self.memory.retry_at.filter(|at| *at > now)
                }
            }
            Err(error) => {
                // A ref may not have been written: the next look puts refs and rows in step again.
                self.memory.recovered = false;
                let obstacle = self.explain(&error, now);
                tracing::warn!(repository = %self.repository.name, error = chain(&error), "the line stopped");
                let retry_at = obstacle.retry_at;
                self.set_obstacle(store, Some(obstacle), now);
                retry_at
            }
        }
    }

    /// What is in the way now.
    pub fn obstacle(&self) -> Option<&Obstacle> {
        self.memory.obstacle.as_ref()
    }

    /// The radar's last word on a change.
    pub fn verdict(&self, change: ChangeId) -> Option<&Verdict> {
        self.memory.verdicts.get(&change)
    }

    /// Why the objects of a change cannot be used, if they cannot.
    pub(crate) fn trouble_of(&self, change: &change::Change) -> Option<&str> {
        let (head, text) = self.memory.troubled.get(&change.id)?;
        (*head == change.head).then_some(text.as_str())
    }

    /// True if the two were seen to conflict with one another.
    pub(crate) fn is_rival(&self, a: &change::Change, b: &change::Change) -> bool {
        self.memory
            .conflicts
            .contains(&(a.head.min(b.head), a.head.max(b.head)))
    }

    /// How many builds may run at once.
    pub(crate) fn slots(&self) -> usize {
        match &self.memory.gate {
            Some((_, GateFound::Ready { gate, .. })) => gate.slots.unwrap_or(self.slots_default),
            _ => self.slots_default,
        }
    }

    /// Asks the repository whether people have moved refs.
    pub fn fingerprint(&mut self) -> u64 {
        self.forge.fingerprint()
    }

    /// The repository itself, for offers and questions.
    pub fn forge(&mut self) -> &mut F {
        &mut self.forge
    }

    /// The boxes, for shutting down.
    pub fn boxes(&mut self) -> &mut B {
        &mut self.boxes
    }

    /// Returns whether there is still more to do.
    fn rounds(&mut self, store: &mut Store, now: Timestamp) -> Result<bool, LineError> {
        for _ in 0..PLAN_ROUNDS_MAX {
            if !self.round(store, now)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One round: the first rule that writes something ends it. Returns whether there is more to do.
    fn round(&mut self, store: &mut Store, now: Timestamp) -> Result<bool, LineError> {
        let Some(tip) = self.forge.tip()? else {
            return Err(LineError::TargetGone(self.repository.target.to_string()));
        };
        let mut scene = Scene::load(store, self.repository.id, tip, now)?;
        if self.observe_target(store, &scene)?
            || self.settle_landings(store, &mut scene)?
            || self.close_lost_builds(store, &scene)?
            || self.follow_branches(store, &mut scene)?
            || self.judge_standing(store, &mut scene)?
            || self.hold_reverts(store, &mut scene)?
            || self.hold_dependants(store, &mut scene)?
        {
            return Ok(true);
        }
        let found = self.gate_at(tip)?;
        let GateFound::Ready { gate, digest } = found else {
            return self.void_builds(store, &mut scene, None);
        };
        if self.void_builds(store, &mut scene, Some(&digest))? {
            return Ok(true);
        }
        self.plan_and_act(store, &mut scene, &gate, &digest)
    }

    fn gate_obstacle(&self) -> Option<Obstacle> {
        match &self.memory.gate {
            Some((_, GateFound::Unusable(obstacle))) => Some(obstacle.clone()),
            Some((_, GateFound::Ready { .. })) | None => self.base_obstacle(),
        }
    }

    fn base_obstacle(&self) -> Option<Obstacle> {
        let tip = self.memory.broken_base?;
        Some(Obstacle {
            code: "base_broken",
            text: format!("the target's own checks fail at {}", tip.short()),
            next_action: "mend the target with a direct push, or offer a change that mends it as urgent"
                .into(),
            retry_at: None,
        })
    }

    /// Waits longer with each failure in a row.
    fn back_off(&mut self, now: Timestamp) -> Timestamp {
        let at = match self.memory.backed_off_until {
            // One full disk fails many things at once: all of them together are one try.
            Some(until) if until > now => until,
            Some(_) | None => {
                self.memory.tries = self.memory.tries.saturating_add(1);
                now + plan_retry(self.memory.tries).unwrap_or(BUILD_RETRY_WAIT_MAX)
            }
        };
        self.memory.backed_off_until = Some(at);
        self.memory.retry_at = Some(at);
        at
    }

    fn explain(&mut self, error: &LineError, now: Timestamp) -> Obstacle {
        let (code, next_action) = match error {
            LineError::Git(GitError::Locked { .. }) => (
                "repository",
                "if no Git program works in the repository, remove the lock file named here",
            ),
            LineError::Git(_) => (
                "repository",
                "run `git fsck` in the repository and mend what it names",
            ),
            LineError::Store(_) => (
                "host",
                "make room on the disk of the data directory, or mend what is named here",
            ),
            LineError::Change(_) | LineError::Build(_) | LineError::Format(_) => {
                ("bug", "report this with the output of `gantry events`")
            }
            LineError::TargetGone(_) => ("repository", "push the target branch again"),
        };
        Obstacle {
            code,
            text: chain(error),
            next_action: next_action.into(),
            retry_at: Some(self.back_off(now)),
        }
    }

    /// Keeps what is in the way, and records when it comes and goes.
    fn set_obstacle(&mut self, store: &mut Store, obstacle: Option<Obstacle>, now: Timestamp) {
        let (before, after) = (self.memory.obstacle.as_ref(), obstacle.as_ref());
        let same = before.map(|o| (o.code, &o.text)) == after.map(|o| (o.code, &o.text));
        if !same {
            let (kind, text) = match after {
                Some(o) => (FactKind::LineStopped, format!("{}; {}", o.text, o.next_action)),
                None => (FactKind::LineResumed, "nothing is in the way any more".to_owned()),
            };
            let fact = self.fact(kind, now, text);
            // A full disk keeps the fact from being stored; the obstacle itself is shown from memory all the same.
            if let Err(error) = store.save_repository(&self.repository, &[fact]) {
                tracing::warn!(
                    error = chain(&error),
                    "could not record that the line stopped or went on"
                );
            }
        }
        self.memory.obstacle = obstacle;
    }

    fn fact(&self, kind: FactKind, at: Timestamp, text: String) -> Fact {
        Fact {
            at,
            kind,
            repository: self.repository.id,
            change: None,
            build: None,
            text,
            evidence: Vec::new(),
        }
    }

    fn fact_of(&self, change: &change::Change, kind: FactKind, at: Timestamp, text: String) -> Fact {
        Fact {
            change: Some(change.id),
            ..self.fact(kind, at, text)
        }
    }
}

/// Returns an error's text with all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

//! The rules of DESIGN.md, section 2, as they can be seen from outside; looked at after every step and at the end of a
//! day. A broken rule is a panic with everything that happened.

use std::collections::{BTreeMap, BTreeSet};

use gantry_core::event::{Fact, FactKind};
use gantry_core::id::{ChangeId, CommitId, RepositoryId};
use gantry_core::queue::build::BuildState;
use gantry_core::queue::change::{BounceReason, Change, ChangeState, LandedBy};
use gantry_core::queue::planner::Purpose;
use gantry_engine::audit::{Audit, audit};
use gantry_engine::gate::GATE_FILE;
use gantry_engine::journal::{CANDIDATES, CHANGES, Verdict};
use gantry_store::StateColumns;

use crate::forge::FakeForge;
use crate::git::{Files, Git, Move, name};
use crate::merge::merge;
use crate::truth::{Truth, truth_of};
use crate::world::TestWorld;

/// What was looked at already, and what a day does that a rule does not hold for.
#[derive(Debug, Default)]
pub struct Rules {
    moves: usize,
    facts: u64,
    landings: BTreeMap<ChangeId, u32>,
    /// Somebody took commits off the target.
    pub(crate) rewound: bool,
    /// The target holds a flaky test: innocents may be bounced.
    pub(crate) flaky_base: bool,
}

impl Rules {
    pub(crate) fn database_lost(&mut self) {
        self.facts = 0;
        self.landings.clear();
    }
}

impl TestWorld {
    /// Checks what must hold after every step.
    ///
    /// # Panics
    ///
    /// If a rule is broken.
    pub fn check(&mut self) {
        self.check_slots();
        let moves: Vec<Move> = self.git.borrow().moves[self.rules.moves..].to_vec();
        self.rules.moves += moves.len();
        for one in &moves {
            if let Err(broken) = self.check_move(one) {
                self.fail(&broken);
            }
        }
        let facts = self
            .store()
            .load_facts_after(self.rules.facts, 10_000)
            .expect("readable facts");
        for recorded in facts {
            self.rules.facts = recorded.sequence;
            if let Err(broken) = self.check_fact(&recorded.fact) {
                self.fail(&broken);
            }
        }
    }

    fn check_slots(&mut self) {
        let active = self.yard.borrow().active();
        let slots = self.slots_of_target();
        if active > slots.max(self.setup.slots) {
            self.fail(&format!("{active} boxes run in {slots} slots"));
        }
    }

    fn slots_of_target(&self) -> usize {
        let git = self.git.borrow();
        let gate = git
            .tip()
            .and_then(|tip| git.files_at(tip).get(GATE_FILE).cloned());
        gate.and_then(|gate| gate.split(':').next()?.parse().ok())
            .unwrap_or(2)
    }

    /// Rules 1, 2 and 5: tested is landed, compare and swap, the gate of the base, gate changes alone.
    fn check_move(&mut self, one: &Move) -> Result<(), String> {
        let git = self.git.clone();
        let mut git = git.borrow_mut();
        let what = format!("{} to {}", one.from.short(), one.to.short());
        if !git.ancestors(one.to).contains(&one.from) {
            return Err(format!(
                "the target was moved from {what}, which is no fast-forward"
            ));
        }
        let fits = |verdict: &&Verdict| {
            let base = verdict.base == one.from.to_string();
            let tree = verdict.tree == git.commit(one.to).tree.to_string();
            tree && (base || verdict.members.iter().any(|m| m.commit == one.from.to_string()))
        };
        let Some(verdict) = one.verdicts.iter().find(fits) else {
            return Err(format!(
                "the target was moved from {what} without a verdict in the journal"
            ));
        };
        let base: CommitId = verdict
            .base
            .parse()
            .map_err(|_| "an unreadable base".to_owned())?;
        let gate = git.files_at(base).get(GATE_FILE).cloned().unwrap_or_default();
        if CommitId::from_bytes(name(&gate)).to_string() != verdict.gate {
            return Err(format!(
                "{} was tested by another gate than its base's",
                one.to.short()
            ));
        }
        let truth = truth_of(git.files_at(one.to));
        if matches!(truth, Truth::Bad | Truth::Hangs) {
            return Err(format!(
                "main is red: it was moved from {what}, whose truth is {truth:?}"
            ));
        }
        self.rules.flaky_base |= matches!(truth, Truth::Flaky(_));
        let landed_before = verdict
            .members
            .iter()
            .rposition(|m| m.commit == one.from.to_string());
        let rest = &verdict.members[landed_before.map_or(0, |at| at + 1)..];
        let mut before = one.from;
        for member in rest {
            let after: CommitId = member
                .commit
                .parse()
                .map_err(|_| "an unreadable commit".to_owned())?;
            let edits_gate = git.files_at(before).get(GATE_FILE) != git.files_at(after).get(GATE_FILE);
            if edits_gate && rest.len() > 1 {
                return Err(format!(
                    "C{} edits the gate and landed with others",
                    member.change
                ));
            }
            before = after;
        }
        Ok(())
    }

    /// Rules 4 and 6 as facts tell of them: nothing lands twice, and nobody innocent is sent back.
    fn check_fact(&mut self, fact: &Fact) -> Result<(), String> {
        let Some(id) = fact.change else { return Ok(()) };
        match fact.kind {
            FactKind::ChangeLanded => {
                let times = self.rules.landings.entry(id).or_default();
                *times += 1;
                if *times > 1 {
                    return Err(format!("{id} landed twice"));
                }
            }
            FactKind::ChangeBounced => {
                let change = self.factory.change(id).map_err(|error| error.to_string())?;
                // Whoever bounced it may have been overtaken within the same step.
                if let ChangeState::Bounced(reason) = &change.state {
                    return self.check_bounce(&change, reason);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check_bounce(&mut self, change: &Change, reason: &BounceReason) -> Result<(), String> {
        let git = self.git.clone();
        let mut git = git.borrow_mut();
        let (Some(tip), id) = (git.tip(), change.id) else {
            return Ok(());
        };
        let own = own_files(&mut git, tip, change.head);
        let target = git.files_at(tip).clone();
        let guilty = |truth: Truth| {
            matches!((truth, reason), (Truth::Flaky(_), _))
                || truth == Truth::Bad && !matches!(reason, BounceReason::TimedOut { .. })
                || truth == Truth::Hangs && matches!(reason, BounceReason::TimedOut { .. })
        };
        let mut joined = target;
        joined.extend(own.clone());
        match reason {
            BounceReason::Conflict { .. } => {
                let base = git.merge_base(change.head, &[tip]);
                let sum = base.map(|base| {
                    merge(git.files_at(base), git.files_at(tip), git.files_at(change.head)).is_err()
                });
                let single = git.left(change.head, &[tip]).len() == 1;
                (sum != Some(false) || !single)
                    .then_some(())
                    .ok_or(format!("{id} was bounced though it merges"))
            }
            _ if self.rules.flaky_base || guilty(truth_of(&own)) => Ok(()),
            BounceReason::CheckFailed { .. } | BounceReason::FailsTogether { .. } => {
                // With what the target holds it fails, though the target alone does not.
                let with = truth_of(&joined) == Truth::Bad && truth_of(git.files_at(tip)) != Truth::Bad;
                with.then_some(())
                    .ok_or(format!("the innocent {id} was bounced: {reason:?}"))
            }
            BounceReason::TimedOut { .. } => Err(format!("the innocent {id} was bounced: {reason:?}")),
        }
    }

    /// Checks what must hold once a day is over and everything has settled.
    ///
    /// # Panics
    ///
    /// If a rule is broken.
    pub fn check_day(&mut self) {
        self.check();
        let broken = self.broken_at_rest();
        if !broken.is_empty() {
            self.fail(&broken.join("\n"));
        }
    }

    fn fail(&mut self, broken: &str) -> ! {
        let told = self.tell();
        panic!("{broken}\nseed {}, {:?}\n{told}", self.setup.seed, self.setup)
    }

    fn broken_at_rest(&mut self) -> Vec<String> {
        let mut broken = Vec::new();
        let changes = self.changes();
        for change in &changes {
            broken.extend(self.unexplained(change));
        }
        broken.extend(self.refs_out_of_step(&changes));
        broken.extend(self.audit_faults(&changes));
        broken.extend(self.rebuilt_otherwise(&changes));
        broken.extend(self.history_twice());
        broken
    }

    /// Rule 4: the last word on every halted or ended change is a fact.
    fn unexplained(&self, change: &Change) -> Option<String> {
        let wanted = match change.state {
            ChangeState::Landed(_) => FactKind::ChangeLanded,
            ChangeState::Held(_) => FactKind::ChangeHeld,
            ChangeState::Bounced(_) => FactKind::ChangeBounced,
            ChangeState::Cancelled(_) => FactKind::ChangeCancelled,
            ChangeState::Queued if !self.goes_on(change) => return None,
            ChangeState::Open | ChangeState::Queued | ChangeState::Testing | ChangeState::Landing { .. } => {
                return Some(format!("{} did not end: {:?}", change.id, change.state));
            }
        };
        let facts = self
            .store()
            .load_facts_of(change.id, 1_000)
            .expect("readable facts");
        let told = facts
            .iter()
            .any(|f| f.fact.kind == wanted && !f.fact.text.is_empty());
        (!told).then(|| format!("{} is {:?} and no fact says so", change.id, change.state))
    }

    /// Rule 3: refs and rows agree.
    fn refs_out_of_step(&self, changes: &[Change]) -> Vec<String> {
        let git = self.git.borrow();
        let living: BTreeSet<String> = changes
            .iter()
            .filter(|c| !c.state.is_terminal())
            .map(|c| format!("{CHANGES}{}", c.id))
            .collect();
        let noted: BTreeSet<String> = git
            .refs
            .keys()
            .filter(|r| r.starts_with(CHANGES))
            .cloned()
            .collect();
        let mut broken: Vec<String> = living
            .symmetric_difference(&noted)
            .map(|name| format!("{name} is out of step"))
            .collect();
        let counting = self
            .store()
            .load_counting_builds(RepositoryId::new(1))
            .expect("readable builds");
        let left = |name: &&String| {
            name.starts_with(CANDIDATES)
                && !counting.iter().any(|b| **name == format!("{CANDIDATES}{}", b.id))
        };
        broken.extend(
            git.refs
                .keys()
                .filter(left)
                .map(|name| format!("{name} is left over")),
        );
        let running = counting
            .iter()
            .filter(|b| !matches!(b.state, BuildState::Ended(_)) && b.order.purpose != Purpose::Trace);
        broken.extend(
            running
                .filter(|b| !b.order.members.is_empty())
                .map(|b| format!("{} still runs", b.id)),
        );
        broken
    }

    /// What the audit says now.
    #[must_use]
    pub fn audited(&mut self) -> Audit {
        let mut forge = FakeForge::open(self.git.clone(), self.fuse.clone());
        let (repository, changes) = (self.repository(), self.changes());
        audit(&mut forge, &repository, &changes).expect("a readable repository")
    }

    fn audit_faults(&mut self, changes: &[Change]) -> Vec<String> {
        let result = self.audited();
        let proven = changes
            .iter()
            .filter(|c| matches!(c.state, ChangeState::Landed(LandedBy::Build { .. })));
        let off = |text: &str| self.rules.rewound && text.contains("not on the target any more");
        let mut broken: Vec<String> = result
            .faults
            .iter()
            .filter(|f| !off(&f.text))
            .map(|f| format!("audit: {f:?}"))
            .collect();
        if result.changes + broken.len() < proven.count() && !self.rules.rewound {
            broken.push("audit: not every landed change was proven".to_owned());
        }
        let git = self.git.borrow();
        let strange = result
            .pushed
            .iter()
            .filter(|id| git.moves.iter().any(|one| one.to == **id));
        if !self.rules.rewound {
            broken.extend(strange.map(|id| format!("audit: {} counts as pushed", id.short())));
        }
        broken
    }

    /// Rule 3: a lost database comes back with the same states.
    fn rebuilt_otherwise(&mut self, changes: &[Change]) -> Vec<String> {
        let store = self.rebuilt().expect("a database in memory");
        let mut broken = Vec::new();
        for change in changes {
            let again = store.load_change(change.id).expect("readable changes");
            let same = again.as_ref().is_some_and(|other| {
                StateColumns::of(&other.state) == StateColumns::of(&change.state)
                    && other.head == change.head
                    && other.after == change.after
            });
            if !same {
                broken.push(format!("{} is {:?}, rebuilt {again:?}", change.id, change.state));
            }
        }
        broken
    }

    /// No commit of a change is twice on the target.
    fn history_twice(&self) -> Vec<String> {
        let git = self.git.borrow();
        let mut seen = BTreeSet::new();
        let mut broken = Vec::new();
        let mut next = git.tip();
        while let Some(id) = next {
            let commit = git.commit(id);
            if commit.author != "person" && !seen.insert((commit.subject.clone(), commit.author.clone())) {
                broken.push(format!("{:?} is twice on the target", commit.subject));
            }
            next = commit.parents.first().copied();
        }
        broken
    }

    /// Says that people put a flaky check on the target, so that innocents may be bounced from now on.
    pub fn rules_know_of_flakes(&mut self) {
        self.rules.flaky_base = true;
    }

    /// True if it landed by a build.
    #[must_use]
    pub fn landed_by_build(&self, change: ChangeId) -> bool {
        matches!(self.state(change), ChangeState::Landed(LandedBy::Build { .. }))
    }
}

/// The files a change brings, as they are at its head.
fn own_files(git: &mut Git, tip: CommitId, head: CommitId) -> Files {
    let base = git.merge_base(head, &[tip]);
    let old = base.map(|id| git.files_at(id).clone()).unwrap_or_default();
    let new = git.files_at(head).clone();
    new.into_iter()
        .filter(|(path, content)| old.get(path) != Some(content))
        .collect()
}

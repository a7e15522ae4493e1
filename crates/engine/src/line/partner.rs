//! Names the landing that a bounced change does not work with, in slots that nothing else wants. Never delays a bounce
//! and never lands anything.

use gantry_adapters::git::Replay;
use gantry_core::event::FactKind;
use gantry_core::id::{BuildId, ChangeId, CommitId};
use gantry_core::limits::{SAME_TREE_TROUBLE_MAX, TRACE_LANDINGS_MAX};
use gantry_core::queue::build::{Build, BuildOrder, BuildState, Ending};
use gantry_core::queue::change::{BounceReason, Change, ChangeEvent, ChangeState, LandedBy};
use gantry_core::queue::planner::{Apart, Purpose, tell_apart};
use gantry_store::{Store, StoreError};

use super::act::build_members;
use super::scene::Scene;
use super::{Line, LineError};
use crate::boxes::Boxes;
use crate::forge::Forge;
use crate::gate::Gate;

/// The landings since a change was offered, and where the target was before and after each.
#[derive(Debug, Default)]
struct Landings {
    changes: Vec<ChangeId>,
    /// One more than `changes`: the tip after so many of them.
    tips: Vec<CommitId>,
}

impl<F: Forge, B: Boxes> Line<F, B> {
    /// Goes one step on with the first bounced change whose partner is not known. Returns whether it wrote something.
    pub(super) fn trace_partner(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        gate: &Gate,
        digest: &str,
    ) -> Result<bool, LineError> {
        if self.memory.retry_at.is_some_and(|at| at > scene.now) {
            return Ok(false);
        }
        let bounced = scene.changes.iter().find_map(|change| match change.state {
            ChangeState::Bounced(BounceReason::CheckFailed { build })
                if !self.memory.traced.contains(&change.head) =>
            {
                Some((change, build))
            }
            _ => None,
        });
        let Some((change, proof)) = bounced else {
            return Ok(false);
        };
        let landings = landings_since(store, change)?;
        let builds = store.load_builds_of(change.id)?;
        let apart = if landings.changes.is_empty() {
            Apart::Alone
        } else {
            tell_apart(&landings.changes, &verdicts(&builds, change, &landings))
        };
        match apart {
            Apart::Build { landings: count } => {
                let base = landings.tips.get(count).copied();
                let Some(base) = base.filter(|base| !was_tried(&builds, change, *base)) else {
                    self.memory.traced.insert(change.head);
                    return Ok(true);
                };
                self.start_trace(store, scene, gate, digest, change, base)
            }
            Apart::With(with) => self.record_partner(store, scene, change, proof, with),
            Apart::Alone => {
                self.memory.traced.insert(change.head);
                Ok(true)
            }
        }
    }

    fn start_trace(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        gate: &Gate,
        digest: &str,
        change: &Change,
        base: CommitId,
    ) -> Result<bool, LineError> {
        let parts = [self.member(store, change)?];
        let steps = match self.forge.replay(base, &parts, gate.method)? {
            Replay::Made { steps } => steps,
            // It needs one of the landings to merge at all: it cannot be tried without them.
            Replay::Conflict { .. } => {
                self.memory.traced.insert(change.head);
                return Ok(true);
            }
        };
        let Some(last) = steps.last() else {
            return Ok(false);
        };
        let order = BuildOrder {
            repository: self.repository.id,
            base,
            members: build_members(&steps, &parts),
            candidate: last.commit,
            tree: last.tree,
            gate: digest.to_owned(),
            sandbox: self.boxes.identity(),
            purpose: Purpose::Trace,
            reuses: None,
            prepared_at: scene.now,
        };
        self.launch(store, scene, gate, &[], order)
    }

    fn record_partner(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        change: &Change,
        build: BuildId,
        with: ChangeId,
    ) -> Result<bool, LineError> {
        let mut next = change.clone();
        next.take(ChangeEvent::FoundPartner { build, with }, scene.now)?;
        let text = format!("it passes without {with}, which landed first, and fails together with it");
        let mut fact = self.fact_of(change, FactKind::ChangeExplained, scene.now, text);
        fact.build = Some(build);
        self.save(store, &[next], &[fact])
    }
}

fn landings_since(store: &Store, change: &Change) -> Result<Landings, StoreError> {
    let mut landings = Landings::default();
    for (id, at) in store.load_landed_since(change.repository, change.offered_at)? {
        if at > change.since {
            break;
        }
        let Some(landed) = store.load_change(id)? else {
            continue;
        };
        let ChangeState::Landed(LandedBy::Build { build, commit }) = landed.state else {
            continue;
        };
        if landings.tips.is_empty() {
            let Some(build) = store.load_build(build)? else {
                continue;
            };
            landings.tips.push(tip_before(&build, id));
        }
        landings.changes.push(id);
        landings.tips.push(commit);
    }
    if landings.changes.len() > TRACE_LANDINGS_MAX {
        return Ok(Landings::default());
    }
    Ok(landings)
}

/// True if a build of the change on that tip has told what it could: another one would tell no more.
fn was_tried(builds: &[Build], change: &Change, base: CommitId) -> bool {
    let there = builds.iter().filter(|build| {
        build.order.purpose == Purpose::Trace
            && build.order.base == base
            && build
                .order
                .members
                .iter()
                .any(|member| member.head == change.head)
    });
    let mut without_verdict = 0;
    for build in there {
        match build.state {
            BuildState::Ended(Ending::Trouble(_)) => without_verdict += 1,
            BuildState::Ended(Ending::Cancelled) | BuildState::Prepared | BuildState::Running { .. } => {}
            BuildState::Ended(Ending::Passed | Ending::Failed | Ending::TimedOut) => return true,
        }
    }
    without_verdict >= SAME_TREE_TROUBLE_MAX
}

/// Where the target was before this member of a build landed.
fn tip_before(build: &Build, change: ChangeId) -> CommitId {
    let at = build
        .order
        .members
        .iter()
        .position(|member| member.change == change);
    match at
        .and_then(|at| at.checked_sub(1))
        .and_then(|before| build.order.members.get(before))
    {
        Some(before) => before.commit,
        None => build.order.base,
    }
}

/// What is known of the change alone on each of the tips.
fn verdicts(builds: &[Build], change: &Change, landings: &Landings) -> Vec<(usize, bool)> {
    builds
        .iter()
        .filter(|build| {
            matches!(build.order.members.as_slice(), [only] if only.change == change.id && only.head == change.head)
        })
        .filter_map(|build| {
            let passed = match build.state {
                BuildState::Ended(Ending::Passed) => true,
                BuildState::Ended(Ending::Failed) => false,
                _ => return None,
            };
            let count = landings.tips.iter().rposition(|tip| *tip == build.order.base)?;
            Some((count, passed))
        })
        .collect()
}

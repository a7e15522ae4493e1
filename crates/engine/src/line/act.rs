//! Performing a plan: intents are stored before an effect, and what was seen after it.

use std::collections::HashMap;

use gantry_adapters::git::{Member, Replay, Swap};
use gantry_core::event::FactKind;
use gantry_core::id::{BuildId, ChangeId, CommitId};
use gantry_core::limits::{BROKEN_BASE_RETRY_WAIT, CONTROL_AGE_MAX};
use gantry_core::queue::build::{Build, BuildEvent, BuildMember, BuildOrder, BuildState, Ending, Trouble};
use gantry_core::queue::change::{BounceReason, Change, ChangeEvent, ChangeState};
use gantry_core::queue::planner::{
    Blame, BuildProgress, BuildView, Item, Purpose, QueueView, Settings, Step, base_is_broken, plan,
};
use gantry_core::time::Timestamp;
use gantry_store::{Saved, Store};

use super::scene::{Scene, Worth};
use super::{Line, LineError};
use crate::boxes::{BoxOrder, Boxes};
use crate::forge::Forge;
use crate::gate::Gate;
use crate::journal::{CANDIDATES, Entry, Verdict};

impl<F: Forge, B: Boxes> Line<F, B> {
    /// Plans on the scene and performs the plan. Returns whether another round is due.
    pub(super) fn plan_and_act(
        &mut self,
        store: &mut Store,
        scene: &mut Scene,
        gate: &Gate,
        digest: &str,
    ) -> Result<bool, LineError> {
        let sandbox = self.boxes.identity();
        let freeze = self.repository.frozen.clone();
        let runnable: Vec<Change> = scene
            .runnable(freeze.as_ref(), &self.memory.troubled)
            .into_iter()
            .cloned()
            .collect();
        let items = self.items(store, scene, &runnable)?;
        let refs: Vec<&Change> = runnable.iter().collect();
        let mut builds: Vec<BuildView> = Vec::new();
        // What the planner does not see still has a slot: traces, and builds of frozen changes.
        let mut hidden = 0;
        for build in &scene.builds {
            let doomed = self.boxes.is_doomed(build.id);
            match scene.worth(build, &refs, digest, &sandbox, doomed) {
                Worth::Seen(_) if is_old_control(build, scene.now) => {}
                Worth::Seen(view) => builds.push(view),
                Worth::Frozen | Worth::Void if !matches!(build.state, BuildState::Ended(_)) => hidden += 1,
                Worth::Frozen | Worth::Void => {}
            }
        }
        let slots = self.slots().saturating_sub(hidden);
        let learnt = self.learn(store)?;
        let tree = self.forge.tree_of(scene.tip)?;
        let passed = match store.find_passed(self.repository.id, tree, digest, &sandbox)? {
            // The host changes under the same tree: an old pass says little about today's failure.
            Some(id) => store
                .load_build(id)?
                .and_then(|build| build.ended_at)
                .is_some_and(|at| scene.now.since(at) <= CONTROL_AGE_MAX.max(2 * learnt.check_time.median)),
            None => false,
        };
        // The last word of the controls counts: one that passes after a flake makes the tip green again.
        let last_control = builds
            .iter()
            .rfind(|b| b.members.is_empty() && b.on_tip && b.progress.running_since().is_none());
        let control_failed = last_control.is_some_and(|b| b.progress != BuildProgress::Passed);
        let view = QueueView {
            now: scene.now,
            items: &items,
            builds: &builds,
            tip_is_green: passed && !control_failed,
            rates: learnt.rates,
            check_time: learnt.check_time,
            settings: Settings {
                policy: gate.policy,
                batch_max: gate.batch_max,
                slots: slots.max(1),
                patience: gate.patience,
                independent: gate.independent,
            },
        };
        if view.tip_is_green {
            self.memory.broken_base = None;
        }
        if let Some(build) = base_is_broken(&view)
            && self.memory.broken_base != Some(scene.tip)
        {
            self.memory.broken_base = Some(scene.tip);
            let mut fact = self.fact(
                FactKind::BaseBroken,
                scene.now,
                format!(
                    "the checks fail on {} itself: nobody is blamed until it is mended",
                    scene.tip.short()
                ),
            );
            fact.build = Some(build);
            store.save_repository(&self.repository, &[fact])?;
        }
        let mut steps = plan(&view);
        if steps.iter().any(|step| matches!(step, Step::Start { .. })) && self.end_traces(store, scene)? {
            return Ok(true);
        }
        if slots == 0 {
            steps.retain(|step| !matches!(step, Step::Start { .. }));
        }
        let busy = view
            .builds
            .iter()
            .filter(|b| b.progress.running_since().is_some())
            .count();
        let idle = steps.is_empty() && hidden == 0 && busy < slots;
        if self.perform(store, scene, gate, digest, steps)? {
            return Ok(true);
        }
        if idle {
            self.trace_partner(store, scene, gate, digest)
        } else {
            Ok(false)
        }
    }

    /// Ends traces: something else wants a slot. Returns whether there was one.
    fn end_traces(&mut self, store: &mut Store, scene: &Scene) -> Result<bool, LineError> {
        let traces = scene.builds.iter().filter(|build| {
            build.order.purpose == Purpose::Trace && !matches!(build.state, BuildState::Ended(_))
        });
        let mut ended = false;
        for trace in traces {
            self.boxes.cancel(trace.id);
            self.end_build(store, &mut trace.clone(), BuildEvent::Cancel, scene.now)?;
            ended = true;
        }
        Ok(ended)
    }

    fn perform(
        &mut self,
        store: &mut Store,
        scene: &mut Scene,
        gate: &Gate,
        digest: &str,
        steps: Vec<Step>,
    ) -> Result<bool, LineError> {
        let mut again = false;
        for step in steps {
            match step {
                Step::Land { build } => {
                    self.intend_landing(store, scene, build)?;
                    return Ok(true);
                }
                Step::Bounce { change, blame } => {
                    self.bounce(store, scene, change, &blame)?;
                    return Ok(true);
                }
                Step::Cancel { build } => {
                    if let Some(mut build) = scene.builds.iter().find(|b| b.id == build).cloned() {
                        self.boxes.cancel(build.id);
                        self.end_build(store, &mut build, BuildEvent::Cancel, scene.now)?;
                    }
                }
                Step::Start { members, purpose } => {
                    if self.memory.retry_at.is_some_and(|at| at > scene.now) {
                        continue;
                    }
                    again |= self.start(store, scene, gate, digest, &members, purpose)?;
                }
            }
        }
        Ok(again)
    }

    fn items(&mut self, store: &Store, scene: &Scene, runnable: &[Change]) -> Result<Vec<Item>, LineError> {
        let records = self.records(store)?;
        let mut stacks: HashMap<ChangeId, u64> = HashMap::new();
        let mut items = Vec::with_capacity(runnable.len());
        for change in runnable {
            let conflicts_with = runnable
                .iter()
                .filter(|other| other.id != change.id && self.known_to_conflict(change.head, other.head))
                .map(|other| other.id)
                .collect();
            let mut stack = None;
            for id in &change.after {
                if let Some(below) = scene.change(*id)
                    && self.is_stacked(below.head, change.head)?
                {
                    let number = *stacks.entry(*id).or_insert(id.number());
                    stacks.insert(change.id, number);
                    stack = Some(number);
                }
            }
            items.push(Item {
                change: change.id,
                offered_at: change.offered_at,
                priority: change.priority,
                solo: change.solo || self.touches_gate(change.id),
                after: change.after.clone(),
                conflicts_with,
                stack,
                pass_probability: records.pass_probability(&change.author),
                landed_since: scene
                    .landed
                    .iter()
                    .filter(|(_, at)| *at >= change.offered_at)
                    .count(),
                footprint: self.footprint(change.id),
            });
        }
        // The bottom of a stack learns of it only when something stands on it.
        for item in &mut items {
            item.stack = item.stack.or_else(|| stacks.get(&item.change).copied());
        }
        Ok(items)
    }

    fn footprint(&self, change: ChangeId) -> Vec<u64> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let Some(verdict) = self.memory.verdicts.get(&change) else {
            return Vec::new();
        };
        let mut numbers: Vec<u64> = verdict
            .paths
            .iter()
            .map(|path| {
                let mut hasher = DefaultHasher::new();
                path.hash(&mut hasher);
                hasher.finish()
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Returns what a replay needs of a change.
    pub(super) fn member(&mut self, store: &Store, change: &Change) -> Result<Member, LineError> {
        let mut stands_on = Vec::new();
        for id in &change.after {
            let landed = store
                .load_change(*id)?
                .filter(|below| matches!(below.state, ChangeState::Landed(_)));
            if let Some(below) = landed
                && self.is_stacked(below.head, change.head)?
            {
                stands_on.push(below.head);
            }
        }
        Ok(Member {
            change: change.id,
            head: change.head,
            title: change.title.clone(),
            offered_at: change.offered_at,
            stands_on,
        })
    }

    fn is_stacked(&mut self, below: CommitId, above: CommitId) -> Result<bool, LineError> {
        if let Some(known) = self.memory.stack_of.get(&(below, above)) {
            return Ok(*known);
        }
        let stacked = below != above && self.forge.is_ancestor(below, above)?;
        self.memory.stack_of.insert((below, above), stacked);
        Ok(stacked)
    }

    fn known_to_conflict(&self, a: CommitId, b: CommitId) -> bool {
        self.memory.conflicts.contains(&(a.min(b), a.max(b)))
    }

    /// Makes the candidate and starts its checks. Returns whether the plan has to be made anew.
    fn start(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        gate: &Gate,
        digest: &str,
        members: &[ChangeId],
        purpose: Purpose,
    ) -> Result<bool, LineError> {
        let changes: Vec<&Change> = members.iter().filter_map(|id| scene.change(*id)).collect();
        let mut parts = Vec::with_capacity(changes.len());
        for change in &changes {
            parts.push(self.member(store, change)?);
        }
        let steps = match self.forge.replay(scene.tip, &parts, gate.method) {
            Ok(Replay::Made { steps }) => steps,
            Ok(Replay::Conflict { change, paths, made }) => {
                if made.is_empty() {
                    self.bounce_unmerged(store, scene, change, &paths)?;
                } else {
                    self.learn_conflict(scene, gate, &parts, change)?;
                }
                return Ok(true);
            }
            Err(error) => return self.find_troubled(scene, gate, &parts, error),
        };
        let last = steps.last();
        let candidate = last.map_or(scene.tip, |step| step.commit);
        if self.hold_for_its_gate(store, scene, &changes, candidate)? {
            return Ok(true);
        }
        let tree = match last {
            Some(step) => step.tree,
            None => self.forge.tree_of(scene.tip)?,
        };
        let sandbox = self.boxes.identity();
        let reuses = match purpose {
            Purpose::Land | Purpose::Split => {
                store.find_passed(self.repository.id, tree, digest, &sandbox)?
            }
            Purpose::Retry | Purpose::Control | Purpose::Trace => None,
        };
        let order = BuildOrder {
            repository: self.repository.id,
            base: scene.tip,
            members: build_members(&steps, &parts),
            candidate,
            tree,
            gate: digest.to_owned(),
            sandbox,
            purpose,
            reuses,
            prepared_at: scene.now,
        };
        self.launch(store, scene, gate, &changes, order)
    }

    /// Stores the build, pins its candidate, and only then starts its box.
    pub(super) fn launch(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        gate: &Gate,
        changes: &[&Change],
        order: BuildOrder,
    ) -> Result<bool, LineError> {
        let mut testing = Vec::with_capacity(changes.len());
        for change in changes {
            // A build of this very round may have written the change already: read what it is now.
            let Some(mut next) = store.load_change(change.id)? else {
                return Ok(true);
            };
            next.take(ChangeEvent::BuildStarted, scene.now)?;
            if next.state != change.state {
                testing.push(next);
            }
        }
        let (candidate, reuses) = (order.candidate, order.reuses);
        let names: Vec<String> = order.members.iter().map(|m| m.change.to_string()).collect();
        let what = if names.is_empty() {
            "the target itself".to_owned()
        } else {
            names.join(", ")
        };
        let (repository, now) = (self.repository.id, scene.now);
        let saved = store.insert_build(order, &testing, |id| {
            let text = match reuses {
                Some(earlier) => {
                    format!("{id} of {what} takes over the verdict of {earlier} on the same tree")
                }
                None => format!("{id} tests {what}"),
            };
            vec![gantry_core::event::Fact {
                at: now,
                kind: FactKind::BuildStarted,
                repository,
                change: None,
                build: Some(id),
                text,
                evidence: Vec::new(),
            }]
        })?;
        let Some(mut build) = saved else {
            return Ok(true);
        };
        self.forge
            .ensure_ref(&format!("{CANDIDATES}{}", build.id), Some(candidate))?;
        if reuses.is_some() {
            return Ok(true);
        }
        self.boxes.start(BoxOrder {
            build: build.id,
            commit: candidate,
            base: build.order.base,
            gate: gate.clone(),
            gate_digest: build.order.gate.clone(),
            sandbox: build.order.sandbox.clone(),
        });
        if !self.boxes.is_running(&build) {
            // It could not even begin: wait before the next try, whatever its report will say.
            let event = BuildEvent::Trouble(Trouble::CouldNotStart);
            self.end_build(store, &mut build, event, scene.now)?;
            return Ok(false);
        }
        build.state = build.state.apply(BuildEvent::BoxRuns, scene.now)?;
        build.started_at = Some(scene.now);
        let saved = store.save_build(&build, &[], &[])?;
        debug_assert_eq!(saved, Saved::Saved, "it was stored in this call");
        Ok(false)
    }

    /// Remembers which change ahead this one does not merge with, so that no candidate holds both.
    fn learn_conflict(
        &mut self,
        scene: &Scene,
        gate: &Gate,
        parts: &[Member],
        change: ChangeId,
    ) -> Result<(), LineError> {
        let Some(at) = parts.iter().position(|part| part.change == change) else {
            return Ok(());
        };
        let this = &parts[at];
        let mut with = None;
        for other in parts[..at].iter().rev() {
            let pair = [other.clone(), this.clone()];
            if matches!(
                self.forge.replay(scene.tip, &pair, gate.method)?,
                Replay::Conflict { .. }
            ) {
                with = Some(other.head);
                break;
            }
        }
        // Only three together conflict: keeping it from the nearest one is enough to go on.
        let with = with.or_else(|| parts[..at].last().map(|part| part.head));
        if let Some(with) = with {
            self.memory
                .conflicts
                .insert((with.min(this.head), with.max(this.head)));
        }
        Ok(())
    }

    /// Sends back what does not go onto the tip commit by commit, though its end result merges.
    fn bounce_unmerged(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        id: ChangeId,
        paths: &[Vec<u8>],
    ) -> Result<(), LineError> {
        let Some(change) = scene.change(id) else {
            return Ok(());
        };
        let paths: Vec<String> = paths.iter().map(|path| crate::git_forge::shown(path)).collect();
        let text = format!(
            "its commits conflict with {} in {} when replayed one by one, though their sum merges; rebase the branch, \
             or use method \"squash\"",
            self.repository.target,
            paths.join(", ")
        );
        let mut next = change.clone();
        let reason = BounceReason::Conflict { culprit: None, paths };
        next.take(ChangeEvent::Bounce(reason), scene.now)?;
        let fact = self.fact_of(change, FactKind::ChangeBounced, scene.now, text);
        self.save(store, &[next], &[fact])?;
        Ok(())
    }

    /// After a replay met trouble: finds whose objects are to blame, so that the others can go on.
    fn find_troubled(
        &mut self,
        scene: &Scene,
        gate: &Gate,
        parts: &[Member],
        error: gantry_adapters::git::GitError,
    ) -> Result<bool, LineError> {
        let mut found = Vec::new();
        for part in parts {
            if let Err(trouble) = self
                .forge
                .replay(scene.tip, std::slice::from_ref(part), gate.method)
            {
                found.push((part.change, (part.head, super::chain(&trouble))));
            }
        }
        // All of them at once: if the target cannot be read either, the repository is in trouble and not a change.
        let all = parts.len() > 1 && found.len() == parts.len();
        if found.is_empty() || (all && self.forge.tree_of(scene.tip).is_err()) {
            return Err(error.into());
        }
        self.memory.troubled.extend(found);
        self.memory.troubled_at = Some(scene.now);
        Ok(true)
    }

    /// Stores the intent to land: from here on a restart finishes it.
    fn intend_landing(&mut self, store: &mut Store, scene: &Scene, id: BuildId) -> Result<(), LineError> {
        let Some(build) = scene.builds.iter().find(|build| build.id == id) else {
            return Ok(());
        };
        if self.hold_late_reverts(store, scene, build)? {
            return Ok(());
        }
        self.ensure_journaled(build)?;
        let mut moved = Vec::new();
        for member in &build.order.members {
            if let Some(change) = scene.change(member.change) {
                let mut next = change.clone();
                // Queued again (held and released, or a landing was lost) while a build that passed still stands.
                next.take(ChangeEvent::BuildStarted, scene.now)?;
                next.take(ChangeEvent::LandingIntended { build: id }, scene.now)?;
                moved.push(next);
            }
        }
        self.save(store, &moved, &[])?;
        Ok(())
    }

    /// A verdict that is not in the journal lands nothing.
    fn ensure_journaled(&mut self, build: &Build) -> Result<(), LineError> {
        if self.memory.journaled.contains(&build.id) {
            return Ok(());
        }
        let number = build.id.number();
        let mut found = false;
        self.forge
            .read_journal(&mut |text| match serde_json::from_str(text) {
                Ok(Entry::Verdict(verdict)) => {
                    found |= verdict.is_of(build) && verdict.ending == "passed";
                    // Verdicts come in nearly the order of their builds; far below there is nothing to find.
                    !found && verdict.build + 1_000 > number
                }
                Ok(_) | Err(_) => true,
            })?;
        if !found {
            let at = build.ended_at.unwrap_or(build.order.prepared_at);
            let verdict = Verdict::of(build, "passed", at.as_millis());
            self.append(&Entry::Verdict(verdict), Some(build.order.candidate), at)?;
        }
        self.memory.journaled.insert(build.id);
        Ok(())
    }

    /// Finishes every landing whose intent is stored, by what the target is now.
    pub(super) fn settle_landings(
        &mut self,
        store: &mut Store,
        scene: &mut Scene,
    ) -> Result<bool, LineError> {
        let mut wrote = false;
        for (id, changes) in scene.landings() {
            let build = store.load_build(id)?;
            let passed = build.filter(|build| build.state == BuildState::Ended(Ending::Passed));
            let Some(build) = passed else {
                wrote |= self.lose_landing(store, scene, &changes)?;
                continue;
            };
            let candidate = build.order.candidate;
            let stale = build.order.members.iter().any(|member| {
                changes
                    .iter()
                    .any(|change| change.id == member.change && change.head != member.head)
            });
            // After a crash the target may hold it already: work trees are then as the build's base was, or moved on.
            let mut from = build.order.base;
            if !self.forge.is_ancestor(candidate, scene.tip)? {
                from = scene.tip;
                let members = &build.order.members;
                let on_base = scene.tip == build.order.base || members.iter().any(|m| m.commit == scene.tip);
                // An older commit is below the candidate, too: somebody took commits off, and they stay off.
                if stale || !on_base {
                    wrote |= self.lose_landing(store, scene, &changes)?;
                    continue;
                }
                self.ensure_journaled(&build)?;
                // The candidate is on the disk before a ref names it, the ref before the database says landed.
                self.forge.make_durable()?;
                let why = format!("gantry: land {id}");
                match self.forge.move_target(scene.tip, candidate, &why)? {
                    Swap::Moved => {
                        self.forge.make_durable()?;
                        self.memory.overtaken = 0;
                    }
                    // Somebody was faster: the next round looks at where they moved it.
                    Swap::Lost { .. } => return Ok(true),
                }
            }
            wrote |= self.record_landing(store, scene, &build, &changes, from)?;
        }
        Ok(wrote)
    }

    fn lose_landing(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        changes: &[Change],
    ) -> Result<bool, LineError> {
        let mut moved = Vec::new();
        for change in changes {
            let mut next = change.clone();
            next.take(ChangeEvent::LandingLost, scene.now)?;
            moved.push(next);
        }
        self.save(store, &moved, &[])
    }

    fn record_landing(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        build: &Build,
        changes: &[Change],
        from: CommitId,
    ) -> Result<bool, LineError> {
        let (mut moved, mut facts) = (Vec::new(), Vec::new());
        for change in changes {
            let Some(member) = build.order.members.iter().find(|m| m.change == change.id) else {
                continue;
            };
            let mut next = change.clone();
            next.take(
                ChangeEvent::LandingSeen {
                    commit: member.commit,
                },
                scene.now,
            )?;
            let text = format!(
                "{:?} landed on {} as {}",
                change.title,
                self.repository.target,
                member.commit.short()
            );
            let mut fact = self.fact_of(change, FactKind::ChangeLanded, scene.now, text);
            fact.build = Some(build.id);
            facts.push(fact);
            moved.push(next);
        }
        // Before the record: a death in between repeats it. Twice is the same as once.
        for notice in self.forge.bring_along(from, build.order.candidate) {
            let fact = self.fact(FactKind::WorkTree, scene.now, notice);
            store.save_repository(&self.repository, &[fact])?;
        }
        self.save(store, &moved, &facts)
    }

    fn bounce(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        id: ChangeId,
        blame: &Blame,
    ) -> Result<(), LineError> {
        let Some(change) = scene.change(id) else {
            return Ok(());
        };
        let (reason, build) = match blame {
            Blame::Alone { build } => (BounceReason::CheckFailed { build: *build }, *build),
            Blame::TimedOut { build } => (BounceReason::TimedOut { build: *build }, *build),
            Blame::Together { build, with, .. } => match with.first() {
                Some(with) => (
                    BounceReason::FailsTogether {
                        build: *build,
                        with: *with,
                    },
                    *build,
                ),
                None => (BounceReason::CheckFailed { build: *build }, *build),
            },
        };
        let checks = store
            .load_build(build)?
            .map(|build| build.checks)
            .unwrap_or_default();
        let failing = checks.iter().find(|check| check.ending != Ending::Passed);
        let what = failing.map_or_else(
            || format!("its checks failed in {build}"),
            |check| format!("check {:?} {} in {build}", check.name, check.detail),
        );
        let text = match blame {
            Blame::Together { with, passed, .. } => {
                let names: Vec<String> = with.iter().map(ToString::to_string).collect();
                format!(
                    "{what}: it passed without {} in {passed}, which landed first, and fails together",
                    names.join(" or ")
                )
            }
            Blame::Alone { .. } | Blame::TimedOut { .. } => what,
        };
        let mut next = change.clone();
        next.take(ChangeEvent::Bounce(reason), scene.now)?;
        let mut fact = self.fact_of(change, FactKind::ChangeBounced, scene.now, text);
        fact.build = Some(build);
        fact.evidence = failing.map(|check| check.evidence.clone()).unwrap_or_default();
        self.save(store, &[next], &[fact])?;
        Ok(())
    }
}

/// True for a control run that failed so long ago that the base is tried again: what broke it may lie outside of it.
fn is_old_control(build: &Build, now: Timestamp) -> bool {
    let failed = matches!(build.state, BuildState::Ended(Ending::Failed | Ending::TimedOut));
    let old = build
        .ended_at
        .is_some_and(|at| now.since(at) >= BROKEN_BASE_RETRY_WAIT);
    build.order.members.is_empty() && failed && old
}

/// Puts together what was replayed and what it became.
pub(super) fn build_members(steps: &[gantry_adapters::git::Step], parts: &[Member]) -> Vec<BuildMember> {
    let pairs = steps.iter().zip(parts);
    pairs
        .map(|(step, part)| BuildMember {
            change: step.change,
            head: part.head,
            commit: step.commit,
            tree: step.tree,
        })
        .collect()
}

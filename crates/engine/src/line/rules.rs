//! The rules that look at the world before anything is planned. Each writes what it sees, and says whether it did.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use gantry_adapters::git::{FileAt, Method, Replay};
use gantry_core::event::{Fact, FactKind};
use gantry_core::id::{ChangeId, CommitId};
use gantry_core::limits::{CONFLICT_PATHS_MAX, CONTENTION_PUSHES, LOOK_AGAIN_INTERVAL};
use gantry_core::queue::build::{Build, BuildEvent, BuildState, Ending, Trouble};
use gantry_core::queue::change::{
    BounceReason, CancelReason, Change, ChangeEvent, ChangeState, HoldReason, Source,
};
use gantry_store::{Saved, Store};

use super::scene::{Scene, Worth};
use super::{GateFound, Line, LineError, Obstacle};
use crate::boxes::Boxes;
use crate::forge::{Forge, OpenHead, Standing};
use crate::gate::{EXAMPLE, GATE_FILE, GATE_PATHS, Gate};
use crate::journal::{CANDIDATES, CHANGES, Entry, Offer, Verdict};

impl<F: Forge, B: Boxes> Line<F, B> {
    /// Notices that the target moved, and by whom.
    pub(super) fn observe_target(&mut self, store: &mut Store, scene: &Scene) -> Result<bool, LineError> {
        if self.repository.known_tip == Some(scene.tip) {
            return Ok(false);
        }
        let mut facts = Vec::new();
        match self.repository.known_tip {
            None => {
                // Seen for the first time by this database: what the refs tell of was lost, or a death cut taking it
                // over short.
                crate::rebuild::rebuild(store, &self.repository, &mut self.forge, scene.now)?;
                self.begin_journal(scene)?;
            }
            Some(before) if !self.is_ours(store, scene.tip)? => {
                facts.push(self.fact(
                    FactKind::TargetPushed,
                    scene.now,
                    format!(
                        "somebody moved {} from {} to {}",
                        self.repository.target,
                        before.short(),
                        scene.tip.short()
                    ),
                ));
                if scene
                    .builds
                    .iter()
                    .any(|build| !matches!(build.state, BuildState::Ended(_)))
                {
                    self.memory.overtaken += 1;
                }
                if self.memory.overtaken == CONTENTION_PUSHES {
                    facts.push(self.fact(
                        FactKind::TargetContended,
                        scene.now,
                        format!(
                            "{CONTENTION_PUSHES} direct pushes in a row overtook running checks: offer them as changes, \
                             or pause them, or nothing will land before they stop"
                        ),
                    ));
                }
            }
            Some(_) => {}
        }
        self.repository.known_tip = Some(scene.tip);
        self.memory.broken_base = None;
        store.save_repository(&self.repository, &facts)?;
        Ok(true)
    }

    fn begin_journal(&mut self, scene: &Scene) -> Result<(), LineError> {
        let mut begun = false;
        self.forge.read_journal(&mut |text| {
            begun |= matches!(serde_json::from_str(text), Ok(Entry::Init { .. }));
            !begun
        })?;
        if begun {
            return Ok(());
        }
        let init = Entry::Init {
            target: self.repository.target.to_string(),
            tip: scene.tip.to_string(),
            at_ms: scene.now.as_millis(),
        };
        self.append(&init, Some(scene.tip), scene.now)
    }

    /// Writes a fact into the journal.
    pub(super) fn append(
        &mut self,
        entry: &Entry,
        keeps: Option<CommitId>,
        at: gantry_core::time::Timestamp,
    ) -> Result<(), LineError> {
        let text = serde_json::to_string(entry)?;
        Ok(self.forge.append(&text, keeps, at)?)
    }

    /// True if the target is where one of the last builds would have put it.
    fn is_ours(&self, store: &Store, tip: CommitId) -> Result<bool, LineError> {
        let recent = store.load_builds_below(self.repository.id, Store::after_all_builds(), 64)?;
        Ok(recent.iter().any(|build| {
            build.state == BuildState::Ended(Ending::Passed)
                && (build.order.candidate == tip || build.order.members.iter().any(|m| m.commit == tip))
        }))
    }

    /// Ends builds whose box is not there: the daemon died, or the box did. A verdict the journal holds counts.
    pub(super) fn close_lost_builds(&mut self, store: &mut Store, scene: &Scene) -> Result<bool, LineError> {
        let open = scene
            .builds
            .iter()
            .filter(|build| !matches!(build.state, BuildState::Ended(_)));
        let mut lost: Vec<Build> = Vec::new();
        for build in open {
            if !self.boxes.is_running(build) {
                lost.push(build.clone());
            }
        }
        if !lost.is_empty() {
            let oldest = lost[0].id.number();
            let mut verdicts: Vec<Verdict> = Vec::new();
            self.forge
                .read_journal(&mut |text| match serde_json::from_str(text) {
                    Ok(Entry::Verdict(verdict)) => {
                        let go_on = verdict.build >= oldest;
                        verdicts.push(verdict);
                        go_on
                    }
                    Ok(_) | Err(_) => true,
                })?;
            for mut build in lost {
                // A number alone proves nothing: a database that was put back hands it out a second time.
                let verdict = verdicts.iter().find(|verdict| verdict.is_of(&build));
                if verdict.is_some() {
                    self.memory.journaled.insert(build.id);
                }
                let event = match verdict.map(|verdict| verdict.ending.as_str()) {
                    Some("passed") => BuildEvent::Pass,
                    Some("failed") => BuildEvent::Fail,
                    Some("timed_out") => BuildEvent::TimeOut,
                    _ => BuildEvent::Trouble(Trouble::Interrupted),
                };
                self.end_build(store, &mut build, event, scene.now)?;
            }
            return Ok(true);
        }
        if !self.memory.recovered {
            self.sweep_refs(store, scene)?;
            self.memory.recovered = true;
        }
        Ok(false)
    }

    /// After a start: every living change has its ref, and no ref is left of what ended.
    fn sweep_refs(&mut self, store: &Store, scene: &Scene) -> Result<(), LineError> {
        for (name, _) in self.forge.own_refs(CANDIDATES)? {
            let id = name.strip_prefix(CANDIDATES).and_then(|text| text.parse().ok());
            if !scene.builds.iter().any(|build| Some(build.id) == id) {
                self.forge.ensure_ref(&name, None)?;
            }
        }
        let noted = self.forge.own_refs(CHANGES)?;
        for (name, _) in &noted {
            let id: Option<ChangeId> = name.strip_prefix(CHANGES).and_then(|text| text.parse().ok());
            let Some(id) = id.filter(|id| scene.change(*id).is_none()) else {
                continue;
            };
            match store.load_change(id)? {
                // It ended, and the process died before the journal was told.
                Some(ended) if ended.state.is_terminal() => self.note_offer(&ended)?,
                Some(_) => {}
                // The database knows nothing of it: it is taken over when the repository is added again.
                None => {
                    tracing::warn!(change = %id, "a ref tells of a change that the database does not know")
                }
            }
        }
        for change in &scene.changes {
            self.note_offer(change)?;
        }
        Ok(())
    }

    /// Keeps a change's offer, or what became of it, where a lost database can be rebuilt from.
    pub(super) fn note_offer(&mut self, change: &Change) -> Result<(), LineError> {
        let name = format!("{CHANGES}{}", change.id);
        let offer = Offer::of(change);
        if change.state.is_terminal() {
            let ended = Entry::Ended {
                change: change.id.number(),
                offer,
                at_ms: change.since.as_millis(),
            };
            self.append(&ended, Some(change.head), change.since)?;
            return Ok(self.forge.ensure_ref(&name, None)?);
        }
        let text = serde_json::to_string(&offer)?;
        Ok(self
            .forge
            .write_note(&name, &text, change.head, change.offered_at)?)
    }

    /// Keeps the offer of a change that was stored outside the loop. If its ref cannot be written now, the next look
    /// makes up for it: what was asked for is stored and done.
    pub fn keep_offer(&mut self, change: &Change) {
        if let Err(error) = self.note_offer(change) {
            tracing::warn!(change = %change.id, error = super::chain(&error), "an offer could not be noted in a ref");
            self.memory.recovered = false;
        }
    }

    /// Saves changes with what happened to them, and keeps their refs in step.
    pub(super) fn save(
        &mut self,
        store: &mut Store,
        changes: &[Change],
        facts: &[gantry_core::event::Fact],
    ) -> Result<bool, LineError> {
        if changes.is_empty() {
            return Ok(false);
        }
        if store.save_changes(changes, facts)? == Saved::Lost {
            // Somebody else wrote first: the next round reads what they wrote.
            return Ok(true);
        }
        for change in changes {
            self.note_offer(change)?;
        }
        Ok(true)
    }

    /// Takes new heads of branches that changes follow, and cancels those whose branch is gone.
    pub(super) fn follow_branches(
        &mut self,
        store: &mut Store,
        scene: &mut Scene,
    ) -> Result<bool, LineError> {
        let follows = |change: &&Change| {
            change.source == Source::Branch && !matches!(change.state, ChangeState::Landing { .. })
        };
        if !scene.changes.iter().any(|change| follows(&change)) {
            return Ok(false);
        }
        let branches = self.forge.branches()?;
        let (mut moved, mut facts) = (Vec::new(), Vec::new());
        for change in scene.changes.iter().filter(follows) {
            let mut next = change.clone();
            match branches.get(&change.branch) {
                Some(head) if *head == change.head => continue,
                Some(head) => {
                    next.head = *head;
                    next.take(ChangeEvent::NewHead, scene.now)?;
                    let text = format!("{} moved to {}", change.branch, head.short());
                    facts.push(self.fact_of(change, FactKind::ChangeHeadMoved, scene.now, text));
                }
                // A ref that cannot be read is not a deleted branch: one broken file must neither cancel nor stop anything.
                None if !self.is_gone(&change.branch) => continue,
                None => match self.is_on_target(change.head, scene.tip) {
                    // A branch that was merged and deleted has landed: it is not cancelled. The merge
                    // may be newer than the tip this round began with.
                    Ok(true) => {
                        next.take(ChangeEvent::FoundLanded, scene.now)?;
                        let text = format!("{} is on {} already", change.title, self.repository.target);
                        facts.push(self.fact_of(change, FactKind::ChangeLanded, scene.now, text));
                    }
                    Ok(false) => {
                        next.take(ChangeEvent::Cancel(CancelReason::BranchDeleted), scene.now)?;
                        let text = format!("branch {} was deleted", change.branch);
                        facts.push(self.fact_of(change, FactKind::ChangeCancelled, scene.now, text));
                    }
                    // It cannot be told before its objects can be read; the radar says so, and nobody else waits.
                    Err(_) => continue,
                },
            }
            moved.push(next);
        }
        self.save(store, &moved, &facts)
    }

    /// True if a branch is certainly not there.
    fn is_gone(&mut self, branch: &gantry_core::id::BranchName) -> bool {
        let name = branch.full_ref();
        let found = self.forge.own_refs(&name);
        found.is_ok_and(|refs| refs.iter().all(|(other, _)| *other != name))
    }

    fn is_on_target(&mut self, head: CommitId, tip: CommitId) -> Result<bool, LineError> {
        let newest = self.forge.tip()?.unwrap_or(tip);
        Ok(self.forge.is_ancestor(head, newest)?)
    }

    /// Asks the radar about every change, and acts on what it says of those in the queue.
    pub(super) fn judge_standing(&mut self, store: &mut Store, scene: &mut Scene) -> Result<bool, LineError> {
        let open: Vec<OpenHead> = scene
            .changes
            .iter()
            .filter(|change| !matches!(change.state, ChangeState::Landing { .. }))
            .map(|change| OpenHead {
                change: change.id,
                head: change.head,
            })
            .collect();
        let mut hasher = DefaultHasher::new();
        scene.tip.hash(&mut hasher);
        for head in &open {
            let pending = scene.change(head.change).is_some_and(|c| c.state.is_pending());
            (head.change, head.head, pending).hash(&mut hasher);
        }
        let key = hasher.finish();
        // Trouble may go away without anything moving: objects are fetched, a disk comes back.
        let troubled_for = self.memory.troubled_at.map(|at| scene.now.since(at));
        let is_old = troubled_for.is_some_and(|time| time >= LOOK_AGAIN_INTERVAL);
        if self.memory.verdicts_of == Some(key) && !is_old {
            return Ok(false);
        }
        let verdicts = self.forge.standing(scene.tip, &open)?;
        let (mut moved, mut facts) = (Vec::new(), Vec::new());
        self.memory.troubled.clear();
        self.memory.troubled_at = None;
        for verdict in &verdicts {
            let Some(change) = scene.change(verdict.change) else {
                continue;
            };
            let mut next = change.clone();
            match &verdict.standing {
                Standing::Clean => continue,
                Standing::Conflict { .. } if self.merges_as_stacked(store, scene, change)? => continue,
                Standing::AlreadyIn => {
                    next.take(ChangeEvent::FoundLanded, scene.now)?;
                    let text = format!(
                        "everything in {:?} is on {} already",
                        change.title, self.repository.target
                    );
                    facts.push(self.fact_of(change, FactKind::ChangeLanded, scene.now, text));
                }
                Standing::Conflict { paths, culprit } if change.state.is_pending() => {
                    let shown = conflict_paths(paths);
                    let text = conflict_text(&self.repository.target, &shown, *culprit);
                    next.take(
                        ChangeEvent::Bounce(BounceReason::Conflict {
                            culprit: *culprit,
                            paths: shown,
                        }),
                        scene.now,
                    )?;
                    facts.push(self.fact_of(change, FactKind::ChangeBounced, scene.now, text));
                }
                Standing::Conflict { .. } => continue,
                Standing::Trouble(text) => {
                    self.memory
                        .troubled
                        .insert(change.id, (change.head, text.clone()));
                    self.memory.troubled_at = Some(scene.now);
                    continue;
                }
            }
            moved.push(next);
        }
        let heads: std::collections::HashSet<CommitId> = open.iter().map(|head| head.head).collect();
        self.memory.forget_all_but(&heads);
        self.memory.verdicts = verdicts.into_iter().map(|v| (v.change, v)).collect();
        let wrote = self.save(store, &moved, &facts)?;
        if !wrote {
            self.memory.verdicts_of = Some(key);
        }
        Ok(wrote)
    }

    /// True if a change merges once what it is stacked on, and what has landed under other names, is left out.
    fn merges_as_stacked(
        &mut self,
        store: &Store,
        scene: &Scene,
        change: &Change,
    ) -> Result<bool, LineError> {
        if change.after.is_empty() || !change.state.is_pending() {
            return Ok(false);
        }
        let part = self.member(store, change)?;
        if part.stands_on.is_empty() {
            return Ok(false);
        }
        let replay = self.forge.replay(scene.tip, &[part], Method::Squash)?;
        Ok(matches!(replay, Replay::Made { .. }))
    }

    /// Holds changes that would bring back older content, unless a person has let this head pass.
    pub(super) fn hold_reverts(&mut self, store: &mut Store, scene: &mut Scene) -> Result<bool, LineError> {
        let (mut moved, mut facts) = (Vec::new(), Vec::new());
        for change in scene.changes.iter().filter(|change| change.state.is_pending()) {
            let waived = change.waived == Some(change.head);
            let troubled = self.memory.troubled.contains_key(&change.id);
            if waived || troubled || self.memory.examined.contains(&change.head) {
                continue;
            }
            if let Some((next, fact)) = self.held_for_revert(scene, change)? {
                facts.push(fact);
                moved.push(next);
            } else {
                self.memory.examined.insert(change.head);
            }
        }
        self.save(store, &moved, &facts)
    }

    /// Looks once more at what is about to land: the target may have taken back, since the head was examined, what the
    /// change would bring again. Returns whether one was held.
    pub(super) fn hold_late_reverts(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        build: &Build,
    ) -> Result<bool, LineError> {
        let (mut moved, mut facts) = (Vec::new(), Vec::new());
        for member in &build.order.members {
            let Some(change) = scene.change(member.change).filter(|c| c.waived != Some(c.head)) else {
                continue;
            };
            if let Some((next, fact)) = self.held_for_revert(scene, change)? {
                facts.push(fact);
                moved.push(next);
            }
        }
        self.save(store, &moved, &facts)
    }

    /// Returns the change held, and the fact, if it would bring back older content.
    fn held_for_revert(
        &mut self,
        scene: &Scene,
        change: &Change,
    ) -> Result<Option<(Change, Fact)>, LineError> {
        let Some(revert) = self.forge.silent_revert(scene.tip, change.head)? else {
            return Ok(None);
        };
        let mut next = change.clone();
        let undoes = revert.undoes;
        next.take(ChangeEvent::Hold(HoldReason::SilentRevert { undoes }), scene.now)?;
        let text = format!(
            "it would bring back an older version of {} and undo {}, though no commit of it says so",
            revert.path,
            undoes.short()
        );
        let fact = self.fact_of(change, FactKind::ChangeHeld, scene.now, text);
        Ok(Some((next, fact)))
    }

    /// Holds a change whose own gate cannot be used: once it landed, nothing else could. A person may let it pass.
    pub(super) fn hold_for_its_gate(
        &mut self,
        store: &mut Store,
        scene: &Scene,
        changes: &[&Change],
        candidate: CommitId,
    ) -> Result<bool, LineError> {
        let [change] = changes else {
            return Ok(false);
        };
        if change.waived == Some(change.head) || !self.touches_gate(change.id) {
            return Ok(false);
        }
        let GateFound::Unusable(why) = self.read_gate(candidate)? else {
            return Ok(false);
        };
        let text = format!(
            "with it the gate could not be used, and nothing else could land: {}",
            why.text
        );
        let mut next = (*change).clone();
        next.take(
            ChangeEvent::Hold(HoldReason::ByHand { text: text.clone() }),
            scene.now,
        )?;
        let fact = self.fact_of(change, FactKind::ChangeHeld, scene.now, text);
        self.save(store, &[next], &[fact])
    }

    /// Holds what was offered after a change that ended without landing, and lets it go when that one is back.
    pub(super) fn hold_dependants(
        &mut self,
        store: &mut Store,
        scene: &mut Scene,
    ) -> Result<bool, LineError> {
        let (mut moved, mut facts) = (Vec::new(), Vec::new());
        for change in scene.changes.iter().filter(|change| !change.after.is_empty()) {
            let mut ended = None;
            for id in &change.after {
                let prerequisite = match scene.change(*id) {
                    Some(found) => Some(found.clone()),
                    None => store.load_change(*id)?,
                };
                let failed = prerequisite
                    .is_some_and(|p| matches!(p.state, ChangeState::Bounced(_) | ChangeState::Cancelled(_)));
                if failed {
                    ended = Some(*id);
                    break;
                }
            }
            let mut next = change.clone();
            match (ended, &change.state) {
                (Some(dependency), ChangeState::Queued | ChangeState::Testing) => {
                    next.take(
                        ChangeEvent::Hold(HoldReason::DependencyEnded { dependency }),
                        scene.now,
                    )?;
                    let text = format!("{dependency}, which has to land before it, ended without landing");
                    facts.push(self.fact_of(change, FactKind::ChangeHeld, scene.now, text));
                }
                (None, ChangeState::Held(HoldReason::DependencyEnded { dependency })) => {
                    next.take(ChangeEvent::Release, scene.now)?;
                    let text = format!("{dependency} is in the queue again, or has landed");
                    facts.push(self.fact_of(change, FactKind::ChangeReleased, scene.now, text));
                }
                _ => continue,
            }
            moved.push(next);
        }
        self.save(store, &moved, &facts)
    }

    /// Takes builds out of sight that can prove nothing any more, ending those that run, and puts changes that
    /// no build holds any more back into the queue. Without a gate every build is void.
    pub(super) fn void_builds(
        &mut self,
        store: &mut Store,
        scene: &mut Scene,
        gate: Option<&str>,
    ) -> Result<bool, LineError> {
        let sandbox = self.boxes.identity();
        let runnable = scene.runnable(self.repository.frozen.as_ref(), &self.memory.troubled);
        let void: Vec<_> = scene
            .builds
            .iter()
            .filter(|build| {
                gate.is_none_or(|gate| scene.worth(build, &runnable, gate, &sandbox, false) == Worth::Void)
            })
            .cloned()
            .collect();
        let mut ended = Vec::new();
        let wrote = !void.is_empty();
        for mut build in void {
            if matches!(build.state, BuildState::Ended(_)) {
                ended.push(build.id);
            } else {
                self.boxes.cancel(build.id);
                self.end_build(store, &mut build, BuildEvent::Cancel, scene.now)?;
            }
        }
        if !ended.is_empty() {
            let saved = store.discount_builds(&ended, &[], &[])?;
            debug_assert_eq!(saved, Saved::Saved, "no change was named, so none can be lost");
            for id in ended {
                self.forge.ensure_ref(&format!("{CANDIDATES}{id}"), None)?;
            }
        }
        if wrote {
            return Ok(true);
        }
        let held = |change: &Change| {
            let holds =
                |m: &gantry_core::queue::build::BuildMember| m.change == change.id && m.head == change.head;
            scene
                .builds
                .iter()
                .any(|build| build.order.members.iter().any(holds))
        };
        let mut moved = Vec::new();
        for change in &scene.changes {
            if change.state == ChangeState::Testing && !held(change) {
                let mut next = change.clone();
                next.take(ChangeEvent::BuildsGone, scene.now)?;
                moved.push(next);
            }
        }
        self.save(store, &moved, &[])
    }

    /// Reads the gate at a commit, once per commit.
    pub(super) fn gate_at(&mut self, tip: CommitId) -> Result<GateFound, LineError> {
        if let Some((at, found)) = &self.memory.gate
            && *at == tip
        {
            return Ok(found.clone());
        }
        let found = self.read_gate(tip)?;
        self.memory.gate = Some((tip, found.clone()));
        Ok(found)
    }

    fn read_gate(&mut self, at: CommitId) -> Result<GateFound, LineError> {
        let unusable = |code, text: String| {
            GateFound::Unusable(Obstacle {
                code,
                text,
                next_action: format!(
                    "commit a {GATE_FILE} to {} such as:\n{EXAMPLE}",
                    self.repository.target
                ),
                retry_at: None,
            })
        };
        Ok(match self.forge.gate_file(at)? {
            FileAt::Missing => unusable(
                "no_gate",
                format!(
                    "{} has no {GATE_FILE}: without checks nothing lands",
                    self.repository.target
                ),
            ),
            FileAt::NotAFile => unusable("bad_gate", format!("{GATE_FILE} is not a regular file")),
            FileAt::TooLarge { bytes } => unusable("bad_gate", format!("{GATE_FILE} has {bytes} bytes")),
            FileAt::File { id, bytes } => match Gate::parse(&bytes) {
                Ok(gate) => {
                    let workflows = self.forge.gate_workflows(at, &gate)?;
                    if let Some(first) = workflows.problems.first() {
                        let more = workflows.problems.len() - 1;
                        let others = if more > 0 {
                            format!(" (and {more} more)")
                        } else {
                            String::new()
                        };
                        return Ok(GateFound::Unusable(Obstacle {
                            code: "bad_gate",
                            text: format!("a workflow of {GATE_FILE} cannot be a check: {first}{others}"),
                            next_action: "run `gantry ci check`, and mend or leave out what it names".into(),
                            retry_at: None,
                        }));
                    }
                    let digest = workflows.digest_of_gate(&id);
                    GateFound::Ready { gate, digest }
                }
                Err(error) => unusable("bad_gate", error.to_string()),
            },
        })
    }

    /// True if the change decides what is tested: it is tested and lands alone.
    pub(super) fn touches_gate(&self, change: ChangeId) -> bool {
        let Some(verdict) = self.memory.verdicts.get(&change) else {
            return false;
        };
        verdict.paths.iter().any(|path| {
            GATE_PATHS
                .iter()
                .any(|gate| path == gate || (gate.ends_with('/') && path.starts_with(gate)))
        })
    }
}

fn conflict_paths(paths: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = paths.iter().take(CONFLICT_PATHS_MAX).cloned().collect();
    if paths.len() > CONFLICT_PATHS_MAX {
        shown.push(format!("and {} more", paths.len() - CONFLICT_PATHS_MAX));
    }
    shown
}

fn conflict_text(
    target: &gantry_core::id::BranchName,
    paths: &[String],
    culprit: Option<CommitId>,
) -> String {
    let by = culprit.map_or(String::new(), |commit| format!(" since {}", commit.short()));
    format!("it conflicts with {target}{by} in {}", paths.join(", "))
}

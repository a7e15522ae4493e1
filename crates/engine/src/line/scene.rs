//! What is, as one line sees it at one instant, and what follows from it alone. Pure.

use std::collections::{BTreeMap, HashMap};

use gantry_core::id::{ChangeId, CommitId, RepositoryId};
use gantry_core::queue::build::{Build, BuildState, Ending};
use gantry_core::queue::change::{BounceReason, Change, ChangeState};
use gantry_core::queue::order::{Entry, plan_order};
use gantry_core::queue::planner::{BuildProgress, BuildView, Purpose};
use gantry_core::repository::Freeze;
use gantry_core::time::Timestamp;
use gantry_store::{Store, StoreError};

/// The facts of one round.
#[derive(Debug)]
pub struct Scene {
    /// The target's commit.
    pub tip: CommitId,
    /// The present.
    pub now: Timestamp,
    /// Changes that are neither landed nor cancelled, oldest first.
    pub changes: Vec<Change>,
    /// Builds that count, oldest first.
    pub builds: Vec<Build>,
    /// What landed since the oldest pending change was offered, in that order.
    pub landed: Vec<(ChangeId, Timestamp)>,
}

/// What a stored build is worth on the present tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worth {
    /// The planner looks at it.
    Seen(BuildView),
    /// Kept as it is until the thaw.
    Frozen,
    /// It can prove nothing any more.
    Void,
}

impl Scene {
    /// Reads the facts.
    ///
    /// Errors: [`StoreError`].
    pub fn load(
        store: &Store,
        repository: RepositoryId,
        tip: CommitId,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let changes = store.load_alive_changes(repository)?;
        let pending = changes.iter().filter(|change| change.state.is_pending());
        let landed = match pending.map(|change| change.offered_at).min() {
            Some(oldest) => store.load_landed_since(repository, oldest)?,
            None => Vec::new(),
        };
        Ok(Self {
            tip,
            now,
            changes,
            builds: store.load_counting_builds(repository)?,
            landed,
        })
    }

    /// Finds a change that is neither landed nor cancelled.
    #[must_use]
    pub fn change(&self, id: ChangeId) -> Option<&Change> {
        let at = self.changes.binary_search_by_key(&id, |change| change.id).ok()?;
        self.changes.get(at)
    }

    /// Lists pending changes in landing order, prerequisites in front.
    ///
    /// Shape: changes in a circle are left out; offers that would make one are refused before they are stored.
    #[must_use]
    pub fn pending(&self) -> Vec<&Change> {
        let entries: Vec<Entry> = self
            .changes
            .iter()
            .filter(|change| change.state.is_pending())
            .map(|change| Entry {
                change: change.id,
                priority: change.priority,
                after: change.after.clone(),
            })
            .collect();
        let order = plan_order(&entries).unwrap_or_else(|cycle| {
            let left: Vec<Entry> = entries
                .iter()
                .filter(|entry| !cycle.changes.contains(&entry.change))
                .cloned()
                .collect();
            plan_order(&left).unwrap_or_default()
        });
        let order = order.into_iter().filter_map(|id| self.change(id)).collect();
        self.let_overtake(order)
    }

    /// Puts a change whose checks ran into their limit once, alone, behind what was offered by then: trying it again
    /// takes the whole limit, and the target has to move meanwhile. What is offered later goes behind it.
    fn let_overtake<'a>(&self, mut order: Vec<&'a Change>) -> Vec<&'a Change> {
        for build in &self.builds {
            let ([member], BuildState::Ended(Ending::TimedOut), Some(ended_at)) =
                (build.order.members.as_slice(), build.state, build.ended_at)
            else {
                continue;
            };
            let Some(at) = order
                .iter()
                .position(|c| c.id == member.change && c.head == member.head)
            else {
                continue;
            };
            let mut moved = vec![order[at]];
            let mut left = order[..at].to_vec();
            for change in &order[at + 1..] {
                if change
                    .after
                    .iter()
                    .any(|id| moved.iter().any(|other| other.id == *id))
                {
                    moved.push(change);
                } else {
                    left.push(change);
                }
            }
            let behind = left
                .iter()
                .rposition(|change| change.offered_at <= ended_at)
                .map_or(0, |last| last + 1);
            left.splice(behind.max(at)..behind.max(at), moved);
            order = left;
        }
        order
    }

    /// Lists what may be tested and landed now: pending, not frozen, every prerequisite landed or listed before it.
    #[must_use]
    pub fn runnable<'a>(
        &'a self,
        freeze: Option<&Freeze>,
        blocked: &HashMap<ChangeId, (CommitId, String)>,
    ) -> Vec<&'a Change> {
        let mut taken: Vec<&Change> = Vec::new();
        for change in self.pending() {
            let frozen = freeze.is_some_and(|freeze| freeze.stops(change.priority));
            let troubled = blocked
                .get(&change.id)
                .is_some_and(|(head, _)| *head == change.head);
            let waits = change
                .after
                .iter()
                .any(|id| self.change(*id).is_some() && !taken.iter().any(|other| other.id == *id));
            if !frozen && !troubled && !waits {
                taken.push(change);
            }
        }
        taken
    }

    /// Says what a stored build is worth, given what the planner may work on.
    #[must_use]
    pub fn worth(
        &self,
        build: &Build,
        runnable: &[&Change],
        gate: &str,
        sandbox: &str,
        doomed: bool,
    ) -> Worth {
        let order = &build.order;
        if order.purpose == Purpose::Trace {
            return self.worth_of_trace(build);
        }
        if order.gate != gate || order.sandbox != sandbox {
            return Worth::Void;
        }
        let Some(progress) = progress(build, doomed) else {
            return Worth::Void;
        };
        let landed_front = if order.base == self.tip {
            Some(0)
        } else {
            let last = order.members.iter().rposition(|member| member.commit == self.tip);
            last.map(|index| index + 1)
        };
        let on_tip = landed_front.is_some();
        let rest = &order.members[landed_front.unwrap_or(0)..];
        if order.members.is_empty() {
            return if on_tip {
                self.seen(build, Vec::new(), true, progress)
            } else {
                Worth::Void
            };
        }
        let mut members = Vec::with_capacity(rest.len());
        for member in rest {
            // On an earlier tip a build may hold what has landed by another one: the rest of it is still a hint.
            if !on_tip && self.landed.iter().any(|(id, _)| *id == member.change) {
                continue;
            }
            match self.change(member.change) {
                Some(change) if change.head == member.head && change.state.is_pending() => {
                    members.push(change.id);
                }
                _ => return Worth::Void,
            }
        }
        if members.is_empty() {
            return Worth::Void;
        }
        if members
            .iter()
            .any(|id| !runnable.iter().any(|change| change.id == *id))
        {
            return Worth::Frozen;
        }
        self.seen(build, members, on_tip, progress)
    }

    /// A running trace goes on while its change is still sent back for that head; its verdict is read from the store.
    fn worth_of_trace(&self, build: &Build) -> Worth {
        let wanted = build.order.members.iter().all(|member| {
            self.change(member.change).is_some_and(|change| {
                change.head == member.head
                    && matches!(
                        change.state,
                        ChangeState::Bounced(BounceReason::CheckFailed { .. })
                    )
            })
        });
        if wanted && !matches!(build.state, BuildState::Ended(_)) {
            Worth::Frozen
        } else {
            Worth::Void
        }
    }

    /// Lists what landed since a build was prepared and that it does not hold.
    fn missing(&self, build: &Build) -> Vec<ChangeId> {
        let holds = |id: &ChangeId| build.order.members.iter().any(|member| member.change == *id);
        self.landed
            .iter()
            .filter(|(id, at)| *at >= build.order.prepared_at && !holds(id))
            .map(|(id, _)| *id)
            .collect()
    }

    fn seen(&self, build: &Build, members: Vec<ChangeId>, on_tip: bool, progress: BuildProgress) -> Worth {
        Worth::Seen(BuildView {
            build: build.id,
            members,
            missing: if on_tip { Vec::new() } else { self.missing(build) },
            on_tip,
            progress,
        })
    }

    /// Groups changes whose landing is intended by the build they land with.
    #[must_use]
    pub fn landings(&self) -> BTreeMap<gantry_core::id::BuildId, Vec<Change>> {
        let mut landings: BTreeMap<_, Vec<Change>> = BTreeMap::new();
        for change in &self.changes {
            if let ChangeState::Landing { build } = change.state {
                landings.entry(build).or_default().push(change.clone());
            }
        }
        landings
    }
}

fn progress(build: &Build, doomed: bool) -> Option<BuildProgress> {
    match build.state {
        BuildState::Prepared => Some(BuildProgress::Running {
            started_at: build.order.prepared_at,
        }),
        BuildState::Running { since } if doomed => Some(BuildProgress::Doomed { started_at: since }),
        BuildState::Running { since } => Some(BuildProgress::Running { started_at: since }),
        BuildState::Ended(Ending::Passed) => Some(BuildProgress::Passed),
        BuildState::Ended(Ending::Failed) => Some(BuildProgress::Failed),
        BuildState::Ended(Ending::TimedOut) => Some(BuildProgress::TimedOut),
        BuildState::Ended(Ending::Trouble(_) | Ending::Cancelled) => None,
    }
}

//! Drives the planner through a day, event by event.

use gantry_core::id::{BuildId, ChangeId};
use gantry_core::queue::change::Priority;
use gantry_core::queue::planner::{
    BaseRates, BuildProgress, BuildView, CheckTime, Item, QueueView, Settings, Step, plan,
};
use gantry_core::time::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Outcome;
use crate::day::{SIGMA, check_time};
use crate::learn::Learnt;
use crate::scenario::{Checks, Scenario, minutes};

/// A build with what only the simulator knows of it.
struct Build {
    view: BuildView,
    ends_at: i64,
    started_at: i64,
    passes: bool,
}

/// The state of the queue at one moment of the day.
struct World<'a> {
    day: &'a Scenario,
    settings: Settings,
    learnt: Learnt,
    rng: ChaCha8Rng,
    now: i64,
    arrived: usize,
    items: Vec<Item>,
    builds: Vec<Build>,
    next_build: u64,
    tip_is_green: bool,
    /// For each arrived change, the clashing ones that were pending when it was offered.
    clashes: Vec<Vec<usize>>,
    decided_at: Vec<Option<i64>>,
    outcome: Outcome,
}

/// Runs a day under these settings, with the slots of the day.
#[must_use]
pub fn simulate(day: &Scenario, settings: Settings) -> Outcome {
    let mut world = World::new(day, settings);
    loop {
        world.act();
        if !world.step() {
            return world.finish();
        }
    }
}

fn index_of(change: ChangeId) -> usize {
    usize::try_from(change.number()).unwrap_or(usize::MAX)
}

impl<'a> World<'a> {
    fn new(day: &'a Scenario, settings: Settings) -> Self {
        World {
            day,
            settings: Settings {
                slots: day.slots,
                ..settings
            },
            learnt: Learnt::of(day),
            rng: ChaCha8Rng::seed_from_u64(day.seed ^ 0x9e37_79b9_7f4a_7c15),
            now: 0,
            arrived: 0,
            items: Vec::new(),
            builds: Vec::new(),
            next_build: 1,
            tip_is_green: true,
            clashes: Vec::new(),
            decided_at: vec![None; day.changes.len()],
            outcome: Outcome::default(),
        }
    }

    /// Plans and performs until nothing but waiting is left.
    fn act(&mut self) {
        loop {
            let steps = self.plan();
            let again = steps
                .iter()
                .any(|s| matches!(s, Step::Land { .. } | Step::Bounce { .. }));
            for step in steps {
                self.perform(step);
            }
            let running = self.builds.iter().filter(|b| is_running(b)).count();
            self.outcome.most_running = self.outcome.most_running.max(running);
            if !again {
                return;
            }
        }
    }

    fn plan(&self) -> Vec<Step> {
        let builds: Vec<BuildView> = self.builds.iter().map(|b| b.view.clone()).collect();
        plan(&QueueView {
            now: Timestamp::from_millis(self.now),
            items: &self.items,
            builds: &builds,
            tip_is_green: self.tip_is_green,
            rates: self.rates(),
            check_time: CheckTime {
                median: self.learnt.check_median(),
                sigma: SIGMA,
            },
            settings: self.settings,
        })
    }

    fn rates(&self) -> BaseRates {
        let hour_ago = self.now - 3_600_000;
        let lately = self.day.changes[..self.arrived]
            .iter()
            .filter(|c| c.at > hour_ago);
        self.day
            .rates
            .unwrap_or_else(|| self.learnt.rates(lately.count(), self.day.flake))
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Land { build } => self.land(build),
            Step::Bounce { change, .. } => {
                let index = index_of(change);
                if self.is_green(&[change]) {
                    self.outcome.wronged += 1;
                }
                self.outcome.bounced.push(index);
                self.decide(change, false);
                self.discard(|b| b.view.members.contains(&change));
            }
            Step::Cancel { build } => self.discard(|b| b.view.build == build),
            Step::Start { members, .. } => self.start(members),
        }
    }

    fn start(&mut self, members: Vec<ChangeId>) {
        let flaked = self.rng.random_bool(self.day.flake);
        let ends_at = self.now + self.check_time(&members);
        let passes = self.is_green(&members) && !flaked;
        self.outcome.builds += 1;
        self.builds.push(Build {
            view: BuildView {
                build: BuildId::new(self.next_build),
                members,
                missing: Vec::new(),
                on_tip: true,
                progress: BuildProgress::Running {
                    started_at: Timestamp::from_millis(self.now),
                },
            },
            ends_at,
            started_at: self.now,
            passes,
        });
        self.next_build += 1;
    }

    fn check_time(&mut self, members: &[ChangeId]) -> i64 {
        match self.day.checks {
            Checks::Drawn(median) => check_time(median, &mut self.rng),
            Checks::Recorded => {
                let longest = members.iter().map(|m| self.day.changes[index_of(*m)].check).max();
                longest.unwrap_or_else(|| self.learnt.check_millis())
            }
        }
    }

    /// True if the tip plus these members has neither a bad change nor a clashing pair.
    fn is_green(&self, members: &[ChangeId]) -> bool {
        let inside = |other: usize| {
            self.outcome.landed.contains(&other) || members.iter().any(|m| index_of(*m) == other)
        };
        members.iter().all(|member| {
            let index = index_of(*member);
            !self.day.changes[index].bad && !self.clashes[index].iter().any(|other| inside(*other))
        })
    }

    fn decide(&mut self, change: ChangeId, good: bool) {
        self.learnt
            .decided(self.day.changes[index_of(change)].author, good);
        self.decided_at[index_of(change)] = Some(self.now);
        self.items.retain(|item| item.change != change);
    }

    fn land(&mut self, build: BuildId) {
        let Some(found) = self.builds.iter().find(|b| b.view.build == build) else {
            return;
        };
        let members = found.view.members.clone();
        if !self.is_green(&members) {
            self.outcome.red_landings += 1;
        }
        for member in &members {
            self.outcome.landed.push(index_of(*member));
            self.decide(*member, true);
        }
        self.tip_is_green = true;
        for item in &mut self.items {
            item.landed_since += members.len();
        }
        for other in &mut self.builds {
            let view = &mut other.view;
            if view.on_tip && view.members.starts_with(&members) {
                view.members.drain(..members.len());
                continue;
            }
            view.on_tip = false;
            let unknown = members.iter().filter(|m| !view.members.contains(m));
            view.missing.extend(unknown);
            view.members.retain(|m| !members.contains(m));
        }
        self.discard(|b| b.view.members.is_empty());
    }

    /// Removes builds, and counts what the running ones among them have used.
    fn discard(&mut self, gone: impl Fn(&Build) -> bool) {
        for build in self.builds.iter().filter(|b| gone(b) && is_running(b)) {
            self.outcome.processor_minutes += minutes(self.now - build.started_at);
        }
        self.builds.retain(|b| !gone(b));
    }

    /// Moves to the next event; false if there is none.
    fn step(&mut self) -> bool {
        let arrival = self.day.changes.get(self.arrived).map(|c| c.at);
        let end = self
            .builds
            .iter()
            .filter(|b| is_running(b))
            .map(|b| b.ends_at)
            .min();
        match (arrival, end) {
            (None, None) => false,
            (Some(at), None) => self.arrive(at),
            (Some(at), Some(end)) if at <= end => self.arrive(at),
            (_, Some(end)) => self.end(end),
        }
    }

    fn arrive(&mut self, at: i64) -> bool {
        self.now = at;
        let index = self.arrived;
        self.arrived += 1;
        let offered = &self.day.changes[index];
        let pending = |other: &usize| self.decided_at[*other].is_none();
        let clashes = self.day.clashes[index].iter().copied().filter(pending);
        let clashes: Vec<usize> = clashes.collect();
        self.clashes.push(clashes);
        self.items.push(Item {
            change: ChangeId::new(index as u64),
            offered_at: Timestamp::from_millis(at),
            priority: Priority::Normal,
            solo: false,
            after: Vec::new(),
            conflicts_with: Vec::new(),
            stack: None,
            pass_probability: (offered.pass_probability)
                .unwrap_or_else(|| self.learnt.pass_probability(offered.author)),
            landed_since: 0,
            footprint: offered.footprint.clone(),
        });
        true
    }

    fn end(&mut self, at: i64) -> bool {
        self.now = at;
        let mut used = 0.0;
        for build in self
            .builds
            .iter_mut()
            .filter(|b| is_running(b) && b.ends_at <= at)
        {
            used += minutes(at - build.started_at);
            self.learnt.ended(at - build.started_at);
            build.view.progress = if build.passes {
                BuildProgress::Passed
            } else {
                BuildProgress::Failed
            };
            if build.view.members.is_empty() && build.view.on_tip {
                self.tip_is_green = build.passes;
            }
        }
        self.outcome.processor_minutes += used;
        true
    }

    fn finish(mut self) -> Outcome {
        let first = self.day.changes.first().map_or(0, |c| c.at);
        let last = self.decided_at.iter().flatten().max();
        self.outcome.span_minutes = minutes(last.map_or(0, |last| last - first));
        for (index, decided) in self.decided_at.iter().enumerate() {
            if let Some(decided) = decided {
                self.outcome
                    .waits
                    .push(minutes(decided - self.day.changes[index].at));
            }
        }
        self.outcome
    }
}

fn is_running(build: &Build) -> bool {
    matches!(build.view.progress, BuildProgress::Running { .. })
}

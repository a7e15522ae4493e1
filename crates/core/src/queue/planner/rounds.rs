//! Whole queues driven to their end: every build takes one check time, and ends in the order of its start.

use super::tests::{ALL, build, ids, item, started, view};
use super::*;

/// A queue, and what is true about its changes.
struct Line {
    items: Vec<Item>,
    builds: Vec<BuildView>,
    settings: Settings,
    /// Fails in every build.
    bad: Vec<u64>,
    /// Fail only together.
    pairs: Vec<(u64, u64)>,
    /// Runs into the time limit in every build.
    hanging: Vec<u64>,
    /// Every so many builds fail although they are good. Zero: none.
    flake_every: u64,
    /// A failure shows in the output before the build ends.
    dooms: bool,
    tip_is_green: bool,
    /// Offered after so many builds have ended; urgent ones go to the front.
    later: Vec<(usize, Item)>,
    ended: usize,
    now: i64,
    next_build: u64,
    starts: Vec<Vec<ChangeId>>,
    most_running: usize,
    /// What each landing moved the target over.
    landings: Vec<Vec<ChangeId>>,
    bounced: Vec<(ChangeId, Blame)>,
}

impl Line {
    fn of(count: u64, policy: Policy, slots: usize) -> Self {
        let settings = view(&[], &[], policy).settings;
        Line {
            items: (1..=count).map(item).collect(),
            builds: Vec::new(),
            settings: Settings { slots, ..settings },
            bad: Vec::new(),
            pairs: Vec::new(),
            hanging: Vec::new(),
            flake_every: 0,
            dooms: false,
            tip_is_green: true,
            later: Vec::new(),
            ended: 0,
            now: 0,
            next_build: 1,
            starts: Vec::new(),
            most_running: 0,
            landings: Vec::new(),
            bounced: Vec::new(),
        }
    }

    fn plan(&self) -> Vec<Step> {
        plan(&self.view())
    }

    fn view(&self) -> QueueView<'_> {
        let mut view = view(&self.items, &self.builds, self.settings.policy);
        view.now = Timestamp::from_millis(self.now);
        view.settings = self.settings;
        view.tip_is_green = self.tip_is_green;
        if self.flake_every > 0 {
            view.rates.flake = 1.0 / self.flake_every as f64;
        }
        view
    }

    /// Plans and performs until only waiting helps; false if nothing runs then.
    fn act(&mut self) -> bool {
        for _ in 0..1_000 {
            let steps = self.plan();
            let last = !steps
                .iter()
                .any(|s| matches!(s, Step::Land { .. } | Step::Bounce { .. }));
            for step in steps {
                self.perform(step);
            }
            let running = self
                .builds
                .iter()
                .filter(|b| b.progress.running_since().is_some());
            let running = running.count();
            self.most_running = self.most_running.max(running);
            if last {
                return running > 0;
            }
        }
        panic!("the planner never comes to rest");
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Land { build } => self.land(build),
            Step::Bounce { change, blame } => {
                self.remove(change);
                self.bounced.push((change, blame));
            }
            Step::Cancel { build } => self.builds.retain(|b| b.build != build),
            Step::Start { members, .. } => {
                self.check_candidate(&members);
                self.starts.push(members.clone());
                self.builds.push(BuildView {
                    build: BuildId::new(self.next_build),
                    members,
                    missing: Vec::new(),
                    on_tip: true,
                    progress: BuildProgress::Running {
                        started_at: Timestamp::from_millis(self.now),
                    },
                });
                self.next_build += 1;
            }
        }
    }

    /// Takes a change out of the queue, and every build that holds it.
    fn remove(&mut self, change: ChangeId) {
        self.items.retain(|i| i.change != change);
        self.builds.retain(|b| !b.members.contains(&change));
    }

    fn land(&mut self, build: BuildId) {
        let found = self.builds.iter().find(|b| b.build == build);
        let members = found
            .expect("the planner lands builds that exist")
            .members
            .clone();
        assert!(self.passes(&members), "a red candidate lands: {members:?}");
        // What does not merge with something landed is out of the planner's sight: it rotted.
        let clashes: Vec<ChangeId> = (self.items.iter())
            .filter(|i| !members.contains(&i.change))
            .filter(|i| self.clash(i, &members))
            .map(|i| i.change)
            .collect();
        self.items.retain(|i| !members.contains(&i.change));
        for other in &mut self.builds {
            if other.on_tip && other.members.starts_with(&members) {
                other.members.drain(..members.len());
                continue;
            }
            other.on_tip = false;
            let unknown = members.iter().filter(|m| !other.members.contains(m));
            other.missing.extend(unknown);
            other.members.retain(|m| !members.contains(m));
        }
        self.builds.retain(|b| !b.members.is_empty());
        self.tip_is_green = true;
        self.landings.push(members);
        for clash in clashes {
            self.remove(clash);
        }
    }

    fn clash(&self, item: &Item, members: &[ChangeId]) -> bool {
        let names_it = |o: &Item| members.contains(&o.change) && o.conflicts_with.contains(&item.change);
        item.conflicts_with.iter().any(|c| members.contains(c)) || self.items.iter().any(names_it)
    }

    /// A build that the rules of the queue allow at all.
    fn check_candidate(&self, members: &[ChangeId]) {
        let found: Vec<&Item> = (members.iter())
            .filter_map(|m| self.items.iter().find(|i| i.change == *m))
            .collect();
        assert_eq!(
            found.len(),
            members.len(),
            "a candidate holds a change that is not pending"
        );
        assert!(
            members.len() == 1 || found.iter().all(|i| !i.solo),
            "solo is shared: {members:?}"
        );
        for (place, item) in found.iter().enumerate() {
            let pending = |c: &&ChangeId| self.items.iter().any(|i| i.change == **c);
            let missing = (item.after.iter().filter(pending)).any(|a| !members[..place].contains(a));
            assert!(!missing, "a prerequisite is missing: {members:?}");
            assert!(
                !self.clash(item, members),
                "a textual conflict is built: {members:?}"
            );
        }
    }

    fn passes(&self, members: &[ChangeId]) -> bool {
        let inside = |number: u64| {
            let change = ChangeId::new(number);
            members.contains(&change) || self.landed().contains(&change)
        };
        let bad = self.bad.iter().chain(&self.hanging);
        !members.iter().any(|m| bad.clone().any(|b| m.number() == *b))
            && !self.pairs.iter().any(|(a, b)| inside(*a) && inside(*b))
    }

    fn landed(&self) -> Vec<ChangeId> {
        self.landings.concat()
    }

    /// Ends the build that has run longest.
    fn end_one(&mut self) {
        self.now += 60_000;
        let oldest = self
            .builds
            .iter()
            .position(|b| b.progress.running_since().is_some());
        let Some(oldest) = oldest else { return };
        let members = self.builds[oldest].members.clone();
        let hangs = members.iter().any(|m| self.hanging.contains(&m.number()));
        let flakes = self.flake_every > 0
            && self.builds[oldest]
                .build
                .number()
                .is_multiple_of(self.flake_every);
        let passes = self.passes(&members) && !flakes;
        if let BuildProgress::Running { started_at } = self.builds[oldest].progress
            && self.dooms
            && !passes
            && !hangs
        {
            self.builds[oldest].progress = BuildProgress::Doomed { started_at };
            return;
        }
        self.builds[oldest].progress = match (passes, hangs) {
            (true, _) => BuildProgress::Passed,
            (false, true) => BuildProgress::TimedOut,
            (false, false) => BuildProgress::Failed,
        };
        if members.is_empty() {
            self.tip_is_green = passes;
        }
        self.ended += 1;
        self.arrive();
    }

    /// Takes in what is due.
    fn arrive(&mut self) {
        let ended = self.ended;
        let due = |(at, _): &mut (usize, Item)| *at <= ended;
        for (_, item) in self.later.extract_if(.., due) {
            match item.priority {
                Priority::Urgent => self.items.insert(0, item),
                _ => self.items.push(item),
            }
        }
    }

    fn run(mut self) -> Self {
        for _ in 0..1_000 {
            if !self.act() {
                if !self.later.is_empty() {
                    self.ended += 100;
                    self.arrive();
                    continue;
                }
                // Controls of a good base may flake too; a person has them run again.
                if self.flake_every > 0 && base_is_broken(&self.view()).is_some() {
                    self.builds.retain(|b| !b.members.is_empty());
                    continue;
                }
                assert!(self.items.is_empty(), "stands still with {:?}", self.items);
                return self;
            }
            self.end_one();
        }
        panic!("the queue never drains");
    }

    fn sent_back(&self) -> Vec<ChangeId> {
        self.bounced.iter().map(|(change, _)| *change).collect()
    }
}

/// Policies that put more than one change into a build.
const BATCHING: [Policy; 2] = [Policy::Priced, Policy::Batch];

#[test]
fn one_culprit_among_six_costs_at_most_five_extra_builds() {
    for (policy, slots) in BATCHING.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        for culprit in 1..=6 {
            let mut line = Line::of(6, policy, slots);
            line.bad = vec![culprit];
            let line = line.run();
            assert_eq!(line.sent_back(), ids(&[culprit]), "{policy:?} {slots}");
            assert_eq!(line.landed().len(), 5, "{policy:?} {slots}");
            let clean = Line::of(6, policy, slots).run().starts.len();
            let extra = line.starts.len().saturating_sub(clean);
            assert!(extra <= 5, "{policy:?} {slots} {culprit}: {:?}", line.starts);
        }
    }
}

#[test]
fn two_culprits_among_eight_are_found_and_the_others_land() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        for (first, second) in (1..=8).flat_map(|a| (a + 1..=8).map(move |b| (a, b))) {
            let mut line = Line::of(8, policy, slots);
            line.bad = vec![first, second];
            let line = line.run();
            assert_eq!(line.sent_back(), ids(&[first, second]), "{policy:?} {slots}");
            assert_eq!(line.landed().len(), 6, "{policy:?} {slots}");
            assert!(line.starts.len() <= 18, "{policy:?} {slots}: {:?}", line.starts);
        }
    }
}

#[test]
fn of_a_pair_that_fails_only_together_the_first_lands_and_the_second_bounces() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        for (first, second) in (1..=5).flat_map(|a| (a + 1..=5).map(move |b| (a, b))) {
            let mut line = Line::of(5, policy, slots);
            line.pairs = vec![(first, second)];
            let line = line.run();
            assert_eq!(line.sent_back(), ids(&[second]), "{policy:?} {slots}");
            assert_eq!(line.landed().len(), 4, "{policy:?} {slots}");
            for (_, blame) in &line.bounced {
                if let Blame::Together { with, .. } = blame {
                    assert!(
                        with.contains(&ChangeId::new(first)),
                        "{policy:?} {slots} {with:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_change_that_hangs_is_found_in_its_batch_and_sent_back_for_the_time_limit() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        for hanging in 1..=4 {
            let mut line = Line::of(4, policy, slots);
            line.hanging = vec![hanging];
            let line = line.run();
            assert_eq!(line.sent_back(), ids(&[hanging]), "{policy:?} {slots}");
            assert!(
                matches!(line.bounced[0].1, Blame::TimedOut { .. }),
                "{policy:?} {slots}"
            );
            let alone = line
                .starts
                .iter()
                .filter(|s| s.last() == Some(&ChangeId::new(hanging)));
            assert!(alone.count() >= 2, "{policy:?} {slots} {:?}", line.starts);
        }
    }
}

#[test]
fn slots_and_the_batch_limit_are_respected_to_the_end() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 3)]) {
        let mut line = Line::of(20, policy, slots);
        line.settings.batch_max = 4;
        line.bad = vec![3, 9];
        line.pairs = vec![(5, 15)];
        let line = line.run();
        assert!(line.most_running <= slots, "{policy:?}");
        assert_eq!(line.landed().len(), 17, "{policy:?}");
        if policy == Policy::Batch || (policy == Policy::Priced && slots == 1) {
            assert!(line.starts.iter().all(|s| s.len() <= 4), "{:?}", line.starts);
        }
    }
}

#[test]
fn a_solo_change_lands_alone() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        let mut line = Line::of(5, policy, slots);
        line.items[2].solo = true;
        let line = line.run();
        assert!(
            line.landings.contains(&ids(&[3])),
            "{policy:?} {:?}",
            line.landings
        );
    }
}

#[test]
fn chains_land_in_their_order() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        let mut line = Line::of(5, policy, slots);
        line.items[2].after = ids(&[1]);
        line.items[4].after = ids(&[3, 4]);
        let line = line.run();
        assert!(line.landed().is_sorted(), "{policy:?} {:?}", line.landings);
        assert_eq!(line.landed().len(), 5, "{policy:?}");
    }
}

#[test]
fn a_stack_lands_in_one_move_of_the_target() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 2), (p, 4)]) {
        for at in 0..4 {
            let mut line = Line::of(6, policy, slots);
            for place in at..at + 3 {
                line.items[place].stack = Some(7);
            }
            let stack: Vec<ChangeId> = line.items[at..at + 3].iter().map(|i| i.change).collect();
            let line = line.run();
            let whole = |moved: &Vec<ChangeId>| stack.iter().all(|s| moved.contains(s));
            assert!(
                line.landings.iter().any(whole),
                "{policy:?} {slots} {:?}",
                line.landings
            );
        }
    }
}

#[test]
fn a_failure_inside_a_stack_splits_it() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        for culprit in 2..=4 {
            let mut line = Line::of(5, policy, slots);
            for place in 1..4 {
                line.items[place].stack = Some(7);
            }
            line.bad = vec![culprit];
            let line = line.run();
            assert_eq!(line.sent_back(), ids(&[culprit]), "{policy:?} {slots}");
            assert_eq!(line.landed().len(), 4, "{policy:?} {slots}");
        }
    }
}

#[test]
fn a_stack_longer_than_the_batch_limit_lands_in_parts() {
    for policy in ALL {
        let mut line = Line::of(6, policy, 2);
        line.settings.batch_max = 2;
        for item in &mut line.items {
            item.stack = Some(7);
        }
        assert_eq!(line.run().landed().len(), 6, "{policy:?}");
    }
}

#[test]
fn a_cancelled_member_leaves_the_others_to_land() {
    for (policy, slots) in ALL.into_iter().flat_map(|p| [(p, 1), (p, 4)]) {
        let mut line = Line::of(5, policy, slots);
        line.act();
        line.remove(ChangeId::new(2));
        let line = line.run();
        assert_eq!(line.landed(), ids(&[1, 3, 4, 5]), "{policy:?} {slots}");
    }
}

#[test]
fn urgent_interrupts_a_split_and_the_split_resumes() {
    for urgent_is_bad in [false, true] {
        let mut line = Line::of(6, Policy::Priced, 1);
        line.bad = if urgent_is_bad { vec![5, 9] } else { vec![5] };
        line.act();
        line.end_one();
        line.act();
        assert_eq!(line.starts.len(), 2, "the batch, and its first part");
        let failed = line.starts[0].clone();
        let urgent = Item {
            priority: Priority::Urgent,
            ..item(9)
        };
        line.items.insert(0, urgent);
        line.act();
        assert_eq!(line.starts[2], ids(&[9]), "the urgent one takes the slot");
        line.end_one();
        let line = line.run();
        assert!(!line.starts[2..].contains(&failed), "{:?}", line.starts);
        assert!(line.starts[3].len() < failed.len(), "{:?}", line.starts);
        assert_eq!(line.landed().len() + line.bounced.len(), 7);
        assert_eq!(line.landed().first() == Some(&ChangeId::new(9)), !urgent_is_bad);
        assert!(line.starts.len() <= 9, "{:?}", line.starts);
    }
}

#[test]
fn a_broken_base_stops_nobody_who_mends_it() {
    let items = [item(1), item(2)];
    let builds = [
        build(1, &[1], BuildProgress::Failed),
        build(2, &[], BuildProgress::Failed),
        build(3, &[1, 2], BuildProgress::Failed),
    ];
    for policy in [Policy::Priced, Policy::Optimistic, Policy::BestFirst] {
        let mut view = view(&items, &builds, policy);
        view.tip_is_green = false;
        assert_eq!(base_is_broken(&view), Some(BuildId::new(2)));
        assert_eq!(started(&plan(&view)), vec![ids(&[2])], "{policy:?}");
    }
}

proptest::proptest! {
    #[test]
    fn every_queue_drains_and_only_the_guilty_are_sent_back(
        (count, slots, batch_max, policy) in (1_u64..14, 1_usize..6, 1_usize..9, 0_usize..5),
        traits in proptest::collection::vec((0_u8..18, 0_u64..14, 0.05_f64..0.99), 14),
        pairs in proptest::collection::vec((0_u64..14, 0_u64..14), 0..3),
        (flake_every, tip_is_green) in (0_u64..9, proptest::bool::ANY),
        (independent, dooms) in (proptest::bool::ANY, proptest::bool::ANY),
    ) {
        let mut line = Line::of(count, ALL[policy], slots);
        line.settings.batch_max = batch_max;
        line.settings.independent = independent;
        line.flake_every = if flake_every < 4 { 0 } else { flake_every };
        line.tip_is_green = tip_is_green;
        line.dooms = dooms;
        let mut items = std::mem::take(&mut line.items);
        for (item, (kind, other, record)) in items.iter_mut().zip(&traits) {
            let (number, other) = (item.change.number(), *other);
            item.pass_probability = *record;
            item.footprint = if independent { vec![other % 5] } else { Vec::new() };
            match kind {
                0 => line.bad.push(number),
                1 => line.hanging.push(number),
                2 => item.solo = true,
                3 if other < number && other > 0 => item.after = ids(&[other]),
                4 if other < number && other > 0 => item.conflicts_with = ids(&[other]),
                5..=7 => item.stack = Some(1 + number / 4),
                8 => item.priority = Priority::Urgent,
                _ => {}
            }
            match kind {
                8..=10 => line.later.push((usize::try_from(other).expect("small"), item.clone())),
                _ => line.items.push(item.clone()),
            }
        }
        // A prerequisite that is offered later is one that the caller does not wait for.
        let known: Vec<ChangeId> = line.items.iter().map(|i| i.change).collect();
        line.items.iter_mut().for_each(|i| i.after.retain(|a| known.contains(a)));
        line.pairs = pairs.iter().filter(|(a, b)| a < b && *a > 0).copied().collect();
        let line = line.run();
        proptest::prop_assert!(line.most_running <= slots);
        for change in line.sent_back() {
            let number = change.number();
            let paired = line.pairs.iter().any(|(a, b)| *a == number || *b == number);
            proptest::prop_assert!(
                paired || line.flake_every > 0 || line.bad.contains(&number) || line.hanging.contains(&number),
                "{} is innocent", change
            );
        }
    }
}

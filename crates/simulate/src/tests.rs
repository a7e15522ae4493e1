//! Whole days under every policy.

use gantry_core::queue::planner::{PATIENCE, Policy, Settings};

use crate::{Day, Outcome, oracle, simulate};

const ALL: [Policy; 5] = [
    Policy::Priced,
    Policy::Serial,
    Policy::Batch,
    Policy::Optimistic,
    Policy::BestFirst,
];

fn settings(policy: Policy) -> Settings {
    Settings {
        policy,
        batch_max: 16,
        slots: 0,
        patience: PATIENCE,
        independent: false,
    }
}

fn day(seed: u64) -> Day {
    Day {
        slots: 4,
        arrivals_per_hour: 30.0,
        check_minutes: 6.0,
        bad: 0.1,
        pair_conflict: 0.02,
        changes: 60,
        seed,
        hint: 0.9,
        flake: 0.0,
    }
}

fn days(flake: f64) -> impl Iterator<Item = (Policy, Day, Outcome)> {
    ALL.into_iter().flat_map(move |policy| {
        (0..6).map(move |seed| {
            let day = Day { flake, ..day(seed) };
            (policy, day, simulate(&day, settings(policy)))
        })
    })
}

#[test]
fn there_are_never_more_builds_than_slots() {
    for (policy, day, outcome) in days(0.0) {
        assert!(outcome.most_running <= day.slots, "{policy:?} {day:?}");
    }
}

#[test]
fn nothing_red_lands_under_any_policy() {
    for (policy, day, outcome) in days(0.0).chain(days(0.03)) {
        assert_eq!(outcome.red_landings, 0, "{policy:?} {day:?}");
    }
}

#[test]
fn every_change_is_decided_under_any_policy() {
    for (policy, day, outcome) in days(0.0).chain(days(0.03)) {
        assert_eq!(outcome.waits.len(), day.changes, "{policy:?} {day:?}");
    }
}

#[test]
fn no_innocent_change_is_sent_back_where_no_check_flakes() {
    for (policy, day, outcome) in days(0.0) {
        assert_eq!(outcome.wronged, 0, "{policy:?} {day:?}");
    }
}

#[test]
fn changes_land_in_the_order_they_were_offered() {
    for (policy, day, outcome) in days(0.0) {
        assert!(outcome.landed.is_sorted(), "{policy:?} {day:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    for policy in ALL {
        assert_eq!(
            simulate(&day(3), settings(policy)),
            simulate(&day(3), settings(policy))
        );
    }
    assert_eq!(oracle(&day(3)), oracle(&day(3)));
}

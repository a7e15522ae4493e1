//! Groups of changes, and finding the culprit in one.

use std::time::Duration;

use gantry_core::queue::change::{BounceReason, ChangeState};
use gantry_testkit::{Setup, TestWorld};

/// Offers all of these at one instant and lets them come to their ends.
fn drained(setup: Setup, offers: &[(&str, &str)]) -> TestWorld {
    let mut world = TestWorld::new(setup);
    world.freeze(None);
    for (name, edits) in offers {
        world.offer(name, edits);
    }
    world.thaw();
    world.run_until_settled(100);
    world.run_for(Duration::from_secs(3_600));
    world.check_day();
    world
}

fn bounced(world: &TestWorld) -> Vec<String> {
    let halted =
        |change: &gantry_core::queue::change::Change| matches!(change.state, ChangeState::Bounced(_));
    world
        .changes()
        .into_iter()
        .filter(halted)
        .map(|change| change.branch.to_string())
        .collect()
}

const SIX: [(&str, &str); 6] = [
    ("a", "a=1"),
    ("b", "b=1"),
    ("c", "c=1"),
    ("d", "d=1"),
    ("e", "e=1"),
    ("f", "f=1"),
];

#[test]
fn one_culprit_among_six_costs_at_most_five_more_builds() {
    let builds = |offers: &[(&str, &str)], slots: usize| {
        let mut world = TestWorld::new(Setup {
            slots,
            ..Setup::default()
        });
        // The target was seen green, as it is on any day but the first.
        world.offer("before", "before=1");
        world.run_until_settled(20);
        let before = world.builds_started();
        world.freeze(None);
        for (name, edits) in offers {
            world.offer(name, edits);
        }
        world.thaw();
        world.run_until_settled(100);
        assert_eq!(world.landed().len() + bounced(&world).len(), 7);
        world.builds_started() - before
    };
    // Free slots are used to be faster: looking at both halves at once costs a build or two more.
    for (slots, more) in [(1, 5), (2, 6), (4, 7)] {
        let clean = builds(&SIX, slots);
        for culprit in 0..SIX.len() {
            let mut offers = SIX;
            offers[culprit].1 = "bad/x=1";
            let count = builds(&offers, slots);
            assert!(
                count <= clean + more,
                "{slots} slots, culprit {culprit}: {count} builds, {clean} without one"
            );
        }
    }
}

#[test]
fn two_culprits_among_eight_are_found_and_the_others_land() {
    for (first, second) in [(0, 1), (0, 7), (2, 5), (3, 4), (6, 7)] {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let mut edits: Vec<String> = names.iter().map(|name| format!("{name}=1")).collect();
        edits[first] = "bad/x=1".into();
        edits[second] = "bad/y=1".into();
        let offers: Vec<(&str, &str)> = names
            .iter()
            .copied()
            .zip(edits.iter().map(String::as_str))
            .collect();
        let world = drained(Setup::default(), &offers);
        assert_eq!(bounced(&world), [names[first], names[second]]);
        assert_eq!(world.landed().len(), 6);
    }
}

#[test]
fn of_a_pair_that_fails_only_together_the_second_bounces_and_names_the_first() {
    let offers = [
        ("l", "pair/p/left=1"),
        ("x", "x=1"),
        ("r", "pair/p/right=1"),
        ("y", "y=1"),
    ];
    let world = drained(Setup::default(), &offers);
    assert_eq!(world.landed(), ["l", "x", "y"]);
    let changes = world.changes();
    let first = changes.iter().find(|c| c.branch.as_str() == "l").map(|c| c.id);
    let second = changes
        .iter()
        .find(|c| c.branch.as_str() == "r")
        .map(|c| c.state.clone());
    match second {
        Some(ChangeState::Bounced(BounceReason::FailsTogether { with, .. })) => assert_eq!(Some(with), first),
        other => panic!("the second is {other:?}"),
    }
}

#[test]
fn of_two_that_conflict_in_a_batch_the_second_bounces_with_the_paths() {
    let offers = [("a", "slot=a"), ("x", "x=1"), ("b", "slot=b"), ("y", "y=1")];
    let world = drained(Setup::default(), &offers);
    assert_eq!(world.landed(), ["a", "x", "y"]);
    let changes = world.changes();
    let second = changes
        .iter()
        .find(|c| c.branch.as_str() == "b")
        .map(|c| c.state.clone());
    match second {
        Some(ChangeState::Bounced(BounceReason::Conflict { paths, .. })) => assert_eq!(paths, ["slot"]),
        other => panic!("the second is {other:?}"),
    }
}

#[test]
fn a_change_that_hangs_is_told_apart_from_one_that_fails() {
    let offers = [("a", "a=1"), ("hang", "hang/x=1"), ("b", "b=1")];
    let world = drained(Setup::default(), &offers);
    assert_eq!(world.landed(), ["a", "b"]);
    let timed_out =
        |state: &ChangeState| matches!(state, ChangeState::Bounced(BounceReason::TimedOut { .. }));
    assert_eq!(world.changes().iter().filter(|c| timed_out(&c.state)).count(), 1);
}

#[test]
fn a_cancelled_member_takes_nobody_with_it() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    world.offer("a", "a=1");
    let member = world.offer("b", "b=1");
    world.offer("c", "c=1");
    world.thaw();
    world.run_for(Duration::from_secs(60));
    assert!(world.cancel(member));
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["a", "c"]);
    world.run_for(Duration::from_secs(900));
    world.check_day();
}

#[test]
fn a_batch_never_lands_more_than_its_limit_at_once() {
    for policy in ["priced", "batch"] {
        let setup = Setup {
            batch_max: 2,
            policy,
            slots: 1,
            ..Setup::default()
        };
        let world = drained(setup, &SIX);
        assert_eq!(world.landed().len(), 6);
        let builds = world.store().load_builds_below(
            gantry_core::id::RepositoryId::new(1),
            gantry_store::Store::after_all_builds(),
            100,
        );
        for build in builds.expect("readable builds") {
            assert!(
                build.order.members.len() <= 2,
                "{policy}: {} holds {:?}",
                build.id,
                build.order.members.len()
            );
        }
    }
}

#[test]
fn every_method_and_every_policy_lands_everything_good_and_nothing_else() {
    let offers = [
        ("a", "a=1"),
        ("bad", "bad/x=1"),
        ("b", "slot=b"),
        ("l", "pair/p/left=1"),
        ("c", "slot=c"),
        ("r", "pair/p/right=1"),
        ("d", "d=1"),
    ];
    for method in ["rebase", "squash", "merge"] {
        for policy in ["priced", "serial", "batch", "optimistic", "best-first"] {
            let setup = Setup {
                method,
                policy,
                ..Setup::default()
            };
            let world = drained(setup, &offers);
            let mut landed = world.landed();
            landed.retain(|author| author != "gantry");
            assert_eq!(bounced(&world), ["bad", "c", "r"], "{method} {policy}");
        }
    }
}

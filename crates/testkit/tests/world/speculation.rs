//! Builds on top of what has not landed yet.

use std::time::Duration;

use gantry_core::event::FactKind;
use gantry_core::queue::build::{BuildState, Ending};
use gantry_core::queue::change::ChangeState;
use gantry_testkit::{BoxFaults, Setup, TestWorld};

fn optimistic(slots: usize) -> TestWorld {
    TestWorld::new(Setup {
        slots,
        policy: "optimistic",
        ..Setup::default()
    })
}

fn offer_all(world: &mut TestWorld, offers: &[(&str, &str)]) {
    world.freeze(None);
    for (name, edits) in offers {
        world.offer(name, edits);
    }
    world.thaw();
}

#[test]
fn a_failure_at_the_head_costs_only_the_head() {
    let mut world = optimistic(4);
    offer_all(&mut world, &[("bad", "bad/x=1"), ("a", "a=1"), ("b", "b=1")]);
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["a", "b"]);
    world.run_for(Duration::from_secs(900));
    world.check_day();
}

#[test]
fn a_failure_in_the_middle_lets_what_is_ahead_land() {
    let mut world = optimistic(4);
    offer_all(
        &mut world,
        &[("a", "a=1"), ("bad", "bad/x=1"), ("b", "b=1"), ("c", "c=1")],
    );
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["a", "b", "c"]);
}

#[test]
fn an_innocent_that_fails_first_on_top_of_a_bad_one_is_not_blamed() {
    let mut world = optimistic(2);
    // The build of both ends long before the build of the bad one.
    world.build_takes(1, Duration::from_secs(900));
    world.build_takes(2, Duration::from_secs(10));
    offer_all(&mut world, &[("bad", "bad/x=1"), ("innocent", "innocent=1")]);
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["innocent"]);
    let facts = world.store().load_facts_after(0, 1_000).expect("readable facts");
    let bounces = facts
        .iter()
        .filter(|f| f.fact.kind == FactKind::ChangeBounced)
        .count();
    assert_eq!(bounces, 1);
}

#[test]
fn a_green_result_on_a_base_that_stays_valid_is_kept() {
    let mut world = optimistic(2);
    // The second ends first, is green, and lands as soon as the first has, without another build.
    world.build_takes(1, Duration::from_secs(600));
    world.build_takes(2, Duration::from_secs(100));
    offer_all(&mut world, &[("a", "a=1"), ("b", "b=1")]);
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["a", "b"]);
    assert_eq!(world.builds_started(), 2);
}

#[test]
fn a_follower_lands_at_the_moment_what_is_ahead_of_it_lands() {
    let mut world = optimistic(2);
    world.build_takes(1, Duration::from_secs(600));
    world.build_takes(2, Duration::from_secs(100));
    offer_all(&mut world, &[("a", "a=1"), ("b", "b=1")]);
    world.run_for(Duration::from_secs(601));
    assert_eq!(world.landed(), ["a", "b"]);
}

#[test]
fn there_are_never_more_builds_than_slots() {
    for policy in ["priced", "optimistic", "best-first"] {
        for slots in 1..5 {
            let mut world = TestWorld::new(Setup {
                slots,
                policy,
                spread: 50,
                ..Setup::default()
            });
            let names: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
            for name in &names {
                world.offer(name, &format!("{name}=1"));
                world.run_for(Duration::from_secs(40));
            }
            world.run_until_settled(100);
            assert!(
                world.most_at_once() <= slots,
                "{policy}: {} in {slots}",
                world.most_at_once()
            );
            assert_eq!(world.landed().len(), 12);
        }
    }
}

#[test]
fn an_early_failure_pattern_starts_followers_anew_at_once() {
    let mut world = optimistic(3);
    world.box_faults(BoxFaults {
        doomed: 1_000,
        ..BoxFaults::default()
    });
    offer_all(&mut world, &[("bad", "bad/x=1"), ("a", "a=1")]);
    // A quarter of the check's time shows that the first will fail.
    world.run_for(Duration::from_secs(100));
    world.look();
    let builds = world
        .store()
        .load_counting_builds(gantry_core::id::RepositoryId::new(1));
    let builds = builds.expect("readable builds");
    let follower = world.changes()[1].id;
    let alone = builds.iter().any(|build| {
        let members: Vec<_> = build.order.members.iter().map(|m| m.change).collect();
        members == [follower] && matches!(build.state, BuildState::Running { .. })
    });
    assert!(alone, "the follower runs without the doomed one: {builds:#?}");
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["a"]);
    assert!(matches!(world.changes()[0].state, ChangeState::Bounced(_)));
}

#[test]
fn the_target_moves_every_cycle_though_changes_arrive_faster_than_checks_end() {
    for policy in ["priced", "optimistic", "batch"] {
        let mut world = TestWorld::new(Setup {
            policy,
            slots: 2,
            ..Setup::default()
        });
        let mut seen = world.git().moves.len();
        let mut moved_at = world.now;
        for number in 0..120 {
            let name = format!("c{number}");
            world.offer(&name, &format!("{name}=1"));
            world.run_for(Duration::from_secs(60));
            let moves = world.git().moves.len();
            if moves > seen {
                (seen, moved_at) = (moves, world.now);
            }
            let still = world.now.since(moved_at);
            assert!(
                still <= world.setup.check * 3,
                "{policy}: nothing landed for {still:?}"
            );
        }
        let ended = world.store().load_builds_below(
            gantry_core::id::RepositoryId::new(1),
            gantry_store::Store::after_all_builds(),
            10_000,
        );
        let failed = |b: &&gantry_core::queue::build::Build| b.state == BuildState::Ended(Ending::Failed);
        assert_eq!(ended.expect("readable builds").iter().filter(failed).count(), 0);
    }
}

//! Checks that do not always say the same, and passes that are too good to be true.

use std::time::Duration;

use gantry_core::event::FactKind;
use gantry_core::id::RepositoryId;
use gantry_core::queue::build::{Build, BuildState, Ending, Trouble};
use gantry_core::queue::change::ChangeState;
use gantry_core::queue::planner::Purpose;
use gantry_store::Store;
use gantry_testkit::{BoxFaults, Setup, TestWorld};

fn serial(seed: u64) -> TestWorld {
    TestWorld::new(Setup {
        seed,
        slots: 1,
        policy: "serial",
        ..Setup::default()
    })
}

fn builds(world: &TestWorld) -> Vec<Build> {
    let all = world
        .store()
        .load_builds_below(RepositoryId::new(1), Store::after_all_builds(), 1_000);
    let mut all = all.expect("readable builds");
    all.reverse();
    all
}

#[test]
fn before_the_first_bounce_a_control_run_shows_that_the_base_is_green() {
    let mut world = serial(1);
    let change = world.offer("bad", "bad/x=1");
    world.run_until_settled(20);
    assert!(matches!(world.state(change), ChangeState::Bounced(_)));
    let purposes: Vec<Purpose> = builds(&world).iter().map(|build| build.order.purpose).collect();
    assert_eq!(purposes, [Purpose::Land, Purpose::Control, Purpose::Retry]);
}

#[test]
fn nobody_is_blamed_while_the_base_itself_fails() {
    let mut world = serial(1);
    world.push("bad/pushed=1");
    let change = world.offer("a", "a=1");
    world.run_for(Duration::from_secs(3 * 3_600));
    assert!(world.state(change).is_pending(), "{:?}", world.state(change));
    assert_eq!(world.obstacle().map(|o| o.code), Some("base_broken"));
    world.push("-bad/pushed");
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
    assert_eq!(world.obstacle(), None);
    world.check_day();
}

#[test]
fn a_change_that_mends_a_broken_base_lands() {
    let mut world = serial(1);
    world.push("bad/pushed=1");
    let innocent = world.offer("a", "a=1");
    world.run_for(Duration::from_secs(3_600));
    let mend = world.offer_with("mend", "-bad/pushed mended=1", |offer| {
        offer.priority = Some(gantry_core::queue::change::Priority::Urgent);
    });
    world.run_until_settled(50);
    assert!(world.landed_by_build(mend) && world.landed_by_build(innocent));
}

#[test]
fn a_flaky_control_run_does_not_stop_the_line_for_ever() {
    for seed in 0..40 {
        let mut world = serial(seed);
        world.push("flaky/base=400");
        let bad = world.offer("bad", "bad/x=1");
        let good = world.offer("a", "a=1");
        world.rules_know_of_flakes();
        world.run_until_settled(400);
        assert!(matches!(world.state(bad), ChangeState::Bounced(_)), "seed {seed}");
        assert!(!world.state(good).is_pending(), "seed {seed}");
        // The last control counts: after one that passed there is no other on the same tip.
        let all = builds(&world);
        let controls: Vec<&Build> = all
            .iter()
            .filter(|b| b.order.purpose == Purpose::Control)
            .collect();
        for pair in controls.windows(2) {
            let same = pair[0].order.base == pair[1].order.base;
            let passed = pair[0].state == BuildState::Ended(Ending::Passed);
            assert!(
                !(same && passed),
                "seed {seed}: {} after {}",
                pair[1].id,
                pair[0].id
            );
        }
    }
}

#[test]
fn a_later_success_never_launders_an_earlier_failure() {
    for seed in 0..20 {
        let mut world = serial(seed);
        world.box_faults(BoxFaults {
            doubled: 1_000,
            late: 300,
            ..BoxFaults::default()
        });
        world.offer("flaky", "flaky/x=500");
        world.offer("bad", "bad/x=1");
        world.run_until_settled(400);
        world.run_for(Duration::from_secs(3_600));
        // Every verdict of the journal is the one its build has kept.
        let git = world.git();
        for text in &git.journal {
            let Ok(gantry_engine::journal::Entry::Verdict(verdict)) = serde_json::from_str(text) else {
                continue;
            };
            let build = world
                .store()
                .load_build(gantry_core::id::BuildId::new(verdict.build));
            let build = build.expect("readable builds").expect("it was stored");
            assert!(matches!(build.state, BuildState::Ended(ending) if ending.as_str() == verdict.ending));
        }
    }
}

#[test]
fn a_pass_that_is_too_short_to_be_true_is_run_again() {
    let mut world = serial(1);
    for number in 0..6 {
        world.offer(&format!("c{number}"), &format!("c{number}=1"));
    }
    world.run_until_settled(50);
    let before = world.builds_started();
    world.build_takes(before + 1, Duration::from_secs(2));
    let change = world.offer("quick", "quick=1");
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
    let ends: Vec<BuildState> = builds(&world).iter().skip(6).map(|build| build.state).collect();
    let doubted = BuildState::Ended(Ending::Trouble(Trouble::TooShort));
    assert_eq!(ends, [doubted, BuildState::Ended(Ending::Passed)]);
    world.check_day();
}

#[test]
fn trouble_with_boxes_bounces_nobody_and_is_tried_again_later_and_later() {
    for faults in [
        BoxFaults {
            no_start: 1_000,
            ..BoxFaults::default()
        },
        BoxFaults {
            no_disk: 1_000,
            ..BoxFaults::default()
        },
        BoxFaults {
            vanishes: 1_000,
            ..BoxFaults::default()
        },
        BoxFaults {
            refused: 1_000,
            ..BoxFaults::default()
        },
    ] {
        let mut world = serial(1);
        world.box_faults(faults);
        let change = world.offer("a", "a=1");
        world.run_for(Duration::from_secs(4 * 3_600));
        assert!(world.state(change).is_pending(), "{:?}", world.state(change));
        assert!(
            world.builds_started() < 100,
            "{} builds in four hours",
            world.builds_started()
        );
        world.box_faults(BoxFaults::default());
        world.run_until_settled(20);
        assert!(world.landed_by_build(change));
        let facts = world.store().load_facts_after(0, 10_000).expect("readable facts");
        assert!(facts.iter().all(|f| f.fact.kind != FactKind::ChangeBounced));
        world.check_day();
    }
}

#[test]
fn a_box_that_is_gone_without_a_word_is_noticed() {
    let mut world = serial(1);
    world.box_faults(BoxFaults {
        vanishes: 1_000,
        ..BoxFaults::default()
    });
    let change = world.offer("a", "a=1");
    world.run_for(Duration::from_secs(361));
    world.box_faults(BoxFaults::default());
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
}

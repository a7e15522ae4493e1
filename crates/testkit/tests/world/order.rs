//! Who lands first, and who waits for whom.

use std::time::Duration;

use gantry_core::queue::change::{ChangeState, HoldReason, Priority};
use gantry_engine::factory::AskError;
use gantry_testkit::{Setup, TestWorld, request};

fn serial() -> TestWorld {
    TestWorld::new(Setup {
        slots: 1,
        batch_max: 1,
        ..Setup::default()
    })
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

#[test]
fn first_come_lands_first() {
    let mut world = TestWorld::new(Setup::default());
    for name in ["a", "b", "c", "d"] {
        world.offer(name, &format!("{name}=1"));
        world.run_for(minutes(1));
    }
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["a", "b", "c", "d"]);
    world.check_day();
}

#[test]
fn the_more_urgent_lands_first() {
    let mut world = serial();
    world.offer("first", "first=1");
    for (name, priority) in [
        ("low", Priority::Low),
        ("normal", Priority::Normal),
        ("high", Priority::High),
    ] {
        world.offer_with(name, &format!("{name}=1"), |offer| {
            offer.priority = Some(priority)
        });
    }
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["high", "first", "normal", "low"]);
}

#[test]
fn a_late_priority_change_counts_from_then_on() {
    let mut world = serial();
    world.offer("a", "a=1");
    world.offer("b", "b=1");
    let last = world.offer("c", "c=1");
    world.run_for(minutes(1));
    world.set_priority(last, Priority::High);
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["c", "a", "b"]);
}

#[test]
fn an_urgent_change_interrupts_a_split_and_the_split_goes_on_after_it() {
    let mut world = TestWorld::new(Setup {
        slots: 1,
        policy: "batch",
        ..Setup::default()
    });
    world.freeze(None);
    for name in ["a", "b", "c"] {
        world.offer(name, &format!("{name}=1"));
    }
    let broken = world.offer("broken", "bad/x=1");
    world.thaw();
    // The group has failed and is being split.
    world.run_for(minutes(8));
    world.offer_with("hot", "hot=1", |offer| offer.priority = Some(Priority::Urgent));
    world.run_until_settled(80);
    assert_eq!(world.landed(), ["hot", "a", "b", "c"]);
    assert!(matches!(world.state(broken), ChangeState::Bounced(_)));
    world.check_day();
}

#[test]
fn a_solo_change_shares_no_candidate() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    world.offer("a", "a=1");
    let alone = world.offer_with("alone", "alone=1", |offer| offer.solo = true);
    world.offer("b", "b=1");
    world.thaw();
    world.run_until_settled(50);
    for build in world.store().load_builds_of(alone).expect("readable builds") {
        assert_eq!(build.order.members.len(), 1, "{} holds others, too", build.id);
    }
    assert_eq!(world.landed(), ["a", "alone", "b"]);
}

#[test]
fn a_change_can_be_cancelled_at_every_moment() {
    for second in (0..1_200).step_by(20) {
        let mut world = TestWorld::new(Setup::default());
        world.offer("a", "a=1");
        let change = world.offer("b", "b=1");
        world.offer("c", "c=1");
        world.run_for(Duration::from_secs(second));
        let cancelled = world.cancel(change);
        world.run_until_settled(50);
        let expected: &[&str] = if cancelled { &["a", "c"] } else { &["a", "b", "c"] };
        assert_eq!(world.landed(), expected, "cancelled at {second} s: {cancelled}");
        world.run_for(minutes(10));
        world.check_day();
    }
}

#[test]
fn a_freeze_keeps_a_finished_build_for_the_thaw() {
    let mut world = serial();
    let change = world.offer("a", "a=1");
    world.run_for(minutes(1));
    world.freeze(None);
    world.run_for(minutes(30));
    assert_eq!(world.landed(), [] as [&str; 0]);
    let builds = world.builds_started();
    world.thaw();
    assert!(world.landed_by_build(change));
    assert_eq!(world.builds_started(), builds, "the finished build was used");
    world.check_day();
}

#[test]
fn a_freeze_below_a_priority_lets_the_others_land() {
    let mut world = serial();
    world.freeze(Some(Priority::High));
    let normal = world.offer("normal", "normal=1");
    world.offer_with("high", "high=1", |offer| offer.priority = Some(Priority::High));
    world.run_for(minutes(30));
    assert_eq!(world.landed(), ["high"]);
    world.thaw();
    world.run_until_settled(20);
    assert!(world.landed_by_build(normal));
}

#[test]
fn chains_and_trees_of_prerequisites_land_in_their_order() {
    let mut world = TestWorld::new(Setup::default());
    let first = world.offer("first", "first=1");
    let left = world.offer_with("left", "left=1", |offer| offer.after = vec![first]);
    let right = world.offer_with("right", "right=1", |offer| offer.after = vec![first]);
    world.offer_with("last", "last=1", |offer| {
        offer.after = vec![left, right];
        offer.priority = Some(Priority::Urgent);
    });
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["first", "left", "right", "last"]);
}

#[test]
fn a_circle_of_prerequisites_is_refused() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    let first = world.offer("a", "a=1");
    let second = world.offer_with("b", "b=1", |offer| offer.after = vec![first]);
    let mut again = request("a");
    again.after = vec![second];
    assert!(matches!(world.ask_offer(&again), Err(AskError::Cycle(_))));
    world.thaw();
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["a", "b"]);
}

#[test]
fn what_waits_for_a_bounced_change_is_held_and_goes_on_when_it_is_mended() {
    let mut world = TestWorld::new(Setup::default());
    let below = world.offer("below", "bad/x=1");
    let above = world.offer_with("above", "above=1", |offer| offer.after = vec![below]);
    world.run_until_settled(50);
    assert!(matches!(
        world.state(above),
        ChangeState::Held(HoldReason::DependencyEnded { .. })
    ));
    world.branch_on("below", "below", &["-bad/x mended=1"]);
    world.look();
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["below", "above"]);
    world.check_day();
}

#[test]
fn a_stack_lands_in_one_move_of_the_target() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    let mut below = world.offer("s0", "s0=1");
    for number in 1..4 {
        let (on, name) = (format!("s{}", number - 1), format!("s{number}"));
        world.branch_on(&on, &name, &[&format!("s{number}=1")]);
        let mut offer = request(&name);
        offer.after = vec![below];
        below = world.ask_offer(&offer).expect("it is taken");
    }
    world.thaw();
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["s0", "s1", "s2", "s3"]);
    assert_eq!(world.git().moves.len(), 1);
}

#[test]
fn a_change_held_and_released_at_once_still_lands() {
    let mut world = serial();
    let change = world.offer("a", "a=1");
    world.run_for(minutes(1));
    world.freeze(None);
    world.run_for(minutes(10));
    world.deaf = true;
    world.thaw();
    world
        .ask(|factory, now| factory.hold(change, "wait", now))
        .expect("it is held");
    world
        .ask(|factory, now| factory.release(change, now))
        .expect("it is released");
    world.deaf = false;
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
}

//! People who push, merge, delete and lock while gantry works, and repositories with holes.

use std::time::Duration;

use gantry_core::event::FactKind;
use gantry_core::queue::change::{BounceReason, CancelReason, ChangeState, HoldReason, LandedBy};
use gantry_testkit::{Setup, TestWorld, request};

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn count(world: &TestWorld, kind: FactKind) -> usize {
    let facts = world.store().load_facts_after(0, 10_000).expect("readable facts");
    facts.iter().filter(|f| f.fact.kind == kind).count()
}

#[test]
fn a_push_during_a_test_makes_the_candidate_be_tested_again() {
    let mut world = TestWorld::new(Setup::default());
    let change = world.offer("a", "a=1");
    world.run_for(minutes(3));
    world.push("pushed=1");
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
    assert_eq!(world.builds_started(), 2);
    assert_eq!(count(&world, FactKind::TargetPushed), 1);
    world.check_day();
}

#[test]
fn a_push_that_wins_the_race_for_the_target_is_not_overwritten() {
    let mut world = TestWorld::new(Setup::default());
    world.surprise(|git| git.push("pushed=1", "pushed"));
    let change = world.offer("a", "a=1");
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
    let git = world.git();
    let tip = git.tip().expect("a target");
    assert!(git.files_at(tip).contains_key("pushed") && git.files_at(tip).contains_key("a"));
}

#[test]
fn endless_pushes_are_reported_and_the_line_goes_on_when_they_stop() {
    let mut world = TestWorld::new(Setup::default());
    let change = world.offer("a", "a=1");
    for number in 0..20 {
        world.run_for(minutes(2));
        world.push(&format!("pushed={number}"));
    }
    assert!(world.state(change).is_pending());
    assert_eq!(count(&world, FactKind::TargetContended), 1);
    assert!(world.builds_started() <= 21, "{} builds", world.builds_started());
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
    world.check_day();
}

#[test]
fn a_change_merged_by_hand_is_landed_and_its_builds_end() {
    let mut world = TestWorld::new(Setup::default());
    let change = world.offer("a", "a=1");
    world.run_for(minutes(1));
    let head = world.git().refs["refs/heads/a"];
    world.git().set_ref("refs/heads/main", Some(head));
    world.look();
    assert_eq!(world.state(change), ChangeState::Landed(LandedBy::AlreadyIn));
    world.run_for(minutes(30));
    world.check_day();
}

#[test]
fn a_deleted_branch_cancels_its_change_unless_it_was_merged() {
    let mut world = TestWorld::new(Setup::default());
    let gone = world.offer("gone", "gone=1");
    let merged = world.offer("merged", "merged=1");
    let head = world.git().refs["refs/heads/merged"];
    world.git().set_ref("refs/heads/main", Some(head));
    world.git().set_ref("refs/heads/merged", None);
    world.delete_branch("gone");
    assert_eq!(
        world.state(gone),
        ChangeState::Cancelled(CancelReason::BranchDeleted)
    );
    assert_eq!(world.state(merged), ChangeState::Landed(LandedBy::AlreadyIn));
    world.run_for(minutes(30));
    world.check_day();
}

#[test]
fn the_old_head_of_a_moved_branch_is_never_landed() {
    for minute in 0..8 {
        let mut world = TestWorld::new(Setup::default());
        world.offer("a", "a=old");
        world.run_for(minutes(minute));
        let before = world.changes()[0].state.clone();
        world.branch_on("main", "a", &["a=new"]);
        world.look();
        world.run_until_settled(20);
        let git = world.git();
        let tip = git.tip().expect("a target");
        let landed_first = matches!(before, ChangeState::Landed(_));
        let expected = if landed_first { "old" } else { "new" };
        assert_eq!(git.files_at(tip)["a"], expected, "moved after {minute} minutes");
    }
}

#[test]
fn a_target_that_is_deleted_and_pushed_again_goes_on() {
    let mut world = TestWorld::new(Setup::default());
    let change = world.offer("a", "a=1");
    let tip = world.git().tip();
    world.delete_branch("main");
    world.run_for(minutes(20));
    assert_eq!(world.obstacle().map(|o| o.code), Some("repository"));
    assert!(world.state(change).is_pending());
    world.git().set_ref("refs/heads/main", tip);
    world.look();
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
    assert_eq!(world.obstacle(), None);
    world.check_day();
}

#[test]
fn what_somebody_took_off_the_target_stays_off() {
    let mut world = TestWorld::new(Setup::default());
    world.branch_on("main", "a", &["a=1"]);
    world.push("unwanted=1");
    // At the very move the target is rewound below the candidate's base.
    world.surprise(|git| {
        let tip = git.tip().expect("a target");
        let back = git.commit(tip).parents[0];
        git.set_ref("refs/heads/main", Some(back));
    });
    world.ask_offer(&request("a")).expect("it is taken");
    world.run_until_settled(50);
    let git = world.git();
    let tip = git.tip().expect("a target");
    assert!(
        !git.files_at(tip).contains_key("unwanted"),
        "{:?}",
        git.files_at(tip)
    );
}

#[test]
fn a_locked_target_is_waited_for_and_nothing_is_lost() {
    for locks in 1..12 {
        let mut world = TestWorld::new(Setup::default());
        let change = world.offer("a", "a=1");
        world.run_for(minutes(5));
        world.git().locked_writes = locks;
        world.run_until_settled(50);
        world.git().locked_writes = 0;
        world.run_for(minutes(20));
        assert!(world.landed_by_build(change), "{locks} locks");
        world.check_day();
    }
}

#[test]
fn an_offer_whose_ref_is_locked_is_kept_and_noted_later() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    world.branch_on("main", "a", &["a=1"]);
    world.git().locked_writes = 1;
    let offered = world.ask_offer(&request("a"));
    world.run_for(minutes(5));
    assert!(offered.is_ok(), "it is stored: {offered:?}");
    assert!(
        world
            .git()
            .refs
            .keys()
            .any(|name| name.starts_with("refs/gantry/changes/"))
    );
}

#[test]
fn a_change_with_unreadable_objects_stops_nobody_else_and_lands_once_they_are_back() {
    let mut world = TestWorld::new(Setup::default());
    let torn = world.offer("torn", "torn=1");
    let head = world.changes()[0].head;
    world.git().missing.insert(head);
    world.push("pushed=1");
    let other = world.offer("other", "other=1");
    world.run_for(minutes(30));
    assert!(world.landed_by_build(other));
    assert!(world.state(torn).is_pending(), "{:?}", world.state(torn));
    world.delete_branch("torn");
    world.restart();
    world.run_for(minutes(10));
    let third = world.offer("third", "third=1");
    world.run_for(minutes(30));
    assert!(
        world.landed_by_build(third),
        "a deleted branch with unreadable objects stops nobody"
    );
    world.branch_on("main", "torn", &[]);
    world.git().set_ref("refs/heads/torn", Some(head));
    world.git().missing.clear();
    world.run_until_settled(20);
    assert!(world.landed_by_build(torn));
    world.check_day();
}

#[test]
fn a_repository_in_trouble_blames_no_change_and_goes_on_by_itself() {
    let mut world = TestWorld::new(Setup::default());
    let changes = [world.offer("a", "a=1"), world.offer("b", "b=1")];
    world.push("pushed=1");
    world.git().broken = true;
    world.push("pushed=2");
    world.run_for(minutes(60));
    assert!(changes.iter().all(|id| world.state(*id).is_pending()));
    world.git().broken = false;
    world.run_until_settled(50);
    assert!(changes.iter().all(|id| world.landed_by_build(*id)));
    world.check_day();
}

#[test]
fn wake_ups_that_are_lost_only_cost_time() {
    let mut world = TestWorld::new(Setup::default());
    world.deaf = true;
    let a = world.offer("a", "a=1");
    world.push("pushed=1");
    let b = world.offer("b", "b=1");
    world.run_for(minutes(40));
    assert!(world.landed_by_build(a) && world.landed_by_build(b));
    world.check_day();
}

#[test]
fn a_silent_revert_is_held_until_a_person_lets_this_head_pass() {
    let mut world = TestWorld::new(Setup::default());
    world.push("file=one");
    let old = world.git().tip().expect("a target");
    world.push("file=two");
    let head = {
        let mut git = world.git();
        let tip = git.tip().expect("a target");
        let head = git.edit(tip, "file=one other=1", "clean up", "stale");
        git.set_ref("refs/heads/stale", Some(head));
        head
    };
    let change = world.ask_offer(&request("stale")).expect("it is taken");
    assert_ne!(old, head);
    assert!(matches!(
        world.state(change),
        ChangeState::Held(HoldReason::SilentRevert { .. })
    ));
    world
        .ask(|factory, now| factory.release(change, now))
        .expect("it was held");
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
}

#[test]
fn a_released_change_that_still_conflicts_bounces_again() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    let change = world.offer("a", "slot=a");
    world.push("slot=pushed");
    let conflict = |state: &ChangeState| matches!(state, ChangeState::Bounced(BounceReason::Conflict { .. }));
    assert!(conflict(&world.state(change)));
    world.thaw();
    world
        .ask(|factory, now| factory.release(change, now))
        .expect("it was bounced");
    assert!(conflict(&world.state(change)), "{:?}", world.state(change));
    let facts = world.store().load_facts_of(change, 100).expect("readable facts");
    let last = facts.last().map(|recorded| recorded.fact.text.as_str());
    assert_eq!(last, Some("it conflicts with main in slot"));
}

#[test]
fn commits_that_conflict_one_by_one_though_their_sum_merges_bounce_with_the_paths() {
    let mut world = TestWorld::new(Setup::default());
    world.branch_on("main", "detour", &["base=1", "base=0 detour=1"]);
    world.push("base=pushed");
    let change = world.ask_offer(&request("detour")).expect("it is taken");
    world.run_for(minutes(30));
    match world.state(change) {
        ChangeState::Bounced(BounceReason::Conflict { paths, .. }) => assert_eq!(paths, ["base"]),
        other => panic!("it is {other:?}"),
    }
}

#[test]
fn a_change_of_the_gate_lands_alone_and_counts_from_then_on() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    world.offer("a", "a=1");
    let gate = world.offer("gate", ".gantry.toml=1:1:squash:serial:new");
    world.offer("b", "b=1");
    world.thaw();
    world.run_until_settled(50);
    for build in world.store().load_builds_of(gate).expect("readable builds") {
        assert_eq!(build.order.members.len(), 1);
    }
    assert_eq!(world.landed(), ["a", "gate", "b"]);
    world.check_day();
}

#[test]
fn without_a_gate_nothing_lands_and_the_line_says_what_to_write() {
    let mut world = TestWorld::new(Setup::default());
    world.push("-.gantry.toml");
    let change = world.offer("a", "a=1");
    world.run_for(minutes(30));
    assert!(world.state(change).is_pending());
    let obstacle = world.obstacle().expect("something is in the way");
    assert_eq!(obstacle.code, "no_gate");
    assert!(obstacle.next_action.contains("[[gate.check]]"));
    world.push(".gantry.toml=2:8:rebase:priced:1");
    world.run_until_settled(20);
    assert!(world.landed_by_build(change));
}

#[test]
fn a_direct_push_whose_control_run_passed_still_counts_as_pushed() {
    let mut world = TestWorld::new(Setup::default());
    world.push("pushed=1");
    world.offer("bad", "bad/x=1");
    world.run_until_settled(20);
    world.run_for(minutes(30));
    world.check_day();
    assert_eq!(world.audited().pushed.len(), 1);
}

#[test]
fn a_prerequisite_with_a_higher_number_outlives_the_database() {
    let mut world = TestWorld::new(Setup::default());
    world.freeze(None);
    world.offer("a", "a=1");
    let second = world.offer("b", "b=1");
    let mut again = request("a");
    again.after = vec![second];
    world.ask_offer(&again).expect("it is taken");
    world.lose_database();
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["b", "a"]);
}

#[test]
fn a_lost_database_comes_back_from_the_refs_and_the_line_goes_on() {
    for minute in [0, 1, 7, 14, 30] {
        let mut world = TestWorld::new(Setup::default());
        let first = world.offer("a", "a=1");
        world.offer_with("b", "b=1", |offer| offer.after = vec![first]);
        world.offer("bad", "bad/x=1");
        world.run_for(minutes(minute));
        let waits_for = |world: &TestWorld| world.changes()[1].after.clone();
        let before = waits_for(&world);
        world.lose_database();
        assert_eq!(waits_for(&world), before);
        world.run_until_settled(50);
        assert_eq!(world.landed(), ["a", "b"], "lost after {minute} minutes");
        world.run_for(minutes(30));
        let bounced = world
            .changes()
            .iter()
            .filter(|c| matches!(c.state, ChangeState::Bounced(_)))
            .count();
        assert_eq!(bounced, 1);
    }
}

#[test]
fn a_change_whose_gate_cannot_be_used_is_held_and_lands_only_if_a_person_lets_it() {
    let mut world = TestWorld::new(Setup::default());
    let broken = world.offer("gate", "-.gantry.toml");
    let other = world.offer("b", "b=1");
    world.run_until_settled(50);
    assert_eq!(world.landed(), ["b"], "{:?}", world.state(broken));
    assert!(world.landed_by_build(other));
    assert!(
        matches!(world.state(broken), ChangeState::Held(_)),
        "{:?}",
        world.state(broken)
    );
}

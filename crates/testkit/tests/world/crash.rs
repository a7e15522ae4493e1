//! The process dies at every effect boundary; the end is the one without the death.

use gantry_testkit::crash::{SCENARIOS, row};

#[track_caller]
fn check(name: &str) {
    let scenario = SCENARIOS
        .into_iter()
        .find(|s| s.name == name)
        .expect("a scenario of that name");
    let points = row(scenario, 1);
    let broken: Vec<_> = points.iter().filter(|point| point.broken.is_some()).collect();
    assert!(points.len() > 20, "only {} points", points.len());
    assert!(
        broken.is_empty(),
        "{} of {}: {:#?}",
        broken.len(),
        points.len(),
        broken.first()
    );
}

#[test]
fn a_death_at_any_effect_while_a_batch_lands_changes_nothing() {
    check("a batch lands");
}

#[test]
fn a_death_at_any_effect_while_a_change_bounces_changes_nothing() {
    check("a change bounces");
}

#[test]
fn a_death_between_move_and_record_with_a_push_on_top_changes_nothing() {
    check("a push between move and record");
}

#[test]
fn a_death_around_a_lost_race_for_the_target_changes_nothing() {
    check("a push before the move");
}

#[test]
fn a_death_at_any_effect_of_an_offer_loses_no_change() {
    check("changes are offered");
}

#[test]
fn a_death_at_any_effect_of_a_cancellation_changes_nothing() {
    check("a change is cancelled");
}

#[test]
fn a_death_while_a_verdict_is_taken_over_changes_nothing() {
    check("a verdict is taken over");
}

#[test]
fn a_death_while_branches_move_and_go_changes_nothing() {
    check("a branch moves and another goes");
}

#[test]
fn a_death_while_a_lost_database_is_rebuilt_loses_no_change() {
    check("a lost database is rebuilt");
}

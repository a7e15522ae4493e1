//! Random days: every rule is checked after every step, and at the end everything has come to its end.

use gantry_testkit::day::run_day;

/// Runs days from a seed on; `GANTRY_SEED` moves all of them.
#[track_caller]
fn check(first: u64, days: u64) {
    let moved: u64 = std::env::var("GANTRY_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0);
    let (mut changes, mut landed, mut deaths) = (0, 0, 0);
    for seed in moved + first..moved + first + days {
        let day = std::panic::catch_unwind(|| run_day(seed));
        let day = day.unwrap_or_else(|_| panic!("the day with seed {seed} broke a rule: see above"));
        changes += day.changes;
        landed += day.landed;
        deaths += day.deaths;
    }
    println!("{days} days: {landed} of {changes} landed, {deaths} deaths");
    assert!(landed * 3 > changes, "most of what can land does");
}

#[test]
fn random_days_break_no_rule_first_quarter() {
    check(0, 250);
}

#[test]
fn random_days_break_no_rule_second_quarter() {
    check(250, 250);
}

#[test]
fn random_days_break_no_rule_third_quarter() {
    check(500, 250);
}

#[test]
fn random_days_break_no_rule_last_quarter() {
    check(750, 250);
}

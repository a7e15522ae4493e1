//! Who goes when, as people steer it. The simulation walks the rest.

use serde_json::Value;

use crate::factory::{Factory, text};

fn one_at_a_time() -> Option<Factory> {
    let mut factory = Factory::with_gate(
        "[gate]\nbatch_max = 1\nslots = 1\n[[gate.check]]\nname = 'test'\nrun = 'sh ci.sh'\n",
    )?;
    for name in ["a", "b", "c", "d"] {
        factory.repo.branch(name, &[(name, "x\n")]);
    }
    factory.up();
    Some(factory)
}

/// The branches in the order they landed.
fn landed(factory: &Factory) -> Vec<String> {
    let events = factory.events();
    let ids = events
        .iter()
        .filter(|event| event["kind"] == "change.landed")
        .map(|event| text(&event["change"]));
    ids.map(|id| text(&factory.show(&id)["branch"])).collect()
}

#[test]
fn first_come_first_served_but_for_priorities() {
    let Some(factory) = one_at_a_time() else { return };
    factory.ask(&["queue", "freeze", "--reason", "until all are there"]);
    factory.offer_with("a", &["--priority", "low"]);
    factory.offer("b");
    let c = factory.offer("c");
    factory.offer("d");
    factory.ask(&["queue", "priority", &c, "high"]);
    let list = factory.ask(&["queue", "list"]);
    let order: Vec<_> = list["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| text(&c["branch"]))
        .collect();
    assert_eq!(order, ["c", "b", "d", "a"]);
    assert_eq!(list["frozen"]["author"], "tester");
    factory.ask(&["queue", "thaw"]);
    factory.landed(&[]);
    assert_eq!(landed(&factory), ["c", "b", "d", "a"]);
}

#[test]
fn a_freeze_below_a_priority_lets_the_others_land() {
    let Some(factory) = one_at_a_time() else { return };
    factory.ask(&["queue", "freeze", "--below", "high", "--reason", "release day"]);
    let a = factory.offer("a");
    let b = factory.offer_with("b", &["--priority", "urgent"]);
    factory.landed(&[&b]);
    let shown = factory.show(&a);
    assert_eq!(shown["reason"]["code"], "frozen");
    assert!(
        text(&shown["reason"]["text"]).contains("release day"),
        "{shown:#}"
    );
    assert_eq!(shown["eta"], Value::Null);
    factory.ask(&["queue", "thaw"]);
    factory.landed(&[&a]);
    let said = factory.refused(5, &["queue", "thaw"]);
    assert!(said.contains("not frozen"), "{said}");
}

#[test]
fn a_build_that_ends_during_a_freeze_is_not_wasted() {
    let Some(factory) = one_at_a_time() else { return };
    factory.repo.branch("slow", &[("wait", "slow")]);
    let slow = factory.offer("slow");
    factory.until_reason(&slow, "testing");
    factory.ask(&["queue", "freeze", "--reason", "hold on"]);
    factory.open("slow");
    crate::factory::wait_for("the build ends", || {
        factory.ask(&["build", "show", "B1"])["state"] == "passed"
    });
    assert_ne!(factory.state(&slow), "landed");
    factory.ask(&["queue", "thaw"]);
    factory.landed(&[&slow]);
    let builds = factory.ask(&["build", "list"]);
    assert_eq!(
        builds["builds"].as_array().expect("a list").len(),
        1,
        "it was tested once"
    );
}

#[test]
fn an_urgent_change_goes_first_even_while_another_is_tested() {
    let Some(factory) = one_at_a_time() else { return };
    factory.repo.branch("slow", &[("wait", "slow")]);
    let slow = factory.offer("slow");
    factory.until_reason(&slow, "testing");
    let urgent = factory.offer_with("a", &["--priority", "urgent"]);
    factory.landed(&[&urgent]);
    factory.open("slow");
    factory.landed(&[&slow]);
    assert_eq!(landed(&factory), ["a", "slow"]);
}

#[test]
fn what_comes_after_waits_and_circles_are_refused() {
    let Some(factory) = one_at_a_time() else { return };
    factory.repo.branch("slow", &[("wait", "slow")]);
    let slow = factory.offer("slow");
    let a = factory.offer_with("a", &["--after", &slow, "--priority", "urgent"]);
    let shown = factory.until_reason(&a, "after");
    assert_eq!(shown["waiting_on"][0], slow.as_str());
    let said = factory.refused(5, &["queue", "add", "slow", "--after", &a]);
    assert!(said.contains(&a) && said.contains(&slow), "{said}");
    factory.refused(4, &["queue", "add", "b", "--after", "C99"]);
    factory.open("slow");
    factory.landed(&[&a]);
    assert_eq!(landed(&factory), ["slow", "a"]);
}

#[test]
fn what_comes_after_a_cancelled_change_is_held_until_that_one_is_back() {
    let Some(factory) = one_at_a_time() else { return };
    factory.ask(&["queue", "freeze", "--reason", "r"]);
    let a = factory.offer("a");
    let b = factory.offer_with("b", &["--after", &a]);
    factory.ask(&["queue", "cancel", &a]);
    let shown = factory.until_reason(&b, "dependency_ended");
    assert!(text(&shown["reason"]["next_action"]).contains(&a), "{shown:#}");
    factory.refused(5, &["queue", "add", "c", "--after", &a]);
    factory.ask(&["queue", "cancel", &b]);
}

#[test]
fn held_changes_wait_for_their_release_and_say_why() {
    let Some(factory) = one_at_a_time() else { return };
    factory.ask(&["queue", "freeze", "--reason", "r"]);
    let a = factory.offer("a");
    let held = factory.ask(&["queue", "hold", &a, "--reason", "wait for the schema"]);
    assert_eq!(
        (&held["state"], &held["reason"]["code"]),
        (&"held".into(), &"held_by_hand".into())
    );
    assert_eq!(held["reason"]["text"], "wait for the schema");
    factory.ask(&["queue", "thaw"]);
    let b = factory.offer("b");
    factory.landed(&[&b]);
    assert_eq!(factory.state(&a), "held");
    factory.ask(&["queue", "release", &a]);
    factory.landed(&[&a]);
    for step in [
        vec!["queue", "cancel", &a],
        vec!["queue", "release", &a],
        vec!["queue", "hold", &a, "--reason", "x"],
        vec!["queue", "priority", &a, "low"],
    ] {
        let said = factory.refused(5, &step);
        assert!(said.contains("landed"), "{said}");
    }
}

#[test]
fn a_cancelled_change_ends_its_build_and_never_lands() {
    let Some(factory) = one_at_a_time() else { return };
    factory.repo.branch("slow", &[("wait", "never")]);
    let slow = factory.offer("slow");
    factory.until_reason(&slow, "testing");
    let cancelled = factory.ask(&["queue", "cancel", &slow]);
    assert_eq!(cancelled["state"], "cancelled");
    crate::factory::wait_for("its build ends", || {
        factory.ask(&["build", "show", "B1"])["state"] == "cancelled"
    });
    let a = factory.offer("a");
    factory.landed(&[&a]);
    assert!(!factory.repo.has("main", "wait"));
    let again = factory.offer("slow");
    assert_ne!(again, slow);
    factory.ask(&["queue", "cancel", &again]);
}

#[test]
fn a_change_of_the_gate_lands_alone_and_is_judged_by_the_old_gate() {
    let Some(factory) = one_at_a_time() else { return };
    let lax = "[[gate.check]]\nname = 'nothing'\nrun = 'true'\n";
    factory
        .repo
        .branch("lax", &[(".gantry.toml", lax), ("bad-one", "x\n")]);
    let change = factory.offer("lax");
    assert_eq!(factory.decided(&[&change]), 1);
    let shown = factory.show(&change);
    assert_eq!(shown["reason"]["code"], "check_failed", "{shown:#}");
    assert_eq!(shown["builds"][0]["members"].as_array().expect("a list").len(), 1);
}

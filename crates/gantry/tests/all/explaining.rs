//! One cause, one action; and every ending is told at once.

use crate::factory::{Factory, text};

/// Milliseconds between two instants as the program writes them.
fn between(from: &serde_json::Value, to: &serde_json::Value) -> i64 {
    let at = |value: &serde_json::Value| {
        text(value)
            .parse::<jiff::Timestamp>()
            .expect("an instant")
            .as_millisecond()
    };
    at(to) - at(from)
}

#[test]
fn each_waiting_change_has_one_cause_and_one_action() {
    let Some(mut factory) = Factory::with_gate(
        "[gate]\nslots = 1\nbatch_max = 1\n[[gate.check]]\nname = 'test'\nrun = 'sh ci.sh'\n",
    ) else {
        return;
    };
    factory
        .repo
        .branch("slow", &[("wait", "slow"), ("README", "mine\n")]);
    factory.repo.branch("rival", &[("README", "theirs\n")]);
    factory.repo.branch("next", &[("next", "n\n")]);
    factory.repo.branch("later", &[("later", "n\n")]);
    factory.up();
    let slow = factory.offer("slow");
    let next = factory.offer("next");
    let later = factory.offer_with("later", &["--after", &next]);
    let held = factory.offer("rival");
    factory.ask(&["queue", "hold", &held, "--reason", "not yet"]);
    factory.until_reason(&slow, "testing");
    for (change, code) in [
        (&slow, "testing"),
        (&next, "turn"),
        (&later, "after"),
        (&held, "held_by_hand"),
    ] {
        let reason = factory.until_reason(change, code)["reason"].clone();
        assert!(
            !text(&reason["text"]).is_empty() && !text(&reason["next_action"]).is_empty(),
            "{reason}"
        );
    }
    let eta = factory.show(&next)["eta"].clone();
    assert!(between(&eta["low"], &eta["expected"]) >= 0 && between(&eta["expected"], &eta["high"]) >= 0);
    let dock = factory.ask(&["dock"]);
    let pair = &dock["overlaps"][0];
    assert_eq!(
        (&pair["first"], &pair["second"], &pair["conflict"]),
        (&slow.as_str().into(), &held.as_str().into(), &true.into())
    );
    factory.open("slow");
    factory.landed(&[&slow, &next, &later]);
    factory.ask(&["queue", "release", &held]);
    let shown = factory.until_reason(&held, "conflict");
    assert!(
        text(&shown["reason"]["next_action"]).contains("rebase rival"),
        "{shown:#}"
    );
}

#[test]
fn an_ending_is_an_event_within_a_second_with_the_check_and_its_lines() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("bad", &[("bad-x", "x\n")]);
    factory.repo.branch("good", &[("good", "x\n")]);
    let bad = factory.offer("bad");
    let good = factory.offer("good");
    factory.decided(&[&bad, &good]);
    let ended = |change: &str, kind: &str| {
        let events = factory.ask(&["events", "--change", change]);
        let event = events["events"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|e| e["kind"] == kind)
            .cloned();
        event.unwrap_or_else(|| panic!("no {kind}: {events:#}"))
    };
    let bounced = ended(&bad, "change.bounced");
    assert!(text(&bounced["text"]).contains("\"test\""), "{bounced}");
    assert!(
        bounced["evidence"].to_string().contains("error: bad-x is bad"),
        "{bounced}"
    );
    let landed = ended(&good, "change.landed");
    for (event, change) in [(&bounced, &bad), (&landed, &good)] {
        let shown = factory.show(change);
        let build = shown["builds"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|b| b["id"] == event["build"])
            .expect("its build")
            .clone();
        let late = between(&build["ended_at"], &event["at"]);
        assert!((0..1_000).contains(&late), "told {late} ms after the build ended");
    }
    let reason = factory.show(&bad)["reason"].clone();
    assert!(
        text(&reason["next_action"]).contains("gantry build log"),
        "{reason}"
    );
    let people = factory.run(&["queue", "show", &bad]);
    assert!(people.out.contains("| error: bad-x is bad"), "{people:?}");
}

#[test]
fn two_that_fail_only_together_are_told_of_each_other() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("left", &[("left", "l\n")]);
    factory.repo.branch("right", &[("right", "r\n")]);
    factory.ask(&["queue", "freeze", "--reason", "until both are there"]);
    let left = factory.offer("left");
    let right = factory.offer("right");
    factory.ask(&["queue", "thaw"]);
    factory.decided(&[&left, &right]);
    assert_eq!(factory.state(&left), "landed");
    // Which of those that landed it fails with is looked for after it was sent back.
    let shown = factory.until_reason(&right, "fails_together");
    assert!(text(&shown["reason"]["text"]).contains(&left));
}

#[test]
fn a_check_that_hangs_is_ended_and_says_so() {
    let gate =
        "[[gate.check]]\nname = 'slow-check'\nrun = 'if [ -e hang ]; then sleep 1000; fi'\ntimeout = '1s'\n";
    let Some(mut factory) = Factory::with_gate(gate) else {
        return;
    };
    factory.repo.branch("hangs", &[("hang", "h\n")]);
    factory.repo.branch("good", &[("g", "g\n")]);
    factory.up();
    let hangs = factory.offer("hangs");
    let good = factory.offer("good");
    factory.decided(&[&hangs, &good]);
    let shown = factory.show(&hangs);
    assert_eq!(shown["reason"]["code"], "timed_out", "{shown:#}");
    assert!(text(&shown["reason"]["text"]).contains("slow-check"), "{shown:#}");
    assert_eq!(factory.state(&good), "landed");
}

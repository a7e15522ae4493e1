//! The daemon killed at random moments, and what is true afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::factory::{Factory, text};

const GATE: &str =
    "[gate]\nslots = 2\nbatch_max = 4\n\n[[gate.check]]\nname = \"test\"\nrun = \"sleep 0.1; sh ci.sh\"\n";

/// Ten changes: some good, two bad, two that conflict, two that fail together, two stacked.
fn offer_backlog(factory: &Factory) {
    let repo = &factory.repo;
    for (name, file, content) in [
        ("good-1", "one", "1\n"),
        ("bad-1", "bad-a", "x\n"),
        ("left", "left", "x\n"),
        ("good-2", "two", "2\n"),
        ("right", "right", "x\n"),
        ("text-1", "README", "mine\n"),
        ("text-2", "README", "theirs\n"),
        ("bad-2", "bad-b", "x\n"),
    ] {
        repo.branch(name, &[(file, content)]);
        factory.offer(name);
    }
    repo.branch("low", &[("low", "l\n")]);
    repo.branch_off("low", "high", &[("high", "h\n")]);
    let low = factory.offer("low");
    factory.offer_with("high", &["--after", &low]);
}

/// What became of each branch, and what the target holds.
fn end_state(factory: &Factory) -> (BTreeMap<String, String>, String) {
    let list = factory.ask(&["queue", "list", "--all"]);
    let ends = list["changes"].as_array().expect("a list").iter();
    let ends = ends.map(|c| {
        // Whether the second of a pair was ever seen to pass alone depends on when the first landed.
        let code = text(&c["reason"]["code"]).replace("fails_together", "check_failed");
        (text(&c["branch"]), format!("{} {code}", text(&c["state"])))
    });
    (ends.collect(), factory.repo.rev("main^{tree}"))
}

fn check_soundness(factory: &mut Factory) {
    factory.proven();
    let subjects = factory.repo.git(&["log", "--format=%s", "main"]);
    let mut seen: Vec<&str> = subjects.lines().collect();
    seen.sort_unstable();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count, "landed twice: {subjects}");
    let mut landed: Vec<String> = factory
        .events()
        .iter()
        .filter(|event| event["kind"] == "change.landed")
        .map(|event| text(&event["change"]))
        .collect();
    let count = landed.len();
    landed.sort();
    landed.dedup();
    assert_eq!(landed.len(), count, "told twice");
    // It reads refs one by one: nobody may move them meanwhile.
    factory.down();
    factory.repo.git(&["fsck", "--strict", "--no-dangling"]);
}

/// A small generator: the same kills for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn drain_with_kills(seed: u64, kills: u32) {
    let Some(mut calm) = Factory::with_gate(GATE) else {
        return;
    };
    calm.up();
    offer_backlog(&calm);
    calm.decided(&[]);
    let expected = end_state(&calm);
    check_soundness(&mut calm);
    drop(calm);

    let Some(mut factory) = Factory::with_gate(GATE) else {
        return;
    };
    eprintln!("seed {seed}");
    let mut random = Random(seed);
    factory.up();
    offer_backlog(&factory);
    for _ in 0..kills {
        factory.kill();
        factory.spawn(&[]);
        // The moment itself is what is random: there is no condition to wait for.
        std::thread::sleep(Duration::from_millis(5 + random.below(450)));
    }
    factory.kill();
    factory.up_with(&[]);
    factory.decided(&[]);
    assert_eq!(end_state(&factory), expected, "seed {seed}\n{}", factory.log());
    check_soundness(&mut factory);
}

#[test]
fn fifteen_kills_at_random_moments_change_nothing() {
    drain_with_kills(0x9e37_79b9_7f4a_7c15, 15);
}

#[test]
fn fifteen_other_kills_at_random_moments_change_nothing() {
    drain_with_kills(0xd1b5_4a32_d192_ed03, 15);
}

#[test]
fn a_deleted_database_is_made_anew_from_the_refs() {
    let Some(mut factory) = Factory::running() else {
        return;
    };
    let repo = &factory.repo;
    repo.branch("landed", &[("a", "a\n")]);
    repo.branch("bounced", &[("bad-x", "x\n")]);
    repo.branch("held", &[("h", "h\n")]);
    repo.branch("taken-out", &[("t", "t\n")]);
    repo.branch("waiting", &[("w", "w\n")]);
    factory.offer_with("landed", &["--title", "A title", "--author", "Somebody"]);
    factory.offer("bounced");
    factory.decided(&[]);
    factory.ask(&["queue", "freeze", "--reason", "r"]);
    let held = factory.offer_with("held", &["--priority", "high", "--solo"]);
    factory.ask(&["queue", "hold", &held, "--reason", "until monday"]);
    let out = factory.offer("taken-out");
    factory.ask(&["queue", "cancel", &out]);
    factory.offer_with("waiting", &["--after", &held]);
    let fields = |factory: &Factory| -> Vec<_> {
        let list = factory.ask(&["queue", "list", "--all"]);
        let mut rows = Vec::new();
        for change in list["changes"].as_array().expect("a list") {
            let id = text(&change["id"]);
            let mut shown = factory.show(&id);
            let row = shown.as_object_mut().expect("an object");
            // The freeze, the order it makes and what ran are not in the refs.
            for field in ["builds", "since", "eta", "position", "waiting_on", "reason"] {
                row.remove(field);
            }
            rows.push(serde_json::to_string_pretty(&shown).expect("it is JSON"));
        }
        rows
    };
    let before = fields(&factory);
    factory.kill();
    for name in ["gantry.db", "gantry.db-wal", "gantry.db-shm"] {
        // The last two are there only while somebody writes.
        drop(std::fs::remove_file(factory.data().join(name)));
    }
    factory.up();
    assert_eq!(
        factory.run(&["queue", "wait", "C5", "--timeout", "1s"]).code,
        6,
        "it waits for what is held"
    );
    for (after, before) in fields(&factory).iter().zip(&before) {
        assert!(after == before, "{after}\nwas\n{before}");
    }
    assert!(
        factory
            .events()
            .iter()
            .any(|event| event["kind"] == "store.rebuilt")
    );
    factory.ask(&["queue", "release", &held]);
    factory.decided(&["C5"]);
    factory.repo.branch("new", &[("n", "n\n")]);
    assert_eq!(factory.offer("new"), "C6", "numbers are never used twice");
    factory.landed(&["C6"]);
    check_soundness(&mut factory);
}

#[test]
fn a_person_moving_main_while_the_daemon_is_dead_is_seen_at_the_start() {
    let Some(mut factory) = Factory::running() else {
        return;
    };
    factory.repo.branch("one", &[("1", "1\n")]);
    factory.repo.branch("two", &[("wait", "two")]);
    let one = factory.offer("one");
    factory.landed(&[&one]);
    let two = factory.offer("two");
    factory.until_reason(&two, "testing");
    factory.kill();
    factory.repo.push_to_main(&[("pushed", "p\n")]);
    factory.open("two");
    factory.up_with(&[]);
    factory.landed(&[&two]);
    assert!(
        factory
            .events()
            .iter()
            .any(|event| event["kind"] == "target.pushed")
    );
    check_soundness(&mut factory);
}

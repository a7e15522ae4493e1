//! Builds are processes of their own (docs/design/0004-jobs.md): what becomes of them when the daemon, they themselves
//! or the database end.

use std::process::Command;

use serde_json::Value;

use crate::factory::{Factory, leftovers, text, wait_for};

/// A factory whose first change waits in its check until the valve `slow` is opened; returns the change.
fn testing() -> Option<(Factory, String)> {
    let factory = Factory::running()?;
    factory.repo.branch("slow", &[("wait", "slow")]);
    let slow = factory.offer("slow");
    factory.until_reason(&slow, "testing");
    wait_for("the check runs", || check_runs(&factory, "B1") == 1);
    Some((factory, slow))
}

/// Every build with its state, the newest first.
fn builds(factory: &Factory) -> Vec<(String, String)> {
    let list = factory.ask(&["build", "list", "--all"]);
    let rows = list["builds"].as_array().expect("a list").iter();
    rows.map(|build| (text(&build["id"]), text(&build["state"])))
        .collect()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(id, state)| ((*id).to_owned(), (*state).to_owned()))
        .collect()
}

/// How often the check of a build has begun, by its log.
fn check_runs(factory: &Factory, build: &str) -> usize {
    let path = factory.data().join("builds").join(build).join("test.log");
    let log = std::fs::read_to_string(path).unwrap_or_default();
    log.lines().filter(|line| line.starts_with("testing ")).count()
}

/// The process of a build, if it lives.
fn process(factory: &Factory, build: &str) -> Option<String> {
    let folder = factory.data().join("builds").join(build);
    let id = std::fs::read_to_string(folder.join("lock"))
        .ok()?
        .trim()
        .to_owned();
    let words = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&words).into_owned();
    (words.contains("__job") && words.contains(folder.to_str().expect("UTF-8"))).then_some(id)
}

fn kill_build(factory: &Factory, build: &str) {
    let id = process(factory, build).expect("it lives");
    let sent = Command::new("kill")
        .args(["-KILL", &id])
        .status()
        .expect("kill starts");
    assert!(sent.success());
}

fn delete_database(factory: &Factory) {
    for name in ["gantry.db", "gantry.db-wal", "gantry.db-shm"] {
        // The last two are there only while somebody writes.
        drop(std::fs::remove_file(factory.data().join(name)));
    }
}

fn shut(factory: &Factory, valve: &str) {
    std::fs::remove_file(factory.folder.path().join(format!("valves/open-{valve}"))).expect("it was open");
}

fn nobody_is_blamed(factory: &Factory, change: &str) {
    for event in factory.events() {
        let kind = text(&event["kind"]);
        assert!(
            kind != "change.bounced" && kind != "change.held",
            "{change} was blamed: {event:#}"
        );
    }
}

#[test]
fn a_build_goes_on_without_its_daemon_and_is_found_again() {
    let Some((mut factory, slow)) = testing() else {
        return;
    };
    let before = process(&factory, "B1").expect("it lives");
    for _ in 0..2 {
        factory.kill();
        assert_eq!(
            process(&factory, "B1").as_ref(),
            Some(&before),
            "the same process"
        );
        factory.up_with(&[]);
        factory.until_reason(&slow, "testing");
        assert_eq!(builds(&factory), pairs(&[("B1", "running")]));
    }
    factory.open("slow");
    factory.landed(&[&slow]);
    assert_eq!(builds(&factory), pairs(&[("B1", "passed")]));
    assert_eq!(check_runs(&factory, "B1"), 1, "what ran is not thrown away");
    assert_eq!(text(&factory.show(&slow)["landed"]["build"]), "B1");
    factory.proven();
}

#[test]
fn a_build_is_found_again_by_a_daemon_that_was_killed_while_it_started() {
    let Some((mut factory, slow)) = testing() else {
        return;
    };
    for _ in 0..5 {
        factory.kill();
        factory.spawn(&[]);
    }
    factory.kill();
    factory.up_with(&[]);
    factory.open("slow");
    factory.landed(&[&slow]);
    assert_eq!(builds(&factory), pairs(&[("B1", "passed")]));
    assert_eq!(check_runs(&factory, "B1"), 1);
}

#[test]
fn a_build_that_ends_while_no_daemon_lives_counts_for_the_next_one() {
    for (file, state) in [("good", "landed"), ("bad-late", "bounced")] {
        let Some(mut factory) = Factory::running() else {
            return;
        };
        // A second check decides, after the first was let go.
        let gate = "[gate]\n[[gate.check]]\nname = \"first\"\nrun = \"gantry-valve slow\"\n\
            [[gate.check]]\nname = \"test\"\nrun = \"sh ci.sh\"\n";
        factory.repo.push_to_main(&[(".gantry.toml", gate)]);
        factory.repo.branch("slow", &[(file, "1\n")]);
        let slow = factory.offer("slow");
        factory.until_reason(&slow, "testing");
        wait_for("the build lives", || process(&factory, "B1").is_some());
        factory.kill();
        factory.open("slow");
        wait_for("the build has ended", || {
            leftovers(factory.folder.path()).is_empty()
        });
        assert_eq!(check_runs(&factory, "B1"), 1);
        factory.up_with(&[]);
        factory.decided(&[&slow]);
        assert_eq!(factory.state(&slow), state);
        let verdict = if state == "landed" { "passed" } else { "failed" };
        let first = builds(&factory).pop().expect("a build");
        assert_eq!(first, ("B1".into(), verdict.into()), "what it reported counts");
        if state == "landed" {
            assert_eq!(builds(&factory).len(), 1, "its report was enough");
        }
    }
}

#[test]
fn a_build_whose_process_is_killed_is_tried_again_and_nobody_is_blamed() {
    let Some((factory, slow)) = testing() else { return };
    kill_build(&factory, "B1");
    wait_for("it is tried again", || check_runs(&factory, "B2") == 1);
    factory.open("slow");
    factory.landed(&[&slow]);
    assert_eq!(
        builds(&factory),
        pairs(&[("B2", "passed"), ("B1", "interrupted")])
    );
    nobody_is_blamed(&factory, &slow);
    let shown = factory.ask(&["build", "show", "B1"]);
    assert_eq!(
        shown["checks"],
        serde_json::json!([]),
        "no check is named: it was none of them"
    );
}

#[test]
fn a_build_that_is_killed_with_its_daemon_is_tried_again_by_the_next() {
    let Some((mut factory, slow)) = testing() else {
        return;
    };
    factory.kill();
    kill_build(&factory, "B1");
    wait_for("its boxes die with it", || {
        leftovers(factory.folder.path()).is_empty()
    });
    factory.up_with(&[]);
    factory.open("slow");
    factory.landed(&[&slow]);
    assert_eq!(
        builds(&factory),
        pairs(&[("B2", "passed"), ("B1", "interrupted")])
    );
    nobody_is_blamed(&factory, &slow);
}

#[test]
fn going_down_ends_builds_and_coming_up_begins_them_again() {
    let Some((mut factory, slow)) = testing() else {
        return;
    };
    factory.down();
    assert_eq!(
        leftovers(factory.folder.path()),
        Vec::<String>::new(),
        "down is quiet"
    );
    assert_eq!(factory.boxes_left(), Vec::<String>::new());
    factory.up_with(&[]);
    factory.until_reason(&slow, "testing");
    factory.open("slow");
    factory.landed(&[&slow]);
    nobody_is_blamed(&factory, &slow);
    let states: Vec<String> = builds(&factory).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states.first().map(String::as_str), Some("passed"));
    assert_eq!(
        states.iter().filter(|state| *state == "passed").count(),
        1,
        "{states:?}"
    );
}

#[test]
fn a_build_that_no_database_knows_is_told_to_end() {
    let Some((mut factory, slow)) = testing() else {
        return;
    };
    let old = process(&factory, "B1").expect("it lives");
    factory.kill();
    delete_database(&factory);
    factory.up();
    wait_for("the old build is gone", || {
        process(&factory, "B1").as_ref() != Some(&old)
            && !std::path::Path::new(&format!("/proc/{old}")).exists()
    });
    factory.until_reason(&slow, "testing");
    factory.open("slow");
    factory.landed(&[&slow]);
    let rows = builds(&factory);
    assert_eq!(
        rows.iter().filter(|(_, state)| state == "passed").count(),
        1,
        "{rows:?}"
    );
    factory.proven();
}

#[test]
fn the_report_of_a_build_that_no_database_knows_is_not_believed() {
    let Some((mut factory, slow)) = testing() else {
        return;
    };
    let old = process(&factory, "B1").expect("it lives");
    factory.kill();
    factory.open("slow");
    wait_for("the build has passed", || {
        leftovers(factory.folder.path()).is_empty()
    });
    assert!(factory.data().join("builds/B1/report.json").exists());
    delete_database(&factory);
    shut(&factory, "slow");
    factory.up();
    let shown = factory.until_reason(&slow, "testing");
    assert_eq!(shown["landed"], Value::Null);
    wait_for("a new check runs", || {
        let rows = builds(&factory);
        rows.iter().any(|(id, state)| {
            state == "running"
                && process(&factory, id).is_some_and(|new| new != old)
                && check_runs(&factory, id) == 1
        })
    });
    factory.open("slow");
    factory.landed(&[&slow]);
    factory.proven();
}

#[test]
fn a_cancelled_changes_build_ends_with_it() {
    let Some((factory, slow)) = testing() else { return };
    let old = process(&factory, "B1").expect("it lives");
    factory.ask(&["queue", "cancel", &slow]);
    wait_for("its build ends", || {
        !std::path::Path::new(&format!("/proc/{old}")).exists()
    });
    assert_eq!(factory.state(&slow), "cancelled");
    assert_eq!(factory.boxes_left(), Vec::<String>::new());
}

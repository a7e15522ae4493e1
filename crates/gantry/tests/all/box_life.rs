//! A box after its start: kept, followed, stopped, killed, pruned.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::boxes::{nothing_is_left, receipt, run, signal, start, state, words};
use crate::factory::{Factory, leftovers, text, wait_for};
use crate::repo::Repo;

#[test]
fn a_box_that_fails_can_be_kept_looked_at_mended_and_tried_again() {
    let Some(factory) = Factory::new() else { return };
    let ran = run(&factory, &["--keep-on-failure"], "echo try; test -e mended");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("gantry box retry box-1"), "{ran:?}");
    assert_eq!(state(&factory, "box-1"), ("kept".into(), "exited 1".into()));
    let seen = factory.run(&["box", "exec", "box-1", "--", "sh", "-c", "ls README; exit 5"]);
    assert_eq!((seen.code, seen.out.as_str()), (5, "README\n"), "{seen:?}");
    let elsewhere = factory.run(&[
        "box",
        "exec",
        "box-1",
        "--directory",
        "/tmp",
        "--json",
        "--",
        "pwd",
    ]);
    assert_eq!(elsewhere.json()["output"], "/tmp\n");
    // A try that fails again keeps it again.
    factory.ask(&["box", "retry", "box-1"]);
    wait_for("it is kept again", || {
        let log = factory.run(&["box", "list"]).out;
        let tries = std::fs::read_to_string(factory.data().join("runs/box-1/log")).unwrap_or_default();
        log.contains("kept") && tries == "try\ntry\n"
    });
    assert_eq!(
        factory
            .run(&["box", "exec", "box-1", "--", "touch", "mended"])
            .code,
        0
    );
    factory.ask(&["box", "retry", "box-1"]);
    wait_for("it has ended", || state(&factory, "box-1").0 == "ended");
    assert_eq!(state(&factory, "box-1"), ("ended".into(), "exited 0".into()));
    assert_eq!(factory.run(&["box", "log", "box-1"]).out, "try\ntry\ntry\n");
    for words in [
        vec!["box", "exec", "box-1", "--", "true"],
        vec!["box", "retry", "box-1"],
        vec!["box", "freeze", "box-1"],
        vec!["box", "shell", "box-1"],
        vec!["box", "stop", "box-1"],
    ] {
        let said = factory.refused(5, &words);
        assert!(said.contains("has ended"), "{said}");
    }
    nothing_is_left(&factory);
}

#[test]
fn a_kept_box_is_ended_by_stop_and_a_passing_one_is_not_kept() {
    let Some(factory) = Factory::new() else { return };
    assert_eq!(run(&factory, &["--keep-on-failure"], "true").code, 0);
    assert_eq!(state(&factory, "box-1").0, "ended");
    assert_eq!(run(&factory, &["--keep-on-failure"], "exit 7").code, 1);
    factory.ask(&["box", "stop", "box-2"]);
    assert_eq!(state(&factory, "box-2"), ("ended".into(), "exited 7".into()));
    nothing_is_left(&factory);
}

#[test]
fn a_detached_box_goes_on_and_is_followed_and_stopped() {
    let Some(factory) = Factory::new() else { return };
    let script = "echo one; gantry-valve go; echo two; gantry-valve never";
    let refused = run(&factory, &["--detach", "--profile", "none"], script);
    assert_eq!((refused.code, refused.out.as_str()), (125, ""), "{refused:?}");
    factory.ask(&["box", "prune"]);
    let begun = run(&factory, &["--detach"], script);
    assert_eq!((begun.code, begun.out.as_str()), (0, "box-1\n"), "{begun:?}");
    let mut follower = factory
        .command(&["box", "log", "box-1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().map(|line| line.expect("UTF-8"));
    assert_eq!(next().as_deref(), Some("one"));
    assert_eq!(state(&factory, "box-1").0, "running");
    factory.open("go");
    assert_eq!(next().as_deref(), Some("two"));
    // Frozen it does nothing, and it can be thawed and stopped from that.
    factory.ask(&["box", "freeze", "box-1"]);
    factory.ask(&["box", "freeze", "--thaw", "box-1"]);
    factory.refused(5, &["box", "retry", "box-1"]);
    factory.ask(&["box", "stop", "box-1"]);
    assert_eq!(next(), None, "the end of the box ends the log");
    assert!(follower.wait().expect("reaped").success());
    assert_eq!(state(&factory, "box-1"), ("ended".into(), "cancelled".into()));
    nothing_is_left(&factory);
}

#[test]
fn an_interrupt_ends_the_box_with_the_program() {
    let Some(factory) = Factory::new() else { return };
    for word in ["-INT", "-KILL"] {
        let (mut child, out) = start(&factory, &[], "(setsid gantry-valve never &); gantry-valve never");
        signal(word, child.id().into());
        child.wait().expect("reaped");
        drop(out);
        nothing_is_left(&factory);
    }
    for name in ["box-1", "box-2"] {
        assert_eq!(state(&factory, name), ("ended".into(), "cancelled".into()));
        assert_eq!(receipt(&factory, name)["ending"], "cancelled");
    }
}

#[test]
fn a_box_whose_process_is_killed_is_gone_and_said_to_be_lost() {
    let Some(factory) = Factory::new() else { return };
    let (mut child, out) = start(&factory, &[], "(setsid gantry-valve never &); gantry-valve never");
    let process = factory.ask(&["box", "show", "box-1"])["process"]
        .as_u64()
        .expect("a process");
    signal("-KILL", process);
    let status = child.wait().expect("reaped");
    assert_ne!(status.code(), Some(0), "no verdict is no success");
    drop(out);
    wait_for("its processes are gone", || {
        leftovers(factory.folder.path()).is_empty()
    });
    assert_eq!(state(&factory, "box-1").0, "lost");
    factory.refused(4, &["box", "receipt", "box-1"]);
    // What it left on the disk is cleared by the next one who looks.
    factory.ask(&["box", "prune"]);
    nothing_is_left(&factory);
}

#[test]
fn prune_removes_what_has_ended_and_nothing_that_lives() {
    let Some(factory) = Factory::new() else { return };
    run(&factory, &["--detach"], "gantry-valve never");
    for _ in 0..3 {
        run(&factory, &[], "true");
    }
    let names = || -> Vec<String> {
        let listed = factory.ask(&["box", "list"]);
        let rows = listed["boxes"].as_array().expect("a list");
        rows.iter().map(|row| text(&row["box"])).collect()
    };
    assert_eq!(names(), ["box-1", "box-2", "box-3", "box-4"]);
    assert_eq!(factory.ask(&["box", "prune", "--keep", "1"])["removed"], 2);
    assert_eq!(names(), ["box-1", "box-4"]);
    factory.ask(&["box", "prune"]);
    assert_eq!(names(), ["box-1"], "one that lives is never removed");
    factory.ask(&["box", "stop", "box-1"]);
    assert_eq!(factory.ask(&["box", "prune"])["removed"], 1);
    assert_eq!(names(), [""; 0]);
    assert_eq!(factory.run(&["box", "list"]).out, "no boxes\n");
}

#[test]
fn boxes_that_start_at_once_have_names_of_their_own() {
    let factory = Factory::without_boxes(Repo::work_tree);
    // No box is made: the profile is not there, which each says in a folder of its own.
    let children: Vec<_> = (0..12)
        .map(|_| {
            factory
                .command(&words(&factory, &["--profile", "none", "--json"], &["true"]))
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts")
        })
        .collect();
    let mut names: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("it ends");
            assert_eq!(output.status.code(), Some(125));
            text(&serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["box"])
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 12);
}

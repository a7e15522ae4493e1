//! `gantry box …` as people use it: what a box says by its exit code, what it sees and leaves, and what is left of it
//! when the program, the box's process or a person ends it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::factory::{Factory, Ran, leftovers, text, wait_for};
use crate::repo::Repo;

/// The words of `box run` on the factory's repository.
fn words<'a>(factory: &'a Factory, options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let repo = factory.repo.path.to_str().expect("UTF-8");
    [&["box", "run", "--repo", repo], options, &["--"], command].concat()
}

/// Runs a script in a box on the factory's repository.
fn run(factory: &Factory, options: &[&str], script: &str) -> Ran {
    factory.run(&words(factory, options, &["sh", "-c", script]))
}

/// Starts one in the background and waits until it has printed `ready`.
fn start(
    factory: &Factory,
    options: &[&str],
    script: &str,
) -> (Child, BufReader<impl std::io::Read + use<>>) {
    let script = format!("echo ready; {script}");
    let mut child = factory
        .command(&words(factory, options, &["sh", "-c", &script]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("readable");
    assert_eq!(line, "ready\n");
    (child, out)
}

fn receipt(factory: &Factory, name: &str) -> Value {
    factory.ask(&["box", "receipt", name])["receipts"][0].clone()
}

fn state(factory: &Factory, name: &str) -> (String, String) {
    let shown = factory.ask(&["box", "show", name]);
    (text(&shown["state"]), text(&shown["ending"]))
}

fn signal(word: &str, process: u64) {
    let sent = Command::new("kill")
        .args([word, &process.to_string()])
        .status()
        .expect("kill starts");
    assert!(sent.success(), "kill {word} {process}");
}

fn nothing_is_left(factory: &Factory) {
    wait_for("no process and no mount of the box is left", || {
        leftovers(factory.folder.path()).is_empty()
    });
    assert_eq!(factory.boxes_left(), Vec::<String>::new());
}

fn write_factory_file(factory: &Factory, content: &str) {
    std::fs::create_dir_all(factory.data()).expect("a folder");
    std::fs::write(factory.data().join("gantry.toml"), content).expect("written");
}

#[test]
fn the_exit_code_of_a_box_is_its_commands() {
    let Some(factory) = Factory::new() else { return };
    let endings = [
        (vec!["true"], 0, "exited 0"),
        (vec!["sh", "-c", "exit 3"], 3, "exited 3"),
        (vec!["no-such-program"], 127, "exited 127"),
        (vec!["./README"], 127, "exited 127"),
        (vec!["sh", "-c", "kill -TERM $$"], 143, "signalled 15"),
    ];
    for (index, (command, code, ending)) in endings.iter().enumerate() {
        let ran = factory.run(&words(&factory, &[], command));
        assert_eq!(ran.code, *code, "{command:?}: {ran:?}");
        assert_eq!(ran.err.is_empty(), *code == 0, "a failure is said once: {ran:?}");
        let name = format!("box-{}", index + 1);
        assert_eq!(state(&factory, &name), ("ended".into(), (*ending).into()));
    }
    let with_json =
        factory.run(&[&words(&factory, &["--json"], &["sh", "-c", "echo out; exit 3"])[..]].concat());
    assert_eq!(with_json.code, 3);
    let said = with_json.json();
    assert_eq!(
        (&said["ending"], &said["exit_code"]),
        (&"exited 3".into(), &3.into()),
        "one document, without the box's output"
    );
    nothing_is_left(&factory);
}

#[test]
fn a_box_that_runs_out_of_time_is_ended_with_all_it_started() {
    let Some(factory) = Factory::new() else { return };
    let ran = run(
        &factory,
        &["--timeout", "1s"],
        "echo before; (setsid gantry-valve never &) ; trap '' TERM; gantry-valve never",
    );
    assert_eq!(ran.code, 124, "{ran:?}");
    assert_eq!(ran.out, "before\n");
    assert_eq!(state(&factory, "box-1"), ("ended".into(), "timed_out".into()));
    nothing_is_left(&factory);
}

#[test]
fn a_box_that_needs_more_memory_than_it_may_have_is_ended() {
    let Some(factory) = Factory::new() else { return };
    // `tail` keeps a line that never ends.
    let ran = run(&factory, &["--memory", "64MiB"], "head -c 512M /dev/zero | tail");
    if ran.code == 125 {
        // Where no group can be made the limit is refused, which has to be said.
        assert!(ran.err.contains("memory"), "{ran:?}");
        return;
    }
    assert_eq!(ran.code, 137, "{ran:?}");
    let kept = receipt(&factory, "box-1");
    assert_eq!(kept["ending"], "out_of_memory");
    let limits = kept["limits"].to_string();
    assert!(limits.contains("memory"), "{limits}");
    let peak = kept["usage"]["memory_peak_bytes"].as_u64().expect("a number");
    assert!(peak <= 64 << 20, "{peak}");
}

#[test]
fn a_box_that_cannot_be_made_says_why_and_what_is_there() {
    let Some(factory) = Factory::new() else { return };
    write_factory_file(&factory, "[profile.tests]\nmemory = \"1GiB\"\n");
    for (options, words) in [
        (vec!["--profile", "test"], vec!["\"test\"", "\"tests\""]),
        (vec!["--image", "no-such-image"], vec!["no-such-image"]),
        (vec!["--engine", "dcoker"], vec!["dcoker"]),
        (vec!["--user", "nobody"], vec!["nobody"]),
        (vec!["--memory", "lots"], vec!["lots"]),
        (vec!["--network", "example.org"], vec!["example.org"]),
    ] {
        let ran = run(&factory, &options, "echo it ran");
        assert_eq!(ran.code, 125, "{options:?}: {ran:?}");
        assert_eq!(ran.out, "", "{ran:?}");
        for word in words {
            assert!(ran.err.contains(word), "{options:?}: {ran:?}");
        }
    }
    let ending = text(&receipt(&factory, "box-1")["ending"]);
    assert!(ending.starts_with("trouble could_not_start"), "{ending}");
    // What the command line itself gets wrong makes no box at all.
    let before = factory.ask(&["box", "list"])["boxes"]
        .as_array()
        .expect("a list")
        .len();
    for options in [
        vec!["--timeout", "soon"],
        vec!["--timeout", "0s"],
        vec!["-e", "=x"],
        vec!["-e", "NOT_SET_ANYWHERE"],
        vec!["--empty", "--commit", "main"],
    ] {
        let ran = run(&factory, &options, "true");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{options:?}: {ran:?}");
    }
    assert_eq!(run(&factory, &["--commit", "no-such"], "true").code, 4);
    let outside = factory.refused(4, &["box", "run", "--", "true"]);
    assert!(outside.contains("--empty"), "{outside}");
    let after = factory.ask(&["box", "list"])["boxes"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(after, before, "a box that was never asked for is not listed");
    nothing_is_left(&factory);
}

#[test]
fn a_box_holds_the_work_tree_as_it_stands_and_cannot_change_it() {
    let Some(factory) = Factory::new() else { return };
    let repo = &factory.repo;
    repo.write(".gitignore", "ignored\n");
    repo.write("staged", "old\n");
    repo.commit("two files");
    repo.write("README", "not committed\n");
    repo.write("staged", "staged\n");
    repo.git(&["add", "staged"]);
    repo.write("staged", "and changed again\n");
    repo.write("new/file", "new\n");
    repo.write("ignored", "secret\n");
    repo.git(&["rm", "-q", "--cached", "ci.sh"]);
    std::fs::remove_file(repo.path.join("ci.sh")).expect("removed");
    let look = || {
        let files: Vec<_> = ["README", "staged", "new/file", "ignored"]
            .iter()
            .map(|name| std::fs::read(repo.path.join(name)).expect("there"))
            .collect();
        let index = std::fs::read(repo.path.join(".git/index")).expect("an index");
        let refs = repo.git(&["for-each-ref"]);
        let config = std::fs::read(repo.path.join(".git/config")).expect("a configuration");
        (files, index, refs, config, repo.git(&["status", "--porcelain"]))
    };
    let before = look();
    let ran = run(
        &factory,
        &[],
        "cat README staged new/file; test -e ignored && echo ignored; test -e ci.sh && echo ci.sh; \
         mkdir -p .git/hooks; echo '#!/bin/sh' > .git/hooks/post-commit; chmod +x .git/hooks/*; \
         git checkout -q -b mine; \
         git -c user.name=a -c user.email=b commit -q --allow-empty -m mine; git config core.pager false; \
         rm -rf README staged new; echo planted > planted; exit 0",
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out, "not committed\nand changed again\nnew\n");
    assert!(before == look(), "the checkout is as it was");
    assert!(!repo.path.join("planted").exists() && !repo.path.join(".git/hooks/post-commit").exists());
    nothing_is_left(&factory);
}

#[test]
fn a_box_holds_nothing_or_a_commit_if_that_is_asked_for() {
    let Some(factory) = Factory::new() else { return };
    let head = factory.repo.branch("topic", &[("topic", "t\n")]);
    factory.repo.write("README", "not committed\n");
    let empty = run(&factory, &["--empty"], "ls -A | grep -v '^\\.git$'; pwd");
    assert_eq!(
        (empty.code, empty.out.as_str()),
        (0, "/box/workspace\n"),
        "{empty:?}"
    );
    assert_eq!(receipt(&factory, "box-1")["commit"], Value::Null);
    // Not even a repository is needed.
    assert_eq!(factory.run(&["box", "run", "--empty", "--", "true"]).code, 0);
    for revision in ["topic", "refs/heads/topic", &head[..10]] {
        let ran = run(
            &factory,
            &["--commit", revision],
            "cat topic README; git rev-parse HEAD",
        );
        assert_eq!(ran.out, format!("t\na scratch repository\n{head}\n"), "{ran:?}");
    }
    assert_eq!(receipt(&factory, "box-3")["commit"], head.as_str());
}

#[test]
fn variables_are_those_that_were_named_and_no_others() {
    let Some(factory) = Factory::new() else { return };
    write_factory_file(
        &factory,
        "[profile.default]\nenv = { A = \"profile\", B = \"profile\" }\n",
    );
    let output = factory
        .command(&words(
            &factory,
            &["-e", "A=a=b c", "-e", "FROM_SHELL", "-e", "EMPTY="],
            &[
                "sh",
                "-c",
                "echo \"$A|$B|$FROM_SHELL|${EMPTY-unset}|${UNNAMED-unset}|$HOME|$(id -un)\"",
            ],
        ))
        .env("FROM_SHELL", "shell")
        .env("UNNAMED", "leaked")
        .output()
        .expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "a=b c|profile|shell||unset|/box/home|box\n"
    );
    let shown = receipt(&factory, "box-1");
    for name in ["A", "B", "FROM_SHELL", "EMPTY"] {
        let named = shown["environment"].as_array().expect("a list");
        assert!(named.contains(&name.into()), "{named:?}");
    }
    assert!(
        !shown.to_string().contains("a=b c"),
        "values are in no receipt: {shown}"
    );
}

#[test]
fn secrets_are_masked_in_output_log_and_receipt() {
    let Some(factory) = Factory::new() else { return };
    let file = factory.folder.path().join("token");
    std::fs::write(&file, "hunter2-hunter2-hunter2\n").expect("written");
    write_factory_file(
        &factory,
        &format!(
            "[profile.default]\nsecrets = [\"TOKEN\"]\n[secret.TOKEN]\nfile = {:?}\n",
            file.to_str().expect("UTF-8")
        ),
    );
    let script = "test ${#TOKEN} = 23 && echo whole; echo \"plain $TOKEN\"; \
        first=$(printf %s \"$TOKEN\" | cut -c1-11); printf \"split $first\"; printf '%s\\n' \"${TOKEN#$first}\"; \
        printf 'base64 '; printf %s \"$TOKEN\" | base64; \
        echo \"error $TOKEN\" >&2; touch \"wrote-$TOKEN\"; exit 3";
    // The command line holds it too: as when somebody pastes it.
    let ran = run(&factory, &[], &format!("{script} # hunter2-hunter2-hunter2"));
    assert_eq!(ran.code, 3, "{ran:?}");
    let log = factory.run(&["box", "log", "box-1"]).out;
    assert_eq!(log, ran.out, "the log is what was shown");
    assert_eq!(
        log.lines().filter(|line| line.contains("***")).count(),
        4,
        "plain, split, base64 and the error: {log}"
    );
    assert!(log.starts_with("whole\n"), "the box itself has it: {log}");
    let (encoded, shown) = (
        "aHVudGVyMi1odW50ZXIyLWh1bnRlcjI",
        receipt(&factory, "box-1").to_string(),
    );
    for kept in [&log, &ran.err, &shown] {
        assert!(!kept.contains("hunter2") && !kept.contains(encoded), "{kept}");
    }
    assert!(
        shown.contains("\"TOKEN\"") && shown.contains("wrote-***"),
        "{shown}"
    );
    for entry in std::fs::read_dir(factory.data().join("runs/box-1")).expect("a folder") {
        let path = entry.expect("read").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("read");
            let content = String::from_utf8_lossy(&bytes);
            assert!(
                !content.contains("hunter2"),
                "{} holds it: {content}",
                path.display()
            );
        }
    }
}

#[test]
fn a_secret_that_cannot_be_had_stops_the_box_before_it_starts() {
    let Some(factory) = Factory::new() else { return };
    for (content, word) in [
        ("[profile.default]\nsecrets = [\"TOKEN\"]\n", "TOKEN"),
        (
            "[profile.default]\nsecrets = [\"TOKEN\"]\n[secret.TOKEN]\nfile = \"/nonexistent/token\"\n",
            "/nonexistent/token",
        ),
        ("[profile.default]\nsecretz = [\"TOKEN\"]\n", "secretz"),
    ] {
        write_factory_file(&factory, content);
        let ran = run(&factory, &[], "echo it ran");
        assert_eq!((ran.code, ran.out.as_str()), (125, ""), "{content}: {ran:?}");
        assert!(ran.err.contains(word), "{content}: {ran:?}");
    }
}

#[test]
fn a_receipt_tells_what_ran_on_what_and_what_it_used() {
    let Some(factory) = Factory::new() else { return };
    let head = factory.repo.branch("topic", &[("topic", "t\n")]);
    let script = "echo line; mkdir out; echo 12345 > out/file; rm README";
    let ran = run(
        &factory,
        &["--commit", "topic", "--processes", "100", "-e", "A=value"],
        script,
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = receipt(&factory, "box-1");
    assert_eq!(shown["version"], 1);
    assert_eq!(shown["name"], "box-1");
    assert_eq!(shown["engine"], "native");
    assert_eq!(shown["image"], "host");
    assert_eq!(shown["commit"], head.as_str());
    assert_eq!(shown["command"], serde_json::json!(["sh", "-c", script]));
    assert_eq!(shown["ending"], "exited 0");
    assert_eq!(shown["network"], "none");
    assert!(
        shown["environment"]
            .as_array()
            .expect("a list")
            .contains(&"A".into())
    );
    assert!(!shown.to_string().contains("value"), "{shown}");
    assert!(shown["limits"].to_string().contains("100"), "{}", shown["limits"]);
    let (started, ended) = (&shown["started_at_ms"], &shown["ended_at_ms"]);
    assert!(started.as_i64() <= ended.as_i64() && started.as_i64() > Some(1_000_000_000_000));
    assert!(
        shown["usage"]["wall_ms"].as_u64() <= Some(60_000),
        "{}",
        shown["usage"]
    );
    assert_eq!(shown["usage"]["output_bytes"], 5);
    let paths = shown["files"]["paths"].to_string();
    assert!(paths.contains("out/file"), "{paths}");
    assert_eq!(shown["files"]["removed_count"], 1, "{}", shown["files"]);
    assert_eq!(shown["leftover"], Value::Null);
    let log = text(&shown["log"]["path"]);
    assert_eq!(std::fs::read(&log).expect("the log"), b"line\n");
    let sum = Command::new("sha256sum").arg(&log).output().expect("it starts");
    let sum = String::from_utf8_lossy(&sum.stdout);
    let digest = sum.split(' ').next().expect("a digest");
    assert_eq!(text(&shown["log"]["digest"]), format!("sha256:{digest}"));
    assert_eq!(shown["log"]["bytes"], 5);
    // The form for people tells the same.
    let people = factory.run(&["box", "receipt", "box-1"]).out;
    assert!(people.contains(&head) && people.contains(digest), "{people}");
}

#[test]
fn a_build_has_a_receipt_for_each_of_its_boxes() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("good", &[("good", "1\n")]);
    let change = factory.offer("good");
    factory.landed(&[&change]);
    let receipts = factory.ask(&["box", "receipt", "B1"]);
    let shown = &receipts["receipts"][0];
    assert_eq!(text(&shown["commit"]), factory.tip());
    assert_eq!(shown["command"], serde_json::json!(["/bin/sh", "-c", "sh ci.sh"]));
    assert!(text(&shown["log"]["digest"]).starts_with("sha256:"), "{shown}");
    factory.refused(4, &["box", "receipt", "B99"]);
}

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

fn check_auth(script: &str, expected: &str, beside: bool) {
    let Some(factory) = Factory::new() else { return };
    let file = factory.folder.path().join("auth.json");
    std::fs::write(&file, "{\"token\":\"first-first-first\"}").expect("written");
    write_factory_file(
        &factory,
        &format!(
            "[profile.default]\n[[profile.default.mount]]\nkind = \"auth\"\nfrom = {:?}\nat = \"/box/home/auth.json\"\n",
            file.to_str().expect("UTF-8")
        ),
    );
    let ran = run(&factory, &[], script);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.out.contains("first-first"), "a token is not shown: {ran:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), expected);
    assert_eq!(
        Path::new(&format!("{}.from-box", file.display())).exists(),
        beside
    );
}

#[test]
fn a_credential_that_a_box_refreshed_survives_it_and_rubbish_does_not() {
    let first = "{\"token\":\"first-first-first\"}";
    let second = "{\"token\":\"second-second\"}";
    check_auth("cat ~/auth.json", first, false);
    check_auth(&format!("echo -n '{second}' > ~/auth.json"), second, false);
    check_auth(
        &format!("echo -n '{second}' > ~/new && mv ~/new ~/auth.json"),
        second,
        false,
    );
    for rubbish in [
        "echo rubbish > ~/auth.json",
        ": > ~/auth.json",
        "rm ~/auth.json",
        "rm ~/auth.json; ln -s /etc/passwd ~/auth.json",
        "rm ~/auth.json; mkdir ~/auth.json",
        "rm ~/auth.json; mkfifo ~/auth.json",
    ] {
        check_auth(rubbish, first, false);
    }
}

#[test]
fn doctor_says_what_works_and_what_mends_what_does_not() {
    let Some(factory) = Factory::new() else { return };
    let ran = factory.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let said = ran.json();
    let findings = said["findings"].as_array().expect("a list");
    let subjects: Vec<String> = findings.iter().map(|row| text(&row["subject"])).collect();
    assert_eq!(
        subjects,
        ["git", "engine native", "engine docker", "engine podman", "disk"]
    );
    for row in findings {
        let fields: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["mend", "needed", "ok", "said", "subject"]);
        assert!(!row["said"].as_array().expect("a list").is_empty(), "{row}");
        if row["needed"] == true {
            assert_eq!(row["ok"], true, "{row}");
        }
        if row["ok"] == true {
            assert_eq!(row["mend"], Value::Null, "{row}");
        }
    }
    write_factory_file(
        &factory,
        "[profile.broken]\nsecrets = [\"NONE\"]\n[[profile.broken.mount]]\nkind = \"auth\"\nfrom = \"/nonexistent\"\nat = \"/box/home/a\"\n",
    );
    let broken = factory.run(&["doctor"]);
    assert_eq!(broken.code, 1, "{broken:?}");
    assert!(
        broken.out.contains("NO profile broken") && broken.out.contains("/nonexistent"),
        "{broken:?}"
    );
    write_factory_file(&factory, "[profile.x]\nimagee = \"host\"\n");
    let unreadable = factory.run(&["doctor"]);
    assert_eq!(unreadable.code, 1, "{unreadable:?}");
    assert!(unreadable.out.contains("imagee"), "{unreadable:?}");
}

#[test]
fn names_that_mean_no_good_are_no_boxes() {
    let Some(factory) = Factory::new() else { return };
    run(&factory, &[], "true");
    std::fs::create_dir(factory.data().join("runs/box-x")).expect("a folder");
    for name in [
        "",
        "box-",
        "box-0",
        "box-2",
        "box-x",
        "box-1/",
        "box-1/../box-1",
        "../runs/box-1",
        "/",
        ".",
        "..",
        "box-+1",
        "box-01",
        "box-99999999999999999999999",
        "B0",
        "B1/../../runs/box-1",
        "\u{1b}[2J",
    ] {
        for verb in ["show", "log", "receipt", "stop", "retry", "freeze"] {
            let ran = factory.run(&["box", verb, "--", name]);
            assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{verb} {name:?}: {ran:?}");
            assert!(!ran.err.contains('\u{1b}'), "{ran:?}");
        }
    }
    let odd = ["a b", "new\nline", "\u{1b}[2J", "-rf", "höhle", "\"quote'"];
    for name in odd {
        factory.repo.write(name, "x\n");
    }
    let ran = run(
        &factory,
        &[],
        "for f in *; do test -f \"$f\" && printf '%s\\0' \"$f\"; done",
    );
    for name in odd {
        assert!(ran.out.split('\0').any(|seen| seen == name), "{name:?}: {ran:?}");
    }
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

//! What a new user does, and what the program says when they do it in another order.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::factory::{Factory, leftovers, text, wait_for};
use crate::repo::Repo;

#[test]
fn a_user_lands_a_branch_of_a_work_tree() {
    let Some(mut factory) = Factory::new() else { return };
    factory.repo.branch("feature", &[("a.txt", "a\n")]);
    let before = factory
        .repo
        .git(&["for-each-ref", "refs/heads/feature", "refs/heads/idle"]);
    let path = factory.repo.path.to_str().expect("UTF-8").to_owned();
    let added = factory.ask(&["init", "--repo", &path]);
    assert_eq!(
        (added["name"].as_str(), added["target"].as_str()),
        (Some("repo"), Some("main"))
    );
    factory.up_with(&[]);
    let change = factory.offer("feature");
    assert_eq!(change, "C1");
    factory.landed(&["C1"]);
    let shown = factory.show("C1");
    assert_eq!(text(&shown["landed"]["sha"]), factory.tip());
    assert_eq!(factory.repo.file("main", "a.txt"), b"a\n");
    let after = factory
        .repo
        .git(&["for-each-ref", "refs/heads/feature", "refs/heads/idle"]);
    assert_eq!(before, after, "only the target moves");
    assert_eq!(factory.proven()["changes"], 1);
    let status = factory.ask(&["status"]);
    assert_eq!(status["repositories"][0]["obstacle"], serde_json::Value::Null);
    assert_eq!(text(&status["repositories"][0]["tip"]), factory.tip());
    let log = factory.run(&["build", "log", "B1"]);
    assert!(log.out.contains(&format!("testing {}", factory.tip())), "{log:?}");
}

#[test]
fn a_user_lands_a_branch_of_a_bare_repository() {
    let Some(mut factory) = Factory::new() else { return };
    factory.repo.branch("feature", &[("a.txt", "a\n")]);
    let bare = factory.repo.bare_clone(factory.folder.path().join("store.git"));
    factory.repo = bare;
    factory.up();
    assert_eq!(factory.ask(&["status"])["repositories"][0]["name"], "store");
    let change = factory.offer("feature");
    factory.landed(&[&change]);
    assert_eq!(factory.repo.file("main", "a.txt"), b"a\n");
    factory.proven();
}

#[test]
fn up_in_the_background_runs_until_down() {
    let Some(factory) = Factory::new() else { return };
    let path = factory.repo.path.to_str().expect("UTF-8");
    let up = factory.ask(&["up", "--repo", path, "--detach"]);
    let pid = up["pid"].as_u64().expect("a process");
    assert_eq!(factory.ask(&["status"])["pid"], pid);
    let again = factory.refused(5, &["up", "--detach"]);
    assert!(again.contains("gantry down"), "{again}");
    factory.repo.branch("feature", &[("a.txt", "a\n")]);
    let change = factory.offer("feature");
    factory.landed(&[&change]);
    factory.ask(&["down"]);
    wait_for("the daemon is gone", || {
        leftovers(factory.folder.path()).is_empty()
    });
    factory.refused(3, &["down"]);
}

#[test]
fn a_second_daemon_says_who_holds_the_directory() {
    let Some(factory) = Factory::running() else { return };
    let said = factory.refused(5, &["up"]);
    assert!(said.contains(&format!("process {}", factory.pid())), "{said}");
    assert!(said.contains("gantry down"), "{said}");
}

#[test]
fn of_ten_daemons_at_one_directory_one_runs() {
    let Some(mut factory) = Factory::new() else { return };
    let path = factory.repo.path.to_str().expect("UTF-8").to_owned();
    let mut daemons: Vec<_> = (0..10)
        .map(|_| {
            factory
                .command(&["up", "--repo", &path])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts")
        })
        .collect();
    let mut codes = Vec::new();
    wait_for("all but one have ended", || {
        daemons.retain_mut(|daemon| match daemon.try_wait().expect("known") {
            Some(status) => {
                codes.push(status.code());
                false
            }
            None => true,
        });
        daemons.len() == 1
    });
    assert_eq!(codes, vec![Some(5); 9]);
    wait_for("the one answers", || factory.run(&["status"]).code == 0);
    assert_eq!(factory.ask(&["status"])["pid"], daemons[0].id());
    factory.repo.branch("feature", &[("a.txt", "a\n")]);
    let change = factory.offer("feature");
    factory.landed(&[&change]);
    factory.ask(&["down"]);
    assert!(daemons.remove(0).wait().expect("reaped").success());
    factory.up_with(&[]);
}

#[test]
fn without_a_daemon_commands_say_how_to_start_one() {
    let factory = Factory::without_boxes(Repo::work_tree);
    for words in [
        vec!["status"],
        vec!["queue", "list"],
        vec!["queue", "add", "x"],
        vec!["queue", "wait"],
        vec!["build", "list"],
        vec!["dock"],
        vec!["events"],
        vec!["down"],
    ] {
        let said = factory.refused(3, &words);
        assert!(said.contains("gantry up"), "{said}");
    }
    let said = factory.refused(4, &["audit"]);
    assert!(said.contains("gantry init"), "{said}");
    assert!(!factory.data().exists(), "asking makes nothing");
}

#[test]
fn a_repository_is_added_once_and_a_wrong_one_is_refused() {
    let mut factory = Factory::without_boxes(Repo::work_tree);
    let path = factory.repo.path.to_str().expect("UTF-8").to_owned();
    let first = factory.ask(&["init", "--repo", &path]);
    assert_eq!(factory.ask(&["init", "--repo", &path]), first);
    let other = Repo::work_tree(factory.folder.path().join("other"));
    let other = other.path.to_str().expect("UTF-8");
    for refused in [
        vec!["init", "--repo", "/nonexistent"],
        vec!["init", "--repo", &path, "--target", "no-such"],
        vec!["init", "--repo", other, "--name", "repo"],
        vec!["init", "--repo", other, "--name", "../x"],
    ] {
        factory.refused(2, &refused);
    }
    factory.up_with(&[]);
    assert_eq!(factory.ask(&["init", "--repo", &path])["name"], "repo");
    factory.refused(2, &["init", "--repo", other, "--name", "repo"]);
    factory.refused(2, &["init", "--repo", "/nonexistent"]);
    assert_eq!(factory.ask(&["init", "--repo", other])["name"], "other");
    let said = factory.refused(2, &["queue", "list"]);
    assert!(said.contains("--repository"), "{said}");
    factory.refused(4, &["queue", "list", "--repository", "none"]);
    factory.ask(&["queue", "list", "--repository", "other"]);
}

#[test]
fn two_repositories_of_one_factory_land_beside_each_other() {
    let Some(mut factory) = Factory::running() else {
        return;
    };
    let other = Repo::work_tree(factory.folder.path().join("other"));
    factory.ask(&["init", "--repo", other.path.to_str().expect("UTF-8")]);
    factory.repo.branch("one", &[("1", "1\n")]);
    other.branch("two", &[("2", "2\n")]);
    let one = factory.offer_with("one", &["--repository", "repo"]);
    let two = factory.offer_with("two", &["--repository", "other"]);
    factory.landed(&[&one, &two]);
    assert!(factory.repo.has("main", "1") && other.has("main", "2"));
    factory.down();
    factory.up_with(&[]);
    assert_eq!(factory.ask(&["audit"])["repositories"][1]["changes"], 1);
}

#[test]
fn events_are_followed_as_they_happen() {
    let Some(factory) = Factory::running() else { return };
    let mut child = factory
        .command(&["events", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    factory.repo.branch("feature", &[("a.txt", "a\n")]);
    factory.offer("feature");
    let mut kinds = Vec::new();
    for line in lines {
        let event: serde_json::Value =
            serde_json::from_str(&line.expect("UTF-8")).expect("one document a line");
        kinds.push(text(&event["kind"]));
        if event["kind"] == "change.landed" {
            break;
        }
    }
    assert!(kinds.contains(&"change.offered".to_owned()), "{kinds:?}");
    let after = factory.ask(&["events", "--after", "2"]);
    assert_eq!(after["events"][0]["sequence"], 3);
    let about = factory.ask(&["events", "--change", "C1"]);
    assert!(
        about["events"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|event| event["change"] == "C1")
    );
    // Going down ends those who follow.
    drop(factory);
    wait_for("the follower ends", || child.try_wait().expect("known").is_some());
}

#[test]
fn waiting_ends_with_the_code_that_tells_how_it_went() {
    let Some(factory) = Factory::running() else { return };
    assert_eq!(factory.ask(&["queue", "wait", "--timeout", "1s"])["ended"], true);
    factory.repo.branch("good", &[("good", "1\n")]);
    factory.repo.branch("bad", &[("bad-one", "1\n")]);
    factory.repo.branch("slow", &[("wait", "slow")]);
    let good = factory.offer("good");
    factory.landed(&[&good]);
    let bad = factory.offer("bad");
    // Without names it waits for all that are queued, and tells of each.
    let all = factory.run(&["queue", "wait", "--timeout", "60s", "--json"]);
    assert_eq!(all.code, 1, "{all:?}");
    assert_eq!(all.json()["changes"][0]["id"], bad.as_str());
    assert_eq!(factory.run(&["queue", "wait", &good, &bad]).code, 1);
    let slow = factory.offer("slow");
    let late = factory.run(&["queue", "wait", &slow, "--timeout", "200ms", "--json"]);
    assert_eq!(late.code, 6);
    assert_eq!(late.json()["ended"], false);
    factory.open("slow");
    factory.landed(&[]);
    factory.refused(4, &["queue", "wait", "C99"]);
    factory.refused(2, &["queue", "wait", "nonsense"]);
    factory.refused(2, &["queue", "wait", &slow, "--timeout", "soon"]);
}

#[test]
fn a_factory_without_a_gate_says_what_to_write() {
    let mut factory = Factory::without_boxes(|path| {
        let repo = Repo::empty(path);
        repo.write("README", "nothing else\n");
        repo.commit("begin");
        repo.git(&["switch", "-q", "-c", "idle"]);
        repo
    });
    factory.up();
    factory.repo.branch("feature", &[("a", "a\n")]);
    let change = factory.offer("feature");
    let shown = factory.until_reason(&change, "no_gate");
    let action = text(&shown["reason"]["next_action"]);
    assert!(
        action.contains("[[gate.check]]") && action.contains(".gantry.toml"),
        "{action}"
    );
    assert_eq!(
        factory.ask(&["status"])["repositories"][0]["obstacle"]["code"],
        "no_gate"
    );
    let check = factory.run(&[
        "config",
        "check",
        "--repo",
        factory.repo.path.to_str().expect("UTF-8"),
    ]);
    assert_eq!(check.code, 1);
    assert!(check.out.contains("[[gate.check]]"), "{check:?}");
    let tip = factory.tip();
    assert_eq!(factory.state(&change), "queued");
    assert_eq!(factory.tip(), tip, "nothing untested lands");
}

#[test]
fn configuration_is_checked_before_and_after_it_is_committed() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let path = factory.repo.path.to_str().expect("UTF-8").to_owned();
    let good = factory.ask(&["config", "check", "--repo", &path]);
    assert_eq!(
        (good["usable"].as_bool(), good["method"].as_str()),
        (Some(true), Some("rebase"))
    );
    let file = factory.folder.path().join("gate.toml");
    std::fs::write(&file, "[gate]\nslotz = 2\n[[gate.check]]\nname='t'\nrun='true'\n").expect("written");
    let bad = factory.run(&[
        "config",
        "check",
        "--file",
        file.to_str().expect("UTF-8"),
        "--json",
    ]);
    assert_eq!(bad.code, 1);
    let problem = text(&bad.json()["problem"]);
    assert!(
        problem.contains("slotz") && problem.contains("slots"),
        "{problem}"
    );
    factory.refused(4, &["config", "check", "--file", "/nonexistent"]);
    factory.refused(4, &["config", "check", "--repo", "/nonexistent"]);
    factory.refused(4, &["config", "check", "--repo", &path, "--target", "none"]);
}

#[test]
fn the_simulator_the_completions_and_the_man_pages_need_no_factory() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let day = factory.ask(&[
        "simulate",
        "--changes",
        "20",
        "--seeds",
        "1",
        "--policy",
        "serial",
    ]);
    assert_eq!(day["rows"][0]["policy"], "serial");
    assert_eq!(day["rows"][1]["policy"], "oracle");
    factory.refused(2, &["simulate", "--bad", "2"]);
    factory.refused(2, &["simulate", "--policy", "luck"]);
    factory.refused(4, &["simulate", "--trace", "/nonexistent"]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            factory.run(&["completions", shell]).out.contains("queue"),
            "{shell}"
        );
    }
    let pages = factory.folder.path().join("man");
    let written = factory.ask(&["man-pages", pages.to_str().expect("UTF-8")]);
    assert!(
        written["pages"].as_array().expect("a list").len() > 20,
        "{written}"
    );
    assert!(pages.join("gantry-queue-add.1").exists());
    assert!(
        !pages.join("gantry-__hook.1").exists(),
        "hidden commands have no page"
    );
    assert!(factory.run(&["--help"]).out.contains("First steps"));
    assert!(!factory.data().exists(), "nothing was made");
}

#[test]
fn exit_codes_are_listed_where_people_look() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let listed = factory.run(&["help", "exit-codes"]);
    assert_eq!(listed.out, factory.run(&["exit-codes"]).out);
    assert!(listed.out.contains("3  no daemon"), "{listed:?}");
    factory.refused(2, &["queue", "add"]);
    factory.refused(2, &["nonsense"]);
}

#[test]
fn with_json_an_error_is_one_document_too() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let ran = factory.run(&["status", "--json"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    let error: serde_json::Value = serde_json::from_str(&ran.err).expect("one document");
    assert_eq!(error["exit_code"], 3);
    assert!(text(&error["error"]).contains("gantry up"), "{error}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let mut child = factory
        .command(&["simulate", "--changes", "5", "--seeds", "1", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_repository_that_is_away_at_the_start_is_shown_and_comes_back() {
    let Some(mut factory) = Factory::running() else {
        return;
    };
    factory.repo.branch("work", &[("a", "a\n")]);
    factory.down();
    let away = factory.folder.path().join("away");
    std::fs::rename(&factory.repo.path, &away).expect("moved");
    factory.up_with(&[]);
    let shown = factory.ask(&["status"])["repositories"][0].clone();
    assert_eq!(
        (&shown["name"], &shown["obstacle"]["code"]),
        (&"repo".into(), &"repository".into())
    );
    std::fs::rename(&away, &factory.repo.path).expect("moved");
    factory.ask(&["init", "--repo", factory.repo.path.to_str().expect("UTF-8")]);
    let change = factory.offer("work");
    factory.landed(&[&change]);
}

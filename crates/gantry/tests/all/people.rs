//! People who push, merge and delete while the queue works.

use crate::factory::{Factory, text, wait_for};

#[test]
fn a_direct_push_during_a_test_makes_the_candidate_anew() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("work", &[("wait", "first")]);
    let change = factory.offer("work");
    factory.until_reason(&change, "testing");
    let pushed = factory.repo.push_to_main(&[("pushed", "p\n")]);
    factory.open("first");
    factory.landed(&[&change]);
    let shown = factory.show(&change);
    assert_eq!(text(&shown["landed"]["base"]), pushed);
    assert!(factory.repo.has("main", "pushed") && factory.repo.has("main", "wait"));
    let audit = factory.proven();
    assert_eq!(audit["pushed"].as_array().expect("a list").len(), 1);
    assert!(
        factory
            .events()
            .iter()
            .any(|event| event["kind"] == "target.pushed")
    );
}

#[test]
fn endless_direct_pushes_are_reported_and_the_change_lands_when_they_stop() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("work", &[("wait", "calm")]);
    let change = factory.offer("work");
    let contended = || {
        factory
            .events()
            .iter()
            .any(|event| event["kind"] == "target.contended")
    };
    let mut pushes = 0;
    while !contended() {
        assert!(pushes < 12, "contention is never told of");
        wait_for("a build runs on the tip", || {
            let builds = factory.ask(&["build", "list"]);
            let tip = factory.tip();
            builds["builds"]
                .as_array()
                .expect("a list")
                .iter()
                .any(|b| b["state"] == "running" && b["base"] == tip.as_str())
        });
        factory.repo.push_to_main(&[("pushed", &format!("{pushes}\n"))]);
        pushes += 1;
    }
    let told = factory
        .events()
        .into_iter()
        .find(|event| event["kind"] == "target.contended")
        .expect("told");
    assert!(text(&told["text"]).contains("direct pushes"), "{told}");
    factory.open("calm");
    factory.landed(&[&change]);
    factory.proven();
}

#[test]
fn a_change_merged_by_hand_has_landed() {
    let Some(factory) = Factory::running() else { return };
    factory.ask(&["queue", "freeze", "--reason", "by hand today"]);
    let head = factory.repo.branch("work", &[("a", "a\n")]);
    factory.repo.branch("squashed", &[("b", "b\n")]);
    let change = factory.offer("work");
    let squashed = factory.offer("squashed");
    factory.repo.git(&["switch", "-q", "--detach", "main"]);
    factory
        .repo
        .git(&["merge", "-q", "--no-ff", "-m", "merged by hand", &head]);
    factory.repo.git(&["cherry-pick", "squashed"]);
    let merged = factory.repo.rev("HEAD");
    factory.repo.git(&["switch", "-q", "idle"]);
    factory.repo.git(&["update-ref", "refs/heads/main", &merged]);
    factory.landed(&[&change, &squashed]);
    for id in [&change, &squashed] {
        let shown = factory.show(id);
        assert_eq!(shown["reason"]["code"], "already_in");
        assert_eq!(shown["landed"]["build"], serde_json::Value::Null);
    }
    assert_eq!(factory.tip(), merged);
}

#[test]
fn a_deleted_branch_takes_its_change_out() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("gone", &[("wait", "never")]);
    let gone = factory.offer("gone");
    factory.until_reason(&gone, "testing");
    factory.repo.git(&["branch", "-D", "gone"]);
    let shown = factory.until_reason(&gone, "branch_deleted");
    assert_eq!(shown["state"], "cancelled");
    factory.refused(4, &["queue", "add", "gone"]);
}

#[test]
fn a_branch_that_was_merged_and_deleted_has_landed() {
    let Some(factory) = Factory::running() else { return };
    factory.ask(&["queue", "freeze", "--reason", "by hand today"]);
    let head = factory.repo.branch("work", &[("a", "a\n")]);
    let change = factory.offer("work");
    factory.repo.git_in(
        &["update-ref", "--stdin"],
        format!("update refs/heads/main {head}\ndelete refs/heads/work\n").as_bytes(),
    );
    factory.landed(&[&change]);
    assert_eq!(factory.show(&change)["reason"]["code"], "already_in");
}

#[test]
fn a_locked_target_is_named_and_the_change_lands_when_it_is_free() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("work", &[("wait", "locked")]);
    let change = factory.offer("work");
    factory.until_reason(&change, "testing");
    factory.repo.write(".git/refs/heads/main.lock", "");
    let tip = factory.tip();
    factory.open("locked");
    wait_for("the lock is named", || {
        let obstacle = factory.ask(&["status"])["repositories"][0]["obstacle"].clone();
        obstacle["code"] == "repository" && text(&obstacle["text"]).contains("lock")
    });
    assert_eq!(factory.tip(), tip);
    std::fs::remove_file(factory.repo.path.join(".git/refs/heads/main.lock")).expect("removed");
    factory.landed(&[&change]);
    let builds = factory.show(&change)["builds"].as_array().expect("a list").len();
    assert_eq!(builds, 1, "it is not tested again for that");
    factory.proven();
}

#[test]
fn a_conflict_with_the_target_bounces_with_its_culprit_and_paths() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("work", &[("README", "mine\n")]);
    let pushed = factory.repo.push_to_main(&[("README", "theirs\n")]);
    let change = factory.offer("work");
    assert_eq!(factory.decided(&[&change]), 1);
    let shown = factory.show(&change);
    assert_eq!(shown["reason"]["code"], "conflict");
    assert_eq!(shown["conflict"]["paths"][0], "README");
    assert_eq!(text(&shown["conflict"]["culprit"]), pushed);
    let dock = factory.ask(&["dock"]);
    assert_eq!(dock["changes"][0]["standing"], "conflict");
}

#[test]
fn a_target_that_is_gone_is_named_and_work_goes_on_when_it_is_back() {
    let Some(factory) = Factory::running() else { return };
    let tip = factory.tip();
    factory.repo.branch("work", &[("a", "a\n")]);
    factory.repo.git(&["update-ref", "-d", "refs/heads/main"]);
    factory.repo.git(&["branch", "main-was-here", &tip]);
    let change = factory.offer("work");
    wait_for("it is named", || {
        let obstacle = factory.ask(&["status"])["repositories"][0]["obstacle"].clone();
        obstacle["code"] == "repository" && text(&obstacle["text"]).contains("gone")
    });
    factory.repo.git(&["update-ref", "refs/heads/main", &tip]);
    factory.landed(&[&change]);
    factory.proven();
}

#[test]
fn a_target_set_back_by_force_lands_the_rest_and_the_audit_tells() {
    let Some(factory) = Factory::running() else { return };
    let begin = factory.tip();
    factory.repo.branch("one", &[("1", "1\n")]);
    factory.repo.branch("two", &[("2", "2\n")]);
    let one = factory.offer("one");
    factory.landed(&[&one]);
    factory.repo.git(&["update-ref", "refs/heads/main", &begin]);
    let two = factory.offer("two");
    factory.landed(&[&two]);
    assert!(factory.repo.has("main", "2") && !factory.repo.has("main", "1"));
    let audit = factory.run(&["audit", "--json"]);
    assert_eq!(audit.code, 7, "{audit:?}");
    assert!(audit.out.contains("somebody took it off"), "{audit:?}");
    let frozen = factory.ask(&["queue", "list"]);
    assert_eq!(frozen["frozen"]["author"], "gantry audit", "the line stops");
}

//! What was tested is what landed, byte for byte, for every method and group size.

use crate::factory::{Factory, text};
use crate::repo::Repo;

fn gate(method: &str) -> String {
    format!(
        "[gate]\nmethod = \"{method}\"\nslots = 1\n\n[[gate.check]]\nname = \"test\"\nrun = \"sh ci.sh\"\n"
    )
}

/// The commit and tree that the log of a build says were on the disk, and that nothing else was.
fn tested(factory: &Factory, build: &str) -> (String, String) {
    let log = factory.run(&["build", "log", build]).out;
    let mut lines = log.lines();
    let mut words = lines.next().unwrap_or("").split(' ').skip(1).map(str::to_owned);
    let (commit, tree) = (words.next().expect("a commit"), words.next().expect("a tree"));
    assert_eq!(lines.next(), None, "the workspace is exactly the commit: {log}");
    (commit, tree)
}

/// Lands a frozen queue of `size` changes as one group, and looks at each of them.
fn land_group(method: &str, size: usize) {
    let Some(mut factory) = Factory::with_gate(&gate(method)) else {
        return;
    };
    let lines = |marks: &[usize]| -> String {
        (1..=40)
            .map(|n| {
                if marks.contains(&(n / 8)) && n % 8 == 0 {
                    format!("line {n} changed\n")
                } else {
                    format!("line {n}\n")
                }
            })
            .collect()
    };
    factory.repo.push_to_main(&[("shared", &lines(&[]))]);
    for n in 1..=size {
        let own = format!("own-{n}");
        factory.repo.branch(
            &format!("work-{n}"),
            &[("shared", &lines(&[n])), (&own, "first\n")],
        );
        factory
            .repo
            .branch_off(&format!("work-{n}"), &format!("work-{n}"), &[(&own, "second\n")]);
    }
    factory.up();
    factory.ask(&["queue", "freeze", "--reason", "until all are there"]);
    let ids: Vec<String> = (1..=size).map(|n| factory.offer(&format!("work-{n}"))).collect();
    let before = factory.tip();
    factory.ask(&["queue", "thaw"]);
    factory.landed(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let mut base = before.clone();
    for (index, id) in ids.iter().enumerate() {
        let shown = factory.show(id);
        let (sha, tree) = (text(&shown["landed"]["sha"]), text(&shown["landed"]["tree"]));
        assert_eq!(factory.repo.rev(&format!("{sha}^{{tree}}")), tree);
        let marks: Vec<usize> = (1..=index + 1).collect();
        assert_eq!(
            String::from_utf8_lossy(&factory.repo.file(&sha, "shared")),
            lines(&marks),
            "earlier lines are there"
        );
        check_history(&factory, method, &base, &sha, &format!("work-{}", index + 1));
        base = sha;
    }
    assert_eq!(base, factory.tip());
    let builds = factory.ask(&["build", "list"]);
    let landed: Vec<_> = builds["builds"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|b| b["state"] == "passed")
        .collect();
    for build in &landed {
        let (commit, tree) = tested(&factory, &text(&build["id"]));
        assert_eq!((commit, tree), (text(&build["candidate"]), text(&build["tree"])));
    }
    assert!(
        landed
            .iter()
            .any(|build| build["candidate"] == factory.tip().as_str()),
        "the tip was tested itself"
    );
    assert_eq!(factory.proven()["changes"], size);
    factory.down();
    factory.repo.git(&["fsck", "--strict", "--no-dangling"]);
}

/// Looks at what one change became between the commit before it and its own.
fn check_history(factory: &Factory, method: &str, base: &str, sha: &str, branch: &str) {
    let repo = &factory.repo;
    let authors = repo.git(&[
        "log",
        "--first-parent",
        "--format=%an %ae %aI",
        &format!("{base}..{sha}"),
    ]);
    let count = authors.lines().count();
    assert_eq!(count, if method == "rebase" { 2 } else { 1 }, "{authors}");
    if method != "merge" {
        for line in authors.lines() {
            assert_eq!(line, "Ann Author ann@example.org 2026-01-02T03:04:05+02:00");
        }
    }
    match method {
        "rebase" => assert_eq!(
            repo.git(&["log", "--format=%s", &format!("{base}..{sha}")]),
            format!("work of {branch}\nwork of {branch}")
        ),
        "squash" => assert_eq!(repo.rev(&format!("{sha}^")), base),
        _ => assert_eq!(
            repo.git(&["rev-parse", &format!("{sha}^1"), &format!("{sha}^2")]),
            format!("{base}\n{}", repo.rev(branch))
        ),
    }
}

#[test]
fn one_rebased_change_lands_as_it_was_tested() {
    land_group("rebase", 1);
}

#[test]
fn two_rebased_changes_land_as_they_were_tested() {
    land_group("rebase", 2);
}

#[test]
fn four_rebased_changes_land_as_they_were_tested() {
    land_group("rebase", 4);
}

#[test]
fn one_squashed_change_lands_as_it_was_tested() {
    land_group("squash", 1);
}

#[test]
fn three_squashed_changes_land_as_they_were_tested() {
    land_group("squash", 3);
}

#[test]
fn one_merged_change_lands_as_it_was_tested() {
    land_group("merge", 1);
}

#[test]
fn four_merged_changes_land_as_they_were_tested() {
    land_group("merge", 4);
}

#[test]
fn empty_and_already_landed_changes_are_on_the_target_already() {
    let Some(factory) = Factory::running() else { return };
    let tip = factory.tip();
    factory.repo.git(&["branch", "same", "main"]);
    factory.repo.branch("empty", &[]);
    let old = factory.repo.rev("main");
    let same = factory.offer("same");
    let empty = factory.offer("empty");
    factory.landed(&[&same, &empty]);
    assert_eq!(factory.show(&same)["reason"]["code"], "already_in");
    assert_eq!(factory.show(&empty)["reason"]["code"], "already_in");
    assert_eq!((factory.tip(), tip), (old.clone(), old), "nothing moved");
}

#[test]
fn a_partially_landed_change_lands_the_rest() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("first", &[("one", "1\n")]);
    factory.repo.branch_off("first", "second", &[("two", "2\n")]);
    let first = factory.offer("first");
    factory.landed(&[&first]);
    // The same work was picked onto main by hand in another form, too.
    factory.repo.push_to_main(&[("between", "b\n")]);
    let second = factory.offer("second");
    factory.landed(&[&second]);
    let subjects = factory.repo.git(&["log", "--format=%s", "main"]);
    assert_eq!(subjects, "work of second\npushed by hand\nwork of first\nbegin");
    factory.proven();
}

#[test]
fn a_force_pushed_head_is_tested_anew_and_the_old_one_never_lands() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("work", &[("wait", "old"), ("old", "old\n")]);
    let change = factory.offer("work");
    factory.until_reason(&change, "testing");
    let new = factory.repo.branch("work", &[("new", "new\n")]);
    factory.open("old");
    factory.landed(&[&change]);
    assert_eq!(text(&factory.show(&change)["head"]), new);
    assert!(factory.repo.has("main", "new") && !factory.repo.has("main", "old"));
    assert!(
        factory
            .events()
            .iter()
            .any(|event| event["kind"] == "change.head_moved")
    );
    factory.proven();
}

#[test]
fn a_bounced_change_lands_after_it_is_mended_and_offered_again() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("work", &[("bad-x", "1\n"), ("keep", "1\n")]);
    let change = factory.offer("work");
    assert_eq!(factory.decided(&[&change]), 1);
    assert_eq!(factory.state(&change), "bounced");
    factory.repo.branch("work", &[("keep", "1\n")]);
    assert_eq!(factory.offer("work"), change, "the same change");
    factory.landed(&[&change]);
    factory.repo.branch("work", &[("more", "2\n")]);
    let again = factory.offer("work");
    assert_ne!(
        again, change,
        "a landed change is over; the branch offers another one"
    );
    factory.landed(&[&again]);
}

#[test]
fn a_stack_lands_in_one_ref_update() {
    let Some(mut factory) = Factory::new() else { return };
    factory.repo.branch("one", &[("1", "1\n")]);
    factory.repo.branch_off("one", "two", &[("2", "2\n")]);
    factory.repo.branch_off("two", "three", &[("3", "3\n")]);
    factory.repo.git(&["config", "core.logAllRefUpdates", "always"]);
    factory.up();
    factory.ask(&["queue", "freeze", "--reason", "until all are there"]);
    let one = factory.offer("one");
    let two = factory.offer_with("two", &["--after", &one]);
    let three = factory.offer_with("three", &["--after", &two]);
    let tip = factory.tip();
    factory.ask(&["queue", "thaw"]);
    factory.landed(&[&one, &two, &three]);
    let builds: Vec<_> = [&one, &two, &three]
        .map(|id| factory.show(id)["landed"]["build"].clone())
        .into();
    assert_eq!(
        (&builds[0], &builds[1]),
        (&builds[1], &builds[2]),
        "one build, one update"
    );
    assert_eq!(factory.show(&three)["landed"]["base"], tip.as_str());
}

#[test]
fn a_missing_object_is_trouble_and_no_conflict() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("whole", &[("fine", "fine\n")]);
    factory.repo.branch("broken", &[("lost", "lost for good\n")]);
    let blob = factory.repo.rev("broken:lost");
    let path = factory
        .repo
        .path
        .join(".git/objects")
        .join(&blob[..2])
        .join(&blob[2..]);
    std::fs::remove_file(&path).expect("removed");
    let broken = factory.offer("broken");
    let whole = factory.offer("whole");
    factory.landed(&[&whole]);
    let shown = factory.show(&broken);
    assert!(
        matches!(shown["reason"]["code"].as_str(), Some("trouble" | "check_failed")),
        "{:#}",
        shown["reason"]
    );
    assert_ne!(shown["state"], "landed");
    assert_eq!(shown["conflict"], serde_json::Value::Null);
}

#[test]
fn a_repository_with_alternates_and_packs_lands_as_any_other() {
    let Some(mut factory) = Factory::new() else { return };
    factory.repo.git(&["gc", "-q"]);
    let path = factory.folder.path().join("shared.git");
    factory.repo.git(&[
        "clone",
        "-q",
        "--bare",
        "--shared",
        ".",
        path.to_str().expect("UTF-8"),
    ]);
    let source = factory.repo.clone();
    factory.repo = Repo { path };
    source.branch("work", &[("a", "a\n")]);
    source.git(&["push", "-q", "../shared.git", "work"]);
    factory.up();
    let change = factory.offer("work");
    factory.landed(&[&change]);
    factory.proven();
}

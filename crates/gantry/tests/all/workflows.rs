//! The repository's own workflows as the gate of the merge queue.

use serde_json::Value;

use crate::factory::{Factory, text};

pub const GATE: &str = "[gate]\nslots = 2\nworkflows = [\"ci.yml\"]\n";
pub const CI: &str = ".github/workflows/ci.yml";

/// Jobs that need one another, legs that are known only when another job has run, and files between jobs.
pub const WORKFLOW: &str = r#"on: [merge_group, push]
jobs:
  list:
    runs-on: ubuntu-latest
    outputs:
      names: ${{ steps.list.outputs.names }}
    steps:
      - id: list
        run: echo 'names=["one","two"]' >> "$GITHUB_OUTPUT"
  test:
    needs: list
    runs-on: ubuntu-latest
    strategy:
      matrix:
        name: ${{ fromJSON(needs.list.outputs.names) }}
    steps:
      - uses: actions/checkout@v4
      - name: Look
        run: |
          echo "testing ${{ matrix.name }} at $GITHUB_SHA for $GITHUB_EVENT_NAME"
          if [ -e 'bad-${{ matrix.name }}' ]; then echo 'error: bad-${{ matrix.name }} is bad'; exit 1; fi
          echo '${{ matrix.name }}' > result
      - uses: actions/upload-artifact@v4
        with:
          name: result-${{ matrix.name }}
          path: result
  join:
    needs: test
    runs-on: ubuntu-latest
    steps:
      - uses: actions/download-artifact@v4
        with:
          path: all
      - run: test "$(cat all/*/result | sort | tr '\n' ' ')" = 'one two '
"#;

/// A factory without a daemon whose gate is this workflow.
fn gated_by(workflow: &str) -> Option<Factory> {
    let factory = Factory::with_gate(GATE)?;
    factory.repo.push_to_main(&[(CI, workflow)]);
    Some(factory)
}

/// The checks of a build by name, with their state.
fn checks(factory: &Factory, build: &str) -> Vec<(String, String)> {
    let shown = factory.ask(&["build", "show", build]);
    let rows = shown["checks"].as_array().expect("a list").iter();
    let mut rows: Vec<_> = rows
        .map(|check| (text(&check["name"]), text(&check["state"])))
        .collect();
    rows.sort();
    rows
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(name, state)| ((*name).to_owned(), (*state).to_owned()))
        .collect()
}

fn obstacle(factory: &Factory) -> String {
    let status = factory.ask(&["status"]);
    let found = &status["repositories"][0]["obstacle"];
    assert_eq!(found["code"], "bad_gate", "{found:#}");
    format!("{} {}", text(&found["text"]), text(&found["next_action"]))
}

#[test]
fn a_good_change_lands_by_the_repositorys_own_workflow() {
    let Some(mut factory) = gated_by(WORKFLOW) else {
        return;
    };
    factory.up();
    factory.repo.branch("good", &[("good", "1\n")]);
    let good = factory.offer("good");
    factory.landed(&[&good]);
    assert_eq!(
        checks(&factory, "B1"),
        pairs(&[
            ("ci.yml join", "passed"),
            ("ci.yml list", "passed"),
            ("ci.yml test (one)", "passed"),
            ("ci.yml test (two)", "passed"),
        ]),
        "a check for each leg"
    );
    let log = factory
        .run(&["build", "log", "B1", "--check", "ci.yml test (two)"])
        .out;
    let line = format!("testing two at {} for merge_group", factory.tip());
    assert!(log.contains(&line), "{log}");
    assert!(
        !log.contains("testing one"),
        "each leg has a log of its own: {log}"
    );
    let all = factory.run(&["build", "log", "B1"]).out;
    for name in ["join", "list", "test (one)", "test (two)"] {
        assert!(all.contains(&format!("==> ci.yml {name}.log <==")), "{all}");
    }
    let receipts = factory.ask(&["box", "receipt", "B1"]);
    assert_eq!(
        receipts["receipts"].as_array().expect("a list").len(),
        4,
        "{receipts:#}"
    );
    factory.proven();
}

#[test]
fn a_bad_change_bounces_with_the_lines_of_the_step_that_failed() {
    let Some(mut factory) = gated_by(WORKFLOW) else {
        return;
    };
    factory.up();
    factory.repo.branch("bad", &[("bad-two", "1\n")]);
    let bad = factory.offer("bad");
    assert_eq!(factory.decided(&[&bad]), 1);
    let shown = factory.show(&bad);
    assert_eq!(shown["state"], "bounced");
    assert_eq!(shown["reason"]["code"], "check_failed");
    let build = factory.ask(&["build", "show", "B1"]);
    let failed: Vec<&Value> = build["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|check| check["state"] == "failed")
        .collect();
    assert_eq!(
        failed.len(),
        1,
        "one leg failed, the others were ended early: {build:#}"
    );
    assert_eq!(failed[0]["name"], "ci.yml test (two)");
    assert!(text(&failed[0]["detail"]).contains("\"Look\""), "{build:#}");
    let evidence = failed[0]["evidence"].to_string();
    assert!(evidence.contains("error: bad-two is bad"), "{evidence}");
    let why = factory.run(&["queue", "show", &bad]).out;
    assert!(
        why.contains("ci.yml test (two)") && why.contains("bad-two is bad"),
        "{why}"
    );
    assert!(!factory.repo.has("main", "bad-two"));
}

#[test]
fn checks_of_the_gate_and_its_workflows_both_have_to_pass() {
    let Some(mut factory) = gated_by(WORKFLOW) else {
        return;
    };
    let both = format!("{GATE}[[gate.check]]\nname = \"own\"\nrun = \"test ! -e own-bad\"\n");
    factory.repo.push_to_main(&[(".gantry.toml", &both)]);
    factory.up();
    for (name, file, lands) in [
        ("a", "good", true),
        ("b", "own-bad", false),
        ("c", "bad-one", false),
    ] {
        factory.repo.branch(name, &[(file, "1\n")]);
        let change = factory.offer(name);
        assert_eq!(factory.decided(&[&change]) == 0, lands, "{file}");
    }
    assert_eq!(checks(&factory, "B1").len(), 5);
}

#[test]
fn a_workflow_that_knows_no_merge_queue_is_run_as_its_push_or_its_pull_request() {
    for (on, event) in [
        ("push", "push"),
        ("{push: {branches: [main]}}", "push"),
        ("[push, pull_request]", "pull_request"),
        ("{pull_request: {branches: ['ma*']}}", "pull_request"),
        ("[workflow_dispatch, push, merge_group]", "merge_group"),
    ] {
        let workflow = format!(
            "on: {on}\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo \"as $GITHUB_EVENT_NAME\"\n"
        );
        let Some(mut factory) = gated_by(&workflow) else {
            return;
        };
        factory.up();
        factory.repo.branch("good", &[("good", "1\n")]);
        let good = factory.offer("good");
        factory.landed(&[&good]);
        let log = factory.run(&["build", "log", "B1"]).out;
        assert!(log.contains(&format!("as {event}\n")), "{on}: {log}");
    }
}

#[test]
fn a_workflow_that_cannot_be_a_check_is_an_obstacle_that_says_what_to_write() {
    let job = "jobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n";
    for (workflow, words) in [
        (
            format!("on: workflow_dispatch\n{job}      - run: exit 0\n"),
            vec!["ci.yml", "merge_group", "`on:`"],
        ),
        (
            format!("on: push\n{job}      - uses: some/unknown@v9\n"),
            vec![".github/workflows/ci.yml:6:15", "some/unknown@v9", "gantry ci"],
        ),
        (
            "on: push\njobs:\n  test:\n    runs-on: windows-latest\n    steps:\n      - run: exit 0\n"
                .to_owned(),
            vec![".github/workflows/ci.yml:4:14", "windows-latest"],
        ),
        (
            format!("on: push\n{job}      - run: exit 0\n        rum: exit 0\n"),
            vec![".github/workflows/ci.yml", "7", "rum"],
        ),
        ("on: push\njobs: [\n".to_owned(), vec![".github/workflows/ci.yml"]),
    ] {
        let Some(mut factory) = gated_by(&workflow) else {
            return;
        };
        factory.up();
        factory.repo.branch("good", &[("good", "1\n")]);
        let good = factory.offer("good");
        factory.until_reason(&good, "bad_gate");
        let said = obstacle(&factory);
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
        assert_eq!(factory.ask(&["build", "list"])["builds"], serde_json::json!([]));
        // A push that mends it is all it takes.
        factory.repo.push_to_main(&[(CI, WORKFLOW)]);
        factory.landed(&[&good]);
    }
}

#[test]
fn a_workflow_that_is_not_there_is_an_obstacle() {
    let Some(mut factory) = Factory::with_gate(GATE) else {
        return;
    };
    factory.up();
    factory.repo.branch("good", &[("good", "1\n")]);
    let good = factory.offer("good");
    factory.until_reason(&good, "bad_gate");
    let said = obstacle(&factory);
    assert!(said.contains(".github/workflows/ci.yml is not there"), "{said}");
}

#[test]
fn what_another_workflow_uses_is_no_concern_of_the_gate() {
    let Some(mut factory) = gated_by(WORKFLOW) else {
        return;
    };
    factory.repo.push_to_main(&[
        (
            ".github/workflows/release.yml",
            "on: push\njobs:\n  x:\n    runs-on: macos-15\n    steps:\n      - uses: some/unknown@v9\n",
        ),
        (".github/workflows/broken.yaml", "on: [\n"),
    ]);
    factory.up();
    factory.repo.branch("good", &[("good", "1\n")]);
    let good = factory.offer("good");
    factory.landed(&[&good]);
}

#[test]
fn a_change_is_tested_by_the_targets_workflow_and_not_by_its_own() {
    let Some(mut factory) = gated_by(WORKFLOW) else {
        return;
    };
    factory.up();
    let lax =
        "on: [merge_group]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: exit 0\n";
    factory.repo.branch("sly", &[(CI, lax), ("bad-one", "1\n")]);
    let sly = factory.offer("sly");
    assert_eq!(
        factory.decided(&[&sly]),
        1,
        "what it wrote into the workflow does not count"
    );
    assert_eq!(factory.show(&sly)["reason"]["code"], "check_failed");
    // One that passes the old workflow lands, and from then on the new one counts.
    factory.repo.branch("open", &[(CI, lax)]);
    let open = factory.offer("open");
    factory.landed(&[&open]);
    factory.repo.branch("after", &[("bad-two", "1\n")]);
    let after = factory.offer("after");
    factory.landed(&[&after]);
    let landed = text(&factory.show(&after)["landed"]["build"]);
    assert_eq!(checks(&factory, &landed), pairs(&[("ci.yml test", "passed")]));
}

#[test]
fn a_change_that_breaks_the_workflow_is_held() {
    for (name, content, word) in [
        ("broken", "on: push\njobs:\n  test:\n   - [\n", CI),
        (
            "unknown",
            "on: push\njobs:\n  t:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: some/unknown@v9\n",
            "some/unknown@v9",
        ),
        (
            "deaf",
            "on: workflow_dispatch\njobs:\n  t:\n    runs-on: ubuntu-latest\n    steps:\n      - run: exit 0\n",
            "merge_group",
        ),
    ] {
        let Some(mut factory) = gated_by(WORKFLOW) else {
            return;
        };
        factory.up();
        factory.repo.branch(name, &[(CI, content)]);
        let change = factory.offer(name);
        let mut shown = Value::Null;
        crate::factory::wait_for("it is held", || {
            shown = factory.show(&change);
            shown["state"] == "held"
        });
        let reason = shown["reason"].to_string();
        assert!(reason.contains(word), "{name}: {reason}");
        // Others go on.
        factory.repo.branch("good", &[("good", "1\n")]);
        let good = factory.offer("good");
        factory.landed(&[&good]);
    }
}

#[test]
fn a_workflow_whose_filters_leave_the_target_out_lands_nothing() {
    let workflow = "on:\n  push:\n    branches: [other]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: exit 0\n";
    let Some(mut factory) = gated_by(workflow) else {
        return;
    };
    let tip = factory.tip();
    factory.up();
    factory.repo.branch("good", &[("good", "1\n")]);
    let good = factory.offer("good");
    crate::factory::wait_for("it was tried, or said why not", || {
        let list = factory.ask(&["build", "list"]);
        let tried = list["builds"][0]["checks"]
            .to_string()
            .contains("no job of the gate's workflows ran");
        tried || factory.show(&good)["reason"]["code"] == "bad_gate"
    });
    assert_eq!(factory.tip(), tip, "nothing that was not tested lands");
}

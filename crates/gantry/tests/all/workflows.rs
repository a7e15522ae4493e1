//! The repository's own workflows, as the gate of the merge queue and by hand with `gantry ci`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::factory::{Factory, text};

const GATE: &str = "[gate]\nslots = 2\nworkflows = [\"ci.yml\"]\n";
const CI: &str = ".github/workflows/ci.yml";

/// Jobs that need one another, legs that are known only when another job has run, and files between jobs.
const WORKFLOW: &str = r#"on: [merge_group, push]
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

/// Runs `gantry ci …` on a work tree that has these files.
fn by_hand(files: &[(&str, &str)]) -> Option<Factory> {
    let factory = Factory::with_gate(GATE)?;
    for (path, content) in files {
        factory.repo.write(path, content);
    }
    Some(factory)
}

fn ci<'a>(factory: &'a Factory, words: &[&'a str]) -> crate::factory::Ran {
    let repo = factory.repo.path.to_str().expect("UTF-8");
    factory.run(&[&["ci", words[0], "--repo", repo], &words[1..]].concat())
}

#[test]
fn ci_run_tells_by_its_exit_code_and_its_document_how_it_went() {
    let Some(factory) = by_hand(&[(CI, WORKFLOW)]) else {
        return;
    };
    let good = ci(&factory, &["run", "--json"]);
    assert_eq!(good.code, 0, "{good:?}");
    let said = good.json();
    assert_eq!(said["ending"], "passed");
    let jobs = said["workflows"][0]["jobs"].as_array().expect("a list");
    let mut names: Vec<String> = jobs.iter().map(|job| text(&job["name"])).collect();
    names.sort();
    assert_eq!(names, ["join", "list", "test (one)", "test (two)"]);
    let log = std::fs::read_to_string(text(&jobs[0]["log"])).expect("the log is there");
    assert!(log.contains("GITHUB_OUTPUT"), "{log}");
    // What is not committed counts.
    factory.repo.write("bad-one", "1\n");
    let bad = ci(&factory, &["run", "ci.yml"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.contains("test (one) | error: bad-one is bad"), "{bad:?}");
    assert!(bad.out.contains("failed: 1 workflows, "), "{bad:?}");
    let said = ci(&factory, &["run", "--json"]).json();
    assert_eq!(said["ending"], "failed");
    let failed = said["workflows"][0]["jobs"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|job| job["name"] == "test (one)")
        .expect("it is there")
        .clone();
    assert!(
        failed["evidence"].to_string().contains("bad-one is bad"),
        "{failed:#}"
    );
    // A commit instead: it has no workflow at all.
    assert_eq!(ci(&factory, &["run", "--commit", "idle"]).code, 4);
    for (words, code) in [
        (vec!["run", "--event", "pushh"], 2),
        (vec!["run", "--input", "no-value"], 2),
        (vec!["run", "other.yml"], 4),
        (vec!["run", "--commit", "no-such"], 4),
        (vec!["run", "--profile", "no-such"], 2),
        // Nothing listens to it, so nothing was said to be good.
        (vec!["run", "--event", "schedule"], 1),
    ] {
        let ran = ci(&factory, &words);
        assert_eq!(ran.code, code, "{words:?}: {ran:?}");
    }
}

#[test]
fn ci_check_names_what_would_not_be_honoured_before_anything_runs() {
    let odd =
        "on: push\njobs:\n  t:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: some/unknown@v9\n";
    let Some(factory) = by_hand(&[(CI, WORKFLOW)]) else {
        return;
    };
    let good = ci(&factory, &["check", "--json"]);
    assert_eq!(good.code, 0, "{good:?}");
    let said = good.json();
    let fields: Vec<&String> = said.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["commit", "files", "notes", "refused"]);
    assert_eq!(
        (&said["files"], &said["refused"]),
        (&1.into(), &serde_json::json!([]))
    );
    factory.repo.write(".github/workflows/odd.yml", odd);
    let bad = ci(&factory, &["check", "--json"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    let said = bad.json();
    assert_eq!(said["files"], 2);
    let refused = text(&said["refused"][0]);
    assert!(
        refused.starts_with(".github/workflows/odd.yml:6:15: "),
        "{refused}"
    );
    assert_eq!(
        ci(&factory, &["check", "ci.yml"]).code,
        0,
        "the other file is not meant"
    );
    let run = ci(&factory, &["run"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:?}");
    assert!(
        run.err.contains("nothing was run") && run.err.contains("odd.yml:6:15"),
        "{run:?}"
    );
    assert_eq!(ci(&factory, &["run", "ci.yml"]).code, 0);
    // Kept by name it can be used.
    let action = factory.folder.path().join("action");
    std::fs::create_dir(&action).expect("a folder");
    let manifest =
        "name: x\nruns:\n  using: composite\n  steps:\n    - run: echo mirrored\n      shell: bash\n";
    std::fs::write(action.join("action.yml"), manifest).expect("written");
    let path = action.to_str().expect("UTF-8").to_owned();
    assert_eq!(
        factory.ask(&["ci", "mirror", "some/unknown@v9", &path])["version"],
        "v9"
    );
    assert_eq!(ci(&factory, &["check"]).code, 0);
    let ran = ci(&factory, &["run", "odd.yml"]);
    assert!(ran.code == 0 && ran.out.contains("mirrored"), "{ran:?}");
    let listed = factory.ask(&["ci", "mirrored"]);
    assert_eq!(listed["actions"][0]["repository"], "some/unknown");
    std::fs::remove_dir_all(factory.repo.path.join(".github")).expect("removed");
    assert_eq!(ci(&factory, &["check"]).code, 4);
}

/// Where the workflows that prove features are.
fn proofs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/workflows")
}

/// Workflows whose expectation needs what nobody can say by hand, and what that is.
const NOT_BY_HAND: [(&str, &str); 6] = [
    ("called", "it is there to be called"),
    ("container", "an image"),
    ("contexts", "variables of the repository"),
    ("ignored", "the paths that changed"),
    ("schedule", "the line of the schedule"),
    ("triggers", "the name of the branch that is merged and its number"),
];

/// What is called otherwise by hand, in the workflow and in what is expected of it.
const BY_HAND: [(&str, &str); 2] = [("octo/repo\n", "local/repo\n"), ("= 'a message'", "= 'all'")];

fn by_hands_names(content: &str) -> String {
    BY_HAND.iter().fold(content.to_owned(), |content, (from, to)| {
        content.replace(from, to)
    })
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Leaves out of an expectation what `ci run --json` does not tell: outputs, annotations, how an ending counts.
fn told_by_hand(expected: &str) -> String {
    let left_out = regex::Regex::new(r"^    (output |Error|Warning|Notice)").expect("a pattern");
    let counted = regex::Regex::new(r"^(  job .*: \w+)( \[\w+\])?( tolerated)?$").expect("a pattern");
    expected
        .lines()
        .filter(|line| !left_out.is_match(line))
        .map(|line| format!("{}\n", counted.replace(line, "$1")))
        .collect()
}

fn render(said: &Value) -> String {
    let mut out = String::new();
    let mut line = |words: String| writeln!(out, "{words}").expect("memory takes it");
    for workflow in said["workflows"].as_array().expect("a list") {
        let why = workflow["why"]
            .as_str()
            .map_or(String::new(), |why| format!(": {why}"));
        line(format!(
            "{} {}{why}",
            text(&workflow["name"]),
            text(&workflow["conclusion"])
        ));
        let mut jobs = workflow["jobs"].as_array().expect("a list").clone();
        jobs.sort_by_key(|job| (text(&job["id"]), text(&job["name"])));
        for job in &jobs {
            line(format!(
                "  job {}: {}",
                text(&job["name"]),
                text(&job["conclusion"])
            ));
            if job["detail"] != "" {
                line(format!("    because: {}", text(&job["detail"])));
            }
            for step in job["steps"].as_array().expect("a list") {
                let (outcome, conclusion) = (text(&step["outcome"]), text(&step["conclusion"]));
                let counted = if outcome == conclusion {
                    String::new()
                } else {
                    format!(" as {conclusion}")
                };
                line(format!("    step {}: {outcome}{counted}", text(&step["name"])));
            }
            if let Some(path) = job["summary"].as_str() {
                let summary = std::fs::read_to_string(path).expect("the summary is there");
                summary
                    .lines()
                    .for_each(|words| line(format!("    summary: {words}")));
            }
        }
    }
    out
}

#[test]
fn every_workflow_that_proves_a_feature_proves_it_in_real_boxes() {
    let Some(factory) = Factory::with_gate(GATE) else {
        return;
    };
    let token = factory.folder.path().join("token");
    std::fs::write(&token, "hunter2hunter2").expect("written");
    std::fs::create_dir_all(factory.data()).expect("a folder");
    let file = format!(
        "[profile.default]\nsecrets = [\"TOKEN\"]\n[secret.TOKEN]\nfile = {:?}\n",
        token.to_str().expect("UTF-8")
    );
    std::fs::write(factory.data().join("gantry.toml"), file).expect("written");
    for name in ["hello", "docker"] {
        let path = proofs().join("mirror/octo").join(name).join("v1");
        let path = path.to_str().expect("UTF-8").to_owned();
        factory.ask(&["ci", "mirror", &format!("octo/{name}@v1"), &path]);
    }
    copy_folder(&proofs().join("repository"), &factory.repo.path);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(proofs()).expect("a folder") {
        let name = entry.expect("read").file_name().into_string().expect("UTF-8");
        if let Some(plain) = name.strip_suffix(".yml") {
            let content = by_hands_names(&std::fs::read_to_string(proofs().join(&name)).expect("it is text"));
            factory.repo.write(&format!(".github/workflows/{name}"), &content);
            names.push((plain.to_owned(), content));
        }
    }
    factory.repo.commit("all");
    names.sort();
    assert!(names.len() > 20, "{}", names.len());
    let mut wrong = String::new();
    for (name, content) in names {
        if NOT_BY_HAND.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let said = |key: &str| -> Vec<String> {
            let start = format!("# {key}: ");
            content
                .lines()
                .filter_map(|line| Some(line.strip_prefix(&start)?.trim().to_owned()))
                .collect()
        };
        let event = said("event").pop().unwrap_or_else(|| "push".to_owned());
        let inputs = said("input");
        let file = format!("{name}.yml");
        let mut words = vec!["run", "--json", "--commit", "idle", "--event", &event];
        for input in &inputs {
            words.extend(["--input", input]);
        }
        words.push(&file);
        let ran = ci(&factory, &words);
        let expected =
            std::fs::read_to_string(proofs().join(format!("{name}.expected"))).expect("it is there");
        let (expected, found) = if expected.starts_with("refused: ") {
            let refusal: Value = serde_json::from_str(&ran.err).expect("one document");
            let lines = text(&refusal["error"]);
            let lines = lines
                .lines()
                .skip(1)
                .map(|line| format!("refused: {}\n", line.trim()));
            // What is in an action that is kept shows when the run begins.
            let own = expected
                .lines()
                .filter(|line| line.starts_with("refused: .github/"));
            assert_eq!(ran.code, 2, "{name}: {ran:?}");
            (own.map(|line| format!("{line}\n")).collect(), lines.collect())
        } else {
            let code = match expected.lines().next() {
                Some(line) if line.ends_with(" success") => 0,
                _ if expected.contains(" [failed]") => 1,
                _ if expected.contains(" [timed_out]") => 6,
                _ => panic!("{name}: it neither passes nor fails: {expected}"),
            };
            if ran.code != code {
                writeln!(
                    wrong,
                    "{name} ends with {} instead of {code}: {}",
                    ran.code, ran.err
                )
                .expect("memory takes it");
            }
            if ran.out.is_empty() {
                continue;
            }
            (told_by_hand(&by_hands_names(&expected)), render(&ran.json()))
        };
        if expected.trim_end() != found.trim_end() {
            write!(wrong, "{name} is\n{found}instead of\n{expected}\n").expect("memory takes it");
        }
    }
    assert_eq!(wrong, "");
}

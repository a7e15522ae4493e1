//! The repository's own workflows by hand: `gantry ci`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::factory::{Factory, text};
use crate::workflows::{CI, GATE, WORKFLOW};

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

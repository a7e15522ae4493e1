//! Workflow files as people write them: those beside this test, and those that the sources of our dependencies bring.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gantry_workflow::model::{
    ActionFile, ActionRuns, JobKind, OrExpression, StepKind, Strategy, WorkflowFile, render_invalid_workflow,
};
use gantry_workflow::support::{
    FEATURES, Feature, Known, Verdict, check, features_of_action, features_used, render_table,
};
use proptest::prelude::*;

/// The files of a folder beside this test, by name.
fn files_in(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/workflows")
        .join(folder);
    let mut files: Vec<(String, String)> = fs::read_dir(&root)
        .expect("the folder is committed")
        .map(|entry| {
            let path = entry.expect("a folder of this checkout can be listed").path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            (
                name,
                fs::read_to_string(&path).expect("a file of this checkout can be read"),
            )
        })
        .collect();
    files.sort();
    files
}

fn workflow(name: &str) -> WorkflowFile {
    let files = files_in("valid");
    let (_, text) = files
        .iter()
        .find(|(file, _)| file == name)
        .expect("the workflow is committed");
    WorkflowFile::parse(name, text).unwrap_or_else(|faults| panic!("{}", render_invalid_workflow(&faults)))
}

#[test]
fn every_workflow_and_action_beside_this_test_is_valid() {
    let workflows = files_in("valid");
    for (name, text) in &workflows {
        if let Err(faults) = WorkflowFile::parse(name, text) {
            panic!("{}", render_invalid_workflow(&faults));
        }
    }
    let actions = files_in("actions");
    for (name, text) in &actions {
        if let Err(faults) = ActionFile::parse(name, text) {
            panic!("{}", render_invalid_workflow(&faults));
        }
    }
    assert!(workflows.len() >= 6 && actions.len() >= 3);
}

#[test]
fn every_invalid_workflow_is_refused_with_the_messages_written_in_it() {
    let files = files_in("invalid");
    assert!(files.len() >= 10, "{} files", files.len());
    for (name, text) in files {
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#! ")).collect();
        let said: Vec<String> = match WorkflowFile::parse(&name, &text) {
            Ok(_) => Vec::new(),
            Err(faults) => faults
                .iter()
                .map(|fault| format!("({}): {}", fault.place, fault.message))
                .collect(),
        };
        assert_eq!(said, expected, "{name}");
    }
}

#[test]
fn other_peoples_models_read_what_this_one_reads() {
    for (name, text) in files_in("valid") {
        let theirs = yaml_serde::from_str::<github_actions_models::workflow::Workflow>(&text);
        let theirs = theirs.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let ours = WorkflowFile::parse(&name, &text).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        let ids: Vec<&String> = theirs.jobs.keys().collect();
        assert_eq!(
            ours.jobs.iter().map(|job| &job.id.value).collect::<Vec<_>>(),
            ids,
            "{name}"
        );
    }
}

#[test]
fn a_workflow_takes_up_to_25_inputs() {
    let text = |count: usize| {
        let inputs: String = (0..count).map(|n| format!("      i{n}: {{}}\n")).collect();
        format!("on:\n  workflow_dispatch:\n    inputs:\n{inputs}jobs:\n  a:\n    runs-on: x\n")
    };
    assert!(WorkflowFile::parse("x.yml", &text(25)).is_ok());
    let faults = WorkflowFile::parse("x.yml", &text(26)).expect_err("one too many");
    assert_eq!(
        faults[0].message,
        "you may only define up to 25 `inputs` for a `workflow_dispatch` event"
    );
}

proptest! {
    /// Cuts, doubles and replaces pieces of real workflows: whatever comes out is read or refused, and a refusal names a
    /// place inside the text.
    #[test]
    fn damaged_workflows_are_read_or_refused_at_a_place_in_them(
        file in 0..6_usize,
        cuts in prop::collection::vec((0..10_000_usize, 0..12_usize, "[-a-z:{}\\[\\]&*!|>'\"$# \n]{0,6}"), 1..6),
    ) {
        let mut text = files_in("valid")[file].1.clone();
        for (at, length, new) in cuts {
            let chars: Vec<char> = text.chars().collect();
            let start = at % chars.len().max(1);
            let end = (start + length).min(chars.len());
            text = chars[..start].iter().chain(new.chars().collect::<Vec<_>>().iter()).chain(&chars[end..]).collect();
        }
        if let Err(faults) = WorkflowFile::parse("x.yml", &text) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.place.line <= text.lines().count() + 1, "{fault}");
            }
        }
    }
}

#[test]
fn workflows_in_the_sources_of_dependencies_are_valid() {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));
    let lock = lock.expect("the lock file of the workspace");
    // What else a machine has of other programs is not judged: some of it is not valid.
    let is_ours = |source: &Path| {
        let folder = source
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        folder.rsplit_once('-').is_some_and(|(name, version)| {
            lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n"))
        })
    };
    let mut count = 0;
    for index in folders(&home.join("registry/src")) {
        for source in folders(&index).into_iter().filter(|source| is_ours(source)) {
            for path in folders(&source.join(".github/workflows")) {
                let Ok(text) = fs::read_to_string(&path) else {
                    continue;
                };
                let name = path.to_string_lossy();
                if name.ends_with(".yml") || name.ends_with(".yaml") {
                    count += 1;
                    if let Err(faults) = WorkflowFile::parse(&name, &text) {
                        panic!("{}", render_invalid_workflow(&faults));
                    }
                }
            }
        }
    }
    println!("{count} workflows of dependencies are valid");
    // Sources this test is built from, such as those of thiserror, bring some to every machine.
    assert!(count > 0, "no workflow was found under {}", home.display());
}

/// The entries of a folder; none if there is no such folder.
fn folders(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

#[test]
fn every_feature_of_the_table_is_used_by_a_workflow_beside_this_test() {
    let mut used: BTreeSet<Feature> = BTreeSet::new();
    for (name, text) in files_in("valid") {
        used.extend(features_used(&WorkflowFile::parse(&name, &text).unwrap()));
    }
    for (name, text) in files_in("actions") {
        used.extend(features_of_action(&ActionFile::parse(&name, &text).unwrap()));
    }
    let missing: Vec<&str> = FEATURES
        .iter()
        .filter(|row| !used.contains(&row.feature))
        .map(|row| row.name)
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
    let table = render_table(|_| Some("proof.yml".into()));
    assert_eq!(table.lines().count(), FEATURES.len() + 2);
}

#[test]
fn whatever_is_not_honoured_everywhere_says_why() {
    for row in FEATURES {
        let honoured = row.state == gantry_workflow::support::FeatureState::Honoured;
        assert_eq!(row.reason.is_empty(), honoured, "{}", row.name);
    }
}

#[test]
fn the_model_of_a_workflow_keeps_values_and_places() {
    let file = workflow("ci.yml");
    let values: Vec<&str> = file
        .env
        .pairs()
        .iter()
        .map(|(_, value)| value.value.as_str())
        .collect();
    assert_eq!(values, ["always", "3", "3.1"]);
    let test = file.job("test").unwrap();
    assert_eq!((test.id.place.line, test.id.place.column), (54, 3));
    let Some(Strategy::Written {
        fail_fast,
        max_parallel,
        ..
    }) = &test.strategy
    else {
        panic!("written out")
    };
    assert_eq!(
        fail_fast.as_ref().map(|value| &value.value),
        Some(&OrExpression::Literal(false))
    );
    assert_eq!(
        max_parallel.as_ref().map(|value| &value.value),
        Some(&OrExpression::Literal(2.0))
    );
    let JobKind::Steps(steps) = &test.kind else {
        panic!("has steps")
    };
    assert_eq!(steps.steps[2].default_name(), "Run cargo test");
    assert_eq!(steps.steps[0].default_name(), "Run actions/checkout@v4");
}

#[test]
fn anchors_make_equal_jobs_and_words_stay_words() {
    let file = workflow("anchors.yml");
    let kind = |id: &str| file.job(id).unwrap().kind.clone();
    assert_eq!(kind("first"), kind("second"));
    let JobKind::Steps(third) = kind("third") else {
        panic!("has steps")
    };
    assert_eq!(
        third.env.get("ANSWER").map(|value| value.value.as_str()),
        Some("yes")
    );
    assert_eq!(
        third.env.get("switch").map(|value| value.value.as_str()),
        Some("on")
    );
}

#[test]
fn background_steps_are_read_in_all_their_forms() {
    let file = workflow("background.yml");
    let JobKind::Steps(job) = &file.jobs[0].kind else {
        panic!("has steps")
    };
    assert_eq!(
        job.steps.iter().filter(|step| step.background.is_some()).count(),
        2
    );
    assert!(matches!(&job.steps[3].kind, StepKind::Cancel(id) if id.value == "watcher"));
    assert!(matches!(&job.steps[4].kind, StepKind::Wait(ids) if ids.len() == 1));
    assert!(matches!(job.steps[5].kind, StepKind::WaitAll));
    assert!(matches!(&job.steps[6].kind, StepKind::Parallel(steps) if steps.len() == 2));
}

#[test]
fn the_three_kinds_of_actions_are_read() {
    let actions: Vec<ActionFile> = files_in("actions")
        .into_iter()
        .map(|(name, text)| ActionFile::parse(&name, &text).unwrap())
        .collect();
    let [composite, docker, javascript] = actions.as_slice() else {
        panic!("three actions")
    };
    assert!(matches!(&composite.runs, ActionRuns::Composite { steps } if steps.len() == 2));
    assert!(composite.inputs[0].required);
    let ActionRuns::Docker(docker) = &docker.runs else {
        panic!("a Docker action")
    };
    assert_eq!(docker.args.len(), 2);
    let ActionRuns::Javascript(javascript) = &javascript.runs else {
        panic!("a JavaScript action")
    };
    assert_eq!(javascript.node.value, "24");
    assert_eq!(
        javascript.post_condition.as_ref().map(|text| text.value.as_str()),
        Some("success()")
    );
    for (text, message) in [
        (
            "runs: {using: node24, pre: x}",
            "Required property is missing: main",
        ),
        ("runs: {using: ruby, main: x}", "Unexpected value 'ruby'"),
        ("name: x", "Required property is missing: runs"),
        (
            "runs: {using: composite, steps: [{run: x}]}",
            "Required property is missing: shell",
        ),
    ] {
        let faults = ActionFile::parse("action.yml", text).unwrap_err();
        assert!(
            faults.iter().any(|fault| fault.message == message),
            "{text}: {faults:?}"
        );
    }
}

#[test]
fn a_machine_that_has_nothing_refuses_what_needs_something() {
    let refused: BTreeSet<Feature> = ["ci.yml", "containers.yml", "call.yml", "background.yml"]
        .into_iter()
        .flat_map(|name| check(&workflow(name), &Known::default()))
        .filter(|finding| finding.verdict == Verdict::Refused)
        .map(|finding| finding.feature)
        .collect();
    let expected = [
        Feature::RunsOn,
        Feature::Container,
        Feature::Services,
        Feature::Snapshot,
        Feature::ReusableCall,
        Feature::UsesRemote,
        Feature::UsesDocker,
    ];
    assert_eq!(refused, expected.into());
}

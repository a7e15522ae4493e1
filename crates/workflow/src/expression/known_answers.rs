//! GitHub's own cases for expressions, run against ours. Owns where they are found and how answers are compared.
//!
//! The cases are those of actions/languageservices, which the crate `github-actions-expressions` carries in its
//! published sources. They are read from there and are not a part of this repository. None is left out: the five
//! that say `skip: ["typescript"]` describe what the runner does and GitHub's TypeScript does not (places after a
//! line break, the bound on memory), and the runner is what we follow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::fixed_scope::FixedScope;
use super::{Availability, Expression, Object, Value};

/// How many cases there are; one less means that one got lost.
const CASES: usize = 1_020;

/// The memory that GitHub's cases are written for, less than a workflow gets.
const MEMORY_BYTES: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Case {
    expr: String,
    result: Option<Answer>,
    err: Option<Failure>,
    #[serde(default)]
    contexts: Option<Value>,
}

#[derive(Deserialize)]
struct Answer {
    kind: String,
    value: Value,
}

#[derive(Deserialize)]
struct Failure {
    kind: String,
    value: String,
}

/// Finds the sources of the crate that carries the cases, as Cargo itself unpacked them.
fn cases_folder() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    #[expect(
        clippy::disallowed_methods,
        reason = "the crate knows no door to programs, and Cargo runs its tests"
    )]
    let mut command = Command::new(cargo);
    command
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            // Crates of other systems are not on this machine, and need not be.
            "--filter-platform",
            platform(),
            "--manifest-path",
        ])
        .arg(manifest);
    let output = command.output().expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo metadata failed (run `cargo fetch` first): {errors}"
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "github-actions-expressions")
        .expect("the crate is a dependency");
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("tests/testdata")
}

fn kind_and_value(value: &Value) -> (&'static str, &Value) {
    let kind = match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    };
    (kind, value)
}

/// Runs a case, and says what is wrong with the answer.
fn run(case: &Case) -> Result<(), String> {
    let contexts = match &case.contexts {
        Some(Value::Object(contexts)) => contexts.clone(),
        Some(other) => return Err(format!("contexts are no object: {other:?}")),
        None => Object::default(),
    };
    let names: Vec<&str> = contexts.entries().map(|(name, _)| &**name).collect();
    let scope = FixedScope {
        contexts: contexts
            .entries()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect(),
        failed: false,
    };
    let parsed = Expression::parse(&case.expr, &Availability::of(&names));
    let (stage, message) = match parsed {
        Err(error) => ("parsing", error.to_string()),
        Ok(expression) => match expression.evaluate_within(&scope, MEMORY_BYTES) {
            Err(error) => ("evaluation", error.to_string()),
            Ok(value) => return check_value(case, &value),
        },
    };
    let Some(expected) = &case.err else {
        return Err(format!("failed while {stage}: {message}"));
    };
    // Lexing and parsing are one to us; both come before any evaluation.
    let expected_stage = if expected.kind == "lexing" {
        "parsing"
    } else {
        &expected.kind
    };
    if expected_stage != stage || !message.contains(&expected.value) {
        return Err(format!(
            "{stage}: {message}\n    expected {}: {}",
            expected.kind, expected.value
        ));
    }
    Ok(())
}

fn check_value(case: &Case, value: &Value) -> Result<(), String> {
    let Some(expected) = &case.result else {
        return Err(format!("gave {value:?} and should have failed"));
    };
    let found = kind_and_value(value);
    if found != (&*expected.kind, &expected.value) {
        return Err(format!(
            "gave {found:?}\n    expected {} {:?}",
            expected.kind, expected.value
        ));
    }
    Ok(())
}

#[test]
fn every_case_of_github_has_githubs_answer() {
    let folder = cases_folder();
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let groups: BTreeMap<String, Vec<Case>> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (group, cases) in groups {
            for (place, case) in cases.iter().enumerate() {
                count += 1;
                if let Err(problem) = run(case) {
                    wrong.push(format!("{name} {group} {place}: {}\n    {problem}", case.expr));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(count, CASES);
}

/// Returns the platform whose crates were fetched to build this.
const fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "aarch64-unknown-linux-gnu"
    } else {
        "x86_64-unknown-linux-gnu"
    }
}

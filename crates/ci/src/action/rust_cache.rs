//! `Swatinem/rust-cache`: Cargo's registry and the target directories, under a key of compiler, environment and lock
//! files. Owns what is in the key; what a workspace built of its own crates is not kept, only dependencies are.

use std::path::{Path, PathBuf};

use super::call::{ActionCall, ActionError, ActionOutcome, PostWhen};
use super::dependencies::{save_dependencies, state};
use super::inputs::{InputSpec, default, input};
use crate::digest::of_bytes;

pub(super) const INPUTS: &[InputSpec] = &[
    default("prefix-key", "v0-rust"),
    input("shared-key"),
    input("key"),
    default("add-job-id-key", "true"),
    default("add-rust-environment-hash-key", "true"),
    input("env-vars"),
    input("workspaces"),
    input("cache-directories"),
    default("cache-targets", "true"),
    input("cache-on-failure"),
    default("cache-all-crates", "false"),
    default("cache-workspace-crates", "false"),
    default("save-if", "true"),
    default("cache-provider", "github"),
    default("cache-bin", "true"),
    default("lookup-only", "false"),
    default("cmd-format", "{0}"),
];

/// Names of variables that change what a compiler makes begin so.
const ENVIRONMENT: [&str; 6] = ["CARGO", "CC", "CFLAGS", "CXX", "CMAKE", "RUST"];

const TARGETS: &str = "TARGETS";

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let mut outcome = ActionOutcome::default();
    if call.inputs.get("cmd-format") != "{0}" {
        return Err(ActionError::Offline(
            "cmd-format of Swatinem/rust-cache is not built in".to_owned(),
        ));
    }
    call.without_effect(&["cache-provider"], "caches are gantry's own");
    call.without_effect(
        &["cache-bin"],
        "programs that were installed are not kept, they belong into the image",
    );
    let exact = restore(call, &mut outcome)?;
    outcome.output("cache-hit", exact.to_string());
    if call.inputs.get("cache-on-failure") == "true" {
        outcome.set_env("CACHE_ON_FAILURE", "true");
    }
    if !call.inputs.is("save-if")? || call.inputs.is("lookup-only")? {
        outcome.post = None;
    }
    if call.var("CARGO_INCREMENTAL").is_none_or(|value| value == "0") {
        outcome.set_env("CARGO_INCREMENTAL", "0");
    }
    Ok(outcome)
}

/// Returns each workspace with its target directory.
fn workspaces(call: &ActionCall<'_>) -> Vec<(PathBuf, PathBuf)> {
    let mut lines: Vec<&str> = call.inputs.lines("workspaces").collect();
    if lines.is_empty() {
        lines.push(".");
    }
    lines
        .into_iter()
        .map(|line| {
            let (root, target) = line.split_once("->").unwrap_or((line, "target"));
            let root = if root.trim() == "." {
                call.workspace.to_owned()
            } else {
                call.path(root.trim())
            };
            let target = root.join(target.trim());
            (root, target)
        })
        .collect()
}

/// Returns the key without the lock files, and with them.
fn keys(call: &ActionCall<'_>, workspaces: &[(PathBuf, PathBuf)]) -> Result<(String, String), ActionError> {
    let inputs = &call.inputs;
    let or = |name: &str, usual: &'static str| {
        Some(inputs.get(name))
            .filter(|text| !text.is_empty())
            .unwrap_or(usual)
            .to_owned()
    };
    let mut key = or("prefix-key", "v0-rust");
    match inputs.get("shared-key") {
        "" => {
            if !inputs.get("key").is_empty() {
                key.push_str(&format!("-{}", inputs.get("key")));
            }
            if or("add-job-id-key", "true") != "false" {
                key.push_str(&format!("-{}", call.var("GITHUB_JOB").unwrap_or("job")));
            }
        }
        shared => key.push_str(&format!("-{shared}")),
    }
    let compiler = call.tell_in(&["rustc", "-vV"], &workspaces[0].0)?;
    let mut facts = compiler;
    let extra: Vec<&str> = inputs.get("env-vars").split_whitespace().collect();
    let mut names: Vec<&str> = call.env.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| {
        *name != "CARGO_HOME"
            && ENVIRONMENT
                .iter()
                .chain(&extra)
                .any(|prefix| name.starts_with(prefix))
    }) {
        facts.push_str(&format!("\n{name}={}", call.var(name).unwrap_or_default()));
    }
    key.push_str(&format!(
        "-Linux-{}-{}",
        call.arch(),
        &of_bytes(facts.as_bytes())[..8]
    ));
    let mut patterns = String::new();
    for (root, target) in workspaces {
        let root = root.display();
        for name in [
            "Cargo.toml",
            "Cargo.lock",
            "rust-toolchain",
            "rust-toolchain.toml",
            ".cargo/config.toml",
            ".cargo/config",
        ] {
            patterns.push_str(&format!("{root}/**/{name}\n"));
        }
        patterns.push_str(&format!("!{}\n", target.display()));
    }
    let locks = call
        .hash_files(&patterns)?
        .map_or_else(|| "none".to_owned(), |hash| hash[..8].to_owned());
    let whole = format!("{key}-{locks}");
    Ok((key, whole))
}

fn restore(call: &mut ActionCall<'_>, outcome: &mut ActionOutcome) -> Result<bool, ActionError> {
    let workspaces = workspaces(call);
    let (prefix, key) = keys(call, &workspaces)?;
    let home = call.home().unwrap_or_else(|| PathBuf::from("/"));
    let cargo = call
        .var("CARGO_HOME")
        .map_or_else(|| home.join(".cargo"), PathBuf::from);
    let mut paths: Vec<String> = Vec::new();
    let mut add = |path: &Path| paths.push(path.display().to_string());
    ["registry/index", "registry/cache", "git/db"]
        .iter()
        .for_each(|part| add(&cargo.join(part)));
    let targets = call.inputs.get("cache-targets") != "false";
    let lookup = call.inputs.is("lookup-only")?;
    if targets {
        workspaces.iter().for_each(|(_, target)| add(target));
    }
    paths.extend(call.inputs.lines("cache-directories").map(str::to_owned));
    let exact = call.find_dependencies(outcome, &paths.join("\n"), (&key, &[prefix]), lookup)?;
    if targets && call.inputs.get("cache-workspace-crates") != "true" {
        let text = workspaces
            .iter()
            .map(|(root, target)| format!("{}\t{}", root.display(), target.display()));
        outcome.save_state(TARGETS, text.collect::<Vec<_>>().join("\n"));
    }
    outcome.post = Some((PostWhen::SuccessOr("CACHE_ON_FAILURE"), save));
    Ok(exact)
}

/// Takes what was built of a workspace's own crates out of its target directory: their sources change with every
/// commit, and what was built of older ones would only be carried along.
///
/// A hash of Cargo has sixteen digits, so `foo` does not take `foo-bar` away as well.
const CLEAN: &str = r#"target=$0
for profile in "$target"/debug "$target"/release "$target"/*/debug "$target"/*/release; do
  [ -d "$profile" ] || continue
  rm -rf "$profile/incremental" "$profile/examples"
  for name do
    under=$(printf %s "$name" | tr - _)
    for one in ".fingerprint/$name" "build/$name" "deps/$under" "deps/lib$under" "deps/$name"; do
      rm -rf "$profile/$one"-???????????????? "$profile/$one"-????????????????.*
    done
  done
done
"#;

/// Returns the names of a workspace's own packages and of what they build.
fn own_names(metadata: &str) -> Option<Vec<String>> {
    let value: serde_json::Value = serde_json::from_str(metadata).ok()?;
    let mut names = Vec::new();
    for package in value["packages"].as_array()? {
        names.push(package["name"].as_str()?.to_owned());
        for target in package["targets"].as_array()? {
            names.push(target["name"].as_str()?.to_owned());
        }
    }
    names.sort();
    names.dedup();
    Some(names)
}

fn save(call: &mut ActionCall<'_>, saved: &[(String, String)]) -> Result<(), ActionError> {
    for line in state(saved, TARGETS).lines() {
        let Some((root, target)) = line.split_once('\t') else {
            continue;
        };
        let line = "cargo metadata --no-deps --offline --format-version 1 2>/dev/null";
        let asked = call.ask_in(&["/bin/sh", "-c", line], Path::new(root))?;
        let Some(names) = own_names(&asked.text).filter(|_| asked.code == 0) else {
            call.warn(&format!(
                "cargo metadata does not say what {root} builds: its target directory is kept whole"
            ));
            continue;
        };
        let mut command = vec!["/bin/sh", "-c", CLEAN, target];
        command.extend(names.iter().map(String::as_str));
        call.tell_in(&command, Path::new("/"))?;
    }
    save_dependencies(call, saved)
}

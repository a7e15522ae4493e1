//! `pnpm/action-setup`: a pnpm that is in the box, on `PATH`.

use std::path::Path;

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, default, input};
use super::setup_node::prepended;
use super::toolchain::{Look, as_written, version_of};
use crate::version::{Tool, Wanted};

pub(super) const INPUTS: &[InputSpec] = &[
    input("version"),
    default("dest", "~/setup-pnpm"),
    default("run_install", "null"),
    default("cache", "false"),
    default("cache_dependency_path", "pnpm-lock.yaml"),
    default("package_json_file", "package.json"),
    default("standalone", "false"),
];

/// Returns the version that `packageManager` or `devEngines` of a `package.json` names.
fn in_package(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let named = value["packageManager"]
        .as_str()
        .and_then(|text| text.strip_prefix("pnpm@"))
        .map(str::to_owned);
    named
        .map(|text| text.split('+').next().unwrap_or(&text).to_owned())
        .or_else(|| {
            let manager = &value["devEngines"]["packageManager"];
            (manager["name"] == "pnpm").then(|| manager["version"].as_str().map(str::to_owned))?
        })
}

fn wish(call: &ActionCall<'_>) -> Result<String, ActionError> {
    let file = call.path(call.inputs.get("package_json_file"));
    let named = call.read_file(&file)?.as_deref().and_then(in_package);
    match (call.inputs.get("version"), named) {
        ("", None) => {
            Err(ActionError::Failed(
                "No pnpm version is specified. Please specify it by one of the following ways: in the GitHub Action config with the key \"version\", or in the package.json with the key \"packageManager\"".to_owned(),
            ))
        }
        ("", Some(named)) => Ok(named),
        (given, Some(named))
            if given != named
                && given != "latest"
                && named.split('.').count() == 3
                && given.split('.').count() == 3 =>
        {
            Err(ActionError::Failed(format!(
                "Multiple versions of pnpm specified: version {given} in the GitHub Action config, and {named} in package.json"
            )))
        }
        (given, _) => Ok(given.to_owned()),
    }
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let text = wish(call)?;
    let mut places = vec![(call.path(call.inputs.get("dest")), "node_modules/.bin/pnpm")];
    if let Some(home) = call.home() {
        places.push((home.join(".local/share/pnpm"), "pnpm"));
    }
    let found = call.look(&Look {
        programs: &["pnpm"],
        places,
        ask: "--version",
    })?;
    let present: Vec<_> = found
        .into_iter()
        .filter_map(|(path, answer)| Some((version_of(&answer, "", as_written)?, path)))
        .collect();
    let wanted = Wanted::parse(Tool::Other, &text, false).ok_or_else(|| {
        ActionError::Failed(format!("'{text}' is no version of pnpm that can be looked for"))
    })?;
    let (version, path) = call.choose("pnpm", &text, &wanted, present)?;
    call.say(&format!("pnpm {version}: {}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    call.env.push(("PATH".to_owned(), prepended(call, &folder)));
    let mut outcome = ActionOutcome::default();
    outcome.path.push(folder.display().to_string());
    outcome.set_env("PNPM_HOME", folder.display().to_string());
    outcome.output("dest", call.path(call.inputs.get("dest")).display().to_string());
    outcome.output("bin_dest", folder.display().to_string());
    match call.inputs.get("run_install") {
        "null" | "false" | "" => {}
        "true" => {
            let said = call.tell_in(&["pnpm", "recursive", "install"], call.workspace)?;
            said.lines().for_each(|line| call.say(line));
        }
        _ => {
            return Err(ActionError::Offline(
                "run_install with arguments is not built in: run `pnpm install` in a step of its own"
                    .to_owned(),
            ));
        }
    }
    if call.inputs.is("cache")? {
        let store = call.tell_in(&["pnpm", "store", "path", "--silent"], call.workspace)?;
        let locks = call.inputs.get("cache_dependency_path").to_owned();
        let hash = call.hash_files(&locks)?.ok_or_else(|| {
            ActionError::Failed(
                "Some specified paths were not resolved, unable to cache dependencies.".to_owned(),
            )
        })?;
        let key = format!("pnpm-cache-Linux-{}-{hash}", call.arch());
        let exact = call.restore_dependencies(&mut outcome, &store, &key, &[])?;
        outcome.output("cache-hit", exact.to_string());
    }
    Ok(outcome)
}

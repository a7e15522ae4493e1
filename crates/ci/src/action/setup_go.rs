//! `actions/setup-go`: a Go that is in the box, on `PATH`, with its caches.

use std::path::Path;

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, default, input};
use super::matcher::GO;
use super::setup_node::prepended;
use super::toolchain::{Look, version_of};
use crate::version::{Tool, Wanted, go_spelling};

pub(super) const INPUTS: &[InputSpec] = &[
    input("go-version"),
    input("go-version-file"),
    default("check-latest", "false"),
    input("token"),
    default("cache", "true"),
    input("cache-dependency-path"),
    input("architecture"),
    input("go-download-base-url"),
];

fn look(call: &ActionCall<'_>) -> Look<'static> {
    let mut places = vec![
        (call.tool_cache().join("go"), "*/*/bin/go"),
        ("/usr/local".into(), "go*/bin/go"),
        ("/usr/lib".into(), "go-*/bin/go"),
    ];
    if let Some(home) = call.home() {
        places.push((home.join("sdk"), "go*/bin/go"));
        places.push((home.join(".goenv/versions"), "*/bin/go"));
    }
    Look {
        programs: &["go"],
        places,
        ask: "version",
    }
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    call.check_architecture()?;
    call.without_effect(
        &["check-latest", "go-download-base-url"],
        "only what is in the box is looked at",
    );
    let text = call.version_input(Tool::Go, "go-version", "go-version-file")?;
    // Go fetches another toolchain by itself where a module asks for one, which would not be the one chosen here.
    call.env.push(("GOTOOLCHAIN".to_owned(), "local".to_owned()));
    let found = call.look(&look(call))?;
    let present: Vec<_> = found
        .into_iter()
        .filter_map(|(path, answer)| Some((version_of(&answer, "go", go_spelling)?, path)))
        .collect();
    let mut outcome = ActionOutcome::default();
    let (version, path) = match &text {
        Some(text) => {
            let wanted = Wanted::parse(Tool::Go, text, false).ok_or_else(|| {
                ActionError::Failed(format!("'{text}' is no version of Go that can be looked for"))
            })?;
            call.choose("Go", text, &wanted, present)?
        }
        None => {
            call.warn(
                "go-version input was not specified. The action will try to use pre-installed version.",
            );
            present.into_iter().next().ok_or_else(|| ActionError::Missing {
                tool: "Go".to_owned(),
                wanted: "of any version".to_owned(),
                present: Vec::new(),
            })?
        }
    };
    call.say(&format!(
        "Successfully set up Go version {version}: {}",
        path.display()
    ));
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    call.env.push(("PATH".to_owned(), prepended(call, &folder)));
    outcome.set_env("GOTOOLCHAIN", "local");
    outcome.path.push(folder.display().to_string());
    let go = path.display().to_string();
    let gopath = call.tell_in(&[&go, "env", "GOPATH"], call.workspace)?;
    if let Some(first) = gopath.split(':').next().filter(|first| !first.is_empty()) {
        outcome.path.push(format!("{first}/bin"));
    }
    outcome.output("go-version", version.to_string());
    if call.inputs.is("cache")? {
        let exact = dependencies(call, &mut outcome, &go, &version.to_string())?;
        outcome.output("cache-hit", exact.to_string());
    }
    outcome.matchers.push(GO);
    Ok(outcome)
}

fn dependencies(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    go: &str,
    version: &str,
) -> Result<bool, ActionError> {
    let given = call.inputs.get("cache-dependency-path").to_owned();
    let locks = if given.is_empty() {
        "go.sum".to_owned()
    } else {
        given
    };
    let Some(hash) = call.hash_files(&locks)? else {
        call.warn(&format!(
            "Restore cache failed: Dependencies file is not found in {}. Supported file pattern: {locks}",
            call.workspace.display()
        ));
        return Ok(false);
    };
    let paths = call.tell_in(&[go, "env", "GOMODCACHE", "GOCACHE"], call.workspace)?;
    let key = format!("setup-go-Linux-{}-go-{version}-{hash}", call.arch());
    call.restore_dependencies(outcome, &paths, &key, &[])
}

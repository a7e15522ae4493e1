//! `astral-sh/setup-uv`: a uv that is in the box, on `PATH`, with its cache.

use std::path::{Path, PathBuf};

use super::call::{ActionCall, ActionError, ActionOutcome, PostWhen};
use super::dependencies::{lines, save_dependencies};
use super::inputs::{InputSpec, default, input};
use super::matcher::PYTHON;
use super::setup_node::prepended;
use super::toolchain::{Look, as_written, version_of};
use crate::version::{Tool, Wanted};

pub(super) const INPUTS: &[InputSpec] = &[
    input("version"),
    input("version-file"),
    input("python-version"),
    default("activate-environment", "false"),
    input("venv-path"),
    input("working-directory"),
    input("checksum"),
    input("github-token"),
    default("enable-cache", "auto"),
    default(
        "cache-dependency-glob",
        "**/*requirements*.txt\n**/*requirements*.in\n**/*constraints*.txt\n**/*constraints*.in\n**/pyproject.toml\n**/uv.lock\n**/*.py.lock",
    ),
    default("restore-cache", "true"),
    default("save-cache", "true"),
    input("cache-suffix"),
    input("cache-local-path"),
    default("prune-cache", "true"),
    default("cache-python", "false"),
    default("ignore-nothing-to-cache", "false"),
    default("ignore-empty-workdir", "false"),
    input("tool-dir"),
    input("tool-bin-dir"),
    input("manifest-file"),
    default("add-problem-matchers", "true"),
    default("resolution-strategy", "highest"),
];

fn required_version(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let own = table.get("required-version");
    let tool = table
        .get("tool")
        .and_then(|tool| tool.get("uv"))
        .and_then(|uv| uv.get("required-version"));
    own.or(tool)?.as_str().map(|text| text.replace("==", "="))
}

fn wish(call: &ActionCall<'_>, folder: &Path) -> Result<String, ActionError> {
    let given = call.inputs.get("version");
    if !given.is_empty() {
        return Ok(given.to_owned());
    }
    let file = call.inputs.get("version-file");
    let files: Vec<PathBuf> = if file.is_empty() {
        vec![folder.join("uv.toml"), folder.join("pyproject.toml")]
    } else {
        vec![call.path(file)]
    };
    for at in files {
        match call.read_file(&at)? {
            Some(text) => match required_version(&text) {
                Some(version) => return Ok(version),
                None if !file.is_empty() => {
                    return Err(ActionError::Failed(format!(
                        "Could not determine uv version from file: {file}"
                    )));
                }
                None => {}
            },
            None if !file.is_empty() => {
                return Err(ActionError::Failed(format!("{} does not exist", at.display())));
            }
            None => {}
        }
    }
    Ok("latest".to_owned())
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    if call.inputs.get("resolution-strategy") == "lowest" {
        return Err(ActionError::Offline(
            "resolution-strategy 'lowest' is not built in: the newest uv present is used".to_owned(),
        ));
    }
    if call.inputs.is("cache-python")? {
        call.warn("cache-python is not built in: interpreters belong into the image");
    }
    call.without_effect(
        &["checksum", "manifest-file"],
        "only what is in the box is looked at",
    );
    let folder = call.path(call.inputs.get("working-directory"));
    let text = wish(call, &folder)?;
    let mut places = vec![(call.tool_cache().join("uv"), "*/*/uv")];
    if let Some(home) = call.home() {
        places.push((home.join(".local/bin"), "uv"));
        places.push((home.join(".cargo/bin"), "uv"));
    }
    let found = call.look(&Look {
        programs: &["uv"],
        places,
        ask: "--version",
    })?;
    let present: Vec<_> = found
        .into_iter()
        .filter_map(|(path, answer)| Some((version_of(&answer, "", as_written)?, path)))
        .collect();
    let wanted = Wanted::parse(Tool::Other, &text, false)
        .ok_or_else(|| ActionError::Failed(format!("'{text}' is no version of uv that can be looked for")))?;
    let (version, path) = call.choose("uv", &text, &wanted, present)?;
    call.say(&format!(
        "Successfully set up uv version {version}: {}",
        path.display()
    ));
    let mut outcome = ActionOutcome::default();
    let at = path.parent().unwrap_or(Path::new("/"));
    outcome.path.push(at.display().to_string());
    call.env.push(("PATH".to_owned(), prepended(call, at)));
    outcome.output("uv-version", version.to_string());
    outcome.output("uv-path", path.display().to_string());
    outcome.output("uvx-path", at.join("uvx").display().to_string());
    for (name, variable) in [
        ("python-version", "UV_PYTHON"),
        ("tool-dir", "UV_TOOL_DIR"),
        ("tool-bin-dir", "UV_TOOL_BIN_DIR"),
    ] {
        let value = call.inputs.get(name).to_owned();
        if !value.is_empty() {
            call.env.push((variable.to_owned(), value.clone()));
            outcome.set_env(variable, &*value);
        }
    }
    let tools = call.inputs.get("tool-bin-dir").to_owned();
    if !tools.is_empty() {
        outcome.path.push(tools);
    }
    outcome.output("python-version", call.inputs.get("python-version"));
    environment(call, &mut outcome, &path, &folder)?;
    cache(call, &mut outcome, &folder)?;
    if call.inputs.is("add-problem-matchers")? {
        outcome.matchers.push(PYTHON);
    }
    Ok(outcome)
}

fn environment(
    call: &ActionCall<'_>,
    outcome: &mut ActionOutcome,
    uv: &Path,
    folder: &Path,
) -> Result<(), ActionError> {
    if !call.inputs.is("activate-environment")? {
        return Ok(());
    }
    let venv = match call.inputs.get("venv-path") {
        "" => folder.join(".venv"),
        path => call.path(path),
    };
    let (uv, text) = (uv.display().to_string(), venv.display().to_string());
    // Offline, so that uv does not try to download an interpreter and fail late.
    call.tell_in(&[&uv, "venv", "--offline", "--clear", &text], folder)?;
    outcome.path.push(venv.join("bin").display().to_string());
    outcome.set_env("VIRTUAL_ENV", &*text);
    outcome.output("venv", text);
    Ok(())
}

fn cache(call: &mut ActionCall<'_>, outcome: &mut ActionOutcome, folder: &Path) -> Result<(), ActionError> {
    let enabled = match call.inputs.get("enable-cache") {
        // "auto" is on where runners are fresh each time, as boxes are.
        "auto" => true,
        _ => call.inputs.is("enable-cache")?,
    };
    let local = match (call.inputs.get("cache-local-path"), call.var("UV_CACHE_DIR")) {
        ("", Some(known)) => PathBuf::from(known),
        ("", None) => call.temp().join("setup-uv-cache"),
        (path, _) => call.path(path),
    };
    outcome.set_env("UV_CACHE_DIR", local.display().to_string());
    if !enabled {
        return Ok(());
    }
    let globs: Vec<String> = call
        .inputs
        .lines("cache-dependency-glob")
        .map(|line| {
            if line.starts_with(['/', '~', '!']) {
                line.to_owned()
            } else {
                format!("{}/{line}", folder.display())
            }
        })
        .collect();
    let hash = if globs.is_empty() {
        None
    } else {
        call.hash_files(&globs.join("\n"))?
    };
    let suffix = match call.inputs.get("cache-suffix") {
        "" => String::new(),
        suffix => format!("-{suffix}"),
    };
    let python = call.inputs.get("python-version");
    let key = format!(
        "setup-uv-2-{}-linux-{python}-{}{suffix}",
        call.arch(),
        hash.as_deref().unwrap_or("no-dependency-glob")
    );
    outcome.output("cache-key", &*key);
    if !call.inputs.is("restore-cache")? {
        return Ok(());
    }
    let exact = call.restore_dependencies(outcome, &lines(&[&local]), &key, &[])?;
    outcome.output("cache-hit", exact.to_string());
    outcome.post = match (call.inputs.is("save-cache")?, call.inputs.is("prune-cache")?) {
        (false, _) => None,
        (true, false) => outcome.post,
        (true, true) => Some((PostWhen::Success, prune_and_save)),
    };
    Ok(())
}

fn prune_and_save(call: &mut ActionCall<'_>, saved: &[(String, String)]) -> Result<(), ActionError> {
    let asked = call.ask(&["uv", "cache", "prune", "--ci"])?;
    if asked.code != 0 {
        call.warn(&format!(
            "uv cache prune failed, the cache is kept whole: {}",
            asked.text.trim()
        ));
    }
    save_dependencies(call, saved)
}

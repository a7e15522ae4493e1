//! `actions/setup-python`: a CPython that is in the box, on `PATH` and in the variables build tools look at.

use std::path::{Path, PathBuf};

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, default, input};
use super::matcher::PYTHON;
use super::setup_node::prepended;
use super::toolchain::{Look, version_of};
use crate::version::{Tool, Version, Wanted, python_spelling, version_in_file};

pub(super) const INPUTS: &[InputSpec] = &[
    input("python-version"),
    input("python-version-file"),
    input("cache"),
    input("architecture"),
    default("check-latest", "false"),
    input("token"),
    input("cache-dependency-path"),
    default("update-environment", "true"),
    default("allow-prereleases", "false"),
    default("freethreaded", "false"),
    input("pip-version"),
    input("pip-install"),
    input("ignore-platform-version"),
];

fn look(call: &ActionCall<'_>) -> Look<'static> {
    let mut places = vec![(call.tool_cache().join("Python"), "*/*/bin/python3")];
    if let Some(home) = call.home() {
        let pyenv = call
            .var("PYENV_ROOT")
            .map_or_else(|| home.join(".pyenv"), PathBuf::from);
        places.push((pyenv.join("versions"), "*/bin/python3"));
        places.push((home.join(".local/share/uv/python"), "*/bin/python3"));
    }
    places.push((PathBuf::from("/usr/bin"), "python3.[0-9]*[0-9]"));
    Look {
        programs: &["python3", "python"],
        places,
        ask: "--version",
    }
}

fn wishes(call: &mut ActionCall<'_>) -> Result<Vec<String>, ActionError> {
    let lines: Vec<String> = call.inputs.lines("python-version").map(str::to_owned).collect();
    if !lines.is_empty() {
        return Ok(lines);
    }
    if let Some(text) = call.version_input(Tool::Python, "python-version", "python-version-file")? {
        return Ok(vec![text]);
    }
    let usual = ".python-version";
    match call.read_file(&call.workspace.join(usual))? {
        Some(text) => Ok(vec![version_in_file(Tool::Python, usual, &text)?]),
        None => {
            call.warn("Neither 'python-version' nor 'python-version-file' inputs were supplied. The version of Python on PATH will be used.");
            Ok(Vec::new())
        }
    }
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    for name in ["pip-version", "pip-install"] {
        if !call.inputs.get(name).is_empty() {
            return Err(ActionError::Offline(format!(
                "{name} cannot be done: nothing is downloaded; bake it into the image"
            )));
        }
    }
    if call.inputs.is("freethreaded")? {
        return Err(ActionError::Offline(
            "freethreaded Python cannot be told apart in this box; use the plain one".to_owned(),
        ));
    }
    call.check_architecture()?;
    call.without_effect(
        &["check-latest", "ignore-platform-version"],
        "only what is in the box is looked at",
    );
    let early = call.inputs.is("allow-prereleases")?;
    let update = call.inputs.is("update-environment")?;
    let wishes = wishes(call)?;
    let mut present: Vec<(Version, PathBuf)> = Vec::new();
    for (path, answer) in call.look(&look(call))? {
        if let Some(version) = version_of(&answer, "", python_spelling) {
            present.push((version, path));
        }
    }
    let mut chosen = Vec::new();
    for text in &wishes {
        let wanted = Wanted::parse(Tool::Python, text, early).ok_or_else(|| {
            ActionError::Offline(format!(
                "'{text}' is no version of CPython that can be looked for in this box"
            ))
        })?;
        chosen.push(call.choose("Python", text, &wanted, present.clone())?);
    }
    if wishes.is_empty() {
        let first = present.into_iter().next();
        chosen.push(first.ok_or_else(|| ActionError::Missing {
            tool: "Python".to_owned(),
            wanted: "of any version".to_owned(),
            present: Vec::new(),
        })?);
    }
    let mut outcome = ActionOutcome::default();
    for (version, path) in &chosen {
        call.say(&format!(
            "Successfully set up CPython ({version}): {}",
            path.display()
        ));
        if update {
            environment(call, &mut outcome, path)?;
        }
    }
    if let Some((version, path)) = chosen.last() {
        outcome.output("python-version", version.to_string());
        outcome.output("python-path", path.display().to_string());
        let manager = call.inputs.get("cache").to_owned();
        if !manager.is_empty() {
            let exact = dependencies(call, &mut outcome, &manager, version)?;
            outcome.output("cache-hit", exact.to_string());
        }
    }
    outcome.matchers.push(PYTHON);
    Ok(outcome)
}

fn environment(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    python: &Path,
) -> Result<(), ActionError> {
    let folder = python.parent().unwrap_or(Path::new("/"));
    let mut folder = folder.to_owned();
    // `python` and `python3` have to be the one that was chosen, also where the system has several side by side.
    let named = python
        .file_name()
        .is_some_and(|name| name != "python3" && name != "python");
    let bare = call
        .ask(&[
            "/bin/sh",
            "-c",
            "[ -x \"$0/python\" ]",
            &folder.display().to_string(),
        ])?
        .code
        != 0;
    if named || bare {
        let shims = call.temp().join("gantry-python").join(
            python
                .display()
                .to_string()
                .trim_start_matches('/')
                .replace('/', "-"),
        );
        let line =
            "mkdir -p -- \"$1\" && ln -sfn -- \"$0\" \"$1/python\" && ln -sfn -- \"$0\" \"$1/python3\"";
        let (python, at) = (python.display().to_string(), shims.display().to_string());
        call.tell_in(&["/bin/sh", "-c", line, &python, &at], call.workspace)?;
        folder = shims;
    }
    let location = python
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/"))
        .display()
        .to_string();
    for name in [
        "pythonLocation",
        "Python_ROOT_DIR",
        "Python2_ROOT_DIR",
        "Python3_ROOT_DIR",
    ] {
        outcome.set_env(name, &*location);
    }
    outcome.set_env("PKG_CONFIG_PATH", format!("{location}/lib/pkgconfig"));
    let libraries = format!("{location}/lib");
    let known = call.var("LD_LIBRARY_PATH").unwrap_or_default().to_owned();
    if !known.split(':').any(|one| one == libraries) && !location.starts_with("/usr") {
        let colon = if known.is_empty() { "" } else { ":" };
        outcome.set_env("LD_LIBRARY_PATH", format!("{libraries}{colon}{known}"));
    }
    outcome.path.push(location);
    outcome.path.push(folder.display().to_string());
    call.env.push(("PATH".to_owned(), prepended(call, &folder)));
    Ok(())
}

fn dependencies(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    manager: &str,
    version: &Version,
) -> Result<bool, ActionError> {
    let home = call.home().unwrap_or_else(|| PathBuf::from("/"));
    let (locks, paths) = match manager {
        "pip" => (
            "**/requirements.txt\n**/pyproject.toml",
            call.tell_in(&["python", "-m", "pip", "cache", "dir"], call.workspace)?,
        ),
        "pipenv" => (
            "**/Pipfile.lock",
            home.join(".local/share/virtualenvs").display().to_string(),
        ),
        "poetry" => (
            "**/poetry.lock",
            call.tell_in(&["poetry", "config", "virtualenvs.path"], call.workspace)?,
        ),
        other => {
            return Err(ActionError::Failed(format!(
                "Caching for '{other}' is not supported"
            )));
        }
    };
    let locks = Some(call.inputs.get("cache-dependency-path"))
        .filter(|text| !text.is_empty())
        .unwrap_or(locks)
        .to_owned();
    let Some(hash) = call.hash_files(&locks)? else {
        return Err(ActionError::Failed(format!(
            "No file in {} matched to [{}], make sure you have checked out the target repository",
            call.workspace.display(),
            locks.replace('\n', " or ")
        )));
    };
    let key = format!(
        "setup-python-Linux-{}-python-{version}-{manager}-{hash}",
        call.arch()
    );
    let others = if manager == "pip" {
        vec![format!(
            "setup-python-Linux-{}-python-{version}-{manager}",
            call.arch()
        )]
    } else {
        Vec::new()
    };
    call.restore_dependencies(outcome, &paths, &key, &others)
}

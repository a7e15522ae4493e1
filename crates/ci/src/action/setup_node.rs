//! `actions/setup-node`: a Node.js that is in the box, on `PATH`.

use std::path::{Path, PathBuf};

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, default, input};
use super::matcher::{ESLINT_COMPACT, ESLINT_STYLISH, TSC};
use super::toolchain::{Look, as_written, version_of};
use crate::version::{Tool, Wanted, version_in_file};

pub(super) const INPUTS: &[InputSpec] = &[
    default("always-auth", "false"),
    input("node-version"),
    input("node-version-file"),
    input("architecture"),
    default("check-latest", "false"),
    input("registry-url"),
    input("scope"),
    input("token"),
    input("cache"),
    default("package-manager-cache", "true"),
    input("cache-dependency-path"),
    input("mirror"),
    input("mirror-token"),
    input("version"),
];

impl ActionCall<'_> {
    /// Returns what a version input or, if it is empty, a version file says.
    pub(super) fn version_input(
        &mut self,
        tool: Tool,
        version: &'static str,
        file: &'static str,
    ) -> Result<Option<String>, ActionError> {
        let (version, file) = (
            self.inputs.get(version).to_owned(),
            self.inputs.get(file).to_owned(),
        );
        if !version.is_empty() {
            if !file.is_empty() {
                self.warn("both a version and a version file are given, only the version will be used");
            }
            return Ok(Some(version));
        }
        if file.is_empty() {
            return Ok(None);
        }
        let at = self.path(&file);
        let Some(text) = self.read_file(&at)? else {
            return Err(ActionError::Failed(format!(
                "The specified version file at: {} does not exist",
                at.display()
            )));
        };
        let version = version_in_file(tool, &file, &text)?;
        self.say(&format!("Resolved {file} as {version}"));
        Ok(Some(version))
    }
}

fn look(call: &ActionCall<'_>) -> Look<'static> {
    let mut places = vec![(call.tool_cache().join("node"), "*/*/bin/node")];
    if let Some(home) = call.home() {
        let nvm = call
            .var("NVM_DIR")
            .map_or_else(|| home.join(".nvm"), PathBuf::from);
        places.push((nvm.join("versions/node"), "*/bin/node"));
        places.push((
            home.join(".local/share/fnm/node-versions"),
            "*/installation/bin/node",
        ));
        places.push((home.join(".volta/tools/image/node"), "*/bin/node"));
    }
    Look {
        programs: &["node"],
        places,
        ask: "--version",
    }
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    call.check_architecture()?;
    call.without_effect(
        &["check-latest", "mirror"],
        "only what is in the box is looked at",
    );
    let text = match call.version_input(Tool::Node, "node-version", "node-version-file")? {
        Some(text) => Some(text),
        None => Some(call.inputs.get("version").to_owned()).filter(|text| !text.is_empty()),
    };
    let found = call.look(&look(call))?;
    let present: Vec<_> = found
        .into_iter()
        .filter_map(|(path, answer)| Some((version_of(&answer, "v", as_written)?, path)))
        .collect();
    let mut outcome = ActionOutcome::default();
    let chosen = match &text {
        Some(text) => {
            let wanted = Wanted::parse(Tool::Node, text, false).ok_or_else(|| {
                ActionError::Failed(format!(
                    "'{text}' is no version of Node.js that can be looked for"
                ))
            })?;
            Some(call.choose("Node.js", text, &wanted, present)?)
        }
        // Without a wish, the one that is on PATH is used, if there is one.
        None => present.into_iter().next(),
    };
    if let Some((version, path)) = chosen {
        call.say(&format!("node {version}: {}", path.display()));
        let folder = path.parent().unwrap_or(Path::new("/"));
        outcome.path.push(folder.display().to_string());
        call.env.push(("PATH".to_owned(), prepended(call, folder)));
        outcome.output("node-version", format!("v{version}"));
    }
    registry(call, &mut outcome)?;
    let manager = call.inputs.get("cache").to_owned();
    if !manager.is_empty() {
        let exact = dependencies(call, &mut outcome, &manager)?;
        outcome.output("cache-hit", exact.to_string());
    }
    outcome.matchers.extend([TSC, ESLINT_STYLISH, ESLINT_COMPACT]);
    Ok(outcome)
}

/// Returns `PATH` with a directory before it.
pub(super) fn prepended(call: &ActionCall<'_>, folder: &Path) -> String {
    match call.var("PATH") {
        Some(path) => format!("{}:{path}", folder.display()),
        None => folder.display().to_string(),
    }
}

/// Writes the settings for a registry, which read their token from the environment.
fn registry(call: &mut ActionCall<'_>, outcome: &mut ActionOutcome) -> Result<(), ActionError> {
    let url = call.inputs.get("registry-url");
    if url.is_empty() {
        return Ok(());
    }
    let Some((_, rest)) = url.split_once("://") else {
        return Err(ActionError::Failed(format!(
            "the input registry-url is '{url}', which is not a URL"
        )));
    };
    let slash = if url.ends_with('/') { "" } else { "/" };
    let scope = match call.inputs.get("scope") {
        "" => String::new(),
        scope if scope.starts_with('@') => format!("{}:", scope.to_lowercase()),
        scope => format!("@{}:", scope.to_lowercase()),
    };
    let mut text = format!("//{rest}{slash}:_authToken=${{NODE_AUTH_TOKEN}}\n{scope}registry={url}{slash}\n");
    if call.inputs.is("always-auth")? {
        text.push_str("always-auth=true\n");
    }
    let at = call.temp().join(".npmrc");
    call.sandbox.put_file(&at, text.as_bytes(), 0o600)?;
    outcome.set_env("NPM_CONFIG_USERCONFIG", at.display().to_string());
    outcome.set_env(
        "NODE_AUTH_TOKEN",
        call.var("NODE_AUTH_TOKEN").unwrap_or("XXXXX-XXXXX-XXXXX-XXXXX"),
    );
    Ok(())
}

fn dependencies(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    manager: &str,
) -> Result<bool, ActionError> {
    let (locks, question): (&str, &[&str]) = match manager {
        "npm" => (
            "**/package-lock.json\n**/npm-shrinkwrap.json\n**/yarn.lock\n!**/node_modules/**",
            &["npm", "config", "get", "cache"],
        ),
        "pnpm" => (
            "**/pnpm-lock.yaml\n!**/node_modules/**",
            &["pnpm", "store", "path", "--silent"],
        ),
        "yarn" => {
            let version = call.tell_in(&["yarn", "--version"], call.workspace)?;
            let old: &[&str] = &["yarn", "cache", "dir"];
            let new: &[&str] = &["yarn", "config", "get", "cacheFolder"];
            (
                "**/yarn.lock\n!**/node_modules/**",
                if version.starts_with("1.") { old } else { new },
            )
        }
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
        return Err(ActionError::Failed(
            "Some specified paths were not resolved, unable to cache dependencies.".to_owned(),
        ));
    };
    let folder = call.tell_in(question, call.workspace)?;
    let key = format!("node-cache-Linux-{}-{manager}-{hash}", call.arch());
    call.restore_dependencies(outcome, &folder, &key, &[])
}

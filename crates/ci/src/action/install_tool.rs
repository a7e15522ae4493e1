//! `taiki-e/install-action`: development tools, which have to be on `PATH` already in the version asked for.

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, default, input};
use super::toolchain::{Look, as_written, version_of};
use crate::version::{Tool, Wanted};

pub(super) const INPUTS: &[InputSpec] = &[
    input("tool"),
    default("checksum", "true"),
    default("fallback", "cargo-binstall"),
];

/// Tools whose programs are called otherwise.
const PROGRAMS: &[(&str, &str)] = &[
    ("nextest", "cargo-nextest"),
    ("cross", "cross"),
    ("protoc", "protoc"),
    ("mdbook-alerts", "mdbook-alerts"),
    ("wasm-bindgen", "wasm-bindgen"),
    ("cargo-tarpaulin", "cargo-tarpaulin"),
    ("valgrind", "valgrind"),
    ("cargo-make", "cargo-make"),
    ("git-cliff", "git-cliff"),
    ("typos-cli", "typos"),
    ("ripgrep", "rg"),
    ("just", "just"),
];

/// Returns the tools asked for, each with the version if there is one.
fn tools(call: &ActionCall<'_>) -> Result<Vec<(String, Option<String>)>, ActionError> {
    let mut words: Vec<String> = call
        .inputs
        .get("tool")
        .split([',', ' ', '\n', '\t'])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let version = call.version;
    let is_version = version == "main"
        || version
            .strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || (version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if words.is_empty() && !is_version {
        words.push(version.to_owned());
    }
    if words.is_empty() {
        return Err(ActionError::Failed("no tool specified; this could be caused by a dependabot bug where @<tool_name> tags on this action are replaced by @<version> tags".to_owned()));
    }
    for word in &words {
        if !word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "@._+-".contains(c))
        {
            return Err(ActionError::Failed(format!("invalid tool name: {word}")));
        }
    }
    Ok(words
        .into_iter()
        .map(|word| match word.split_once('@') {
            Some((tool, version)) if version != "latest" => (tool.to_owned(), Some(version.to_owned())),
            Some((tool, _)) => (tool.to_owned(), None),
            None => (word, None),
        })
        .collect())
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    for (tool, version) in tools(call)? {
        let program = PROGRAMS
            .iter()
            .find(|(name, _)| *name == tool)
            .map_or(tool.as_str(), |(_, program)| program);
        // A subcommand of Cargo answers as one: `cargo-nextest nextest --version`.
        let subcommand = program.strip_prefix("cargo-");
        let ask = subcommand.map_or_else(|| "--version".to_owned(), |name| format!("{name} --version"));
        let found = call.look(&Look {
            programs: &[program],
            places: Vec::new(),
            ask: &ask,
        })?;
        let Some((path, answer)) = found.into_iter().next() else {
            return Err(ActionError::Missing {
                tool,
                wanted: version.unwrap_or_else(|| "of any version".to_owned()),
                present: Vec::new(),
            });
        };
        let present: Vec<_> = version_of(&answer, "", as_written)
            .or_else(|| version_of(&answer, "v", as_written))
            .map(|version| (version, path.clone()))
            .into_iter()
            .collect();
        if let Some(text) = version {
            let wanted = Wanted::parse(Tool::Other, &text, false)
                .ok_or_else(|| ActionError::Failed(format!("'{text}' is no version of {tool}")))?;
            call.choose(&tool, &text, &wanted, present)?;
        }
        call.say(&format!("{tool} is there: {} ({answer})", path.display()));
    }
    Ok(ActionOutcome::default())
}

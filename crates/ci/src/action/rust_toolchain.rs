//! `dtolnay/rust-toolchain` and its like: a Rust toolchain that is in the box, made the default, with the components
//! and targets asked for.

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputSpec, default, input};
use crate::version::Version;

pub(super) const INPUTS: &[InputSpec] = &[
    input("toolchain"),
    input("targets"),
    input("target"),
    input("components"),
];

pub(super) const OLD_INPUTS: &[InputSpec] = &[
    input("working-directory"),
    input("toolchain"),
    input("target"),
    default("default", "false"),
    default("override", "false"),
    input("profile"),
    input("components"),
];

/// What is asked for.
struct Asked {
    toolchain: String,
    components: Vec<String>,
    targets: Vec<String>,
}

fn words(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n', '\t'])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Reads `rust-toolchain.toml`, or `rust-toolchain` in either of its forms.
fn from_file(text: &str) -> Option<Asked> {
    let Ok(table) = text.parse::<toml::Table>() else {
        let line = text.trim();
        let plain = !line.is_empty() && !line.contains(['\n', '[', '=']);
        return plain.then(|| Asked {
            toolchain: line.to_owned(),
            components: Vec::new(),
            targets: Vec::new(),
        });
    };
    let section = table.get("toolchain")?;
    let list = |name: &str| {
        let found = section.get(name).and_then(|value| value.as_array());
        found.map_or(Vec::new(), |list| {
            list.iter()
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect()
        })
    };
    let toolchain = section.get("channel")?.as_str()?.to_owned();
    Some(Asked {
        toolchain,
        components: list("components"),
        targets: list("targets"),
    })
}

fn file(call: &ActionCall<'_>, folder: &str) -> Result<Option<Asked>, ActionError> {
    for name in ["rust-toolchain", "rust-toolchain.toml"] {
        let at = call.path(folder).join(name);
        if let Some(text) = call.read_file(&at)? {
            return from_file(&text)
                .map(Some)
                .ok_or_else(|| ActionError::Failed(format!("{} names no channel", at.display())));
        }
    }
    Ok(None)
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let given = call.inputs.get("toolchain").to_owned();
    let is_commit = call.version.len() == 40 && call.version.bytes().all(|byte| byte.is_ascii_hexdigit());
    let toolchain = match (given.is_empty(), call.version) {
        (false, _) => given,
        (true, "master" | "v1") => {
            return Err(ActionError::Failed("'toolchain' is a required input".to_owned()));
        }
        (true, _) if is_commit => {
            return Err(ActionError::Offline(
                "a commit of dtolnay/rust-toolchain does not say which toolchain it is for: name it in the input `toolchain`".to_owned(),
            ));
        }
        (true, version) => version.to_owned(),
    };
    let mut targets = words(call.inputs.get("targets"));
    if targets.is_empty() {
        targets = words(call.inputs.get("target"));
    }
    let asked = Asked {
        toolchain,
        components: words(call.inputs.get("components")),
        targets,
    };
    let mut outcome = ActionOutcome::default();
    let name = provide(call, &mut outcome, &asked, true)?;
    outcome.output("name", &*name);
    Ok(outcome)
}

pub(super) fn run_old(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    call.without_effect(&["profile"], "nothing is installed");
    let folder = call.inputs.get("working-directory").to_owned();
    let mut asked = match call.inputs.get("toolchain") {
        "" => file(call, &folder)?.ok_or_else(|| {
            ActionError::Failed(
                "toolchain input was not given and repository does not have a rust-toolchain file".to_owned(),
            )
        })?,
        text => Asked {
            toolchain: text.to_owned(),
            components: Vec::new(),
            targets: Vec::new(),
        },
    };
    asked.components.extend(words(call.inputs.get("components")));
    asked.targets.extend(words(call.inputs.get("target")));
    let mut outcome = ActionOutcome::default();
    let chosen = call.inputs.is("default")? || call.inputs.is("override")?;
    let name = provide(call, &mut outcome, &asked, chosen)?;
    let version = call.tell_in(&["rustc", &format!("+{name}"), "--version"], call.workspace)?;
    outcome.output("rustc", version.split_whitespace().nth(1).unwrap_or_default());
    outcome.output("rustc_hash", version.split(['(', ' ']).nth(3).unwrap_or_default());
    let cargo = call.tell_in(&["cargo", &format!("+{name}"), "--version"], call.workspace)?;
    outcome.output("cargo", cargo.split_whitespace().nth(1).unwrap_or_default());
    let rustup = call.tell_in(&["/bin/sh", "-c", "rustup --version 2>/dev/null"], call.workspace)?;
    outcome.output("rustup", rustup.split_whitespace().nth(1).unwrap_or_default());
    Ok(outcome)
}

/// Returns the installed toolchain that a name means.
fn installed<'t>(asked: &str, present: &'t [String]) -> Option<&'t str> {
    let is_meant =
        |name: &str| name == asked || name.strip_prefix(asked).is_some_and(|rest| rest.starts_with('-'));
    let direct = present
        .iter()
        .filter(|name| is_meant(name))
        .min_by_key(|name| name.len());
    // `1.80` is the newest of `1.80.x`.
    let newest = || {
        let parts = asked.split('.').count();
        let open = parts == 2 && asked.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let of = |name: &str| {
            let version = Version::parse(name.split('-').next()?)?;
            (format!("{}.{}", version.major, version.minor) == asked).then_some(version)
        };
        open.then(|| {
            present
                .iter()
                .filter(|name| of(name).is_some())
                .max_by_key(|name| of(name))
        })?
    };
    direct.or_else(newest).map(String::as_str)
}

fn provide(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    asked: &Asked,
    chosen: bool,
) -> Result<String, ActionError> {
    if asked.toolchain.starts_with("stable ") {
        return Err(ActionError::Offline(format!(
            "the toolchain '{}' depends on the day: name a version",
            asked.toolchain
        )));
    }
    let list = call.ask(&[
        "/bin/sh",
        "-c",
        "command -v rustup >/dev/null || exit 127; rustup toolchain list",
    ])?;
    if list.code != 0 {
        return plain(call, outcome, asked);
    }
    let present: Vec<String> = list
        .text
        .lines()
        .filter(|line| !line.starts_with("no installed"))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    let Some(name) = installed(&asked.toolchain, &present).map(str::to_owned) else {
        return Err(ActionError::Missing {
            tool: "the Rust toolchain".to_owned(),
            wanted: asked.toolchain.clone(),
            present,
        });
    };
    parts(call, &name, "component", &asked.components)?;
    parts(call, &name, "target", &asked.targets)?;
    if chosen {
        call.tell_in(&["rustup", "default", &name], call.workspace)?;
    }
    call.say(&format!("the Rust toolchain {} is {name}", asked.toolchain));
    describe(call, outcome, &[&format!("+{name}")])?;
    Ok(name)
}

/// Sees that components or targets are there.
fn parts(call: &ActionCall<'_>, name: &str, what: &str, wanted: &[String]) -> Result<(), ActionError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let text = call.tell_in(
        &["rustup", what, "list", "--installed", "--toolchain", name],
        call.workspace,
    )?;
    let present: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    let is_there = |part: &String| {
        let plain = part.trim_end_matches("-preview");
        present.iter().any(|one| {
            let one = one.as_str();
            [part.as_str(), plain]
                .iter()
                .any(|part| one == *part || one.strip_prefix(part).is_some_and(|rest| rest.starts_with('-')))
        })
    };
    match wanted.iter().find(|part| !is_there(part)) {
        None => Ok(()),
        Some(part) => Err(ActionError::Missing {
            tool: format!("the {what} {part} of the Rust toolchain"),
            wanted: name.to_owned(),
            present,
        }),
    }
}

/// A box without rustup, but with a compiler on `PATH`: it does if it is what is asked for.
fn plain(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    asked: &Asked,
) -> Result<String, ActionError> {
    let missing = |present: Vec<String>| ActionError::Missing {
        tool: "the Rust toolchain".to_owned(),
        wanted: asked.toolchain.clone(),
        present,
    };
    let answer = call.ask(&["rustc", "--version"])?;
    if answer.code != 0 {
        return Err(missing(Vec::new()));
    }
    let line = answer.text.trim().to_owned();
    let version = line
        .split_whitespace()
        .nth(1)
        .and_then(Version::parse)
        .ok_or_else(|| missing(vec![line.clone()]))?;
    let name = version.to_string();
    let does = match asked.toolchain.as_str() {
        "stable" => !version.is_prerelease(),
        other => installed(other, std::slice::from_ref(&name)).is_some(),
    };
    if !does {
        return Err(missing(vec![line]));
    }
    for component in &asked.components {
        let program = match component.as_str() {
            "clippy" => "cargo-clippy",
            "rustfmt" | "cargo" | "rustc" => component,
            other => return Err(missing(vec![format!("{line}, without the component {other}")])),
        };
        if call.ask(&["/bin/sh", "-c", "command -v \"$0\"", program])?.code != 0 {
            return Err(missing(vec![format!(
                "{line}, without the component {component}"
            )]));
        }
    }
    let root = call.tell_in(&["rustc", "--print", "sysroot"], call.workspace)?;
    for target in &asked.targets {
        if call
            .ask(&[
                "/bin/sh",
                "-c",
                "[ -d \"$0\" ]",
                &format!("{root}/lib/rustlib/{target}/lib"),
            ])?
            .code
            != 0
        {
            return Err(missing(vec![format!("{line}, without the target {target}")]));
        }
    }
    call.say(&format!(
        "the Rust toolchain {} is {line}, without rustup",
        asked.toolchain
    ));
    describe(call, outcome, &[])?;
    Ok(name)
}

fn describe(
    call: &mut ActionCall<'_>,
    outcome: &mut ActionOutcome,
    which: &[&str],
) -> Result<(), ActionError> {
    let mut command = vec!["rustc"];
    command.extend(which);
    command.extend(["--version", "--verbose"]);
    let text = call.tell_in(&command, call.workspace)?;
    text.lines().for_each(|line| call.say(line));
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or("")
            .trim()
    };
    let key = format!(
        "{}{}",
        value("commit-date:").replace('-', ""),
        value("commit-hash:")
    );
    outcome.output("cachekey", key.chars().take(12).collect::<String>());
    if call.var("CARGO_INCREMENTAL").is_none() {
        outcome.set_env("CARGO_INCREMENTAL", "0");
    }
    if call.var("CARGO_TERM_COLOR").is_none() {
        outcome.set_env("CARGO_TERM_COLOR", "always");
    }
    if call.var("CARGO_HOME").is_none()
        && let Some(home) = call.home()
    {
        outcome.set_env("CARGO_HOME", home.join(".cargo").display().to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_an_installed_toolchain() {
        let host = "-x86_64-unknown-linux-gnu";
        let present: Vec<String> = ["stable", "nightly-2024-01-02", "1.80.0", "1.80.1", "1.8.0"]
            .iter()
            .map(|name| format!("{name}{host}"))
            .collect();
        let check = |asked: &str, expected: Option<&str>| {
            assert_eq!(
                installed(asked, &present).map(str::to_owned),
                expected.map(|name| format!("{name}{host}")),
                "{asked}"
            );
        };
        check("stable", Some("stable"));
        check("1.80", Some("1.80.1"));
        check("1.80.0", Some("1.80.0"));
        check("1.8", Some("1.8.0"));
        check("nightly-2024-01-02", Some("nightly-2024-01-02"));
        check("beta", None);
        check("1.79", None);
        check("stable-x86_64-unknown-linux-gnu", Some("stable"));
    }

    #[test]
    fn a_toolchain_file_is_read_in_either_form() {
        let asked =
            from_file("[toolchain]\nchannel = \"1.80\"\ncomponents = [\"clippy\"]\n").expect("it says so");
        assert_eq!((asked.toolchain.as_str(), asked.components.len()), ("1.80", 1));
        assert_eq!(from_file("nightly\n").expect("it says so").toolchain, "nightly");
        assert!(from_file("[toolchain]\n").is_none() && from_file("").is_none());
    }
}

//! Rules about manifests: which crate may know which, and why a dependency is there.

use super::{File, Problem};

/// The crates from the lowest up: each may depend on those of lower rows only.
const ROWS: &[&[&str]] = &[
    &["gantry-core", "gantry-workflow", "gantry-report"],
    &[
        "gantry-store",
        "gantry-adapters",
        "gantry-agent",
        "gantry-image",
        "gantry-simulate",
        "gantry-memory",
    ],
    &["gantry-ci"],
    &["gantry-engine"],
    &["gantry", "gantry-testkit"],
    &["xtask"],
];

/// Dependencies that are the door to something, and the crates that may open it. Their tests may, too.
const DOORS: &[(&str, &[&str])] = &[
    ("rusqlite", &["gantry-store"]),
    ("gix", &["gantry-adapters"]),
    ("axum", &["gantry"]),
    ("hyper", &["gantry"]),
    ("clap", &["gantry", "xtask"]),
    ("anyhow", &["gantry", "xtask"]),
];

/// All that the core may use: no I/O, no clock, no randomness, no serde.
const CORE_USES: &[&str] = &["thiserror"];

/// A crate's name, its manifest, and what it depends on outside of tests, with the lines.
type Crate<'a> = (&'a str, &'a File, Vec<(usize, &'a str)>);

fn crates(files: &[File]) -> Vec<Crate<'_>> {
    let manifests = files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml"));
    manifests
        .map(|file| {
            let mut section = "";
            let (mut name, mut uses) = ("", Vec::new());
            for (number, line) in (1..).zip(file.text.lines()) {
                if line.starts_with('[') {
                    section = line;
                } else if section == "[package]" && line.starts_with("name = ") {
                    name = line.trim_start_matches("name = ").trim_matches('"');
                } else if section == "[dependencies]" && !line.starts_with('#') && !line.trim().is_empty() {
                    uses.push((number, line.split(['.', ' ', '=']).next().unwrap_or("")));
                }
            }
            (name, file, uses)
        })
        .collect()
}

fn row(name: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&name))
}

/// Dependencies point down.
pub(super) fn directions(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, file, uses) in crates(files) {
        let Some(own) = row(name) else {
            problems.push(Problem::new(
                &file.path,
                0,
                format!("{name} has no row in xtask's list of crates"),
            ));
            continue;
        };
        for (number, used) in uses {
            if row(used).is_some_and(|other| other >= own) {
                problems.push(Problem::new(
                    &file.path,
                    number,
                    format!("{name} may not depend on {used}"),
                ));
            }
        }
    }
    problems
}

/// Each outside thing has one door.
pub(super) fn doors(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, file, uses) in crates(files) {
        for (number, used) in uses {
            let shut = DOORS
                .iter()
                .any(|(door, openers)| *door == used && !openers.contains(&name));
            if shut || (name == "gantry-core" && !CORE_USES.contains(&used)) {
                problems.push(Problem::new(
                    &file.path,
                    number,
                    format!("{used} is not for {name}"),
                ));
            }
        }
    }
    problems
}

/// Each dependency of the workspace says why it is not written here: a comment above it, or above the group it is in.
pub(super) fn reasons(files: &[File]) -> Vec<Problem> {
    let Some(file) = files.iter().find(|file| file.path == "Cargo.toml") else {
        return vec![Problem::new("Cargo.toml", 0, "is not there")];
    };
    let mut problems = Vec::new();
    let (mut inside, mut reason) = (false, false);
    for (number, line) in (1..).zip(file.text.lines()) {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if line.trim().is_empty() {
            reason = false;
        } else if line.starts_with('#') {
            reason = true;
        } else if inside && !reason && !line.contains("path = \"crates/") {
            problems.push(Problem::new(
                &file.path,
                number,
                "say in a comment above why we do not write it",
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, uses: &str) -> File {
        File {
            path: format!("crates/{name}/Cargo.toml"),
            text: format!(
                "[package]\nname = \"{name}\"\n[dependencies]\n{uses}\n[dev-dependencies]\ngantry.workspace = true\n"
            ),
        }
    }

    #[test]
    fn a_dependency_upwards_is_refused() {
        assert_eq!(
            directions(&[manifest("gantry-engine", "gantry-core.workspace = true")]),
            []
        );
        let up = directions(&[manifest("gantry-core", "gantry-store = { workspace = true }")]);
        assert_eq!(up[0].text, "gantry-core may not depend on gantry-store");
        assert_eq!(directions(&[manifest("gantry-new", "")]).len(), 1);
    }

    #[test]
    fn a_door_is_opened_by_its_crate_only() {
        assert_eq!(
            doors(&[manifest("gantry-store", "rusqlite.workspace = true")]),
            []
        );
        assert_eq!(
            doors(&[manifest("gantry-engine", "rusqlite.workspace = true")])[0].line,
            4
        );
        assert_eq!(
            doors(&[manifest("gantry-core", "serde.workspace = true")]).len(),
            1
        );
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let text = "[workspace.dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n\nc = \"1\"\ngantry-core = { path = \"crates/core\" }\n";
        let file = File {
            path: "Cargo.toml".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(reasons(&[file]).iter().map(|p| p.line).collect::<Vec<_>>(), [6]);
    }
}

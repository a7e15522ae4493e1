//! docs/cli.md says everything there is: commands, options, reasons, kinds of events, exit codes.

use std::collections::BTreeSet;
use std::path::Path;

use crate::factory::Factory;
use crate::repo::Repo;

fn document() -> String {
    read("../../docs/cli.md")
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every command with the options its help names.
fn commands(factory: &Factory, path: &[&str], found: &mut Vec<(String, Vec<String>)>) {
    let help = factory.run(&[path, &["--help"]].concat()).out;
    let mut subs = Vec::new();
    let mut options = Vec::new();
    let mut section = "";
    for line in help.lines() {
        if !line.starts_with(' ') {
            section = line;
        }
        let word = line.split_whitespace().next().unwrap_or("");
        if section == "Commands:" && line.starts_with("  ") && !line.starts_with("   ") && word != "help" {
            subs.push(word.to_owned());
        }
        if section == "Options:" {
            options.extend(
                line.split([' ', ','])
                    .filter(|w| w.starts_with("--") && line.trim_start().starts_with('-'))
                    .map(str::to_owned),
            );
        }
    }
    if subs.is_empty() {
        found.push((path.join(" "), options));
    }
    for sub in &subs {
        commands(factory, &[path, &[sub.as_str()]].concat(), found);
    }
}

#[test]
fn every_command_and_option_is_described() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let mut found = Vec::new();
    commands(&factory, &[], &mut found);
    assert!(found.len() >= 24, "{found:?}");
    let document = document();
    let mut missing = Vec::new();
    for (command, options) in found {
        let head = format!("`gantry {command}");
        if !document.contains(&head) {
            missing.push(head);
        }
        missing.extend(
            options
                .into_iter()
                .filter(|option| !document.contains(&format!("`{option}"))),
        );
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_reason_code_is_described() {
    let sources = [
        "../engine/src/explain.rs",
        "../engine/src/line/mod.rs",
        "../engine/src/line/rules.rs",
        "../engine/src/line/reports.rs",
    ]
    .map(read)
    .concat();
    let patterns = [
        r#"reason\(\s*"([a-z_]+)""#,
        r#"code: "([a-z_]+)""#,
        r#"unusable\(\s*"([a-z_]+)""#,
        r#"\(\s*"(repository|host|bug)","#,
    ];
    let codes: BTreeSet<String> = patterns
        .iter()
        .flat_map(|pattern| {
            let pattern = regex::Regex::new(pattern).expect("a pattern");
            pattern
                .captures_iter(&sources)
                .map(|found| found[1].to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(codes.len() >= 20, "{codes:?}");
    let document = document();
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !document.contains(&format!("| `{code}` |")))
        .collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn every_kind_of_event_every_trouble_and_every_exit_code_is_described() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let document = document();
    let mut missing: Vec<String> = gantry_core::event::FactKind::ALL
        .iter()
        .map(|kind| format!("| `{}` |", kind.as_str()))
        .filter(|row| !document.contains(row))
        .collect();
    for line in factory.run(&["exit-codes"]).out.lines() {
        let (number, meaning) = line.split_once("  ").expect("a number and a meaning");
        let row = format!("| {number} | {meaning} |");
        if !document.contains(&row) {
            missing.push(row);
        }
    }
    for word in [
        "interrupted",
        "out_of_disk",
        "could_not_start",
        "too_much_output",
        "too_short",
    ] {
        if !document.contains(&format!("`{word}`")) {
            missing.push(word.to_owned());
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

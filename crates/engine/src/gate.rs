//! The gate of a repository: `.gantry.toml` text in, checks and limits out. Reads no file itself; whoever calls
//! hands in the bytes found on the target branch, never those of a change.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_adapters::git::Method;
use gantry_core::limits::{BATCH_CHANGES_MAX, CHECK_TIMEOUT, CHECK_TIMEOUT_MAX, GATE_CHECKS_MAX, SLOTS_MAX};
use gantry_core::queue::planner::Policy;
use regex::bytes::Regex;
use serde::Deserialize;

use crate::config_text::{explain, nearest, parse_duration};
use crate::profile::{PROFILE_KEYS, Profile, ProfileSection, read_profiles};

/// The file's name in the repository.
pub const GATE_FILE: &str = ".gantry.toml";

/// Paths that decide what is tested: a change that touches one of them is tested and lands alone.
pub const GATE_PATHS: [&str; 2] = [GATE_FILE, ".github/workflows/"];

/// What a change has to pass, and how it lands.
#[derive(Debug, Clone)]
pub struct Gate {
    /// How changes are put onto the target.
    pub method: Method,
    /// The most changes in one candidate.
    pub batch_max: usize,
    /// Builds at once, if the file says so.
    pub slots: Option<usize>,
    /// What an hour of a change's waiting is worth in processor-hours.
    pub patience: f64,
    /// Changes that share no path need not wait for one another's verdict.
    pub independent: bool,
    /// Which policy plans.
    pub policy: Policy,
    /// In the order they run; empty only if there are workflows.
    pub checks: Vec<Check>,
    /// Workflow files below `.github/workflows/` that run besides, for the event `merge_group`.
    pub workflows: Vec<String>,
    /// The profile of the boxes; `None` is the plain one.
    pub profile: Option<String>,
    /// Profiles of the repository's own, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The text it was read from.
    pub source: String,
}

/// One check.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name in events and logs.
    pub name: String,
    /// The program and its arguments; a shell line is `/bin/sh -c line`.
    pub command: Vec<String>,
    /// Its time limit.
    pub timeout: Duration,
    /// Output that means it will fail, though it still runs.
    pub fail_fast: Vec<Regex>,
}

/// What is wrong with a gate file, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{GATE_FILE}{place}: {problem}")]
pub struct GateError {
    /// ` line 3, column 1`, or empty if the whole file is meant.
    pub place: String,
    /// The problem and the mend.
    pub problem: String,
}

pub use gantry_core::queue::planner::PATIENCE;

/// A gate that does for a first try, as text.
pub const EXAMPLE: &str =
    "[gate]\nmethod = \"rebase\"\n\n[[gate.check]]\nname = \"test\"\nrun = \"./ci.sh\"\ntimeout = \"10m\"\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    gate: Section,
    #[serde(default)]
    profile: BTreeMap<String, ProfileSection>,
    /// What images are made of: read by whoever builds them.
    #[serde(default)]
    image: Option<toml::Value>,
}

impl File {
    fn parse(bytes: &[u8]) -> Result<(&str, Self), GateError> {
        let text = std::str::from_utf8(bytes).map_err(|_| whole("it is not UTF-8 text; save it as UTF-8"))?;
        let file = toml::from_str(text).map_err(|error| {
            let wrong = explain(text, &error, &keys());
            GateError {
                place: wrong.place,
                problem: wrong.problem,
            }
        })?;
        Ok((text, file))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Section {
    method: Option<String>,
    batch_max: Option<i64>,
    slots: Option<i64>,
    patience: Option<f64>,
    independent: Option<bool>,
    policy: Option<String>,
    #[serde(default)]
    check: Vec<CheckSection>,
    #[serde(default)]
    workflows: Vec<String>,
    profile: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckSection {
    name: String,
    run: Run,
    timeout: Option<String>,
    #[serde(default)]
    fail_fast: Patterns,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Run {
    Line(String),
    Argv(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Many(Vec<String>),
}

impl Default for Patterns {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

const KEYS: [&str; 15] = [
    "gate",
    "method",
    "batch_max",
    "slots",
    "patience",
    "independent",
    "policy",
    "check",
    "name",
    "run",
    "timeout",
    "fail_fast",
    "workflows",
    "profile",
    "image",
];

fn keys() -> Vec<&'static str> {
    KEYS.iter().chain(&PROFILE_KEYS).copied().collect()
}

impl Gate {
    /// Reads the profiles of a gate file, whether or not its gate is usable.
    ///
    /// Errors: [`GateError`] for text that is not TOML, unknown keys, and profiles that cannot be.
    pub fn parse_profiles(bytes: &[u8]) -> Result<BTreeMap<String, Profile>, GateError> {
        let file = File::parse(bytes)?.1;
        read_profiles(file.profile, false).map_err(|problem| whole(&problem))
    }

    /// Returns the `[image]` table of a gate file, whether or not its gate is usable.
    ///
    /// Errors: [`GateError`] for text that is not TOML, and unknown keys elsewhere.
    pub fn parse_image(bytes: &[u8]) -> Result<Option<toml::Value>, GateError> {
        Ok(File::parse(bytes)?.1.image)
    }

    /// Reads the gate file.
    ///
    /// Errors: [`GateError`] for text that is not TOML, unknown keys (with the nearest valid one), values out of
    /// range, doubled check names, and a gate without checks.
    pub fn parse(bytes: &[u8]) -> Result<Self, GateError> {
        let (text, file) = File::parse(bytes)?;
        let section = file.gate;
        // Its own reader names what is wrong with it; here it only has to be allowed.
        drop(file.image);
        let workflows = workflows(section.workflows)?;
        if section.check.is_empty() && workflows.is_empty() {
            return Err(whole(&format!(
                "it names no check, so nothing can land; add one:\n{EXAMPLE}"
            )));
        }
        if section.check.len() > GATE_CHECKS_MAX {
            return Err(whole(&format!(
                "it names more than {GATE_CHECKS_MAX} checks; join some of them"
            )));
        }
        let checks: Vec<Check> = section.check.into_iter().map(check).collect::<Result<_, _>>()?;
        for (index, check) in checks.iter().enumerate() {
            if checks[..index].iter().any(|other| other.name == check.name) {
                return Err(whole(&format!(
                    "two checks are named {:?}; rename one",
                    check.name
                )));
            }
        }
        Ok(Self {
            method: method(section.method.as_deref().unwrap_or("rebase"))?,
            batch_max: in_range("batch_max", section.batch_max, BATCH_CHANGES_MAX)?.unwrap_or(8),
            slots: in_range("slots", section.slots, SLOTS_MAX)?,
            patience: patience(section.patience)?,
            independent: section.independent.unwrap_or(false),
            policy: policy(section.policy.as_deref().unwrap_or("priced"))?,
            checks,
            workflows,
            source: text.to_owned(),
            profile: section.profile,
            profiles: read_profiles(file.profile, false).map_err(|problem| whole(&problem))?,
        })
    }
}

fn whole(problem: &str) -> GateError {
    GateError {
        place: String::new(),
        problem: problem.to_owned(),
    }
}

fn one_of<T: Copy>(key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, GateError> {
    if let Some((_, found)) = choices.iter().find(|(word, _)| *word == value) {
        return Ok(*found);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let near = nearest(value, &words).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    Err(whole(&format!(
        "{key} is {value:?}, which is none of {}{near}",
        words.join(", ")
    )))
}

fn method(value: &str) -> Result<Method, GateError> {
    let choices = [
        ("rebase", Method::Rebase),
        ("squash", Method::Squash),
        ("merge", Method::Merge),
    ];
    one_of("method", value, &choices)
}

/// The policies by the words of the command line.
pub const POLICIES: [(&str, Policy); 5] = [
    ("priced", Policy::Priced),
    ("serial", Policy::Serial),
    ("batch", Policy::Batch),
    ("optimistic", Policy::Optimistic),
    ("best-first", Policy::BestFirst),
];

fn policy(value: &str) -> Result<Policy, GateError> {
    one_of("policy", value, &POLICIES)
}

fn in_range(key: &str, value: Option<i64>, most: usize) -> Result<Option<usize>, GateError> {
    let Some(value) = value else { return Ok(None) };
    match usize::try_from(value) {
        Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
        _ => Err(whole(&format!(
            "{key} is {value}; write a number from 1 to {most}"
        ))),
    }
}

fn patience(value: Option<f64>) -> Result<f64, GateError> {
    let value = value.unwrap_or(PATIENCE);
    if value.is_finite() && value > 0.0 && value <= 1_000.0 {
        return Ok(value);
    }
    Err(whole(&format!(
        "patience is {value}; write a number above 0 and up to 1000"
    )))
}

/// Checks the names of workflow files; `ci.yml` and `.github/workflows/ci.yml` are the same.
fn workflows(names: Vec<String>) -> Result<Vec<String>, GateError> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        let file = name
            .strip_prefix(".github/workflows/")
            .unwrap_or(&name)
            .to_owned();
        let is_yaml = file.ends_with(".yml") || file.ends_with(".yaml");
        if file.contains('/') || !is_yaml || file.starts_with('.') {
            return Err(whole(&format!(
                "workflows names {name:?}; write the name of a file in .github/workflows, as in \"ci.yml\""
            )));
        }
        if found.contains(&file) {
            return Err(whole(&format!("workflows names {file:?} twice")));
        }
        found.push(file);
    }
    Ok(found)
}

fn check(section: CheckSection) -> Result<Check, GateError> {
    let name = section.name;
    let wrong = |problem: String| whole(&format!("check {name:?}: {problem}"));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with(['.', '-']) {
        return Err(wrong(
            "a name has 1 to 64 letters, digits, dashes, dots or underscores, a letter or digit first".into(),
        ));
    }
    let command = match section.run {
        Run::Line(line) if !line.trim().is_empty() => vec!["/bin/sh".into(), "-c".into(), line],
        Run::Argv(argv) if argv.first().is_some_and(|program| !program.is_empty()) => argv,
        Run::Line(_) | Run::Argv(_) => return Err(wrong("run is empty; name the program to run".into())),
    };
    if command.iter().any(|word| word.contains('\0')) {
        return Err(wrong("run holds a NUL character".into()));
    }
    let timeout = match section.timeout {
        None => CHECK_TIMEOUT,
        Some(text) => parse_duration(&text)
            .filter(|limit| !limit.is_zero() && *limit <= CHECK_TIMEOUT_MAX)
            .ok_or_else(|| {
                wrong(format!(
                    "timeout is {text:?}; write a number and s, m or h, up to 24h, as in \"10m\""
                ))
            })?,
    };
    let patterns = match section.fail_fast {
        Patterns::One(pattern) => vec![pattern],
        Patterns::Many(patterns) => patterns,
    };
    let fail_fast = patterns
        .iter()
        .map(|pattern| Regex::new(pattern).map_err(|error| wrong(format!("fail_fast {pattern:?}: {error}"))))
        .collect::<Result<_, _>>()?;
    Ok(Check {
        name,
        command,
        timeout,
        fail_fast,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str) -> String {
        Gate::parse(text.as_bytes())
            .expect_err("it must be refused")
            .to_string()
    }

    const CHECK: &str = "[[gate.check]]\nname = 'test'\nrun = './ci.sh'\n";

    #[test]
    fn the_example_is_a_gate() {
        let gate = Gate::parse(EXAMPLE.as_bytes()).expect("it reads");
        assert_eq!((gate.batch_max, gate.slots, gate.checks.len()), (8, None, 1));
        assert_eq!(gate.checks[0].timeout, Duration::from_secs(600));
        assert_eq!(gate.checks[0].command, ["/bin/sh", "-c", "./ci.sh"]);
    }

    #[test]
    fn an_argv_is_taken_as_it_is() {
        let gate = Gate::parse(b"[[gate.check]]\nname='t'\nrun=['a b', '$x']\nfail_fast='FAIL'\n")
            .expect("it reads");
        assert_eq!(gate.checks[0].command, ["a b", "$x"]);
        assert!(gate.checks[0].fail_fast[0].is_match(b"test FAILED"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_valid_one() {
        let text = format!("[gate]\nmetod = 'rebase'\n{CHECK}");
        insta::assert_snapshot!(refused(&text), @r#".gantry.toml line 2, column 1: unknown key "metod"; did you mean "method"?"#);
    }

    #[test]
    fn values_that_cannot_be_are_refused_with_the_range() {
        insta::assert_snapshot!(refused(&format!("[gate]\nbatch_max = 0\n{CHECK}")), @".gantry.toml: batch_max is 0; write a number from 1 to 64");
        insta::assert_snapshot!(refused(&format!("[gate]\nmethod = 'rebse'\n{CHECK}")), @r#".gantry.toml: method is "rebse", which is none of rebase, squash, merge; did you mean "rebase"?"#);
        insta::assert_snapshot!(refused(&format!("{CHECK}timeout = '10 minutes'\n")), @r#".gantry.toml: check "test": timeout is "10 minutes"; write a number and s, m or h, up to 24h, as in "10m""#);
        insta::assert_snapshot!(refused(&format!("{CHECK}{CHECK}")), @r#".gantry.toml: two checks are named "test"; rename one"#);
        assert!(refused("[[gate.check]]\nname = '../x'\nrun = 'y'\n").contains("a name has"));
        assert!(refused("[gate]\n").contains("names no check"));
        assert!(refused("\u{0}").starts_with(".gantry.toml line 1"));
        assert!(Gate::parse(&[0xff]).is_err());
    }
}

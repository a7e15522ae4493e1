//! `[image]` of `.gantry.toml`: its keys, and the recipe they stand for.

use serde::Deserialize;

use super::error::{RecipeError, unknown};
use super::stages::{Action, Base, Recipe, Stage, Step};

/// The keys of `[image]`.
const KEYS: [&str; 4] = ["base", "packages", "setup", "key"];
/// The most entries one list of `[image]` may have.
const ENTRIES_MAX: usize = 1000;
/// What errors call the table.
const PLACE: &str = "[image]";

/// The table `[image]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSection {
    /// `host`, `scratch`, the name or digest of an image, or a file (`./` or `/` in front).
    #[serde(default = "host")]
    pub base: String,
    /// Packages of the base's own package manager.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Shell lines, run in order as the image's root.
    #[serde(default)]
    pub setup: Vec<String>,
    /// Files whose content is a part of the image's key.
    #[serde(default)]
    pub key: Vec<String>,
}

fn host() -> String {
    "host".to_owned()
}

impl ImageSection {
    /// Reads the table.
    ///
    /// Errors: [`RecipeError`] for an unknown key (with the nearest one), a value of another type, an empty word, a
    /// package that is no package's name, and packages on the base `host`.
    pub fn parse(value: &toml::Value) -> Result<Self, RecipeError> {
        let fail = |problem: String| RecipeError::new(PLACE, None, problem);
        let table = value
            .as_table()
            .ok_or_else(|| fail("it has to be a table".to_owned()))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(fail(unknown("key", key, &KEYS)));
        }
        let section: Self = Deserialize::deserialize(value.clone())
            .map_err(|error: toml::de::Error| fail(error.message().to_owned()))?;
        if section.base.trim().is_empty() {
            return Err(fail(
                "`base` is empty; write host, or the name of an image".to_owned(),
            ));
        }
        for (key, list) in [
            ("packages", &section.packages),
            ("setup", &section.setup),
            ("key", &section.key),
        ] {
            if list.len() > ENTRIES_MAX {
                return Err(fail(format!("`{key}` has more than {ENTRIES_MAX} entries")));
            }
            if list.iter().any(|word| word.trim().is_empty()) {
                return Err(fail(format!("`{key}` has an empty entry; remove it")));
            }
        }
        if let Some(package) = section.packages.iter().find(|package| !is_package(package)) {
            return Err(fail(format!(
                "`packages` has {package:?}, which is no package's name"
            )));
        }
        if section.base == "host" && !section.packages.is_empty() {
            let text =
                "`packages` needs a base image: the host's packages are not ours to change; set `base`";
            return Err(fail(text.to_owned()));
        }
        Ok(section)
    }

    /// Returns the recipe it stands for.
    #[must_use]
    pub fn recipe(&self) -> Recipe {
        let mut steps = Vec::new();
        if !self.packages.is_empty() {
            steps.push(Step {
                line: 0,
                text: format!("packages {}", self.packages.join(" ")),
                action: Action::RunLine(install_line(&self.packages)),
            });
        }
        steps.extend(self.setup.iter().map(|line| Step {
            line: 0,
            text: format!("RUN {line}"),
            action: Action::RunLine(line.clone()),
        }));
        Recipe {
            file: PLACE.to_owned(),
            arguments: Vec::new(),
            stages: vec![Stage {
                name: None,
                base: Base::of_word(&self.base),
                line: 0,
                steps,
            }],
            packages: self.packages.clone(),
            key_files: self.key.clone(),
        }
    }
}

/// Says whether a word names a package, maybe with a version, and is no option of a package manager.
fn is_package(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+._:=~@/-<>".contains(&byte);
    word.bytes().all(plain)
        && word
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'@')
}

/// Returns the line that installs packages with whichever manager the base has.
fn install_line(packages: &[String]) -> String {
    let quoted: Vec<String> = packages.iter().map(|package| format!("'{package}'")).collect();
    let all = quoted.join(" ");
    format!(
        "set -e; if command -v apt-get >/dev/null; then export DEBIAN_FRONTEND=noninteractive; apt-get update; \
         apt-get install -y --no-install-recommends {all}; rm -rf /var/lib/apt/lists/*; \
         elif command -v apk >/dev/null; then apk add --no-cache {all}; \
         elif command -v dnf >/dev/null; then dnf install -y {all}; dnf clean all; \
         else echo 'packages: the base has none of apt-get, apk, dnf' >&2; exit 1; fi"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ImageSection, RecipeError> {
        ImageSection::parse(&toml::Value::Table(text.parse().expect("TOML")))
    }

    #[test]
    fn the_table_is_read() {
        let section =
            parse("base = 'debian:12'\npackages = ['git']\nsetup = ['make deps']\nkey = ['Cargo.lock']");
        let recipe = section.expect("a table").recipe();
        assert_eq!(recipe.stages[0].base, Base::Image("debian:12".to_owned()));
        assert_eq!(
            recipe.step_texts(),
            ["FROM debian:12", "packages git", "RUN make deps"]
        );
        assert_eq!(recipe.key_files, ["Cargo.lock"]);
        assert_eq!(parse("").expect("all have defaults").base, "host");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, words: &str| {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{error}");
        };
        check(
            "pakages = []",
            "unknown key \"pakages\"; did you mean \"packages\"?",
        );
        check("zzz = 1", "there are base, packages, setup, key");
        check("setup = 'make'", "invalid type");
        check("base = ' '", "`base` is empty");
        check("key = ['']", "`key` has an empty entry");
        check(
            "base = 'x'\npackages = ['-y']",
            "\"-y\", which is no package's name",
        );
        check("base = 'x'\npackages = [\"a'; rm\"]", "no package's name");
        check("packages = ['git']", "needs a base image");
    }
}

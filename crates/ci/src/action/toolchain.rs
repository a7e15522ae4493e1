//! Finds toolchains in a box. Owns where they are looked for; a version is what the program itself says, never what a
//! directory is called.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::call::{ActionCall, ActionError};
use crate::files::quote;
use crate::version::{Version, Wanted};

/// Where to look for a program.
pub(super) struct Look<'a> {
    /// What it is called on `PATH`.
    pub(super) programs: &'a [&'a str],
    /// Files it may be: a directory that is taken as it is, and a pattern below it.
    pub(super) places: Vec<(PathBuf, &'a str)>,
    /// How it is asked for its version.
    pub(super) ask: &'a str,
}

/// Tries every candidate once, and writes its path and the first line of its answer.
const TRY: &str = r#"seen=:
try() {
  [ -f "$1" ] && [ -x "$1" ] || return 0
  case $seen in *":$1:"*) return 0;; esac
  seen="$seen$1:"
  line=$("$1" $ask 2>&1 </dev/null | head -n 1)
  printf '%s\t%s\n' "$1" "$line"
}
"#;

impl ActionCall<'_> {
    /// Returns the directories that hold a tool in the forms runners' images have them.
    pub(super) fn tool_cache(&self) -> PathBuf {
        PathBuf::from(self.var("RUNNER_TOOL_CACHE").unwrap_or("/opt/hostedtoolcache"))
    }

    /// Returns every program found with its answer, those on `PATH` first.
    pub(super) fn look(&self, look: &Look<'_>) -> Result<Vec<(PathBuf, String)>, ActionError> {
        let mut script = format!("ask={}\n", String::from_utf8_lossy(&quote(OsStr::new(look.ask))));
        script.push_str(TRY);
        for program in look.programs {
            script.push_str(&format!(
                "old=$IFS; IFS=:; set -f; set -- $PATH; set +f; IFS=$old; for d do try \"$d/{program}\"; done\n"
            ));
        }
        for (base, pattern) in &look.places {
            let base = String::from_utf8_lossy(&quote(base.as_os_str())).into_owned();
            script.push_str(&format!("for p in {base}/{pattern}; do try \"$p\"; done\n"));
        }
        script.push_str("exit 0\n");
        let text = self.tell_in(&["/bin/sh", "-c", &script], self.workspace)?;
        let found = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(found
            .map(|(path, answer)| (PathBuf::from(path), answer.to_owned()))
            .collect())
    }

    /// Chooses the newest of what was found that is wanted.
    pub(super) fn choose(
        &self,
        tool: &str,
        text: &str,
        wanted: &Wanted,
        present: Vec<(Version, PathBuf)>,
    ) -> Result<(Version, PathBuf), ActionError> {
        match wanted.choose(&present) {
            Some(chosen) => Ok(chosen.clone()),
            None => Err(ActionError::Missing {
                tool: tool.to_owned(),
                wanted: text.to_owned(),
                present: present
                    .iter()
                    .map(|(version, path)| format!("{version} ({})", path.display()))
                    .collect(),
            }),
        }
    }
}

/// Returns the first word of an answer that is a version, as `spell` writes it.
pub(super) fn version_of(answer: &str, prefix: &str, spell: fn(&str) -> String) -> Option<Version> {
    answer
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | '(' | ')' | ','))
        .find_map(|word| {
            let word = spell(word.strip_prefix(prefix)?);
            let zeros = match word.split('-').next()?.matches('.').count() {
                0 => return None,
                1 if !word.contains('-') => format!("{word}.0"),
                _ => word,
            };
            Version::parse(&zeros)
        })
}

/// Leaves a version as it is written.
pub(super) fn as_written(text: &str) -> String {
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;

    #[test]
    fn versions_are_read_from_what_programs_answer() {
        let cases = [
            ("v20.11.0", "v", Some("20.11.0")),
            ("Python 3.11.2", "", Some("3.11.2")),
            ("go version go1.22 linux/amd64", "go", Some("1.22.0")),
            ("go version go1.21.9 linux/amd64", "go", Some("1.21.9")),
            ("uv 0.5.1 (abc 2024)", "", Some("0.5.1")),
            ("openjdk version \"17.0.12\" 2024-07-16", "", Some("17.0.12")),
            ("no version", "", None),
        ];
        for (answer, prefix, expected) in cases {
            let found = version_of(answer, prefix, as_written);
            assert_eq!(found, expected.and_then(Version::parse), "{answer}");
        }
    }
}

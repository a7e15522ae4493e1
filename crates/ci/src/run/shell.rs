//! The shells of `run` steps with GitHub's exact flags. Owns the table and how a script is completed for a shell; must
//! never start one.
//!
//! Source: `ScriptHandlerHelpers` of actions/runner and "jobs.<job_id>.steps[*].shell" of GitHub's documentation.

/// A shell that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shell {
    /// The program and its arguments; one of them holds `{0}` where the script's path goes.
    words: Vec<String>,
    /// What the script file's name ends with.
    pub(super) extension: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    PowerShell,
}

/// Why a shell cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShellFault {
    /// Custom shells say where the script goes.
    #[error(
        "Invalid shell option. Shell must be a valid built-in (bash, sh, cmd, powershell, pwsh) or a format string containing '{{0}}'"
    )]
    NoPlace,
    /// It is a shell of another system.
    #[error("the shell '{0}' is not there on Linux; use bash, sh, pwsh, python or a command with {{0}}")]
    Foreign(String),
}

impl Shell {
    /// Chooses the shell for what is written; `None` if nothing is, which is bash without `pipefail`, or `sh` where
    /// there is no bash.
    ///
    /// Errors: [`ShellFault`].
    pub(super) fn choose(written: Option<&str>, has_bash: bool) -> Result<Self, ShellFault> {
        let make = |line: &str, extension, kind| {
            Ok(Self {
                words: line.split_whitespace().map(str::to_owned).collect(),
                extension,
                kind,
            })
        };
        let Some(written) = written.map(str::trim).filter(|text| !text.is_empty()) else {
            let line = if has_bash { "bash -e {0}" } else { "sh -e {0}" };
            return make(line, ".sh", Kind::Plain);
        };
        match written.to_ascii_lowercase().as_str() {
            "bash" => make("bash --noprofile --norc -e -o pipefail {0}", ".sh", Kind::Plain),
            "sh" => make("sh -e {0}", ".sh", Kind::Plain),
            "python" => make("python {0}", ".py", Kind::Plain),
            "pwsh" => Ok(Self {
                words: ["pwsh", "-command", ". '{0}'"].map(str::to_owned).to_vec(),
                extension: ".ps1",
                kind: Kind::PowerShell,
            }),
            "cmd" | "powershell" => Err(ShellFault::Foreign(written.to_owned())),
            _ => Self::custom(written),
        }
    }

    /// Reads a command of one's own; quotes keep words together.
    fn custom(written: &str) -> Result<Self, ShellFault> {
        if !written.contains("{0}") {
            return Err(ShellFault::NoPlace);
        }
        let words = split_words(written);
        let program = words
            .first()
            .and_then(|word| word.rsplit('/').next())
            .unwrap_or("");
        let (extension, kind) = match program {
            "pwsh" => (".ps1", Kind::PowerShell),
            "bash" | "sh" => (".sh", Kind::Plain),
            "python" => (".py", Kind::Plain),
            _ => ("", Kind::Plain),
        };
        Ok(Self {
            words,
            extension,
            kind,
        })
    }

    /// Returns the command that runs the script at a path.
    pub(super) fn command(&self, script: &str) -> Vec<String> {
        self.words
            .iter()
            .map(|word| word.replace("{0}", script))
            .collect()
    }

    /// Returns what the log shows of the shell.
    pub(super) fn shown(&self) -> String {
        self.words.join(" ")
    }

    /// Completes a script for the shell.
    pub(super) fn complete(&self, script: &str) -> String {
        match self.kind {
            Kind::Plain => script.to_owned(),
            // What PowerShell itself does not: end at the first error, and hand on the last program's exit code.
            Kind::PowerShell => format!(
                "$ErrorActionPreference = 'stop'\n{script}\nif ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) {{ exit $LASTEXITCODE }}"
            ),
        }
    }
}

/// Splits a command at white space; quotes keep a word together and are taken away.
pub(super) fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut started = false;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                started = true;
            }
            None if c.is_whitespace() => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            None => word.push(c),
        }
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: Option<&str>, command: &[&str]) {
        let shell = Shell::choose(written, true).expect("it is a shell");
        assert_eq!(shell.command("/s"), command, "{written:?}");
    }

    #[test]
    fn every_shell_has_the_flags_that_github_gives_it() {
        check(None, &["bash", "-e", "/s"]);
        check(Some(""), &["bash", "-e", "/s"]);
        check(
            Some("bash"),
            &["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "/s"],
        );
        check(
            Some("Bash"),
            &["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "/s"],
        );
        check(Some("sh"), &["sh", "-e", "/s"]);
        check(Some("python"), &["python", "/s"]);
        check(Some("pwsh"), &["pwsh", "-command", ". '/s'"]);
        check(Some("perl {0}"), &["perl", "/s"]);
        check(
            Some("bash -c 'cat \"{0}\"' x"),
            &["bash", "-c", "cat \"/s\"", "x"],
        );
        let without_bash = Shell::choose(None, false).expect("it is a shell");
        assert_eq!(without_bash.command("/s"), ["sh", "-e", "/s"]);
    }

    #[test]
    fn a_shell_that_cannot_run_the_script_is_refused() {
        assert_eq!(Shell::choose(Some("perl"), true), Err(ShellFault::NoPlace));
        assert_eq!(
            Shell::choose(Some("cmd"), true),
            Err(ShellFault::Foreign("cmd".into()))
        );
    }

    #[test]
    fn a_powershell_script_ends_at_its_first_error_and_keeps_the_exit_code() {
        let shell = Shell::choose(Some("pwsh"), true).expect("it is a shell");
        let script = shell.complete("echo a");
        assert!(
            script.starts_with("$ErrorActionPreference = 'stop'\necho a\n"),
            "{script}"
        );
        assert!(script.ends_with("{ exit $LASTEXITCODE }"), "{script}");
        assert_eq!(
            Shell::choose(None, true)
                .expect("it is a shell")
                .complete("echo a"),
            "echo a"
        );
    }
}

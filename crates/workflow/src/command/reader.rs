//! Reads a step's output line by line for commands. Owns whether commands are heeded at all and what each one means;
//! must never carry one out.
//!
//! ```text
//!   Heeding ── stop-commands TOKEN ──► Stopped(TOKEN) ── ::TOKEN:: ──► Heeding
//! ```
//!
//! Source: actions/runner, `ActionCommandManager.cs`.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::annotation::{Annotation, AnnotationLevel};
use super::syntax::{RawCommand, parse};

/// What a step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepCommand {
    /// An output of the step.
    SetOutput {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// State for the later stages of the same action.
    SaveState {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A variable for the later steps.
    SetEnv {
        /// Its name, never a blocked one.
        name: String,
        /// Its value.
        value: String,
    },
    /// A folder for the front of the later steps' `PATH`.
    AddPath(String),
    /// A value that is secret from now on. Its line is never shown.
    AddMask(String),
    /// A line for those who debug.
    Debug(String),
    /// A remark on the code.
    Annotation(Annotation),
    /// The lines that follow belong under this heading.
    Group(String),
    /// The heading's lines end.
    EndGroup,
    /// Whether later commands are shown as they were written; the reader does so by itself.
    Echo(bool),
    /// No command is heeded until the token comes. A token of more than six characters is secret from now on.
    StopCommands {
        /// What has to be masked.
        mask: Option<String>,
    },
    /// Commands are heeded again.
    ResumeCommands,
    /// Problem matchers are in this file, relative to the workspace.
    AddMatcher {
        /// The file.
        file: String,
    },
    /// A problem matcher is no longer wanted.
    RemoveMatcher(MatcherName),
}

/// Which problem matchers are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatcherName {
    /// The one of that owner.
    Owner(String),
    /// Those of the owners in that file.
    File(String),
}

/// A command that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandProblem {
    /// Warning or error.
    pub level: AnnotationLevel,
    /// What GitHub says, in order.
    pub messages: Vec<String>,
    /// The step has failed.
    pub fails_step: bool,
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineOutcome {
    /// Output as any other: to be shown, and to be matched for problems.
    Text,
    /// A command.
    Command {
        /// What is asked for.
        command: StepCommand,
        /// A line to show in its place; none means that nothing is shown for it.
        shown: Option<String>,
    },
    /// A command that is known but cannot be carried out.
    Problem {
        /// What is wrong with it.
        problem: CommandProblem,
        /// As of [`LineOutcome::Command`].
        shown: Option<String>,
    },
}

/// What the step's environment allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandOptions {
    /// `set-env` and `add-path` in output are heeded.
    pub unsecure_commands: bool,
    /// Any token may stop commands.
    pub unsecure_stop_tokens: bool,
}

impl CommandOptions {
    /// Reads them from the environment of the step or of the runner.
    #[must_use]
    pub fn from_environment<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Self {
        let stop_tokens = variable("ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS").unwrap_or("");
        Self {
            unsecure_commands: variable("ACTIONS_ALLOW_UNSECURE_COMMANDS")
                .is_some_and(|value| value.trim().eq_ignore_ascii_case("true")),
            unsecure_stop_tokens: ["1", "true", "$true"]
                .iter()
                .any(|yes| stop_tokens.eq_ignore_ascii_case(yes)),
        }
    }
}

/// The commands there are, `stop-commands` apart.
const COMMANDS: &[&str] = &[
    "set-output",
    "save-state",
    "set-env",
    "add-path",
    "add-mask",
    "debug",
    "notice",
    "warning",
    "error",
    "group",
    "endgroup",
    "echo",
    "add-matcher",
    "remove-matcher",
];
const STOP: &str = "stop-commands";
/// What every command holds: most lines of output are told from commands by the lack of it.
static COLONS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("::"));
static BRACKETS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("##["));
/// Commands that show themselves, or must not be shown.
const NEVER_ECHOED: &[&str] = &["add-mask", "debug", "notice", "warning", "error"];
/// Longer tokens are masked, so that what is printed meanwhile cannot know them from the log.
const TOKEN_CHARS_SHOWN_MAX: usize = 6;
/// Variables that no step may set by a command.
pub(super) const BLOCKED_VARIABLES: &[&str] = &["NODE_OPTIONS"];

/// Reads the output of one step.
#[derive(Debug, Clone, Default)]
pub struct CommandReader {
    options: CommandOptions,
    echo: bool,
    stopped_until: Option<String>,
}

impl CommandReader {
    /// Starts a step. `echo` says whether commands are shown as they were written, as with debug logging.
    #[must_use]
    pub fn new(options: CommandOptions, echo: bool) -> Self {
        Self {
            options,
            echo,
            stopped_until: None,
        }
    }

    /// Reads the next line, without its end.
    ///
    /// Shape: never fails; what is no known command is text. Bytes that are no UTF-8 become U+FFFD in a command.
    pub fn read_line(&mut self, line: &[u8]) -> LineOutcome {
        if COLONS.find(line).is_none() && BRACKETS.find(line).is_none() {
            return LineOutcome::Text;
        }
        let line = String::from_utf8_lossy(line);
        let token = self.stopped_until.as_deref();
        let known = |name: &str| {
            let mut words = COMMANDS.iter().copied().chain([STOP]).chain(token);
            words.any(|word| name.eq_ignore_ascii_case(word))
        };
        let Some(raw) = parse(&line, known) else {
            return LineOutcome::Text;
        };
        if let Some(token) = token {
            if !raw.name.eq_ignore_ascii_case(token) {
                return LineOutcome::Text;
            }
            self.stopped_until = None;
            return LineOutcome::Command {
                command: StepCommand::ResumeCommands,
                shown: Some(line.into_owned()),
            };
        }
        let name = raw.name.to_ascii_lowercase();
        if name == STOP {
            return self.stop(&line, raw);
        }
        let secretive = NEVER_ECHOED.contains(&name.as_str());
        let mut shown = (self.echo && !secretive).then(|| line.to_string());
        match self.meaning(&name, &raw) {
            Ok(command) => {
                match &command {
                    StepCommand::Echo(on) => self.echo = *on,
                    StepCommand::AddMask(_) if self.echo => shown = Some("::add-mask::***".to_owned()),
                    _ => {}
                }
                LineOutcome::Command { command, shown }
            }
            Err(Refusal::Says(level, message)) => {
                let problem = CommandProblem {
                    level,
                    messages: vec![message],
                    fails_step: false,
                };
                LineOutcome::Problem { problem, shown }
            }
            Err(Refusal::Fails(message)) => {
                let about = if secretive { &name } else { line.as_ref() };
                LineOutcome::Problem {
                    problem: failure(about, message),
                    shown,
                }
            }
        }
    }

    /// Tells whether the beginning of a line that is too long may be shown: one that would have added a mask may
    /// not, because what follows is secret and nobody can mask it.
    #[must_use]
    pub fn may_show_long_line(&self, start: &[u8]) -> bool {
        let start = String::from_utf8_lossy(start);
        let is_mask = |name: &str| name.eq_ignore_ascii_case("add-mask");
        self.stopped_until.is_some() || parse(&start, is_mask).is_none()
    }

    fn stop(&mut self, line: &str, raw: RawCommand) -> LineOutcome {
        let token = raw.data;
        let unfit = token.is_empty()
            || COMMANDS
                .iter()
                .chain([&STOP, &"pause-logging"])
                .any(|word| token.eq_ignore_ascii_case(word));
        if unfit && !self.options.unsecure_stop_tokens {
            return LineOutcome::Problem {
                problem: failure(line, STOP_TOKEN_REFUSED.to_owned()),
                shown: None,
            };
        }
        let mask = (token.encode_utf16().count() > TOKEN_CHARS_SHOWN_MAX).then(|| token.clone());
        self.stopped_until = Some(token);
        LineOutcome::Command {
            command: StepCommand::StopCommands { mask },
            shown: Some(line.to_owned()),
        }
    }

    fn meaning(&self, name: &str, raw: &RawCommand) -> Result<StepCommand, Refusal> {
        let named = || {
            let missing =
                || Refusal::Fails(format!("Required field 'name' is missing in ##[{name}] command."));
            raw.property("name").map(str::to_owned).ok_or_else(missing)
        };
        let value = raw.data.clone();
        Ok(match name {
            "set-output" => StepCommand::SetOutput {
                name: named()?,
                value,
            },
            "save-state" => StepCommand::SaveState {
                name: named()?,
                value,
            },
            "set-env" => {
                self.check_unsecure(name)?;
                let variable = named()?;
                if let Some(blocked) = BLOCKED_VARIABLES
                    .iter()
                    .find(|word| variable.eq_ignore_ascii_case(word))
                {
                    let message =
                        format!("Can't update {blocked} environment variable using ::set-env:: command.");
                    return Err(Refusal::Says(AnnotationLevel::Error, message));
                }
                StepCommand::SetEnv {
                    name: variable,
                    value,
                }
            }
            "add-path" => {
                self.check_unsecure(name)?;
                if value.is_empty() {
                    return Err(Refusal::Fails(
                        "Value cannot be empty. (Parameter 'path')".to_owned(),
                    ));
                }
                StepCommand::AddPath(value)
            }
            "add-mask" if value.trim().is_empty() => {
                let message = "Can't add secret mask for empty string in ##[add-mask] command.".to_owned();
                return Err(Refusal::Says(AnnotationLevel::Warning, message));
            }
            "add-mask" => StepCommand::AddMask(value),
            "debug" => StepCommand::Debug(value),
            "group" => StepCommand::Group(value),
            "endgroup" => StepCommand::EndGroup,
            "echo" => StepCommand::Echo(on_or_off(&value)?),
            "add-matcher" if value.is_empty() => {
                let message = "File path must be specified.".to_owned();
                return Err(Refusal::Says(AnnotationLevel::Warning, message));
            }
            "add-matcher" => StepCommand::AddMatcher { file: value },
            "remove-matcher" => StepCommand::RemoveMatcher(matcher_name(raw)?),
            _ => {
                let level =
                    AnnotationLevel::from_name(name).expect("the remaining commands are the three levels");
                StepCommand::Annotation(Annotation::from_command(level, raw))
            }
        })
    }

    fn check_unsecure(&self, name: &str) -> Result<(), Refusal> {
        if self.options.unsecure_commands {
            return Ok(());
        }
        Err(Refusal::Fails(format!(
            "The `{name}` command is disabled. Please upgrade to using Environment Files or opt into unsecure command \
             execution by setting the `ACTIONS_ALLOW_UNSECURE_COMMANDS` environment variable to `true`. For more \
             information see: \
             https://github.blog/changelog/2020-10-01-github-actions-deprecating-set-env-and-add-path-commands/"
        )))
    }
}

const STOP_TOKEN_REFUSED: &str = "You cannot use a endToken that is an empty string, the string 'pause-logging', or another workflow command. \
     For more information see: https://docs.github.com/actions/learn-github-actions/workflow-commands-for-github-actions#example-stopping-and-starting-workflow-commands \
     or opt into insecure command execution by setting the `ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS` environment variable to `true`.";

/// Why a known command has no effect.
enum Refusal {
    /// Said, and nothing else.
    Says(AnnotationLevel, String),
    /// The step fails.
    Fails(String),
}

fn failure(about: &str, message: String) -> CommandProblem {
    let first = format!("Unable to process command '{about}' successfully.");
    CommandProblem {
        level: AnnotationLevel::Error,
        messages: vec![first, message],
        fails_step: true,
    }
}

fn on_or_off(value: &str) -> Result<bool, Refusal> {
    match value.trim().to_ascii_uppercase().as_str() {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        _ if value.is_empty() => Err(Refusal::Fails(
            "Value cannot be empty. (Parameter 'value')".to_owned(),
        )),
        _ => Err(Refusal::Fails(format!(
            "Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: '{value}'."
        ))),
    }
}

fn matcher_name(raw: &RawCommand) -> Result<MatcherName, Refusal> {
    let message = match (raw.property("owner"), raw.data.as_str()) {
        (Some(owner), "") => return Ok(MatcherName::Owner(owner.to_owned())),
        (None, "") => "Either an owner name or a file path must be specified in ##[remove-matcher] command.",
        (None, file) => return Ok(MatcherName::File(file.to_owned())),
        (Some(_), _) => {
            "Either specify an owner name or a file path in ##[remove-matcher] command. Both values cannot be set."
        }
    };
    Err(Refusal::Says(AnnotationLevel::Warning, message.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &str) -> String {
        value.to_owned()
    }

    fn read(line: &str) -> LineOutcome {
        CommandReader::new(CommandOptions::default(), false).read_line(line.as_bytes())
    }

    fn check(line: &str, expected: StepCommand) {
        assert_eq!(
            read(line),
            LineOutcome::Command {
                command: expected,
                shown: None
            },
            "{line}"
        );
    }

    fn check_problem(line: &str, level: AnnotationLevel, fails_step: bool, last_message: &str) {
        let LineOutcome::Problem { problem, .. } = read(line) else {
            panic!("{line} is no problem")
        };
        assert_eq!((problem.level, problem.fails_step), (level, fails_step), "{line}");
        let last = problem.messages.last().expect("something is said");
        assert!(last.starts_with(last_message), "{line}: {last}");
    }

    #[test]
    fn each_command_is_read_into_what_it_asks_for() {
        check(
            "::set-output name=a::1%0A2",
            StepCommand::SetOutput {
                name: text("a"),
                value: text("1\n2"),
            },
        );
        check(
            "##[set-output name=a;]1",
            StepCommand::SetOutput {
                name: text("a"),
                value: text("1"),
            },
        );
        check(
            "::save-state name=b::",
            StepCommand::SaveState {
                name: text("b"),
                value: text(""),
            },
        );
        check("::ADD-MASK::x", StepCommand::AddMask(text("x")));
        check("::debug::x", StepCommand::Debug(text("x")));
        check("::group::Build", StepCommand::Group(text("Build")));
        check("##[endgroup]ignored", StepCommand::EndGroup);
        check("::echo:: On ", StepCommand::Echo(true));
        check(
            "::add-matcher::.github/m.json",
            StepCommand::AddMatcher {
                file: text(".github/m.json"),
            },
        );
        check(
            "::remove-matcher owner=a::",
            StepCommand::RemoveMatcher(MatcherName::Owner(text("a"))),
        );
        check(
            "##[remove-matcher]m.json",
            StepCommand::RemoveMatcher(MatcherName::File(text("m.json"))),
        );
    }

    #[test]
    fn a_command_that_cannot_be_carried_out_says_what_github_says() {
        let (error, warning) = (AnnotationLevel::Error, AnnotationLevel::Warning);
        check_problem(
            "::set-output::1",
            error,
            true,
            "Required field 'name' is missing in ##[set-output] command.",
        );
        check_problem(
            "::set-env name=A::1",
            error,
            true,
            "The `set-env` command is disabled. Please upgrade",
        );
        check_problem(
            "::add-path::/x",
            error,
            true,
            "The `add-path` command is disabled.",
        );
        check_problem(
            "::echo::maybe",
            error,
            true,
            "Invalid echo command value. Possible values can be: 'on', 'off'.",
        );
        check_problem(
            "::add-mask::  ",
            warning,
            false,
            "Can't add secret mask for empty string",
        );
        check_problem("::add-matcher::", warning, false, "File path must be specified.");
        check_problem(
            "::remove-matcher owner=a::b",
            warning,
            false,
            "Either specify an owner name or a file path",
        );
        check_problem(
            "::remove-matcher::",
            warning,
            false,
            "Either an owner name or a file path must be",
        );
        for token in ["", "pause-logging", "Set-Output", "stop-commands"] {
            check_problem(
                &format!("::stop-commands::{token}"),
                error,
                true,
                "You cannot use a endToken",
            );
        }
    }

    #[test]
    fn a_failed_command_names_its_line() {
        let LineOutcome::Problem { problem, .. } = read("::echo::x") else {
            panic!("a problem")
        };
        assert_eq!(
            problem.messages[0],
            "Unable to process command '::echo::x' successfully."
        );
    }

    #[test]
    fn unsecure_commands_are_heeded_where_the_environment_says_so() {
        let options = CommandOptions::from_environment(|name| {
            (name == "ACTIONS_ALLOW_UNSECURE_COMMANDS").then_some("True")
        });
        assert_eq!(
            options,
            CommandOptions {
                unsecure_commands: true,
                unsecure_stop_tokens: false
            }
        );
        let mut reader = CommandReader::new(options, false);
        let set = StepCommand::SetEnv {
            name: text("A"),
            value: text("1"),
        };
        assert_eq!(
            reader.read_line(b"::set-env name=A::1"),
            LineOutcome::Command {
                command: set,
                shown: None
            }
        );
        let path = StepCommand::AddPath(text("/x"));
        assert_eq!(
            reader.read_line(b"::add-path::/x"),
            LineOutcome::Command {
                command: path,
                shown: None
            }
        );
        let LineOutcome::Problem { problem, .. } = reader.read_line(b"::set-env name=node_options::--x")
        else {
            panic!("a blocked name is a problem")
        };
        assert!(!problem.fails_step);
        assert_eq!(
            problem.messages,
            ["Can't update NODE_OPTIONS environment variable using ::set-env:: command."]
        );
    }

    #[test]
    fn nothing_is_heeded_between_stop_commands_and_its_token() {
        let mut reader = CommandReader::new(CommandOptions::default(), false);
        let stop = StepCommand::StopCommands {
            mask: Some(text("Token-1")),
        };
        let line = text("::stop-commands::Token-1");
        assert_eq!(
            reader.read_line(line.as_bytes()),
            LineOutcome::Command {
                command: stop,
                shown: Some(line)
            }
        );
        for line in [
            "::set-output name=a::1",
            "::stop-commands::other",
            "::other::",
            "Token-1",
            "::add-mask::x",
        ] {
            assert_eq!(reader.read_line(line.as_bytes()), LineOutcome::Text, "{line}");
        }
        assert!(reader.may_show_long_line(b"::add-mask::xxxx"));
        let resume = LineOutcome::Command {
            command: StepCommand::ResumeCommands,
            shown: Some(text("::token-1::")),
        };
        assert_eq!(reader.read_line(b"::token-1::"), resume);
        assert_eq!(reader.read_line(b"::token-1::"), LineOutcome::Text);
        assert!(matches!(
            reader.read_line(b"::debug::x"),
            LineOutcome::Command { .. }
        ));
        let short = StepCommand::StopCommands { mask: None };
        assert!(
            matches!(reader.read_line(b"::stop-commands::abc"), LineOutcome::Command { command, .. } if command == short)
        );
    }

    #[test]
    fn echo_shows_commands_but_neither_masks_nor_what_shows_itself() {
        let mut reader = CommandReader::new(CommandOptions::default(), false);
        let shown = |reader: &mut CommandReader, line: &str| match reader.read_line(line.as_bytes()) {
            LineOutcome::Command { shown, .. } | LineOutcome::Problem { shown, .. } => shown,
            LineOutcome::Text => panic!("{line} is a command"),
        };
        assert_eq!(shown(&mut reader, "::set-output name=a::1"), None);
        assert_eq!(shown(&mut reader, "::echo::on"), None);
        assert_eq!(
            shown(&mut reader, "::set-output name=a::1"),
            Some(text("::set-output name=a::1"))
        );
        assert_eq!(
            shown(&mut reader, "::set-output::1"),
            Some(text("::set-output::1"))
        );
        assert_eq!(
            shown(&mut reader, "::add-mask::hunter2"),
            Some(text("::add-mask::***"))
        );
        assert_eq!(shown(&mut reader, "::warning::x"), None);
        assert_eq!(shown(&mut reader, "::echo::off"), Some(text("::echo::off")));
        assert_eq!(shown(&mut reader, "::group::x"), None);
    }

    #[test]
    fn what_is_no_known_command_is_text() {
        for line in [
            "",
            "plain",
            "::unknown::x",
            "a::b::c",
            "##[section]x",
            "::internal-set-repo-path::x",
            "std::vec::Vec",
        ] {
            assert_eq!(read(line), LineOutcome::Text, "{line}");
        }
    }

    #[test]
    fn a_mask_that_is_too_long_to_read_is_not_shown() {
        let reader = CommandReader::default();
        assert!(!reader.may_show_long_line(b" ::add-mask::xxxx"));
        assert!(!reader.may_show_long_line(b"x ##[Add-Mask]xxxx"));
        assert!(reader.may_show_long_line(b"::debug::xxxx"));
    }

    proptest! {
        #[test]
        fn junk_is_never_more_than_junk(lines in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "(::|##\\[)[a-z:,;= \\]%-]{0,30}".prop_map(String::into_bytes),
            ], 0..20)) {
            let mut reader = CommandReader::new(CommandOptions::default(), true);
            for line in lines {
                let marked = line.windows(2).any(|two| two == b"::") || line.windows(3).any(|three| three == b"##[");
                let outcome = reader.read_line(&line);
                prop_assert!(marked || outcome == LineOutcome::Text);
            }
        }
    }
}

//! The agent programs a lane may use. Owns their closed list, their names and what a lane may set for each.

use std::fmt;
use std::str::FromStr;

use crate::acp::{self, PermissionPolicy};
use crate::command::{self, CommandOutput};
use crate::launch::{LaunchError, LaunchPlan, LaunchRequest, TranscriptGlob};
use crate::stream::StreamParser;
use crate::{claude, codex};

/// Which kind of agent program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// `codex exec --json`.
    Codex,
    /// `claude -p --output-format stream-json`.
    Claude,
    /// Any program that speaks the Agent Client Protocol on its standard streams.
    Acp,
    /// Any other program.
    Command,
}

impl AdapterKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Codex, Self::Claude, Self::Acp, Self::Command];

    /// Returns the name lanes are configured with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::Claude => "claude",
            Self::Acp => "acp",
            Self::Command => "command",
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no adapter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no adapter: write codex, claude, acp or command")]
pub struct ParseAdapterError {
    /// What was given.
    pub text: String,
}

impl FromStr for AdapterKind {
    type Err = ParseAdapterError;
    fn from_str(text: &str) -> Result<Self, ParseAdapterError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| ParseAdapterError {
            text: text.to_owned(),
        })
    }
}

/// How a lane's program is started where gantry does not know the program.
///
/// Shape: arguments and values may hold `{workspace}`, `{home}`, `{model}`, `{brief}` (a path) and `{session}`. A
/// placeholder whose value is not there is an error, never an empty argument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgramTemplate {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The same for going on with an earlier session. `None`: the program cannot, or (ACP) does so by its protocol.
    pub resume_argv: Option<Vec<String>>,
    /// Variables for the program.
    pub env: Vec<(String, String)>,
    /// Which files below the agent's home are transcripts.
    pub transcripts: Vec<TranscriptGlob>,
}

/// An agent program with what a lane sets for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adapter {
    /// Codex.
    Codex {
        /// The program; `codex` if the box finds it by that name.
        program: String,
    },
    /// Claude Code.
    Claude {
        /// The program; `claude` if the box finds it by that name.
        program: String,
    },
    /// A program that speaks the Agent Client Protocol.
    Acp {
        /// How it is started.
        template: ProgramTemplate,
        /// What it is answered when it asks whether it may do something.
        permission: PermissionPolicy,
    },
    /// Any other program.
    Command {
        /// How it is started.
        template: ProgramTemplate,
        /// How its output is read.
        output: CommandOutput,
    },
}

impl Adapter {
    /// Returns which kind it is.
    #[must_use]
    pub const fn kind(&self) -> AdapterKind {
        match self {
            Self::Codex { .. } => AdapterKind::Codex,
            Self::Claude { .. } => AdapterKind::Claude,
            Self::Acp { .. } => AdapterKind::Acp,
            Self::Command { .. } => AdapterKind::Command,
        }
    }

    /// Says how to start the program for a run.
    ///
    /// Errors: the request asks for something this program cannot be given.
    pub fn plan_launch(&self, request: &LaunchRequest) -> Result<LaunchPlan, LaunchError> {
        match self {
            Self::Codex { program } => codex::plan_launch(program, request),
            Self::Claude { program } => claude::plan_launch(program, request),
            Self::Acp { template, .. } => acp::plan_launch(template, request),
            Self::Command { template, .. } => command::plan_launch(template, request),
        }
    }

    /// Returns a parser for what the program will write, and for ACP the client that answers it.
    #[must_use]
    pub fn stream(&self, request: &LaunchRequest) -> StreamParser {
        match self {
            Self::Codex { .. } => StreamParser::codex(),
            Self::Claude { .. } => StreamParser::claude(request.session_usage),
            Self::Acp { permission, .. } => StreamParser::acp(request, *permission),
            Self::Command { output, .. } => StreamParser::command(output.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_no_other_word_is() {
        for kind in AdapterKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "Codex".parse::<AdapterKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"Codex\" is no adapter: write codex, claude, acp or command"
        );
    }
}

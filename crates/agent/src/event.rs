//! What an agent program says while it works, in words that are the same for all of them. Owns no parsing.

use gantry_core::limits::AGENT_TEXT_CHARS_MAX;
use gantry_core::time::Timestamp;

use crate::failure::Failure;
use crate::usage::UsageTotal;

/// One thing an agent program said.
///
/// Shape: texts hold at most [`AGENT_TEXT_CHARS_MAX`] characters. No event carries a time: not every program gives
/// one, so the receiver stamps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// The program named its session; may come again with more known.
    SessionStarted(SessionStart),
    /// It began to work on a prompt.
    TurnStarted,
    /// It stopped working on a prompt.
    TurnEnded,
    /// It said something.
    Message {
        /// What.
        text: String,
        /// An agent below it said it; never the run's last word.
        subagent: bool,
    },
    /// It showed what it thinks.
    Reasoning {
        /// What.
        text: String,
    },
    /// It began to use a tool.
    ToolStarted(ToolStart),
    /// A tool gave its answer.
    ToolFinished(ToolEnd),
    /// It says it changed a file. A claim: what really changed is read from the workspace.
    FileChanged {
        /// Where, as the program wrote it.
        path: String,
        /// How.
        change: FileChange,
    },
    /// Its own list of things to do.
    Progress {
        /// Things done.
        done: usize,
        /// All things.
        total: usize,
    },
    /// All tokens and money of this run so far; replaces every earlier one.
    Usage(UsageTotal),
    /// What the provider says of one of its limits.
    RateLimit(RateLimit),
    /// Something went wrong and the program tries again by itself.
    Retrying {
        /// What went wrong.
        message: String,
    },
    /// Something went wrong that ends nothing.
    Warning {
        /// What.
        message: String,
    },
    /// The program said how its work ended. The process may still run, and a further one may follow.
    Finished(Finished),
}

impl AgentEvent {
    /// Returns the name of its kind, for logs and counts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SessionStarted(_) => "session_started",
            Self::TurnStarted => "turn_started",
            Self::TurnEnded => "turn_ended",
            Self::Message { .. } => "message",
            Self::Reasoning { .. } => "reasoning",
            Self::ToolStarted(_) => "tool_started",
            Self::ToolFinished(_) => "tool_finished",
            Self::FileChanged { .. } => "file_changed",
            Self::Progress { .. } => "progress",
            Self::Usage(_) => "usage",
            Self::RateLimit(_) => "rate_limit",
            Self::Retrying { .. } => "retrying",
            Self::Warning { .. } => "warning",
            Self::Finished(_) => "finished",
        }
    }
}

impl AgentEvent {
    /// True if it shows that the program does something, not only that it tries again or complains.
    #[must_use]
    pub const fn is_sign_of_life(&self) -> bool {
        match self {
            Self::Retrying { .. } | Self::Warning { .. } | Self::RateLimit(_) => false,
            Self::SessionStarted(_)
            | Self::TurnStarted
            | Self::TurnEnded
            | Self::Message { .. }
            | Self::Reasoning { .. }
            | Self::ToolStarted(_)
            | Self::ToolFinished(_)
            | Self::FileChanged { .. }
            | Self::Progress { .. }
            | Self::Usage(_)
            | Self::Finished(_) => true,
        }
    }
}

/// What a program says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionStart {
    /// What the session is resumed by.
    pub session_id: Option<String>,
    /// The model at work.
    pub model: Option<String>,
    /// The program's version.
    pub version: Option<String>,
}

/// A tool is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolStart {
    /// The program's own name for this use; [`ToolEnd::id`] is the same.
    pub id: String,
    /// The tool, such as `command_execution`, `Bash` or `gantry.get_issue`.
    pub name: String,
    /// The command, path or question in short; may be empty.
    pub summary: String,
}

/// A tool was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolEnd {
    /// The same as in [`ToolStart::id`].
    pub id: String,
    /// The tool, where the program says it again.
    pub name: Option<String>,
    /// How it ended.
    pub status: ToolStatus,
    /// The command's exit code; `None` also for commands that were abandoned.
    pub exit_code: Option<i64>,
}

/// How the use of a tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolStatus {
    /// The tool did what it was asked.
    Completed,
    /// It did not, or its command failed.
    Failed,
    /// It was not allowed to.
    Declined,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileChange {
    /// It is new.
    Added,
    /// It has other contents.
    Updated,
    /// It is gone.
    Deleted,
}

/// The state of one of a provider's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Whose limit it is, such as `anthropic`.
    pub provider: &'static str,
    /// Which of its windows, such as `five_hour`.
    pub window: String,
    /// Whether work goes on.
    pub status: RateLimitStatus,
    /// How much of it is used.
    ///
    /// Units: thousandths; more than 1000 is possible.
    pub used_thousandths: Option<u32>,
    /// When it begins anew.
    pub resets_at: Option<Timestamp>,
}

/// Whether a limit lets work go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateLimitStatus {
    /// It does.
    Allowed,
    /// It does, not for long.
    Warning,
    /// It does not.
    Rejected,
}

/// How a program says its work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// `None` if it says that all went well.
    pub failure: Option<Failure>,
    /// Its last word.
    pub final_text: Option<String>,
}

/// Returns a text cut to [`AGENT_TEXT_CHARS_MAX`] characters, with an ellipsis where it was.
pub(crate) fn clip(text: &str) -> String {
    clip_to(text, AGENT_TEXT_CHARS_MAX)
}

/// Returns a text cut to `chars_max` characters, with an ellipsis where it was.
pub(crate) fn clip_to(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(clip_to("äöü", 2), "äö…");
        assert_eq!(clip_to("äöü", 3), "äöü");
    }
}

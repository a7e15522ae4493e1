//! What a launch consists of, and why there is none.

use super::request::{Brief, LaunchRequest};
use crate::adapter::AdapterKind;

/// A file to be written below the agent's home before the program starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeFile {
    /// Relative to the home, with slashes.
    pub path: String,
    /// All of it; what was there is replaced.
    pub bytes: Vec<u8>,
    /// The permission bits.
    pub mode: u32,
}

impl HomeFile {
    /// Makes a file for the agent alone to read and write.
    pub(crate) fn private(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.to_owned(),
            bytes: bytes.into(),
            mode: 0o600,
        }
    }
}

/// What is on the program's standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing; it is at its end from the start.
    Closed,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// A file of the box, then the end.
    File(String),
    /// It stays open for what [`crate::StreamParser::take_replies`] gives, from before the first output on.
    Replies,
}

impl Stdin {
    /// Hands a brief over.
    pub(crate) fn of_brief(brief: &Brief) -> Self {
        match brief {
            Brief::Text(text) => Self::Bytes(text.clone().into_bytes()),
            Brief::File(path) => Self::File(path.clone()),
        }
    }
}

/// How a transcript is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TranscriptFormat {
    /// A rollout of codex.
    CodexRollout,
    /// A session file of claude.
    ClaudeSession,
    /// Not at all; it is kept as it is.
    Opaque,
}

/// Which files are transcripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptGlob {
    /// A folder relative to the agent's home; empty for the home itself. Kept whole when the run ends.
    pub folder: String,
    /// A pattern for files below it: `*` stands for any characters of a name, `**` for any folders.
    pub pattern: String,
    /// How they are read.
    pub format: TranscriptFormat,
}

impl TranscriptGlob {
    /// Names the files of one pattern.
    pub(crate) fn new(folder: &str, pattern: &str, format: TranscriptFormat) -> Self {
        Self {
            folder: folder.to_owned(),
            pattern: pattern.to_owned(),
            format,
        }
    }
}

/// How an agent program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables beside those of the box. No secret is among them.
    pub env: Vec<(String, String)>,
    /// The folder it starts in, as a path in the box.
    pub folder: String,
    /// Files to write first.
    pub home_files: Vec<HomeFile>,
    /// What it reads.
    pub stdin: Stdin,
    /// Where it will write its transcripts.
    pub transcripts: Vec<TranscriptGlob>,
    /// The program itself stops at the budget; otherwise whoever books its usage has to.
    pub enforces_budget: bool,
}

/// Why a program cannot be started as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// There is no program.
    #[error("the {adapter} lane names no program: set its argv")]
    NoProgram {
        /// The lane's adapter.
        adapter: AdapterKind,
    },
    /// The program cannot go on with a session.
    #[error("the {adapter} lane cannot resume session {session:?}: set its resume argv, or start anew")]
    CannotResume {
        /// The lane's adapter.
        adapter: AdapterKind,
        /// What was asked for.
        session: String,
    },
    /// A text that would be read as an option stands where a value is wanted.
    #[error("{what} {value:?} begins with a dash and would be read as an option")]
    LooksLikeOption {
        /// What the value is.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A placeholder has no value in this run.
    #[error("{argument:?} needs {{{placeholder}}}, which this run does not have: {fix}")]
    NoValue {
        /// The argument or variable's value.
        argument: String,
        /// The word between the braces.
        placeholder: String,
        /// What to do.
        fix: &'static str,
    },
    /// The model has no way to the program.
    #[error(
        "the {adapter} lane has nowhere to say model {model:?}: write {{model}} in its argv or its variables"
    )]
    ModelUnused {
        /// The lane's adapter.
        adapter: AdapterKind,
        /// The model.
        model: String,
    },
    /// The bridge cannot be told to the program.
    #[error("the bridge {name:?} cannot be given to {adapter}: {problem}")]
    Bridge {
        /// The lane's adapter.
        adapter: AdapterKind,
        /// The bridge's name.
        name: String,
        /// What is in the way and how to mend it.
        problem: &'static str,
    },
    /// The image's own configuration has what gantry would add.
    #[error("the image's {file} has {entry} already: take it out, gantry writes it for each run")]
    ConfigTaken {
        /// The file, relative to the agent's home.
        file: &'static str,
        /// The entry.
        entry: String,
    },
}

/// Refuses values that a program would take for options: they come from outside.
pub(crate) fn refuse_options(request: &LaunchRequest) -> Result<(), LaunchError> {
    for (what, value) in [("model", &request.model), ("session", &request.resume)] {
        if let Some(value) = value.as_ref().filter(|value| value.starts_with('-')) {
            return Err(LaunchError::LooksLikeOption {
                what,
                value: value.clone(),
            });
        }
    }
    Ok(())
}

/// Refuses a bridge without a program, or with a name that would not be a plain key.
pub(crate) fn refuse_odd_bridge(adapter: AdapterKind, request: &LaunchRequest) -> Result<(), LaunchError> {
    let Some(bridge) = &request.bridge else {
        return Ok(());
    };
    let plain = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let problem = if bridge.argv.is_empty() {
        "its argv is empty"
    } else if !plain(&bridge.name) {
        "its name may hold letters, digits, - and _ only"
    } else if !bridge.env_names.iter().all(|name| plain(name)) {
        "its variables' names may hold letters, digits, - and _ only"
    } else {
        return Ok(());
    };
    Err(LaunchError::Bridge {
        adapter,
        name: bridge.name.clone(),
        problem,
    })
}

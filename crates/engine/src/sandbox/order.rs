//! What whoever runs a single box and the box's process tell each other, as JSON. Owns the forms; a field is only ever
//! added.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::profile::Overrides;

/// What a box's process is to do; handed over on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxOrder {
    /// The box's name: `box-4`.
    pub name: String,
    /// The factory's data directory.
    pub data: PathBuf,
    /// Where boxes have their folders.
    pub boxes: PathBuf,
    /// The Git storage and the commit of the workspace; without them it is empty.
    pub subject: Option<(PathBuf, String)>,
    /// The text of the repository's `.gantry.toml`, for its profiles.
    pub gate: Option<String>,
    /// Which profile; the plain one without.
    pub profile: Option<String>,
    /// What the command line says besides.
    pub overrides: Overrides,
    /// The command.
    pub command: Vec<String>,
    /// Its wall time.
    pub timeout_ms: u64,
    /// How long the box is kept if its command fails; 0: not at all.
    pub keep_ms: u64,
    /// Whether it goes on without anybody attached, until its lease ends.
    pub detached: bool,
    /// Who asked.
    pub owner: String,
    /// When, in milliseconds since 1970.
    pub asked_at_ms: i64,
}

/// Something that happened to a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum BoxEvent {
    /// Its command runs.
    Started,
    /// Its command failed, and it is kept.
    Kept {
        /// How it ended, in a receipt's words.
        ending: String,
    },
    /// It is gone.
    Ended {
        /// How its command ended, in a receipt's words.
        ending: String,
        /// The code for whoever asked: the command's own, or 125 to 128 and above as other box programs have it.
        code: i32,
    },
    /// Something of a version this one does not know.
    #[serde(other)]
    Unknown,
}

/// What may be asked of a box that lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum BoxRequest {
    /// Its log as it comes, until it ends.
    Log,
    /// As `Log`, and the box ends when the caller goes away.
    Attach,
    /// What it is doing.
    State,
    /// End it.
    Stop,
    /// Run a further command; answered in frames.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
        /// Where; the workspace without.
        directory: Option<PathBuf>,
    },
    /// Run its own command again in a kept box.
    Retry,
    /// Stop or continue its processes.
    Freeze {
        /// Which of the two.
        frozen: bool,
    },
}

/// Where a box is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BoxState {
    /// Being made.
    Opening,
    /// Its command runs.
    Running,
    /// Its command failed; the box waits for somebody.
    Kept {
        /// How it ended.
        ending: String,
    },
    /// Being cleared away.
    Closing,
}

/// Puts a part of an answer into a frame: its kind (`o` output, `e` the end), its length, its bytes.
#[must_use]
pub fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(bytes.len() + 5);
    framed.push(kind);
    framed.extend_from_slice(&length.to_le_bytes());
    framed.extend_from_slice(bytes);
    framed
}

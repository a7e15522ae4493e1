//! What is asked of a launch.

use crate::usage::Usage;

/// The text an agent works by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brief {
    /// The text itself.
    Text(String),
    /// A file in the box that holds it.
    File(String),
}

/// The program that connects the agent to the board, over its standard streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpBridge {
    /// Under which name the agent sees it.
    pub name: String,
    /// The program and its arguments. Written into a file of the agent's home, so no secret may stand in it.
    pub argv: Vec<String>,
    /// Variables of the agent's environment that the bridge needs. Agents start such programs with few or none.
    pub env_names: Vec<String>,
}

/// All that a run gives an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchRequest {
    /// What to do.
    pub brief: Brief,
    /// The model; `None` for the program's own choice.
    pub model: Option<String>,
    /// The session to go on with; `None` begins one.
    pub resume: Option<String>,
    /// What that session had used when its last run ended, so that this run's part can be told.
    pub session_usage: Option<Usage>,
    /// The workspace, as a path in the box.
    pub workspace: String,
    /// The agent's home, as a path in the box without a slash at its end.
    pub home: String,
    /// The text of the instruction file in the agent's home (`AGENTS.md`, `CLAUDE.md`); `None` leaves what is there.
    pub instructions: Option<String>,
    /// The configuration that the image already put there, for programs whose file gantry has to add to.
    pub home_config: Option<String>,
    /// The board's bridge.
    pub bridge: Option<McpBridge>,
    /// Further arguments, from the lane.
    pub extra_args: Vec<String>,
    /// Where the run has to stop spending.
    ///
    /// Units: millionths of a US dollar.
    pub budget_micro_usd: Option<u64>,
}

impl LaunchRequest {
    /// Makes a request with nothing but what every run has.
    #[must_use]
    pub fn new(brief: Brief, workspace: &str, home: &str) -> Self {
        Self {
            brief,
            model: None,
            resume: None,
            session_usage: None,
            workspace: workspace.to_owned(),
            home: home.to_owned(),
            instructions: None,
            home_config: None,
            bridge: None,
            extra_args: Vec::new(),
            budget_micro_usd: None,
        }
    }
}

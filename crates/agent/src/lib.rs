//! Agent programs: how each is started and resumed, what its output means, when a run of it is over, why it failed and
//! whether to try again. Text and values in, events and decisions out; never starts a program, opens a file or reads a
//! clock.

mod acp;
mod adapter;
mod claude;
mod codex;
mod command;
mod end;
mod event;
mod failure;
mod instant;
mod json;
mod launch;
mod line;
mod stream;
mod summary;
mod transcript;
mod usage;

pub use acp::PermissionPolicy;
pub use adapter::{Adapter, AdapterKind, ParseAdapterError, ProgramTemplate};
pub use command::{CommandOutput, LineMapping};
pub use end::{Clocks, EndDecision, EndReason, Exit, RunEnd, RunObservation, decide_end};
pub use event::{
    AgentEvent, FileChange, Finished, RateLimit, RateLimitStatus, SessionStart, ToolEnd, ToolStart,
    ToolStatus,
};
pub use failure::{Failure, FailureClass, RetryRule, classify_text, retry_rule};
pub use launch::{
    Brief, HomeFile, LaunchError, LaunchPlan, LaunchRequest, McpBridge, Stdin, TranscriptFormat,
    TranscriptGlob,
};
pub use stream::{StreamCounts, StreamParser};
pub use summary::StreamSummary;
pub use transcript::{TranscriptReader, TranscriptTotals};
pub use usage::{Usage, UsageTotal};

//! What all events of a run say together. Owns the fold from events to what the end of a run is decided by.

use std::collections::BTreeSet;

use gantry_core::time::Timestamp;

use crate::event::{AgentEvent, Finished, RateLimitStatus, SessionStart, clip_to};
use crate::usage::UsageTotal;

/// Tools at work that are told apart; further ones are not seen to be at work.
const OPEN_TOOLS_MAX: usize = 256;
/// Characters of a tool's identifier that are told apart.
const TOOL_ID_CHARS_MAX: usize = 128;

/// A run so far, by its program's own word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSummary {
    /// What is known of the session.
    pub session: SessionStart,
    /// Turns begun.
    pub turns: u64,
    /// Tools used.
    pub tools: u64,
    /// Files it says it changed; one counts each time.
    pub file_changes: u64,
    /// Tokens and money.
    pub usage: Option<UsageTotal>,
    /// Its last message that is its own and not of an agent below it.
    pub last_message: Option<String>,
    /// The last thing that went wrong without ending anything.
    pub last_problem: Option<String>,
    /// What it tries again for, until it does something else.
    pub retrying: Option<String>,
    /// How it says its work ended; a turn that begins takes that back.
    pub finished: Option<Finished>,
    /// When the limit that last refused work begins anew.
    pub limit_resets_at: Option<Timestamp>,
    open_tools: BTreeSet<String>,
}

impl StreamSummary {
    /// True while a tool is at work, so that silence means less.
    #[must_use]
    pub fn is_in_tool(&self) -> bool {
        !self.open_tools.is_empty()
    }

    /// Takes one event.
    pub fn apply(&mut self, event: &AgentEvent) {
        if event.is_sign_of_life() {
            self.retrying = None;
        }
        match event {
            AgentEvent::SessionStarted(start) => self.note_session(start),
            AgentEvent::TurnStarted => {
                self.turns += 1;
                self.finished = None;
            }
            AgentEvent::TurnEnded => self.open_tools.clear(),
            AgentEvent::Message {
                text,
                subagent: false,
            } => self.last_message = Some(text.clone()),
            AgentEvent::ToolStarted(tool) => {
                self.tools += 1;
                if self.open_tools.len() < OPEN_TOOLS_MAX {
                    self.open_tools.insert(clip_to(&tool.id, TOOL_ID_CHARS_MAX));
                }
            }
            AgentEvent::ToolFinished(tool) => {
                // Some tools are named only once they are done.
                if !self.open_tools.remove(&clip_to(&tool.id, TOOL_ID_CHARS_MAX)) {
                    self.tools += u64::from(tool.name.is_some());
                }
            }
            AgentEvent::FileChanged { .. } => self.file_changes += 1,
            AgentEvent::Usage(total) => self.usage = Some(*total),
            AgentEvent::RateLimit(limit) => match limit.status {
                RateLimitStatus::Rejected => self.limit_resets_at = limit.resets_at,
                RateLimitStatus::Allowed | RateLimitStatus::Warning => {}
            },
            AgentEvent::Retrying { message } => {
                self.retrying = Some(message.clone());
                self.last_problem = Some(message.clone());
            }
            AgentEvent::Warning { message } => self.last_problem = Some(message.clone()),
            AgentEvent::Finished(finished) => {
                self.open_tools.clear();
                self.finished = Some(finished.clone());
            }
            AgentEvent::Message { subagent: true, .. }
            | AgentEvent::Reasoning { .. }
            | AgentEvent::Progress { .. } => {}
        }
    }

    fn note_session(&mut self, start: &SessionStart) {
        let known = &mut self.session;
        for (known, new) in [
            (&mut known.session_id, &start.session_id),
            (&mut known.model, &start.model),
            (&mut known.version, &start.version),
        ] {
            if new.is_some() {
                known.clone_from(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ToolEnd, ToolStart, ToolStatus};

    fn started(id: usize) -> AgentEvent {
        AgentEvent::ToolStarted(ToolStart {
            id: id.to_string(),
            name: "t".to_owned(),
            summary: String::new(),
        })
    }

    fn finished(id: usize, name: Option<&str>) -> AgentEvent {
        AgentEvent::ToolFinished(ToolEnd {
            id: id.to_string(),
            name: name.map(str::to_owned),
            status: ToolStatus::Completed,
            exit_code: None,
        })
    }

    #[test]
    fn a_tool_is_at_work_until_it_or_the_turn_ends() {
        let mut summary = StreamSummary::default();
        summary.apply(&started(1));
        summary.apply(&started(2));
        summary.apply(&finished(1, None));
        assert!(summary.is_in_tool());
        summary.apply(&AgentEvent::TurnEnded);
        assert!(!summary.is_in_tool());
        summary.apply(&finished(3, Some("web_search")));
        assert_eq!(summary.tools, 3);
        for id in 0..OPEN_TOOLS_MAX * 2 {
            summary.apply(&started(id));
        }
        assert_eq!(summary.open_tools.len(), OPEN_TOOLS_MAX);
    }

    #[test]
    fn a_turn_that_begins_takes_back_the_end() {
        let mut summary = StreamSummary::default();
        summary.apply(&AgentEvent::Finished(Finished {
            failure: None,
            final_text: None,
        }));
        assert!(summary.finished.is_some());
        summary.apply(&AgentEvent::TurnStarted);
        assert_eq!((summary.finished, summary.turns), (None, 1));
    }
}

//! What an agent tells while it works on a prompt. Owns how pieces of a message become one, and changes of files that
//! count only once their tool is done.

use std::collections::BTreeMap;

use gantry_core::limits::AGENT_TEXT_CHARS_MAX;
use serde_json::Value;

use crate::event::{AgentEvent, FileChange, ToolEnd, ToolStart, ToolStatus, clip, clip_to};
use crate::json;
use crate::stream::Taken;
use crate::usage::{Usage, UsageTotal, since};

/// Tools whose changes are remembered until they are done; of further ones none are told.
const OPEN_TOOLS_MAX: usize = 256;
/// Changes that are remembered of one tool.
const CHANGES_MAX: usize = 256;
/// Characters of a tool's names that are kept.
const NAME_CHARS_MAX: usize = 500;

/// What kind of text is being put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Thought,
}

/// What has to be remembered between frames.
#[derive(Debug)]
pub(super) struct Updates {
    text: Option<(Kind, Option<String>, String)>,
    last_message: Option<String>,
    changes: BTreeMap<String, Vec<(String, FileChange)>>,
    earlier: Option<Usage>,
    /// The session's tokens and price so far.
    total: Usage,
}

impl Updates {
    pub(super) fn new(earlier: Option<Usage>) -> Self {
        Self {
            text: None,
            last_message: None,
            changes: BTreeMap::new(),
            earlier,
            total: Usage::default(),
        }
    }

    pub(super) fn take_last_message(&mut self) -> Option<String> {
        self.last_message.take()
    }

    pub(super) fn take(&mut self, update: &Value, events: &mut Vec<AgentEvent>) -> Taken {
        let kind = json::text(update, "sessionUpdate").unwrap_or("");
        match kind {
            "agent_message_chunk" => {
                self.chunk(Kind::Message, update, events);
                return Taken::Known;
            }
            "agent_thought_chunk" => {
                self.chunk(Kind::Thought, update, events);
                return Taken::Known;
            }
            // These say nothing of what the agent does, so a message goes on behind them.
            "usage_update" => self.price(update, events),
            "user_message_chunk"
            | "available_commands_update"
            | "current_mode_update"
            | "config_option_update"
            | "session_info_update"
            | "plan_update"
            | "plan_removed"
            | "compaction_update"
            | "compaction_summary_chunk" => {}
            "notice" => {
                let part = |name| json::text(update, name).unwrap_or("");
                events.push(AgentEvent::Warning {
                    message: clip(format!("{} {}", part("title"), part("description")).trim_end()),
                });
            }
            "tool_call" => {
                self.flush(events);
                let name = |name| clip_to(json::text(update, name).unwrap_or(""), NAME_CHARS_MAX);
                events.push(AgentEvent::ToolStarted(ToolStart {
                    id: name("toolCallId"),
                    name: json::text(update, "kind")
                        .map_or_else(|| "tool".to_owned(), |kind| clip_to(kind, NAME_CHARS_MAX)),
                    summary: name("title"),
                }));
                self.tool(update, events);
            }
            "tool_call_update" => {
                self.flush(events);
                self.tool(update, events);
            }
            "plan" => {
                let entries = json::items(update.get("entries"));
                let done = entries
                    .iter()
                    .filter(|entry| json::text(entry, "status") == Some("completed"));
                events.push(AgentEvent::Progress {
                    done: done.count(),
                    total: entries.len(),
                });
            }
            _ => return Taken::Unknown(kind.to_owned()),
        }
        Taken::Known
    }

    /// Tells the text that was put together so far.
    pub(super) fn flush(&mut self, events: &mut Vec<AgentEvent>) {
        let Some((kind, _, text)) = self.text.take() else {
            return;
        };
        let text = clip(&text);
        events.push(match kind {
            Kind::Message => {
                self.last_message = Some(text.clone());
                AgentEvent::Message {
                    text,
                    subagent: false,
                }
            }
            Kind::Thought => AgentEvent::Reasoning { text },
        });
    }

    fn chunk(&mut self, kind: Kind, update: &Value, events: &mut Vec<AgentEvent>) {
        let message = json::text(update, "messageId").map(|id| clip_to(id, NAME_CHARS_MAX));
        let piece = json::at(update, "/content/text")
            .and_then(Value::as_str)
            .unwrap_or("");
        let same = matches!(&self.text, Some((known, id, _)) if *known == kind && *id == message);
        if !same {
            self.flush(events);
        }
        let (_, _, text) = self.text.get_or_insert_with(|| (kind, message, String::new()));
        // A character has four bytes at most, so what is cut here would have been cut when it is told.
        if text.len() <= AGENT_TEXT_CHARS_MAX * 4 {
            text.push_str(piece);
        }
    }

    fn tool(&mut self, update: &Value, events: &mut Vec<AgentEvent>) {
        let id = clip_to(json::text(update, "toolCallId").unwrap_or(""), NAME_CHARS_MAX);
        self.remember_changes(&id, update);
        let status = match json::text(update, "status") {
            Some("completed") => ToolStatus::Completed,
            Some("failed") => ToolStatus::Failed,
            _ => return,
        };
        let changes = self.changes.remove(&id).unwrap_or_default();
        events.push(AgentEvent::ToolFinished(ToolEnd {
            id,
            name: None,
            status,
            exit_code: None,
        }));
        if status == ToolStatus::Completed {
            let told = changes.into_iter();
            events.extend(told.map(|(path, change)| AgentEvent::FileChanged { path, change }));
        }
    }

    /// A later list of contents replaces the earlier one.
    fn remember_changes(&mut self, id: &str, update: &Value) {
        let contents = json::items(update.get("content"));
        let diffs = contents
            .iter()
            .filter(|content| json::text(content, "type") == Some("diff"));
        let changes: Vec<_> = diffs
            .take(CHANGES_MAX)
            .map(|diff| {
                let new = json::text(diff, "oldText").is_none();
                let change = if new {
                    FileChange::Added
                } else {
                    FileChange::Updated
                };
                (
                    clip_to(json::text(diff, "path").unwrap_or(""), NAME_CHARS_MAX),
                    change,
                )
            })
            .collect();
        if !changes.is_empty() && (self.changes.len() < OPEN_TOOLS_MAX || self.changes.contains_key(id)) {
            self.changes.insert(id.to_owned(), changes);
        }
    }

    /// `used` and `size` of this update are of the model's window, not tokens that were paid for.
    fn price(&mut self, update: &Value, events: &mut Vec<AgentEvent>) {
        let dollars = json::at(update, "/cost/currency").and_then(Value::as_str) == Some("USD");
        let price = json::at(update, "/cost/amount")
            .filter(|_| dollars)
            .and_then(json::micro_usd);
        if price.is_some() {
            self.total.cost_micro_usd = price;
            self.tell(false, events);
        }
    }

    /// Takes the answer's usage, if the agent gives one: all of the session, cached tokens beside the others.
    pub(super) fn take_usage(&mut self, usage: Option<&Value>, events: &mut Vec<AgentEvent>) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else {
            return;
        };
        let count = |name| json::count(usage, name).unwrap_or(0);
        let (cached, written) = (count("cachedReadTokens"), count("cachedWriteTokens"));
        let thought = count("thoughtTokens");
        self.total = Usage {
            input_tokens: count("inputTokens")
                .saturating_add(cached)
                .saturating_add(written),
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: count("outputTokens").saturating_add(thought),
            reasoning_tokens: thought,
            cost_micro_usd: self.total.cost_micro_usd,
        };
        self.tell(true, events);
    }

    fn tell(&self, exact: bool, events: &mut Vec<AgentEvent>) {
        let usage = since(self.total, self.earlier);
        events.push(AgentEvent::Usage(UsageTotal { usage, exact }));
    }
}

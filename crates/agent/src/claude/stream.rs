//! The lines of `claude -p --output-format stream-json --verbose`. A line's `type` may stand anywhere in it; one
//! message comes in several lines, each with the same usage; dozens of kinds exist and more are added.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure::failure_of_result;
use crate::event::{
    AgentEvent, FileChange, Finished, RateLimit, RateLimitStatus, SessionStart, ToolEnd, ToolStart,
    ToolStatus, clip, clip_to,
};
use crate::instant;
use crate::json;
use crate::stream::Taken;
use crate::usage::{Usage, UsageByMessage, UsageTotal, since};

/// How much of a tool's input is shown of it.
const SUMMARY_CHARS_MAX: usize = 500;
/// Members of a tool's input that say best what it is about, the first that is there.
const SUMMARY_MEMBERS: [&str; 8] = [
    "command",
    "file_path",
    "notebook_path",
    "pattern",
    "query",
    "url",
    "description",
    "prompt",
];

/// What has to be remembered between lines.
#[derive(Debug)]
pub(crate) struct ClaudeStream {
    /// What the resumed session had used before this run.
    earlier: Option<Usage>,
    messages: UsageByMessage,
    told: Option<UsageTotal>,
    /// The last message's error word, such as `rate_limit`.
    last_error: Option<String>,
}

impl ClaudeStream {
    pub(crate) fn new(earlier: Option<Usage>) -> Self {
        Self {
            earlier,
            messages: UsageByMessage::default(),
            told: None,
            last_error: None,
        }
    }

    pub(crate) fn take(&mut self, line: &Value, events: &mut Vec<AgentEvent>) -> Taken {
        let kind = json::text(line, "type").unwrap_or("");
        match kind {
            "system" => return system(line, events),
            "assistant" => self.assistant(line, events),
            "user" => user(line, events),
            "result" => self.result(line, events),
            "rate_limit_event" => rate_limits(line, events),
            "auth_status" => {
                if let Some(error) = json::text(line, "error") {
                    events.push(AgentEvent::Warning { message: clip(error) });
                }
            }
            "stream_event" | "tool_progress" | "tool_use_summary" | "control_request"
            | "control_response" | "keep_alive" => {}
            _ => return Taken::Unknown(kind.to_owned()),
        }
        Taken::Known
    }

    fn assistant(&mut self, line: &Value, events: &mut Vec<AgentEvent>) {
        if let Some(error) = json::text(line, "error") {
            self.last_error = Some(clip_to(error, SUMMARY_CHARS_MAX));
        }
        let subagent = json::at(line, "/parent_tool_use_id").is_some();
        for block in json::items(line.pointer("/message/content")) {
            let text = |name| clip(json::text(block, name).unwrap_or(""));
            match json::text(block, "type") {
                Some("text") => events.push(AgentEvent::Message {
                    text: text("text"),
                    subagent,
                }),
                Some("thinking") => events.push(AgentEvent::Reasoning {
                    text: text("thinking"),
                }),
                Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
                    events.push(AgentEvent::ToolStarted(ToolStart {
                        id: clip_to(json::text(block, "id").unwrap_or(""), SUMMARY_CHARS_MAX),
                        name: clip_to(json::text(block, "name").unwrap_or(""), SUMMARY_CHARS_MAX),
                        summary: tool_summary(block),
                    }));
                }
                _ => {}
            }
        }
        let usage = json::at(line, "/message/usage").map(Usage::from_anthropic);
        if let (Some(usage), Some(id)) = (usage, json::at(line, "/message/id").and_then(Value::as_str)) {
            self.messages.take(id, usage);
            self.tell_parts(events);
        }
    }

    /// Tells what the messages so far used at least: their output is counted only as far as it was known when they
    /// began.
    fn tell_parts(&mut self, events: &mut Vec<AgentEvent>) {
        let Some(mut usage) = self.messages.total() else {
            return;
        };
        if let Some(told) = self.told {
            usage = usage.max(told.usage);
            if usage == told.usage {
                return;
            }
        }
        self.tell(UsageTotal { usage, exact: false }, events);
    }

    fn tell(&mut self, total: UsageTotal, events: &mut Vec<AgentEvent>) {
        self.told = Some(total);
        events.push(AgentEvent::Usage(total));
    }

    fn result(&mut self, line: &Value, events: &mut Vec<AgentEvent>) {
        // `usage` is the main agent's alone; `modelUsage` has those below it, and goes on over a session's runs.
        let models = json::at(line, "/modelUsage").and_then(Usage::from_claude_models);
        let usage = models.or_else(|| json::at(line, "/usage").map(Usage::from_anthropic));
        if let Some(mut usage) = usage {
            let cost = json::at(line, "/total_cost_usd").and_then(json::micro_usd);
            usage.cost_micro_usd = cost.or(usage.cost_micro_usd);
            let usage = since(usage, self.earlier);
            self.tell(UsageTotal { usage, exact: true }, events);
        }
        let denials = json::items(line.get("permission_denials")).len();
        if denials > 0 {
            events.push(AgentEvent::Warning {
                message: format!("{denials} uses of tools were not permitted"),
            });
        }
        events.push(AgentEvent::TurnEnded);
        events.push(AgentEvent::Finished(Finished {
            failure: failure_of_result(line, self.last_error.take().as_deref()),
            final_text: json::text(line, "result").map(clip),
        }));
    }
}

fn system(line: &Value, events: &mut Vec<AgentEvent>) -> Taken {
    let subtype = json::text(line, "subtype").unwrap_or("");
    match subtype {
        "init" => {
            events.push(AgentEvent::SessionStarted(SessionStart {
                session_id: json::owned(line, "session_id"),
                model: json::owned(line, "model"),
                version: json::owned(line, "claude_code_version"),
            }));
            events.push(AgentEvent::TurnStarted);
        }
        "api_retry" => {
            let part = |name| json::at(line, &format!("/{name}")).map(plain).unwrap_or_default();
            let message = format!(
                "attempt {} of {}: {} {}",
                part("attempt"),
                part("max_retries"),
                part("error_status"),
                part("error")
            );
            events.push(AgentEvent::Retrying {
                message: clip(message.trim_end()),
            });
        }
        "permission_denied" => events.push(AgentEvent::Warning {
            message: format!(
                "{} was not permitted",
                json::text(line, "tool_name").unwrap_or("a tool")
            ),
        }),
        "session_writes_lost" => events.push(AgentEvent::Warning {
            message: format!(
                "the session could not be written: {}",
                json::text(line, "error_code").unwrap_or("no reason given")
            ),
        }),
        "status"
        | "compact_boundary"
        | "hook_started"
        | "hook_progress"
        | "hook_response"
        | "task_started"
        | "task_updated"
        | "task_progress"
        | "task_notification"
        | "session_state_changed"
        | "worker_shutting_down"
        | "files_persisted" => {}
        _ => return Taken::Unknown(format!("system {subtype}")),
    }
    Taken::Known
}

/// Returns a text without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    clip_to(&text, SUMMARY_CHARS_MAX)
}

fn tool_summary(block: &Value) -> String {
    let found = SUMMARY_MEMBERS
        .iter()
        .find_map(|name| block.get("input")?.get(name)?.as_str());
    clip_to(found.unwrap_or(""), SUMMARY_CHARS_MAX)
}

fn user(line: &Value, events: &mut Vec<AgentEvent>) {
    let mut failed = false;
    for block in json::items(line.pointer("/message/content")) {
        if json::text(block, "type") != Some("tool_result") {
            continue;
        }
        let id = json::text(block, "tool_use_id").unwrap_or("");
        let error = block.get("is_error").and_then(Value::as_bool) == Some(true);
        failed |= error;
        events.push(AgentEvent::ToolFinished(ToolEnd {
            id: clip_to(id, SUMMARY_CHARS_MAX),
            name: None,
            status: match (error, was_declined(line, id)) {
                (_, true) => ToolStatus::Declined,
                (true, false) => ToolStatus::Failed,
                (false, false) => ToolStatus::Completed,
            },
            exit_code: None,
        }));
    }
    if let Some(result) = json::at(line, "/tool_use_result").filter(|_| !failed) {
        file_changes(result, events);
    }
}

fn was_declined(line: &Value, id: &str) -> bool {
    let metas = json::items(line.get("tool_result_meta"));
    let meta = metas.iter().find(|meta| json::text(meta, "id") == Some(id));
    let decision = meta.and_then(|meta| json::at(meta, "/permission_decision/decision")?.as_str());
    decision.is_some_and(|decision| decision != "accept")
}

/// Files that the writing tools name in their result, and those that a command of the shell changed.
fn file_changes(result: &Value, events: &mut Vec<AgentEvent>) {
    let writes =
        json::text(result, "type") == Some("create") || json::at(result, "/structuredPatch").is_some();
    if let Some(path) = json::text(result, "filePath").filter(|_| writes) {
        events.push(AgentEvent::FileChanged {
            path: clip(path),
            change: match json::text(result, "type") {
                Some("create") => FileChange::Added,
                _ => FileChange::Updated,
            },
        });
    }
    for file in json::items(result.pointer("/bashEditDiff/files")) {
        let is = |name| file.get(name).and_then(Value::as_bool) == Some(true);
        events.push(AgentEvent::FileChanged {
            path: clip(json::text(file, "filePath").unwrap_or("")),
            change: if is("created") {
                FileChange::Added
            } else if is("deleted") {
                FileChange::Deleted
            } else {
                FileChange::Updated
            },
        });
    }
}

/// Newer versions say all windows at once, older ones the one that the status is about.
fn rate_limits(line: &Value, events: &mut Vec<AgentEvent>) {
    let Some(info) = json::at(line, "/rate_limit_info") else {
        return;
    };
    let about = json::text(info, "rateLimitType").unwrap_or("");
    let status = match json::text(info, "status") {
        Some("rejected") => RateLimitStatus::Rejected,
        Some("allowed_warning") => RateLimitStatus::Warning,
        _ => RateLimitStatus::Allowed,
    };
    let mut windows = BTreeMap::from([(about, info)]);
    if let Some(all) = json::at(info, "/unifiedWindows").and_then(Value::as_object) {
        windows.extend(all.iter().map(|(name, window)| (name.as_str(), window)));
    }
    for (name, window) in windows {
        if name.is_empty() && about.is_empty() && status == RateLimitStatus::Allowed {
            continue;
        }
        events.push(AgentEvent::RateLimit(RateLimit {
            provider: "anthropic",
            window: clip_to(if name.is_empty() { "unknown" } else { name }, SUMMARY_CHARS_MAX),
            status: if name == about {
                status
            } else {
                RateLimitStatus::Allowed
            },
            used_thousandths: window
                .get("utilization")
                .and_then(|share| json::thousandths(share, 1.0)),
            resets_at: json::count(window, "resetsAt").and_then(instant::from_seconds),
        }));
    }
}

#[cfg(test)]
mod tests {
    use gantry_core::time::Timestamp;

    use super::*;
    use crate::failure::FailureClass;
    use crate::stream::StreamParser;

    const CAPTURE: &[u8] = include_bytes!("../../tests/captures/claude-stream-json-2.1.330.jsonl");

    fn kinds(events: &[AgentEvent]) -> Vec<&'static str> {
        events.iter().map(AgentEvent::kind).collect()
    }

    fn total() -> Usage {
        Usage {
            input_tokens: 3060,
            cached_input_tokens: 2700,
            cache_write_tokens: 60,
            output_tokens: 126,
            reasoning_tokens: 0,
            cost_micro_usd: Some(4560),
        }
    }

    #[test]
    fn a_run_that_ends_well_is_read_whole() {
        let mut parser = StreamParser::claude(None);
        let events = parser.feed(CAPTURE);
        assert_eq!(
            kinds(&events),
            [
                "session_started",
                "turn_started",
                "message",
                "usage",
                "tool_started",
                "tool_finished",
                "file_changed",
                "tool_started",
                "usage",
                "tool_finished",
                "file_changed",
                "message",
                "usage",
                "usage",
                "turn_ended",
                "finished"
            ]
        );
        let summary = parser.summary();
        assert_eq!(summary.session.model.as_deref(), Some("claude-opus-5-5"));
        assert_eq!(summary.session.version.as_deref(), Some("2.1.330"));
        assert_eq!(
            summary.usage,
            Some(UsageTotal {
                usage: total(),
                exact: true
            })
        );
        assert_eq!(summary.tools, 2);
        let finished = summary.finished.clone().unwrap();
        assert_eq!(finished.failure, None);
        assert_eq!(
            finished.final_text.as_deref(),
            Some("Done: wrote a.txt and b.txt.")
        );
        assert!(parser.counts().unknown.is_empty());
        let added = |path: &str| AgentEvent::FileChanged {
            path: path.to_owned(),
            change: FileChange::Added,
        };
        assert_eq!(
            (&events[6], &events[10]),
            (&added("/w/a.txt"), &added("/w/b.txt"))
        );
    }

    #[test]
    fn a_run_that_is_cut_off_has_used_at_least_what_its_messages_say() {
        let text = String::from_utf8(CAPTURE.to_vec()).unwrap();
        let cut: Vec<&str> = text.lines().take(6).collect();
        let mut parser = StreamParser::claude(None);
        parser.feed(cut.join("\n").as_bytes());
        parser.finish();
        let usage = parser.summary().usage.unwrap();
        assert!(!usage.exact && usage.usage.within(total()));
        // Three lines of two messages: each counts once.
        assert_eq!((usage.usage.input_tokens, usage.usage.output_tokens), (2040, 2));
    }

    #[test]
    fn a_resumed_session_leaves_what_was_booked_before() {
        let earlier = Usage {
            input_tokens: 60,
            output_tokens: 26,
            cost_micro_usd: Some(560),
            ..Usage::default()
        };
        let mut parser = StreamParser::claude(Some(earlier));
        parser.feed(CAPTURE);
        let usage = parser.summary().usage.unwrap().usage;
        assert_eq!(usage, total().minus(earlier));
    }

    #[test]
    fn limits_are_told_window_by_window() {
        let mut parser = StreamParser::claude(None);
        let events = parser.feed(
            b"{\"type\":\"rate_limit_event\",\"rate_limit_info\":{\"status\":\"rejected\",\"resetsAt\":1772766000,\"rateLimitType\":\"five_hour\",\"utilization\":1.02}}\n\
              {\"type\":\"rate_limit_event\",\"rate_limit_info\":{\"status\":\"allowed\",\"rateLimitType\":\"five_hour\",\"unifiedWindows\":{\"five_hour\":{\"utilization\":0.79},\"seven_day\":{\"utilization\":0.12,\"resetsAt\":1772766000}}}}\n\
              {\"type\":\"rate_limit_event\",\"rate_limit_info\":{\"status\":\"allowed\"}}\n",
        );
        let at = Some(Timestamp::from_millis(1_772_766_000_000));
        let expected = [
            ("five_hour", RateLimitStatus::Rejected, 1020, at),
            ("five_hour", RateLimitStatus::Allowed, 790, None),
            ("seven_day", RateLimitStatus::Allowed, 120, at),
        ]
        .map(|(window, status, used, resets_at)| {
            AgentEvent::RateLimit(RateLimit {
                provider: "anthropic",
                window: window.to_owned(),
                status,
                used_thousandths: Some(used),
                resets_at,
            })
        });
        assert_eq!(events, expected);
        assert_eq!(parser.summary().limit_resets_at, at);
    }

    #[test]
    fn a_refused_tool_and_a_retry_are_told() {
        let mut parser = StreamParser::claude(None);
        let events = parser.feed(
            b"{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"is_error\":true}]},\"tool_result_meta\":[{\"id\":\"t\",\"permission_decision\":{\"decision\":\"reject\"}}],\"tool_use_result\":{\"filePath\":\"a\",\"type\":\"create\"}}\n\
              {\"type\":\"system\",\"subtype\":\"api_retry\",\"attempt\":2,\"max_retries\":10,\"error_status\":529,\"error\":\"overloaded\"}\n\
              {\"type\":\"user\",\"message\":{\"content\":\"text\"}}\n",
        );
        assert_eq!(kinds(&events), ["tool_finished", "retrying"]);
        assert!(matches!(&events[0], AgentEvent::ToolFinished(end) if end.status == ToolStatus::Declined));
        assert_eq!(
            events[1],
            AgentEvent::Retrying {
                message: "attempt 2 of 10: 529 overloaded".to_owned()
            }
        );
    }

    #[test]
    fn the_error_word_of_a_message_is_the_class_of_the_end() {
        let mut parser = StreamParser::claude(None);
        parser.feed(
            b"{\"type\":\"assistant\",\"error\":\"authentication_failed\",\"message\":{\"content\":[]}}\n\
              {\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true,\"result\":\"no\"}\n",
        );
        let failure = parser.summary().finished.clone().unwrap().failure.unwrap();
        assert_eq!(failure.class, FailureClass::Authentication);
    }
}

//! The lines of `codex exec --json`. They carry no times and no turn's name; unknown ones are common, as branches of
//! codex add their own.

use serde_json::Value;

use crate::event::{
    AgentEvent, FileChange, Finished, SessionStart, ToolEnd, ToolStart, ToolStatus, clip, clip_to,
};
use crate::failure::{FailureClass, classify_text};
use crate::json;
use crate::stream::Taken;
use crate::usage::{Usage, UsageTotal};

/// How much of a command is shown of a tool.
const SUMMARY_CHARS_MAX: usize = 500;

/// What has to be remembered between lines.
#[derive(Debug, Default)]
pub(crate) struct CodexStream {
    usage: Option<Usage>,
    last_message: Option<String>,
    last_error: Option<String>,
}

impl CodexStream {
    pub(crate) fn take(&mut self, line: &Value, events: &mut Vec<AgentEvent>) -> Taken {
        let kind = json::text(line, "type").unwrap_or("");
        match kind {
            "thread.started" => events.push(AgentEvent::SessionStarted(SessionStart {
                session_id: json::owned(line, "thread_id"),
                ..SessionStart::default()
            })),
            "turn.started" => {
                self.last_message = None;
                self.last_error = None;
                events.push(AgentEvent::TurnStarted);
            }
            "item.started" | "item.updated" | "item.completed" => {
                // A line may be so long that its item was left out.
                let Some(item) = json::at(line, "/item") else {
                    return Taken::Known;
                };
                return self.take_item(kind, item, events);
            }
            "turn.completed" => {
                self.take_usage(line, events);
                events.push(AgentEvent::TurnEnded);
                events.push(AgentEvent::Finished(Finished {
                    failure: None,
                    final_text: self.last_message.clone(),
                }));
            }
            "turn.failed" => self.fail(line, events),
            // Not the end, whatever it says: codex tries again by itself, or says `turn.failed` next.
            "error" => {
                let message = clip(json::text(line, "message").unwrap_or(""));
                self.last_error = Some(message.clone());
                let again = ["Reconnecting", "retrying"]
                    .iter()
                    .any(|word| message.contains(word));
                events.push(if again {
                    AgentEvent::Retrying { message }
                } else {
                    AgentEvent::Warning { message }
                });
            }
            _ => return Taken::Unknown(kind.to_owned()),
        }
        Taken::Known
    }

    /// Usage is the sum over one turn's calls of the model; older versions leave fields out, an interrupted turn all.
    fn take_usage(&mut self, line: &Value, events: &mut Vec<AgentEvent>) {
        let Some(turn) = json::at(line, "/usage").filter(|usage| usage.is_object()) else {
            return;
        };
        let total = self.usage.unwrap_or_default().plus(Usage::from_codex(turn));
        self.usage = Some(total);
        events.push(AgentEvent::Usage(UsageTotal {
            usage: total,
            exact: true,
        }));
    }

    fn fail(&mut self, line: &Value, events: &mut Vec<AgentEvent>) {
        self.take_usage(line, events);
        let said = json::at(line, "/error/message").and_then(Value::as_str);
        let mut failure = classify_text(said.unwrap_or("the turn failed"));
        if failure.class == FailureClass::Unknown
            && let Some(earlier) = &self.last_error
        {
            let message = failure.message;
            failure = classify_text(earlier);
            failure.message = message;
        }
        events.push(AgentEvent::TurnEnded);
        events.push(AgentEvent::Finished(Finished {
            failure: Some(failure),
            final_text: self.last_message.clone(),
        }));
    }

    fn take_item(&mut self, stage: &str, item: &Value, events: &mut Vec<AgentEvent>) -> Taken {
        let kind = json::text(item, "type").unwrap_or("");
        let text = || clip(json::text(item, "text").unwrap_or(""));
        let done = stage == "item.completed";
        match kind {
            "agent_message" if done => {
                self.last_message = Some(text());
                events.push(AgentEvent::Message {
                    text: text(),
                    subagent: false,
                });
            }
            "reasoning" if done => events.push(AgentEvent::Reasoning { text: text() }),
            "error" if done => events.push(AgentEvent::Warning {
                message: clip(json::text(item, "message").unwrap_or("")),
            }),
            "agent_message" | "reasoning" | "error" => {}
            "todo_list" => {
                let items = json::items(item.get("items"));
                let done = items
                    .iter()
                    .filter(|item| item.get("completed").and_then(Value::as_bool) == Some(true));
                events.push(AgentEvent::Progress {
                    done: done.count(),
                    total: items.len(),
                });
            }
            "file_change" => {
                if done {
                    file_changes(item, events);
                }
            }
            "command_execution" | "mcp_tool_call" | "web_search" | "collab_tool_call" => {
                tool(stage, kind, item, events);
            }
            _ => return Taken::Unknown(format!("{stage} {kind}")),
        }
        Taken::Known
    }
}

fn tool(stage: &str, kind: &str, item: &Value, events: &mut Vec<AgentEvent>) {
    let id = clip_to(json::text(item, "id").unwrap_or(""), SUMMARY_CHARS_MAX);
    let part = |name| json::text(item, name).unwrap_or("");
    let (name, summary) = match kind {
        "mcp_tool_call" => (format!("{}.{}", part("server"), part("tool")), ""),
        "collab_tool_call" => (part("tool").to_owned(), part("prompt")),
        "web_search" => (kind.to_owned(), part("query")),
        _ => (kind.to_owned(), part("command")),
    };
    let name = clip_to(&name, SUMMARY_CHARS_MAX);
    match stage {
        "item.started" => events.push(AgentEvent::ToolStarted(ToolStart {
            id,
            name,
            summary: clip_to(summary, SUMMARY_CHARS_MAX),
        })),
        "item.completed" => events.push(AgentEvent::ToolFinished(ToolEnd {
            id,
            name: Some(name),
            status: status(item),
            exit_code: item.get("exit_code").and_then(Value::as_i64),
        })),
        _ => {}
    }
}

/// An abandoned command says `completed` without an exit code (openai/codex issue 14691): that is no success.
fn status(item: &Value) -> ToolStatus {
    let abandoned = json::text(item, "type") == Some("command_execution")
        && item.get("exit_code").is_some_and(Value::is_null);
    match json::text(item, "status") {
        Some("declined") => ToolStatus::Declined,
        Some("failed") => ToolStatus::Failed,
        _ if abandoned || json::at(item, "/error").is_some() => ToolStatus::Failed,
        _ => ToolStatus::Completed,
    }
}

fn file_changes(item: &Value, events: &mut Vec<AgentEvent>) {
    if status(item) != ToolStatus::Completed {
        events.push(AgentEvent::Warning {
            message: "a change of files was not made".to_owned(),
        });
        return;
    }
    for change in json::items(item.get("changes")) {
        let change_kind = match json::text(change, "kind") {
            Some("add") => FileChange::Added,
            Some("delete") => FileChange::Deleted,
            _ => FileChange::Updated,
        };
        events.push(AgentEvent::FileChanged {
            path: clip(json::text(change, "path").unwrap_or("")),
            change: change_kind,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamParser;

    const OK: &[u8] = include_bytes!("../../tests/captures/codex-exec-ok.jsonl");
    const FAILED: &[u8] = include_bytes!("../../tests/captures/codex-exec-turn-failed.jsonl");
    const NETWORK: &[u8] = include_bytes!("../../tests/captures/codex-exec-network-down.jsonl");

    fn kinds(events: &[AgentEvent]) -> Vec<&'static str> {
        events.iter().map(AgentEvent::kind).collect()
    }

    #[test]
    fn a_turn_that_ends_well_is_read_whole() {
        let mut parser = StreamParser::codex();
        let events = parser.feed(OK);
        assert_eq!(
            kinds(&events),
            [
                "session_started",
                "turn_started",
                "reasoning",
                "tool_started",
                "tool_finished",
                "file_changed",
                "message",
                "usage",
                "turn_ended",
                "finished"
            ]
        );
        assert_eq!(
            events[4],
            AgentEvent::ToolFinished(ToolEnd {
                id: "item_1".to_owned(),
                name: Some("command_execution".to_owned()),
                status: ToolStatus::Completed,
                exit_code: Some(0),
            })
        );
        let summary = parser.summary();
        assert_eq!(
            summary.session.session_id.as_deref(),
            Some("01a20955-2d29-7092-a8c0-b962b1444361")
        );
        let usage = summary.usage.unwrap();
        assert!(usage.exact);
        assert_eq!(
            usage.usage,
            Usage {
                input_tokens: 6010,
                cached_input_tokens: 5000,
                cache_write_tokens: 0,
                output_tokens: 250,
                reasoning_tokens: 100,
                cost_micro_usd: None,
            }
        );
        let finished = summary.finished.clone().unwrap();
        assert_eq!(finished.failure, None);
        assert_eq!(
            finished.final_text.as_deref(),
            Some("Done: wrote a.txt and b.txt.")
        );
        assert_eq!(parser.counts().unknown.len(), 0);
    }

    #[test]
    fn a_turn_that_fails_says_why() {
        let mut parser = StreamParser::codex();
        let events = parser.feed(FAILED);
        assert_eq!(
            kinds(&events),
            [
                "session_started",
                "turn_started",
                "warning",
                "turn_ended",
                "finished"
            ]
        );
        let failure = parser.summary().finished.clone().unwrap().failure.unwrap();
        assert_eq!(failure.class, FailureClass::ModelNotFound);
        assert_eq!(failure.message, "Invalid model");
    }

    #[test]
    fn an_error_is_not_the_end() {
        let mut parser = StreamParser::codex();
        let events = parser.feed(NETWORK);
        assert_eq!(kinds(&events)[3..], ["retrying"; 4]);
        let summary = parser.summary();
        assert_eq!(summary.finished, None);
        let problem = summary.last_problem.clone().unwrap();
        assert_eq!(classify_text(&problem).class, FailureClass::Network);
    }

    #[test]
    fn a_failure_without_a_known_word_is_sorted_by_the_error_before_it() {
        let mut parser = StreamParser::codex();
        parser.feed(
            b"{\"type\":\"error\",\"message\":\"exceeded retry limit, last status: 429 Too Many Requests\"}\n\
              {\"type\":\"turn.failed\",\"error\":{\"message\":\"no luck\"}}\n",
        );
        let failure = parser.summary().finished.clone().unwrap().failure.unwrap();
        assert_eq!(failure.class, FailureClass::RateLimited { until: None });
        assert_eq!(failure.message, "no luck");
    }

    #[test]
    fn usage_of_turns_is_added_up_and_old_versions_are_read() {
        let mut parser = StreamParser::codex();
        let turn = b"{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":10,\"output_tokens\":2}}\n";
        parser.feed(turn);
        parser.feed(turn);
        parser.feed(b"{\"type\":\"turn.completed\"}\n");
        let usage = parser.summary().usage.unwrap().usage;
        assert_eq!((usage.input_tokens, usage.output_tokens), (20, 4));
    }

    #[test]
    fn tools_end_as_they_say() {
        let cases = [
            (
                r#"{"type":"command_execution","exit_code":null,"status":"completed"}"#,
                ToolStatus::Failed,
            ),
            (
                r#"{"type":"command_execution","exit_code":1,"status":"failed"}"#,
                ToolStatus::Failed,
            ),
            (
                r#"{"type":"command_execution","exit_code":null,"status":"declined"}"#,
                ToolStatus::Declined,
            ),
            (
                r#"{"type":"mcp_tool_call","error":{"message":"x"},"status":"completed"}"#,
                ToolStatus::Failed,
            ),
            (
                r#"{"type":"mcp_tool_call","error":null,"status":"completed"}"#,
                ToolStatus::Completed,
            ),
            (r#"{"type":"web_search","query":"q"}"#, ToolStatus::Completed),
        ];
        for (item, expected) in cases {
            let mut parser = StreamParser::codex();
            let events = parser.feed(format!("{{\"type\":\"item.completed\",\"item\":{item}}}\n").as_bytes());
            assert!(
                matches!(&events[..], [AgentEvent::ToolFinished(end)] if end.status == expected),
                "{item}: {events:?}"
            );
        }
    }

    #[test]
    fn a_list_of_things_to_do_is_progress_and_a_lost_change_a_warning() {
        let mut parser = StreamParser::codex();
        let events = parser.feed(
            b"{\"type\":\"item.updated\",\"item\":{\"type\":\"todo_list\",\"items\":[{\"completed\":true},{\"completed\":false}]}}\n\
              {\"type\":\"item.completed\",\"item\":{\"type\":\"file_change\",\"changes\":[{\"path\":\"a\",\"kind\":\"add\"}],\"status\":\"failed\"}}\n\
              {\"type\":\"item.completed\",\"item\":{\"type\":\"plan\"}}\n{\"type\":\"item.plan.delta\"}\n",
        );
        assert_eq!(kinds(&events), ["progress", "warning"]);
        assert_eq!(events[0], AgentEvent::Progress { done: 1, total: 2 });
        let unknown: Vec<_> = parser.counts().unknown.keys().map(String::as_str).collect();
        assert_eq!(unknown, ["item.completed plan", "item.plan.delta"]);
    }
}

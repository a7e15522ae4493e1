//! Conversations with an agent, frame by frame.

use serde_json::{Value, json};

use super::*;
use crate::event::{FileChange, ToolStatus};
use crate::launch::McpBridge;
use crate::stream::StreamParser;
use crate::usage::Usage;

fn request() -> LaunchRequest {
    LaunchRequest {
        bridge: Some(McpBridge {
            name: "gantry".to_owned(),
            argv: ["gantry", "mcp"].map(str::to_owned).to_vec(),
            env_names: Vec::new(),
        }),
        ..LaunchRequest::new(Brief::Text("Do it.".to_owned()), "/ws", "/h")
    }
}

/// A parser, and what it wrote so far.
struct Talk(StreamParser);

impl Talk {
    fn new(request: &LaunchRequest, policy: PermissionPolicy) -> Self {
        Self(StreamParser::acp(request, policy))
    }

    /// Returns the frames that were written since.
    fn sent(&mut self) -> Vec<Value> {
        let bytes = self.0.take_replies();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    fn says(&mut self, frame: &Value) -> Vec<AgentEvent> {
        self.0.feed(format!("{frame}\n").as_bytes())
    }

    fn answers(&mut self, id: u64, result: &Value) -> Vec<AgentEvent> {
        self.says(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
    }

    fn updates(&mut self, update: &Value) -> Vec<AgentEvent> {
        self.says(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s1", "update": update}}))
    }

    /// Goes on to where the prompt is worked on.
    fn prompted(policy: PermissionPolicy) -> Self {
        let mut talk = Self::new(&request(), policy);
        talk.answers(1, &json!({"protocolVersion": 1}));
        talk.answers(2, &json!({"sessionId": "s1"}));
        talk.sent();
        talk
    }
}

fn chunk(text: &str) -> Value {
    json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})
}

#[test]
fn a_session_is_opened_with_the_bridge_and_prompted_once() {
    let mut talk = Talk::new(&request(), PermissionPolicy::Allow);
    let first = talk.sent();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0]["method"], "initialize");
    assert_eq!(first[0]["params"]["clientCapabilities"]["terminal"], false);
    talk.answers(
        1,
        &json!({"protocolVersion": 1, "agentInfo": {"name": "a", "version": "0.73"}}),
    );
    let params = json!({"cwd": "/ws", "mcpServers": [{"name": "gantry", "command": "gantry", "args": ["mcp"], "env": []}]});
    assert_eq!(
        talk.sent(),
        [json!({"jsonrpc": "2.0", "id": 2, "method": "session/new", "params": params})]
    );
    talk.answers(
        2,
        &json!({"sessionId": "s1", "models": {"currentModelId": "opus"}}),
    );
    let params = json!({"sessionId": "s1", "prompt": [{"type": "text", "text": "Do it."}]});
    assert_eq!(
        talk.sent(),
        [json!({"jsonrpc": "2.0", "id": 3, "method": "session/prompt", "params": params})]
    );
    let session = &talk.0.summary().session;
    let known = [&session.session_id, &session.model, &session.version].map(|text| text.as_deref());
    assert_eq!(known, [Some("s1"), Some("opus"), Some("0.73")]);
}

#[test]
fn pieces_become_messages_and_the_last_is_the_final_text() {
    let mut talk = Talk::prompted(PermissionPolicy::Allow);
    assert_eq!(talk.updates(&chunk("Hel")), []);
    assert_eq!(talk.updates(&json!({"sessionUpdate": "current_mode_update"})), []);
    assert_eq!(talk.updates(&chunk("lo")), []);
    let message = |text: &str| AgentEvent::Message {
        text: text.to_owned(),
        subagent: false,
    };
    let thought = json!({"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": "hm"}});
    assert_eq!(talk.updates(&thought), [message("Hello")]);
    assert_eq!(
        talk.updates(&chunk("Done")),
        [AgentEvent::Reasoning {
            text: "hm".to_owned()
        }]
    );
    let usage = json!({"totalTokens": 60, "inputTokens": 10, "outputTokens": 5, "thoughtTokens": 2, "cachedReadTokens": 40, "cachedWriteTokens": 3});
    let events = talk.answers(3, &json!({"stopReason": "end_turn", "usage": usage}));
    assert_eq!(
        events.iter().map(AgentEvent::kind).collect::<Vec<_>>(),
        ["message", "usage", "turn_ended", "finished"]
    );
    let summary = talk.0.summary();
    let finished = summary.finished.clone().unwrap();
    assert_eq!(
        (finished.failure, finished.final_text.as_deref()),
        (None, Some("Done"))
    );
    assert_eq!(
        summary.usage.unwrap().usage,
        Usage {
            input_tokens: 53,
            cached_input_tokens: 40,
            cache_write_tokens: 3,
            output_tokens: 7,
            reasoning_tokens: 2,
            cost_micro_usd: None
        }
    );
    assert_eq!(talk.answers(3, &json!({"stopReason": "refusal"})), []);
}

#[test]
fn permission_is_given_or_refused_as_the_lane_says() {
    let ask = |options: Value| json!({"jsonrpc": "2.0", "id": "q", "method": "session/request_permission", "params": {"sessionId": "s1", "options": options}});
    let all = json!([
        {"optionId": "1", "kind": "allow_always"},
        {"optionId": "2", "kind": "allow_once"},
        {"optionId": "3", "kind": "reject_once"},
    ]);
    let selected = |id: &str| json!({"outcome": "selected", "optionId": id});
    let cancelled = json!({"outcome": "cancelled"});
    for (policy, options, outcome) in [
        (PermissionPolicy::Allow, all.clone(), selected("2")),
        (PermissionPolicy::Deny, all, selected("3")),
        (
            PermissionPolicy::Allow,
            json!([{"optionId": "1", "kind": "allow_always"}]),
            selected("1"),
        ),
        (
            PermissionPolicy::Deny,
            json!([{"optionId": "1", "kind": "allow_always"}]),
            cancelled.clone(),
        ),
        (PermissionPolicy::Allow, json!(null), cancelled),
    ] {
        let mut talk = Talk::prompted(policy);
        talk.says(&ask(options));
        assert_eq!(
            talk.sent(),
            [json!({"jsonrpc": "2.0", "id": "q", "result": {"outcome": outcome}})]
        );
    }
}

#[test]
fn what_was_not_offered_is_refused() {
    let mut talk = Talk::prompted(PermissionPolicy::Allow);
    for method in [
        "fs/read_text_file",
        "fs/write_text_file",
        "terminal/create",
        "elicitation/create",
    ] {
        talk.says(&json!({"jsonrpc": "2.0", "id": 9, "method": method, "params": {}}));
        let sent = talk.sent();
        assert_eq!(
            (&sent[0]["id"], &sent[0]["error"]["code"]),
            (&json!(9), &json!(-32_601)),
            "{method}"
        );
    }
    assert_eq!(talk.0.counts().unknown.len(), 4);
}

#[test]
fn changes_of_files_count_once_their_tool_is_done() {
    let mut talk = Talk::prompted(PermissionPolicy::Allow);
    let diff = |old: Value| json!([{"type": "diff", "path": "/ws/a", "oldText": old, "newText": "x"}]);
    let call = |id: &str, content: &Value| json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": "Edit a", "kind": "edit", "status": "pending", "content": content});
    let ends = |id: &str, status: &str| json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": status});
    let begun = talk.updates(&call("1", &diff(json!(null))));
    assert_eq!(
        begun.iter().map(AgentEvent::kind).collect::<Vec<_>>(),
        ["tool_started"]
    );
    assert!(talk.0.summary().is_in_tool());
    let events = talk.updates(&ends("1", "completed"));
    let added = AgentEvent::FileChanged {
        path: "/ws/a".to_owned(),
        change: FileChange::Added,
    };
    assert_eq!(events[1..], [added]);
    talk.updates(&call("2", &diff(json!("old"))));
    let events = talk.updates(&ends("2", "failed"));
    assert!(matches!(&events[..], [AgentEvent::ToolFinished(end)] if end.status == ToolStatus::Failed));
}

#[test]
fn plans_and_prices_are_told() {
    let mut talk = Talk::prompted(PermissionPolicy::Allow);
    let plan = json!({"sessionUpdate": "plan", "entries": [{"status": "completed"}, {"status": "pending"}]});
    assert_eq!(talk.updates(&plan), [AgentEvent::Progress { done: 1, total: 2 }]);
    let price = |currency| json!({"sessionUpdate": "usage_update", "used": 5, "size": 9, "cost": {"amount": 0.25, "currency": currency}});
    assert_eq!(talk.updates(&price("EUR")), []);
    talk.updates(&price("USD"));
    let usage = talk.0.summary().usage.unwrap();
    assert_eq!((usage.usage.cost_micro_usd, usage.exact), (Some(250_000), false));
}

#[test]
fn an_earlier_session_is_gone_on_with_as_the_agent_can() {
    let resume = LaunchRequest {
        resume: Some("s0".to_owned()),
        ..request()
    };
    for (capabilities, method) in [
        (json!({"loadSession": true}), "session/load"),
        (
            json!({"loadSession": true, "sessionCapabilities": {"resume": {}}}),
            "session/resume",
        ),
        (json!({"loadSession": false}), "session/new"),
        (json!({}), "session/new"),
    ] {
        let mut talk = Talk::new(&resume, PermissionPolicy::Allow);
        talk.sent();
        talk.answers(
            1,
            &json!({"protocolVersion": 1, "agentCapabilities": capabilities}),
        );
        assert_eq!(talk.sent()[0]["method"], method);
        // What is told while it is loaded is another run's.
        assert_eq!(talk.updates(&chunk("old")), []);
        talk.answers(2, &json!({"sessionId": "s0"}));
        let sent = talk.sent();
        assert_eq!(
            (&sent[0]["method"], &sent[0]["params"]["sessionId"]),
            (&json!("session/prompt"), &json!("s0"))
        );
    }
}

#[test]
fn a_session_that_is_gone_is_begun_anew_with_a_warning() {
    let resume = LaunchRequest {
        resume: Some("s0".to_owned()),
        ..request()
    };
    let mut talk = Talk::new(&resume, PermissionPolicy::Allow);
    talk.answers(1, &json!({"agentCapabilities": {"loadSession": true}}));
    talk.sent();
    let events = talk.says(
        &json!({"jsonrpc": "2.0", "id": 2, "error": {"code": -32002, "message": "Resource not found"}}),
    );
    assert_eq!(events[0].kind(), "warning");
    assert_eq!(talk.sent()[0]["method"], "session/new");
    talk.answers(3, &json!({"sessionId": "s1"}));
    assert_eq!(talk.sent()[0]["params"]["sessionId"], "s1");
}

#[test]
fn every_way_to_stop_has_its_class() {
    for (answer, class) in [
        (json!({"result": {"stopReason": "end_turn"}}), None),
        (
            json!({"result": {"stopReason": "max_tokens"}}),
            Some(FailureClass::ContextTooLong),
        ),
        (
            json!({"result": {"stopReason": "max_turn_requests"}}),
            Some(FailureClass::MaxTurns),
        ),
        (
            json!({"result": {"stopReason": "refusal"}}),
            Some(FailureClass::Refused),
        ),
        (
            json!({"result": {"stopReason": "cancelled"}}),
            Some(FailureClass::Killed),
        ),
        (json!({"result": {}}), Some(FailureClass::Unknown)),
        (
            json!({"error": {"code": -32000, "message": "no"}}),
            Some(FailureClass::Authentication),
        ),
        (
            json!({"error": {"code": -32603, "message": "Internal error", "data": "429 Too Many Requests"}}),
            Some(FailureClass::RateLimited { until: None }),
        ),
        (
            json!({"error": {"code": -32603, "message": "Odd"}}),
            Some(FailureClass::Unknown),
        ),
    ] {
        let mut talk = Talk::prompted(PermissionPolicy::Allow);
        let mut frame = answer;
        frame["id"] = json!(3);
        talk.says(&frame);
        let finished = talk.0.summary().finished.clone().unwrap();
        assert_eq!(finished.failure.map(|failure| failure.class), class, "{frame}");
    }
}

#[test]
fn another_version_of_the_protocol_ends_the_run() {
    let mut talk = Talk::new(&request(), PermissionPolicy::Allow);
    talk.sent();
    talk.answers(1, &json!({"protocolVersion": 2}));
    assert_eq!(talk.sent(), [] as [Value; 0]);
    let failure = talk.0.summary().finished.clone().unwrap().failure.unwrap();
    assert_eq!(failure.class, FailureClass::InvalidRequest);
}

#[test]
fn a_prompt_can_be_stopped_and_what_was_said_is_told_at_the_end() {
    let mut talk = Talk::new(&request(), PermissionPolicy::Allow);
    assert!(!talk.0.cancel());
    talk = Talk::prompted(PermissionPolicy::Allow);
    assert!(talk.0.cancel());
    assert_eq!(
        talk.sent(),
        [json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "s1"}})]
    );
    talk.updates(&chunk("half"));
    assert_eq!(talk.0.finish().len(), 1);
    assert_eq!(talk.0.summary().last_message.as_deref(), Some("half"));
}

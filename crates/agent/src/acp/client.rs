//! The client's order of frames: one session, one prompt.
//!
//! ```text
//! Initializing ─► Opening ─► Prompting ─► Done
//!       │            │ ▲         │         ▲
//!       │            └─┘ a session that cannot be gone on with is begun anew
//!       └────────────┴───────────┴─────────┘ an error, or a stop reason
//! ```

use serde_json::{Value, json};

use super::frame::{self, AUTH_REQUIRED, Frame, METHOD_NOT_FOUND};
use super::update::Updates;
use crate::event::{AgentEvent, Finished, SessionStart, clip, clip_to};
use crate::failure::{Failure, FailureClass, classify_text};
use crate::json as read;
use crate::launch::{Brief, LaunchRequest};
use crate::stream::Taken;

/// The version of the protocol that is spoken.
const PROTOCOL_VERSION: u64 = 1;
/// The longest identifier of a session that is kept, in characters.
const SESSION_ID_CHARS_MAX: usize = 1024;

/// What an agent is answered when it asks for permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PermissionPolicy {
    /// Yes, this once: the box is what holds the agent.
    #[default]
    Allow,
    /// No, this once.
    Deny,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Initializing,
    /// The session is asked for; true if it is an earlier one.
    Opening(bool),
    Prompting,
    Done,
}

/// One run's conversation with an agent.
#[derive(Debug)]
pub(crate) struct AcpClient {
    phase: Phase,
    /// The identifier of the request whose answer is waited for.
    waiting: u64,
    frames: String,
    updates: Updates,
    session: Option<String>,
    permission: PermissionPolicy,
    resume: Option<String>,
    prompt: Value,
    opening: Value,
}

impl AcpClient {
    /// Begins a conversation: the first frame is there to be taken.
    pub(crate) fn new(request: &LaunchRequest, permission: PermissionPolicy) -> Self {
        let servers: Vec<Value> = request
            .bridge
            .iter()
            .map(|bridge| {
                let args = bridge.argv.get(1..).unwrap_or_default();
                json!({"name": bridge.name, "command": bridge.argv.first(), "args": args, "env": []})
            })
            .collect();
        let mut client = Self {
            phase: Phase::Initializing,
            waiting: 0,
            frames: String::new(),
            updates: Updates::new(request.session_usage),
            session: None,
            permission,
            resume: request.resume.clone(),
            prompt: prompt(&request.brief),
            opening: json!({"cwd": request.workspace, "mcpServers": servers}),
        };
        let params = json!({
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": {"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false},
            "clientInfo": {"name": "gantry", "version": env!("CARGO_PKG_VERSION")},
        });
        client.ask("initialize", &params, Phase::Initializing);
        client
    }

    pub(crate) fn take_frames(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frames).into_bytes()
    }

    /// Asks the agent to stop. False if there is nothing to stop yet.
    pub(crate) fn cancel(&mut self) -> bool {
        let (Phase::Prompting, Some(session)) = (self.phase, &self.session) else {
            return false;
        };
        self.frames.push_str(&frame::notification(
            "session/cancel",
            &json!({"sessionId": session}),
        ));
        true
    }

    /// Tells what was still held together when the output ended.
    pub(crate) fn finish(&mut self, events: &mut Vec<AgentEvent>) {
        self.updates.flush(events);
    }

    pub(crate) fn take(&mut self, line: &Value, events: &mut Vec<AgentEvent>) -> Taken {
        match Frame::read(line) {
            Frame::Request { id, method, params } => self.answer(id, method, params),
            Frame::Notification { method, params } => self.notified(method, params, events),
            Frame::Response { id, answer } => self.answered(id, answer, events),
            Frame::Odd => Taken::Unknown("no frame".to_owned()),
        }
    }

    fn ask(&mut self, method: &str, params: &Value, phase: Phase) {
        self.waiting += 1;
        self.phase = phase;
        self.frames
            .push_str(&frame::request(self.waiting, method, params));
    }

    fn answer(&mut self, id: &Value, method: &str, params: &Value) -> Taken {
        if method == "session/request_permission" {
            let result = json!({"outcome": outcome(self.permission, params)});
            self.frames.push_str(&frame::result(id, &result));
            return Taken::Known;
        }
        // Files and terminals are the agent's own in its box; none was offered.
        let message = format!("{} is not offered", clip_to(method, 100));
        self.frames
            .push_str(&frame::error(id, METHOD_NOT_FOUND, &message));
        Taken::Unknown(format!("request {method}"))
    }

    fn notified(&mut self, method: &str, params: &Value, events: &mut Vec<AgentEvent>) -> Taken {
        if method != "session/update" {
            return Taken::Unknown(method.to_owned());
        }
        // While an earlier session is loaded it is told again: that was another run's.
        if self.phase != Phase::Prompting {
            return Taken::Known;
        }
        let session = read::text(params, "sessionId");
        if session.is_some() && session != self.session.as_deref() {
            return Taken::Unknown("session/update of another session".to_owned());
        }
        match read::at(params, "/update") {
            Some(update) => self.updates.take(update, events),
            // A frame may be so long that this was left out.
            None => Taken::Known,
        }
    }

    fn answered(&mut self, id: u64, answer: Result<&Value, &Value>, events: &mut Vec<AgentEvent>) -> Taken {
        if id != self.waiting || self.phase == Phase::Done {
            return Taken::Unknown("an answer to nothing".to_owned());
        }
        match (self.phase, answer) {
            (Phase::Initializing, Ok(result)) => self.open(result, events),
            (Phase::Opening(_), Ok(result)) => self.prompt(result, events),
            (Phase::Opening(true), Err(error)) => {
                let message = format!("the session cannot be gone on with: {}", said(error));
                events.push(AgentEvent::Warning {
                    message: clip(&message),
                });
                self.resume = None;
                self.open_new();
            }
            (Phase::Prompting, Ok(result)) => {
                self.updates.flush(events);
                self.updates.take_usage(read::at(result, "/usage"), events);
                let failure = failure_of_stop(read::text(result, "stopReason").unwrap_or(""));
                self.end(failure, events);
            }
            (_, Err(error)) => {
                self.updates.flush(events);
                self.end(Some(failure_of_error(error)), events);
            }
            (Phase::Done, Ok(_)) => {}
        }
        Taken::Known
    }

    fn open(&mut self, result: &Value, events: &mut Vec<AgentEvent>) {
        let version = read::count(result, "protocolVersion");
        if version.is_some_and(|version| version != PROTOCOL_VERSION) {
            let message = format!(
                "the agent speaks version {} of the protocol, gantry version {PROTOCOL_VERSION}: use another release of it",
                version.unwrap_or(0)
            );
            self.end(Some(Failure::new(FailureClass::InvalidRequest, &message)), events);
            return;
        }
        let version = read::at(result, "/agentInfo/version").and_then(Value::as_str);
        if version.is_some() {
            events.push(AgentEvent::SessionStarted(SessionStart {
                version: version.map(clip),
                ..SessionStart::default()
            }));
        }
        let can = |pointer| read::at(result, pointer).is_some_and(|can| *can != Value::Bool(false));
        let Some(session) = self.resume.clone() else {
            return self.open_new();
        };
        let method = if can("/agentCapabilities/sessionCapabilities/resume") {
            "session/resume"
        } else if can("/agentCapabilities/loadSession") {
            "session/load"
        } else {
            let message = "the agent cannot go on with a session: a new one begins".to_owned();
            events.push(AgentEvent::Warning { message });
            self.resume = None;
            return self.open_new();
        };
        let mut params = self.opening.clone();
        params["sessionId"] = Value::from(session);
        self.ask(method, &params, Phase::Opening(true));
    }

    fn open_new(&mut self) {
        let params = self.opening.clone();
        self.ask("session/new", &params, Phase::Opening(false));
    }

    fn prompt(&mut self, result: &Value, events: &mut Vec<AgentEvent>) {
        let named = read::text(result, "sessionId").map(|id| clip_to(id, SESSION_ID_CHARS_MAX));
        let Some(session) = named.or_else(|| self.resume.clone()) else {
            let message = "the agent opened a session without a name";
            return self.end(Some(Failure::new(FailureClass::InvalidRequest, message)), events);
        };
        events.push(AgentEvent::SessionStarted(SessionStart {
            session_id: Some(session.clone()),
            model: read::at(result, "/models/currentModelId")
                .and_then(Value::as_str)
                .map(clip),
            version: None,
        }));
        events.push(AgentEvent::TurnStarted);
        let params = json!({"sessionId": session, "prompt": self.prompt});
        self.session = Some(session);
        self.ask("session/prompt", &params, Phase::Prompting);
    }

    fn end(&mut self, failure: Option<Failure>, events: &mut Vec<AgentEvent>) {
        self.phase = Phase::Done;
        events.push(AgentEvent::TurnEnded);
        events.push(AgentEvent::Finished(Finished {
            failure,
            final_text: self.updates.take_last_message(),
        }));
    }
}

/// Every agent takes text and links.
fn prompt(brief: &Brief) -> Value {
    match brief {
        Brief::Text(text) => json!([{"type": "text", "text": text}]),
        Brief::File(path) => json!([
            {"type": "text", "text": format!("Read {path} and do what it says.")},
            {"type": "resource_link", "name": "brief", "uri": format!("file://{path}")},
        ]),
    }
}

/// Chooses one of the answers that the agent offers; without a fitting one the question is cancelled.
fn outcome(policy: PermissionPolicy, params: &Value) -> Value {
    let wanted = match policy {
        PermissionPolicy::Allow => ["allow_once", "allow_always"],
        PermissionPolicy::Deny => ["reject_once", "reject_always"],
    };
    let options = read::items(params.get("options"));
    let of_kind = |kind: &str| {
        options
            .iter()
            .find(|option| read::text(option, "kind") == Some(kind))
    };
    let chosen = wanted.into_iter().find_map(of_kind);
    match chosen.and_then(|option| option.get("optionId")) {
        Some(id) => json!({"outcome": "selected", "optionId": id}),
        None => json!({"outcome": "cancelled"}),
    }
}

fn failure_of_stop(reason: &str) -> Option<Failure> {
    let class = match reason {
        "end_turn" => return None,
        "max_tokens" => FailureClass::ContextTooLong,
        "max_turn_requests" => FailureClass::MaxTurns,
        "refusal" => FailureClass::Refused,
        "cancelled" => FailureClass::Killed,
        _ => FailureClass::Unknown,
    };
    Some(Failure::new(class, &format!("the agent stopped: {reason}")))
}

fn said(error: &Value) -> String {
    let message = read::text(error, "message").unwrap_or("no reason given");
    match read::at(error, "/data") {
        Some(data) => format!("{message}: {}", clip_to(&data.to_string(), 2000)),
        None => message.to_owned(),
    }
}

fn failure_of_error(error: &Value) -> Failure {
    let mut failure = classify_text(&said(error));
    if error.get("code").and_then(Value::as_i64) == Some(AUTH_REQUIRED)
        && failure.class == FailureClass::Unknown
    {
        failure.class = FailureClass::Authentication;
    }
    failure
}

#[cfg(test)]
mod tests;

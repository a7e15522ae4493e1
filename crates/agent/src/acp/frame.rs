//! JSON-RPC frames, one to a line. Owns their outer shape.

use serde_json::{Value, json};

/// No such method: what is answered to whatever gantry does not offer.
pub(super) const METHOD_NOT_FOUND: i64 = -32_601;
/// The agent wants the account to be set up first.
pub(super) const AUTH_REQUIRED: i64 = -32_000;

/// A frame from the agent.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// It asks and waits.
    Request {
        id: &'a Value,
        method: &'a str,
        params: &'a Value,
    },
    /// It tells.
    Notification { method: &'a str, params: &'a Value },
    /// It answers a request of gantry's.
    Response {
        id: u64,
        answer: Result<&'a Value, &'a Value>,
    },
    /// It is none of these.
    Odd,
}

impl<'a> Frame<'a> {
    pub(super) fn read(value: &'a Value) -> Self {
        const NOTHING: &Value = &Value::Null;
        let params = value.get("params").unwrap_or(NOTHING);
        let id = value.get("id").filter(|id| !id.is_null());
        let method = value.get("method").and_then(Value::as_str);
        match (method, id) {
            (Some(method), Some(id)) => Self::Request { id, method, params },
            (Some(method), None) => Self::Notification { method, params },
            (None, Some(id)) => {
                let Some(id) = id.as_u64() else { return Self::Odd };
                let answer = match value.get("error").filter(|error| !error.is_null()) {
                    Some(error) => Err(error),
                    None => Ok(value.get("result").unwrap_or(NOTHING)),
                };
                Self::Response { id, answer }
            }
            (None, None) => Self::Odd,
        }
    }
}

/// Writes a request.
pub(super) fn request(id: u64, method: &str, params: &Value) -> String {
    line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

/// Writes a notification.
pub(super) fn notification(method: &str, params: &Value) -> String {
    line(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
}

/// Writes an answer.
pub(super) fn result(id: &Value, result: &Value) -> String {
    line(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

/// Writes a refusal.
pub(super) fn error(id: &Value, code: i64, message: &str) -> String {
    line(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}))
}

/// JSON without white space holds no line end, as those within texts are escaped.
fn line(value: &Value) -> String {
    format!("{value}\n")
}

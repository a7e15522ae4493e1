//! Which class of failure a result of claude is. Owns its own words; the texts of the API are known elsewhere.

use serde_json::Value;

use crate::failure::{Failure, FailureClass, class_of_status, classify_text};
use crate::json;

/// Returns why a result is no success, `None` if it is one. `error` is the word of the last message that had one.
pub(super) fn failure_of_result(line: &Value, error: Option<&str>) -> Option<Failure> {
    let subtype = json::text(line, "subtype").unwrap_or("");
    let is_error = line.get("is_error").and_then(Value::as_bool) == Some(true);
    let refused = json::text(line, "stop_reason") == Some("refusal");
    if subtype == "success" && !is_error && !refused {
        return None;
    }
    let text = said(line).unwrap_or_else(|| subtype.to_owned());
    let by_text = classify_text(&text);
    let by_word = if refused {
        FailureClass::Refused
    } else {
        class_of_subtype(subtype)
            .or_else(|| class_of_end(json::text(line, "terminal_reason")?))
            .or_else(|| class_of_error(error?))
            .unwrap_or_else(|| class_of_status(json::count(line, "api_error_status")))
    };
    // The text alone knows when a limit begins anew.
    let same = by_word.name() == by_text.class.name();
    Some(if same || by_word == FailureClass::Unknown {
        by_text
    } else {
        Failure {
            class: by_word,
            ..by_text
        }
    })
}

/// Returns what a result says: its errors, or its text.
fn said(line: &Value) -> Option<String> {
    let errors: Vec<&str> = json::items(line.get("errors"))
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let text = json::text(line, "result").filter(|text| !text.is_empty());
    if errors.is_empty() {
        text.map(str::to_owned)
    } else {
        Some(errors.join("; "))
    }
}

fn class_of_subtype(subtype: &str) -> Option<FailureClass> {
    match subtype {
        "error_max_turns" => Some(FailureClass::MaxTurns),
        "error_max_budget_usd" => Some(FailureClass::Budget),
        "error_max_structured_output_retries" => Some(FailureClass::NoResult),
        _ => None,
    }
}

fn class_of_end(reason: &str) -> Option<FailureClass> {
    match reason {
        "max_turns" => Some(FailureClass::MaxTurns),
        "budget_exhausted" => Some(FailureClass::Budget),
        "prompt_too_long" => Some(FailureClass::ContextTooLong),
        "hook_stopped" => Some(FailureClass::PermissionDenied),
        reason if reason.starts_with("aborted") => Some(FailureClass::Killed),
        _ => None,
    }
}

fn class_of_error(word: &str) -> Option<FailureClass> {
    match word {
        "authentication_failed" => Some(FailureClass::Authentication),
        "billing_error" => Some(FailureClass::Billing),
        "rate_limit" => Some(FailureClass::RateLimited { until: None }),
        "overloaded" | "server_error" => Some(FailureClass::Overloaded),
        "invalid_request" => Some(FailureClass::InvalidRequest),
        "model_not_found" => Some(FailureClass::ModelNotFound),
        "max_output_tokens" => Some(FailureClass::ContextTooLong),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use gantry_core::time::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn results_have_their_class() {
        let limited = |seconds: Option<i64>| FailureClass::RateLimited {
            until: seconds.map(|seconds| Timestamp::from_millis(seconds * 1000)),
        };
        let cases = [
            (json!({"subtype": "success", "is_error": false}), None, None),
            (
                json!({"subtype": "success", "stop_reason": "refusal"}),
                None,
                Some(FailureClass::Refused),
            ),
            (
                json!({"subtype": "error_max_turns"}),
                None,
                Some(FailureClass::MaxTurns),
            ),
            (
                json!({"subtype": "error_max_budget_usd"}),
                None,
                Some(FailureClass::Budget),
            ),
            (
                json!({"subtype": "error_during_execution", "terminal_reason": "prompt_too_long"}),
                None,
                Some(FailureClass::ContextTooLong),
            ),
            (
                json!({"subtype": "error_during_execution", "terminal_reason": "aborted_streaming"}),
                None,
                Some(FailureClass::Killed),
            ),
            (
                json!({"subtype": "error_during_execution", "errors": ["API Error: 529 Overloaded"]}),
                None,
                Some(FailureClass::Overloaded),
            ),
            (
                json!({"subtype": "success", "is_error": true, "result": "Claude AI usage limit reached|1750708800"}),
                Some("rate_limit"),
                Some(limited(Some(1_750_708_800))),
            ),
            (
                json!({"subtype": "success", "is_error": true, "result": "x"}),
                Some("rate_limit"),
                Some(limited(None)),
            ),
            (
                json!({"subtype": "success", "is_error": true, "result": "x", "api_error_status": 402}),
                None,
                Some(FailureClass::Billing),
            ),
            (
                json!({"subtype": "error_during_execution"}),
                None,
                Some(FailureClass::Unknown),
            ),
            (json!({}), None, Some(FailureClass::Unknown)),
        ];
        for (line, word, expected) in cases {
            assert_eq!(
                failure_of_result(&line, word).map(|failure| failure.class),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn a_failure_says_what_the_result_says() {
        let message = |line| failure_of_result(&line, None).unwrap().message;
        assert_eq!(
            message(json!({"subtype": "error_max_turns", "errors": ["a", "b"]})),
            "a; b"
        );
        assert_eq!(message(json!({"subtype": "error_max_turns"})), "error_max_turns");
    }
}

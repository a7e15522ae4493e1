//! Which class a text belongs to: messages of agent programs, of providers' APIs and of shells. Owns the list of what
//! is known; a text that is not on it is `unknown`, never guessed.

use std::time::Duration;

use gantry_core::time::Timestamp;

use super::{Failure, FailureClass};
use crate::instant;

/// How much of a text is looked at, in bytes: what a message says stands at its start.
const LOOKED_AT_BYTES_MAX: usize = 16 * 1024;
/// The longest wait that is believed, in seconds: a month, the longest window a provider has.
const WAIT_SECONDS_MAX: u64 = 31 * 24 * 60 * 60;
/// The first instant that is taken for one, in seconds since the epoch: 2001. Smaller numbers are something else.
const INSTANT_SECONDS_MIN: u64 = 1_000_000_000;

/// What a text has to hold, in small letters, for its class. The first that fits counts: what is told apart by one
/// word stands before what is told by a status, and a status before a general word.
///
/// Source: openai/codex `codex-rs/protocol/src/error.rs`; Claude Code's and Anthropic's error texts; errno texts.
const KNOWN: &[(&[&str], FailureClass)] = &[
    (&["insufficient_quota"], FailureClass::Billing),
    (&["billing_error"], FailureClass::Billing),
    (&["credit balance is too low"], FailureClass::Billing),
    (&["quota exceeded", "billing"], FailureClass::Billing),
    (&["exceeded your current quota"], FailureClass::Billing),
    (&["402 payment required"], FailureClass::Billing),
    (&["usage_not_included"], FailureClass::Billing),
    (&["context_length_exceeded"], FailureClass::ContextTooLong),
    (&["prompt is too long"], FailureClass::ContextTooLong),
    (&["prompt_too_long"], FailureClass::ContextTooLong),
    (&["context window"], FailureClass::ContextTooLong),
    (&["maximum context length"], FailureClass::ContextTooLong),
    (&["model_not_found"], FailureClass::ModelNotFound),
    (&["invalid model"], FailureClass::ModelNotFound),
    (&["model", "does not exist"], FailureClass::ModelNotFound),
    (&["model is not supported"], FailureClass::ModelNotFound),
    (&["not_found_error", "model"], FailureClass::ModelNotFound),
    (&["issue with the selected model"], FailureClass::ModelNotFound),
    (&["usage_limit_reached"], LIMITED),
    (&["usage limit"], LIMITED),
    (&["hit your limit"], LIMITED),
    (&["hit your session limit"], LIMITED),
    (&["hit your weekly limit"], LIMITED),
    (&["rate_limit"], LIMITED),
    (&["rate limit"], LIMITED),
    (&["ratelimit"], LIMITED),
    (&["too many requests"], LIMITED),
    (&["overloaded"], FailureClass::Overloaded),
    (&["at capacity"], FailureClass::Overloaded),
    (&["high demand"], FailureClass::Overloaded),
    (&["service unavailable"], FailureClass::Overloaded),
    (&["internal server error"], FailureClass::Overloaded),
    (&["internal_server_error"], FailureClass::Overloaded),
    (&["server_error"], FailureClass::Overloaded),
    (&["bad gateway"], FailureClass::Overloaded),
    (&["authentication_error"], FailureClass::Authentication),
    (&["authentication_failed"], FailureClass::Authentication),
    (&["invalid_api_key"], FailureClass::Authentication),
    (&["invalid api key"], FailureClass::Authentication),
    (&["incorrect api key"], FailureClass::Authentication),
    (&["not logged in"], FailureClass::Authentication),
    (&["please run /login"], FailureClass::Authentication),
    (&["run codex login"], FailureClass::Authentication),
    (&["token has expired"], FailureClass::Authentication),
    (
        &["access token could not be refreshed"],
        FailureClass::Authentication,
    ),
    (&["refresh token"], FailureClass::Authentication),
    (&["authentication required"], FailureClass::Authentication),
    (&["unauthorized"], FailureClass::Authentication),
    (&["max_budget_usd"], FailureClass::Budget),
    (&["budget_exhausted"], FailureClass::Budget),
    (&["error_max_turns"], FailureClass::MaxTurns),
    (&["invalid_request"], FailureClass::InvalidRequest),
    (&["400 bad request"], FailureClass::InvalidRequest),
    (&["waiting for network"], FailureClass::Network),
    (&["connection failed"], FailureClass::Network),
    (&["connection refused"], FailureClass::Network),
    (&["connection reset"], FailureClass::Network),
    (&["connection error"], FailureClass::Network),
    (&["econnre"], FailureClass::Network),
    (&["enotfound"], FailureClass::Network),
    (&["etimedout"], FailureClass::Network),
    (&["eai_again"], FailureClass::Network),
    (&["fetch failed"], FailureClass::Network),
    (&["error sending request"], FailureClass::Network),
    (&["dns error"], FailureClass::Network),
    (&["could not resolve"], FailureClass::Network),
    (&["name resolution"], FailureClass::Network),
    (&["network is unreachable"], FailureClass::Network),
    (&["stream disconnected"], FailureClass::Network),
    (&["request timed out"], FailureClass::Network),
    (&["command not found"], FailureClass::ToolMissing),
    (&["heap out of memory"], FailureClass::OutOfMemory),
    (&["cannot allocate memory"], FailureClass::OutOfMemory),
    (&["memory allocation of"], FailureClass::OutOfMemory),
    (&["permission denied"], FailureClass::PermissionDenied),
    (&["permission_denied"], FailureClass::PermissionDenied),
    (&["403 forbidden"], FailureClass::PermissionDenied),
    (&["permission_error"], FailureClass::PermissionDenied),
    (&["panicked at"], FailureClass::Crashed),
    (&["unhandled promise rejection"], FailureClass::Crashed),
    (&["segmentation fault"], FailureClass::Crashed),
];

const LIMITED: FailureClass = FailureClass::RateLimited { until: None };

/// Sorts a text that an agent program, a provider or a shell wrote about a failure.
///
/// Shape: `unknown` for what is not known. A limit's instant or wait is taken from the text where it stands there.
#[must_use]
pub fn classify_text(text: &str) -> Failure {
    let small = looked_at(text).to_lowercase();
    let found = KNOWN
        .iter()
        .find(|(words, _)| words.iter().all(|word| small.contains(word)));
    let class = found.map_or_else(|| class_of_status(status_in(&small)), |(_, class)| *class);
    let mut failure = Failure::new(class, &readable(text));
    if class == LIMITED || class == FailureClass::Overloaded {
        failure = failure.with_reset(reset_in(&small));
        failure.retry_after = wait_in(&small);
    }
    failure
}

/// Returns the message inside an API's error object, or the text as it is.
fn readable(text: &str) -> String {
    let object = text.trim_start().starts_with('{');
    // A text that is no JSON after all is a message as it stands.
    let value: Option<serde_json::Value> = if object {
        serde_json::from_str(text).ok()
    } else {
        None
    };
    let inner = value
        .as_ref()
        .and_then(|value| value.pointer("/error/message")?.as_str());
    inner.unwrap_or(text).to_owned()
}

/// Returns the class of an HTTP status, `unknown` for one that says nothing.
pub(crate) fn class_of_status(status: Option<u64>) -> FailureClass {
    match status {
        Some(400 | 413 | 422) => FailureClass::InvalidRequest,
        Some(401) => FailureClass::Authentication,
        Some(402) => FailureClass::Billing,
        Some(403) => FailureClass::PermissionDenied,
        Some(429) => LIMITED,
        Some(500..=599) => FailureClass::Overloaded,
        _ => FailureClass::Unknown,
    }
}

fn looked_at(text: &str) -> &str {
    let mut end = text.len().min(LOOKED_AT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns the digits behind `mark` and what may stand between, as a number.
fn number_behind(text: &str, mark: &str) -> Option<u64> {
    let rest = &text[text.find(mark)? + mark.len()..];
    let rest = rest.trim_start_matches(['"', '\\', ':', ' ', '=']);
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    rest[..digits].parse().ok()
}

fn status_in(small: &str) -> Option<u64> {
    [
        "last status",
        "unexpected status",
        "status_code",
        "statuscode",
        "status code",
        "api error",
        "http",
    ]
    .into_iter()
    .filter_map(|mark| number_behind(small, mark))
    .find(|status| (400..600).contains(status))
}

/// Returns the instant a text names as seconds since the epoch: `resets_at` of the API, or behind claude's `|`.
fn reset_in(small: &str) -> Option<Timestamp> {
    let named = ["resets_at", "resetsat", "limit reached|"]
        .into_iter()
        .filter_map(|mark| number_behind(small, mark))
        .find(|seconds| *seconds >= INSTANT_SECONDS_MIN);
    named.and_then(instant::from_seconds)
}

/// Returns the wait a text names: `resets_in_seconds`, or `try again in 1 day 2 hours 3 minutes`, `in 21.5s`.
fn wait_in(small: &str) -> Option<Duration> {
    if let Some(seconds) = number_behind(small, "resets_in_seconds") {
        return Some(Duration::from_secs(seconds.min(WAIT_SECONDS_MAX)));
    }
    let rest = &small[small.find("try again in ")? + "try again in ".len()..];
    let mut words = rest.split([' ', ',']).filter(|word| !word.is_empty()).peekable();
    let mut seconds = 0_u64;
    let mut any = false;
    while let Some(word) = words.next() {
        let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(mut number) = word[..digits].parse::<u64>() else {
            break;
        };
        let mut unit = &word[digits..];
        let fraction = unit
            .strip_prefix('.')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(fraction) = fraction {
            // Fractions of a unit are rounded up to one.
            unit = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            number = number.saturating_add(1);
        }
        if unit.is_empty() {
            unit = words.next().unwrap_or("");
        }
        let Some(each) = unit_seconds(unit) else { break };
        seconds = seconds.saturating_add(number.saturating_mul(each));
        any = true;
    }
    any.then(|| Duration::from_secs(seconds.min(WAIT_SECONDS_MAX)))
}

fn unit_seconds(unit: &str) -> Option<u64> {
    match unit.trim_end_matches(['.', ';', '!', ')', '"', '}', '\\']) {
        // A wait below a second is none.
        "ms" => Some(0),
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        "h" | "hour" | "hours" => Some(3600),
        "d" | "day" | "days" => Some(86_400),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(seconds: i64) -> FailureClass {
        FailureClass::RateLimited {
            until: Some(Timestamp::from_millis(seconds * 1000)),
        }
    }

    #[test]
    fn known_texts_have_their_class() {
        let cases = [
            (
                r#"{"error": {"message": "Invalid model", "type": "invalid_request_error", "code": "bad"}}"#,
                FailureClass::ModelNotFound,
            ),
            (
                "The model `x` does not exist or you do not have access to it.",
                FailureClass::ModelNotFound,
            ),
            (
                r#"{"error":{"type":"invalid_request_error","message":"bad tool"}}"#,
                FailureClass::InvalidRequest,
            ),
            (
                "Reconnecting... waiting for network (Connection failed: error sending request)",
                FailureClass::Network,
            ),
            ("API Error: Connection error.", FailureClass::Network),
            (
                "exceeded retry limit, last status: 429 Too Many Requests, request id: c4",
                LIMITED,
            ),
            (
                "unexpected status 401 Unauthorized: ",
                FailureClass::Authentication,
            ),
            ("exceeded retry limit, last status: 529", FailureClass::Overloaded),
            (
                "You've hit your usage limit. Upgrade to Pro, or try again at 3:05 PM.",
                LIMITED,
            ),
            ("You've hit your limit · resets 2:10pm (Europe/Moscow)", LIMITED),
            ("Claude AI usage limit reached|1750708800", until(1_750_708_800)),
            (
                r#"API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                FailureClass::Overloaded,
            ),
            ("Credit balance is too low", FailureClass::Billing),
            (
                "Quota exceeded. Check your plan and billing details.",
                FailureClass::Billing,
            ),
            (
                "Invalid API key · Please run /login",
                FailureClass::Authentication,
            ),
            ("Prompt is too long", FailureClass::ContextTooLong),
            (
                "Codex ran out of room in the model's context window. Start a new thread.",
                FailureClass::ContextTooLong,
            ),
            ("sh: 1: codex: command not found", FailureClass::ToolMissing),
            (
                "FATAL ERROR: JavaScript heap out of memory",
                FailureClass::OutOfMemory,
            ),
            ("thread 'main' panicked at src/main.rs:1", FailureClass::Crashed),
            ("I painted the house", FailureClass::Unknown),
            ("", FailureClass::Unknown),
        ];
        for (text, class) in cases {
            assert_eq!(classify_text(text).class, class, "{text}");
        }
    }

    #[test]
    fn a_limits_instant_and_wait_are_read() {
        let api = r#"{"error":{"type":"usage_limit_reached","resets_at":1777936568,"resets_in_seconds":13872},"status_code":429}"#;
        let failure = classify_text(api);
        assert_eq!(failure.class, until(1_777_936_568));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(13_872)));
        for (text, seconds) in [
            ("Rate limit reached. Please try again in 21.509s. Visit", Some(22)),
            ("usage limit. Try again in 1 day 2 hours 3 minutes.", Some(93_780)),
            (
                "Rate limit is exceeded. Try again in 4 seconds.; retrying",
                Some(4),
            ),
            ("rate limit, try again in a while", None),
            ("rate limit, try again in 99999999999999999999 hours", None),
            (
                "rate limit, try again in 9999999999999 hours",
                Some(WAIT_SECONDS_MAX),
            ),
        ] {
            assert_eq!(
                classify_text(text).retry_after,
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("a{}", "ä".repeat(LOOKED_AT_BYTES_MAX));
        assert_eq!(classify_text(&text).class, FailureClass::Unknown);
    }
}

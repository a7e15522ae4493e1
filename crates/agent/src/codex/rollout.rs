//! The lines of a codex rollout. Their writers promise nothing about them, and what is said twice (by `response_item`
//! and by `event_msg`) is read from the first alone.

use serde_json::Value;

use gantry_core::time::Timestamp;

use crate::event::{RateLimit, RateLimitStatus, clip};
use crate::instant;
use crate::json;
use crate::stream::Taken;
use crate::transcript::TranscriptTotals;
use crate::usage::{Usage, since};

/// What has to be remembered between lines.
#[derive(Debug, Default)]
pub(crate) struct RolloutReader {
    /// The sum of the records, one for each call of the model.
    records: Option<Usage>,
    /// The running total that older versions write instead, and what it was before the run began.
    last_total: Option<Usage>,
    total_before: Option<Usage>,
}

impl RolloutReader {
    /// Takes one line; `counts` is false for what happened before the run.
    pub(crate) fn take(&mut self, line: &Value, counts: bool, totals: &mut TranscriptTotals) -> Taken {
        let kind = json::text(line, "type").unwrap_or("");
        // A line may be so long that its payload was left out.
        let nothing = Value::Null;
        let payload = line.get("payload").unwrap_or(&nothing);
        match kind {
            "session_meta" => {
                totals.session_id = json::owned(payload, "id").or_else(|| totals.session_id.take());
                totals.version = json::owned(payload, "cli_version").or_else(|| totals.version.take());
                totals.folder = json::owned(payload, "cwd").or_else(|| totals.folder.take());
            }
            "turn_context" => totals.model = json::owned(payload, "model").or_else(|| totals.model.take()),
            "event_msg" => self.event(line, payload, counts, totals),
            "response_item" => item(payload, counts, totals),
            "token_usage_record" => {
                if let Some(usage) = json::at(payload, "/usage").filter(|_| counts) {
                    let sum = self.records.unwrap_or_default();
                    self.records = Some(sum.plus(Usage::from_codex(usage)));
                }
            }
            "world_state" | "compacted" => {}
            _ => return Taken::Unknown(kind.to_owned()),
        }
        // Never both: each says all of it.
        totals.usage = self
            .records
            .or_else(|| self.last_total.map(|total| since(total, self.total_before)));
        Taken::Known
    }

    fn event(&mut self, line: &Value, payload: &Value, counts: bool, totals: &mut TranscriptTotals) {
        match json::text(payload, "type") {
            Some("task_started" | "turn_started") => totals.turns += u64::from(counts),
            Some("token_count") => {
                if let Some(total) = json::at(payload, "/info/total_token_usage") {
                    let total = Some(Usage::from_codex(total));
                    *(if counts {
                        &mut self.last_total
                    } else {
                        &mut self.total_before
                    }) = total;
                }
                let at = json::text(line, "timestamp").and_then(instant::parse_rfc3339);
                rate_limits(payload, at, totals);
            }
            _ => {}
        }
    }
}

fn item(payload: &Value, counts: bool, totals: &mut TranscriptTotals) {
    match json::text(payload, "type") {
        Some("function_call" | "custom_tool_call" | "local_shell_call" | "web_search_call") => {
            totals.tools += u64::from(counts);
        }
        Some("message") if counts && json::text(payload, "role") == Some("assistant") => {
            let content = json::items(payload.get("content"));
            let texts: Vec<&str> = content
                .iter()
                .filter_map(|part| json::text(part, "text"))
                .collect();
            totals.last_message = Some(clip(&texts.join("\n")));
        }
        _ => {}
    }
}

/// The stream has no limits; here they stand beside the tokens. The latest of each window is kept.
fn rate_limits(payload: &Value, at: Option<Timestamp>, totals: &mut TranscriptTotals) {
    for name in ["primary", "secondary"] {
        let Some(window) = json::at(payload, &format!("/rate_limits/{name}")) else {
            continue;
        };
        let used = window
            .get("used_percent")
            .and_then(|share| json::thousandths(share, 100.0));
        let wait = json::count(window, "resets_in_seconds").map(std::time::Duration::from_secs);
        let limit = RateLimit {
            provider: "openai",
            window: match json::count(window, "window_minutes") {
                Some(300) => "five_hour".to_owned(),
                Some(10_080) => "seven_day".to_owned(),
                Some(minutes) => format!("{minutes}_minutes"),
                None => name.to_owned(),
            },
            status: if used.is_some_and(|used| used >= 1000) {
                RateLimitStatus::Rejected
            } else {
                RateLimitStatus::Allowed
            },
            used_thousandths: used,
            resets_at: json::count(window, "resets_at")
                .and_then(instant::from_seconds)
                .or_else(|| Some(at? + wait?)),
        };
        totals.note_limit(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::TranscriptFormat;
    use crate::transcript::TranscriptReader;

    const CAPTURE: &[u8] = include_bytes!("../../tests/captures/codex-rollout-0.169.jsonl");

    fn totals(text: &[u8], since: Option<&str>) -> TranscriptTotals {
        let since = since.map(|text| instant::parse_rfc3339(text).unwrap());
        let mut reader = TranscriptReader::new(TranscriptFormat::CodexRollout, since);
        reader.feed(text);
        reader.finish()
    }

    fn tokens(input: u64, cached: u64, output: u64, reasoning: u64) -> Usage {
        Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            output_tokens: output,
            reasoning_tokens: reasoning,
            ..Usage::default()
        }
    }

    #[test]
    fn a_rollout_is_summed_up() {
        let totals = totals(CAPTURE, None);
        assert_eq!(totals.usage, Some(tokens(4806, 4000, 200, 80)));
        assert_eq!(
            totals.session_id.as_deref(),
            Some("01a20952-d9f3-7b13-a1ee-e507cde750e6")
        );
        assert_eq!(totals.model.as_deref(), Some("gpt-5.1-codex"));
        assert_eq!(totals.version.as_deref(), Some("0.169.0"));
        assert_eq!((totals.turns, totals.tools), (1, 3));
        assert_eq!(
            totals.last_message.as_deref(),
            Some("Done: wrote a.txt and b.txt.")
        );
        assert_eq!(
            totals.started_at.map(Timestamp::as_millis),
            Some(1_795_452_754_477)
        );
        assert_eq!(totals.ended_at.map(Timestamp::as_millis), Some(1_795_452_754_665));
        assert!(totals.counts.unknown.is_empty() && totals.counts.unparsable == 0);
    }

    #[test]
    fn without_records_the_last_total_counts() {
        let text = String::from_utf8(CAPTURE.to_vec()).unwrap();
        let old: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("token_usage_record"))
            .collect();
        let old = old.join("\n");
        assert_eq!(
            totals(old.as_bytes(), None).usage,
            Some(tokens(4806, 4000, 200, 80))
        );
        // The first of four calls was before.
        let later = totals(old.as_bytes(), Some("2026-11-23T16:52:34.600Z"));
        assert_eq!(later.usage, Some(tokens(3606, 3000, 150, 60)));
    }

    #[test]
    fn a_resumed_run_counts_from_its_start() {
        let later = totals(CAPTURE, Some("2026-11-23T16:52:34.600Z"));
        assert_eq!(later.usage, Some(tokens(3606, 3000, 150, 60)));
        assert_eq!((later.turns, later.tools), (0, 2));
        assert!(later.session_id.is_some());
    }

    #[test]
    fn limits_are_read_and_the_latest_is_kept() {
        let line = |used: u32| {
            format!(
                "{{\"timestamp\":\"1970-01-01T00:00:10Z\",\"type\":\"event_msg\",\"payload\":{{\"type\":\"token_count\",\"rate_limits\":{{\
                 \"primary\":{{\"used_percent\":{used}.5,\"window_minutes\":300,\"resets_at\":1772766000}},\
                 \"secondary\":{{\"used_percent\":100,\"window_minutes\":60,\"resets_in_seconds\":5}}}}}}}}\n"
            )
        };
        let totals = totals(format!("{}{}", line(1), line(2)).as_bytes(), None);
        let found: Vec<_> = totals
            .rate_limits
            .iter()
            .map(|limit| (limit.window.as_str(), limit.used_thousandths, limit.status))
            .collect();
        assert_eq!(
            found,
            [
                ("five_hour", Some(25), RateLimitStatus::Allowed),
                ("60_minutes", Some(1000), RateLimitStatus::Rejected)
            ]
        );
        assert_eq!(
            totals.rate_limits[1].resets_at,
            Some(Timestamp::from_millis(15_000))
        );
        assert_eq!(totals.usage, None);
    }
}

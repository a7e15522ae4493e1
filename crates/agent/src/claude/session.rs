//! The lines of a claude session file. Most of its bytes are copies of prompts that say nothing new; each block of a
//! message is a line of its own and repeats the message's usage.

use serde_json::Value;

use crate::event::clip;
use crate::json;
use crate::stream::Taken;
use crate::transcript::TranscriptTotals;
use crate::usage::{Usage, UsageByMessage};

/// What has to be remembered between lines.
#[derive(Debug, Default)]
pub(crate) struct SessionReader {
    messages: UsageByMessage,
    /// The session's price so far, and what it was before the run began.
    cost: Option<u64>,
    cost_before: Option<u64>,
    /// A `cost-state` bears no time; it belongs to what stands before it.
    after_start: bool,
}

impl SessionReader {
    /// Takes one line; `counts` is false for what happened before the run, `timed` for lines without a time.
    pub(crate) fn take(
        &mut self,
        line: &Value,
        counts: bool,
        timed: bool,
        totals: &mut TranscriptTotals,
    ) -> Taken {
        if timed {
            self.after_start = counts;
        }
        let kind = json::text(line, "type").unwrap_or("");
        match kind {
            "user" => user(line, counts, totals),
            "assistant" => self.assistant(line, counts, totals),
            "cost-state" => {
                let cost = json::at(line, "/totalCostUSD").and_then(json::micro_usd);
                if cost.is_some() {
                    *(if self.after_start {
                        &mut self.cost
                    } else {
                        &mut self.cost_before
                    }) = cost;
                }
            }
            "attachment"
            | "queue-operation"
            | "last-prompt"
            | "tools-used"
            | "atis-latch"
            | "api-request"
            | "api-request-shape"
            | "api-request-blob"
            | "summary"
            | "system"
            | "file-history-snapshot"
            | "progress" => {}
            _ => return Taken::Unknown(kind.to_owned()),
        }
        for (known, name) in [
            (&mut totals.session_id, "sessionId"),
            (&mut totals.version, "version"),
            (&mut totals.folder, "cwd"),
        ] {
            if let Some(text) = json::text(line, name) {
                *known = Some(text.to_owned());
            }
        }
        totals.usage = self.messages.total().map(|usage| Usage {
            cost_micro_usd: self.run_cost(),
            ..usage
        });
        Taken::Known
    }

    /// A price that is below what it was before began anew.
    fn run_cost(&self) -> Option<u64> {
        let cost = self.cost?;
        Some(cost.checked_sub(self.cost_before.unwrap_or(0)).unwrap_or(cost))
    }

    fn assistant(&mut self, line: &Value, counts: bool, totals: &mut TranscriptTotals) {
        let Some(message) = json::at(line, "/message").filter(|_| counts) else {
            return;
        };
        if let (Some(id), Some(usage)) = (json::text(message, "id"), json::at(message, "/usage")) {
            self.messages.take(id, Usage::from_anthropic(usage));
        }
        // The program's own words, such as errors of the API, come from no model.
        if let Some(model) = json::text(message, "model").filter(|model| *model != "<synthetic>") {
            totals.model = Some(model.to_owned());
        }
        let sidechain = line.get("isSidechain").and_then(Value::as_bool) == Some(true);
        for block in json::items(message.get("content")) {
            match json::text(block, "type") {
                Some("tool_use") => totals.tools += 1,
                Some("text") if !sidechain => totals.last_message = json::text(block, "text").map(clip),
                _ => {}
            }
        }
    }
}

/// A turn begins with what a person or a program wrote; results of tools are written under the same name.
fn user(line: &Value, counts: bool, totals: &mut TranscriptTotals) {
    let is = |name| line.get(name).and_then(Value::as_bool) == Some(true);
    let content = line.pointer("/message/content");
    let prompt = match content {
        Some(Value::String(_)) => true,
        other => json::items(other)
            .iter()
            .any(|block| json::text(block, "type") == Some("text")),
    };
    if counts && prompt && !is("isSidechain") && !is("isMeta") {
        totals.turns += 1;
    }
}

#[cfg(test)]
mod tests {
    use gantry_core::time::Timestamp;

    use super::*;
    use crate::instant;
    use crate::launch::TranscriptFormat;
    use crate::transcript::TranscriptReader;

    const CAPTURE: &[u8] = include_bytes!("../../tests/captures/claude-session-2.1.330.jsonl");

    fn totals(since: Option<&str>) -> TranscriptTotals {
        let since = since.map(|text| instant::parse_rfc3339(text).unwrap());
        let mut reader = TranscriptReader::new(TranscriptFormat::ClaudeSession, since);
        reader.feed(CAPTURE);
        reader.finish()
    }

    #[test]
    fn a_session_is_summed_up_with_each_message_once() {
        let totals = totals(None);
        assert_eq!(
            totals.usage,
            Some(Usage {
                input_tokens: 3060,
                cached_input_tokens: 2700,
                cache_write_tokens: 60,
                output_tokens: 126,
                reasoning_tokens: 0,
                cost_micro_usd: Some(4560),
            })
        );
        assert_eq!(
            totals.session_id.as_deref(),
            Some("03949d95-b1d5-47ac-aca2-73cb0387ba36")
        );
        assert_eq!(totals.model.as_deref(), Some("claude-opus-5-5"));
        assert_eq!(
            (totals.version.as_deref(), totals.folder.as_deref()),
            (Some("2.1.330"), Some("/w"))
        );
        assert_eq!((totals.turns, totals.tools), (1, 2));
        assert_eq!(
            totals.last_message.as_deref(),
            Some("Done: wrote a.txt and b.txt.")
        );
        assert_eq!(
            totals.started_at.map(Timestamp::as_millis),
            Some(1_795_452_784_846)
        );
        assert_eq!(totals.ended_at.map(Timestamp::as_millis), Some(1_795_452_785_216));
        assert!(totals.counts.unknown.is_empty() && totals.counts.unparsable == 0);
    }

    #[test]
    fn a_resumed_run_counts_from_its_start() {
        let totals = totals(Some("2026-11-23T16:53:05.100Z"));
        assert_eq!(totals.usage.map(|usage| usage.output_tokens), Some(84));
        assert_eq!((totals.turns, totals.tools), (0, 1));
    }
}

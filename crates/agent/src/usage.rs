//! Tokens and money of a run. Owns how the programs' different ways of counting become one, and that nothing is counted
//! twice.

use std::collections::VecDeque;

use serde_json::Value;

use crate::event::clip_to;
use crate::json;

/// Messages whose usage may still be repeated by a later line. Repetitions follow closely; of an older message than
/// this a repetition would count twice.
const OPEN_MESSAGES_MAX: usize = 1024;
/// Characters of a message's identifier that are told apart.
const MESSAGE_ID_CHARS_MAX: usize = 128;

/// Tokens and money.
///
/// Shape: `input_tokens` holds all that the model read, so `cached_input_tokens` and `cache_write_tokens` are parts of
/// it (as codex counts; claude's three numbers are added up); `reasoning_tokens` is a part of `output_tokens`.
/// Units: tokens; millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All tokens read.
    pub input_tokens: u64,
    /// Those of them that came from the provider's cache.
    pub cached_input_tokens: u64,
    /// Those of them that were written to the provider's cache.
    pub cache_write_tokens: u64,
    /// All tokens written.
    pub output_tokens: u64,
    /// Those of them that were thought only.
    pub reasoning_tokens: u64,
    /// The price, where the program says one.
    pub cost_micro_usd: Option<u64>,
}

impl Usage {
    fn zip(self, other: Self, each: fn(u64, u64) -> u64) -> Self {
        let cost = match (self.cost_micro_usd, other.cost_micro_usd) {
            (None, None) => None,
            (one, two) => Some(each(one.unwrap_or(0), two.unwrap_or(0))),
        };
        Self {
            input_tokens: each(self.input_tokens, other.input_tokens),
            cached_input_tokens: each(self.cached_input_tokens, other.cached_input_tokens),
            cache_write_tokens: each(self.cache_write_tokens, other.cache_write_tokens),
            output_tokens: each(self.output_tokens, other.output_tokens),
            reasoning_tokens: each(self.reasoning_tokens, other.reasoning_tokens),
            cost_micro_usd: cost,
        }
    }

    /// Returns the sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// Returns what is left after `other`; nothing goes below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// Returns the larger of each number.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    /// True if no number is larger than that of `other`; a price counts only if both have one.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        let costs = match (self.cost_micro_usd, other.cost_micro_usd) {
            (Some(one), Some(two)) => one <= two,
            _ => true,
        };
        costs
            && self.input_tokens <= other.input_tokens
            && self.cached_input_tokens <= other.cached_input_tokens
            && self.cache_write_tokens <= other.cache_write_tokens
            && self.output_tokens <= other.output_tokens
            && self.reasoning_tokens <= other.reasoning_tokens
    }

    /// Reads the usage object that codex writes, on its stream and in its rollouts.
    pub(crate) fn from_codex(value: &Value) -> Self {
        let count = |name| json::count(value, name).unwrap_or(0);
        Self {
            input_tokens: count("input_tokens"),
            cached_input_tokens: count("cached_input_tokens"),
            cache_write_tokens: count("cache_write_input_tokens"),
            output_tokens: count("output_tokens"),
            reasoning_tokens: count("reasoning_output_tokens"),
            cost_micro_usd: None,
        }
    }

    /// Reads the usage object of one message of the Anthropic API.
    pub(crate) fn from_anthropic(value: &Value) -> Self {
        let count = |name| json::count(value, name).unwrap_or(0);
        let (cached, written) = (
            count("cache_read_input_tokens"),
            count("cache_creation_input_tokens"),
        );
        Self {
            input_tokens: count("input_tokens")
                .saturating_add(cached)
                .saturating_add(written),
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: count("output_tokens"),
            reasoning_tokens: json::at(value, "/output_tokens_details/thinking_tokens")
                .map_or(0, json::whole),
            cost_micro_usd: None,
        }
    }

    /// Reads claude's `modelUsage`: one object for each model, subagents and all. `None` if it is no such object.
    pub(crate) fn from_claude_models(value: &Value) -> Option<Self> {
        let models = value.as_object()?;
        let each = models.values().map(|model| {
            let count = |name| json::count(model, name).unwrap_or(0);
            let (cached, written) = (count("cacheReadInputTokens"), count("cacheCreationInputTokens"));
            Self {
                input_tokens: count("inputTokens")
                    .saturating_add(cached)
                    .saturating_add(written),
                cached_input_tokens: cached,
                cache_write_tokens: written,
                output_tokens: count("outputTokens"),
                reasoning_tokens: count("thinkingTokens"),
                cost_micro_usd: model.get("costUSD").and_then(json::micro_usd),
            }
        });
        each.reduce(Self::plus)
    }
}

/// All of a run so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageTotal {
    /// Since the run's process began; what earlier runs of a resumed session used is not in it.
    pub usage: Usage,
    /// False while the program gave parts only: the true numbers are these or larger.
    pub exact: bool,
}

/// Adds up the usage of messages whose usage is written several times.
#[derive(Debug, Default)]
pub(crate) struct UsageByMessage {
    open: VecDeque<(String, Usage)>,
    total: Usage,
}

impl UsageByMessage {
    /// Takes one line's usage; of lines of the same message the larger numbers count.
    pub(crate) fn take(&mut self, message: &str, usage: Usage) {
        let id = clip_to(message, MESSAGE_ID_CHARS_MAX);
        if let Some((_, known)) = self.open.iter_mut().rev().find(|(open, _)| *open == id) {
            let larger = known.max(usage);
            self.total = self.total.plus(larger.minus(*known));
            *known = larger;
            return;
        }
        if self.open.len() == OPEN_MESSAGES_MAX {
            self.open.pop_front();
        }
        self.open.push_back((id, usage));
        self.total = self.total.plus(usage);
    }

    /// Returns the sum, or `None` if there was nothing.
    pub(crate) fn total(&self) -> Option<Usage> {
        (!self.open.is_empty()).then_some(self.total)
    }
}

/// Returns the part of a session's total that belongs to a run which resumed it at `earlier`.
///
/// Shape: a total that is not as large as `earlier` was begun anew by the program, and is all the run's.
pub(crate) fn since(total: Usage, earlier: Option<Usage>) -> Usage {
    match earlier {
        Some(earlier) if earlier.within(total) => total.minus(earlier),
        _ => total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, output: u64) -> Usage {
        Usage {
            input_tokens: input,
            output_tokens: output,
            ..Usage::default()
        }
    }

    #[test]
    fn a_message_counts_once_with_its_largest_numbers() {
        let mut messages = UsageByMessage::default();
        assert_eq!(messages.total(), None);
        for (id, usage) in [
            ("a", tokens(10, 1)),
            ("b", tokens(7, 1)),
            ("a", tokens(10, 1)),
            ("a", tokens(10, 42)),
            ("a", tokens(10, 5)),
        ] {
            messages.take(id, usage);
        }
        assert_eq!(messages.total(), Some(tokens(17, 43)));
    }

    #[test]
    fn a_flood_of_messages_is_kept_within_its_bound() {
        let mut messages = UsageByMessage::default();
        for number in 0..OPEN_MESSAGES_MAX * 3 {
            messages.take(&format!("{number}{}", "x".repeat(1000)), tokens(1, 0));
        }
        assert_eq!(messages.open.len(), OPEN_MESSAGES_MAX);
        assert_eq!(
            messages.total().map(|usage| usage.input_tokens),
            Some(OPEN_MESSAGES_MAX as u64 * 3)
        );
    }

    #[test]
    fn a_resumed_total_is_the_runs_part_unless_it_began_anew() {
        assert_eq!(since(tokens(30, 9), Some(tokens(10, 4))), tokens(20, 5));
        assert_eq!(since(tokens(5, 9), Some(tokens(10, 4))), tokens(5, 9));
        assert_eq!(since(tokens(5, 9), None), tokens(5, 9));
    }
}

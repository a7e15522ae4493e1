//! The output of any other program.

use serde_json::Value;

use super::mapping::{CommandOutput, LineMapping};
use crate::event::{AgentEvent, Finished, SessionStart, clip};
use crate::failure::classify_text;
use crate::json;
use crate::line::Line;
use crate::stream::{StreamCounts, Taken};
use crate::usage::{Usage, UsageTotal};

/// What has to be remembered between lines.
#[derive(Debug)]
pub(crate) struct CommandStream {
    output: CommandOutput,
    usage: Usage,
    last_message: Option<String>,
}

impl CommandStream {
    pub(crate) fn new(output: CommandOutput) -> Self {
        Self {
            output,
            usage: Usage::default(),
            last_message: None,
        }
    }

    /// Takes one line; `None` if it should have been JSON and is not.
    pub(crate) fn take(
        &mut self,
        line: &Line<'_>,
        counts: &mut StreamCounts,
        events: &mut Vec<AgentEvent>,
    ) -> Option<Taken> {
        match &self.output {
            CommandOutput::Lines => events.push(AgentEvent::Message {
                text: clip(&String::from_utf8_lossy(line.bytes)),
                subagent: false,
            }),
            CommandOutput::Json(mapping) => {
                let mapping = mapping.clone();
                let value = counts.json(line)?;
                self.mapped(&mapping, &value, events);
            }
        }
        Some(Taken::Known)
    }

    fn mapped(&mut self, mapping: &LineMapping, line: &Value, events: &mut Vec<AgentEvent>) {
        let text = |pointer: &Option<String>| json::at(line, pointer.as_deref()?)?.as_str().map(clip);
        let (session_id, model) = (text(&mapping.session), text(&mapping.model));
        if session_id.is_some() || model.is_some() {
            events.push(AgentEvent::SessionStarted(SessionStart {
                session_id,
                model,
                version: None,
            }));
        }
        if let Some(text) = text(&mapping.message) {
            self.last_message = Some(text.clone());
            events.push(AgentEvent::Message {
                text,
                subagent: false,
            });
        }
        self.take_usage(mapping, line, events);
        let failure = text(&mapping.error).map(|error| classify_text(&error));
        let result = text(&mapping.result);
        if failure.is_some() || result.is_some() {
            events.push(AgentEvent::Finished(Finished {
                failure,
                final_text: result.or_else(|| self.last_message.clone()),
            }));
        }
    }

    fn take_usage(&mut self, mapping: &LineMapping, line: &Value, events: &mut Vec<AgentEvent>) {
        let number =
            |pointer: &Option<String>| json::at(line, pointer.as_deref()?).filter(|found| found.is_number());
        let count = |pointer| number(pointer).map(json::whole);
        let (input, output) = (count(&mapping.input_tokens), count(&mapping.output_tokens));
        let (cached, cost) = (
            count(&mapping.cached_input_tokens),
            number(&mapping.cost_usd).and_then(json::micro_usd),
        );
        if input.is_none() && output.is_none() && cached.is_none() && cost.is_none() {
            return;
        }
        let said = Usage {
            input_tokens: input.unwrap_or(0),
            cached_input_tokens: cached.unwrap_or(0),
            output_tokens: output.unwrap_or(0),
            cost_micro_usd: cost,
            ..Usage::default()
        };
        self.usage = if mapping.usage_is_total {
            self.usage.max(said)
        } else {
            self.usage.plus(said)
        };
        events.push(AgentEvent::Usage(UsageTotal {
            usage: self.usage,
            exact: true,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureClass;
    use crate::stream::StreamParser;

    fn mapping(usage_is_total: bool) -> CommandOutput {
        let at = |pointer: &str| Some(pointer.to_owned());
        CommandOutput::Json(Box::new(LineMapping {
            session: at("/id"),
            message: at("/text"),
            input_tokens: at("/use/in"),
            output_tokens: at("/use/out"),
            cost_usd: at("/usd"),
            usage_is_total,
            result: at("/done"),
            error: at("/error"),
            ..LineMapping::default()
        }))
    }

    #[test]
    fn plain_lines_are_messages() {
        let mut parser = StreamParser::command(CommandOutput::Lines);
        let events = parser.feed(b"{\"a\"\r\n\nb\xff");
        assert_eq!(events.len(), 1);
        parser.finish();
        assert_eq!(parser.summary().last_message.as_deref(), Some("b\u{fffd}"));
        assert_eq!((parser.counts().lines, parser.counts().unparsable), (2, 0));
    }

    #[test]
    fn json_lines_are_read_where_the_lane_points() {
        let text = b"{\"id\":\"s\",\"text\":\"hi\",\"use\":{\"in\":5,\"out\":1},\"usd\":0.5}\nnoise\n\
            {\"use\":{\"in\":7,\"out\":2},\"usd\":0.75}\n{\"text\":4,\"usd\":\"x\"}\n{\"done\":\"ok\"}\n";
        for (usage_is_total, input, cost) in [(true, 7, 750_000), (false, 12, 1_250_000)] {
            let mut parser = StreamParser::command(mapping(usage_is_total));
            parser.feed(text);
            let summary = parser.summary();
            let usage = summary.usage.unwrap().usage;
            assert_eq!((usage.input_tokens, usage.cost_micro_usd), (input, Some(cost)));
            assert_eq!(summary.session.session_id.as_deref(), Some("s"));
            assert_eq!(summary.last_message.as_deref(), Some("hi"));
            assert_eq!(
                summary.finished.clone().unwrap().final_text.as_deref(),
                Some("ok")
            );
            assert_eq!(parser.counts().unparsable, 1);
        }
    }

    #[test]
    fn an_error_is_sorted_by_its_text() {
        let mut parser = StreamParser::command(mapping(false));
        parser.feed(b"{\"error\":\"API Error: 529 overloaded\"}\n");
        let failure = parser.summary().finished.clone().unwrap().failure.unwrap();
        assert_eq!(failure.class, FailureClass::Overloaded);
    }
}

//! What an agent program writes, as events. Owns the choice of the dialect, the bound of a line and the count of what
//! was not understood; no line is ever fatal.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::acp::{AcpClient, PermissionPolicy};
use crate::claude::ClaudeStream;
use crate::codex::CodexStream;
use crate::command::{CommandOutput, CommandStream};
use crate::event::{AgentEvent, clip_to};
use crate::launch::LaunchRequest;
use crate::line::{Line, LineSieve};
use crate::summary::StreamSummary;
use crate::usage::Usage;

/// Kinds of lines nobody knows that are counted by name; further ones are counted together.
const UNKNOWN_KINDS_MAX: usize = 64;
/// The longest name of such a kind.
const UNKNOWN_KIND_CHARS_MAX: usize = 80;
/// The name further ones are counted under.
const OTHER_KINDS: &str = "…";

/// What was read and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// Lines that were not empty.
    pub lines: u64,
    /// Lines that are not JSON where JSON was expected.
    pub unparsable: u64,
    /// Lines that were too long and are read in part.
    pub cut: u64,
    /// Bytes left out of those.
    pub cut_bytes: u64,
    /// Lines that show that the program does something; trying again and complaining is not that.
    pub signs_of_life: u64,
    /// Lines of kinds that are not known, by kind.
    pub unknown: BTreeMap<String, u64>,
}

impl StreamCounts {
    pub(crate) fn begin(&mut self, line: &Line<'_>) {
        self.lines += 1;
        self.cut += u64::from(line.lost > 0);
        self.cut_bytes += line.lost;
    }

    pub(crate) fn unknown(&mut self, kind: &str) {
        let mut name = clip_to(kind, UNKNOWN_KIND_CHARS_MAX);
        if !self.unknown.contains_key(&name) && self.unknown.len() >= UNKNOWN_KINDS_MAX {
            OTHER_KINDS.clone_into(&mut name);
        }
        *self.unknown.entry(name).or_default() += 1;
    }

    /// Reads a line as JSON, or counts it.
    pub(crate) fn json(&mut self, line: &Line<'_>) -> Option<Value> {
        let value = serde_json::from_slice(line.bytes);
        if value.is_err() {
            self.unparsable += 1;
        }
        // The error's place in a line that nobody keeps says nothing; the count does.
        value.ok()
    }
}

/// Whether a line's kind is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Known,
    Unknown(String),
}

#[derive(Debug)]
enum Dialect {
    Codex(CodexStream),
    Claude(ClaudeStream),
    Acp(Box<AcpClient>),
    Command(CommandStream),
}

/// Reads what one agent program writes on its standard output.
///
/// Shape: the events hang on the bytes alone, not on how they are cut. Memory stays below a few tens of megabytes
/// whatever is fed.
#[derive(Debug)]
pub struct StreamParser {
    lines: LineSieve,
    dialect: Dialect,
    counts: StreamCounts,
    summary: StreamSummary,
}

impl StreamParser {
    fn new(dialect: Dialect) -> Self {
        Self {
            lines: LineSieve::new(),
            dialect,
            counts: StreamCounts::default(),
            summary: StreamSummary::default(),
        }
    }

    pub(crate) fn codex() -> Self {
        Self::new(Dialect::Codex(CodexStream::default()))
    }

    pub(crate) fn claude(earlier: Option<Usage>) -> Self {
        Self::new(Dialect::Claude(ClaudeStream::new(earlier)))
    }

    pub(crate) fn acp(request: &LaunchRequest, permission: PermissionPolicy) -> Self {
        Self::new(Dialect::Acp(Box::new(AcpClient::new(request, permission))))
    }

    pub(crate) fn command(output: CommandOutput) -> Self {
        Self::new(Dialect::Command(CommandStream::new(output)))
    }

    /// Takes bytes and returns what they say.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        let (dialect, counts) = (&mut self.dialect, &mut self.counts);
        self.lines
            .feed(bytes, &mut |line| take_line(dialect, counts, &line, &mut events));
        self.note(events)
    }

    /// Takes the end of the output: a last line without its end, and what was still held together.
    pub fn finish(&mut self) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        let (dialect, counts) = (&mut self.dialect, &mut self.counts);
        self.lines
            .end_line(&mut |line| take_line(dialect, counts, &line, &mut events));
        if let Dialect::Acp(client) = &mut self.dialect {
            client.finish(&mut events);
        }
        self.note(events)
    }

    /// Returns bytes for the program's standard input, each once; empty for programs that are not answered.
    ///
    /// Shape: whole lines. There may be some before anything was fed and after each [`Self::feed`].
    pub fn take_replies(&mut self) -> Vec<u8> {
        match &mut self.dialect {
            Dialect::Acp(client) => client.take_frames(),
            Dialect::Codex(_) | Dialect::Claude(_) | Dialect::Command(_) => Vec::new(),
        }
    }

    /// Asks the program to stop, if it can be asked: what to write is in [`Self::take_replies`] then.
    ///
    /// Shape: false if it cannot be, and has to be ended by a signal.
    pub fn cancel(&mut self) -> bool {
        match &mut self.dialect {
            Dialect::Acp(client) => client.cancel(),
            Dialect::Codex(_) | Dialect::Claude(_) | Dialect::Command(_) => false,
        }
    }

    /// Returns what was read and what was not.
    #[must_use]
    pub const fn counts(&self) -> &StreamCounts {
        &self.counts
    }

    /// Returns what all events together say.
    #[must_use]
    pub const fn summary(&self) -> &StreamSummary {
        &self.summary
    }

    fn note(&mut self, events: Vec<AgentEvent>) -> Vec<AgentEvent> {
        for event in &events {
            self.summary.apply(event);
        }
        events
    }
}

fn take_line(
    dialect: &mut Dialect,
    counts: &mut StreamCounts,
    line: &Line<'_>,
    events: &mut Vec<AgentEvent>,
) {
    counts.begin(line);
    let before = events.len();
    let taken = match dialect {
        Dialect::Command(stream) => stream.take(line, counts, events),
        Dialect::Codex(stream) => counts.json(line).map(|value| stream.take(&value, events)),
        Dialect::Claude(stream) => counts.json(line).map(|value| stream.take(&value, events)),
        Dialect::Acp(client) => counts.json(line).map(|value| client.take(&value, events)),
    };
    let new = &events[before..];
    if taken.is_some() && (new.is_empty() || new.iter().any(AgentEvent::is_sign_of_life)) {
        counts.signs_of_life += 1;
    }
    if let Some(Taken::Unknown(kind)) = taken {
        counts.unknown(&kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_nobody_knows_are_counted_within_a_bound() {
        let mut parser = StreamParser::codex();
        let mut text = String::from("not json\n{\"no\":\"type\"}\n");
        for number in 0..UNKNOWN_KINDS_MAX * 2 {
            text.push_str(&format!("{{\"type\":\"new{}.{number}\"}}\n", "w".repeat(200)));
            text.push_str(&format!("{{\"type\":\"{number}\"}}\n"));
        }
        assert_eq!(parser.feed(text.as_bytes()), []);
        let counts = parser.counts();
        assert_eq!(
            (counts.lines, counts.unparsable),
            (2 + 4 * UNKNOWN_KINDS_MAX as u64, 1)
        );
        assert_eq!(counts.unknown.len(), UNKNOWN_KINDS_MAX + 1);
        assert_eq!(counts.unknown.values().sum::<u64>(), counts.lines - 1);
    }
}

//! Transcripts that agent programs write, summed up: who, when, how much. Used where a stream gave no usage. Owns the
//! fold over lines; keeps no line.

use gantry_core::time::Timestamp;

use crate::claude::SessionReader;
use crate::codex::RolloutReader;
use crate::event::RateLimit;
use crate::instant;
use crate::json;
use crate::launch::TranscriptFormat;
use crate::line::{Line, LineSieve};
use crate::stream::{StreamCounts, Taken};
use crate::usage::Usage;

/// Windows of limits that are kept.
const LIMITS_MAX: usize = 16;

/// What a transcript says in sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TranscriptTotals {
    /// What the session is resumed by.
    pub session_id: Option<String>,
    /// The model that was at work last.
    pub model: Option<String>,
    /// The program's version.
    pub version: Option<String>,
    /// The folder it worked in.
    pub folder: Option<String>,
    /// The first instant in it that counts.
    pub started_at: Option<Timestamp>,
    /// The last instant in it.
    pub ended_at: Option<Timestamp>,
    /// Prompts worked on.
    pub turns: u64,
    /// Tools used.
    pub tools: u64,
    /// Tokens, and money where the program writes it. `None`: it says nothing.
    pub usage: Option<Usage>,
    /// The agent's last message.
    pub last_message: Option<String>,
    /// The latest state of each of the provider's limits.
    pub rate_limits: Vec<RateLimit>,
    /// What was read and what was not.
    pub counts: StreamCounts,
}

impl TranscriptTotals {
    pub(crate) fn note_limit(&mut self, limit: RateLimit) {
        let known = self
            .rate_limits
            .iter()
            .position(|known| known.window == limit.window);
        match known {
            Some(known) => self.rate_limits[known] = limit,
            None if self.rate_limits.len() < LIMITS_MAX => self.rate_limits.push(limit),
            None => {}
        }
    }
}

#[derive(Debug)]
enum Reader {
    Codex(RolloutReader),
    Claude(SessionReader),
    Opaque,
}

/// Sums up one transcript.
#[derive(Debug)]
pub struct TranscriptReader {
    lines: LineSieve,
    reader: Reader,
    since: Option<Timestamp>,
    totals: TranscriptTotals,
}

impl TranscriptReader {
    /// Begins at the start of a file.
    ///
    /// Shape: turns, tools and usage count only from `since` on, for runs that resumed a session. Of an opaque
    /// transcript only the lines are counted.
    #[must_use]
    pub fn new(format: TranscriptFormat, since: Option<Timestamp>) -> Self {
        Self {
            lines: LineSieve::new(),
            reader: match format {
                TranscriptFormat::CodexRollout => Reader::Codex(RolloutReader::default()),
                TranscriptFormat::ClaudeSession => Reader::Claude(SessionReader::default()),
                TranscriptFormat::Opaque => Reader::Opaque,
            },
            since,
            totals: TranscriptTotals::default(),
        }
    }

    /// Takes more of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        let (reader, totals, since) = (&mut self.reader, &mut self.totals, self.since);
        self.lines
            .feed(bytes, &mut |line| take_line(reader, since, totals, &line));
    }

    /// Takes the end of the file and returns the sum.
    #[must_use]
    pub fn finish(mut self) -> TranscriptTotals {
        let (reader, totals, since) = (&mut self.reader, &mut self.totals, self.since);
        self.lines
            .end_line(&mut |line| take_line(reader, since, totals, &line));
        self.totals
    }
}

fn take_line(reader: &mut Reader, since: Option<Timestamp>, totals: &mut TranscriptTotals, line: &Line<'_>) {
    totals.counts.begin(line);
    if matches!(reader, Reader::Opaque) {
        return;
    }
    let Some(value) = totals.counts.json(line) else {
        return;
    };
    let at = json::text(&value, "timestamp").and_then(instant::parse_rfc3339);
    let counts = match (since, at) {
        (Some(since), Some(at)) => at >= since,
        // A line without a time tells nothing about when it was.
        (Some(_), None) => false,
        (None, _) => true,
    };
    if counts && let Some(at) = at {
        totals.started_at = Some(totals.started_at.map_or(at, |known| known.min(at)));
        totals.ended_at = Some(totals.ended_at.map_or(at, |known| known.max(at)));
    }
    let taken = match reader {
        Reader::Codex(rollout) => rollout.take(&value, counts, totals),
        Reader::Claude(session) => session.take(&value, counts, at.is_some() || since.is_none(), totals),
        Reader::Opaque => Taken::Known,
    };
    if let Taken::Unknown(kind) = taken {
        totals.counts.unknown(&kind);
    }
}

//! The lines of a failing check's log that a person needs. Owns the choice; reads the log as a stream, so its
//! size does not matter, and must never keep more than the bounds.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::sync::LazyLock;

use gantry_core::limits::{EVIDENCE_LINE_CHARS_MAX, EVIDENCE_LINES_MAX};
use regex::bytes::Regex;

/// How many of the lines may be ones that name a failure; the rest are the log's last lines.
const NAMING_LINES_MAX: usize = EVIDENCE_LINES_MAX * 3 / 5;
/// How much of one line is read; the rest of it is skipped.
const LINE_BYTES_MAX: usize = 16 * 1024;

static NAMES_A_FAILURE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i-u)\b(error|errors|fail|fails|failed|failure|failures|fatal|panicked|panic|assert\w*|exception|traceback|abort|aborted|segmentation|undefined|not ok|cannot)\b|(?-u:E {3}\S)")
        .expect("the pattern is a constant")
});
static NAMES_NO_FAILURE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i-u)\b(0|no) (error|errors|failed|failures|failure)\b").expect("the pattern is a constant")
});
/// Terminal sequences: CSI, OSC, and two-character escapes.
static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\^_])")
        .expect("the pattern is a constant")
});

/// Chooses the lines of a log that matter for a failure.
///
/// Shape: in the log's order, each line once, without control characters, blank lines left out; the first ones
/// that name a failure, and the last ones. Errors: what the system said while reading.
pub fn choose_evidence(mut log: impl BufRead) -> io::Result<Vec<String>> {
    let mut naming: Vec<(usize, String)> = Vec::new();
    let mut last: VecDeque<(usize, String)> = VecDeque::with_capacity(EVIDENCE_LINES_MAX + 1);
    let mut number = 0;
    while let Some(raw) = read_line(&mut log)? {
        number += 1;
        let line = show_line(&raw);
        if line.is_empty() {
            continue;
        }
        let names = NAMES_A_FAILURE.is_match(line.as_bytes()) && !NAMES_NO_FAILURE.is_match(line.as_bytes());
        if names && naming.len() < NAMING_LINES_MAX {
            naming.push((number, line.clone()));
        }
        last.push_back((number, line));
        if last.len() > EVIDENCE_LINES_MAX {
            last.pop_front();
        }
    }
    let last_number = last.front().map_or(0, |(number, _)| *number);
    naming.retain(|(number, _)| *number < last_number);
    let room = EVIDENCE_LINES_MAX - naming.len();
    let skip = last.len().saturating_sub(room);
    let dropped: Vec<_> = last.drain(..skip).collect();
    drop(dropped);
    Ok(naming.into_iter().chain(last).map(|(_, line)| line).collect())
}

/// Reads one line of at most [`LINE_BYTES_MAX`] bytes and skips the rest of it; `None` at the end.
fn read_line(log: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let chunk = log.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any.then_some(line));
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&text[..text.len().min(LINE_BYTES_MAX.saturating_sub(line.len()))]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        log.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Returns a line as a person sees it: what a carriage return overwrote and what drives a terminal left out.
pub(super) fn show_line(raw: &[u8]) -> String {
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    let seen = raw.rsplit(|byte| *byte == b'\r').next().unwrap_or(raw);
    let plain = ESCAPES.replace_all(seen, &b""[..]);
    let text = String::from_utf8_lossy(&plain).replace('\t', "    ");
    // Directional marks would let a log line show other text than it holds.
    let is_shown =
        |c: &char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown: String = text.chars().filter(is_shown).collect();
    let shown = shown.trim_end();
    if shown.chars().count() <= EVIDENCE_LINE_CHARS_MAX {
        return shown.to_owned();
    }
    let mut cut: String = shown.chars().take(EVIDENCE_LINE_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &[u8], expected: &[&str]) {
        let lines = choose_evidence(log).expect("memory reads");
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_first_failures_and_the_last_lines_are_chosen() {
        let mut log = String::from("start\nerror[E0308]: mismatched types\n");
        for number in 0..100 {
            log.push_str(&format!("line {number}\n"));
        }
        log.push_str("test result: FAILED. 1 passed");
        let lines = choose_evidence(log.as_bytes()).expect("memory reads");
        assert_eq!(lines.len(), EVIDENCE_LINES_MAX);
        assert_eq!(lines[0], "error[E0308]: mismatched types");
        assert_eq!(lines[EVIDENCE_LINES_MAX - 1], "test result: FAILED. 1 passed");
    }

    #[test]
    fn a_short_log_is_shown_whole_and_once() {
        check(b"one\n\nerror: two\nthree", &["one", "error: two", "three"]);
    }

    #[test]
    fn nothing_that_drives_a_terminal_is_shown() {
        check(
            b"\x1b[31mred\x1b[0m\x07\n 10%\r 99%\rdone\r\n\x1b]0;title\x07x\xff\n",
            &["red", "done", "x\u{fffd}"],
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let lines = choose_evidence(&vec![b'a'; 5_000_000][..]).expect("memory reads");
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].chars().count(), EVIDENCE_LINE_CHARS_MAX);
    }

    #[test]
    fn a_line_that_counts_no_failures_names_none() {
        let mut log = String::from("0 errors, 0 failed\n");
        log.push_str(&"fine\n".repeat(50));
        let lines = choose_evidence(log.as_bytes()).expect("memory reads");
        assert!(lines.iter().all(|line| line == "fine"), "{lines:?}");
    }
}

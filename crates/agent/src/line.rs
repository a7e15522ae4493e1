//! Cuts a stream into lines and makes long ones short. Owns a buffer that never grows beyond
//! [`AGENT_LINE_BYTES_MAX`], whatever is fed; knows no meaning of any line.
//!
//! Of a line that is a JSON object long texts are cut, and members that still do not fit are left out, so that what
//! remains is JSON and its short members are there wherever they stand: programs write a line's `type` last, too.
//! Source: transcripts hold lines of 52 MiB (openai/codex issue 24948).

use gantry_core::limits::{AGENT_LINE_BYTES_MAX, AGENT_STRING_BYTES_MAX};

/// A line, or what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Without its end; at most [`AGENT_LINE_BYTES_MAX`] bytes.
    pub bytes: &'a [u8],
    /// How many bytes of it are left out.
    pub lost: u64,
}

/// Where in a JSON text an escape stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    /// Behind the backslash.
    Begun,
    /// In the digits of `\u`: how many are missing, and what they say so far.
    Digits(u8, u16),
}

/// Where in an object the next byte stands.
#[derive(Debug)]
struct Place {
    depth: u64,
    in_text: bool,
    escape: Escape,
    /// Bytes of the current text that were kept.
    text_kept: usize,
    /// The rest of the current text is left out.
    text_full: bool,
    /// The first half of a surrogate pair was kept, so the second has to be.
    half_pair: bool,
    /// The rest of the current member of the line's object is left out.
    skipping: bool,
    /// How much of what was kept are whole members of the line's object.
    whole: usize,
}

#[derive(Debug)]
enum Shape {
    /// Nothing but white space so far.
    Unknown,
    Object(Place),
    Plain,
}

/// Cuts one stream into lines.
#[derive(Debug)]
pub(crate) struct LineSieve {
    kept: Vec<u8>,
    lost: u64,
    shape: Shape,
}

impl LineSieve {
    /// Begins at the start of a line.
    pub(crate) fn new() -> Self {
        Self {
            kept: Vec::new(),
            lost: 0,
            shape: Shape::Unknown,
        }
    }

    /// Takes bytes and hands on each line that ends in them. Empty lines are handed on to nobody.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(Line<'_>)) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line(sink);
            } else {
                self.take(byte);
            }
        }
    }

    /// Hands on a last line without an end.
    pub(crate) fn end_line(&mut self, sink: &mut impl FnMut(Line<'_>)) {
        let kept = match self.kept.last() {
            Some(b'\r') => &self.kept[..self.kept.len() - 1],
            _ => &self.kept[..],
        };
        if !kept.is_empty() {
            sink(Line {
                bytes: kept,
                lost: self.lost,
            });
        }
        self.kept.clear();
        self.lost = 0;
        self.shape = Shape::Unknown;
    }

    fn take(&mut self, byte: u8) {
        match &mut self.shape {
            Shape::Unknown if matches!(byte, b' ' | b'\t' | b'\r') => {}
            Shape::Unknown => {
                self.kept.push(byte);
                self.shape = match byte {
                    b'{' => Shape::Object(Place::new()),
                    _ => Shape::Plain,
                };
            }
            Shape::Plain if self.kept.len() < AGENT_LINE_BYTES_MAX => self.kept.push(byte),
            Shape::Plain => self.lost += 1,
            Shape::Object(place) => place.take(byte, &mut self.kept, &mut self.lost),
        }
    }
}

impl Place {
    /// Stands behind the brace that opens the line's object.
    const fn new() -> Self {
        Self {
            depth: 1,
            in_text: false,
            escape: Escape::None,
            text_kept: 0,
            text_full: false,
            half_pair: false,
            skipping: false,
            whole: 1,
        }
    }

    fn take(&mut self, byte: u8, kept: &mut Vec<u8>, lost: &mut u64) {
        if self.in_text {
            self.take_text(byte, kept, lost);
            return;
        }
        match byte {
            b'"' => {
                self.in_text = true;
                self.text_kept = 0;
                self.keep(byte, kept, lost);
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.keep(byte, kept, lost);
            }
            b',' if self.depth == 1 => {
                self.skipping = false;
                self.whole = kept.len();
                // A comma belongs between members that are there; the first of those may have been left out.
                if kept.len() > 1 {
                    self.keep(byte, kept, lost);
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.skipping = false;
                }
                self.keep(byte, kept, lost);
            }
            _ => self.keep(byte, kept, lost),
        }
    }

    fn take_text(&mut self, byte: u8, kept: &mut Vec<u8>, lost: &mut u64) {
        let begins = self.escape == Escape::None && byte & 0xc0 != 0x80;
        if begins && byte == b'"' {
            self.in_text = false;
            self.text_full = false;
            self.half_pair = false;
            self.keep(byte, kept, lost);
            return;
        }
        // A text is cut before a character or an escape, never within one, nor within a pair of them.
        if begins && self.text_kept >= AGENT_STRING_BYTES_MAX && !(self.half_pair && byte == b'\\') {
            self.text_full = true;
        }
        self.follow_escape(byte);
        if self.text_full {
            *lost += 1;
        } else {
            self.text_kept += 1;
            self.keep(byte, kept, lost);
        }
    }

    fn follow_escape(&mut self, byte: u8) {
        self.escape = match (self.escape, byte) {
            (Escape::None, b'\\') => Escape::Begun,
            (Escape::None, _) => {
                self.half_pair = false;
                Escape::None
            }
            (Escape::Begun, b'u') => Escape::Digits(4, 0),
            (Escape::Begun, _) => {
                self.half_pair = false;
                Escape::None
            }
            (Escape::Digits(missing, so_far), byte) => {
                let digit = char::from(byte)
                    .to_digit(16)
                    .and_then(|digit| u16::try_from(digit).ok());
                let value = (so_far << 4) | digit.unwrap_or(0);
                if missing == 1 {
                    self.half_pair = (0xd800..0xdc00).contains(&value);
                    Escape::None
                } else {
                    Escape::Digits(missing - 1, value)
                }
            }
        };
    }

    fn keep(&mut self, byte: u8, kept: &mut Vec<u8>, lost: &mut u64) {
        if self.skipping {
            *lost += 1;
            return;
        }
        // The brace that closes the line's object always finds room, for all else one byte less is there.
        let closes = self.depth == 0 && byte == b'}' && !self.in_text && kept.len() < AGENT_LINE_BYTES_MAX;
        if closes || kept.len() < AGENT_LINE_BYTES_MAX - 1 {
            kept.push(byte);
            return;
        }
        if self.depth > 0 {
            *lost += (kept.len() - self.whole) as u64;
            kept.truncate(self.whole);
            self.skipping = true;
        }
        *lost += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns the lines of `text`, fed in pieces of `size` bytes, as text and with what was lost.
    fn lines(text: &[u8], size: usize) -> Vec<(Vec<u8>, u64)> {
        let mut found = Vec::new();
        let mut sieve = LineSieve::new();
        let mut sink = |line: Line<'_>| found.push((line.bytes.to_vec(), line.lost));
        for piece in text.chunks(size) {
            sieve.feed(piece, &mut sink);
        }
        sieve.end_line(&mut sink);
        assert!(sieve.kept.capacity() <= 2 * AGENT_LINE_BYTES_MAX);
        found
    }

    #[track_caller]
    fn check(text: &str, expected: &Value) {
        let found = lines(text.as_bytes(), 4093);
        assert_eq!(found.len(), 1);
        assert!(found[0].0.len() <= AGENT_LINE_BYTES_MAX);
        let kept = found[0].0.len() as u64;
        assert!(found[0].1 > 0 && found[0].1 + kept <= text.len() as u64);
        let value: Value = serde_json::from_slice(&found[0].0).unwrap();
        assert_eq!(value, *expected);
    }

    #[test]
    fn short_lines_are_handed_on_as_they_are() {
        let text = b"\n {\"a\":[1,\"\\\"}\"]}\r\nplain {\n\nlast";
        let expected = [&b"{\"a\":[1,\"\\\"}\"]}"[..], b"plain {", b"last"].map(|line| (line.to_vec(), 0));
        for size in 1..=text.len() {
            assert_eq!(lines(text, size), expected);
        }
    }

    #[test]
    fn a_plain_line_is_cut_at_its_bound() {
        let text = "x".repeat(AGENT_LINE_BYTES_MAX + 7);
        let found = lines(text.as_bytes(), 4093);
        assert_eq!((found[0].0.len(), found[0].1), (AGENT_LINE_BYTES_MAX, 7));
    }

    #[test]
    fn a_long_text_is_cut_and_what_follows_it_is_there() {
        let long = "y".repeat(AGENT_STRING_BYTES_MAX * 8);
        check(
            &format!(r#"{{"result":"{long}","type":"result"}}"#),
            &json!({"result": "y".repeat(AGENT_STRING_BYTES_MAX), "type": "result"}),
        );
    }

    #[test]
    fn a_text_is_cut_between_characters_and_pairs_of_escapes() {
        let filler = AGENT_STRING_BYTES_MAX - 1;
        let tail = "z".repeat(100);
        for (middle, kept) in [
            ("ä", "ä"),
            ("\\n", "\n"),
            ("\\u00e4", "ä"),
            ("\\ud83d\\ude00", "😀"),
            ("🙂", "🙂"),
        ] {
            let text = format!(r#"{{"a":"{}{middle}{tail}","b":1}}"#, "x".repeat(filler));
            check(
                &text,
                &json!({"a": format!("{}{kept}", "x".repeat(filler)), "b": 1}),
            );
        }
    }

    #[test]
    fn members_that_do_not_fit_are_left_out_wherever_they_stand() {
        let big = format!("[{}0]", "0,".repeat(AGENT_LINE_BYTES_MAX));
        let rest = json!({"a": {"b": [1]}, "type": "t"});
        for text in [
            format!(r#"{{"big":{big},"a":{{"b":[1]}},"type":"t"}}"#),
            format!(r#"{{"a":{{"b":[1]}},"big":{{"x":{big}}},"type":"t"}}"#),
            format!(r#"{{"a":{{"b":[1]}},"type":"t","big":{big}}}"#),
        ] {
            check(&text, &rest);
        }
        check(&format!(r#"{{"big":{big}}}"#), &json!({}));
    }

    #[test]
    fn a_line_full_to_the_brim_still_closes() {
        for extra in 0..4 {
            let count = AGENT_LINE_BYTES_MAX - 12 + extra;
            let text = format!(r#"{{"a":[{}],"b":2}}"#, " ".repeat(count));
            let found = lines(text.as_bytes(), 4093);
            let value: Value = serde_json::from_slice(&found[0].0).unwrap();
            assert!(found[0].0.len() <= AGENT_LINE_BYTES_MAX);
            assert!(value == json!({"a": []}) || value == json!({"b": 2}), "{value}");
        }
    }
}

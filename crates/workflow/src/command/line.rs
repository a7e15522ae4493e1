//! Cuts a stream into lines. Owns no meaning; keeps at most [`LINE_BYTES_MAX`] bytes and loses none.

/// The longest line that is handed on whole; of a longer one the pieces are, and it is no command.
///
/// Units: bytes. Source: sixteen times the longest secret that can be masked, so that `add-mask` always fits.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// A line, or a piece of one that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole line without its end.
    Line(&'a [u8]),
    /// The beginning of a line that is too long.
    LongStart(&'a [u8]),
    /// More of it.
    LongMore(&'a [u8]),
    /// Its end.
    LongEnd(&'a [u8]),
}

/// Cuts the bytes of one stream at `\n`, `\r\n` and `\r`, in pieces that hang on the bytes alone and not on how they
/// were read.
#[derive(Debug, Default)]
pub struct LineSplitter {
    held: Vec<u8>,
    /// A line end `\r` has been seen: a `\n` that follows belongs to it.
    after_return: bool,
    /// The beginning of the line has been handed on.
    long: bool,
}

impl LineSplitter {
    /// Starts a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on every line that they end.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                rest = after;
                continue;
            }
            // A line of exactly the limit is whole: only the byte beyond it makes it long.
            let room = LINE_BYTES_MAX - self.held.len();
            let end = memchr::memchr2(b'\r', b'\n', &rest[..rest.len().min(room + 1)]);
            if let Some(end) = end {
                self.held.extend_from_slice(&rest[..end]);
                each(if self.long {
                    Piece::LongEnd(&self.held)
                } else {
                    Piece::Line(&self.held)
                });
                self.long = false;
                self.held.clear();
                self.after_return = rest[end] == b'\r';
                rest = &rest[end + 1..];
                continue;
            }
            let (taken, left) = rest.split_at(room.min(rest.len()));
            self.held.extend_from_slice(taken);
            rest = left;
            if !rest.is_empty() {
                each(if self.long {
                    Piece::LongMore(&self.held)
                } else {
                    Piece::LongStart(&self.held)
                });
                self.long = true;
                self.held.clear();
            }
        }
    }

    /// Ends the stream: hands on a last line that has no end of its own.
    pub fn finish(&mut self, mut each: impl FnMut(Piece<'_>)) {
        let Self { held, long, .. } = std::mem::take(self);
        if long {
            each(Piece::LongEnd(&held));
        } else if !held.is_empty() {
            each(Piece::Line(&held));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(parts: &[&[u8]]) -> Vec<(char, Vec<u8>)> {
        let (mut splitter, mut all) = (LineSplitter::new(), Vec::new());
        let mut each = |piece: Piece<'_>| {
            all.push(match piece {
                Piece::Line(bytes) => ('l', bytes.to_vec()),
                Piece::LongStart(bytes) => ('s', bytes.to_vec()),
                Piece::LongMore(bytes) => ('m', bytes.to_vec()),
                Piece::LongEnd(bytes) => ('e', bytes.to_vec()),
            });
        };
        parts.iter().for_each(|part| splitter.push(part, &mut each));
        splitter.finish(&mut each);
        all
    }

    fn check(text: &[u8], expected: &[&[u8]]) {
        let expected: Vec<_> = expected.iter().map(|line| ('l', line.to_vec())).collect();
        assert_eq!(pieces(&[text]), expected, "{text:?}");
        for cut in 0..=text.len() {
            assert_eq!(
                pieces(&[&text[..cut], &text[cut..]]),
                expected,
                "{text:?} cut at {cut}"
            );
        }
        assert_eq!(
            pieces(&text.chunks(1).collect::<Vec<_>>()),
            expected,
            "{text:?} byte by byte"
        );
    }

    #[test]
    fn lines_end_at_line_feed_return_or_both_wherever_the_reads_were_cut() {
        check(b"a\nb\r\nc\rd", &[b"a", b"b", b"c", b"d"]);
        check(b"\n\r\n\r\r\n\n", &[b"", b"", b"", b"", b""]);
        check(b"", &[]);
        check(b"10%\r20%\r\xff\xfe\n", &[b"10%", b"20%", b"\xff\xfe"]);
    }

    #[test]
    fn a_line_beyond_the_limit_comes_in_pieces_that_are_its_bytes() {
        for extra in [0, 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1] {
            let mut text = vec![b'x'; LINE_BYTES_MAX + extra];
            text.extend_from_slice(b"\nnext\n");
            let whole = pieces(&[&text]);
            let kinds: String = whole.iter().map(|(kind, _)| *kind).collect();
            let expected = if extra == 0 {
                "ll"
            } else if extra <= LINE_BYTES_MAX {
                "sel"
            } else {
                "smel"
            };
            assert_eq!(kinds, expected, "{extra} more");
            assert!(whole.iter().all(|(_, bytes)| bytes.len() <= LINE_BYTES_MAX));
            let joined: usize = whole[..whole.len() - 1]
                .iter()
                .map(|(_, bytes)| bytes.len())
                .sum();
            assert_eq!(joined, LINE_BYTES_MAX + extra);
            assert_eq!(
                pieces(&text.chunks(1000).collect::<Vec<_>>()),
                whole,
                "{extra} more in small reads"
            );
        }
    }
}

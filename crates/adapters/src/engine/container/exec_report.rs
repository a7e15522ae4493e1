//! What the shell around a command says on the command's own stream: its number in front, the mark and the exit code
//! behind. Owns telling these from the command's output; must never hold back more than a mark's length.

/// Reads the stream of one command.
#[derive(Debug)]
pub(super) struct ExecReader {
    /// The mark as it stands before the exit code.
    mark: Vec<u8>,
    held: Vec<u8>,
    pid: Option<u32>,
    code: Option<i32>,
}

/// What every mark starts with: the record separator.
pub(super) const MARK_START: char = '\u{1e}';
/// How much is kept while the first line is not complete.
const FIRST_LINE_BYTES_MAX: usize = 32;

impl ExecReader {
    /// Makes a reader that waits for a mark.
    pub(super) fn new(mark: &str) -> Self {
        Self {
            mark: format!("{mark} ").into_bytes(),
            held: Vec::new(),
            pid: None,
            code: None,
        }
    }

    /// Returns the shell's process number in the box, once it was said; it leads the command's session.
    pub(super) const fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Returns the exit code the shell saw, once it was said; what follows is not the command's.
    pub(super) const fn code(&self) -> Option<i32> {
        self.code
    }

    /// Takes a piece of the stream and returns what of it is certainly output.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.code.is_some() {
            return Vec::new();
        }
        self.held.extend_from_slice(piece);
        if self.pid.is_none() && !self.take_first_line() {
            return Vec::new();
        }
        let mut from = 0;
        let start = self.mark[0];
        while let Some(found) = self.held[from..].iter().position(|byte| *byte == start) {
            let at = from + found;
            let rest = &self.held[at..];
            let common = rest.len().min(self.mark.len());
            if rest[..common] == self.mark[..common] {
                return self.take_mark(at);
            }
            from = at + 1;
        }
        std::mem::take(&mut self.held)
    }

    /// Returns what was held back because a mark might have come, at the stream's end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        if self.code.is_some() {
            Vec::new()
        } else {
            std::mem::take(&mut self.held)
        }
    }

    fn take_first_line(&mut self) -> bool {
        let end = self.held.iter().position(|byte| *byte == b'\n');
        match end {
            Some(end) => {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                let number = String::from_utf8_lossy(&line).trim().parse();
                // Anything else is the daemon's own complaint: output of a command that has no number.
                match number {
                    Ok(number) => self.pid = Some(number),
                    Err(_) => {
                        self.pid = Some(0);
                        self.held.splice(..0, line);
                    }
                }
                true
            }
            None if self.held.len() > FIRST_LINE_BYTES_MAX => {
                self.pid = Some(0);
                true
            }
            None => false,
        }
    }

    /// Takes the exit code behind a mark if it is complete, and returns the output before it.
    fn take_mark(&mut self, at: usize) -> Vec<u8> {
        let after = at + self.mark.len();
        if let Some(rest) = self.held.get(after..)
            && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        {
            self.code = String::from_utf8_lossy(&rest[..end])
                .trim()
                .parse()
                .ok()
                .or(Some(-1));
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let tail = self.held.split_off(at);
        std::mem::replace(&mut self.held, tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a stream cut into pieces of every length.
    fn check(stream: &[u8], output: &[u8], pid: Option<u32>, code: Option<i32>) {
        for length in 1..=stream.len() {
            let mut reader = ExecReader::new("\u{1e}MARK");
            let mut found = Vec::new();
            for piece in stream.chunks(length) {
                found.extend(reader.take(piece));
            }
            found.extend(reader.finish());
            assert_eq!(found, output, "{length}: {}", String::from_utf8_lossy(&found));
            assert_eq!((reader.pid(), reader.code()), (pid, code), "{length}");
        }
    }

    #[test]
    fn output_is_told_from_what_stands_around_it_however_it_is_cut() {
        check(b"12\nhello\n\x1eMARK 0\n", b"hello\n", Some(12), Some(0));
        check(
            b"12\nno newline\x1eMARK 137\n",
            b"no newline",
            Some(12),
            Some(137),
        );
        check(b"12\n\x1eMARK 3\n", b"", Some(12), Some(3));
        check(
            b"12\n\x1e\x1eMAR\n\x1eMARK 1\nafter",
            b"\x1e\x1eMAR\n",
            Some(12),
            Some(1),
        );
        check(
            b"12\n\xff\x00\n\n\x1eMARK 1\n",
            b"\xff\x00\n\n",
            Some(12),
            Some(1),
        );
    }

    #[test]
    fn a_stream_that_breaks_off_loses_nothing() {
        check(b"12\nhello\n\x1eMARK ", b"hello\n\x1eMARK ", Some(12), None);
        check(b"12\n", b"", Some(12), None);
        check(
            b"OCI runtime exec failed\n",
            b"OCI runtime exec failed\n",
            Some(0),
            None,
        );
    }
}

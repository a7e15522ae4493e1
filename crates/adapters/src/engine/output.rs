//! A check's output on its way to the log. Owns keeping the first half and the last half within bounds of
//! disk and memory, and looking for `fail_fast` patterns; must never wait for anybody.
//!
//! The first half goes to the log itself. What follows goes to two files beside it in turn, each half of the
//! bound long; at the end the last half is put behind the first.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use regex::bytes::Regex;

/// How much of a line is searched for a pattern at once.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The log of one check.
#[derive(Debug)]
pub struct OutputLog {
    path: PathBuf,
    file: File,
    half_bytes: u64,
    written_bytes: u64,
    tail: Option<Tail>,
}

impl OutputLog {
    /// Makes or replaces the log.
    ///
    /// Errors: what the system said.
    pub fn create(path: &Path, bytes_max: u64) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: File::create(path)?,
            half_bytes: (bytes_max / 2).max(1),
            written_bytes: 0,
            tail: None,
        })
    }

    /// Returns how many bytes were written, kept or not.
    ///
    /// Units: bytes.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Adds output.
    ///
    /// Errors: what the system said, `StorageFull` among it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.half_bytes.saturating_sub(self.written_bytes);
        let head = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.file.write_all(&bytes[..head])?;
        self.written_bytes += bytes.len() as u64;
        if head == bytes.len() {
            return Ok(());
        }
        if self.tail.is_none() {
            self.tail = Some(Tail::create(&self.path, self.half_bytes)?);
        }
        match &mut self.tail {
            Some(tail) => tail.write(&bytes[head..]),
            None => Ok(()),
        }
    }

    /// Puts the last half behind the first, with a line that counts what was left out between them.
    ///
    /// Errors: what the system said.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(mut tail) = self.tail.take() else {
            return self.file.flush();
        };
        let tail_bytes = tail.len().min(self.half_bytes);
        let left_out = self.written_bytes - self.half_bytes - tail_bytes;
        if left_out > 0 {
            writeln!(self.file, "\n[gantry: {left_out} bytes left out]")?;
        }
        tail.copy_last(tail_bytes, &mut self.file)?;
        self.file.flush()
    }
}

/// The last bytes of a stream: two files written in turn.
#[derive(Debug)]
struct Tail {
    /// The one being written, then the one before it.
    files: [File; 2],
    paths: [PathBuf; 2],
    lens: [u64; 2],
    bytes_max: u64,
}

impl Tail {
    fn create(log: &Path, bytes_max: u64) -> io::Result<Self> {
        let path = |suffix: &str| {
            let mut name = log.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let paths = [path(".tail-a"), path(".tail-b")];
        let open = |path: &Path| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)
        };
        let files = [open(&paths[0])?, open(&paths[1])?];
        Ok(Self {
            files,
            paths,
            lens: [0; 2],
            bytes_max,
        })
    }

    fn len(&self) -> u64 {
        self.lens[0] + self.lens[1]
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = usize::try_from(self.bytes_max - self.lens[0]).unwrap_or(usize::MAX);
            if room == 0 {
                self.files.swap(0, 1);
                self.lens.swap(0, 1);
                self.lens[0] = 0;
                self.files[0].seek(SeekFrom::Start(0))?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.files[0].write_all(now)?;
            self.lens[0] += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Copies the last `count` bytes, at most one file's worth of each.
    fn copy_last(&mut self, count: u64, to: &mut File) -> io::Result<()> {
        let from_older = count.saturating_sub(self.lens[0]);
        let older_start = self.lens[1].saturating_sub(from_older);
        let newer_start = self.lens[0].saturating_sub(count);
        for (index, start, end) in [(1, older_start, self.lens[1]), (0, newer_start, self.lens[0])] {
            self.files[index].seek(SeekFrom::Start(start))?;
            io::copy(&mut (&self.files[index]).take(end - start), to)?;
        }
        Ok(())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        for path in &self.paths {
            // Losing the answer is safe: the name is reused and truncated by the next log of this path.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Looks for patterns in output, line by line, until one is seen.
pub(super) struct PatternWatch<'a> {
    patterns: &'a [Regex],
    line: Vec<u8>,
    /// How long the unended line was when it was last searched.
    searched_bytes: usize,
    seen: bool,
}

impl<'a> PatternWatch<'a> {
    pub(super) fn new(patterns: &'a [Regex]) -> Self {
        Self {
            patterns,
            line: Vec::new(),
            searched_bytes: 0,
            seen: false,
        }
    }

    /// Takes more output and says whether a pattern is seen in it for the first time.
    pub(super) fn sees(&mut self, mut bytes: &[u8]) -> bool {
        if self.seen || self.patterns.is_empty() {
            return false;
        }
        while !bytes.is_empty() && !self.seen {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let room = LINE_BYTES_MAX - self.line.len();
            let take = end.unwrap_or(bytes.len()).min(room);
            self.line.extend_from_slice(&bytes[..take]);
            let line_ends = end == Some(take);
            bytes = &bytes[take + usize::from(line_ends)..];
            let done = line_ends || self.line.len() == LINE_BYTES_MAX;
            // A line that is not ended is searched each time it has doubled: it may never end, and searching it
            // after every byte would cost its square.
            if done || self.line.len() >= 2 * self.searched_bytes {
                self.searched_bytes = self.line.len();
                self.seen = self.patterns.iter().any(|pattern| pattern.is_match(&self.line));
            }
            if done {
                self.line.clear();
                self.searched_bytes = 0;
            }
        }
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes_max: u64, chunks: &[&[u8]], expected: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut log = OutputLog::create(&path, bytes_max).expect("a log");
        for chunk in chunks {
            log.write(chunk).expect("room");
        }
        log.finish().expect("room");
        drop(log);
        let kept = std::fs::read(&path).expect("the log");
        assert_eq!(String::from_utf8_lossy(&kept), expected);
        let files = std::fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(files, 1, "only the log is left");
    }

    #[test]
    fn a_short_log_is_kept_whole() {
        check(100, &[b"one\n", b"two\n"], "one\ntwo\n");
    }

    #[test]
    fn a_log_at_its_limit_is_kept_whole() {
        check(8, &[b"01234567"], "01234567");
        check(8, &[b"012", b"3456", b"7"], "01234567");
    }

    #[test]
    fn a_long_log_keeps_its_first_and_last_half_and_counts_the_rest() {
        check(8, &[b"0123456789"], "0123\n[gantry: 2 bytes left out]\n6789");
        let bytes: Vec<u8> = (0..1001_u32).map(|n| b'0' + (n % 10) as u8).collect();
        let chunks: Vec<&[u8]> = bytes.chunks(7).collect();
        check(8, &chunks, "0123\n[gantry: 993 bytes left out]\n7890");
    }

    #[test]
    fn a_pattern_split_over_two_reads_is_seen_once() {
        let patterns = [Regex::new("FAILED").expect("a pattern")];
        let mut watch = PatternWatch::new(&patterns);
        assert!(!watch.sees(b"test one ... FAI"));
        assert!(watch.sees(b"LED\n"));
        assert!(!watch.sees(b"FAILED\n"));
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let patterns = [Regex::new("FAILED").expect("a pattern")];
        let mut watch = PatternWatch::new(&patterns);
        for _ in 0..1000 {
            assert!(!watch.sees(&[b'x'; 1000]));
            assert!(watch.line.len() <= LINE_BYTES_MAX);
        }
    }
}

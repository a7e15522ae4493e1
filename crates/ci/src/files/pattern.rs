//! Path patterns as the official toolkit reads them: one a line, `!` takes away, `~` is home, a directory means all
//! below it. Owns what a path matches; must never look at a disk.
//!
//! Source: the documentation of `@actions/glob`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `.` or `..` inside.
    #[error("Invalid pattern '{0}'. Relative pathing '.' and '..' is not allowed.")]
    Relative(String),
    /// Nothing to look for.
    #[error("no pattern says what to look for: each line is empty, a comment, or begins with '!'")]
    Empty,
    /// `~` without a home.
    #[error("the pattern '{0}' begins with '~' and HOME is not set")]
    NoHome(String),
}

/// One part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of parts.
    Any,
    /// One part that matches.
    One(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    AnyByte,
    AnyBytes,
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    /// Written with a slash at its end: directories only.
    directories: bool,
    /// Added for what is below a match, so the match itself need not be one of it.
    implicit: bool,
    segments: Vec<Segment>,
    search_path: PathBuf,
}

/// The patterns of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads patterns, one a line; `workspace` is what relative ones start from, `home` what `~` is.
    ///
    /// With `descendants`, a matching directory means everything below it as well.
    ///
    /// Errors: [`PatternError`].
    pub fn parse(
        text: &str,
        workspace: &Path,
        home: Option<&Path>,
        descendants: bool,
    ) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bare = line.trim_start_matches('!');
            let negated = (line.len() - bare.len()) % 2 == 1;
            let pattern = Pattern::parse(bare.trim(), negated, workspace, home)?;
            let open = descendants && pattern.segments.last() != Some(&Segment::Any);
            let below = (open || (descendants && pattern.directories)).then(|| pattern.with_descendants());
            patterns.push(pattern);
            patterns.extend(below);
        }
        if patterns.iter().all(|pattern| pattern.negated) {
            return Err(PatternError::Empty);
        }
        Ok(Self(patterns))
    }

    /// Says whether a path is meant.
    #[must_use]
    pub fn matches(&self, path: &Path, is_directory: bool) -> bool {
        let mut found = false;
        for pattern in &self.0 {
            if pattern.negated == found && pattern.matches(path, is_directory) {
                found = !pattern.negated;
            }
        }
        found
    }

    /// Says whether something below a directory may be meant.
    #[must_use]
    pub fn may_match_below(&self, directory: &Path) -> bool {
        let parts = parts(directory);
        self.0
            .iter()
            .any(|pattern| !pattern.negated && begins(&pattern.segments, &parts))
    }

    /// Returns where to begin looking: the longest part of each pattern without a wildcard; none below another.
    #[must_use]
    pub fn search_paths(&self) -> Vec<PathBuf> {
        let wanted = || self.0.iter().filter(|pattern| !pattern.negated);
        let mut paths: Vec<PathBuf> = Vec::new();
        for pattern in wanted() {
            let path = &pattern.search_path;
            let covered =
                wanted().any(|other| other.search_path != *path && path.starts_with(&other.search_path));
            if !covered && !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        paths
    }

    /// Returns the directory that all the search paths have in common.
    #[must_use]
    pub fn least_common_ancestor(&self) -> PathBuf {
        let paths = self.search_paths();
        let mut common = paths.first().cloned().unwrap_or_else(|| PathBuf::from("/"));
        for path in &paths {
            while !path.starts_with(&common) && common.pop() {}
        }
        common
    }
}

impl Pattern {
    fn parse(text: &str, negated: bool, workspace: &Path, home: Option<&Path>) -> Result<Self, PatternError> {
        let (base, rest) = if let Some(rest) = text
            .strip_prefix('~')
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            (home.ok_or_else(|| PatternError::NoHome(text.to_owned()))?, rest)
        } else if text.starts_with('/') {
            (Path::new("/"), text)
        } else if text == "." {
            (workspace, "")
        } else {
            (workspace, text.strip_prefix("./").unwrap_or(text))
        };
        let directories = text.len() > 1 && text.ends_with('/');
        let mut segments: Vec<Segment> = parts(base)
            .into_iter()
            .map(|part| Segment::One(part.iter().map(|byte| Piece::Byte(*byte)).collect()))
            .collect();
        let mut search_path = PathBuf::from("/");
        search_path.extend(parts(base).into_iter().map(OsStr::from_bytes));
        let mut literal_so_far = true;
        for part in rest.split('/').filter(|part| !part.is_empty()) {
            let segment = if part == "**" {
                Segment::Any
            } else {
                Segment::One(pieces(part.as_bytes()))
            };
            let literal = literal(&segment);
            if literal
                .as_deref()
                .is_some_and(|name| name == b"." || name == b"..")
            {
                return Err(PatternError::Relative(text.to_owned()));
            }
            match literal {
                Some(name) if literal_so_far => search_path.push(OsStr::from_bytes(&name)),
                _ => literal_so_far = false,
            }
            segments.push(segment);
        }
        Ok(Self {
            negated,
            directories,
            implicit: false,
            segments,
            search_path,
        })
    }

    fn with_descendants(&self) -> Self {
        let mut below = self.clone();
        below.segments.push(Segment::Any);
        below.directories = false;
        below.implicit = true;
        below
    }

    fn matches(&self, path: &Path, is_directory: bool) -> bool {
        if self.directories && !is_directory {
            return false;
        }
        let parts = parts(path);
        if self.implicit {
            let base = &self.segments[..self.segments.len() - 1];
            return (0..parts.len()).any(|count| whole(base, &parts[..count]));
        }
        whole(&self.segments, &parts)
    }
}

fn parts(path: &Path) -> Vec<&[u8]> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        })
        .collect()
}

/// Returns the one name a part means, if it holds no wildcard.
fn literal(segment: &Segment) -> Option<Vec<u8>> {
    let Segment::One(pieces) = segment else {
        return None;
    };
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Byte(byte) => Some(*byte),
            Piece::Class {
                negated: false,
                ranges,
            } => match ranges.as_slice() {
                [(from, to)] if from == to => Some(*from),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn pieces(text: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' if at < text.len() => {
                pieces.push(Piece::Byte(text[at]));
                at += 1;
            }
            b'*' => {
                if pieces.last() != Some(&Piece::AnyBytes) {
                    pieces.push(Piece::AnyBytes);
                }
            }
            b'?' => pieces.push(Piece::AnyByte),
            b'[' => match class(&text[at..]) {
                Some((class, used)) => {
                    pieces.push(class);
                    at += used;
                }
                None => pieces.push(Piece::Byte(b'[')),
            },
            byte => pieces.push(Piece::Byte(*byte)),
        }
    }
    pieces
}

/// Reads `a-z]` after `[`, and says how many bytes it took; `None` if the bracket is not closed.
fn class(text: &[u8]) -> Option<(Piece, usize)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let begin = usize::from(negated);
    let mut ranges = Vec::new();
    let mut at = begin;
    loop {
        let mut byte = *text.get(at)?;
        if byte == b']' && at > begin {
            return Some((Piece::Class { negated, ranges }, at + 1));
        }
        if byte == b'\\' {
            at += 1;
            byte = *text.get(at)?;
        }
        at += 1;
        match (text.get(at), text.get(at + 1)) {
            (Some(b'-'), Some(to)) if *to != b']' => {
                ranges.push((byte, *to));
                at += 2;
            }
            _ => ranges.push((byte, byte)),
        }
    }
}

/// Says whether a name is what the pieces mean. Linear in the name for each star: the last star takes one more byte
/// whenever the rest does not fit.
fn fits(pieces: &[Piece], name: &[u8]) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        let takes = match pieces.get(piece) {
            Some(Piece::AnyBytes) => {
                star = Some((piece + 1, at));
                piece += 1;
                continue;
            }
            Some(Piece::Byte(byte)) => *byte == name[at],
            // A character of UTF-8 is one character, so its continuation bytes are taken with it below.
            Some(Piece::AnyByte) => true,
            Some(Piece::Class { negated, ranges }) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&name[at])) != *negated
            }
            None => false,
        };
        if takes {
            let wide = matches!(pieces[piece], Piece::AnyByte | Piece::Class { .. });
            at += 1;
            while wide && at < name.len() && name[at] & 0xc0 == 0x80 {
                at += 1;
            }
            piece += 1;
        } else if let Some((after, from)) = star {
            (piece, at) = (after, from + 1);
            star = Some((after, from + 1));
        } else {
            return false;
        }
    }
    pieces[piece..].iter().all(|piece| *piece == Piece::AnyBytes)
}

/// Says whether one name is what a pattern of one part means; a leading dot is never a wildcard's.
pub(crate) fn name_matches(pattern: &str, name: &str) -> bool {
    let pieces = pieces(pattern.as_bytes());
    let dotted = name.starts_with('.') && pieces.first() != Some(&Piece::Byte(b'.'));
    !dotted && fits(&pieces, name.as_bytes())
}

/// Says whether the whole path is what the segments mean. A table row a segment: no backtracking without bound.
fn whole(segments: &[Segment], parts: &[&[u8]]) -> bool {
    reach(segments, parts).last() == Some(&true)
}

/// Says whether a path is the beginning of one that the segments may mean.
fn begins(segments: &[Segment], parts: &[&[u8]]) -> bool {
    reach(segments, parts).contains(&true)
}

/// For each count of segments, whether that many of them can mean exactly this path.
fn reach(segments: &[Segment], parts: &[&[u8]]) -> Vec<bool> {
    let mut can = vec![false; segments.len() + 1];
    can[0] = true;
    for (index, segment) in segments.iter().enumerate() {
        can[index + 1] = can[index] && *segment == Segment::Any;
    }
    for part in parts {
        let mut next = vec![false; segments.len() + 1];
        for (index, segment) in segments.iter().enumerate() {
            next[index + 1] = match segment {
                Segment::Any => can[index + 1] || can[index] || next[index],
                Segment::One(pieces) => can[index] && fits(pieces, part),
            };
        }
        can = next;
    }
    can
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(text: &str) -> Patterns {
        Patterns::parse(text, Path::new("/w"), Some(Path::new("/home/box")), true).expect("it is a pattern")
    }

    fn check(text: &str, meant: &[&str], other: &[&str]) {
        let patterns = patterns(text);
        for path in meant {
            assert!(patterns.matches(Path::new(path), false), "{text:?} means {path}");
        }
        for path in other {
            assert!(
                !patterns.matches(Path::new(path), false),
                "{text:?} does not mean {path}"
            );
        }
    }

    #[test]
    fn a_pattern_means_what_the_toolkit_says() {
        check(
            "dist",
            &["/w/dist", "/w/dist/a", "/w/dist/a/b"],
            &["/w/dist2", "/w/a/dist"],
        );
        check("dist/", &["/w/dist/a"], &["/w/dist"]);
        check("*.log", &["/w/a.log", "/w/.log"], &["/w/a/b.log", "/w/a.logs"]);
        check("**/*.log", &["/w/a.log", "/w/a/b/c.log"], &["/x/a.log", "/w/log"]);
        check("a/**/z", &["/w/a/z", "/w/a/b/c/z", "/w/a/z/below"], &["/w/b/z"]);
        check("a?c", &["/w/abc", "/w/aüc"], &["/w/ac", "/w/abbc"]);
        check("[a-c]x", &["/w/bx"], &["/w/dx", "/w/[a-c]x"]);
        check("[!a]x", &["/w/bx"], &["/w/ax"]);
        check("a\\*", &["/w/a*"], &["/w/ab"]);
        check("[", &["/w/["], &["/w/a"]);
        check("{a,b}", &["/w/{a,b}"], &["/w/a"]);
        check("/etc/*", &["/etc/x"], &["/w/etc/x"]);
        check("~/.cargo", &["/home/box/.cargo/bin/x"], &["/w/.cargo"]);
        check("./a", &["/w/a"], &["/a"]);
        check(".", &["/w/a", "/w"], &["/a"]);
    }

    #[test]
    fn an_exclusion_takes_away_what_stands_before_it() {
        check(
            "dist\n!dist/**/*.map",
            &["/w/dist/a.js"],
            &["/w/dist/a.map", "/w/dist/b/a.map"],
        );
        check("!dist/a\ndist", &["/w/dist/a"], &[]);
        check("!!dist", &["/w/dist/a"], &[]);
        check("# words\n\n  dist  \n", &["/w/dist/a"], &["/w/# words"]);
        check(
            "dist\n!dist/skip",
            &["/w/dist/a"],
            &["/w/dist/skip", "/w/dist/skip/a"],
        );
    }

    #[test]
    fn patterns_that_lead_elsewhere_are_refused() {
        let parse = |text| Patterns::parse(text, Path::new("/w"), None, true);
        assert!(matches!(parse("../x"), Err(PatternError::Relative(_))));
        assert!(matches!(parse("a/../x"), Err(PatternError::Relative(_))));
        assert!(matches!(parse("a/./x"), Err(PatternError::Relative(_))));
        assert!(matches!(parse("a/[.]./x"), Err(PatternError::Relative(_))));
        assert_eq!(parse("!x\n"), Err(PatternError::Empty));
        assert_eq!(parse("~/x"), Err(PatternError::NoHome("~/x".to_owned())));
    }

    #[test]
    fn the_search_begins_where_wildcards_do() {
        let paths = |text| patterns(text).search_paths();
        assert_eq!(paths("a/b/*.log\nc"), [PathBuf::from("/w/a/b"), "/w/c".into()]);
        assert_eq!(paths("a\na/b/**"), [PathBuf::from("/w/a")]);
        assert_eq!(
            patterns("a/b/*.log\na/c").least_common_ancestor(),
            Path::new("/w/a")
        );
        assert_eq!(patterns("a/b\n/etc/x").least_common_ancestor(), Path::new("/"));
    }

    #[test]
    fn a_directory_is_entered_only_if_something_below_may_be_meant() {
        let patterns = patterns("a/*/c");
        assert!(patterns.may_match_below(Path::new("/w/a/b")));
        assert!(!patterns.may_match_below(Path::new("/w/b")));
        assert!(!patterns.may_match_below(Path::new("/w/a/b/d")));
    }

    #[test]
    fn many_stars_take_no_time() {
        let name = "a".repeat(5_000);
        let stars = format!("{}b", "*a".repeat(200));
        assert!(!patterns(&stars).matches(&Path::new("/w").join(name), false));
    }
}

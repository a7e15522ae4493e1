//! The patterns of `hashFiles()`. Owns which paths they match and in which order files come; must never look at a
//! disk.
//!
//! Source: `packages/glob` of actions/toolkit, and minimatch 3 with the options that it sets.

/// Patterns, one a line of `hashFiles()`'s arguments, read for one workspace.
#[derive(Debug, Clone)]
pub struct FilePatterns {
    workspace: Vec<String>,
    patterns: Vec<Pattern>,
    /// The folders or files that a search starts from, none inside another, in the order of the patterns.
    search_paths: Vec<Vec<String>>,
}

/// Why a pattern is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilePatternError {
    /// Nothing is left of it after its `!`.
    #[error("the pattern '{pattern}' is empty: write what it should match")]
    Empty {
        /// The pattern as written.
        pattern: String,
    },
    /// It has `.` or `..` in it.
    #[error("Invalid pattern '{pattern}'. Relative pathing '.' and '..' is not allowed.")]
    Relative {
        /// The pattern as written.
        pattern: String,
    },
    /// It starts with the home folder, which no file of a workspace is found from.
    #[error("the pattern '{pattern}' starts in the home folder: write it from the workspace")]
    Home {
        /// The pattern as written.
        pattern: String,
    },
}

#[derive(Debug, Clone)]
struct Pattern {
    negated: bool,
    /// Whether it ends with a slash, and so matches folders only.
    folders_only: bool,
    /// Whether it was added to match what is below another.
    implicit: bool,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
enum Segment {
    Literal(String),
    Glob(Vec<Unit>),
    /// `**`: any number of segments.
    AnyDepth,
}

#[derive(Debug, Clone)]
enum Unit {
    Char(char),
    /// `?`.
    One,
    /// `*`.
    Any,
    /// `[…]`.
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl FilePatterns {
    /// Reads patterns: one a line, `#` starts a comment, `!` excludes, a relative path starts at the workspace.
    ///
    /// Shape: `workspace` is an absolute path with `/`. Errors: see [`FilePatternError`].
    pub fn parse<T: AsRef<str>>(texts: &[T], workspace: &str) -> Result<Self, FilePatternError> {
        let workspace: Vec<String> = segments_of(workspace).map(str::to_owned).collect();
        let lines = texts
            .iter()
            .flat_map(|text| text.as_ref().split('\n'))
            .map(str::trim);
        let mut patterns = Vec::new();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let pattern = parse_pattern(line, &workspace)?;
            let below = (pattern.folders_only || !matches!(pattern.segments.last(), Some(Segment::AnyDepth)))
                .then(|| pattern.below());
            patterns.push(pattern);
            patterns.extend(below);
        }
        Ok(Self {
            search_paths: search_paths(&patterns),
            workspace,
            patterns,
        })
    }

    /// Tells whether a file is meant.
    ///
    /// Shape: `path` is relative to the workspace, with `/`. The last pattern that matches decides.
    pub fn matches(&self, path: &str) -> bool {
        let path = self.absolute(path);
        self.search_path_of(&path).is_some()
            && self
                .patterns
                .iter()
                .rev()
                .find(|pattern| !pattern.folders_only && pattern.matches(&path))
                .is_some_and(|pattern| !pattern.negated)
    }

    /// Tells whether a file below a folder may be meant, so that a search has to look into it.
    ///
    /// Shape: `folder` is relative to the workspace, with `/`; empty for the workspace itself.
    pub fn may_match_below(&self, folder: &str) -> bool {
        let path = self.absolute(folder);
        self.patterns
            .iter()
            .any(|pattern| !pattern.negated && pattern.may_match_below(&path))
    }

    /// Puts the files that are meant in the order in which GitHub hashes them, and drops the others.
    pub fn select(&self, paths: Vec<String>) -> Vec<String> {
        let mut meant: Vec<(usize, String)> = paths
            .into_iter()
            .filter(|path| self.matches(path))
            .filter_map(|path| Some((self.search_path_of(&self.absolute(&path))?, path)))
            .collect();
        // A search goes through each folder by the bytes of the names, and into a folder when it meets it.
        meant.sort_by(|(left_start, left), (right_start, right)| {
            let by_name = || left.split('/').cmp(right.split('/'));
            left_start.cmp(right_start).then_with(by_name)
        });
        meant.dedup();
        meant.into_iter().map(|(_, path)| path).collect()
    }

    fn absolute<'a>(&'a self, path: &'a str) -> Vec<&'a str> {
        let workspace = self.workspace.iter().map(String::as_str);
        workspace.chain(segments_of(path)).collect()
    }

    /// Returns which of the search paths leads to a file.
    fn search_path_of(&self, path: &[&str]) -> Option<usize> {
        self.search_paths
            .iter()
            .position(|start| starts_with(path, start))
    }
}

fn segments_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn starts_with<T: AsRef<str>>(path: &[T], start: &[String]) -> bool {
    path.len() >= start.len() && path.iter().zip(start).all(|(left, right)| left.as_ref() == right)
}

fn parse_pattern(line: &str, workspace: &[String]) -> Result<Pattern, FilePatternError> {
    let pattern = || line.to_owned();
    let mut negated = false;
    let mut text = line;
    while let Some(rest) = text.strip_prefix('!') {
        negated = !negated;
        text = rest.trim();
    }
    if text.is_empty() {
        return Err(FilePatternError::Empty { pattern: pattern() });
    }
    let is_absolute = text.starts_with('/');
    let mut segments: Vec<Segment> = segments_of(text).map(parse_segment).collect();
    let first = segments.first().and_then(Segment::literal);
    if !is_absolute && first == Some("~") {
        return Err(FilePatternError::Home { pattern: pattern() });
    }
    if !is_absolute && first == Some(".") {
        segments.remove(0);
    }
    let is_relative = |segment: &Segment| matches!(segment.literal(), Some("." | ".."));
    if segments.iter().any(is_relative) {
        return Err(FilePatternError::Relative { pattern: pattern() });
    }
    if !is_absolute {
        let workspace = workspace.iter().cloned().map(Segment::Literal);
        segments.splice(0..0, workspace);
    }
    Ok(Pattern {
        negated,
        folders_only: text.ends_with('/'),
        implicit: false,
        segments,
    })
}

fn search_paths(patterns: &[Pattern]) -> Vec<Vec<String>> {
    let all: Vec<Vec<String>> = patterns
        .iter()
        .filter(|pattern| !pattern.negated)
        .map(Pattern::search_path)
        .collect();
    let mut kept: Vec<Vec<String>> = Vec::new();
    for path in &all {
        let is_inside_another = all
            .iter()
            .any(|other| other.len() < path.len() && starts_with(path, other));
        if !is_inside_another && !kept.contains(path) {
            kept.push(path.clone());
        }
    }
    kept
}

impl Pattern {
    /// Returns the pattern of all that is below what this one matches.
    fn below(&self) -> Self {
        let mut segments = self.segments.clone();
        segments.push(Segment::AnyDepth);
        Self {
            negated: self.negated,
            folders_only: false,
            implicit: true,
            segments,
        }
    }

    /// Returns the segments before the first that has a wildcard.
    fn search_path(&self) -> Vec<String> {
        let literals = self.segments.iter().map_while(Segment::literal);
        literals.map(str::to_owned).collect()
    }

    fn matches(&self, path: &[&str]) -> bool {
        // What is below a folder is not the folder itself: one segment at least stands for an added `**`.
        let path = match path.split_last() {
            Some((_, folder)) if self.implicit => folder,
            None if self.implicit => return false,
            _ => path,
        };
        matches_in_order(&self.segments, path, |segment| match segment {
            Segment::AnyDepth => None,
            other => Some(other),
        })
    }

    fn may_match_below(&self, folder: &[&str]) -> bool {
        for (place, name) in folder.iter().enumerate() {
            match self.segments.get(place) {
                None => return false,
                Some(Segment::AnyDepth) => return true,
                Some(segment) if !segment.accepts(name) => return false,
                Some(_) => {}
            }
        }
        self.segments.len() > folder.len()
    }
}

/// Something that accepts one element of a sequence.
trait Accepts<T> {
    fn accepts(&self, element: &T) -> bool;
}

/// Matches a sequence against patterns of which some (`None`) stand for any number of elements.
///
/// Going back to the last of these is enough: what an earlier one could take, the last one can take as well.
fn matches_in_order<'p, P, A: Accepts<T> + 'p, T>(
    patterns: &'p [P],
    elements: &[T],
    one: impl Fn(&'p P) -> Option<&'p A>,
) -> bool {
    let (mut pattern, mut element) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while element < elements.len() {
        match patterns.get(pattern).map(&one) {
            Some(None) => {
                last_any = Some((pattern, element));
                pattern += 1;
                continue;
            }
            Some(Some(accepting)) if accepting.accepts(&elements[element]) => {
                pattern += 1;
                element += 1;
                continue;
            }
            _ => {}
        }
        let Some((any, taken)) = last_any else {
            return false;
        };
        last_any = Some((any, taken + 1));
        pattern = any + 1;
        element = taken + 1;
    }
    patterns[pattern..].iter().all(|pattern| one(pattern).is_none())
}

impl Segment {
    fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Glob(_) | Self::AnyDepth => None,
        }
    }
}

impl Accepts<&str> for Segment {
    fn accepts(&self, name: &&str) -> bool {
        match self {
            Self::Literal(text) => text == name,
            Self::AnyDepth => true,
            Self::Glob(units) => {
                let name: Vec<char> = name.chars().collect();
                matches_in_order(units, &name, |unit| match unit {
                    Unit::Any => None,
                    other => Some(other),
                })
            }
        }
    }
}

impl Accepts<char> for Unit {
    fn accepts(&self, c: &char) -> bool {
        match self {
            Self::Char(expected) => expected == c,
            Self::One | Self::Any => true,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (first..=last).contains(&c)) != *negated
            }
        }
    }
}

fn parse_segment(text: &str) -> Segment {
    if text == "**" {
        return Segment::AnyDepth;
    }
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => units.push(Unit::Any),
            '?' => units.push(Unit::One),
            '\\' if !rest.is_empty() => {
                let escaped = rest.chars().next().unwrap_or(c);
                units.push(Unit::Char(escaped));
                rest = &rest[escaped.len_utf8()..];
            }
            '[' => match parse_set(rest) {
                Some((set, behind)) => {
                    units.push(set);
                    rest = behind;
                }
                None => units.push(Unit::Char(c)),
            },
            _ => units.push(Unit::Char(c)),
        }
    }
    let literal: Option<String> = units
        .iter()
        .map(|unit| match unit {
            Unit::Char(c) => Some(*c),
            _ => None,
        })
        .collect();
    literal.map_or(Segment::Glob(units), Segment::Literal)
}

/// Reads a set behind its `[`, and returns the text behind its `]`; `None` if it is not closed or not a set.
fn parse_set(text: &str) -> Option<(Unit, &str)> {
    let inner = text.strip_prefix(['!', '^']);
    let negated = inner.is_some();
    let mut rest = inner.unwrap_or(text);
    let mut chars: Vec<(char, bool)> = Vec::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            // A bracket right at the start stands for itself.
            ']' if !chars.is_empty() => break,
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                chars.push((escaped, true));
            }
            _ => chars.push((c, false)),
        }
    }
    let mut ranges = Vec::new();
    let mut place = 0;
    while place < chars.len() {
        let (first, _) = chars[place];
        let is_range = chars.get(place + 1) == Some(&('-', false)) && place + 2 < chars.len();
        let last = if is_range { chars[place + 2].0 } else { first };
        if last < first {
            return None;
        }
        ranges.push((first, last));
        place += if is_range { 3 } else { 1 };
    }
    match ranges[..] {
        [(first, last)] if first == last && !negated => Some((Unit::Char(first), rest)),
        _ => Some((Unit::Set { negated, ranges }, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[&str] = &[
        "Cargo.lock",
        "a/Cargo.lock",
        "a/b/Cargo.lock",
        "a/b.txt",
        "a-b",
        ".hidden/x.lock",
        "src/main.rs",
        "src/[x].rs",
        "src/lib/deep/mod.rs",
        "node_modules/p/package-lock.json",
        "package-lock.json",
    ];

    fn selected(patterns: &[&str]) -> Vec<String> {
        let patterns = FilePatterns::parse(patterns, "/srv/[ws]").unwrap();
        let files = FILES.iter().map(|file| (*file).to_owned()).collect();
        patterns.select(files)
    }

    #[test]
    fn patterns_match_as_in_the_toolkit() {
        let check =
            |patterns: &[&str], expected: &[&str]| assert_eq!(selected(patterns), expected, "{patterns:?}");
        check(&["Cargo.lock"], &["Cargo.lock"]);
        check(&["./Cargo.lock"], &["Cargo.lock"]);
        check(&["/srv/[[]ws]/a/b*"], &["a/b/Cargo.lock", "a/b.txt"]);
        check(
            &["**/Cargo.lock"],
            &["Cargo.lock", "a/Cargo.lock", "a/b/Cargo.lock"],
        );
        check(&["*.lock"], &["Cargo.lock"]);
        check(&["**/*.lock", "!a/**"], &[".hidden/x.lock", "Cargo.lock"]);
        check(
            &["**/*.lock\n!a/**\n# no\na/b"],
            &[".hidden/x.lock", "Cargo.lock", "a/b/Cargo.lock"],
        );
        check(&["src"], &["src/[x].rs", "src/lib/deep/mod.rs", "src/main.rs"]);
        check(&["src/"], &["src/[x].rs", "src/lib/deep/mod.rs", "src/main.rs"]);
        check(&["src/main.rs/"], &[]);
        check(&["src/*.rs"], &["src/[x].rs", "src/main.rs"]);
        check(&["src/\\[x\\].rs"], &["src/[x].rs"]);
        check(&["src/[!m]*.rs"], &["src/[x].rs"]);
        check(&["src/[l-n]???.rs"], &["src/main.rs"]);
        check(&["src/**/mod.rs"], &["src/lib/deep/mod.rs"]);
        check(
            &["**/package-lock.json", "!**/node_modules/**"],
            &["package-lock.json"],
        );
        check(&["!**/x"], &[]);
        check(&["nothing"], &[]);
        check(&["/elsewhere/**"], &[]);
        check(
            &["package-lock.json", "Cargo.lock"],
            &["package-lock.json", "Cargo.lock"],
        );
        check(&["!!Cargo.lock"], &["Cargo.lock"]);
    }

    #[test]
    fn a_search_goes_where_a_pattern_may_match() {
        let patterns = FilePatterns::parse(&["src/*/deep/*.rs", "!src/no/**", "a/**"], "/w").unwrap();
        let check =
            |folder: &str, expected: bool| assert_eq!(patterns.may_match_below(folder), expected, "{folder}");
        check("", true);
        check("src", true);
        check("src/lib", true);
        check("src/lib/shallow", false);
        check("src/lib/deep", true);
        check("b", false);
        check("a/b/c", true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let check = |pattern: &str, expected: FilePatternError| {
            assert_eq!(FilePatterns::parse(&[pattern], "/w").unwrap_err(), expected);
        };
        let pattern = |text: &str| text.to_owned();
        check(
            "!",
            FilePatternError::Empty {
                pattern: pattern("!"),
            },
        );
        check(
            "../a",
            FilePatternError::Relative {
                pattern: pattern("../a"),
            },
        );
        check(
            "a/./b",
            FilePatternError::Relative {
                pattern: pattern("a/./b"),
            },
        );
        check(
            "~/a",
            FilePatternError::Home {
                pattern: pattern("~/a"),
            },
        );
    }
}

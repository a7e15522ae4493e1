//! GitHub's patterns for branches, tags and paths. Owns the matching, in time linear in pattern times text; must never
//! decide what a match means.
//!
//! Source: "Filter pattern cheat sheet" of GitHub's documentation.

use std::fmt;

/// The longest a pattern may be, in characters; longer ones are refused.
const PATTERN_CHARS_MAX: usize = 1_024;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Whether it takes back earlier matches (`!` in front).
    pub negated: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    one: One,
    count: Count,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum One {
    Exactly(char),
    NotSlash,
    Anything,
    In(Vec<(char, char)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Once,
    ZeroOrOne,
    OneOrMore,
    ZeroOrMore,
    /// Like `ZeroOrMore`, and may be left out together with the slash that follows.
    Folders,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternFault {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for PatternFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The pattern '{}' is not valid: {}", self.pattern, self.why)
    }
}

impl std::error::Error for PatternFault {}

impl Pattern {
    /// Reads a pattern.
    ///
    /// Errors: an unclosed or empty `[]`, a `?` or `+` with nothing before it, or too long a text.
    pub fn parse(text: &str) -> Result<Pattern, PatternFault> {
        let fault = |why| PatternFault {
            pattern: text.to_string(),
            why,
        };
        if text.chars().count() > PATTERN_CHARS_MAX {
            return Err(fault("it is too long"));
        }
        let (negated, body) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let mut parts: Vec<Part> = Vec::new();
        let mut chars = body.chars().peekable();
        while let Some(c) = chars.next() {
            let one = match c {
                '*' if chars.peek() == Some(&'*') => {
                    chars.next();
                    // `**/` at the start of a segment also stands for no folder at all.
                    if chars.peek() == Some(&'/') && starts_segment(&parts) {
                        chars.next();
                        parts.push(Part {
                            one: One::Anything,
                            count: Count::Folders,
                        });
                        parts.push(Part {
                            one: One::Exactly('/'),
                            count: Count::Once,
                        });
                    } else {
                        parts.push(Part {
                            one: One::Anything,
                            count: Count::ZeroOrMore,
                        });
                    }
                    continue;
                }
                '*' => {
                    parts.push(Part {
                        one: One::NotSlash,
                        count: Count::ZeroOrMore,
                    });
                    continue;
                }
                '?' | '+' => {
                    let last = parts
                        .last_mut()
                        .ok_or_else(|| fault("nothing stands before ? or +"))?;
                    last.count = if c == '?' {
                        Count::ZeroOrOne
                    } else {
                        Count::OneOrMore
                    };
                    continue;
                }
                '[' => One::In(read_set(&mut chars).ok_or_else(|| fault("its [] is empty or not closed"))?),
                '\\' => One::Exactly(chars.next().ok_or_else(|| fault("it ends with \\"))?),
                other => One::Exactly(other),
            };
            parts.push(Part {
                one,
                count: Count::Once,
            });
        }
        Ok(Pattern { negated, parts })
    }

    /// Tells whether the whole text matches, the `!` not considered.
    pub fn matches(&self, text: &str) -> bool {
        let mut states = vec![false; self.parts.len() + 1];
        self.enter(0, &mut states);
        for c in text.chars() {
            let mut next = vec![false; self.parts.len() + 1];
            for (at, part) in self.parts.iter().enumerate().filter(|(at, _)| states[*at]) {
                if !part.one.accepts(c) {
                    continue;
                }
                match part.count {
                    Count::Once | Count::ZeroOrOne => self.enter(at + 1, &mut next),
                    Count::OneOrMore => {
                        next[at] = true;
                        self.enter(at + 1, &mut next);
                    }
                    Count::ZeroOrMore => self.enter(at, &mut next),
                    Count::Folders => {
                        next[at] = true;
                        self.enter(at + 1, &mut next);
                    }
                }
            }
            states = next;
        }
        states[self.parts.len()]
    }

    /// Marks a state and those that follow without a character.
    fn enter(&self, at: usize, states: &mut [bool]) {
        let mut at = at;
        states[at] = true;
        while let Some(part) = self.parts.get(at) {
            match part.count {
                Count::Once | Count::OneOrMore => break,
                Count::ZeroOrOne | Count::ZeroOrMore => at += 1,
                Count::Folders => {
                    states[at + 1] = true;
                    at += 2;
                }
            }
            states[at] = true;
        }
    }
}

/// Whether a `**` behind these parts begins a path segment, so that `**/` may match nothing.
fn starts_segment(parts: &[Part]) -> bool {
    parts
        .last()
        .is_none_or(|last| last.one == One::Exactly('/') && last.count == Count::Once)
}

fn read_set(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Vec<(char, char)>> {
    let mut set = Vec::new();
    loop {
        match chars.next()? {
            ']' => return (!set.is_empty()).then_some(set),
            start if chars.peek() == Some(&'-') => {
                chars.next();
                match chars.next()? {
                    // A hyphen before the end is a hyphen.
                    ']' => {
                        set.extend([(start, start), ('-', '-')]);
                        return Some(set);
                    }
                    end => set.push((start, end)),
                }
            }
            single => set.push((single, single)),
        }
    }
}

impl One {
    fn accepts(&self, c: char) -> bool {
        match self {
            One::Exactly(wanted) => c == *wanted,
            One::NotSlash => c != '/',
            One::Anything => true,
            One::In(set) => set.iter().any(|(start, end)| (*start..=*end).contains(&c)),
        }
    }
}

/// Tells what the last pattern that matches says: in, out (`!`), or nothing.
pub fn last_match(patterns: &[Pattern], text: &str) -> Option<bool> {
    patterns
        .iter()
        .rev()
        .find(|pattern| pattern.matches(text))
        .map(|pattern| !pattern.negated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_cheat_sheet_says() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "feature/*",
                &["feature/my-branch", "feature/"],
                &["feature/a/b", "feature"],
            ),
            (
                "feature/**",
                &["feature/beta-a/my-branch", "feature/x"],
                &["features/x"],
            ),
            ("main", &["main"], &["main2", "amain"]),
            ("*", &["main", "releases"], &["all/the/branches"]),
            ("**", &["all/the/branches", ""], &[]),
            ("*feature", &["mona-feature", "feature"], &["feature-x"]),
            ("v2*", &["v2", "v2.0", "v2.9"], &["v1", "v2/x"]),
            (
                "v[12].[0-9]+.[0-9]+",
                &["v1.10.1", "v2.0.0"],
                &["v3.0.0", "v1.10"],
            ),
            ("*.jsx?", &["page.js", "page.jsx"], &["page.jsxx"]),
            (
                "docs/**/*.md",
                &["docs/README.md", "docs/a/b.md"],
                &["docs.md", "docsx.md"],
            ),
            ("a/**/x", &["a/x", "a/b/x"], &["a/bx"]),
            (
                "**/docs/**",
                &[
                    "docs/hello.md",
                    "dir/docs/my-file.txt",
                    "space/docs/plan/space.doc",
                ],
                &["doc/x"],
            ),
            ("**/README.md", &["README.md", "js/README.md"], &["xREADME.md2"]),
            (
                "**/*src/**",
                &["a/src/app.js", "my-src/code/js/app.js"],
                &["src.js"],
            ),
            (
                "**/*-post.md",
                &["my-post.md", "path/their-post.md"],
                &["post.md"],
            ),
            (
                "**/migrate-*.sql",
                &["migrate-10909.sql", "db/sept/migrate-v1.sql"],
                &["migrate.sql"],
            ),
            ("**.js", &["index.js", "src/js/app.js"], &["index.jsx"]),
            ("a\\*b", &["a*b"], &["axb"]),
            ("[A-]", &["A", "-"], &["B"]),
        ];
        for (pattern, inside, outside) in cases {
            let parsed = Pattern::parse(pattern).unwrap();
            for text in *inside {
                assert!(parsed.matches(text), "{pattern} takes {text}");
            }
            for text in *outside {
                assert!(!parsed.matches(text), "{pattern} leaves {text}");
            }
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let patterns: Vec<Pattern> = ["releases/**", "!releases/**-alpha", "releases/keep-alpha"]
            .iter()
            .map(|text| Pattern::parse(text).unwrap())
            .collect();
        for (text, verdict) in [
            ("releases/10", Some(true)),
            ("releases/10-alpha", Some(false)),
            ("releases/keep-alpha", Some(true)),
            ("main", None),
        ] {
            assert_eq!(last_match(&patterns, text), verdict, "{text}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for text in ["[", "[]", "+", "?x", "a\\", &"x".repeat(2_000)] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_a_plain_one() {
        let pattern = Pattern::parse(&"**a".repeat(300)).unwrap();
        assert!(!pattern.matches(&"a".repeat(299)));
        assert!(pattern.matches(&"a".repeat(300)));
    }
}

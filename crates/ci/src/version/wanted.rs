//! What a `…-version` input asks for, and which of the versions present is meant. Owns the words of each tool (`lts/*`,
//! `3.x`, `stable`); offline, the newest means the newest that is there.

use super::semver::{Range, Version};

/// Whose versions they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Node.js.
    Node,
    /// CPython.
    Python,
    /// Go.
    Go,
    /// A JDK.
    Java,
    /// Anything whose versions are plain.
    Other,
}

/// Names of Node's long-term lines, the newest first. Source: the release schedule of Node.js.
const NODE_LINES: &[(&str, u64)] = &[
    ("krypton", 24),
    ("jod", 22),
    ("iron", 20),
    ("hydrogen", 18),
    ("gallium", 16),
    ("fermium", 14),
    ("erbium", 12),
    ("dubnium", 10),
    ("carbon", 8),
    ("boron", 6),
    ("argon", 4),
];

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// One of a range.
    Range {
        /// It.
        range: Range,
        /// Whether prereleases are like all others.
        prereleases: bool,
    },
    /// The newest that is there.
    Newest,
    /// The newest of Node's long-term lines that is there.
    LongTerm,
    /// The second newest minor line that is there.
    BeforeNewest,
}

impl Wanted {
    /// Reads what an input says; `None` if it says nothing this tool knows.
    #[must_use]
    pub fn parse(tool: Tool, text: &str, prereleases: bool) -> Option<Self> {
        let text = text.trim();
        let ranged =
            |text: &str, prereleases| Range::parse(text).map(|range| Self::Range { range, prereleases });
        match (tool, text) {
            (Tool::Node, "latest" | "current" | "node" | "*") | (Tool::Java | Tool::Other, "latest") => {
                Some(Self::Newest)
            }
            (Tool::Go, "stable") => Some(Self::Newest),
            (Tool::Go, "oldstable") => Some(Self::BeforeNewest),
            (Tool::Node, text) if text.starts_with("lts/") => long_term(&text[4..]),
            (Tool::Node, text) => ranged(text, prereleases),
            (Tool::Python, text) => {
                let text = text.strip_prefix("python-").unwrap_or(text);
                match text.strip_suffix("-dev") {
                    Some(minor) => ranged(&format!("~{minor}.0-0"), true),
                    None if prereleases && text.split('.').count() == 2 => {
                        ranged(&format!("~{text}.0-0"), true)
                    }
                    None => ranged(&python_spelling(text), prereleases),
                }
            }
            (Tool::Go, text) => ranged(&go_spelling(text.strip_prefix("go").unwrap_or(text)), prereleases),
            (Tool::Java, text) => {
                let (text, early) = match text.strip_suffix("-ea") {
                    Some(rest) => (rest, true),
                    None => (text, prereleases),
                };
                // `8.0.302+8` names a build as well, which nothing that is installed tells in this form.
                ranged(text.split('+').next().unwrap_or(text), early)
            }
            (Tool::Other, text) => ranged(text, prereleases),
        }
    }

    /// Chooses among the versions present, the newest that is meant.
    #[must_use]
    pub fn choose<'a, T>(&self, present: &'a [(Version, T)]) -> Option<&'a (Version, T)> {
        let newest = |keep: &dyn Fn(&Version) -> bool| {
            // Of equal versions the first, which is the one nearest at hand.
            present
                .iter()
                .rev()
                .filter(|(version, _)| keep(version))
                .max_by(|a, b| a.0.cmp(&b.0))
        };
        match self {
            Self::Range {
                range,
                prereleases: false,
            } => newest(&|version| range.matches(version)),
            Self::Range {
                range,
                prereleases: true,
            } => newest(&|version| range.matches(version))
                .or_else(|| newest(&|version| range.matches_with_prereleases(version))),
            Self::Newest => newest(&|version| !version.is_prerelease()),
            Self::LongTerm => newest(&|version| {
                NODE_LINES.iter().any(|(_, major)| *major == version.major) && !version.is_prerelease()
            }),
            Self::BeforeNewest => {
                let (top, _) = newest(&|version| !version.is_prerelease())?;
                newest(&|version| {
                    (version.major, version.minor) < (top.major, top.minor) && !version.is_prerelease()
                })
            }
        }
    }
}

fn long_term(line: &str) -> Option<Wanted> {
    let of_major = |major: u64| {
        Range::parse(&major.to_string()).map(|range| Wanted::Range {
            range,
            prereleases: false,
        })
    };
    if line == "*" {
        return Some(Wanted::LongTerm);
    }
    if let Some(back) = line.strip_prefix('-') {
        let back: usize = back.parse().ok()?;
        return NODE_LINES.get(back).and_then(|(_, major)| of_major(*major));
    }
    let line = line.to_lowercase();
    NODE_LINES
        .iter()
        .find(|(name, _)| *name == line)
        .and_then(|(_, major)| of_major(*major))
}

/// Writes Python's `3.13.0rc1` as `3.13.0-rc.1`.
pub(crate) fn python_spelling(text: &str) -> String {
    spell(text, &[("rc", "-rc."), ("a", "-alpha."), ("b", "-beta.")])
}

/// Writes Go's `1.22rc1` as `1.22.0-rc.1`.
pub(crate) fn go_spelling(text: &str) -> String {
    spell(text, &[("rc", "-rc."), ("beta", "-beta.")])
}

fn spell(text: &str, words: &[(&str, &str)]) -> String {
    for (word, written) in words {
        if let Some((before, after)) = text.split_once(word)
            && before.ends_with(|c: char| c.is_ascii_digit())
            && !after.is_empty()
            && after.bytes().all(|byte| byte.is_ascii_digit())
        {
            let zero = if before.matches('.').count() == 1 {
                ".0"
            } else {
                ""
            };
            return format!("{before}{zero}{written}{after}");
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tool: Tool, text: &str, present: &[&str], expected: Option<&str>) {
        let wanted = Wanted::parse(tool, text, false).unwrap_or_else(|| panic!("{text:?} is understood"));
        let present: Vec<(Version, ())> = present
            .iter()
            .map(|text| (Version::parse(text).expect("a version"), ()))
            .collect();
        let chosen = wanted.choose(&present).map(|(version, ())| version.to_string());
        assert_eq!(chosen.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn node_versions_are_chosen_as_its_action_does() {
        let present = ["18.19.1", "20.1.0", "20.11.0", "21.6.0", "23.0.0-nightly"];
        for (text, expected) in [
            ("20", Some("20.11.0")),
            ("20.x", Some("20.11.0")),
            ("^20.1", Some("20.11.0")),
            ("20.1.0", Some("20.1.0")),
            ("v20.1.0", Some("20.1.0")),
            (">=18 <20", Some("18.19.1")),
            ("lts/*", Some("20.11.0")),
            ("lts/hydrogen", Some("18.19.1")),
            ("lts/Iron", Some("20.11.0")),
            ("lts/-2", Some("20.11.0")),
            ("latest", Some("21.6.0")),
            ("node", Some("21.6.0")),
            ("22", None),
            ("lts/krypton", None),
        ] {
            check(Tool::Node, text, &present, expected);
        }
        assert!(Wanted::parse(Tool::Node, "lts/gold", false).is_none());
    }

    #[test]
    fn python_versions_are_chosen_as_its_action_does() {
        let present = ["3.8.10", "3.11.2", "3.12.0-rc.1"];
        for (text, expected) in [
            ("3.x", Some("3.11.2")),
            ("3", Some("3.11.2")),
            ("3.11", Some("3.11.2")),
            (">=3.8 <3.11", Some("3.8.10")),
            ("3.12-dev", Some("3.12.0-rc.1")),
            ("3.12.0rc1", Some("3.12.0-rc.1")),
            ("3.12", None),
            ("3.1", None),
        ] {
            check(Tool::Python, text, &present, expected);
        }
        assert!(Wanted::parse(Tool::Python, "pypy3.9", false).is_none());
        let early = Wanted::parse(Tool::Python, "3.12", true).expect("it is a range");
        let present = [(Version::parse("3.12.0-rc.1").expect("a version"), ())];
        assert!(early.choose(&present).is_some());
    }

    #[test]
    fn go_and_java_versions_are_chosen_as_their_actions_do() {
        let go = ["1.20.14", "1.21.0", "1.21.9", "1.22.0-rc.1"];
        for (text, expected) in [
            ("1.21", Some("1.21.9")),
            ("1.21.0", Some("1.21.0")),
            ("^1.20", Some("1.21.9")),
            ("stable", Some("1.21.9")),
            ("oldstable", Some("1.20.14")),
            ("1.22rc1", Some("1.22.0-rc.1")),
            ("1.22.0-rc.1", Some("1.22.0-rc.1")),
            ("1.2", None),
        ] {
            check(Tool::Go, text, &go, expected);
        }
        let java = ["8.0.302", "17.0.12", "21.0.0"];
        for (text, expected) in [
            ("17", Some("17.0.12")),
            ("8.0.302+8", Some("8.0.302")),
            ("latest", Some("21.0.0")),
            ("11", None),
        ] {
            check(Tool::Java, text, &java, expected);
        }
    }
}

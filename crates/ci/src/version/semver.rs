//! Semantic versions and ranges as npm's `semver` has them. Owns parsing, order and what a range means; must never look
//! at what is installed.
//!
//! Source: the range grammar in the documentation of npm's `semver`.

use std::cmp::Ordering;
use std::fmt;

/// The longest text that is read as a version or range; a longer one is none.
const TEXT_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Identifier {
    Number(u64),
    Word(String),
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second.
    pub minor: u64,
    /// The third.
    pub patch: u64,
    pre: Vec<Identifier>,
}

impl Version {
    /// Makes a release.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self {
            major,
            minor,
            patch,
            pre: Vec::new(),
        }
    }

    /// Reads `1.2.3`, `v1.2.3-rc.1` or `1.2.3+build`; what stands after `+` is not kept.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let partial = Partial::parse(text)?;
        Some(Self {
            major: partial.major?,
            minor: partial.minor?,
            patch: partial.patch?,
            pre: partial.pre,
        })
    }

    /// Says whether it is before a release.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    const fn same_release(&self, other: &Self) -> bool {
        self.major == other.major && self.minor == other.minor && self.patch == other.patch
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (index, part) in self.pre.iter().enumerate() {
            f.write_str(if index == 0 { "-" } else { "." })?;
            match part {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Word(word) => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

impl PartialOrd for Identifier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Identifier {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Word(a), Self::Word(b)) => a.cmp(b),
            (Self::Number(_), Self::Word(_)) => Ordering::Less,
            (Self::Word(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let release = |version: &Self| (version.major, version.minor, version.patch);
        release(self)
            .cmp(&release(other))
            .then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre.cmp(&other.pre),
            })
    }
}

/// A version of which the later numbers may be open.
#[derive(Debug, Clone)]
struct Partial {
    major: Option<u64>,
    minor: Option<u64>,
    patch: Option<u64>,
    pre: Vec<Identifier>,
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let text = text.trim().trim_start_matches(['v', '=']).trim_start();
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, pre) = text
            .split_once('-')
            .map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
        let mut read = [None; 3];
        let mut open = false;
        let parts: Vec<&str> = if numbers.is_empty() {
            Vec::new()
        } else {
            numbers.split('.').collect()
        };
        if parts.len() > 3 {
            return None;
        }
        for (slot, part) in read.iter_mut().zip(&parts) {
            if matches!(*part, "x" | "X" | "*") {
                open = true;
            } else if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
                let number = part.parse().ok()?;
                *slot = (!open).then_some(number);
            } else {
                return None;
            }
        }
        let pre = match pre {
            Some(pre) if read[2].is_some() => identifiers(pre)?,
            Some(_) => return None,
            None => Vec::new(),
        };
        Some(Self {
            major: read[0],
            minor: read[1],
            patch: read[2],
            pre,
        })
    }

    /// The lowest version it may mean.
    fn floor(&self) -> Version {
        Version {
            major: self.major.unwrap_or(0),
            minor: self.minor.unwrap_or(0),
            patch: self.patch.unwrap_or(0),
            pre: self.pre.clone(),
        }
    }

    /// The first version above all that it may mean, before its prereleases; `None` if it may mean everything.
    fn ceiling(&self) -> Option<Version> {
        let major = self.major?;
        Some(lowest(match (self.minor, self.patch) {
            (None, _) => Version::new(major.checked_add(1)?, 0, 0),
            (Some(minor), None) => Version::new(major, minor.checked_add(1)?, 0),
            (Some(minor), Some(patch)) => Version::new(major, minor, patch.checked_add(1)?),
        }))
    }

    const fn is_whole(&self) -> bool {
        self.patch.is_some()
    }
}

fn identifiers(text: &str) -> Option<Vec<Identifier>> {
    text.split('.')
        .map(|part| {
            if part.is_empty()
                || !part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            {
                None
            } else if part.bytes().all(|byte| byte.is_ascii_digit()) {
                part.parse().ok().map(Identifier::Number)
            } else {
                Some(Identifier::Word(part.to_owned()))
            }
        })
        .collect()
}

/// The version before every prerelease of this one.
fn lowest(version: Version) -> Version {
    Version {
        pre: vec![Identifier::Number(0)],
        ..version
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

#[derive(Debug, Clone)]
struct Comparator(Sign, Version);

impl Comparator {
    fn holds(&self, version: &Version) -> bool {
        let order = version.cmp(&self.1);
        match self.0 {
            Sign::Less => order.is_lt(),
            Sign::LessOrEqual => order.is_le(),
            Sign::Greater => order.is_gt(),
            Sign::GreaterOrEqual => order.is_ge(),
            Sign::Equal => order.is_eq(),
        }
    }
}

/// A range: one of several lists, each of which has to hold whole.
#[derive(Debug, Clone)]
pub struct Range(Vec<Vec<Comparator>>);

impl Range {
    /// Reads a range such as `^1.2`, `>=14 <17`, `1.x || 2.0 - 2.4`, or the empty one, which means all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        text.split("||")
            .map(|part| comparators(part.trim()))
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// Says whether a version is meant. A prerelease is only if the range names one of the same release, as npm has it.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        self.0.iter().any(|list| {
            let named = || {
                list.iter()
                    .any(|Comparator(_, bound)| bound.is_prerelease() && bound.same_release(version))
            };
            list.iter().all(|comparator| comparator.holds(version)) && (!version.is_prerelease() || named())
        })
    }

    /// Says whether a version is meant, prereleases like all others.
    #[must_use]
    pub fn matches_with_prereleases(&self, version: &Version) -> bool {
        self.0
            .iter()
            .any(|list| list.iter().all(|comparator| comparator.holds(version)))
    }
}

fn comparators(text: &str) -> Option<Vec<Comparator>> {
    if let Some((from, to)) = text.split_once(" - ") {
        let (from, to) = (Partial::parse(from)?, Partial::parse(to)?);
        let mut list = vec![Comparator(Sign::GreaterOrEqual, from.floor())];
        match to.ceiling() {
            _ if to.is_whole() => list.push(Comparator(Sign::LessOrEqual, to.floor())),
            Some(ceiling) => list.push(Comparator(Sign::Less, ceiling)),
            None => {}
        }
        return Some(list);
    }
    let mut list = Vec::new();
    let mut sign = String::new();
    for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let begin = word.find(|c: char| !"<>=~^".contains(c)).unwrap_or(word.len());
        sign.push_str(&word[..begin]);
        if begin < word.len() {
            list.extend(one(&sign, Partial::parse(&word[begin..])?)?);
            sign.clear();
        }
    }
    sign.is_empty().then_some(list)
}

fn one(sign: &str, partial: Partial) -> Option<Vec<Comparator>> {
    let floor = partial.floor();
    let from = |version| Comparator(Sign::GreaterOrEqual, version);
    let below = |ceiling: Option<Version>| ceiling.map(|version| Comparator(Sign::Less, version));
    let list = match sign {
        "" | "=" | "v" if partial.is_whole() => vec![Comparator(Sign::Equal, floor)],
        "" | "=" => {
            let mut list = below(partial.ceiling()).into_iter().collect::<Vec<_>>();
            list.push(from(floor));
            list
        }
        "^" => {
            let ceiling = partial
                .major
                .and_then(|major| match (major, partial.minor, partial.patch) {
                    (0, Some(0), Some(patch)) => Some(Version::new(0, 0, patch.checked_add(1)?)),
                    (0, Some(minor), _) => Some(Version::new(0, minor.checked_add(1)?, 0)),
                    (major, ..) => Some(Version::new(major.checked_add(1)?, 0, 0)),
                });
            std::iter::once(from(floor))
                .chain(below(ceiling.map(lowest)))
                .collect()
        }
        "~" | "~>" => {
            let open = Partial {
                patch: None,
                pre: Vec::new(),
                ..partial
            };
            std::iter::once(from(floor))
                .chain(below(open.ceiling()))
                .collect()
        }
        ">=" => vec![from(floor)],
        "<" if partial.is_whole() => vec![Comparator(Sign::Less, floor)],
        // Less than everything is nothing: no version is below the lowest one.
        "<" => vec![Comparator(Sign::Less, lowest(floor))],
        ">" if partial.is_whole() => vec![Comparator(Sign::Greater, floor)],
        ">" => match partial.ceiling() {
            Some(ceiling) => vec![from(Version {
                pre: Vec::new(),
                ..ceiling
            })],
            None => vec![Comparator(Sign::Less, lowest(Version::new(0, 0, 0)))],
        },
        "<=" if partial.is_whole() => vec![Comparator(Sign::LessOrEqual, floor)],
        "<=" => below(partial.ceiling()).into_iter().collect(),
        _ => return None,
    };
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, inside: &[&str], outside: &[&str]) {
        let parsed = Range::parse(range).unwrap_or_else(|| panic!("{range:?} is a range"));
        let version = |text: &str| Version::parse(text).unwrap_or_else(|| panic!("{text:?} is a version"));
        for text in inside {
            assert!(parsed.matches(&version(text)), "{text} is in {range:?}");
        }
        for text in outside {
            assert!(!parsed.matches(&version(text)), "{text} is not in {range:?}");
        }
    }

    #[test]
    fn ranges_mean_what_npm_says() {
        check("1.2.3", &["1.2.3", "v1.2.3+x"], &["1.2.4", "1.2.3-rc.1"]);
        check("=1.2.3", &["1.2.3"], &["1.2.2"]);
        check("1.2", &["1.2.0", "1.2.9"], &["1.3.0", "1.1.9", "1.3.0-0"]);
        check("1.x", &["1.0.0", "1.99.0"], &["2.0.0", "0.9.0"]);
        check("1.X.X", &["1.0.0"], &["2.0.0"]);
        check("1.x.3", &["1.5.0"], &["2.0.0"]);
        check("1", &["1.4.2"], &["2.0.0", "2.0.0-rc.1"]);
        for all in ["*", "", "x", ">=0", "^*", "~x"] {
            check(all, &["0.0.0", "9.9.9"], &["1.0.0-rc.1"]);
        }
        check("^1.2.3", &["1.2.3", "1.9.0"], &["2.0.0", "1.2.2", "2.0.0-0"]);
        check("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2"]);
        check("^0.0.3", &["0.0.3"], &["0.0.4"]);
        check("^0.0", &["0.0.0", "0.0.9"], &["0.1.0"]);
        check("^0", &["0.9.0"], &["1.0.0"]);
        check("^0.x", &["0.9.0"], &["1.0.0"]);
        check(
            "^1.2.3-beta.2",
            &["1.2.3-beta.2", "1.2.3", "1.5.0"],
            &["1.2.3-beta.1", "1.2.4-beta.2"],
        );
        check("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]);
        check("~1.2", &["1.2.0"], &["1.3.0"]);
        check("~1", &["1.9.9"], &["2.0.0"]);
        check("~0", &["0.9.9"], &["1.0.0"]);
        check("~>1.2", &["1.2.5"], &["1.3.0"]);
        check("~3.12.0-0", &["3.12.0-rc.1", "3.12.4"], &["3.13.0-rc.1"]);
        check(">=14.16.1", &["14.16.1", "20.0.0"], &["14.16.0"]);
        check(
            ">= 14 < 17",
            &["14.0.0", "16.9.9"],
            &["17.0.0", "13.9.9", "17.0.0-rc.1"],
        );
        check(">1.2", &["1.3.0"], &["1.2.9"]);
        check(">1", &["2.0.0"], &["1.9.9"]);
        check("<=1.2", &["1.2.9"], &["1.3.0"]);
        check("<1.2", &["1.1.9"], &["1.2.0", "1.2.0-rc"]);
        check("<*", &[], &["0.0.0", "1.0.0"]);
        check(">*", &[], &["0.0.0", "1.0.0"]);
        check("1.2.3 - 2.3.4", &["1.2.3", "2.3.4"], &["2.3.5", "1.2.2"]);
        check("1.2 - 2.3", &["1.2.0", "2.3.9"], &["2.4.0"]);
        check("1.2.3 - 2", &["2.9.9"], &["3.0.0"]);
        check(
            "14 || ^16.2 || >=18",
            &["14.1.0", "16.3.0", "20.0.0"],
            &["15.0.0", "16.1.0", "17.0.0"],
        );
        check(
            ">1.0.0-rc.1",
            &["1.0.0-rc.2", "1.0.0", "2.0.0"],
            &["2.0.0-rc.1", "1.0.0-rc.1"],
        );
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "latest",
            "1.2.3.4",
            "a.b.c",
            ">",
            "1..2",
            "1.-1",
            "^^1",
            "1.2.3-",
            "99999999999999999999",
        ] {
            assert!(Range::parse(text).is_none(), "{text:?}");
        }
        assert!(Range::parse(&"1 ".repeat(1000)).is_none());
    }

    #[test]
    fn versions_are_ordered_as_the_specification_says() {
        let order = [
            "0.9.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10.0",
            "2.0.0",
        ];
        let versions: Vec<Version> = order
            .iter()
            .map(|text| Version::parse(text).expect("a version"))
            .collect();
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]));
        let texts: Vec<String> = versions.iter().map(ToString::to_string).collect();
        assert_eq!(texts, order);
        for text in ["1.2", "1", "", "x", "1.2.x"] {
            assert!(Version::parse(text).is_none(), "{text:?}");
        }
    }
}

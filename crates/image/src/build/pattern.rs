//! Patterns of paths: those of `COPY`, and `.dockerignore`. Source: Go's `path/filepath.Match`; Docker's "Build
//! context", ".dockerignore files".

/// Says whether a name without slashes fits a pattern with `*`, `?` and `[a-z]`.
pub(super) fn fits_name(pattern: &[u8], name: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    match first {
        b'*' => (0..=name.len()).any(|at| fits_name(rest, &name[at..])),
        b'?' => !name.is_empty() && fits_name(rest, &name[1..]),
        b'[' => {
            let Some((set, after)) = set(rest) else {
                return name.first() == Some(first) && fits_name(rest, &name[1..]);
            };
            name.first().is_some_and(|byte| set.has(*byte)) && fits_name(after, &name[1..])
        }
        b'\\' if !rest.is_empty() => name.first() == rest.first() && fits_name(&rest[1..], &name[1..]),
        plain => name.first() == Some(plain) && fits_name(rest, &name[1..]),
    }
}

struct Set<'a> {
    negated: bool,
    members: &'a [u8],
}

impl Set<'_> {
    fn has(&self, byte: u8) -> bool {
        let mut found = false;
        let mut left = self.members;
        while let [low, rest @ ..] = left {
            if let [b'-', high, rest @ ..] = rest {
                found |= (*low..=*high).contains(&byte);
                left = rest;
            } else {
                found |= *low == byte;
                left = rest;
            }
        }
        found != self.negated
    }
}

fn set(rest: &[u8]) -> Option<(Set<'_>, &[u8])> {
    let negated = rest.first() == Some(&b'^');
    let members = &rest[usize::from(negated)..];
    let end = members
        .iter()
        .position(|byte| *byte == b']')
        .filter(|end| *end > 0)?;
    let set = Set {
        negated,
        members: &members[..end],
    };
    Some((set, &members[end + 1..]))
}

/// Says whether names fit patterns, where `**` stands for any number of names.
fn fits_path(patterns: &[&[u8]], names: &[&[u8]]) -> bool {
    match patterns {
        [] => names.is_empty(),
        [first, rest @ ..] if *first == b"**" => (0..=names.len()).any(|at| fits_path(rest, &names[at..])),
        [first, rest @ ..] => names
            .split_first()
            .is_some_and(|(name, names)| fits_name(first, name) && fits_path(rest, names)),
    }
}

fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .collect()
}

/// A `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ignore {
    /// Patterns, and whether each takes back what others left out.
    rules: Vec<(Vec<u8>, bool)>,
}

impl Ignore {
    pub(super) fn parse(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let rules = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        Self {
            rules: rules
                .map(|line| match line.strip_prefix(b"!") {
                    Some(pattern) => (pattern.trim_ascii().to_vec(), true),
                    None => (line.to_vec(), false),
                })
                .collect(),
        }
    }

    /// Says whether a path below the context is left out; the last rule that fits it or a folder above decides.
    pub(super) fn leaves_out(&self, path: &[u8]) -> bool {
        let names = names(path);
        let fits = |pattern: &[u8]| {
            let patterns = self::names(pattern);
            (1..=names.len()).any(|length| fits_path(&patterns, &names[..length]))
        };
        self.rules
            .iter()
            .rev()
            .find(|(pattern, _)| fits(pattern))
            .is_some_and(|(_, takes_back)| !takes_back)
    }

    /// Says whether something below a folder that is left out may be taken all the same.
    pub(super) fn takes_back(&self) -> bool {
        self.rules.iter().any(|(_, takes_back)| *takes_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        let check = |pattern: &str, name: &str, fits: bool| {
            assert_eq!(
                fits_name(pattern.as_bytes(), name.as_bytes()),
                fits,
                "{pattern} {name}"
            );
        };
        check("*.rs", "a.rs", true);
        check("*.rs", "a.rs.x", false);
        check("a?c", "abc", true);
        check("[a-c]x", "bx", true);
        check("[^a-c]x", "bx", false);
        check("\\*", "*", true);
        check("\\*", "a", false);
        check("", "", true);
    }

    #[test]
    fn the_last_rule_that_fits_decides() {
        let ignore = Ignore::parse(b"# all of it\ntarget\n**/*.log\n!keep.log\n/docs/*\n!docs/README.md\n");
        for (path, out) in [
            ("target", true),
            ("target/a/b", true),
            ("a/target", false),
            ("a/b.log", true),
            ("b.log", true),
            ("keep.log", false),
            ("docs/x", true),
            ("docs/README.md", false),
            ("docs", false),
            ("src/a.rs", false),
        ] {
            assert_eq!(ignore.leaves_out(path.as_bytes()), out, "{path}");
        }
        assert!(!Ignore::default().leaves_out(b"a"));
    }
}

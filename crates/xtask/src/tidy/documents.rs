//! Rules about documents: what they name has to be there.

use std::collections::HashSet;

use super::{File, Problem};

/// Returns the texts between back quotes, with the numbers of their lines.
fn quoted(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |word| (number, word)))
}

/// True for what reads like a test's name: at least three words of small letters.
fn is_test_name(word: &str) -> bool {
    word.matches('_').count() >= 2
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Each test that holds an invariant is there.
pub(super) fn invariants(files: &[File]) -> Vec<Problem> {
    let path = "docs/invariants.md";
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return vec![Problem::new(path, 0, "is not there")];
    };
    let mut tests = HashSet::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let names = file
            .text
            .lines()
            .filter_map(|line| line.trim_start().split("fn ").nth(1));
        tests.extend(names.filter_map(|rest| rest.split(['(', '<']).next()));
    }
    quoted(&file.text)
        .filter(|(_, word)| is_test_name(word) && !tests.contains(word))
        .map(|(number, word)| Problem::new(path, number, format!("no test is named {word}")))
        .collect()
}

/// What changed for users is written down.
pub(super) fn changelog(files: &[File]) -> Vec<Problem> {
    let found = files.iter().find(|file| file.path == "CHANGELOG.md");
    if found.is_some_and(|file| file.text.contains("\n## ")) {
        return Vec::new();
    }
    vec![Problem::new("CHANGELOG.md", 0, "is not there, or has no version")]
}

/// Each crate is on the map.
pub(super) fn map(files: &[File]) -> Vec<Problem> {
    let path = "ARCHITECTURE.md";
    let map = files
        .iter()
        .find(|file| file.path == path)
        .map_or("", |file| file.text.as_str());
    let folders = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"));
    folders
        .filter(|folder| !map.contains(&format!("`crates/{folder}`")))
        .map(|folder| Problem::new(path, 0, format!("`crates/{folder}` is not on the map")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_test_that_is_named_and_not_there_is_found() {
        let document = file(
            "docs/invariants.md",
            "x\n`it_holds_fast` `it_is_gone` `x_y` `a b`\n",
        );
        let source = file("a.rs", "    fn it_holds_fast() {\n");
        let problems = invariants(&[document, source]);
        assert_eq!(
            problems,
            [Problem::new(
                "docs/invariants.md",
                2,
                "no test is named it_is_gone"
            )]
        );
    }

    #[test]
    fn a_crate_off_the_map_is_found() {
        let files = [
            file("ARCHITECTURE.md", "`crates/a`"),
            file("crates/a/Cargo.toml", ""),
            file("crates/b/Cargo.toml", ""),
        ];
        assert_eq!(map(&files).len(), 1);
        assert_eq!(changelog(&files).len(), 1);
    }
}

//! Rules about Rust files, and about texts in any file.

use std::collections::HashSet;

use super::{File, Problem};

/// The most lines a file may have before its tests.
const LINES_MAX: usize = 500;

/// Files that are longer, and why.
const LONG: &[(&str, &str)] = &[
    (
        "crates/engine/src/factory.rs",
        "the one loop's every request, each a few lines",
    ),
    (
        "crates/engine/src/line/act.rs",
        "the effects of a line, in the order of their happening",
    ),
    (
        "crates/engine/src/line/rules.rs",
        "the rules that look before planning, each a function",
    ),
];

/// Tests that wait a moment, and why a condition would not do.
const SLEEPING_TESTS: &[(&str, &str)] = &[
    (
        "crates/gantry/tests/all/crash.rs",
        "a random moment to kill at is the point of the test",
    ),
    (
        "crates/gantry/tests/all/factory.rs",
        "the pause between two looks of a bounded wait",
    ),
];

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

/// Modules that are compiled for tests only, by the files that may hold them.
fn test_modules(files: &[File]) -> HashSet<String> {
    let mut found = HashSet::new();
    for file in rust(files) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let lines: Vec<&str> = file.text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]") {
            let name = pair[1]
                .trim()
                .trim_end_matches(';')
                .rsplit(' ')
                .next()
                .unwrap_or("");
            if pair[1].contains("mod ") && pair[1].trim_end().ends_with(';') {
                let stem = file.path.trim_end_matches(".rs");
                for place in [folder, stem] {
                    found.insert(format!("{place}/{name}.rs"));
                    found.insert(format!("{place}/{name}/mod.rs"));
                }
            }
        }
    }
    found
}

/// Lines with their numbers, counted from 1.
type Lines<'a> = Vec<(usize, &'a str)>;

/// The lines of a file: those of the product, and those of its tests.
fn parted<'a>(file: &'a File, test_modules: &HashSet<String>) -> (Lines<'a>, Lines<'a>) {
    let lines = (1..).zip(file.text.lines());
    if file.path.contains("/tests/") || test_modules.contains(&file.path) {
        return (Vec::new(), lines.collect());
    }
    let mut product: Vec<(usize, &str)> = lines.collect();
    let tests_at = product
        .windows(2)
        .position(|pair| {
            pair[0].1 == "#[cfg(test)]" && pair[1].1.starts_with("mod ") && pair[1].1.ends_with('{')
        })
        .unwrap_or(product.len());
    let tests = product.split_off(tests_at);
    (product, tests)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Every Rust file says first what it owns.
pub(super) fn headers(files: &[File]) -> Vec<Problem> {
    rust(files)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            Problem::new(
                &file.path,
                1,
                "begin with `//!`: what the file owns, and what it must never do",
            )
        })
        .collect()
}

/// No file is too long to be read at once.
pub(super) fn lengths(files: &[File]) -> Vec<Problem> {
    let test_modules = test_modules(files);
    rust(files)
        .filter_map(|file| {
            let count = parted(file, &test_modules).0.len();
            let excused = LONG.iter().any(|(path, _)| *path == file.path);
            match (count > LINES_MAX, excused) {
                (true, false) => {
                    let text =
                        format!("{count} lines before the tests, {LINES_MAX} at most: split it by concept");
                    Some(Problem::new(&file.path, 0, text))
                }
                (false, true) => Some(Problem::new(
                    &file.path,
                    0,
                    "short enough: take it off the list of long files",
                )),
                _ => None,
            }
        })
        .collect()
}

/// Lints and tests are not silenced.
pub(super) fn attributes(files: &[File]) -> Vec<Problem> {
    let mends = [
        ("allow(", "write #[expect(…, reason = \"…\")], or mend it"),
        (
            "ignore",
            "a test that does not run holds nothing: mend or remove it",
        ),
    ];
    let mut problems = Vec::new();
    for file in rust(files) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let inner = line
                .trim_start()
                .strip_prefix('#')
                .map(|rest| rest.trim_start_matches('!'));
            let Some(inner) = inner.and_then(|rest| rest.strip_prefix('[')) else {
                continue;
            };
            let found = mends.iter().filter(|(word, _)| inner.starts_with(word));
            problems.extend(found.map(|(_, mend)| Problem::new(&file.path, number, *mend)));
        }
    }
    problems
}

/// The product does not give up on a value that is not there.
pub(super) fn unwraps(files: &[File]) -> Vec<Problem> {
    let word = concat!(".unwrap", "()");
    let test_modules = test_modules(files);
    let mut problems = Vec::new();
    for file in rust(files) {
        let product = parted(file, &test_modules).0;
        let found = product
            .iter()
            .filter(|(_, line)| line.contains(word) && !is_comment(line));
        problems.extend(found.map(|(number, _)| {
            Problem::new(
                &file.path,
                *number,
                "hand the failure on, or `expect` with the invariant",
            )
        }));
    }
    problems
}

/// Tests wait for conditions, not for time.
pub(super) fn sleeps(files: &[File]) -> Vec<Problem> {
    let words = [concat!("thread::", "sleep("), concat!("time::", "sleep(")];
    let test_modules = test_modules(files);
    let mut problems = Vec::new();
    for file in rust(files).filter(|file| SLEEPING_TESTS.iter().all(|(path, _)| *path != file.path)) {
        let tests = parted(file, &test_modules).1;
        let found = tests
            .iter()
            .filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        problems.extend(found.map(|(number, _)| {
            Problem::new(
                &file.path,
                *number,
                "wait for a condition with a bound instead of a time",
            )
        }));
    }
    problems
}

/// No file names a machine's folder or the host of a package registry.
pub(super) fn places(files: &[File]) -> Vec<Problem> {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/.c"),
        concat!("/Us", "ers/"),
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("deb.debian", ".org"),
        concat!("pypi", ".org"),
        concat!("registry.npmjs", ".org"),
        concat!("proxy.golang", ".org"),
    ];
    let source = "source = \"";
    let known = concat!(
        "source = \"registry+https://github.com/rust-lang/crates",
        ".io-index\""
    );
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            if words.iter().any(|word| line.contains(word)) {
                problems.push(Problem::new(
                    &file.path,
                    number,
                    "names a place that other machines do not have",
                ));
            }
            if file.path == "Cargo.lock" && line.starts_with(source) && line != known {
                problems.push(Problem::new(
                    &file.path,
                    number,
                    "a dependency from somewhere else",
                ));
            }
        }
    }
    problems
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

    fn lines(problems: Vec<Problem>) -> Vec<usize> {
        problems.into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn a_file_without_a_header_is_named() {
        let files = [
            file("a.rs", "//! Owns a.\n"),
            file("b.rs", "use a;\n"),
            file("c.md", "c\n"),
        ];
        assert_eq!(
            headers(&files),
            [Problem::new("b.rs", 1, headers(&files)[0].text.clone())]
        );
    }

    #[test]
    fn only_lines_before_the_tests_count() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let tests = format!("x\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(lengths(&[file("a.rs", &tests), file("b/tests/c.rs", &long)]), []);
        assert_eq!(lengths(&[file("a.rs", &long)]).len(), 1);
        let module = file("src/a.rs", "#[cfg(test)]\nmod walk;\n");
        assert_eq!(lengths(&[module, file("src/walk.rs", &long)]), []);
    }

    #[test]
    fn silenced_lints_and_tests_are_found() {
        let text =
            "//! x\n#![allow(dead_code)]\n#[ignore = \"slow\"]\n    #[allow(unused)]\n#[expect(unused)]\n";
        assert_eq!(lines(attributes(&[file("a.rs", text)])), [2, 3, 4]);
    }

    #[test]
    fn unwraps_and_sleeps_are_told_apart_by_where_they_are() {
        let text = concat!(
            "// x.unwrap",
            "()\nx.unwrap",
            "();\nstd::thread::",
            "sleep(x);\n#[cfg(test)]\nmod tests {\nx.unwrap",
            "();\nstd::thread::",
            "sleep(x);\n}\n"
        );
        assert_eq!(lines(unwraps(&[file("a.rs", text)])), [2]);
        assert_eq!(lines(sleeps(&[file("a.rs", text)])), [7]);
    }

    #[test]
    fn a_machines_folder_is_found_in_any_file() {
        let text = concat!("fine\n/wo", "rk/x\nhttps://index.crates", ".io/\n");
        assert_eq!(lines(places(&[file("a.md", text)])), [2, 3]);
        let lock = "source = \"registry+https://example.org/index\"\n";
        assert_eq!(lines(places(&[file("Cargo.lock", lock)])), [1]);
    }
}

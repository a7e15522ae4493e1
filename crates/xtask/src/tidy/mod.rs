//! `cargo xtask tidy`: what a machine can check of how the code is written. Each rule looks at the whole tree and
//! names file, line and mend; none changes anything.

mod documents;
mod manifests;
mod source;

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::shown;

/// A file that Git knows.
#[derive(Debug)]
struct File {
    /// From the root, with slashes.
    path: String,
    /// Empty if it is not UTF-8.
    text: String,
}

/// Something that has to be mended.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    /// Counted from 1; 0 if the whole file is meant.
    line: usize,
    text: String,
}

impl Problem {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

/// Reads the whole tree and says what is to be mended.
type Rule = fn(&[File]) -> Vec<Problem>;

/// Every rule.
const RULES: &[Rule] = &[
    source::headers,
    source::lengths,
    source::attributes,
    source::unwraps,
    source::sleeps,
    source::places,
    manifests::directions,
    manifests::doors,
    manifests::reasons,
    documents::invariants,
    documents::changelog,
    documents::map,
];

/// Prints every problem of the tree this is started in.
///
/// Errors: there is one, or the tree cannot be read.
pub fn run() -> anyhow::Result<()> {
    let root = shown::root()?;
    let files = shown::files(&root)?
        .into_iter()
        .map(|path| read(&root, path))
        .collect::<Result<Vec<_>, _>>()?;
    let problems: Vec<Problem> = RULES.iter().flat_map(|rule| rule(&files)).collect();
    for problem in &problems {
        println!("{}:{}: {}", problem.path, problem.line, problem.text);
    }
    if !problems.is_empty() {
        bail!("{} problems", problems.len());
    }
    println!("xtask: {} files are tidy", files.len());
    Ok(())
}

fn read(root: &Path, path: String) -> anyhow::Result<File> {
    let bytes = std::fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
    Ok(File {
        text: String::from_utf8(bytes).unwrap_or_default(),
        path,
    })
}

//! A whole image looked through: the files of its layers, also those that a later layer deletes, its environment and
//! its history. Must never return a value.

use std::io;
use std::path::Path;

use rustix::fs::FileType;
use serde::Serialize;

use super::stream::{self, Named};
use crate::digest::Digest;
use crate::format::ConfigDocument;
use crate::layer::stack::{Node, Stack, children, open_file};
use crate::store::{ImageStore, StoreError};

/// How many findings are named; one is enough to refuse an image.
const FINDINGS_MAX: usize = 100;

/// A secret in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The path in the image, `environment NAME`, `label NAME`, or `history step N`.
    pub place: String,
    /// What it is: `GitHub token`, `secret NAME`. Never its value.
    pub kind: String,
}

/// Why an image was not looked through, so that nothing is known of it.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A file of a layer.
    #[error("{path} cannot be looked through")]
    Io {
        /// In the image.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageStore {
    /// Looks for secrets in an image: those that `named` knows, and what has the form of one.
    ///
    /// `named` gets the bytes part by part, with the last 64 KiB of the part before, and returns the secret's name.
    /// Shape: empty if there are none; at most 100.
    /// Errors: [`ScanError`].
    pub fn scan(
        &self,
        digest: Digest,
        named: &dyn Fn(&[u8]) -> Option<String>,
    ) -> Result<Vec<Finding>, ScanError> {
        let mut found = scan_config(&self.config(digest)?, named);
        for tree in self.layer_trees(digest)? {
            found.extend(scan_tree(&tree, named)?);
        }
        found.dedup();
        found.truncate(FINDINGS_MAX);
        Ok(found)
    }
}

/// Looks through one layer.
pub(crate) fn scan_tree(tree: &Path, named: Named<'_>) -> Result<Vec<Finding>, ScanError> {
    let fail = |source| ScanError::Io {
        path: tree.display().to_string(),
        source,
    };
    let stack = Stack::open(&[tree]).map_err(fail)?;
    let root = stack.resolve(b"").map_err(fail)?;
    let mut found = Vec::new();
    if let Some(root) = root {
        scan_folder(&root, b"", named, &mut found)?;
    }
    Ok(found)
}

fn scan_folder(
    folder: &Node,
    path: &[u8],
    named: Named<'_>,
    found: &mut Vec<Finding>,
) -> Result<(), ScanError> {
    let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let fail = |path: &[u8]| {
        let path = shown(path);
        move |source| ScanError::Io { path, source }
    };
    for (name, node) in children(folder).map_err(fail(path))? {
        let path = if path.is_empty() {
            name
        } else {
            [path, b"/", name.as_slice()].concat()
        };
        if found.len() >= FINDINGS_MAX {
            return Ok(());
        }
        match node.kind() {
            FileType::Directory => scan_folder(&node, &path, named, found)?,
            FileType::RegularFile => {
                let file = open_file(&node).map_err(fail(&path))?;
                for kind in stream::find(file, &path, named).map_err(fail(&path))? {
                    let place = format!("/{}", shown(&path));
                    found.push(Finding { place, kind });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Looks through what an image says of itself.
pub(crate) fn scan_config(config: &ConfigDocument, named: Named<'_>) -> Vec<Finding> {
    let mut texts: Vec<(String, &str)> = Vec::new();
    for pair in &config.config.env {
        let name = pair.split('=').next().unwrap_or_default();
        texts.push((format!("environment {name}"), pair));
    }
    for (name, value) in &config.config.labels {
        texts.push((format!("label {name}"), value));
    }
    let words = config
        .config
        .entrypoint
        .iter()
        .chain(&config.config.cmd)
        .flatten();
    texts.extend(words.map(|word| ("command".to_owned(), word.as_str())));
    for (number, step) in (1..).zip(&config.history) {
        for text in [&step.created_by, &step.comment].into_iter().flatten() {
            texts.push((format!("history step {number}"), text));
        }
    }
    let kinds = |(place, text): (String, &str)| {
        let found = stream::find(text.as_bytes(), b"", named).expect("memory can be read");
        found
            .into_iter()
            .map(move |kind| Finding {
                place: place.clone(),
                kind,
            })
            .collect::<Vec<_>>()
    };
    texts.into_iter().flat_map(kinds).collect()
}

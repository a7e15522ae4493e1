//! What the checks of the virtual world would say of a tree, by the names of its files.
//!
//! | file | meaning |
//! |---|---|
//! | `bad/*` | the checks fail |
//! | `pair/K/left` with `pair/K/right` | the checks fail while both are there |
//! | `flaky/*`, content a number | the checks fail so often in a thousand |
//! | `hang/*` | the checks run into their time limit |

use crate::git::Files;

/// What a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// The checks pass.
    Good,
    /// The checks fail.
    Bad,
    /// The checks never end.
    Hangs,
    /// The checks fail so often in a thousand.
    Flaky(u64),
}

/// Tells what a tree is.
#[must_use]
pub fn truth_of(files: &Files) -> Truth {
    let under = |folder: &'static str| files.iter().filter(move |(path, _)| path.starts_with(folder));
    let torn = under("pair/").any(|(path, _)| {
        path.strip_suffix("/left")
            .is_some_and(|pair| files.contains_key(&format!("{pair}/right")))
    });
    if torn || under("bad/").next().is_some() {
        return Truth::Bad;
    }
    if under("hang/").next().is_some() {
        return Truth::Hangs;
    }
    let flakes = under("flaky/")
        .filter_map(|(_, content)| content.parse().ok())
        .max();
    flakes.map_or(Truth::Good, Truth::Flaky)
}

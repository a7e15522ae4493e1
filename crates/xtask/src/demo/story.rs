//! What happens in the demo's repository: how a story is told, and how main moves on. Data only.

/// One edit of one file.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    /// Writes a whole file.
    Write(&'static str, &'static str),
    /// Replaces a text that is in the file exactly once.
    Replace(&'static str, &'static str, &'static str),
    /// Removes the file.
    Remove(&'static str),
}

/// What a branch is cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Main as it was before others landed on it.
    Early,
    /// Main as it is when the change is offered.
    Late,
}

/// One commit.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// Its subject.
    pub subject: &'static str,
    /// Who wrote it.
    pub author: &'static str,
    /// What it edits.
    pub edits: &'static [Edit],
}

/// One change that is offered.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// Its branch.
    pub branch: &'static str,
    /// What it was written to be.
    pub nature: &'static str,
    /// What it was cut from.
    pub cut: Cut,
    /// True if it is offered with low priority.
    pub low: bool,
    /// Its only commit.
    pub commit: Commit,
}

pub(super) const fn commit(author: &'static str, subject: &'static str, edits: &'static [Edit]) -> Commit {
    Commit {
        subject,
        author,
        edits,
    }
}

use Edit::{Remove, Replace, Write};

const WORDS_FIXED: &str = include_str!("program/later/words_fixed.c");

/// The second commit of main, before any branch is cut: a fix that no test guards.
pub const FIX: Commit = commit(
    "Ada",
    "Count the last word of an input that does not end its line",
    &[Write("src/words.c", WORDS_FIXED)],
);

/// How main moved on after the early branches were cut.
pub const MOVES: &[Commit] = &[
    commit(
        "Ada",
        "Say 0 for the mean of nothing",
        &[Replace(
            "src/mean.c",
            "total / count",
            "count ? total / count : 0",
        )],
    ),
    commit(
        "Grace",
        "Name the input in the usage line",
        &[Replace(
            "src/main.c",
            "usage: tally COMMAND\\n",
            "usage: tally COMMAND < NUMBERS\\n",
        )],
    ),
    commit(
        "Ada",
        "Try odd divisors only",
        &[Replace(
            "src/primes.c",
            "for (long divisor = 2; divisor * divisor <= number; divisor++) {",
            "if (number % 2 == 0) {\n        return number == 2;\n    }\n    for (long divisor = 3; divisor * divisor <= number; divisor += 2) {",
        )],
    ),
    commit(
        "Grace",
        "Drop the test of the old spelling",
        &[Remove("tests/legacy.sh")],
    ),
];

//! How much memory the values of an evaluation take, by GitHub's reckoning. Owns the sums; must never hold a value.
//!
//! Source: `EvaluationMemory` and `MemoryCounter` of actions/runner.

use super::value::Value;

/// What any object takes.
const OBJECT_BYTES: usize = 24;
/// What text takes besides its characters.
const TEXT_BYTES: usize = 26;
/// What a reference takes.
const REFERENCE_BYTES: usize = 8;

/// More memory would be needed than there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryExceeded;

/// The memory of a whole evaluation, by level of the tree: what is deeper than a finished value is free again.
#[derive(Debug)]
pub(super) struct Memory {
    levels: Vec<usize>,
    total: usize,
    max: usize,
}

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self {
            levels: Vec::new(),
            total: 0,
            max,
        }
    }

    /// Adds what a value at `level` takes. `frees_deeper`: the value holds nothing of those it was made from.
    pub(super) fn add(
        &mut self,
        level: usize,
        bytes: usize,
        frees_deeper: bool,
    ) -> Result<(), MemoryExceeded> {
        if frees_deeper && self.levels.len() > level + 1 {
            self.total -= self.levels.drain(level + 1..).sum::<usize>();
        }
        if self.levels.len() <= level {
            self.levels.resize(level + 1, 0);
        }
        self.levels[level] += bytes;
        self.total += bytes;
        if self.total > self.max {
            return Err(MemoryExceeded);
        }
        Ok(())
    }
}

/// The memory of one text or list while it grows.
#[derive(Debug)]
pub(super) struct Counter {
    bytes: usize,
    max: usize,
}

impl Counter {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: 0, max }
    }

    /// Adds a piece of text.
    pub(super) fn add_text(&mut self, text: &str) -> Result<(), MemoryExceeded> {
        self.add(text_bytes(text))
    }

    /// Adds an item of a list.
    pub(super) fn add_reference(&mut self) -> Result<(), MemoryExceeded> {
        self.add(REFERENCE_BYTES)
    }

    fn add(&mut self, bytes: usize) -> Result<(), MemoryExceeded> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.max {
            return Err(MemoryExceeded);
        }
        Ok(())
    }

    /// Returns what has been added.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn text_bytes(text: &str) -> usize {
    TEXT_BYTES + 2 * text.encode_utf16().count()
}

/// Returns what a value takes itself, without the items of an array or an object.
pub(super) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text_bytes(text),
        _ => OBJECT_BYTES,
    }
}

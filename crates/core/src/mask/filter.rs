//! A quick look over a text: where may a pattern start? Says yes too often, never no where one does.
//!
//! A pattern of six bytes or more is bound to cover every third position of a text with four of its bytes, those from
//! its first, second or third on; so only every third position is looked up, by a hash of four bytes. Where that
//! says yes, each of the three starts is looked up by the hash of a pattern's first four bytes. Shorter patterns
//! are known by their first two bytes, exactly, and cost a look at every position, if there are any. No look-up waits
//! for another.
//!
//! Rejected: one automaton over all patterns. With the 5,600 patterns of two hundred secrets aho-corasick's DFA took
//! 820 ms to build, 305 MB, and ran at 295 MB/s; its smaller automaton ran at 156 MB/s. This runs at 1,300 MB/s, 700 with
//! patterns of one byte among them, on the same core and the same log (`examples/mask_throughput.rs`).

use super::pattern::hash;

/// Positions between two that are looked up.
const STRIDE: usize = 3;
/// Patterns from here on are found by every third position.
const SAMPLED_BYTES_MIN: usize = STRIDE - 1 + 4;
/// 2^19 bits, 64 KiB: about one look-up in fifty says yes with the four thousand patterns of two hundred secrets.
const HASH_WORDS: usize = 1 << 13;
const PAIRS: usize = 1 << 16;
/// Positions looked at in one step.
const STEP: usize = 4 * STRIDE;
/// Bytes a step reads: a word of eight at its last position.
const STEP_READS: usize = STEP + 7;

/// The three tables.
#[derive(Clone)]
pub(super) struct Filter {
    sampled: Box<[u64; HASH_WORDS]>,
    first_four: Box<[u64; HASH_WORDS]>,
    first_two: Option<Box<[u8; PAIRS]>>,
}

impl Filter {
    pub(super) fn new() -> Self {
        Self {
            sampled: Box::new([0; HASH_WORDS]),
            first_four: Box::new([0; HASH_WORDS]),
            first_two: None,
        }
    }

    /// Makes the filter pass every text that starts with the pattern. An empty pattern is not one.
    pub(super) fn insert(&mut self, pattern: &[u8]) {
        if let Some(first) = pattern.first_chunk::<4>() {
            let (word, bit) = hash_place(u32::from_le_bytes(*first));
            self.first_four[word] |= 1 << bit;
        }
        if pattern.len() >= SAMPLED_BYTES_MIN {
            for four in pattern.windows(4).take(STRIDE) {
                let (word, bit) = hash_place(u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
                self.sampled[word] |= 1 << bit;
            }
            return;
        }
        let Some(first) = pattern.first() else { return };
        let first_two = self.first_two.get_or_insert_with(|| Box::new([0; PAIRS]));
        let seconds = match pattern.get(1) {
            Some(second) => *second..=*second,
            None => 0..=u8::MAX,
        };
        for second in seconds {
            first_two[usize::from(u16::from_le_bytes([*first, second]))] = 1;
        }
    }

    /// Returns the first position from `from` on at which a pattern may start.
    ///
    /// Shape: the last three positions of the text always pass; the text's length means none.
    pub(super) fn next(&self, text: &[u8], from: usize) -> usize {
        match &self.first_two {
            None => self.walk(text, from, |_| 0),
            Some(first_two) => self.walk(text, from, |two| first_two[usize::from(two)].into()),
        }
    }

    #[inline(always)]
    fn is_sampled(&self, four: u32) -> u64 {
        let (word, bit) = hash_place(four);
        self.sampled[word] >> bit
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a word's lowest bytes are what is looked up"
    )]
    fn walk(&self, text: &[u8], from: usize, short: impl Fn(u16) -> u64) -> usize {
        let starts_here = |four: u32| {
            let (word, bit) = hash_place(four);
            ((self.first_four[word] >> bit) | short(four as u16)) & 1 != 0
        };
        let mut at = from;
        while let Some(window) = text.get(at..).and_then(<[u8]>::first_chunk::<STEP_READS>) {
            let mut hits = 0;
            for third in 0..STEP / STRIDE {
                let eight = word_at(window, third * STRIDE);
                hits |= self.is_sampled((eight >> (8 * (STRIDE - 1))) as u32);
                hits |= short(eight as u16) | short((eight >> 8) as u16) | short((eight >> 16) as u16);
            }
            if hits & 1 != 0
                && let Some(index) = (0..STEP).find(|index| starts_here(word_at(window, *index) as u32))
            {
                return at + index;
            }
            at += STEP;
        }
        while let Some(window) = text.get(at..).and_then(<[u8]>::first_chunk::<4>) {
            if starts_here(u32::from_le_bytes(*window)) {
                return at;
            }
            at += 1;
        }
        at
    }
}

/// The compiler makes one load of this; bytes picked one by one cost three times as much.
#[inline(always)]
fn word_at(window: &[u8; STEP_READS], index: usize) -> u64 {
    let eight = window[index..]
        .first_chunk()
        .expect("a step reads eight bytes at its last position");
    u64::from_le_bytes(*eight)
}

#[inline(always)]
fn hash_place(four: u32) -> (usize, u32) {
    let place = hash(four) >> (32 - HASH_WORDS.trailing_zeros() - 6);
    ((place >> 6) as usize, place & 63)
}

#[cfg(test)]
mod tests {
    use crate::mask::pattern::SHORT_BYTES_MAX;

    use super::*;

    fn check(patterns: &[&str], text: &str, expected: &[usize]) {
        let mut filter = Filter::new();
        patterns
            .iter()
            .for_each(|pattern| filter.insert(pattern.as_bytes()));
        let mut passed = Vec::new();
        let mut at = 0;
        while at + SHORT_BYTES_MAX < text.len() {
            at = filter.next(text.as_bytes(), at);
            passed.push(at);
            at += 1;
        }
        passed.retain(|at| at + SHORT_BYTES_MAX < text.len());
        assert_eq!(passed, expected, "{patterns:?} in {text:?}");
    }

    #[test]
    fn a_position_passes_where_a_pattern_starts() {
        check(
            &["secret"],
            "a secret, its secre, sec and the end, secret",
            &[2, 14, 38],
        );
        check(&["x"], "axxb and so on", &[1, 2]);
        check(&["xy"], "axxyb and so on", &[2]);
        check(&["xyz", "abcd"], "xya.abcdefghijklmnopqrs", &[0, 4]);
        check(&[], "nothing passes here", &[]);
    }

    #[test]
    fn the_last_positions_always_pass_and_then_comes_the_end() {
        let filter = Filter::new();
        assert_eq!(filter.next(b"0123456789", 0), 7);
        assert_eq!(filter.next(b"0123456789", 8), 8);
        assert_eq!(filter.next(b"0123456789", 10), 10);
        assert_eq!(filter.next(b"", 0), 0);
    }
}

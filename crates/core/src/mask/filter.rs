//! A quick look over a text: where may a pattern start? Says yes too often, never no where one does.
//!
//! A pattern of six bytes or more is bound to cover every third position of a text with four of its bytes, those from
//! its first, second or third on; so only every third position is looked up, by a hash of four bytes. Where that
//! says yes, each of the three starts is looked up by the hash of a pattern's first four bytes. Shorter patterns
//! are known by their first two bytes, exactly, and cost a look at every position, if there are any. No look-up waits
//! for another.

use super::pattern::{SHORT_BYTES_MAX, hash};

/// Positions between two that are looked up.
const STRIDE: usize = 3;
/// Patterns from here on are found by every third position.
const SAMPLED_BYTES_MIN: usize = STRIDE - 1 + 4;
/// 2^19 bits, 64 KiB: about one look-up in fifty says yes with the four thousand patterns of two hundred secrets.
const HASH_WORDS: usize = 1 << 13;
const PAIR_WORDS: usize = 1 << 10;
/// Positions looked at in one step.
const STEP: usize = 4 * STRIDE;
/// Bytes a step reads: the last of its positions needs three more.
const STEP_READS: usize = STEP + SHORT_BYTES_MAX;

/// The three tables.
#[derive(Clone)]
pub(super) struct Filter {
    sampled: Box<[u64; HASH_WORDS]>,
    first_four: Box<[u64; HASH_WORDS]>,
    first_two: Option<Box<[u64; PAIR_WORDS]>>,
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
        let first_two = self.first_two.get_or_insert_with(|| Box::new([0; PAIR_WORDS]));
        let seconds = match pattern.get(1) {
            Some(second) => *second..=*second,
            None => 0..=u8::MAX,
        };
        for second in seconds {
            let (word, bit) = pair_place(u16::from_le_bytes([*first, second]));
            first_two[word] |= 1 << bit;
        }
    }

    /// Returns the first position from `from` on at which a pattern may start.
    ///
    /// Shape: the last [`SHORT_BYTES_MAX`] positions of the text always pass; the text's length means none.
    pub(super) fn next(&self, text: &[u8], from: usize) -> usize {
        match &self.first_two {
            None => self.walk(text, from, |_| 0),
            Some(first_two) => self.walk(text, from, |two| {
                let (word, bit) = pair_place(two);
                first_two[word] >> bit
            }),
        }
    }

    #[inline(always)]
    fn walk(&self, text: &[u8], from: usize, short: impl Fn(u16) -> u64) -> usize {
        let starts_here = |four: [u8; 4]| {
            let (word, bit) = hash_place(u32::from_le_bytes(four));
            ((self.first_four[word] >> bit) | short(u16::from_le_bytes([four[0], four[1]]))) & 1 != 0
        };
        let mut at = from;
        while let Some(window) = text.get(at..).and_then(<[u8]>::first_chunk::<STEP_READS>) {
            let four = |index: usize| {
                [
                    window[index],
                    window[index + 1],
                    window[index + 2],
                    window[index + 3],
                ]
            };
            let mut hits = 0;
            for index in 0..STEP {
                if index % STRIDE == STRIDE - 1 {
                    let (word, bit) = hash_place(u32::from_le_bytes(four(index)));
                    hits |= self.sampled[word] >> bit;
                }
                hits |= short(u16::from_le_bytes([window[index], window[index + 1]]));
            }
            if hits & 1 != 0
                && let Some(index) = (0..STEP).find(|index| starts_here(four(*index)))
            {
                return at + index;
            }
            at += STEP;
        }
        while let Some(window) = text.get(at..).and_then(<[u8]>::first_chunk::<4>) {
            if starts_here(*window) {
                return at;
            }
            at += 1;
        }
        at
    }
}

#[inline(always)]
fn hash_place(four: u32) -> (usize, u32) {
    let place = hash(four) >> (32 - HASH_WORDS.trailing_zeros() - 6);
    ((place >> 6) as usize, place & 63)
}

#[inline(always)]
fn pair_place(two: u16) -> (usize, u32) {
    (usize::from(two >> 6), u32::from(two & 63))
}

#[cfg(test)]
mod tests {
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

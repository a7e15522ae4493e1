//! A quick look at every position of a text: may a pattern start here? Says yes too often, never no where one does.
//!
//! Patterns of four bytes and more are known by a hash of their first four, in a table that fits a core's first
//! level cache; shorter ones by their first two bytes, exactly. Positions do not wait for one another, so eight are
//! looked up at once.

use super::pattern::{SHORT_BYTES_MAX, hash};

/// 2^18 bits: about one position in sixty passes with the four thousand patterns of two hundred secrets.
const LONG_WORDS: usize = 1 << 12;
const SHORT_WORDS: usize = 1 << 10;
/// Positions looked at in one step.
const STEP: usize = 8;
/// Bytes a step reads: the last of its positions needs three more.
const STEP_READS: usize = STEP + SHORT_BYTES_MAX;

/// The two tables.
#[derive(Clone)]
pub(super) struct Filter {
    long: Box<[u64; LONG_WORDS]>,
    short: Option<Box<[u64; SHORT_WORDS]>>,
}

impl Filter {
    pub(super) fn new() -> Self {
        Self {
            long: Box::new([0; LONG_WORDS]),
            short: None,
        }
    }

    /// Makes the filter pass every text that starts with the pattern. An empty pattern is not one.
    pub(super) fn insert(&mut self, pattern: &[u8]) {
        if let Some(first) = pattern.first_chunk::<4>() {
            let (word, bit) = long_place(u32::from_le_bytes(*first));
            self.long[word] |= 1 << bit;
            return;
        }
        let Some(first) = pattern.first() else { return };
        let short = self.short.get_or_insert_with(|| Box::new([0; SHORT_WORDS]));
        let seconds = match pattern.get(1) {
            Some(second) => *second..=*second,
            None => 0..=u8::MAX,
        };
        for second in seconds {
            let (word, bit) = short_place(u16::from_le_bytes([*first, second]));
            short[word] |= 1 << bit;
        }
    }

    /// Returns the first position from `from` on at which a pattern may start.
    ///
    /// Shape: the last [`SHORT_BYTES_MAX`] positions of the text always pass; the text's length means none.
    pub(super) fn next(&self, text: &[u8], from: usize) -> usize {
        match &self.short {
            None => self.walk(text, from, |_| 0),
            Some(short) => self.walk(text, from, |two| {
                let (word, bit) = short_place(two);
                short[word] >> bit & 1
            }),
        }
    }

    #[inline(always)]
    fn walk(&self, text: &[u8], from: usize, short: impl Fn(u16) -> u64) -> usize {
        let mut at = from;
        while let Some(window) = text.get(at..).and_then(<[u8]>::first_chunk::<STEP_READS>) {
            let mut hits = 0;
            for index in 0..STEP {
                let four = u32::from_le_bytes([
                    window[index],
                    window[index + 1],
                    window[index + 2],
                    window[index + 3],
                ]);
                let (word, bit) = long_place(four);
                let two = u16::from_le_bytes([window[index], window[index + 1]]);
                hits |= ((self.long[word] >> bit & 1) | short(two)) << index;
            }
            if hits != 0 {
                return at + hits.trailing_zeros() as usize;
            }
            at += STEP;
        }
        while let Some(window) = text.get(at..).and_then(<[u8]>::first_chunk::<4>) {
            let (word, bit) = long_place(u32::from_le_bytes(*window));
            if (self.long[word] >> bit & 1) | short(u16::from_le_bytes([window[0], window[1]])) != 0 {
                return at;
            }
            at += 1;
        }
        at
    }
}

#[inline(always)]
fn long_place(four: u32) -> (usize, u32) {
    let place = hash(four) >> (32 - LONG_WORDS.trailing_zeros() - 6);
    ((place >> 6) as usize, place & 63)
}

#[inline(always)]
fn short_place(two: u16) -> (usize, u32) {
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
        check(&["secret"], "a secret, its secre, sec and the end", &[2, 14]);
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

//! The patterns that are looked for: which is the longest that starts at a place, and may a longer one still come?
//! Exact, unlike the filter in front of it; must never be asked about a text it keeps.

use std::collections::BTreeSet;

use super::filter::Filter;

/// Patterns up to this length are looked up directly.
pub(super) const SHORT_BYTES_MAX: usize = 3;
const NONE: u32 = u32::MAX;

/// Mixes four bytes; the upper bits are the good ones. Source: Knuth's multiplicative hash.
#[inline(always)]
pub(super) fn hash(four: u32) -> u32 {
    four.wrapping_mul(0x9e37_79b1)
}

/// Whose a pattern is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// The place of the secret's name.
    pub(super) name: u32,
    /// Where this is found, the secret is. A line such as the heading of a key is masked, but is no proof.
    pub(super) proves: bool,
}

/// What starts at a place of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lookup {
    /// The longest pattern that is there whole: its length, and whose it is.
    pub(super) longest: Option<(usize, Owner)>,
    /// The text ends within a longer pattern.
    pub(super) open: bool,
}

impl Lookup {
    fn take(&mut self, length: usize, owner: Owner) {
        if self.longest.is_none_or(|(longest, _)| longest < length) {
            self.longest = Some((length, owner));
        }
    }
}

/// One pattern of four bytes or more.
#[derive(Clone)]
struct Entry {
    text: Box<[u8]>,
    owner: Owner,
    /// The longest other entry of the table that this one starts with.
    prefix: u32,
}

/// Entries by the hash of their first four bytes, and in order of their bytes within one hash.
#[derive(Clone)]
struct Table {
    entries: Vec<Entry>,
    /// Where each hash starts; one more at the end.
    starts: Vec<u32>,
    shift: u32,
}

impl Table {
    fn new(mut entries: Vec<Entry>) -> Self {
        let bits = entries.len().next_power_of_two().trailing_zeros().clamp(1, 20);
        let shift = 32 - bits;
        entries.sort_by(|a, b| {
            slot(&a.text, shift)
                .cmp(&slot(&b.text, shift))
                .then_with(|| a.text.cmp(&b.text))
                .then_with(|| b.owner.proves.cmp(&a.owner.proves))
        });
        entries.dedup_by(|later, earlier| later.text == earlier.text);
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for entry in &entries {
            starts[slot(&entry.text, shift) + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut open: Vec<u32> = Vec::new();
        for index in 0..entries.len() {
            while open
                .last()
                .is_some_and(|last| !entries[index].text.starts_with(&entries[*last as usize].text))
            {
                open.pop();
            }
            entries[index].prefix = open.last().copied().unwrap_or(NONE);
            open.push(u32::try_from(index).expect("the byte limit keeps patterns below 2^32"));
        }
        Self {
            entries,
            starts,
            shift,
        }
    }

    /// All entries that `text` starts with are on the chain of prefixes of the greatest entry not above it: what
    /// lies between a text and its prefix starts with that prefix, too.
    fn look(&self, text: &[u8], found: &mut Lookup) {
        let slot = slot(text, self.shift);
        let (start, end) = (self.starts[slot] as usize, self.starts[slot + 1] as usize);
        let bucket = &self.entries[start..end];
        if bucket.is_empty() {
            return;
        }
        let above = bucket.partition_point(|entry| *entry.text <= *text);
        found.open |= bucket
            .get(above)
            .is_some_and(|entry| entry.text.starts_with(text));
        if above == 0 {
            return;
        }
        let mut entry = &bucket[above - 1];
        let common = common_prefix(&entry.text, text);
        while entry.text.len() > common {
            if entry.prefix == NONE {
                return;
            }
            entry = &self.entries[entry.prefix as usize];
        }
        found.take(entry.text.len(), entry.owner);
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let blocks = a
        .chunks_exact(BLOCK)
        .zip(b.chunks_exact(BLOCK))
        .take_while(|(a, b)| a == b)
        .count();
    let start = blocks * BLOCK;
    start
        + a[start..]
            .iter()
            .zip(&b[start..])
            .take_while(|(a, b)| a == b)
            .count()
}

#[inline(always)]
fn slot(text: &[u8], shift: u32) -> usize {
    let four = text
        .first_chunk::<4>()
        .expect("short patterns and texts are looked up elsewhere");
    (hash(u32::from_le_bytes(*four)) >> shift) as usize
}

/// Up to three bytes as a number that tells lengths apart.
fn short_key(text: &[u8]) -> u32 {
    text.iter().fold(1, |key, byte| key << 8 | u32::from(*byte))
}

/// A set of patterns that may grow.
///
/// Tables double in size like the digits of a binary counter, so that a set grown one by one costs no more than
/// a few times one built at once.
#[derive(Clone)]
pub(super) struct Patterns {
    filter: Filter,
    tables: Vec<Table>,
    /// Patterns of one to three bytes with their owners, in order of their keys.
    short: Vec<(u32, Owner)>,
    /// Keys of what the longer patterns begin with.
    beginnings: BTreeSet<u32>,
    longest: usize,
    bytes: usize,
}

impl Patterns {
    pub(super) fn new() -> Self {
        Self {
            filter: Filter::new(),
            tables: Vec::new(),
            short: Vec::new(),
            beginnings: BTreeSet::new(),
            longest: 0,
            bytes: 0,
        }
    }

    /// The length of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The bytes of all patterns that were added.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.longest == 0
    }

    /// Adds patterns of one owner or several. Empty ones are passed over.
    pub(super) fn extend(&mut self, patterns: Vec<(Vec<u8>, Owner)>) {
        let mut entries = Vec::new();
        for (text, owner) in patterns {
            self.filter.insert(&text);
            self.longest = self.longest.max(text.len());
            self.bytes += text.len();
            for length in 1..text.len().min(SHORT_BYTES_MAX + 1) {
                self.beginnings.insert(short_key(&text[..length]));
            }
            if text.len() > SHORT_BYTES_MAX {
                entries.push(Entry {
                    text: text.into_boxed_slice(),
                    owner,
                    prefix: NONE,
                });
            } else if !text.is_empty()
                && let Err(place) = self
                    .short
                    .binary_search_by_key(&short_key(&text), |(key, _)| *key)
            {
                self.short.insert(place, (short_key(&text), owner));
            }
        }
        while let Some(last) = self.tables.pop_if(|last| last.entries.len() <= entries.len()) {
            entries.extend(last.entries);
        }
        if !entries.is_empty() {
            self.tables.push(Table::new(entries));
        }
    }

    /// Returns the patterns of that length and more that prove something, as a set of its own.
    pub(super) fn proofs(&self, bytes_min: usize) -> Self {
        let entries = self.tables.iter().flat_map(|table| &table.entries);
        let proofs = entries.filter(|entry| entry.owner.proves && entry.text.len() >= bytes_min);
        let mut set = Self::new();
        set.extend(proofs.map(|entry| (entry.text.to_vec(), entry.owner)).collect());
        set
    }

    /// Returns the first place from `from` on that is worth a [`Patterns::look`]; the text's length means none.
    #[inline(always)]
    pub(super) fn next(&self, text: &[u8], from: usize) -> usize {
        self.filter.next(text, from)
    }

    /// Looks up what starts where `text` starts.
    pub(super) fn look(&self, text: &[u8]) -> Lookup {
        let mut found = Lookup::default();
        if !self.short.is_empty() {
            for length in 1..=text.len().min(SHORT_BYTES_MAX) {
                let key = short_key(&text[..length]);
                if let Ok(place) = self.short.binary_search_by_key(&key, |(key, _)| *key) {
                    found.take(length, self.short[place].1);
                }
            }
        }
        if text.len() > SHORT_BYTES_MAX {
            self.tables.iter().for_each(|table| table.look(text, &mut found));
        } else {
            found.open = self.beginnings.contains(&short_key(text));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn owner(name: u32) -> Owner {
        Owner { name, proves: true }
    }

    fn naive(patterns: &[Vec<u8>], text: &[u8]) -> (Option<usize>, bool) {
        let whole = patterns
            .iter()
            .filter(|pattern| !pattern.is_empty() && text.starts_with(pattern));
        let open = patterns
            .iter()
            .any(|pattern| pattern.len() > text.len() && pattern.starts_with(text));
        (whole.map(Vec::len).max(), open)
    }

    proptest! {
        #[test]
        fn a_set_grown_in_any_steps_finds_what_a_plain_search_finds(
            steps in prop::collection::vec(prop::collection::vec("[ab]{0,9}", 0..5), 1..6),
            text in "[ab]{1,12}",
        ) {
            let mut patterns = Patterns::new();
            let mut all = Vec::new();
            for step in steps {
                let step: Vec<Vec<u8>> = step.into_iter().map(String::into_bytes).collect();
                all.extend(step.clone());
                patterns.extend(step.into_iter().map(|text| (text, owner(0))).collect());
            }
            let found = patterns.look(text.as_bytes());
            let expected = naive(&all, text.as_bytes());
            prop_assert_eq!((found.longest.map(|(length, _)| length), found.open), expected);
            if expected.0.is_some() {
                prop_assert_eq!(patterns.next(text.as_bytes(), 0), 0);
            }
        }
    }

    #[test]
    fn a_common_prefix_is_counted_to_the_byte() {
        for length in [0, 1, 31, 32, 33, 64, 100] {
            let (a, mut b) = (vec![b'a'; 100], vec![b'a'; 100]);
            b[length.min(99)..].fill(b'b');
            assert_eq!(common_prefix(&a, &b), length.min(99));
            assert_eq!(common_prefix(&a, &a[..length]), length);
        }
    }

    #[test]
    fn the_owner_of_the_longest_pattern_is_named() {
        let mut patterns = Patterns::new();
        patterns.extend(vec![
            (b"abc".to_vec(), owner(1)),
            (b"abcdef".to_vec(), owner(2)),
            (b"abcdefgh".to_vec(), owner(3)),
        ]);
        assert_eq!(patterns.look(b"abcdefgx").longest, Some((6, owner(2))));
        assert_eq!(patterns.look(b"abcdexxx").longest, Some((3, owner(1))));
        assert_eq!(patterns.look(b"abxxxxxx").longest, None);
    }
}

//! An index as its difference from another one, for repositories of very many files. Owns the form; must never be used
//! for repositories whose whole index is small, as programs that are not Git itself do not read it. Source: Git's
//! `gitformat-index`, "Split index"; `gitformat-bitmap`, "Appendix A: Serialization format for an EWAH bitmap".

use std::collections::BTreeMap;

/// The shortest index that is written as a difference, in bytes: that of about ten thousand files.
pub(super) const SPLIT_BYTES_MIN: u64 = 1_000_000;

/// Bytes of an entry before its path.
const ENTRY_BYTES: usize = 62;
const HASH_BYTES: usize = 20;
const HEADER_BYTES: usize = 12;

/// One file as an index knows it: everything of its entry but the flags and the path.
pub(super) type Stat = [u8; ENTRY_BYTES - 2];

/// Returns the entry of a file: 10 numbers of its metadata and the object's name.
pub(super) fn stat_bytes(stat: &gix::index::entry::Stat, mode: u32, id: &[u8]) -> Stat {
    let numbers = [
        stat.ctime.secs,
        stat.ctime.nsecs,
        stat.mtime.secs,
        stat.mtime.nsecs,
        stat.dev,
        stat.ino,
        mode,
        stat.uid,
        stat.gid,
        stat.size,
    ];
    let mut bytes = [0; ENTRY_BYTES - 2];
    for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    bytes[40..].copy_from_slice(id);
    bytes
}

/// Returns the name under which Git looks for the index another one differs from; `None` if it is not an index.
pub(super) fn shared_name(base: &[u8]) -> Option<String> {
    let hash = base.get(base.len().checked_sub(HASH_BYTES)?..)?;
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sharedindex.{hex}"))
}

/// Returns the index that differs from `base` in these paths; `None` stands for a file that is gone. Nothing if `base`
/// is of a form this does not read.
pub(super) fn split_index(base: &[u8], changed: &BTreeMap<Vec<u8>, Option<Stat>>) -> Option<Vec<u8>> {
    let mut added = changed.clone();
    let (mut deleted, mut replaced, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for (number, path) in (0_u64..).zip(Entries::of(base)?) {
        match added.remove(path?) {
            None => {}
            Some(None) => deleted.push(number),
            Some(Some(stat)) => {
                replaced.push(number);
                push_entry(&mut entries, &stat, b"");
            }
        }
    }
    let mut count = u32::try_from(replaced.len()).ok()?;
    for (path, stat) in added {
        if let Some(stat) = stat {
            push_entry(&mut entries, &stat, &path);
            count += 1;
        }
    }
    let mut link = base[base.len() - HASH_BYTES..].to_vec();
    push_bitmap(&mut link, &deleted);
    push_bitmap(&mut link, &replaced);
    let mut bytes = b"DIRC\0\0\0\x02".to_vec();
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&entries);
    bytes.extend_from_slice(b"link");
    bytes.extend_from_slice(&u32::try_from(link.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&link);
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&bytes);
    bytes.extend_from_slice(hasher.try_finalize().ok()?.as_slice());
    Some(bytes)
}

/// The paths of an index of version 2, in its order.
struct Entries<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Entries<'a> {
    fn of(index: &'a [u8]) -> Option<Self> {
        let header = index.get(..HEADER_BYTES)?;
        let count = u32::from_be_bytes(header[8..].try_into().ok()?);
        header.starts_with(b"DIRC\0\0\0\x02").then_some(Self {
            rest: &index[HEADER_BYTES..],
            left: count,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<&'a [u8]>;

    /// `None` inside for an entry that is not one.
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let path = self.rest.get(ENTRY_BYTES..);
        let length = path.and_then(|path| path.iter().position(|byte| *byte == 0));
        let (Some(path), Some(length)) = (path, length) else {
            self.left = 0;
            return Some(None);
        };
        // One to eight zero bytes follow, up to a multiple of eight.
        self.rest = self
            .rest
            .get((ENTRY_BYTES + length + 8) / 8 * 8..)
            .unwrap_or_default();
        Some(Some(&path[..length]))
    }
}

fn push_entry(to: &mut Vec<u8>, stat: &Stat, path: &[u8]) {
    let start = to.len();
    to.extend_from_slice(stat);
    // The length of the path as far as 12 bits hold it; no flag is set.
    let length = u16::try_from(path.len()).unwrap_or(u16::MAX).min(0xfff);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(path);
    let end = start + (ENTRY_BYTES + path.len() + 8) / 8 * 8;
    to.resize(end, 0);
}

/// Writes a set of numbers, in their order: words of 64 bits, of which runs of empty ones are counted only.
fn push_bitmap(to: &mut Vec<u8>, numbers: &[u64]) {
    let mut literals: BTreeMap<u64, u64> = BTreeMap::new();
    for number in numbers {
        *literals.entry(number / 64).or_default() |= 1 << (number % 64);
    }
    let mut words: Vec<u64> = Vec::new();
    let mut next = 0;
    let mut last = 0;
    for (at, literal) in literals {
        // Each literal has a marker of its own: how many empty words are before it, and that one follows.
        last = words.len();
        words.push((at - next) << 1 | 1 << 33);
        words.push(literal);
        next = at + 1;
    }
    if words.is_empty() {
        words.push(0);
    }
    let short = |number: u64| u32::try_from(number).expect("an index has fewer than 2^32 entries");
    to.extend_from_slice(&short(numbers.last().map_or(0, |last| last + 1)).to_be_bytes());
    to.extend_from_slice(&short(words.len() as u64).to_be_bytes());
    for word in &words {
        to.extend_from_slice(&word.to_be_bytes());
    }
    to.extend_from_slice(&short(last as u64).to_be_bytes());
}

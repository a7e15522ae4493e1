//! Walks a stream for patterns, whatever pieces it comes in. Keeps the bytes from the first place on whose answer
//! still hangs on what follows; must never keep more than the longest pattern between two pieces.

use super::pattern::{Owner, Patterns};

/// How many bytes are looked at together: the working memory of a scan, besides what it holds back.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Finds the longest pattern at every place of `text`, in order of places.
///
/// Returns where it stopped: the text's length, or the first place at which a longer pattern may still come. With
/// `last` nothing comes any more. `found` gets place, length and owner, and may end the walk with `false`.
pub(super) fn walk(
    patterns: &Patterns,
    text: &[u8],
    last: bool,
    mut found: impl FnMut(usize, usize, Owner) -> bool,
) -> usize {
    if patterns.is_empty() {
        return text.len();
    }
    let mut at = 0;
    loop {
        at = patterns.next(text, at);
        if at >= text.len() {
            return text.len();
        }
        let look = patterns.look(&text[at..]);
        if look.open && !last {
            return at;
        }
        if let Some((length, owner)) = look.longest
            && !found(at, length, owner)
        {
            return at;
        }
        at += 1;
    }
}

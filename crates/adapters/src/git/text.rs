//! Merging the text of one file line by line. Owns the arithmetic of hunks; must give what Git's xdiff gives, and
//! says so when it cannot tell.
//!
//! Source: `xdl_do_merge` and `xdl_refine_conflicts` of Git's xdiff/xmerge.c at level `XDL_MERGE_ZEALOUS`.

use std::ops::Range;

use gix::diff::blob::{Algorithm, Diff, InternedInput, Token};

/// How far into a file Git looks for a zero byte to call it binary. Source: `buffer_is_binary`, xdiff-interface.c.
const BINARY_PROBE_BYTES: usize = 8000;

/// What merging a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// The merged content.
    Clean(Vec<u8>),
    /// Both sides changed the same lines, or lines that touch.
    Conflict,
    /// Two ways to align the lines disagree, so Git has to be asked.
    Unsure,
}

/// Merges two versions of a file over their base.
pub(super) fn merge_text(base: &[u8], ours: &[u8], theirs: &[u8]) -> Text {
    let is_binary = |data: &[u8]| data[..data.len().min(BINARY_PROBE_BYTES)].contains(&0);
    if is_binary(base) || is_binary(ours) || is_binary(theirs) {
        return Text::Conflict;
    }
    // Git aligns by histogram. Where the plain algorithm leads to the same merge, no detail of its histogram
    // (how long chains may be, when it falls back) can matter.
    let sides = Sides::new(base, ours, theirs);
    let histogram = sides.merge(Algorithm::Histogram);
    if histogram == sides.merge(Algorithm::Myers) {
        return histogram.map_or(Text::Conflict, Text::Clean);
    }
    Text::Unsure
}

struct Sides<'a> {
    ours: InternedInput<&'a [u8]>,
    theirs: InternedInput<&'a [u8]>,
}

#[derive(Debug, Clone)]
struct Hunk {
    before: Range<usize>,
    after: Range<usize>,
}

impl<'a> Sides<'a> {
    fn new(base: &'a [u8], ours: &'a [u8], theirs: &'a [u8]) -> Self {
        let input = |side| {
            let lines = gix::diff::blob::sources::byte_lines;
            InternedInput::new(lines(base), lines(side))
        };
        Self {
            ours: input(ours),
            theirs: input(theirs),
        }
    }

    /// Returns the merged content, or `None` for a conflict.
    fn merge(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        let ours = hunks(algorithm, &self.ours);
        let theirs = hunks(algorithm, &self.theirs);
        let mut merged = Vec::new();
        let mut done = 0;
        let (mut our, mut their) = (ours.iter().peekable(), theirs.iter().peekable());
        loop {
            // Hunks that overlap or touch belong together.
            let mut our_span: Option<(&Hunk, &Hunk)> = None;
            let mut their_span: Option<(&Hunk, &Hunk)> = None;
            let mut end = match (our.peek(), their.peek()) {
                (None, None) => break,
                (Some(one), None) | (None, Some(one)) => one.before.start,
                (Some(one), Some(other)) => one.before.start.min(other.before.start),
            };
            let start = end;
            let mut first = true;
            loop {
                let mut grown = false;
                for (side, span) in [(&mut our, &mut our_span), (&mut their, &mut their_span)] {
                    let joins = |hunk: &&Hunk| {
                        if first {
                            hunk.before.start == start
                        } else {
                            hunk.before.start <= end
                        }
                    };
                    if let Some(hunk) = side.next_if(|hunk| joins(hunk)) {
                        *span = Some((span.map_or(hunk, |(first, _)| first), hunk));
                        end = end.max(hunk.before.end);
                        grown = true;
                    }
                }
                first = false;
                if !grown {
                    break;
                }
            }
            copy(&mut merged, &self.ours, &self.ours.before[done..start]);
            match (our_span, their_span) {
                (Some(span), None) => copy(&mut merged, &self.ours, after(&self.ours, span, start, end)),
                (None, Some(span)) => copy(&mut merged, &self.theirs, after(&self.theirs, span, start, end)),
                (Some(our_span), Some(their_span)) => {
                    let mine = text(&self.ours, after(&self.ours, our_span, start, end));
                    if mine != text(&self.theirs, after(&self.theirs, their_span, start, end)) {
                        return None;
                    }
                    merged.extend_from_slice(&mine);
                }
                (None, None) => break,
            }
            done = end;
        }
        copy(&mut merged, &self.ours, &self.ours.before[done..]);
        Some(merged)
    }
}

fn hunks(algorithm: Algorithm, input: &InternedInput<&[u8]>) -> Vec<Hunk> {
    let mut diff = Diff::compute(algorithm, input);
    diff.postprocess_no_heuristic(input);
    let wide = |range: Range<u32>| range.start as usize..range.end as usize;
    diff.hunks()
        .map(|hunk| Hunk {
            before: wide(hunk.before),
            after: wide(hunk.after),
        })
        .collect()
}

/// Returns the lines that stand for the base's lines `start..end` on a side whose hunks in there are `span`.
fn after<'a>(
    input: &'a InternedInput<&[u8]>,
    (first, last): (&Hunk, &Hunk),
    start: usize,
    end: usize,
) -> &'a [Token] {
    let from = first.after.start - (first.before.start - start);
    let to = last.after.end + (end - last.before.end);
    &input.after[from..to]
}

fn text(input: &InternedInput<&[u8]>, lines: &[Token]) -> Vec<u8> {
    let mut text = Vec::new();
    copy(&mut text, input, lines);
    text
}

fn copy(out: &mut Vec<u8>, input: &InternedInput<&[u8]>, lines: &[Token]) {
    for line in lines {
        out.extend_from_slice(input.interner[*line]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &str, ours: &str, theirs: &str, wanted: Option<&str>) {
        let merged = merge_text(base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
        let wanted = wanted.map_or(Text::Conflict, |text| Text::Clean(text.as_bytes().to_vec()));
        assert_eq!(merged, wanted, "{base:?} {ours:?} {theirs:?}");
    }

    #[test]
    fn edits_one_line_apart_merge_and_edits_that_touch_conflict() {
        check("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", Some("A\nb\nC\n"));
        check("a\nb\nc\n", "A\nb\nc\n", "a\nB\nc\n", None);
        check("a\nb\n", "x\na\nb\n", "y\na\nb\n", None);
    }

    #[test]
    fn what_both_did_alike_is_taken_once() {
        check("a\nb\nc\nd\n", "a\nX\nc\nD\n", "A\nX\nc\nd\n", None);
        check(
            "a\nb\nc\nd\n",
            "a\nX\nc\nD\n",
            "a\nX\nc\nd\n",
            Some("a\nX\nc\nD\n"),
        );
        check("a\n", "a\nb\n", "a\nb\n", Some("a\nb\n"));
    }

    #[test]
    fn a_missing_newline_at_the_end_is_part_of_the_last_line() {
        check("a\nb\nc", "A\nb\nc", "a\nb\nc\n", Some("A\nb\nc\n"));
        check("a\nb\nc", "a\nb\nc\n", "a\nb\nc\nd\n", None);
    }

    #[test]
    fn a_zero_byte_makes_every_edit_by_both_a_conflict() {
        check("a\nb\n\0", "A\nb\n\0", "a\nb\n\0\nC", None);
    }
}

//! Replaces secrets in a stream. What comes out hangs on the bytes alone, never on how they were cut into pieces.

use std::fmt;

use super::scan::{PIECE_BYTES, walk};
use super::secrets::{MaskError, Secrets};

/// What stands where a secret stood. Secrets that overlap or touch leave one of it.
pub const MASK: &str = "***";

/// Masks one stream.
///
/// Shape: holds back the end of what came only while it may be the beginning of a secret, at most the longest form.
/// Once [`Masker::add`] has failed nothing is given out any more, as nobody knows what would have to be masked.
pub struct Masker {
    secrets: Secrets,
    /// Bytes that have not been given out.
    held: Vec<u8>,
    /// So many bytes of `held` are known to be part of a secret.
    covered: usize,
    /// The last byte before `held[covered]` was masked: a secret that starts there belongs to the same mask.
    in_mask: bool,
    failed: bool,
    withheld_bytes: u64,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker")
            .field("secrets", &self.secrets)
            .field("held_bytes", &self.held.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Masker {
    /// Starts a stream that is masked with these secrets.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self {
            secrets: secrets.clone(),
            held: Vec::new(),
            covered: 0,
            in_mask: false,
            failed: false,
            withheld_bytes: 0,
        }
    }

    /// Takes the next bytes and appends to `out` what is certain.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.failed {
            self.withheld_bytes += bytes.len() as u64;
            return;
        }
        for piece in bytes.chunks(PIECE_BYTES) {
            self.held.extend_from_slice(piece);
            self.release(false, out);
        }
    }

    /// Ends the stream: what was held back goes out unless it is a secret. The masker may then begin another stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        self.release(true, out);
        self.in_mask = false;
    }

    /// Masks one more secret from here on, what is held back included.
    ///
    /// Errors: those of [`Secrets::insert`]. The stream then gives nothing out any more.
    pub fn add(&mut self, name: &str, value: &[u8]) -> Result<(), MaskError> {
        let added = self.secrets.insert(name, value);
        if added.is_err() {
            self.failed = true;
            self.withheld_bytes += self.held.len() as u64;
            self.held.clear();
            self.covered = 0;
        }
        added
    }

    /// Goes on with other secrets, for a stream beside the one in which a secret was added.
    ///
    /// Shape: they should hold those from before; a stream that has failed stays so.
    pub fn set_secrets(&mut self, secrets: &Secrets) {
        self.secrets = secrets.clone();
    }

    /// Returns the secrets, those added meanwhile included.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Returns how many bytes were not given out because a secret could not be added.
    #[must_use]
    pub fn withheld_bytes(&self) -> u64 {
        self.withheld_bytes
    }

    fn release(&mut self, last: bool, out: &mut Vec<u8>) {
        let Self {
            held,
            covered,
            in_mask,
            ..
        } = self;
        let stop = walk(self.secrets.patterns(), held, last, |at, length, _| {
            if *in_mask && at <= *covered {
                *covered = (*covered).max(at + length);
            } else {
                out.extend_from_slice(&held[*covered..at]);
                out.extend_from_slice(MASK.as_bytes());
                *in_mask = true;
                *covered = at + length;
            }
            true
        });
        if *covered < stop {
            out.extend_from_slice(&held[*covered..stop]);
            *in_mask = false;
            *covered = stop;
        }
        *covered -= stop;
        held.drain(..stop);
    }
}

/// Masks a whole text.
#[must_use]
pub fn mask_bytes(secrets: &Secrets, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut masker = Masker::new(secrets);
    masker.push(bytes, &mut out);
    masker.finish(&mut out);
    out
}

/// Masks a whole text.
///
/// Shape: a secret that is no UTF-8 may end within a character; what is left of that becomes U+FFFD.
#[must_use]
pub fn mask_text(secrets: &Secrets, text: &str) -> String {
    String::from_utf8(mask_bytes(secrets, text.as_bytes()))
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        let mut secrets = Secrets::new();
        secrets
            .extend(values.iter().map(|value| ("NAME", value.as_bytes())))
            .expect("small secrets fit");
        secrets
    }

    /// The rule itself: every byte of every occurrence is covered; each unbroken run becomes one mask.
    fn naive(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let mut covered = vec![false; text.len()];
        for pattern in patterns.iter().filter(|pattern| !pattern.is_empty()) {
            for at in 0..text.len() {
                if text[at..].starts_with(pattern) {
                    covered[at..at + pattern.len()].fill(true);
                }
            }
        }
        let mut out = Vec::new();
        for at in 0..text.len() {
            if !covered[at] {
                out.push(text[at]);
            } else if at == 0 || !covered[at - 1] {
                out.extend_from_slice(MASK.as_bytes());
            }
        }
        out
    }

    fn forms_of(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
        values
            .iter()
            .flat_map(|value| crate::mask::encode::forms(value))
            .collect()
    }

    fn mask_in_pieces(secrets: &Secrets, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut masker, mut out) = (Masker::new(secrets), Vec::new());
        for piece in pieces {
            masker.push(piece, &mut out);
            assert!(
                masker.held.len() < secrets.longest_form().max(1),
                "more is held back than a form needs"
            );
        }
        masker.finish(&mut out);
        out
    }

    fn check(values: &[&str], text: &str, expected: &str) {
        let secrets = secrets(values);
        assert_eq!(mask_text(&secrets, text), expected, "{values:?} in {text:?}");
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(
            String::from_utf8_lossy(&mask_in_pieces(&secrets, &single)),
            expected,
            "byte by byte"
        );
        for one in 0..=text.len() {
            for two in one..=text.len() {
                let pieces = [
                    &text.as_bytes()[..one],
                    &text.as_bytes()[one..two],
                    &text.as_bytes()[two..],
                ];
                let masked = mask_in_pieces(&secrets, &pieces);
                assert_eq!(
                    String::from_utf8_lossy(&masked),
                    expected,
                    "{text:?} cut at {one} and {two}"
                );
            }
        }
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        check(
            &["hunter2"],
            "hunter2 a hunter2, hunter hunter2",
            "*** a ***, hunter ***",
        );
        check(&[], "nothing is secret", "nothing is secret");
        check(&["hunter2"], "", "");
    }

    #[test]
    fn secrets_that_overlap_or_touch_leave_one_mask() {
        check(&["abcd", "cdef"], "xabcdefx", "x***x");
        check(&["abcd", "efgh"], "xabcdefghx", "x***x");
        check(&["abab"], "abababx", "***x");
        check(&["bcd", "abcdef"], "abcde abcdef", "a***e ***");
        check(&["aa"], "aaaaa a", "*** a");
    }

    #[test]
    fn a_secret_of_one_byte_is_one_too() {
        check(&["x"], "xx-x-", "***-***-");
        check(&["ab", "x", "xyz"], "abxyab yz", "***y*** yz");
    }

    #[test]
    fn each_line_of_a_secret_is_secret_and_the_line_ends_stay() {
        check(
            &["first line\r\n\n  second  \n"],
            "a first line\nsecond\r\nthird\n",
            "a ***\n***\r\nthird\n",
        );
        check(&["first line\nsecond"], "first line\nsecond\n", "***\n");
        check(
            &["first line\nsecond"],
            r#"{"a":"first line\nsecond"}"#,
            r#"{"a":"***"}"#,
        );
    }

    #[test]
    fn the_end_of_a_stream_shows_what_is_not_a_whole_secret() {
        check(&["hunter2!"], "it is hunter2", "it is hunter2");
        check(&["hunter2", "hunter2hunter3"], "hunter2hunter", "***hunter");
    }

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let value = "\"a'b<c&pass\\word%é\"";
        for form in crate::mask::encode::forms(value.as_bytes())
            .into_iter()
            .filter(|form| !form.is_empty())
        {
            let form = String::from_utf8(form).expect("the forms of a text are texts");
            assert_eq!(
                mask_text(&secrets(&[value]), &format!("<{form}>")),
                "<***>",
                "{form}"
            );
        }
        let encoded = "YTpzZWNyZXRfcGFzc3dvcmQK";
        assert_eq!(
            mask_text(&secrets(&["secret_password"]), encoded),
            "YTpz***cmQK",
            "a:secret_password and a line end"
        );
    }

    #[test]
    fn what_can_be_no_secret_goes_out_at_once() {
        let (mut masker, mut out) = (Masker::new(&secrets(&["hunter2hunter2"])), Vec::new());
        masker.push(b"all of this line\n", &mut out);
        assert_eq!(out, b"all of this line\n");
        masker.push(b"but not hunt", &mut out);
        assert_eq!(out, b"all of this line\nbut not ");
    }

    #[test]
    fn a_secret_added_meanwhile_is_masked_in_what_has_not_gone_out() {
        let (mut masker, mut out) = (Masker::new(&secrets(&["hunter2hunter2"])), Vec::new());
        masker.push(b"old hunter2h", &mut out);
        masker.add("LATE", b"hunter2").expect("a small secret fits");
        masker.push(b"unter", &mut out);
        masker.finish(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), "old ***hunter");
        assert_eq!(masker.secrets().longest_form(), 20);
    }

    #[test]
    fn a_stream_may_go_on_with_the_secrets_of_another() {
        let (mut masker, mut out) = (Masker::new(&secrets(&["abcd"])), Vec::new());
        let mut beside = Masker::new(masker.secrets());
        beside.add("LATE", b"bcx").expect("a small secret fits");
        masker.push(b"-abc", &mut out);
        masker.set_secrets(beside.secrets());
        masker.push(b"x-abcd", &mut out);
        masker.finish(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), "-a***-***");
    }

    #[test]
    fn a_masker_that_cannot_mask_a_secret_gives_nothing_out() {
        let (mut masker, mut out) = (Masker::new(&secrets(&["hunter2"])), Vec::new());
        masker.push(b"shown hunt", &mut out);
        let long = vec![b'x'; crate::limits::MASK_SECRET_BYTES_MAX + 1];
        assert!(masker.add("LONG", &long).is_err());
        masker.push(b"er3 hidden", &mut out);
        masker.finish(&mut out);
        assert_eq!(
            (String::from_utf8_lossy(&out).as_ref(), masker.withheld_bytes()),
            ("shown ", 14)
        );
    }

    #[test]
    fn a_masker_begins_anew_after_the_end() {
        let (mut masker, mut out) = (Masker::new(&secrets(&["abcd"])), Vec::new());
        for _ in 0..2 {
            masker.push(b"abcd", &mut out);
            masker.finish(&mut out);
        }
        assert_eq!(out, b"******");
    }

    proptest! {
        #[test]
        fn any_text_in_any_pieces_is_masked_as_the_rule_says(
            values in prop::collection::vec("[ab&\"]{1,7}", 0..6),
            text in "[ab&\"YWIx= ]{0,60}",
            cuts in prop::collection::vec(0_usize..60, 0..8),
        ) {
            let mut secrets = Secrets::new();
            for value in &values {
                secrets.insert("NAME", value.as_bytes()).expect("small secrets fit");
            }
            let values: Vec<Vec<u8>> = values.into_iter().map(String::into_bytes).collect();
            let expected = naive(&forms_of(&values), text.as_bytes());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(mask_in_pieces(&secrets, &pieces), expected.clone());
            for one in 0..=text.len() {
                let pieces = [&text.as_bytes()[..one], &text.as_bytes()[one..]];
                prop_assert_eq!(mask_in_pieces(&secrets, &pieces), expected.clone());
            }
        }

        #[test]
        fn bytes_of_any_kind_around_secrets_of_any_kind_are_masked_as_the_rule_says(
            values in prop::collection::vec(prop::collection::vec(33_u8..127, 1..20), 1..5),
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), any::<prop::sample::Index>()), 0..12),
            size in 1_usize..40,
        ) {
            let mut secrets = Secrets::new();
            secrets.extend(values.iter().map(|value| ("NAME", value.as_slice()))).expect("small secrets fit");
            let forms = forms_of(&values);
            let mut text = Vec::new();
            for (noise, form) in parts {
                text.extend(noise);
                text.extend(&forms[form.index(forms.len())]);
            }
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            prop_assert_eq!(mask_in_pieces(&secrets, &pieces), naive(&forms, &text));
        }
    }
}

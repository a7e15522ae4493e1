//! The one masker for every byte that leaves a box: logs, artifacts, summaries, receipts, transcripts. Owns which
//! forms of a secret are recognised and how they are replaced; must never show a secret, in an error or otherwise.

mod detect;
mod encode;
mod filter;
mod masker;
mod pattern;
mod scan;
mod secrets;

pub use detect::{Detector, Finding, contains_secret, find_secret};
pub use masker::{MASK, Masker, mask_bytes, mask_text};
pub use secrets::{MaskError, Secrets};

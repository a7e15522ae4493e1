//! Images that hold secrets: what they look like, and where in an image they are found.

mod forms;
mod image;
mod stream;

pub use image::{Finding, ScanError};
pub(crate) use image::{scan_config, scan_tree};

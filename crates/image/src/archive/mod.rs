//! Tar archives as bytes: headers in and out. Must never touch a file system.

mod header;
mod reader;
mod writer;

pub(crate) use header::Kind;
pub use reader::TarError;
pub(crate) use reader::{Entry, RawSink, TarReader};
pub(crate) use writer::{Meta, TarWriter, WriteEntry};

//! Versions of toolchains and the ranges workflows ask for. Declares its parts only.

mod file;
mod semver;
mod wanted;

pub use file::{VersionFileError, version_in_file};
pub use semver::{Range, Version};
pub use wanted::{Tool, Wanted};
pub(crate) use wanted::{go_spelling, python_spelling};

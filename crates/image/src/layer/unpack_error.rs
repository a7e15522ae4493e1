//! Why a layer was not unpacked. Owns the words; the rules are `unpack`'s.

use std::io;

use crate::archive::TarError;

/// Why a layer was not unpacked. What was made of it stays in the folder; its owner removes that.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive itself.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry points outside of the layer.
    #[error("{path}: {why}; this archive is broken or hostile, and nothing of it was kept")]
    Escape {
        /// The entry.
        path: String,
        /// How.
        why: &'static str,
    },
    /// A bound is reached.
    #[error("the layer has more than {max} {what}; nothing of it was kept")]
    Bound {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        max: u64,
    },
    /// The file system refused.
    #[error("{path} cannot be unpacked")]
    Io {
        /// The entry.
        path: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

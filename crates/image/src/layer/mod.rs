//! Layers: a tar unpacked as a folder that can be the lower of an overlay, the tar put together again from it, and
//! what a step changed written as a tar.

mod capture;
mod notes;
mod owner;
mod reassemble;
mod skeleton;
pub(crate) mod stack;
mod unpack;
mod unpack_error;
pub(crate) mod whiteout;

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
use unpack::Unpacked;

pub use capture::CaptureError;
pub(crate) use capture::capture;
pub use notes::{Note, NoteKind, Notes};
pub(crate) use owner::OwnerBase;
pub use reassemble::ReassembleError;
pub(crate) use reassemble::reassemble;
pub use unpack::LayerLimits;
pub(crate) use unpack::unpack;
pub use unpack_error::UnpackError;

/// The folder of a layer that is the overlay's lower.
pub(crate) const TREE: &str = "tree";
/// Files that a later entry of the same archive replaced, kept for putting it together again.
const REPLACED: &str = "replaced";
/// Every byte of the archive that is not a file's content, compressed.
const SKELETON: &str = "skeleton.gz";
/// The paths of the contents, in the order of the archive, each ended by NUL.
const CONTENTS: &str = "contents";

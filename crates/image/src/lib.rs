//! Images of boxes: a store of layers in one directory, the formats they come in and go out as, recipes and the
//! builder. Must never start a process, read a clock, or open a socket outside of `registry`.

mod archive;
mod beneath;
mod bounded;
mod digest;
mod layer;

pub use archive::TarError;
pub use digest::{Digest, DigestError};
pub use layer::{CaptureError, LayerLimits, Note, NoteKind, Notes, ReassembleError, UnpackError};

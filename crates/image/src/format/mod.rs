//! The formats images come in and go out as: plain tars, `docker save` archives, OCI layouts.

mod documents;
mod export;
mod import;
mod members;

#[cfg(test)]
pub(crate) use documents::host_architecture;

pub use documents::{ConfigDocument, History, RunConfig};
pub(crate) use documents::{Descriptor, Index, MEDIA_CONFIG, MEDIA_LAYER, MEDIA_MANIFEST, Manifest};
pub use export::{ExportError, ExportFormat, Exported};
pub use import::{ImportError, ImportRequest, Imported};
pub(crate) use import::{
    add_blob_layer, check_digest, check_layer_count, no_platform, parse_document, publish,
};

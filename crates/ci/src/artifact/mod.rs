//! The artifacts of one run: named once, kept as zip files. Declares its parts only.

mod download;
mod name;
mod store;
mod unpack;
mod upload;

pub use download::{DownloadError, DownloadSpec, Downloaded, Wanted, choose, download};
pub use name::{ArtifactName, NameError, matches_name};
pub use store::{Artifact, ArtifactStore, StoreError};
pub use unpack::{UnpackError, Unpacked, unpack};
pub use upload::{IfNoFiles, Retention, UploadError, UploadSpec, Uploaded, merge, upload};

//! The store: layers, documents and names under one folder, for several processes at once.

mod durable;
mod image_store;
mod lease;
mod record;
mod remove;
mod transaction;

#[cfg(test)]
mod tests;

pub use image_store::{ImageLimits, ImageStore, StoreError};
pub use lease::Lease;
pub use record::{BakedInputs, ImageRecord, LayerRecord, StepRecord};
pub use remove::Swept;
pub use transaction::Progress;
pub(crate) use transaction::{NewImage, Transaction};

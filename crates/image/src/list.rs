//! What there is, for people and `--json`.

use serde::Serialize;

use crate::digest::Digest;
use crate::format::ConfigDocument;
use crate::name::ImageName;
use crate::store::{ImageRecord, ImageStore, LayerRecord, StoreError};

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedImage {
    /// The image.
    pub digest: Digest,
    /// Its names, in their order; none for one that lost its name to a newer one.
    pub names: Vec<ImageName>,
    /// When it came into the store, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was used last, in milliseconds since 1970.
    pub used_ms: i64,
    /// How many layers it has.
    pub layer_count: usize,
    /// Bytes of its layers' files; layers that others share are counted, too.
    pub content_bytes: u64,
    /// Whether a box stands on it now.
    pub in_use: bool,
}

/// All that is known of an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectedImage {
    /// What the store wrote down.
    pub record: ImageRecord,
    /// Its names.
    pub names: Vec<ImageName>,
    /// Its configuration.
    pub config: ConfigDocument,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerRecord>,
    /// Whether a box stands on it now.
    pub in_use: bool,
}

impl ImageStore {
    /// Returns all images, the one used last first.
    ///
    /// Errors: the store's.
    pub fn list(&self) -> Result<Vec<ListedImage>, StoreError> {
        let names = self.names()?;
        let mut found = Vec::new();
        for digest in self.digests()? {
            // One that was removed since is not there any more.
            let Some(record) = self.find(digest)? else {
                continue;
            };
            let mut content_bytes = 0;
            for layer in &record.layers {
                content_bytes += self.layer_record(*layer)?.content_bytes;
            }
            found.push(ListedImage {
                digest,
                names: names_of(&names, digest),
                created_ms: record.created_ms,
                used_ms: self
                    .used(digest)?
                    .map_or(record.created_ms, |used| used.as_millis()),
                layer_count: record.layers.len(),
                content_bytes,
                in_use: self.is_leased(digest)?,
            });
        }
        found.sort_by_key(|image| (std::cmp::Reverse(image.used_ms), image.digest));
        Ok(found)
    }

    /// Returns all that is known of an image.
    ///
    /// Errors: [`StoreError::Unknown`], and the store's.
    pub fn inspect(&self, digest: Digest) -> Result<InspectedImage, StoreError> {
        let record = self.record(digest)?;
        let layers = record
            .layers
            .iter()
            .map(|layer| self.layer_record(*layer))
            .collect::<Result<_, _>>()?;
        Ok(InspectedImage {
            names: names_of(&self.names()?, digest),
            config: self.config(digest)?,
            layers,
            in_use: self.is_leased(digest)?,
            record,
        })
    }
}

fn names_of(names: &[(ImageName, Digest)], digest: Digest) -> Vec<ImageName> {
    names
        .iter()
        .filter(|(_, named)| *named == digest)
        .map(|(name, _)| name.clone())
        .collect()
}

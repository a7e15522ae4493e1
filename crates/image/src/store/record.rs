//! What the store writes down of images, layers and steps. Owns these JSON forms: a reader of a later version takes
//! all of them, as keys are only added, with a default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::layer::Notes;

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest of its manifest, which names it.
    pub digest: Digest,
    /// The digest of its configuration: what docker calls the image's id.
    pub config: Digest,
    /// The digests of its layers' uncompressed tars, the lowest first.
    pub layers: Vec<Digest>,
    /// The digest of the manifest it came with, where it came with one.
    #[serde(default)]
    pub source_digest: Option<Digest>,
    /// When it came into the store first, in milliseconds since 1970.
    pub created_ms: i64,
    /// What it was built from, if it was built here.
    #[serde(default)]
    pub inputs: Option<BakedInputs>,
}

/// What an image was built from: the other half of `drift`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BakedInputs {
    /// The recipe's key.
    pub recipe_key: String,
    /// The base as the recipe names it.
    pub base: String,
    /// The digest the base had.
    pub base_digest: Option<Digest>,
    /// The packages the recipe names, in order.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The digests of key files and of files that were copied in, by path; `None` for one that was not there.
    #[serde(default)]
    pub files: BTreeMap<String, Option<Digest>>,
    /// The recipe's steps as text, in order.
    #[serde(default)]
    pub steps: Vec<String>,
}

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
    /// Bytes of that tar.
    pub tar_bytes: u64,
    /// Bytes of its files.
    pub content_bytes: u64,
    /// How many entries the tar has.
    pub entry_count: u64,
    /// What was left out when it was unpacked.
    #[serde(default)]
    pub notes: Notes,
}

/// The outcome of a build's step, by the step's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The layer it made.
    pub layer: Digest,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

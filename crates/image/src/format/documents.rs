//! The JSON documents of images. Source: OCI image specification 1.1, `config.md`, `manifest.md`, `image-index.md`;
//! Docker image specification 1.2. Keys that are not known here are kept as they came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;

pub(crate) const MEDIA_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const MEDIA_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const MEDIA_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The configuration of an image: what it is for, what runs in it, which layers it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigDocument {
    /// When it was made, as the maker wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// In Go's words: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// How a process in it is started.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RunConfig,
    /// The layers.
    pub(crate) rootfs: RootFs,
    /// How it was made, the oldest step first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<History>,
    /// Keys that mean nothing here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a process in a box of the image is started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `user`, `user:group` or numbers; empty for the image's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `KEY=VALUE`, in order.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// Words in front of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command where the caller gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// The working directory; empty for `/`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free words about the image.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// `80/tcp` and the like.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Map<String, Value>>,
    /// The shell of `RUN` lines where it is not `/bin/sh -c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Keys that mean nothing here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The layers by the digests of their uncompressed tars, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When, as the maker wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whatever the maker said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True where the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Names a blob with its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What a manifest of an index is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
}

/// An image: its configuration and its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Several images, one for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Says whether it names an index and not an image.
    pub(crate) fn is_index(&self) -> bool {
        self.media_type.contains("image.index") || self.media_type.contains("manifest.list")
    }
}

impl Index {
    /// Returns what is for this machine: by platform, or the only one there is.
    pub(crate) fn choose(&self) -> Option<&Descriptor> {
        let fits = |found: &&Descriptor| {
            (found.platform.as_ref()).is_some_and(|platform| {
                platform.os == "linux" && platform.architecture == host_architecture()
            })
        };
        match self.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            several => {
                (several.iter().find(fits)).or_else(|| several.iter().find(|one| one.platform.is_none()))
            }
        }
    }
}

impl ConfigDocument {
    /// Returns the document of an image of layers that say nothing of themselves.
    pub(crate) fn plain(diff_ids: Vec<Digest>, created_by: &str) -> Self {
        let history = diff_ids.iter().map(|_| History {
            created_by: Some(created_by.to_owned()),
            ..History::default()
        });
        Self {
            created: None,
            architecture: host_architecture().to_owned(),
            os: "linux".to_owned(),
            config: RunConfig::default(),
            history: history.collect(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids,
            },
            other: Map::new(),
        }
    }

    pub(crate) fn add_layer(&mut self, layer: Digest) {
        self.rootfs.diff_ids.push(layer);
    }

    /// Returns the digests of the layers' uncompressed tars, the lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        &self.rootfs.diff_ids
    }
}

/// Go writes `null` for an empty list.
fn null_is_default<'de, D, T>(source: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(source)?.unwrap_or_default())
}

/// Returns this machine's architecture in the words of images.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

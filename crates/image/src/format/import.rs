//! Images taken in: which format a file has, its documents read, every digest checked, its layers unpacked. Must never
//! keep a part of an image whose digests do not agree.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use gantry_core::limits::{IMAGE_DOCUMENT_BYTES_MAX, IMAGE_LAYERS_MAX};
use gantry_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::documents::{ConfigDocument, Descriptor, Index, Manifest};
use super::members::Members;
use crate::archive::TarError;
use crate::beneath::Beneath;
use crate::bounded::{Bounded, read_document, unpacked};
use crate::digest::{Digest, Hashing};
use crate::layer::Notes;
use crate::name::ImageName;
use crate::store::{ImageStore, NewImage, StoreError, Transaction};

/// What to take in.
#[derive(Debug, Clone)]
pub struct ImportRequest<'a> {
    /// A root file system's tar, a `docker save` archive, an OCI archive (each also compressed with gzip or
    /// Zstandard), or the folder of an OCI layout.
    pub path: &'a Path,
    /// The name to give it; without one, the names the archive gives.
    pub name: Option<ImageName>,
    /// Now.
    pub now: Timestamp,
}

/// What was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The image.
    pub digest: Digest,
    /// The names it was given.
    pub names: Vec<ImageName>,
    /// Its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// What was left out of layers that were not in the store before.
    pub notes: Notes,
}

/// Why an image was not taken in; nothing of it is in the store then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("{} cannot be read", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The archive around the image.
    #[error("{} is no archive", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TarError,
    },
    /// A member is not there.
    #[error("the image names {member}, which is missing or cannot be read; save or fetch it again")]
    Member {
        /// The member.
        member: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A document is not what it should be.
    #[error("{member} is not valid")]
    Document {
        /// The member.
        member: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A digest is wrong.
    #[error("{member} is {found}, and the image says {expected}; it was damaged or changed on the way")]
    Digest {
        /// The member.
        member: String,
        /// What the image says.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The image is not one that boxes can use.
    #[error("{0}")]
    Unusable(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One image of a `docker save` archive. Source: Docker image specification 1.2, "Combined Image JSON + Filesystem
/// Changeset Format".
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

impl ImageStore {
    /// Takes an image in from a file or folder, whole or not at all.
    ///
    /// Errors: [`ImportError`].
    pub fn import(&self, request: &ImportRequest<'_>) -> Result<Imported, ImportError> {
        let source = |source| ImportError::Source {
            path: request.path.to_owned(),
            source,
        };
        let mut transaction = self.begin()?;
        if request.path.is_dir() {
            let members = Members::Folder(Beneath::open(request.path).map_err(source)?);
            return import_members(&members, transaction, request);
        }
        let mut file = File::open(request.path).map_err(source)?;
        if is_compressed(&mut file).map_err(source)? {
            // Members are looked up by their place, which a compressed file does not have.
            let spool = transaction.folder().join("spool");
            let mut plain = File::create_new(&spool).map_err(source)?;
            let packed = unpacked(&file).map_err(source)?;
            io::copy(&mut Bounded::new(packed, self.limits().layer.bytes), &mut plain).map_err(source)?;
            file = File::open(&spool).map_err(source)?;
        }
        let archive = |error| ImportError::Archive {
            path: request.path.to_owned(),
            source: error,
        };
        if let Some(members) = Members::of_archive(file.try_clone().map_err(source)?).map_err(archive)? {
            return import_members(&members, transaction, request);
        }
        file.rewind().map_err(source)?;
        let layer = transaction.add_layer(io::BufReader::with_capacity(256 * 1024, file), None)?;
        let config = ConfigDocument::plain(vec![layer.diff_id], "gantry image import");
        let bytes = serde_json::to_vec(&config).expect("a configuration has text keys only");
        publish(
            transaction,
            config,
            bytes,
            request.name.clone().into_iter().collect(),
            None,
            request.now,
        )
    }
}

fn is_compressed(file: &mut File) -> io::Result<bool> {
    let mut first = Vec::new();
    file.take(4).read_to_end(&mut first)?;
    file.rewind()?;
    Ok(first.starts_with(&[0x1f, 0x8b]) || first == [0x28, 0xb5, 0x2f, 0xfd])
}

fn import_members(
    members: &Members,
    transaction: Transaction<'_>,
    request: &ImportRequest<'_>,
) -> Result<Imported, ImportError> {
    // Newer `docker save` archives are both; the layout has digests for everything.
    if members.has("index.json") && members.has("oci-layout") {
        return import_layout(members, transaction, request);
    }
    import_saved(members, transaction, request)
}

/// Reads a member whole.
fn document_bytes(members: &Members, member: &str) -> Result<Vec<u8>, ImportError> {
    let read = || read_document(members.open(member)?, IMAGE_DOCUMENT_BYTES_MAX);
    read().map_err(|source| ImportError::Member {
        member: member.to_owned(),
        source,
    })
}

pub(crate) fn parse_document<T: DeserializeOwned>(member: &str, bytes: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(bytes).map_err(|source| ImportError::Document {
        member: member.to_owned(),
        source,
    })
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn blob_document(members: &Members, digest: Digest) -> Result<Vec<u8>, ImportError> {
    let member = blob_path(digest);
    let bytes = document_bytes(members, &member)?;
    check_digest(member, digest, Digest::of(&bytes))?;
    Ok(bytes)
}

pub(crate) fn check_digest(member: String, expected: Digest, found: Digest) -> Result<(), ImportError> {
    if expected == found {
        return Ok(());
    }
    Err(ImportError::Digest {
        member,
        expected,
        found,
    })
}

fn import_layout(
    members: &Members,
    mut transaction: Transaction<'_>,
    request: &ImportRequest<'_>,
) -> Result<Imported, ImportError> {
    let mut index: Index = parse_document("index.json", &document_bytes(members, "index.json")?)?;
    let top = index.manifests.clone();
    // An index may lead to another one; more than a few steps is a loop.
    let mut chosen = None;
    for _ in 0..4 {
        let found = index.choose().cloned().ok_or_else(|| no_platform(&index))?;
        if !found.is_index() {
            chosen = Some(found);
            break;
        }
        index = parse_document(&blob_path(found.digest), &blob_document(members, found.digest)?)?;
    }
    let chosen = chosen.ok_or_else(|| ImportError::Unusable("its indexes lead to one another".to_owned()))?;
    let manifest_bytes = blob_document(members, chosen.digest)?;
    let manifest: Manifest = parse_document(&blob_path(chosen.digest), &manifest_bytes)?;
    let config_bytes = blob_document(members, manifest.config.digest)?;
    let config: ConfigDocument = parse_document(&blob_path(manifest.config.digest), &config_bytes)?;
    check_layer_count(&config, manifest.layers.len())?;
    for (diff_id, layer) in config.diff_ids().to_vec().into_iter().zip(&manifest.layers) {
        if transaction.reuse_layer(diff_id)? {
            continue;
        }
        let member = blob_path(layer.digest);
        let source = members.open(&member).map_err(|source| ImportError::Member {
            member: member.clone(),
            source,
        })?;
        add_blob_layer(&mut transaction, source, &member, Some(layer), diff_id)?;
    }
    let given = top.iter().filter_map(|one| {
        let annotation = |key: &str| one.annotations.get(key)?.parse().ok();
        annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"))
    });
    let names = request
        .name
        .clone()
        .map_or_else(|| given.collect(), |name| vec![name]);
    publish(
        transaction,
        config,
        config_bytes,
        names,
        Some(chosen.digest),
        request.now,
    )
}

fn import_saved(
    members: &Members,
    mut transaction: Transaction<'_>,
    request: &ImportRequest<'_>,
) -> Result<Imported, ImportError> {
    let saved: Vec<Saved> = parse_document("manifest.json", &document_bytes(members, "manifest.json")?)?;
    let [saved] = saved.as_slice() else {
        let text = format!("the archive holds {} images; save one at a time", saved.len());
        return Err(ImportError::Unusable(text));
    };
    let config_bytes = document_bytes(members, &saved.config)?;
    let named = saved
        .config
        .trim_end_matches(".json")
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if let Ok(expected) = Digest::parse_hex(named) {
        check_digest(saved.config.clone(), expected, Digest::of(&config_bytes))?;
    }
    let config: ConfigDocument = parse_document(&saved.config, &config_bytes)?;
    check_layer_count(&config, saved.layers.len())?;
    for (diff_id, member) in config.diff_ids().to_vec().into_iter().zip(&saved.layers) {
        if transaction.reuse_layer(diff_id)? {
            continue;
        }
        let source = members.open(member).map_err(|source| ImportError::Member {
            member: member.clone(),
            source,
        })?;
        add_blob_layer(&mut transaction, source, member, None, diff_id)?;
    }
    let given = saved
        .repo_tags
        .iter()
        .flatten()
        .filter_map(|tag| tag.parse().ok());
    let names = request
        .name
        .clone()
        .map_or_else(|| given.collect(), |name| vec![name]);
    publish(transaction, config, config_bytes, names, None, request.now)
}

pub(crate) fn no_platform(index: &Index) -> ImportError {
    let has: Vec<String> = (index.manifests.iter())
        .filter_map(|one| one.platform.as_ref())
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .collect();
    let wanted = super::documents::host_architecture();
    ImportError::Unusable(format!(
        "the image is not for linux/{wanted}; it is for {}",
        has.join(", ")
    ))
}

pub(crate) fn check_layer_count(config: &ConfigDocument, layers: usize) -> Result<(), ImportError> {
    let diff_ids = config.diff_ids().len();
    if diff_ids != layers {
        let text = format!("the configuration names {diff_ids} layers, the manifest {layers}");
        return Err(ImportError::Unusable(text));
    }
    if layers > IMAGE_LAYERS_MAX {
        let text =
            format!("the image has {layers} layers, and at most {IMAGE_LAYERS_MAX} are taken; squash it");
        return Err(ImportError::Unusable(text));
    }
    if !matches!(config.os.as_str(), "" | "linux") {
        return Err(ImportError::Unusable(format!(
            "the image is for {}, not for linux",
            config.os
        )));
    }
    Ok(())
}

/// Unpacks a layer that may be compressed, and checks both of its digests.
pub(crate) fn add_blob_layer(
    transaction: &mut Transaction<'_>,
    source: impl Read,
    member: &str,
    blob: Option<&Descriptor>,
    diff_id: Digest,
) -> Result<(), ImportError> {
    let broken = |source| ImportError::Member {
        member: member.to_owned(),
        source,
    };
    let mut hashing = Hashing::new(source);
    let added = {
        let tar = unpacked(&mut hashing).map_err(broken)?;
        transaction.add_layer(tar, Some(diff_id))
    };
    // What stands behind the compressed stream belongs to the blob. A blob that was changed on the way is named as
    // such, though its archive may have failed first.
    io::copy(&mut hashing, &mut io::sink()).map_err(broken)?;
    let (found, _) = hashing.finish();
    if let Some(blob) = blob {
        check_digest(member.to_owned(), blob.digest, found)?;
    }
    added?;
    Ok(())
}

pub(crate) fn publish(
    transaction: Transaction<'_>,
    config: ConfigDocument,
    config_bytes: Vec<u8>,
    names: Vec<ImageName>,
    source_digest: Option<Digest>,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    let notes = transaction.notes();
    let layers = config.diff_ids().to_vec();
    let image = NewImage {
        config_bytes,
        layers: layers.clone(),
        names: names.clone(),
        source_digest,
        inputs: None,
        steps: BTreeMap::new(),
    };
    let record = transaction.commit(image, now)?;
    Ok(Imported {
        digest: record.digest,
        names,
        layers,
        notes,
    })
}

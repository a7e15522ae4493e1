//! A pull: manifest, configuration, layers, each checked by its digest before it is used, a download that is cut gone
//! on with. Must never keep a part of an image whose digests do not agree.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::Path;

use gantry_core::limits::REGISTRY_RESUMES_MAX;
use gantry_core::time::Timestamp;
use ureq::http::StatusCode;

use super::client::{Client, Credentials};
use super::reference::{Reference, ReferenceError};
use crate::digest::Digest;
use crate::format::{
    ConfigDocument, Descriptor, ImportError, Imported, Index, Manifest, add_blob_layer, check_digest,
    check_layer_count, no_platform, parse_document, publish,
};
use crate::name::ImageName;
use crate::store::{ImageStore, StoreError};

/// Every form of a manifest that is understood.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// What a blob is asked for as.
const ANYTHING: &str = "*/*";

/// What to pull.
#[derive(Clone)]
pub struct PullRequest<'a> {
    /// `debian:12`, `ghcr.io/me/app@sha256:…`.
    pub reference: &'a str,
    /// Another name to give it than the reference's.
    pub name: Option<ImageName>,
    /// Who pulls; nobody for what is public.
    pub credentials: Option<Credentials>,
    /// Now.
    pub now: Timestamp,
}

/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The registry.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// The registry.
        host: String,
        /// What went wrong.
        #[source]
        source: Box<ureq::Error>,
    },
    /// It does not let us in.
    #[error("{host} does not let us have {repository}; check its name, and the credentials")]
    Unauthorized {
        /// The registry.
        host: String,
        /// What of it.
        repository: String,
    },
    /// It has no such thing.
    #[error("{host} has no {what}")]
    Missing {
        /// The registry.
        host: String,
        /// What.
        what: String,
    },
    /// It answers with something else.
    #[error("{host} answers {status} for {what}; try again later")]
    Answer {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// It stops in the middle, again and again.
    #[error("{host} stops in the middle of {what}; try again later")]
    Cut {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What the connection said.
        #[source]
        source: io::Error,
    },
    /// What came is not what was asked for, or cannot be kept.
    #[error(transparent)]
    Image(#[from] ImportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageStore {
    /// Fetches an image from a registry, whole or not at all; layers that are in the store are not fetched again.
    ///
    /// Errors: [`PullError`].
    pub fn pull(&self, request: &PullRequest<'_>) -> Result<Imported, PullError> {
        let reference = Reference::parse(request.reference)?;
        let mut client = Client::new(&reference, request.credentials.as_ref());
        let mut transaction = self.begin()?;
        let (manifest, source) = manifest(&mut client, &reference)?;
        let what = format!("blobs/{}", manifest.config.digest);
        let config_bytes = client.document(&what, ANYTHING)?;
        check_digest(what.clone(), manifest.config.digest, Digest::of(&config_bytes))?;
        let config: ConfigDocument = parse_document(&what, &config_bytes)?;
        check_layer_count(&config, manifest.layers.len())?;
        for (diff_id, layer) in config.diff_ids().to_vec().into_iter().zip(&manifest.layers) {
            if transaction.reuse_layer(diff_id)? {
                continue;
            }
            if layer.size > self.limits().layer.bytes {
                let text = format!(
                    "a layer is {} bytes, and at most {} are taken",
                    layer.size,
                    self.limits().layer.bytes
                );
                return Err(ImportError::Unusable(text).into());
            }
            let path = transaction.folder().join("download");
            fetch(&mut client, &reference, layer, &path)?;
            let file = File::open(&path).map_err(|source| StoreError::Io {
                path: path.clone(),
                source,
            })?;
            let what = format!("blobs/{}", layer.digest);
            add_blob_layer(
                &mut transaction,
                BufReader::new(file),
                &what,
                Some(layer),
                diff_id,
            )?;
        }
        let name = request.name.clone().unwrap_or_else(|| reference.name.clone());
        Ok(publish(
            transaction,
            config,
            config_bytes,
            vec![name],
            Some(source),
            request.now,
        )?)
    }
}

/// Returns the manifest for this machine, and the digest of what the reference names.
fn manifest(client: &mut Client<'_>, reference: &Reference) -> Result<(Manifest, Digest), PullError> {
    let mut wanted = reference.wanted();
    let mut expected = reference.digest;
    let mut first = None;
    // An index may lead to another one; more than a few steps is a loop.
    for _ in 0..4 {
        let what = format!("manifests/{wanted}");
        let bytes = client.document(&what, MANIFESTS)?;
        let digest = Digest::of(&bytes);
        check_digest(what.clone(), expected.unwrap_or(digest), digest)?;
        let source = *first.get_or_insert(digest);
        let value: serde_json::Value = parse_document(&what, &bytes)?;
        if value.get("manifests").is_none() {
            let manifest: Manifest = parse_document(&what, &bytes)?;
            return Ok((manifest, source));
        }
        let index: Index = parse_document(&what, &bytes)?;
        let chosen = index.choose().ok_or_else(|| no_platform(&index))?;
        (wanted, expected) = (chosen.digest.to_string(), Some(chosen.digest));
    }
    Err(ImportError::Unusable(format!("the indexes of {} lead to one another", reference.name)).into())
}

/// Brings a blob into a file; where the connection ends too early, asks for the rest.
fn fetch(
    client: &mut Client<'_>,
    reference: &Reference,
    blob: &Descriptor,
    path: &Path,
) -> Result<(), PullError> {
    let what = format!("blobs/{}", blob.digest);
    let io = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(path)
        .map_err(io)?;
    let mut have = 0;
    let mut tries = 0;
    loop {
        let answer = client.get(&what, ANYTHING, have)?;
        if have > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            // It does not know ranges and begins anew.
            file = File::create(path).map_err(io)?;
            have = 0;
        }
        let left = blob.size - have;
        let copied = copy(&mut answer.into_body().into_reader().take(left), &mut file).map_err(io)?;
        have += copied.bytes;
        if have == blob.size {
            return Ok(());
        }
        tries += 1;
        if copied.bytes == 0 || tries > REGISTRY_RESUMES_MAX {
            let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended");
            return Err(PullError::Cut {
                host: reference.host.clone(),
                what,
                source: copied.failure.unwrap_or_else(ended),
            });
        }
    }
}

/// How far a copy came, and what ended it if that was the source.
struct Copied {
    bytes: u64,
    failure: Option<io::Error>,
}

/// Copies until the source ends or fails; only a failure of the target is an error.
fn copy(source: &mut impl Read, target: &mut File) -> io::Result<Copied> {
    use io::Write;
    let mut buffer = vec![0; 128 * 1024];
    let mut bytes = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(Copied { bytes, failure: None }),
            Ok(count) => {
                target.write_all(&buffer[..count])?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Ok(Copied {
                    bytes,
                    failure: Some(error),
                });
            }
        }
    }
}

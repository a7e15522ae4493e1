//! `image …`: what boxes stand on. Needs no daemon.

mod build;
mod step;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use gantry_adapters::clock;
use gantry_core::mask::{Secrets, find_secret};
use gantry_engine::config_text::{parse_bytes, parse_duration};
use gantry_engine::sandbox::Engines;
use gantry_image::{
    CollectLimits, Credentials, Digest, ExportFormat, ImageName, ImageStore, ImportRequest, Imported,
    PullRequest,
};
use serde::Serialize;
use serde_json::json;

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::images::{open_store, store_path};

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Build this repository's image from `[image]`, a Dockerfile or a devcontainer file
    #[command(
        after_help = "Example:\n  gantry image build --name acme\n  gantry image build --file images/factory/Dockerfile --name factory\n\n\
        Without --file: [image] of .gantry.toml, else Dockerfile, else .devcontainer/devcontainer.json. Steps whose \
        inputs did not change are taken from the last build. An image that holds a secret is refused."
    )]
    Build(build::Build),
    /// List images
    #[command(after_help = "Example:\n  gantry image list")]
    List,
    /// Show all that is known of an image
    #[command(after_help = "Example:\n  gantry image inspect factory")]
    Inspect {
        /// Its name or digest
        image: String,
    },
    /// Compare what is baked with what the inputs say now
    #[command(after_help = "Example:\n  gantry image drift acme")]
    Drift {
        /// Its name or digest
        image: String,
        #[command(flatten)]
        source: build::Source,
    },
    /// Take in a root file system's tar, a `docker save` archive or an OCI layout
    #[command(after_help = "Example:\n  gantry image import rootfs.tar.gz --name debian:12")]
    Import {
        /// The file, or the folder of an OCI layout
        path: PathBuf,
        /// The name to give it
        #[arg(long)]
        name: Option<String>,
    },
    /// Pull an image from a registry
    #[command(
        after_help = "Example:\n  gantry image pull debian:12\n\nFor a private one, set REGISTRY_USER and REGISTRY_PASSWORD."
    )]
    Pull {
        /// `debian:12`, `ghcr.io/me/app@sha256:…`
        reference: String,
        /// Another name to give it
        #[arg(long)]
        name: Option<String>,
    },
    /// Write an image for other engines
    #[command(after_help = "Example:\n  gantry image export factory factory.tar --format docker")]
    Export {
        /// Its name or digest
        image: String,
        /// Where; it must not be there
        path: PathBuf,
        /// The form
        #[arg(long, value_enum, default_value_t = Format::Docker)]
        format: Format,
    },
    /// Look for secrets in an image
    #[command(after_help = "Example:\n  gantry image scan factory")]
    Scan {
        /// Its name or digest
        image: String,
    },
    /// Remove an image, or one of its names
    #[command(after_help = "Example:\n  gantry image remove old:1")]
    Remove {
        /// Its name or digest
        image: String,
    },
    /// Remove images nobody used for long, and the oldest ones beyond a size
    #[command(after_help = "Example:\n  gantry image prune --unused-for 30d --keep-bytes 50GiB")]
    Prune {
        /// Images not used for longer go
        #[arg(long, value_name = "TIME")]
        unused_for: Option<String>,
        /// The most bytes of all layers together
        #[arg(long, value_name = "SIZE")]
        keep_bytes: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// A tar as `docker save` writes it
    Docker,
    /// A tar with an OCI layout
    OciArchive,
    /// A folder with an OCI layout
    Oci,
}

impl Image {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let store = open(common)?;
        match self {
            Self::Build(build) => return build.run(common, &store),
            Self::Drift { image, source } => return source.drift(common, &store, &image),
            Self::List => return list(common, &store),
            Self::Inspect { image } => print(common, &store.inspect(resolve(&store, &image)?)?)?,
            Self::Import { path, name } => {
                let name = name.as_deref().map(parse_name).transpose()?;
                let request = ImportRequest {
                    path: &path,
                    name,
                    now: clock::now(),
                };
                taken(common, &store.import(&request)?)?;
            }
            Self::Pull { reference, name } => {
                let name = name.as_deref().map(parse_name).transpose()?;
                let request = PullRequest {
                    reference: &reference,
                    name,
                    credentials: credentials(),
                    now: clock::now(),
                };
                taken(common, &store.pull(&request)?)?;
            }
            Self::Export { image, path, format } => {
                let format = match format {
                    Format::Docker => ExportFormat::DockerArchive,
                    Format::OciArchive => ExportFormat::OciArchive,
                    Format::Oci => ExportFormat::OciFolder,
                };
                print(common, &store.export(resolve(&store, &image)?, format, &path)?)?;
            }
            Self::Scan { image } => return scan(common, &store, &image),
            Self::Remove { image } => return remove(common, &store, &image),
            Self::Prune {
                unused_for,
                keep_bytes,
            } => return prune(common, &store, unused_for, keep_bytes),
        }
        Ok(ExitCode::Done)
    }
}

fn open(common: &Common) -> Result<ImageStore, Coded> {
    let data = common.data()?;
    data.create()?;
    Ok(open_store(&store_path(data.root()))?)
}

fn resolve(store: &ImageStore, text: &str) -> Result<Digest, Coded> {
    store.resolve(text).map_err(|error| {
        Coded::new(
            ExitCode::NotFound,
            format!(
                "{}; gantry image list shows those that are there",
                gantry_engine::line::chain(&error)
            ),
        )
    })
}

fn parse_name(text: &str) -> Result<ImageName, Coded> {
    text.parse()
        .map_err(|error: gantry_image::NameError| Coded::new(ExitCode::Usage, error.to_string()))
}

fn credentials() -> Option<Credentials> {
    // Neither set is nobody; one alone is sent as it is and refused by the registry.
    let user = std::env::var("REGISTRY_USER").ok();
    let password = std::env::var("REGISTRY_PASSWORD").ok();
    user.zip(password)
        .map(|(user, password)| Credentials { user, password })
}

/// Prints a value of the store: as JSON, which people can read, too.
fn print(_: &Common, value: &impl Serialize) -> Result<(), Coded> {
    show::json(&serde_json::to_value(value)?)
}

fn taken(common: &Common, imported: &Imported) -> Result<(), Coded> {
    if common.json() {
        return print(common, imported);
    }
    let value = serde_json::to_value(imported)?;
    let names: Vec<&str> = value["names"]
        .as_array()
        .map(|names| names.iter().filter_map(serde_json::Value::as_str).collect())
        .unwrap_or_default();
    show::line(&format!(
        "{} {}",
        value["digest"].as_str().unwrap_or("?"),
        names.join(" ")
    ))
}

fn list(common: &Common, store: &ImageStore) -> Result<ExitCode, Coded> {
    let images = store.list()?;
    if common.json() {
        show::json(&json!({"images": serde_json::to_value(&images)?}))?;
        return Ok(ExitCode::Done);
    }
    if images.is_empty() {
        show::line("no images; gantry image build, import and pull bring some")?;
    }
    for image in images {
        let names: Vec<String> = image.names.iter().map(|name| name.as_str().to_owned()).collect();
        show::line(&format!(
            "{:<24} {} {:>3} layers {:>6} MiB{}",
            names.join(","),
            image.digest,
            image.layer_count,
            image.content_bytes >> 20,
            if image.in_use { " in use" } else { "" }
        ))?;
    }
    Ok(ExitCode::Done)
}

/// Reads the factory's secrets, so that an image that holds one is found.
pub(super) fn factory_secrets(common: &Common) -> Result<Secrets, Coded> {
    let data = common.data()?;
    let usage = |text: String| Coded::new(ExitCode::Usage, text);
    let engines = Engines::load(data.root(), &data.boxes()).map_err(usage)?;
    let mut secrets = Secrets::new();
    for (name, source) in &engines.file.secrets {
        let value = source.load(name).map_err(usage)?;
        secrets.insert(name, value.as_bytes())?;
    }
    Ok(secrets)
}

fn scan(common: &Common, store: &ImageStore, image: &str) -> Result<ExitCode, Coded> {
    let secrets = factory_secrets(common)?;
    let named = |bytes: &[u8]| find_secret(&secrets, bytes).map(|finding| finding.name.to_string());
    let findings = store.scan(resolve(store, image)?, &named)?;
    if common.json() {
        show::json(&json!({"findings": serde_json::to_value(&findings)?}))?;
    } else {
        for finding in &findings {
            show::line(&format!("{}: {}", finding.place, finding.kind))?;
        }
        show::line(&format!("{} findings", findings.len()))?;
    }
    Ok(if findings.is_empty() {
        ExitCode::Done
    } else {
        ExitCode::No
    })
}

fn remove(common: &Common, store: &ImageStore, image: &str) -> Result<ExitCode, Coded> {
    let digest = resolve(store, image)?;
    if let Ok(name) = image.parse::<ImageName>()
        && store.named(&name)?.is_some()
    {
        store.remove_name(&name)?;
    }
    let named = store.names()?.iter().any(|(_, other)| *other == digest);
    let removed = !named && store.remove(digest)?;
    if common.json() {
        show::json(&json!({"digest": digest.to_string(), "removed": removed}))?;
    } else if removed {
        show::line(&format!("removed {digest}"))?;
    } else {
        show::line(&format!(
            "{digest} stays: it has another name, or a box stands on it"
        ))?;
    }
    Ok(ExitCode::Done)
}

fn prune(
    common: &Common,
    store: &ImageStore,
    unused_for: Option<String>,
    keep_bytes: Option<String>,
) -> Result<ExitCode, Coded> {
    let usage = |text: String| Coded::new(ExitCode::Usage, text);
    let unused_for: Option<Duration> = match unused_for {
        None => None,
        Some(text) => Some(parse_duration(&text).ok_or_else(|| {
            usage(format!(
                "--unused-for {text:?}: write a number and m, h or d, as in 30d"
            ))
        })?),
    };
    let bytes = match keep_bytes {
        None => None,
        Some(text) => Some(
            parse_bytes(&text)
                .ok_or_else(|| usage(format!("--keep-bytes {text:?}: write a size, as in 50GiB")))?,
        ),
    };
    let pruned = store.prune(CollectLimits { unused_for, bytes }, clock::now())?;
    if common.json() {
        print(common, &pruned)?;
    } else {
        show::line(&format!("removed {} images", pruned.removed.len()))?;
    }
    Ok(ExitCode::Done)
}

//! From a profile to what an engine is told. Owns the choice of image and the paths inside; reads what is handed in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_adapters::engine::{Image, SandboxEngine, SandboxSpec, Workspace};
use gantry_core::id::CommitId;
use gantry_core::mask::Secrets;

use super::caches::{Caches, Trust};
use super::engines::{Engines, Images};
use crate::profile::{EngineName, Handed, Profile, hand_in};

/// Where the workspace is in a box that nobody asked to have elsewhere.
pub const WORKSPACE_AT: &str = "/box/workspace";

/// What is in a box's workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Nothing.
    Nothing,
    /// A commit of a repository.
    Commit {
        /// The Git storage.
        repository: PathBuf,
        /// Which commit.
        commit: CommitId,
    },
}

/// Where a box's own things are.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The folder of its transcripts.
    pub folder: &'a Path,
    /// Whose word its caches are.
    pub trust: &'a Trust,
}

/// A box that could be opened.
pub struct BoxPlan {
    /// Makes it.
    pub engine: Arc<dyn SandboxEngine>,
    /// What the engine is told.
    pub spec: SandboxSpec,
    /// What is handed in and taken back.
    pub handed: Handed,
    /// What is kept from box to box.
    pub caches: Option<Caches>,
    /// What nothing that leaves the box may hold.
    pub secrets: Secrets,
    /// The image as a receipt names it.
    pub image: String,
}

impl std::fmt::Debug for BoxPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoxPlan")
            .field("name", &self.spec.name)
            .finish_non_exhaustive()
    }
}

/// Why a box cannot be planned: configuration, never the change's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub String);

impl BoxPlan {
    /// Plans a box of a profile.
    ///
    /// Errors: [`PlanError`] that names what is missing and the mend.
    pub fn of(
        profile: &Profile,
        name: &str,
        subject: Subject,
        engines: &Engines,
        images: &dyn Images,
        place: Place<'_>,
    ) -> Result<Self, PlanError> {
        let engine = engines.make(profile.engine).map_err(PlanError)?;
        let image = match (profile.image.as_str(), profile.engine) {
            ("host", _) => Image::Host,
            (name, EngineName::Native) => images.find(name).map_err(PlanError)?,
            (name, EngineName::Docker | EngineName::Podman) => Image::Named(name.to_owned()),
        };
        let values = load_secrets(profile, engines)?;
        let handed = hand_in(profile, &values, &place.folder.join("sessions")).map_err(PlanError)?;
        let caches = Caches::of(profile, &engines.data, place.trust).map_err(PlanError)?;
        let mut mounts = handed.mounts.clone();
        if let Some(caches) = &caches {
            mounts.extend(caches.mounts().map_err(PlanError)?);
        }
        let mut secrets = Secrets::new();
        let masked = handed.masked.iter();
        secrets
            .extend(masked.map(|(name, value)| (name.as_str(), value.as_bytes())))
            .map_err(|error| PlanError(error.to_string()))?;
        let spec = SandboxSpec {
            name: name.to_owned(),
            workspace: match subject {
                Subject::Nothing => Workspace::Empty,
                Subject::Commit { repository, commit } => Workspace::Commit { repository, commit },
            },
            workspace_at: WORKSPACE_AT.into(),
            mounts,
            env: handed.env.clone(),
            network: profile.network.clone(),
            limits: profile.limits.clone(),
            user: profile.user,
            services: Vec::new(),
            image: image.clone(),
        };
        Ok(Self {
            engine,
            spec,
            handed,
            caches,
            secrets,
            image: image_name(&image),
        })
    }
}

fn load_secrets(profile: &Profile, engines: &Engines) -> Result<BTreeMap<String, String>, PlanError> {
    let mut values = BTreeMap::new();
    for name in &profile.secrets {
        // One that is not defined is named by whoever hands it in.
        if let Some(source) = engines.file.secrets.get(name) {
            values.insert(name.clone(), source.load(name).map_err(PlanError)?);
        }
    }
    Ok(values)
}

fn image_name(image: &Image) -> String {
    match image {
        Image::Host => "host".to_owned(),
        Image::Layers { digest, .. } => digest.clone(),
        Image::Named(name) => name.clone(),
    }
}

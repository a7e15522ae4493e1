//! The box engines of one factory by their names. Owns where they keep their folders and find their sockets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_adapters::engine::{ContainerEngine, ContainerSettings, Image, NativeEngine, SandboxEngine};

use crate::profile::{EngineName, FACTORY_FILE, FactoryFile};

/// Finds images by name.
pub trait Images: Send + Sync {
    /// Returns the image of this name or digest as layers for the native engine.
    ///
    /// Errors: a sentence that names the image and the mend.
    fn find(&self, name: &str) -> Result<Image, String>;

    /// Returns every image that has a name; those that cannot be read are left out.
    fn all(&self) -> Vec<(String, Image)> {
        Vec::new()
    }
}

/// No image but `host`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoImages;

impl Images for NoImages {
    fn find(&self, name: &str) -> Result<Image, String> {
        Err(format!(
            "there is no image {name:?}; gantry image list shows those that are there"
        ))
    }
}

/// The engines of one factory.
#[derive(Debug, Clone)]
pub struct Engines {
    /// The data directory; no box can see it.
    pub data: PathBuf,
    /// Where boxes have their folders.
    pub boxes: PathBuf,
    /// What the factory's file says.
    pub file: FactoryFile,
}

impl Engines {
    /// Reads the factory's file; none is as good as an empty one.
    ///
    /// Errors: a sentence that names the file, the place and the mend.
    pub fn load(data: &Path, boxes: &Path) -> Result<Self, String> {
        let path = data.join(FACTORY_FILE);
        let file = match std::fs::read(&path) {
            Ok(bytes) => FactoryFile::parse(&bytes)
                .map_err(|wrong| format!("{}{}: {}", path.display(), wrong.place, wrong.problem))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => FactoryFile::default(),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        Ok(Self {
            data: data.to_owned(),
            boxes: boxes.to_owned(),
            file,
        })
    }

    fn containers(&self, socket: &Option<PathBuf>, name: &str) -> ContainerSettings {
        ContainerSettings {
            scratch: self.data.join("containers").join(name),
            socket: socket.clone(),
            probe_image: None,
        }
    }

    /// Makes the engine of this name.
    ///
    /// Errors: a sentence that says what is missing and the mend.
    pub fn make(&self, name: EngineName) -> Result<Arc<dyn SandboxEngine>, String> {
        match name {
            EngineName::Native => {
                let engine = NativeEngine::new("/proc/self/exe".into(), self.boxes.clone());
                Ok(Arc::new(engine.hiding(self.data.clone())))
            }
            EngineName::Docker => Ok(Arc::new(ContainerEngine::docker(
                self.containers(&self.file.docker_socket, "docker"),
            ))),
            EngineName::Podman => Ok(Arc::new(ContainerEngine::podman(
                self.containers(&self.file.podman_socket, "podman"),
            ))),
        }
    }
}

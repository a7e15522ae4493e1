//! The engines `docker` and `podman`. Owns finding the daemon, and who the boxes of this process belong to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_core::queue::build::Trouble;

use super::archive::UserFiles;
use super::body::{Ids, LABEL_EXPIRES, LABEL_FOLDER, LABEL_OWNER, choose_ids};
use super::connection::{CallError, Connection};
use super::facts::Facts;
use super::flavour::Flavour;
use super::open::{Opening, refuse};
use super::owner::Owner;
use super::probe::probe;
use super::reap::{Leftovers, reap};
use super::socket::{NoSocket, Surroundings, find_socket};
use crate::clock;
use crate::engine::{
    EngineUnavailable, OpenError, ReapError, Sandbox, SandboxControl, SandboxEngine, SandboxSpec,
};

/// After how long a box whose owner cannot be seen (in another namespace, on another machine) is taken for left behind:
/// twice the longest time limit of a check.
const UNSEEN_LEASE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// What a container engine is told.
#[derive(Debug, Clone)]
pub struct ContainerSettings {
    /// Where its boxes' folders are made; other engines have other places.
    pub scratch: PathBuf,
    /// The daemon's socket, if it is not where it usually is.
    pub socket: Option<PathBuf>,
    /// The image [`SandboxEngine::probe`] makes its box of, if not one the daemon has.
    pub probe_image: Option<String>,
}

/// Makes boxes as containers of a daemon.
pub struct ContainerEngine {
    pub(super) flavour: Flavour,
    pub(super) settings: ContainerSettings,
    reached: Mutex<Option<Reached>>,
    user_files: UserFiles,
    next: AtomicU64,
}

/// A daemon that has answered.
#[derive(Clone)]
pub(super) struct Reached {
    pub(super) connection: Arc<Connection>,
    pub(super) facts: Arc<Facts>,
}

/// Why a daemon cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReachError {
    /// There is no socket.
    #[error(transparent)]
    Socket(#[from] NoSocket),
    /// It does not answer.
    #[error("{}", .0.text())]
    Call(#[from] CallError),
}

impl std::fmt::Debug for ContainerEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerEngine")
            .field("flavour", &self.flavour)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ContainerEngine {
    /// Makes the engine for a docker daemon. Asks nobody anything yet.
    #[must_use]
    pub fn docker(settings: ContainerSettings) -> Self {
        Self::new(Flavour::Docker, settings)
    }

    /// Makes the engine for a podman service. Asks nobody anything yet.
    #[must_use]
    pub fn podman(settings: ContainerSettings) -> Self {
        Self::new(Flavour::Podman, settings)
    }

    fn new(flavour: Flavour, settings: ContainerSettings) -> Self {
        Self {
            flavour,
            settings,
            reached: Mutex::default(),
            user_files: UserFiles::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Returns where the daemon listens.
    ///
    /// Errors: [`NoSocket`].
    pub(super) fn socket(&self) -> Result<PathBuf, NoSocket> {
        if let Some(socket) = &self.settings.socket {
            return if socket.exists() {
                Ok(socket.clone())
            } else {
                Err(NoSocket::Missing {
                    looked_at: vec![socket.clone()],
                })
            };
        }
        let around = Surroundings {
            variable: &|name| std::env::var_os(name),
            home: std::env::home_dir(),
            root: PathBuf::from("/"),
        };
        find_socket(self.flavour, &around)
    }

    /// Connects, unless that was done before, and learns what the daemon can hold.
    ///
    /// Errors: [`ReachError`].
    pub(super) fn reach(&self) -> Result<Reached, ReachError> {
        let known = || self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = self.socket()?;
        if let Some(reached) = known()
            .as_ref()
            .filter(|reached| reached.connection.socket == socket)
        {
            return Ok(reached.clone());
        }
        let connection = Arc::new(Connection::new(self.flavour, &socket)?);
        let facts = Arc::new(Facts::ask(&connection)?);
        let reached = Reached { connection, facts };
        *known() = Some(reached.clone());
        Ok(reached)
    }

    /// Forgets what the daemon said, because it may be another one by now.
    pub(super) fn forget(&self) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn labels(owner: &Owner, folder: &Path) -> HashMap<String, String> {
        let lease = i64::try_from(UNSEEN_LEASE.as_millis()).unwrap_or(i64::MAX);
        let expires = clock::now().as_millis().saturating_add(lease);
        HashMap::from([
            (LABEL_OWNER.to_owned(), owner.to_string()),
            (LABEL_EXPIRES.to_owned(), expires.to_string()),
            (LABEL_FOLDER.to_owned(), folder.to_string_lossy().into_owned()),
        ])
    }
}

impl SandboxEngine for ContainerEngine {
    fn name(&self) -> &'static str {
        self.flavour.name()
    }

    fn probe(&self) -> Result<Vec<String>, EngineUnavailable> {
        self.forget();
        probe(self)
    }

    fn open(&self, spec: &SandboxSpec, control: &SandboxControl) -> Result<Box<dyn Sandbox>, OpenError> {
        if control.is_cancelled() {
            return Err(OpenError::Cancelled);
        }
        let trouble = |text: String| OpenError::Trouble(Trouble::CouldNotStart, text);
        let reached = self.reach().map_err(|error| trouble(error.to_string()))?;
        refuse(&reached.connection, &reached.facts, spec)?;
        let this = Ids {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        let ids = choose_ids(self.flavour, &reached.facts, spec.user, this)?;
        let owner = Owner::this().map_err(|source| trouble(format!("cannot read /proc: {source}")))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Two engines of one process may share a daemon.
        let id = format!(
            "{}.{:x}.{number}",
            owner.to_string().replace(':', "_"),
            std::ptr::from_ref(self).addr()
        );
        let folder = self.settings.scratch.join(&id);
        let opening = Opening {
            connection: &reached.connection,
            facts: &reached.facts,
            spec,
            control,
            labels: Self::labels(&owner, &folder),
            id,
            ids,
            folder: &folder,
            user_files: &self.user_files,
        };
        Ok(Box::new(opening.open()?))
    }

    fn reap(&self) -> Result<usize, ReapError> {
        let reached = match self.reach() {
            Ok(reached) => reached,
            Err(error) => {
                return Err(ReapError {
                    path: self
                        .settings
                        .socket
                        .clone()
                        .unwrap_or_else(|| self.settings.scratch.clone()),
                    source: std::io::Error::other(error.to_string()),
                });
            }
        };
        let leftovers = Leftovers {
            connection: &reached.connection,
            scratch: &self.settings.scratch,
            now_ms: clock::now().as_millis(),
        };
        reap(&leftovers)
    }
}

//! What earlier owners left with a daemon and on the disk. Owns finding it by its labels and names; must never touch
//! what belongs to an owner that lives or cannot be seen and whose lease has not run out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};

use super::body::{LABEL_EXPIRES, LABEL_FOLDER, LABEL_OWNER};
use super::connection::{CallError, Connection};
use super::made::Made;
use super::owner::{Owner, OwnerState};
use super::workspace::Folder;
use crate::engine::ReapError;

/// How often a list is asked for again that holds a podman container between its end and its removal.
const STOPPED_LOOKS: u32 = 40;
/// The time between two such lists.
const STOPPED_LOOK_WAIT: Duration = Duration::from_millis(50);

/// Where leftovers are looked for.
pub(super) struct Leftovers<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) scratch: &'a Path,
    pub(super) now_ms: i64,
}

/// Ends all of them and returns how many boxes there were.
///
/// Errors: [`ReapError`] for the first that could not be ended.
pub(super) fn reap(leftovers: &Leftovers<'_>) -> Result<usize, ReapError> {
    let connection = leftovers.connection;
    let failed = |source: io::Error| ReapError {
        path: connection.socket.clone(),
        source,
    };
    let mut boxes = leftovers.labelled().map_err(|error| failed(error.into_io()))?;
    leftovers.add_folders(&mut boxes).map_err(|source| ReapError {
        path: leftovers.scratch.to_owned(),
        source,
    })?;
    let mut ended = 0;
    let mut first = None;
    for (folder, mut made) in boxes {
        match made.remove() {
            Ok(()) => ended += 1,
            Err(text) => {
                let error = ReapError {
                    path: folder,
                    source: io::Error::other(text),
                };
                first.get_or_insert(error);
            }
        }
    }
    first.map_or(Ok(ended), Err)
}

type Boxes = BTreeMap<PathBuf, Made>;

impl Leftovers<'_> {
    /// Finds containers, networks and volumes whose owners are gone, by the folder they go with.
    fn labelled(&self) -> Result<Boxes, CallError> {
        let docker = self.connection.docker();
        let filters = HashMap::from([("label", vec![LABEL_OWNER])]);
        let containers = self.containers()?;
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let networks = self
            .connection
            .call("list networks", docker.list_networks(Some(options)))?;
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let volumes = self
            .connection
            .call("list volumes", docker.list_volumes(Some(options)))?;
        let mut boxes = Boxes::new();
        for container in containers {
            let (Some(id), Some(labels)) = (container.id, container.labels) else {
                continue;
            };
            if let Some(made) = self.left(&mut boxes, &labels) {
                made.image = made.image.take().or(container.image_id);
                made.containers.push(id);
            }
        }
        for network in networks {
            let (Some(name), Some(labels)) = (network.name, network.labels) else {
                continue;
            };
            if let Some(made) = self.left(&mut boxes, &labels) {
                made.networks.push(name);
            }
        }
        for volume in volumes.volumes.unwrap_or_default() {
            if let Some(made) = self.left(&mut boxes, &volume.labels) {
                made.volumes.push(volume.name);
            }
        }
        Ok(boxes)
    }

    /// Lists every container of any owner.
    fn containers(&self) -> Result<Vec<ContainerSummary>, CallError> {
        let list = |filters: HashMap<&str, Vec<&str>>| {
            let options = ListContainersOptionsBuilder::default()
                .all(true)
                .filters(&filters)
                .build();
            self.connection.call(
                "list boxes",
                self.connection.docker().list_containers(Some(options)),
            )
        };
        for _ in 0..STOPPED_LOOKS {
            match list(HashMap::from([("label", vec![LABEL_OWNER])])) {
                Err(error) if error.is_stopped_state() => {
                    self.connection
                        .wait(async { tokio::time::sleep(STOPPED_LOOK_WAIT).await });
                }
                other => return other,
            }
        }
        // One that stays so is left to podman; it must not keep the others.
        let states = vec!["created", "running", "paused", "exited"];
        list(HashMap::from([("label", vec![LABEL_OWNER]), ("status", states)]))
    }

    /// Returns the box that something with these labels goes with, if it is left behind.
    fn left<'b>(&self, boxes: &'b mut Boxes, labels: &HashMap<String, String>) -> Option<&'b mut Made> {
        let owner = Owner::parse(labels.get(LABEL_OWNER)?)?;
        let expires = labels.get(LABEL_EXPIRES).and_then(|text| text.parse().ok());
        if !is_left(&owner, expires, self.now_ms) {
            return None;
        }
        let folder = PathBuf::from(labels.get(LABEL_FOLDER)?);
        let made = boxes
            .entry(folder.clone())
            .or_insert_with(|| Made::new(Arc::clone(self.connection)));
        // A label is only text: nothing outside this engine's own place is removed because of one.
        if folder.parent() == Some(self.scratch) && folder.exists() {
            made.folder = Some(Folder::left(folder));
        }
        Some(made)
    }

    /// Finds folders whose owners are gone; their containers may have ended by themselves.
    fn add_folders(&self, boxes: &mut Boxes) -> io::Result<()> {
        let entries = match fs::read_dir(self.scratch) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            if boxes.contains_key(&path) {
                continue;
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let owner = name.and_then(|name| Owner::parse(&name.split('.').next()?.replace('_', ":")));
            if owner.is_some_and(|owner| is_left(&owner, None, self.now_ms)) {
                let mut made = Made::new(Arc::clone(self.connection));
                made.folder = Some(Folder::left(path.clone()));
                boxes.insert(path, made);
            }
        }
        Ok(())
    }
}

/// Whether what an owner made is left behind.
fn is_left(owner: &Owner, expires_ms: Option<i64>, now_ms: i64) -> bool {
    match owner.state() {
        Ok(OwnerState::Gone) => true,
        Ok(OwnerState::Lives) => false,
        // Whoever cannot be seen may live: only time tells.
        Ok(OwnerState::Unseen) | Err(_) => expires_ms.is_some_and(|expires| expires < now_ms),
    }
}

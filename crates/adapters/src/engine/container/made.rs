//! What a box has made of itself so far. Owns taking all of it away again: at the end, when opening fails half way, and
//! for owners that are gone.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptionsBuilder,
    RemoveVolumeOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;

use super::body::{ROOT_CAPABILITIES, bind, confined};
use super::connection::{CallError, Connection};
use super::workspace::Folder;
use crate::engine::Limits;

/// How often a container that is being removed by somebody else is looked for, and how long between.
const REMOVAL_LOOKS_MAX: u32 = 200;
/// The time between two looks.
const REMOVAL_LOOK_WAIT: Duration = Duration::from_millis(50);
/// Where a folder that is removed by a container is in it.
const GONE: &str = "/gone";

/// Everything that goes with a box; removed when dropped.
pub(super) struct Made {
    pub(super) connection: Arc<Connection>,
    /// Containers, in the order they were made.
    pub(super) containers: Vec<String>,
    pub(super) volumes: Vec<String>,
    pub(super) networks: Vec<String>,
    pub(super) folder: Option<Folder>,
    /// An image to run on if the folder holds what only the daemon can remove.
    pub(super) image: Option<String>,
}

impl Made {
    /// Starts with nothing.
    pub(super) const fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            containers: Vec::new(),
            volumes: Vec::new(),
            networks: Vec::new(),
            folder: None,
            image: None,
        }
    }

    /// Removes everything; what failed stays and is tried by the next call.
    ///
    /// Errors: the first that failed, in words.
    pub(super) fn remove(&mut self) -> Result<(), String> {
        let mut first = None;
        let mut note = |error: String| {
            first.get_or_insert(error);
        };
        let connection = Arc::clone(&self.connection);
        // The box goes before its services, and the networks after all that is in them.
        self.containers.reverse();
        self.containers
            .retain(|id| match remove_container(&connection, id) {
                Ok(()) => false,
                Err(error) => {
                    note(error.text());
                    true
                }
            });
        let docker = connection.docker();
        let options = || Some(RemoveVolumeOptionsBuilder::default().force(true).build());
        self.volumes.retain(|name| {
            let call = connection.call(
                &format!("remove the volume {name}"),
                docker.remove_volume(name, options()),
            );
            keep_failed(call, &mut note)
        });
        self.networks.retain(|name| {
            let call = connection.call(&format!("remove the network {name}"), docker.remove_network(name));
            keep_failed(call, &mut note)
        });
        // As long as something may still run in it, a folder stays.
        if self.containers.is_empty()
            && let Some(folder) = self.folder.take()
            && let Err(error) = remove_folder(&connection, &folder, self.image.as_deref())
        {
            note(format!("{}: {error}", folder.path().display()));
            self.folder = Some(folder);
        }
        first.map_or(Ok(()), Err)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // What cannot be removed is labelled with its owner, and the next reap tries again.
        let _ = self.remove();
    }
}

fn keep_failed(call: Result<(), CallError>, note: &mut impl FnMut(String)) -> bool {
    match call {
        Ok(()) => false,
        Err(error) if error.is_missing() => false,
        Err(error) => {
            note(error.text());
            true
        }
    }
}

/// Ends a container and waits until it and its anonymous volumes are gone; one that is not there is fine.
///
/// Errors: [`CallError`].
pub(super) fn remove_container(connection: &Connection, id: &str) -> Result<(), CallError> {
    let docker = connection.docker();
    let doing = format!("remove the container {id}");
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    let mut last = match connection.call(&doing, docker.remove_container(id, Some(options.clone()))) {
        Ok(()) => return Ok(()),
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) if error.status().is_none() => return Err(error),
        Err(error) => error,
    };
    // It ended by itself and the daemon is removing it, which one may not do twice.
    for _ in 0..REMOVAL_LOOKS_MAX {
        connection.wait(async { tokio::time::sleep(REMOVAL_LOOK_WAIT).await });
        let look = connection.call(
            &doing,
            docker.inspect_container(id, None::<InspectContainerOptions>),
        );
        if look.is_err_and(|error| error.is_missing()) {
            return Ok(());
        }
        match connection.call(&doing, docker.remove_container(id, Some(options.clone()))) {
            Ok(()) => return Ok(()),
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Removes a box's folder, through a container where this user may not.
///
/// Errors: what the system or the daemon said.
pub(super) fn remove_folder(connection: &Connection, folder: &Folder, image: Option<&str>) -> io::Result<()> {
    let refused = match folder.remove() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        other => return other,
    };
    let Some(image) = image else { return Err(refused) };
    empty_by_container(connection, folder.path(), image).map_err(CallError::into_io)?;
    // What is left is this user's own.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    folder.remove()
}

fn empty_by_container(connection: &Connection, path: &Path, image: &str) -> Result<(), CallError> {
    let doing = format!("empty {}", path.display());
    let mount = bind(path, Path::new(GONE), false)
        .map_err(|error| connection.failed(&doing, io::Error::other(error.to_string()).into()))?;
    let script = format!("cd {GONE} && chmod -R u+rwX . ; rm -rf -- ..?* .[!.]* *");
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some("0:0".to_owned()),
        entrypoint: Some(vec!["/bin/sh".to_owned()]),
        cmd: Some(vec!["-c".to_owned(), script]),
        host_config: Some(HostConfig {
            auto_remove: Some(false),
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![mount]),
            ..confined(connection.flavour, &ROOT_CAPABILITIES, &Limits::default())
        }),
        ..ContainerCreateBody::default()
    };
    let docker = connection.docker();
    let id = connection
        .call(
            &doing,
            docker.create_container(None::<CreateContainerOptions>, body),
        )?
        .id;
    let run = connection.call(&doing, async {
        docker.start_container(&id, None::<StartContainerOptions>).await?;
        let mut ended = Box::pin(docker.wait_container(&id, None::<WaitContainerOptions>));
        // What its exit code was does not matter: whether the folder is empty is looked at.
        while ended.next().await.is_some_and(|step| step.is_ok()) {}
        Ok(())
    });
    run.and(remove_container(connection, &id))
}

//! The making of a box, step by step. Owns the order: what is made is noted before the next step, so that a step that
//! fails leaves nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bollard::container::AttachContainerResults;
use bollard::models::{ContainerCreateBody, Mount as ApiMount, MountType, VolumeCreateRequest};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
};
use tokio::io::AsyncWrite;

use super::archive::{UserFiles, put_user_files};
use super::body::{
    Ids, LABEL_NAME, Plan, bind, box_body, limits_in_words, refuse_limits, shell_passes, text_of,
};
use super::connection::Connection;
use super::container_sandbox::{ContainerSandbox, Parts};
use super::exec::Runner;
use super::facts::Facts;
use super::image::ensure_image;
use super::made::Made;
use super::meter::Meter;
use super::service::{Services, start_in_network, start_on_loopback};
use super::workspace::{Folder, OBJECTS, host_trouble, write_workspace};
use crate::clock::Stopwatch;
use crate::engine::{BoxUser, Mount, MountKind, Network, OpenError, SandboxControl, SandboxSpec};

/// The connection whose end ends a container.
pub(super) struct Lease {
    _input: Pin<Box<dyn AsyncWrite + Send>>,
    _output: AttachOutput,
}

type AttachOutput = Pin<
    Box<
        dyn futures_util::Stream<Item = Result<bollard::container::LogOutput, bollard::errors::Error>> + Send,
    >,
>;

/// What one box is made of.
pub(super) struct Opening<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) facts: &'a Facts,
    pub(super) spec: &'a SandboxSpec,
    pub(super) control: &'a SandboxControl,
    /// A name that no other box of any owner has.
    pub(super) id: String,
    pub(super) labels: HashMap<String, String>,
    pub(super) ids: Ids,
    /// Where its folder will be.
    pub(super) folder: &'a Path,
    pub(super) user_files: &'a UserFiles,
}

/// Refuses what a container engine does not do, before anything is made.
///
/// Errors: [`OpenError::Unsupported`].
pub(super) fn refuse(connection: &Connection, facts: &Facts, spec: &SandboxSpec) -> Result<(), OpenError> {
    let engine = connection.flavour.name();
    refuse_limits(connection.flavour, facts, &spec.limits)?;
    if matches!(spec.network, Network::Allow(_)) {
        return Err(OpenError::Unsupported(format!(
            "the {engine} engine cannot let a box reach some hosts only: ask for network = \"none\" or \"full\", or use \
             the native engine"
        )));
    }
    let at = text_of(&spec.workspace_at)?;
    if spec.workspace_at.parent().is_none() {
        return Err(OpenError::Unsupported(format!(
            "the workspace of a container cannot be at {at}"
        )));
    }
    for mount in &spec.mounts {
        text_of(&mount.host)?;
        text_of(&mount.at)?;
    }
    Ok(())
}

impl Opening<'_> {
    /// Makes the box.
    ///
    /// Errors: [`OpenError`]; nothing is left then.
    pub(super) fn open(mut self) -> Result<ContainerSandbox, OpenError> {
        let stopwatch = Stopwatch::start();
        let image = ensure_image(self.connection, &self.spec.image, self.control)?;
        let mut made = Made::new(Arc::clone(self.connection));
        made.image = Some(image.id.clone());
        let folder =
            Folder::create(self.folder.to_owned()).map_err(|source| host_trouble(self.folder, &source))?;
        made.folder = Some(folder.clone());
        let (objects, baseline) = write_workspace(&folder, &self.spec.workspace, self.ids, self.control)?;
        self.labels.insert(LABEL_NAME.to_owned(), self.spec.name.clone());
        let mut mounts = vec![bind(&folder.workspace(), &self.spec.workspace_at, false)?];
        for (number, directory) in objects.iter().enumerate() {
            mounts.push(bind(
                directory,
                &Path::new(OBJECTS).join(number.to_string()),
                true,
            )?);
        }
        for (number, mount) in self.spec.mounts.iter().enumerate() {
            mounts.push(self.mount(&mut made, &folder, number, mount)?);
        }
        let none = self.spec.network == Network::None;
        let (shared, mut services) = match none {
            true => (Some("none".to_owned()), Services::default()),
            false => start_in_network(&self, &mut made)?,
        };
        let plan = Plan {
            flavour: self.connection.flavour,
            facts: self.facts,
            spec: self.spec,
            image: &image,
            labels: self.labels.clone(),
            mounts,
            network: shared,
        };
        let body = box_body(&plan);
        let plain = self.spec.user == BoxUser::Plain;
        let (container, lease) = self.start(&mut made, body, |container| {
            if plain {
                put_user_files(self.connection, self.user_files, container, &image, self.ids)?;
            }
            Ok(())
        })?;
        if none {
            services = start_on_loopback(&self, &mut made, &container)?;
        }
        services.wait_ready(&self)?;
        let mut leases = services.leases;
        leases.push(lease);
        let pid = self.first_process(&container)?;
        let odd = self
            .spec
            .env
            .iter()
            .filter(|(name, _)| !shell_passes(name))
            .cloned()
            .collect();
        Ok(ContainerSandbox::new(Parts {
            runner: Runner {
                connection: Arc::clone(self.connection),
                container,
                ids: self.ids,
                odd_env: odd,
                meter: Meter::of_process(pid),
            },
            made,
            leases: Mutex::new(leases),
            stopwatch,
            baseline,
            workspace_at: self.spec.workspace_at.clone(),
            image: image.id,
            limits: limits_in_words(self.connection.flavour, self.facts, &self.spec.limits),
            // Nobody watches whom a box with a full network asks.
            hosts: none.then(Vec::new),
        }))
    }

    /// Makes and starts a container that ends with the lease it returns beside its id; `before` is done before its first process.
    ///
    /// Errors: [`OpenError`].
    pub(super) fn start(
        &self,
        made: &mut Made,
        body: ContainerCreateBody,
        before: impl FnOnce(&str) -> Result<(), OpenError>,
    ) -> Result<(String, Lease), OpenError> {
        let connection = self.connection;
        let docker = connection.docker();
        let stop = || {
            if self.control.is_cancelled() {
                Err(OpenError::Cancelled)
            } else {
                Ok(())
            }
        };
        stop()?;
        let doing = format!("make the box {}", self.spec.name);
        let create = docker.create_container(None::<CreateContainerOptions>, body);
        let container = connection.call(&doing, create)?.id;
        made.containers.push(container.clone());
        before(&container)?;
        stop()?;
        let options = AttachContainerOptionsBuilder::default()
            .stdin(true)
            .stream(true)
            .build();
        let attached = connection.call(&doing, docker.attach_container(&container, Some(options)))?;
        let AttachContainerResults { output, input } = attached;
        let start = docker.start_container(&container, None::<StartContainerOptions>);
        connection.call(&doing, start)?;
        stop()?;
        let lease = Lease {
            _input: input,
            _output: output,
        };
        Ok((container, lease))
    }

    fn first_process(&self, container: &str) -> Result<u32, OpenError> {
        let connection = self.connection;
        let look = connection
            .docker()
            .inspect_container(container, None::<InspectContainerOptions>);
        let found = connection.call("look at a box that has started", look)?;
        let pid = found.state.and_then(|state| state.pid).unwrap_or(0);
        // 0 is nobody: nothing of it is measured then.
        Ok(u32::try_from(pid).unwrap_or(0))
    }

    fn mount(
        &self,
        made: &mut Made,
        folder: &Folder,
        number: usize,
        mount: &Mount,
    ) -> Result<ApiMount, OpenError> {
        let below = fs::metadata(&mount.host).map_err(|source| host_trouble(&mount.host, &source))?;
        match mount.kind {
            MountKind::ReadOnly => bind(&mount.host, &mount.at, true),
            MountKind::Shared => bind(&mount.host, &mount.at, false),
            MountKind::CopyOnWrite if below.is_file() => {
                let copy = folder.path().join(format!("file-{number}"));
                let owner = |source| host_trouble(&copy, &source);
                fs::copy(&mount.host, &copy).map_err(owner)?;
                if nix::unistd::geteuid().is_root() {
                    use std::os::unix::fs::MetadataExt;
                    std::os::unix::fs::lchown(&copy, Some(below.uid()), Some(below.gid())).map_err(owner)?;
                }
                bind(&copy, &mount.at, false)
            }
            MountKind::CopyOnWrite => self.layered(made, folder, number, mount, &below),
        }
    }

    /// Mounts a directory with a private layer on top: an overlay that the daemon mounts as a volume.
    fn layered(
        &self,
        made: &mut Made,
        folder: &Folder,
        number: usize,
        mount: &Mount,
        below: &fs::Metadata,
    ) -> Result<ApiMount, OpenError> {
        let connection = self.connection;
        let unsupported = |why: &str| {
            OpenError::Unsupported(format!(
                "the {} engine cannot mount {} copy-on-write: {why}; use the native engine, or mount it read-only",
                connection.flavour.name(),
                mount.host.display()
            ))
        };
        if self.facts.rootless || !nix::unistd::geteuid().is_root() {
            return Err(unsupported("that needs the host's root"));
        }
        let (upper, work) = folder
            .layer(number, below)
            .map_err(|source| host_trouble(folder.path(), &source))?;
        let texts = [text_of(&mount.host)?, text_of(&upper)?, text_of(&work)?];
        if texts.iter().any(|text| text.contains([',', ':', '\\'])) {
            return Err(unsupported(
                "an overlay takes no path with a comma, colon or backslash",
            ));
        }
        let [lower, upper, work] = texts;
        let name = format!("gantry-{}-{number}", self.id);
        let options = [
            ("type", "overlay".to_owned()),
            ("device", "overlay".to_owned()),
            ("o", format!("lowerdir={lower},upperdir={upper},workdir={work}")),
        ];
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: Some("local".to_owned()),
            driver_opts: Some(options.map(|(key, value)| (key.to_owned(), value)).into()),
            labels: Some(self.labels.clone()),
            ..VolumeCreateRequest::default()
        };
        connection.call(
            &format!("make the volume {name}"),
            connection.docker().create_volume(request),
        )?;
        made.volumes.push(name.clone());
        Ok(ApiMount {
            typ: Some(MountType::VOLUME),
            source: Some(name),
            target: Some(text_of(&mount.at)?),
            read_only: Some(false),
            volume_options: Some(bollard::models::MountVolumeOptions {
                no_copy: Some(true),
                ..bollard::models::MountVolumeOptions::default()
            }),
            ..ApiMount::default()
        })
    }
}

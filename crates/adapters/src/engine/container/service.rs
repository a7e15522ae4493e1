//! The services of a box. Owns starting each beside it and waiting until it is ready.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, NetworkCreateRequest};
use futures_util::StreamExt;
use gantry_core::queue::build::Trouble;

use super::body::{ROOT_CAPABILITIES, confined, kept_alive, known_as};
use super::connection::{CallError, Connection};
use super::image::ensure_image;
use super::made::Made;
use super::open::{Lease, Opening};
use crate::clock::Stopwatch;
use crate::engine::{Limits, OpenError, SandboxControl, ServiceSpec};

/// The time between two looks whether a service is ready.
const HEALTH_WAIT: Duration = Duration::from_millis(200);

/// The first process of a service: runs its command, and ends when that does or when the owner is gone.
const KEEPER: &str = "exec 3<&0; \"$@\" 3<&- </dev/null & service=$!; trap 'exit 0' USR1; \
                      (while read -r _; do :; done; kill -USR1 1) <&3 & wait $service; exit $?";

/// Where every service is if the box has nothing but its loopback.
pub(super) const LOOPBACK: &str = "127.0.0.1";

/// The services of one box.
#[derive(Default)]
pub(super) struct Services {
    /// Their containers, in the order of the specification.
    containers: Vec<String>,
    pub(super) leases: Vec<Lease>,
}

/// Makes a network for the box and its services, and starts them in it; each is known there by its name. Without
/// services there is no such network.
///
/// Errors: [`OpenError`].
pub(super) fn start_in_network(
    opening: &Opening<'_>,
    made: &mut Made,
) -> Result<(Option<String>, Services), OpenError> {
    if opening.spec.services.is_empty() {
        return Ok((None, Services::default()));
    }
    let connection = opening.connection;
    let network = format!("gantry-{}", opening.id);
    let request = NetworkCreateRequest {
        name: network.clone(),
        driver: Some("bridge".to_owned()),
        labels: Some(opening.labels.clone()),
        ..NetworkCreateRequest::default()
    };
    connection.call(
        &format!("make the network {network}"),
        connection.docker().create_network(request),
    )?;
    made.networks.push(network.clone());
    let services = start_all(opening, made, &|service, body| {
        body.hostname = Some(service.name.clone());
        body.networking_config = Some(known_as(&network, &service.name));
        network.clone()
    })?;
    Ok((Some(network), services))
}

/// Starts the services of a box without a network in the box's own namespace: an internal network of a daemon still
/// reaches what listens on the host. They share its ports, and the box knows them by its list of hosts.
///
/// Errors: [`OpenError`].
pub(super) fn start_on_loopback(
    opening: &Opening<'_>,
    made: &mut Made,
    container: &str,
) -> Result<Services, OpenError> {
    start_all(opening, made, &|_, _| format!("container:{container}"))
}

/// Starts every service; `settle` says in which network, and what else that takes.
fn start_all(
    opening: &Opening<'_>,
    made: &mut Made,
    settle: &dyn Fn(&ServiceSpec, &mut ContainerCreateBody) -> String,
) -> Result<Services, OpenError> {
    let mut services = Services::default();
    for service in &opening.spec.services {
        let image = ensure_image(opening.connection, &service.image, opening.control)?;
        let command = if service.command.is_empty() {
            &image.command
        } else {
            &service.command
        };
        if command.is_empty() {
            return Err(OpenError::Unsupported(format!(
                "the service {} has no command and its image names none; give it a command",
                service.name
            )));
        }
        let mut body = kept_alive(KEEPER, command);
        body.image = Some(image.id);
        body.env = Some(
            service
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        );
        body.labels = Some(opening.labels.clone());
        let mut host = confined(opening.connection.flavour, &ROOT_CAPABILITIES, &Limits::default());
        host.network_mode = Some(settle(service, &mut body));
        body.host_config = Some(host);
        let (container, lease) = opening.start(made, body, |_| Ok(()))?;
        services.containers.push(container);
        services.leases.push(lease);
    }
    Ok(services)
}

impl Services {
    /// Waits until all of them are ready.
    ///
    /// Errors: [`OpenError`] with the first that is not.
    pub(super) fn wait_ready(&self, opening: &Opening<'_>) -> Result<(), OpenError> {
        let started = Stopwatch::start();
        for (service, container) in opening.spec.services.iter().zip(&self.containers) {
            wait_ready(opening.connection, service, container, &started, opening.control)?;
        }
        Ok(())
    }
}

/// Asks until the service says that it is ready.
fn wait_ready(
    connection: &Connection,
    service: &ServiceSpec,
    container: &str,
    started: &Stopwatch,
    control: &SandboxControl,
) -> Result<(), OpenError> {
    if service.health.is_empty() {
        return Ok(());
    }
    loop {
        if control.is_cancelled() {
            return Err(OpenError::Cancelled);
        }
        let last = match ask_health(connection, container, &service.health) {
            Ok(0) => return Ok(()),
            Ok(code) => format!("its health command ended with {code}"),
            Err(error) if error.status().is_some() => error.text(),
            Err(error) => return Err(error.into()),
        };
        if started.left_of(service.ready_within).is_zero() {
            return Err(OpenError::Trouble(
                Trouble::CouldNotStart,
                format!(
                    "the service {} was not ready within {} s: {last}",
                    service.name,
                    service.ready_within.as_secs_f32()
                ),
            ));
        }
        if control.wait_cancelled(HEALTH_WAIT) {
            return Err(OpenError::Cancelled);
        }
    }
}

fn ask_health(connection: &Connection, container: &str, command: &[String]) -> Result<i64, CallError> {
    let docker = connection.docker();
    connection.call("ask a service for its health", async {
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let id = docker.create_exec(container, options).await?.id;
        if let StartExecResults::Attached { mut output, .. } = docker.start_exec(&id, None).await? {
            while output.next().await.transpose()?.is_some() {}
        }
        let state = docker.inspect_exec(&id).await?;
        Ok(state.exit_code.unwrap_or(-1))
    })
}

//! Services beside a box: boxes in its network. Owns starting them, waiting until each is ready, and that they end
//! with it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gantry_core::limits::BOX_GRACE;
use gantry_core::queue::build::Trouble;

use super::NativeEngine;
use super::entry::Net;
use super::native_sandbox::NativeSandbox;
use super::open::open_one;
use crate::clock::Stopwatch;
use crate::engine::{
    BoxUser, ExecEnding, ExecSpec, Image, Limits, Network, OpenError, Sandbox, SandboxControl, SandboxSpec,
    ServiceSpec, Workspace,
};

/// The wait between two looks at a service's health.
const HEALTH_EVERY: Duration = Duration::from_millis(100);
/// No service runs longer than its box; this is longer than any box.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
/// The most bytes of a service's output that its failure is told with.
const LAST_WORDS_BYTES: usize = 2000;

/// A service that runs; dropping it ends it.
pub(super) struct Service {
    control: SandboxControl,
    thread: Option<JoinHandle<()>>,
    _sandbox: Arc<NativeSandbox>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.control.cancel();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told of it already.
            drop(thread.join());
        }
    }
}

/// Starts the services of a box, one after the other, each ready before the next.
///
/// Errors: [`OpenError`].
pub(super) fn start(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    sandbox: &mut NativeSandbox,
    control: &SandboxControl,
) -> Result<(), OpenError> {
    for service in &spec.services {
        if service.command.is_empty() {
            return Err(OpenError::Unsupported(format!(
                "the service {} has no command: an unpacked image does not say its own, so name it",
                service.name
            )));
        }
        let net = if spec.network == Network::Full {
            Net::Host
        } else {
            Net::Of(sandbox.network_of().unwrap_or(0))
        };
        let started = start_one(engine, spec, service, net, control)?;
        sandbox.services.push(started);
    }
    Ok(())
}

fn start_one(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    service: &ServiceSpec,
    net: Net,
    control: &SandboxControl,
) -> Result<Service, OpenError> {
    let boxed = SandboxSpec {
        name: format!("{}-{}", spec.name, service.name),
        image: service.image.clone(),
        workspace: Workspace::Empty,
        workspace_at: spec.workspace_at.clone(),
        mounts: Vec::new(),
        env: service.env.clone(),
        network: spec.network.clone(),
        limits: Limits::default(),
        user: match service.image {
            // Servers in images start as root and step down by themselves.
            Image::Layers { .. } => BoxUser::Root,
            Image::Host | Image::Named(_) => BoxUser::Plain,
        },
        services: Vec::new(),
    };
    let sandbox = Arc::new(open_one(engine, &boxed, net, control)?);
    let (ended_sender, ended) = std::sync::mpsc::channel();
    let own = SandboxControl::default();
    let (run, run_control) = (Arc::clone(&sandbox), own.clone());
    let exec = exec_of(&service.command, NO_TIMEOUT);
    let thread = thread::Builder::new()
        .name("box-service".to_owned())
        .spawn(move || {
            let mut last_words = Vec::new();
            let report = run.exec(
                &exec,
                &mut |bytes| {
                    last_words.extend_from_slice(bytes);
                    let over = last_words.len().saturating_sub(LAST_WORDS_BYTES);
                    last_words.drain(..over);
                    Ok(())
                },
                &run_control,
            );
            // Nobody listens any more once the service has been ready.
            let _ = ended_sender.send((report.ending, last_words));
        });
    let thread = thread.map_err(|source| {
        OpenError::Trouble(
            Trouble::CouldNotStart,
            format!("cannot start a service's thread: {source}"),
        )
    })?;
    let started = Service {
        control: own,
        thread: Some(thread),
        _sandbox: Arc::clone(&sandbox),
    };
    await_health(service, &sandbox, &ended, control)?;
    Ok(started)
}

type Ended = std::sync::mpsc::Receiver<(ExecEnding, Vec<u8>)>;

fn await_health(
    service: &ServiceSpec,
    sandbox: &NativeSandbox,
    ended: &Ended,
    control: &SandboxControl,
) -> Result<(), OpenError> {
    if service.health.is_empty() {
        return Ok(());
    }
    let watch = Stopwatch::start();
    loop {
        let left = watch.left_of(service.ready_within);
        let exec = exec_of(&service.health, left.max(HEALTH_EVERY));
        let mut said = Vec::new();
        let report = sandbox.exec(
            &exec,
            &mut |bytes| {
                said.extend_from_slice(
                    &bytes[..bytes.len().min(LAST_WORDS_BYTES.saturating_sub(said.len()))],
                );
                Ok(())
            },
            control,
        );
        let said = String::from_utf8_lossy(&said).into_owned();
        let last = match report.ending {
            ExecEnding::Exited { code: 0 } => return Ok(()),
            ExecEnding::Cancelled => return Err(OpenError::Cancelled),
            ExecEnding::Exited { code } => format!("its health command exits with {code}: {said}"),
            other => format!("its health command ends so: {other:?}: {said}"),
        };
        let not_ready = |why: String| Err(OpenError::Trouble(Trouble::CouldNotStart, why));
        if let Ok((ending, words)) = ended.try_recv() {
            let words = String::from_utf8_lossy(&words).into_owned();
            return not_ready(format!(
                "the service {} ended before it was ready: {ending:?}: {words}",
                service.name
            ));
        }
        if watch.left_of(service.ready_within).is_zero() {
            return not_ready(format!(
                "the service {} was not ready within {:?}: {last}",
                service.name, service.ready_within
            ));
        }
        if control.wait_cancelled(HEALTH_EVERY) {
            return Err(OpenError::Cancelled);
        }
    }
}

fn exec_of(command: &[String], timeout: Duration) -> ExecSpec {
    ExecSpec {
        command: command.to_vec(),
        env: Vec::new(),
        directory: "/".into(),
        timeout,
        grace: BOX_GRACE,
    }
}

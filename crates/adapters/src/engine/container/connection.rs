//! A daemon's socket and the thread that watches it. Owns the only place where blocking callers meet the asynchronous
//! client; must never be used from inside an asynchronous task, which would block it.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use bollard::errors::Error;
use bollard::query_parameters::InspectContainerOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use gantry_core::queue::build::Trouble;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::flavour::Flavour;
use crate::engine::OpenError;

/// How long a daemon may take for one answer, in seconds; a loaded one needs tens of them.
const ANSWER_SECONDS_MAX: u64 = 120;

/// Why a daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{engine} at {} cannot {doing}", socket.display())]
pub(super) struct CallError {
    /// The engine's name.
    pub(super) engine: &'static str,
    /// Where it listens.
    pub(super) socket: PathBuf,
    /// What was asked.
    pub(super) doing: String,
    /// What it said.
    #[source]
    pub(super) source: Box<Error>,
}

impl CallError {
    /// Returns the HTTP status the daemon answered with, if it answered.
    pub(super) fn status(&self) -> Option<u16> {
        match *self.source {
            Error::DockerResponseServerError { status_code, .. } => Some(status_code),
            _ => None,
        }
    }

    /// Says whether the thing asked for is not there.
    pub(super) fn is_missing(&self) -> bool {
        // Podman also says it with another status, if the container goes while it looks.
        match &*self.source {
            Error::DockerResponseServerError { status_code, message } => {
                *status_code == 404 || message.contains("no such container")
            }
            _ => false,
        }
    }

    /// Says whether the answer holds a container in podman's state `stopped`, which the client does not know.
    pub(super) fn is_stopped_state(&self) -> bool {
        matches!(&*self.source, Error::JsonDataError { message, .. } if message.contains("variant `stopped`"))
    }

    /// Returns the whole chain of causes in one line.
    pub(super) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(said.trim());
            }
            cause = error.source();
        }
        text
    }

    /// Returns what kind of trouble it is, and its text.
    pub(super) fn trouble(&self) -> (Trouble, String) {
        let text = self.text();
        let full = text.contains("no space left on device");
        let kind = if full {
            Trouble::OutOfDisk
        } else {
            Trouble::CouldNotStart
        };
        (kind, text)
    }

    /// Returns it as an error of the system.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self.text())
    }
}

impl From<CallError> for OpenError {
    fn from(error: CallError) -> Self {
        let (kind, text) = error.trouble();
        Self::Trouble(kind, text)
    }
}

/// A client of one daemon.
pub(super) struct Connection {
    pub(super) flavour: Flavour,
    pub(super) socket: PathBuf,
    docker: Docker,
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Connection {
    /// Starts the thread; asks the daemon nothing.
    ///
    /// Errors: there is no socket, or no thread can be started.
    pub(super) fn new(flavour: Flavour, socket: &Path) -> Result<Self, CallError> {
        let failed = |doing: &str, source| CallError {
            engine: flavour.name(),
            socket: socket.to_owned(),
            doing: doing.to_owned(),
            source: Box::new(source),
        };
        let name = socket
            .to_str()
            .ok_or_else(|| failed("be named", io::Error::from(io::ErrorKind::InvalidFilename).into()))?;
        let docker = Docker::connect_with_unix(name, ANSWER_SECONDS_MAX, API_DEFAULT_VERSION)
            .map_err(|source| failed("be found", source))?;
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let watch = move || {
            let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match built {
                Ok(runtime) => {
                    // Nobody listens only if the caller is gone; the thread then ends at once below.
                    let _ = tell.send(Ok(runtime.handle().clone()));
                    // Ends when the sender is dropped, which is an error of the receiver and all that is waited for.
                    let _ = runtime.block_on(ended);
                }
                Err(source) => drop(tell.send(Err(source))),
            }
        };
        let watcher = thread::Builder::new()
            .name(format!("{}-socket", flavour.name()))
            .spawn(watch)
            .map_err(|source| failed("be watched", source.into()))?;
        let runtime = told
            .recv()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
            .map_err(|source| failed("be watched", source.into()))?;
        Ok(Self {
            flavour,
            socket: socket.to_owned(),
            docker,
            runtime,
            end: Some(end),
            watcher: Some(watcher),
        })
    }

    /// Returns the client.
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Runs something asynchronous to its end on the caller's thread.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs one call to its end and says what was being done if it failed.
    ///
    /// Errors: [`CallError`].
    pub(super) fn call<T>(
        &self,
        doing: &str,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CallError> {
        self.wait(future).map_err(|source| self.failed(doing, source))
    }

    /// Says whether a container is there and runs.
    ///
    /// Errors: [`CallError`] if nobody can tell.
    pub(super) async fn runs(&self, container: &str) -> Result<bool, CallError> {
        let look = self
            .docker
            .inspect_container(container, None::<InspectContainerOptions>);
        match look
            .await
            .map_err(|source| self.failed("look for the box", source))
        {
            Ok(found) => Ok(found.state.and_then(|state| state.running) == Some(true)),
            Err(error) if error.is_missing() => Ok(false),
            // A state of podman's that docker does not have.
            Err(error) if error.is_stopped_state() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says what was being done when a call failed.
    pub(super) fn failed(&self, doing: &str, source: Error) -> CallError {
        CallError {
            engine: self.flavour.name(),
            socket: self.socket.clone(),
            doing: doing.to_owned(),
            source: Box::new(source),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(watcher) = self.watcher.take() {
            // A panic there has ended the thread as well.
            let _ = watcher.join();
        }
    }
}

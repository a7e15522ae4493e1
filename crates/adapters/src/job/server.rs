//! The job's own side: it claims its folder, publishes events, answers requests, and ends when nobody renews its
//! lease. Owns the socket and the list of watchers; must never wait for a watcher longer than a moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use gantry_core::limits::{JOB_REQUEST_BYTES_MAX, JOB_WATCHER_WAIT, JOB_WATCHERS_MAX};

use super::{JobFolder, JobLock};
use crate::clock::Stopwatch;

/// The request that subscribes to events, and the one that renews the lease.
pub(super) const WATCH: &str = "watch";
pub(super) const RENEW: &str = "renew";
/// Where the events are, a line each.
pub(super) const EVENTS: &str = "events.ndjson";

/// What becomes of a request.
pub enum Reply {
    /// One line.
    Line(String),
    /// The connection is taken over: what is written to it is the answer.
    Stream(Box<dyn FnOnce(UnixStream) + Send>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => f.debug_tuple("Line").field(line).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// A job that lives in its folder.
pub struct JobServer {
    folder: JobFolder,
    _lock: JobLock,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    events: File,
    watchers: Vec<UnixStream>,
    renewed: Stopwatch,
    ended: bool,
}

impl std::fmt::Debug for JobServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobServer")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl JobServer {
    /// Claims the folder for this process; `None` if a job lives there.
    ///
    /// Errors: what the system said.
    pub fn claim(folder: JobFolder) -> io::Result<Option<Self>> {
        let Some(lock) = folder.lock()? else {
            return Ok(None);
        };
        let events = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(folder.file(EVENTS))?;
        Ok(Some(Self {
            folder,
            _lock: lock,
            state: Mutex::new(State {
                events,
                watchers: Vec::new(),
                renewed: Stopwatch::start(),
                ended: false,
            }),
            changed: Condvar::new(),
        }))
    }

    /// Returns the job's folder.
    #[must_use]
    pub fn folder(&self) -> &JobFolder {
        &self.folder
    }

    /// Records an event, one line without line ends, and tells the watchers.
    ///
    /// Errors: what the system said about the events' file; watchers that do not listen are dropped.
    pub fn publish(&self, line: &str) -> io::Result<()> {
        let line = format!("{}\n", line.replace('\n', " "));
        let mut state = self.state();
        let written = state.events.write_all(line.as_bytes());
        state
            .watchers
            .retain_mut(|watcher| watcher.write_all(line.as_bytes()).is_ok());
        written
    }

    /// Ends the watchers' streams. The lock is let go of when the server is dropped.
    pub fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.watchers.clear();
        self.changed.notify_all();
    }

    /// Opens the socket and answers requests on threads of its own, until the process ends.
    ///
    /// Errors: the socket cannot be made.
    pub fn serve(self: &Arc<Self>, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> io::Result<()> {
        let path = self.folder.socket();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = bind(&path)?;
        let answer = Arc::new(answer);
        let server = Arc::clone(self);
        thread::Builder::new().name("job-socket".into()).spawn(move || {
            for stream in listener.incoming() {
                // A connection that failed is the caller's to try again.
                let Ok(stream) = stream else { continue };
                let (server, answer) = (Arc::clone(&server), Arc::clone(&answer));
                let started = thread::Builder::new()
                    .name("job-request".into())
                    .spawn(move || server.take(stream, &*answer));
                // Without a thread the caller sees a closed connection.
                drop(started);
            }
        })?;
        Ok(())
    }

    /// Waits until the lease has run out (`true`) or the job has ended.
    pub fn wait_lease(&self, lease: Duration) -> bool {
        let mut state = self.state();
        loop {
            if state.ended {
                return false;
            }
            let left = state.renewed.left_of(lease);
            if left.is_zero() {
                return true;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn take(&self, mut stream: UnixStream, answer: &dyn Fn(&str) -> Reply) {
        let Ok(request) = read_request(&stream) else {
            return;
        };
        let reply = match request.as_str() {
            WATCH => {
                self.watch(stream);
                return;
            }
            RENEW => {
                self.state().renewed = Stopwatch::start();
                Reply::Line("ok".to_owned())
            }
            other => answer(other),
        };
        match reply {
            // A caller that went away does not want the answer.
            Reply::Line(line) => drop(writeln!(stream, "{line}")),
            Reply::Stream(take) => take(stream),
        }
    }

    fn watch(&self, mut stream: UnixStream) {
        // Under the lock, so that no event is missed or told twice.
        let mut state = self.state();
        let Ok(past) = fs::read(self.folder.file(EVENTS)) else {
            return;
        };
        let ready = stream
            .set_write_timeout(Some(JOB_WATCHER_WAIT))
            .and_then(|()| stream.write_all(&past));
        if ready.is_ok() && !state.ended && state.watchers.len() < JOB_WATCHERS_MAX {
            state.watchers.push(stream);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole: a panic elsewhere cannot leave half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds by way of the folder's descriptor: the path may be longer than a socket's name may be.
fn bind(path: &std::path::Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(super::client::short(path)?.path())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn read_request(stream: &UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(JOB_WATCHER_WAIT))?;
    let mut line = String::new();
    BufReader::new(stream.take(JOB_REQUEST_BYTES_MAX)).read_line(&mut line)?;
    stream.set_read_timeout(None)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

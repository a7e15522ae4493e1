//! The daemon: one factory, its thread, its sockets. Owns starting and stopping them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use anyhow::{Context, anyhow};
use gantry_adapters::clock;
use gantry_adapters::engine::{NativeEngine, SandboxEngine};
use gantry_engine::event_loop::{self, Message};
use gantry_engine::factory::Factory;
use gantry_store::Store;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::data_dir::DataDir;
use crate::web::dto::RepositoryBody;
use crate::web::{App, Bounded, router};
use crate::wiring::Wiring;

/// This very program, though its file may have been replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// Where.
    pub data: DataDir,
    /// Add this repository first, if it is not there.
    pub repository: Option<RepositoryBody>,
    /// Listen for remote callers here.
    pub listen: Option<SocketAddr>,
}

/// Runs until told to stop.
///
/// Errors: another daemon runs here, the database or a socket cannot be opened, a repository cannot be added.
pub fn run(options: Options) -> anyhow::Result<()> {
    let data = options.data;
    data.create()?;
    let _lock = data.lock()?;
    let engine = Arc::new(NativeEngine::new(SELF.into(), data.boxes()).hiding(data.root().to_owned()));
    match engine.reap() {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "ended boxes that an earlier daemon left"),
        Err(error) => tracing::warn!(
            error = gantry_engine::line::chain(&error),
            "an old box cannot be cleared"
        ),
    }
    let wiring = Arc::new(Wiring {
        data: data.clone(),
        engine,
    });
    let mut store = Store::open(&data.database())
        .with_context(|| format!("cannot open the database {}", data.database().display()))?;
    if let Some(body) = &options.repository {
        let wanted = wiring.plan_repository(body)?;
        wiring.add(&mut store, &wanted, clock::now())?;
    }
    let (sender, messages) = mpsc::channel();
    let mut factory = Factory::new(store);
    let repositories = factory.store().load_repositories()?;
    for repository in repositories {
        let name = repository.name.clone();
        match wiring.open_line(repository, &sender) {
            Ok(line) => {
                tracing::info!(repository = name, path = line.repository.path, "watching");
                factory.add_line(line);
            }
            // The others go on: one repository that is away must not stop the factory.
            Err(error) => tracing::error!(repository = name, "cannot open it: {error:#}"),
        }
    }
    let (recorded, watching) = watch::channel(0);
    let thread = std::thread::Builder::new()
        .name("factory".into())
        .spawn(move || {
            let publish = |sequence| {
                recorded.send_if_modified(|last| std::mem::replace(last, sequence) != sequence);
            };
            let mut factory = event_loop::run(factory, &messages, clock::now, publish);
            let (_, lines) = factory.parts();
            for line in lines.iter_mut() {
                line.boxes().stop();
            }
        })?;
    let (stop, stopping) = watch::channel(false);
    let app = App {
        sender: sender.clone(),
        recorded: watching,
        stop,
        wiring,
        token: None,
        logs: data.logs(),
    };
    let served = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(serve(app, &data, options.listen, stopping));
    // If the thread has ended already nobody is left to be told.
    drop(sender.send(Message::Stop));
    thread
        .join()
        .map_err(|_| anyhow!("the factory's thread panicked; see the log above"))?;
    served
}

async fn serve(
    app: App,
    data: &DataDir,
    listen: Option<SocketAddr>,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (local_most, remote_most) = connections_most();
    let socket = data.socket();
    let local = bind_local(&socket)?;
    // The address of an earlier daemon that was killed leads nowhere.
    forget(&data.address())?;
    let remote = match listen {
        None => None,
        Some(address) => {
            let token = data.token()?;
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address}"))?;
            tracing::info!(address = %listener.local_addr()?, "listening; the token is in {}", data.root().join("token").display());
            publish(data, listener.local_addr()?)?;
            Some((listener, token))
        }
    };
    tracing::info!(socket = %socket.display(), "ready");
    let stop = app.stop.clone();
    let stopped = async |mut stopping: watch::Receiver<bool>| {
        // A closed channel means that the daemon is going down in any case.
        drop(stopping.wait_for(|stop| *stop).await);
    };
    let mut facts = app.recorded.clone();
    let signals = tokio::spawn(async move {
        tokio::select! {
            () = wait_for_signal() => {}
            // The factory's thread is gone: without it every answer would be a lie.
            _ = facts.wait_for(|_| false) => {}
        }
        stop.send_replace(true);
    });
    let local_server = axum::serve(Bounded::new(local, local_most), router(app.clone(), false))
        .with_graceful_shutdown(stopped(stopping.clone()));
    let remote_server = async {
        if let Some((listener, token)) = remote {
            let guarded = App {
                token: Some(Arc::from(token.as_str())),
                ..app
            };
            axum::serve(Bounded::new(listener, remote_most), router(guarded, true))
                .with_graceful_shutdown(stopped(stopping.clone()))
                .await?;
        }
        anyhow::Ok(())
    };
    let both = async { tokio::try_join!(async { anyhow::Ok(local_server.await?) }, remote_server) };
    // Long waits of clients end with the daemon: a second is given for answers under way.
    let late = async {
        stopped(stopping.clone()).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    };
    let result = tokio::select! {
        result = both => result.map(|_| ()),
        () = late => Ok(()),
    };
    signals.abort();
    for path in [&socket, &data.address()] {
        if let Err(error) = forget(path) {
            tracing::warn!("left behind until the next start: {error:#}");
        }
    }
    result
}

/// The most connections of this host's own users, and of remote callers, who may be strangers.
const CONNECTIONS_MOST: (usize, usize) = (4_096, 512);
/// Files that are kept for the database, repositories and boxes.
const FILES_KEPT: u64 = 256;

/// Lets this process hold as many files as it may, and shares out what connections get of them.
fn connections_most() -> (usize, usize) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return (256, 64);
    };
    // A refusal leaves the limit that was there, which is then what is shared out.
    let files = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    let free = usize::try_from(files.saturating_sub(FILES_KEPT))
        .unwrap_or(usize::MAX)
        .max(16);
    // A Git client over HTTP takes the pipes of a process besides its connection.
    (CONNECTIONS_MOST.0.min(free / 2), CONNECTIONS_MOST.1.min(free / 8))
}

/// Writes where remote callers are heard, whole or not at all.
fn publish(data: &DataDir, address: SocketAddr) -> anyhow::Result<()> {
    let (path, partial) = (data.address(), data.root().join("address.part"));
    std::fs::write(&partial, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&partial, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file that may not be there.
fn forget(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Binds the local socket. Whoever holds the lock may replace one that a dead daemon left.
fn bind_local(socket: &PathBuf) -> anyhow::Result<UnixListener> {
    forget(socket)?;
    let listener = UnixListener::bind(socket).with_context(|| {
        format!(
            "cannot make the socket {} (its path may have at most 107 bytes)",
            socket.display()
        )
    })?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be caught: stop the daemon with `gantry down`");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Adds a repository while no daemon runs.
///
/// Errors: as [`run`] for the lock, the database and the repository.
pub fn add_offline(data: &DataDir, body: &RepositoryBody) -> anyhow::Result<serde_json::Value> {
    data.create()?;
    let _lock = data.lock()?;
    let wiring = Wiring {
        data: data.clone(),
        engine: Arc::new(NativeEngine::new(SELF.into(), data.boxes())),
    };
    let wanted = wiring.plan_repository(body)?;
    let mut store = Store::open(&data.database())
        .with_context(|| format!("cannot open the database {}", data.database().display()))?;
    let repository = wiring.add(&mut store, &wanted, clock::now())?;
    if repository.served {
        wiring.prepare_served(&repository)?;
    }
    Ok(crate::web::dto::repository(&repository))
}

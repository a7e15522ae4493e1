//! `init`, `up`, `down`, `status`.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use gantry_adapters::{clock, process};
use serde_json::json;

use super::{Common, show};
use crate::daemon::{self, Options};
use crate::data_dir::Held;
use crate::exit_code::{Coded, ExitCode};
use crate::web::client::Client;
use crate::web::dto::RepositoryBody;

/// How long `up --detach` and `down` wait for the daemon.
const DAEMON_WAIT: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gantry init --repo ~/src/acme --target main\n\nNothing in the repository is \
    changed but refs under refs/gantry/, and the target when something lands."
)]
pub struct Init {
    /// The repository: a work tree or a bare one
    #[arg(long, value_name = "PATH")]
    repo: PathBuf,
    /// The branch to protect
    #[arg(long, default_value = "main")]
    target: String,
    /// Its name in this factory [default: the folder's name]
    #[arg(long)]
    name: Option<String>,
    /// Make a bare repository of gantry's own from it, that takes offers by push to refs/for/TARGET/TOPIC
    #[arg(long)]
    serve: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gantry up --repo ~/src/acme --detach")]
pub struct Up {
    /// Add this repository first, unless it is there
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
    /// The branch of it to protect
    #[arg(long, default_value = "main", requires = "repo")]
    target: String,
    /// Listen for remote callers and Git clients; they need the token
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Go on in the background, with the log in the data directory
    #[arg(long)]
    detach: bool,
    /// Said by `--detach` to the process it starts
    #[arg(long, hide = true)]
    background: bool,
}

impl Init {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let path = std::path::absolute(&self.repo)?;
        let body = RepositoryBody {
            path: path.to_string_lossy().into_owned(),
            target: Some(self.target),
            name: self.name,
            serve: self.serve,
        };
        let client = common.client()?;
        let value = if client.answers() {
            client.post("/v1/repositories", &body)?
        } else {
            daemon::add_offline(&common.data()?, &body).map_err(refused)?
        };
        if common.json() {
            show::json(&value)?;
        } else {
            let (name, target) = (show::text(&value, "name"), show::text(&value, "target"));
            show::line(&format!(
                "{name}: {target} of {} is protected",
                show::text(&value, "path")
            ))?;
            if value["served"] == json!(true) {
                show::line(&format!(
                    "offer by push: git push {} HEAD:refs/for/{target}/TOPIC",
                    show::text(&value, "path")
                ))?;
            }
        }
        Ok(ExitCode::Done)
    }
}

/// Somebody in the way is told apart from a repository that cannot be used.
fn refused(error: anyhow::Error) -> Coded {
    let system = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<std::io::Error>() || cause.is::<gantry_store::StoreError>()
    };
    let code = if error.is::<Held>() {
        ExitCode::Conflict
    } else if error.chain().any(system) {
        ExitCode::Trouble
    } else {
        ExitCode::Usage
    };
    Coded { code, error }
}

/// How the C library's allocator is told to give memory back after a burst of work; it reads this at the start of a
/// program only. Without it an idle daemon keeps what a drain has used (docs/benchmarks.md, "The program").
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
];

/// Starts this program over with the allocator tuned, in the same process, unless somebody has tuned it.
fn run_with_tuned_allocator() -> Result<(), Coded> {
    if std::env::var_os(ALLOCATOR[0].0).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let mut command = process::member_command(program);
    command
        .envs(std::env::vars_os())
        .envs(ALLOCATOR)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::inherit());
    // Comes back only if it did not work.
    Err(command.exec().into())
}

impl Up {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let data = common.data()?;
        let client = common.client()?;
        let repository = self
            .repo
            .as_ref()
            .map(|path| -> Result<RepositoryBody, Coded> {
                Ok(RepositoryBody {
                    path: std::path::absolute(path)?.to_string_lossy().into_owned(),
                    target: Some(self.target.clone()),
                    name: None,
                    serve: false,
                })
            })
            .transpose()?;
        if self.detach {
            data.create()?;
            if client.answers() {
                return Err(Coded::new(
                    ExitCode::Conflict,
                    format!(
                        "a daemon runs in {} already; stop it with `gantry down`",
                        data.root().display()
                    ),
                ));
            }
            return self.detached(common, &client);
        }
        run_with_tuned_allocator()?;
        if self.background {
            // The terminal that started it may go away, and no folder of the caller's is kept busy.
            nix::unistd::setsid().context("cannot start a session")?;
            std::env::set_current_dir("/").context("cannot leave the folder")?;
        }
        start_logging();
        daemon::run(Options {
            data,
            repository,
            listen: self.listen,
        })
        .map_err(refused)?;
        Ok(ExitCode::Done)
    }

    fn detached(&self, common: &Common, client: &Client) -> Result<ExitCode, Coded> {
        let data = common.data()?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data.daemon_log())
            .with_context(|| format!("cannot open {}", data.daemon_log().display()))?;
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = process::member_command(program);
        command.envs(std::env::vars_os());
        command
            .args(["up", "--background", "--data-dir"])
            .arg(data.root());
        if let Some(path) = &self.repo {
            command
                .arg("--repo")
                .arg(std::path::absolute(path)?)
                .arg("--target")
                .arg(&self.target);
        }
        if let Some(address) = self.listen {
            command.arg("--listen").arg(address.to_string());
        }
        let mut child = command
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        let watch = clock::Stopwatch::start();
        while !client.answers() {
            if let Some(status) = process::wait_within(&mut child, Duration::from_millis(50))? {
                let text = std::fs::read_to_string(data.daemon_log())?;
                let last = text.lines().last().unwrap_or("it said nothing");
                let code = match status.code().and_then(ExitCode::of_number) {
                    None | Some(ExitCode::Done) => ExitCode::Trouble,
                    Some(code) => code,
                };
                let text = format!(
                    "the daemon ended at once: {}",
                    last.trim_start_matches("gantry: ")
                );
                return Err(Coded::new(code, text));
            }
            if watch.elapsed() > DAEMON_WAIT {
                let log = data.daemon_log();
                return Err(Coded::new(
                    ExitCode::TimedOut,
                    format!("the daemon does not answer; see {}", log.display()),
                ));
            }
        }
        if common.json() {
            show::json(&json!({"pid": child.id(), "socket": data.socket(), "log": data.daemon_log()}))?;
        } else {
            show::line(&format!(
                "gantry runs (process {}); its log is {}",
                child.id(),
                data.daemon_log().display()
            ))?;
        }
        Ok(ExitCode::Done)
    }
}

/// Logs go to standard error; `GANTRY_LOG` chooses what (as `RUST_LOG` does elsewhere).
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GANTRY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}

/// Stops the daemon and waits until it is gone.
pub fn down(common: &Common) -> Result<ExitCode, Coded> {
    let client = common.client()?;
    client.post("/v1/stop", &json!({}))?;
    let data = common.data()?;
    let watch = clock::Stopwatch::start();
    loop {
        // Holding the lock for a moment proves that no daemon holds it.
        if data.lock().is_ok() {
            break;
        }
        if watch.elapsed() > DAEMON_WAIT {
            return Err(Coded::new(
                ExitCode::TimedOut,
                "the daemon was told to stop and has not yet",
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if common.json() {
        show::json(&json!({"stopped": true}))?;
    } else {
        show::line("gantry has stopped")?;
    }
    Ok(ExitCode::Done)
}

/// Shows the factory.
pub fn status(common: &Common) -> Result<ExitCode, Coded> {
    let value = common.client()?.get("/v1/status")?;
    if common.json() {
        show::json(&value)?;
        return Ok(ExitCode::Done);
    }
    show::line(&format!(
        "gantry {} (process {})",
        show::text(&value, "version"),
        value["pid"]
    ))?;
    for repository in show::list(&value, "repositories") {
        let counts: Vec<String> = repository["changes"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let counts = if counts.is_empty() {
            "nothing waits".to_owned()
        } else {
            counts.join(", ")
        };
        show::line(&format!(
            "{}  {} at {}: {counts}; {} builds run",
            show::text(repository, "name"),
            show::text(repository, "target"),
            show::text(repository, "tip")
                .get(..10)
                .unwrap_or("(not looked at yet)"),
            repository["builds_running"],
        ))?;
        if repository["frozen"].is_object() {
            show::line(&format!(
                "  frozen by {}: {}",
                show::text(&repository["frozen"], "author"),
                show::text(&repository["frozen"], "reason")
            ))?;
        }
        if repository["obstacle"].is_object() {
            let obstacle = &repository["obstacle"];
            show::line(&format!(
                "  in the way: {}\n  to mend it: {}",
                show::text(obstacle, "text"),
                show::text(obstacle, "next_action")
            ))?;
        }
    }
    Ok(ExitCode::Done)
}

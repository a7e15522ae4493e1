//! The process of one box that somebody asked for by hand: opens it, runs its command, keeps it if that fails and
//! keeping was asked for, answers who looks, and ends it. Owns the box's life; must never let output out unmasked.
//!
//! ```text
//! Opening ─► Running ─► (failed and keep) Kept ─► Closing ─► gone
//!    │          │ ▲            │ retry │
//!    │          │ └────────────┴───────┘
//!    └──────────┴── stop, caller gone, lease over ──► Closing
//! ```

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use gantry_adapters::engine::{ExecEnding, ExecReport, OpenError, SandboxControl};
use gantry_adapters::job::{JobFolder, JobServer, Reply};
use gantry_core::limits::{CHECK_OUTPUT_BYTES_MAX, CHECK_OUTPUT_FLOOD_FACTOR, CHECK_TIMEOUT_MAX, JOB_LEASE};
use gantry_core::mask::Masker;

use super::caches::Trust;
use super::engines::{Engines, Images};
use super::kept_log::KeptLog;
use super::order::{BoxEvent, BoxOrder, BoxRequest, BoxState, frame};
use super::plan::{BoxPlan, Place, Subject};
use super::profiled::{Command, ProfiledSandbox, ending_words};
use super::receipt::{RECEIPT, Receipt};
use crate::gate::Gate;
use crate::job::{read_order, run_if_asked};
use crate::profile::Profile;

/// The first argument of a box's process.
pub const BOX_WORD: &str = "__box";
/// The exit code for a box that could not be made, as other box programs have it.
const CODE_NO_BOX: i32 = 125;

/// Becomes a box's process and returns its exit code, if the arguments ask for it; `None` otherwise.
#[must_use]
pub fn run_box_if_asked(images: impl FnOnce(&std::path::Path) -> Arc<dyn Images>) -> Option<u8> {
    run_if_asked(BOX_WORD, |folder| run(folder, images))
}

/// What the threads of a box's process share.
struct Shared {
    server: Arc<JobServer>,
    control: SandboxControl,
    log: KeptLog,
    state: Mutex<BoxState>,
    wish: Mutex<Wish>,
    wished: Condvar,
    open: RwLock<Option<ProfiledSandbox>>,
    attached: Mutex<Vec<UnixStream>>,
}

/// What is to become of a kept box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    None,
    Retry,
    End,
}

fn run(folder: PathBuf, images: impl FnOnce(&std::path::Path) -> Arc<dyn Images>) -> Result<(), String> {
    let order: BoxOrder = read_order()?;
    let server = JobServer::claim(JobFolder::at(folder))
        .map_err(|error| format!("cannot claim the folder: {error}"))?
        .ok_or("another process runs this box")?;
    let server = Arc::new(server);
    let ended = match plan(&order, &server, images) {
        Ok(plan) => live(&order, &server, plan)?,
        Err(why) => {
            refuse(&order, &server, &why)?;
            (format!("trouble could_not_start: {why}"), CODE_NO_BOX)
        }
    };
    publish(
        &server,
        &BoxEvent::Ended {
            ending: ended.0,
            code: ended.1,
        },
    );
    server.end();
    Ok(())
}

fn plan(
    order: &BoxOrder,
    server: &JobServer,
    images: impl FnOnce(&std::path::Path) -> Arc<dyn Images>,
) -> Result<BoxPlan, String> {
    let engines = Engines::load(&order.data, &order.boxes)?;
    let profile = find_profile(order, &engines)?;
    let subject = match &order.subject {
        None => Subject::Nothing,
        Some((repository, commit)) => Subject::Commit {
            repository: repository.clone(),
            commit: commit.parse().map_err(|_| format!("{commit:?} is no commit"))?,
        },
    };
    let images = images(&order.data);
    let repository = order
        .subject
        .as_ref()
        .map_or_else(String::new, |(path, _)| path.display().to_string());
    // What somebody tries by hand is nobody's but theirs.
    let trust = Trust::of_candidate(&repository, "main", "by hand");
    let place = Place {
        folder: server.folder().path(),
        trust: &trust,
    };
    BoxPlan::of(&profile, &order.name, subject, &engines, &*images, place).map_err(|error| error.to_string())
}

fn find_profile(order: &BoxOrder, engines: &Engines) -> Result<Profile, String> {
    let own = match &order.gate {
        Some(text) => Gate::parse_profiles(text.as_bytes()).map_err(|error| error.to_string())?,
        None => std::collections::BTreeMap::new(),
    };
    let profile = Profile::find(order.profile.as_deref(), &engines.file.profiles, &own)?;
    profile.overridden(&order.overrides)
}

/// Leaves a receipt of a box that was never made.
fn refuse(order: &BoxOrder, server: &JobServer, why: &str) -> Result<(), String> {
    let receipt = Receipt {
        version: 1,
        name: order.name.clone(),
        // Without its profile nobody knows what must be masked: the arguments stay out.
        command: order.command.iter().take(1).cloned().collect(),
        ending: format!("trouble could_not_start: {why}"),
        started_at_ms: order.asked_at_ms,
        ended_at_ms: order.asked_at_ms,
        ..Receipt::default()
    };
    write_receipt(server, &receipt)
}

fn live(order: &BoxOrder, server: &Arc<JobServer>, plan: BoxPlan) -> Result<(String, i32), String> {
    let log = KeptLog::create(
        &server.folder().file("log"),
        CHECK_OUTPUT_BYTES_MAX,
        &plan.secrets,
    )
    .map_err(|error| format!("cannot make the log: {error}"))?;
    let shared = Arc::new(Shared {
        server: Arc::clone(server),
        control: SandboxControl::default(),
        log,
        state: Mutex::new(BoxState::Opening),
        wish: Mutex::new(Wish::None),
        wished: Condvar::new(),
        open: RwLock::new(None),
        attached: Mutex::new(Vec::new()),
    });
    let answering = Arc::clone(&shared);
    server
        .serve(move |request| answer(&answering, request))
        .map_err(|error| format!("cannot listen: {error}"))?;
    if order.detached {
        end_with_lease(&shared)?;
    }
    let sandbox = match ProfiledSandbox::open(plan, &shared.control) {
        Ok(sandbox) => sandbox,
        Err(error) => {
            // The reason is the receipt's, too; a log that cannot be closed adds nothing to it.
            drop(shared.log.finish());
            let cancelled = error == OpenError::Cancelled;
            refuse(order, server, &error.to_string())?;
            let code = if cancelled { 130 } else { CODE_NO_BOX };
            return Ok((error.to_string(), code));
        }
    };
    *shared.open.write().unwrap_or_else(PoisonError::into_inner) = Some(sandbox);
    let command = Command {
        argv: order.command.clone(),
        env: Vec::new(),
        directory: None,
        timeout: Duration::from_millis(order.timeout_ms).min(CHECK_TIMEOUT_MAX),
    };
    let report = shared.run_until_done(&command, Duration::from_millis(order.keep_ms));
    shared.set_state(BoxState::Closing);
    let sandbox = shared.open.write().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(sandbox) = sandbox {
        let receipt = sandbox.close(Some(&shared.log));
        write_receipt(server, &receipt)?;
    }
    Ok((ending_words(&report.ending), code_of(&report.ending)))
}

impl Shared {
    /// Runs the command, again if somebody wishes so, and returns how it ended last.
    fn run_until_done(&self, command: &Command, keep: Duration) -> ExecReport {
        loop {
            self.set_state(BoxState::Running);
            publish(&self.server, &BoxEvent::Started);
            let report = self.run_once(command);
            let failed = !matches!(
                report.ending,
                ExecEnding::Exited { code: 0 } | ExecEnding::Cancelled
            );
            if !failed || keep.is_zero() || self.control.is_cancelled() {
                return report;
            }
            let ending = ending_words(&report.ending);
            self.set_state(BoxState::Kept {
                ending: ending.clone(),
            });
            publish(&self.server, &BoxEvent::Kept { ending });
            self.let_go();
            if self.await_wish(keep) == Wish::End {
                return report;
            }
        }
    }

    fn run_once(&self, command: &Command) -> ExecReport {
        let trouble = |why: String| ExecReport {
            ending: ExecEnding::Trouble(gantry_core::queue::build::Trouble::Interrupted, why),
            duration: Duration::ZERO,
        };
        let spec = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            let Some(sandbox) = open.as_mut() else {
                return trouble("the box is gone".to_owned());
            };
            sandbox.begin(command)
        };
        let report = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let Some(sandbox) = open.as_ref() else {
                return trouble("the box is gone".to_owned());
            };
            let flood = CHECK_OUTPUT_BYTES_MAX.saturating_mul(CHECK_OUTPUT_FLOOD_FACTOR);
            let mut output = |bytes: &[u8]| {
                if self.log.written_bytes() > flood {
                    return Err(std::io::ErrorKind::FileTooLarge.into());
                }
                self.log.write(bytes)
            };
            sandbox.sandbox().exec(&spec, &mut output, &self.control)
        };
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(sandbox) = open.as_mut() {
            sandbox.end(&report);
        }
        report
    }

    fn await_wish(&self, keep: Duration) -> Wish {
        let wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut wish, _) = self
            .wished
            .wait_timeout_while(wish, keep, |wish| {
                *wish == Wish::None && !self.control.is_cancelled()
            })
            .unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *wish, Wish::None) {
            Wish::Retry => Wish::Retry,
            Wish::None | Wish::End => Wish::End,
        }
    }

    fn wish(&self, wish: Wish) {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = wish;
        self.wished.notify_all();
    }

    fn stop(&self) {
        self.control.cancel();
        self.wish(Wish::End);
    }

    /// Ends the streams of those who waited for the command; the box no longer depends on them.
    fn let_go(&self) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in attached.drain(..) {
            // One that is gone already needs no end.
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }

    fn is_kept(&self) -> bool {
        matches!(
            *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            BoxState::Kept { .. }
        )
    }

    fn set_state(&self, state: BoxState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

fn answer(shared: &Arc<Shared>, request: &str) -> Reply {
    let request: BoxRequest = match serde_json::from_str(request) {
        Ok(request) => request,
        Err(error) => return Reply::Line(format!("error: this is no request: {error}")),
    };
    let ok = || Reply::Line("ok".to_owned());
    match request {
        BoxRequest::State => {
            let state = shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            Reply::Line(serde_json::to_string(&state).unwrap_or_else(|error| format!("error: {error}")))
        }
        BoxRequest::Stop => {
            shared.stop();
            ok()
        }
        BoxRequest::Retry => {
            if !shared.is_kept() {
                return Reply::Line("error: only a kept box can be tried again".to_owned());
            }
            shared.wish(Wish::Retry);
            ok()
        }
        BoxRequest::Freeze { frozen } => {
            let open = shared.open.read().unwrap_or_else(PoisonError::into_inner);
            let done = open.as_ref().map(|sandbox| sandbox.sandbox().freeze(frozen));
            match done {
                Some(Ok(())) => ok(),
                Some(Err(error)) => Reply::Line(format!("error: {}", crate::line::chain(&error))),
                None => Reply::Line("error: the box is not open".to_owned()),
            }
        }
        BoxRequest::Log => stream_log(shared, false),
        BoxRequest::Attach => stream_log(shared, true),
        BoxRequest::Exec { command, directory } => stream_exec(shared, command, directory),
    }
}

fn stream_log(shared: &Arc<Shared>, attached: bool) -> Reply {
    let shared = Arc::clone(shared);
    Reply::Stream(Box::new(move |stream| {
        let Ok(writer) = stream.try_clone() else { return };
        // A watcher that went away is dropped; the log itself does not depend on it.
        drop(shared.log.watch(Box::new(writer)));
        if attached {
            let Ok(held) = stream.try_clone() else { return };
            shared
                .attached
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(held);
            // Looked at after it is on the list: a box that is kept from now on finds it there.
            if shared.is_kept() {
                shared.let_go();
            }
            wait_until_gone(stream);
            if !shared.is_kept() {
                shared.stop();
            }
        }
    }))
}

/// Returns when the other side has closed its end.
fn wait_until_gone(mut stream: UnixStream) {
    let mut chunk = [0; 64];
    while matches!(stream.read(&mut chunk), Ok(count) if count > 0) {}
}

fn stream_exec(shared: &Arc<Shared>, argv: Vec<String>, directory: Option<PathBuf>) -> Reply {
    let shared = Arc::clone(shared);
    Reply::Stream(Box::new(move |mut stream| {
        let control = SandboxControl::default();
        let Ok(watched) = stream.try_clone() else { return };
        let gone = control.clone();
        // Without the thread the command is not ended when its caller goes; it has its time limit.
        let watching = thread::Builder::new().spawn(move || {
            wait_until_gone(watched);
            gone.cancel();
        });
        drop(watching);
        let open = shared.open.read().unwrap_or_else(PoisonError::into_inner);
        let report = match open.as_ref() {
            None => None,
            Some(sandbox) => {
                let spec = sandbox.exec_spec(&Command {
                    argv,
                    env: Vec::new(),
                    directory,
                    timeout: CHECK_TIMEOUT_MAX,
                });
                let mut masker = Masker::new(sandbox.secrets());
                let mut masked = Vec::new();
                let mut output = |bytes: &[u8]| {
                    masked.clear();
                    masker.push(bytes, &mut masked);
                    stream.write_all(&frame(b'o', &masked))
                };
                let report = sandbox.sandbox().exec(&spec, &mut output, &control);
                masked.clear();
                masker.finish(&mut masked);
                // A caller that went away wants neither the rest nor the end.
                drop(stream.write_all(&frame(b'o', &masked)));
                Some(report)
            }
        };
        drop(open);
        let (ending, code) = match &report {
            Some(report) => (ending_words(&report.ending), code_of(&report.ending)),
            None => ("trouble interrupted: the box is not open".to_owned(), CODE_NO_BOX),
        };
        let end = serde_json::json!({"ending": ending, "code": code}).to_string();
        drop(stream.write_all(&frame(b'e', end.as_bytes())));
        drop(stream.shutdown(std::net::Shutdown::Both));
    }))
}

fn end_with_lease(shared: &Arc<Shared>) -> Result<(), String> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name("lease".into())
        .spawn(move || {
            if shared.server.wait_lease(JOB_LEASE) {
                eprintln!(
                    "nobody has asked for this box for {} s: it ends",
                    JOB_LEASE.as_secs()
                );
                shared.stop();
            }
        })
        .map(drop)
        .map_err(|error| format!("no thread could be started: {error}"))
}

fn publish(server: &JobServer, event: &BoxEvent) {
    let written = serde_json::to_string(event)
        .map_err(std::io::Error::from)
        .and_then(|line| server.publish(&line));
    // The receipt tells the same at the end.
    if let Err(error) = written {
        eprintln!("an event could not be written: {error}");
    }
}

fn write_receipt(server: &JobServer, receipt: &Receipt) -> Result<(), String> {
    let bytes = serde_json::to_vec_pretty(receipt)
        .map_err(|error| format!("a bug: a receipt has no JSON form: {error}"))?;
    server
        .folder()
        .write_whole(RECEIPT, &bytes)
        .map_err(|error| format!("cannot write the receipt: {error}"))
}

/// Returns the exit code that stands for an ending, as shells and other box programs have it.
fn code_of(ending: &ExecEnding) -> i32 {
    match ending {
        ExecEnding::Exited { code } => *code,
        ExecEnding::Signalled { signal } => 128 + signal,
        ExecEnding::OutOfMemory => 137,
        ExecEnding::TimedOut => 124,
        ExecEnding::Cancelled => 130,
        ExecEnding::Trouble(..) => CODE_NO_BOX,
    }
}

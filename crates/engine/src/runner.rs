//! The builds of one repository, each a process of its own. Owns a thread for each that runs: it starts the process or
//! finds one that an earlier daemon started, renews its lease, and hands its report over. Decides nothing.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{NativeEngine, SandboxControl, SandboxEngine as _};
use gantry_adapters::job::{JobClient, JobFolder, start_job};
use gantry_adapters::process;
use gantry_core::id::BuildId;
use gantry_core::limits::{BUILD_LOGS_MAX, JOB_END_WAIT, JOB_RENEW_INTERVAL, JOB_START_WAIT};
use gantry_core::queue::build::{Build, Ending, Trouble};

use crate::boxes::{BoxOrder, BoxReport, Boxes};
use crate::checks::{trouble, trouble_of};
use crate::job::{CANCEL, JOB_WORD, JobEvent, JobOrder, JobReport, REPORT};
use crate::sandbox::{Engines, Identity};

/// What a runner tells the loop.
#[derive(Debug)]
pub enum BoxNews {
    /// A build ended.
    Ended(BoxReport),
    /// Output was seen that means it will fail.
    Doomed(BuildId),
}

/// Where the news go.
pub type Tell = Arc<dyn Fn(BoxNews) + Send + Sync>;

/// Where builds of one repository run.
#[derive(Debug, Clone)]
pub struct Yard {
    /// The program that becomes a build's process: its `main` calls [`crate::job::run_job_if_asked`].
    pub program: PathBuf,
    /// The factory's data directory.
    pub data: PathBuf,
    /// The folders of boxes.
    pub boxes: PathBuf,
    /// The folders of builds.
    pub builds: PathBuf,
    /// The repository's name in the factory.
    pub name: String,
    /// Its Git storage.
    pub repository: PathBuf,
    /// Its target branch.
    pub target: String,
    /// Engine and image: results are kept under it.
    pub identity: Identity,
    /// How many boxes of one build may live at once.
    pub slots: usize,
}

/// Runs the builds of one repository.
pub struct BoxRunner {
    yard: Yard,
    tell: Tell,
    running: HashMap<BuildId, Running>,
    /// Reports that were handed over: a build that is asked for again after that is lost, not found.
    handed_over: HashSet<BuildId>,
}

struct Running {
    control: SandboxControl,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for BoxRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoxRunner")
            .field("yard", &self.yard)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl BoxRunner {
    /// Makes a runner; nothing is started or looked for yet.
    #[must_use]
    pub fn new(yard: Yard, tell: Tell) -> Self {
        Self {
            yard,
            tell,
            running: HashMap::new(),
            handed_over: HashSet::new(),
        }
    }

    /// Ends every build and waits until its boxes are gone.
    pub fn stop(&mut self) {
        for running in self.running.values() {
            running.control.cancel();
        }
        for (_, running) in self.running.drain() {
            // A thread that panicked has told of it already.
            drop(running.thread.join());
        }
    }

    fn folder(&self, build: BuildId) -> JobFolder {
        JobFolder::at(self.yard.builds.join(build.to_string()))
    }

    /// Runs a build's thread; `begin` starts or finds the process.
    fn follow(
        &mut self,
        build: BuildId,
        begin: impl FnOnce(&JobFolder) -> Result<Option<Child>, BoxReport> + Send + 'static,
    ) {
        let (tell, doomed) = (Arc::clone(&self.tell), Arc::clone(&self.tell));
        let control = SandboxControl::new(move || doomed(BoxNews::Doomed(build)));
        let folder = self.folder(build);
        let job = Follower {
            build,
            folder,
            control: control.clone(),
            engine: NativeEngine::new(self.yard.program.clone(), self.yard.boxes.clone()),
        };
        let started = std::thread::Builder::new()
            .name(build.to_string())
            .spawn(move || {
                let run = || match begin(&job.folder) {
                    Ok(child) => job.follow(child),
                    Err(report) => report,
                };
                let report = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
                    trouble(build, "the thread of the build panicked; see the daemon's log")
                });
                tell(BoxNews::Ended(report));
            });
        match started {
            Ok(thread) => {
                self.running.insert(build, Running { control, thread });
            }
            Err(error) => {
                let text = format!("no thread could be started: {error}");
                (self.tell)(BoxNews::Ended(trouble(build, &text)));
            }
        }
    }

    /// Looks for a build that an earlier daemon started, and follows it if it is about the same thing.
    fn find(&mut self, build: &Build) -> bool {
        if self.handed_over.contains(&build.id) {
            return false;
        }
        let folder = self.folder(build.id);
        let about = format!("{} {}", build.order.gate, build.order.sandbox);
        let is_of = |commit: &str, other: &str| commit == build.order.candidate.to_string() && other == about;
        match read_order(&folder) {
            Ok(Some(order)) if is_of(&order.commit, &order.about) => {}
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(build = %build.id, %error, "what an earlier daemon left of a build cannot be read");
                return false;
            }
        }
        let lives = folder
            .is_alive()
            .and_then(|alive| Ok(alive || folder.read(REPORT)?.is_some()));
        match lives {
            Ok(true) => {
                tracing::info!(build = %build.id, "found again");
                self.follow(build.id, |_| Ok(None));
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::warn!(build = %build.id, %error, "cannot tell whether a build of an earlier daemon runs");
                false
            }
        }
    }
}

/// The file of the job's folder that says what it is about; it holds no secret.
const ORDER: &str = "order.json";

fn read_order(folder: &JobFolder) -> io::Result<Option<JobOrder>> {
    let Some(bytes) = folder.read(ORDER)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from)
}

/// Returns where the log of one check of a build is.
#[must_use]
pub fn log_path(builds: &Path, build: BuildId, check: &str) -> PathBuf {
    builds.join(build.to_string()).join(format!("{check}.log"))
}

/// Ends builds that run though nobody wants them: of a database that is gone, say. `wanted` are those that are.
///
/// Returns how many were told to end. Errors: the folder of builds cannot be read.
pub fn stop_unwanted(builds: &Path, wanted: &HashSet<BuildId>) -> io::Result<usize> {
    let entries = match std::fs::read_dir(builds) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut told = 0;
    for entry in entries {
        let entry = entry?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<BuildId>().ok());
        let Some(id) = id.filter(|id| !wanted.contains(id)) else {
            continue;
        };
        let folder = JobFolder::at(entry.path());
        if folder.is_alive()? {
            // One that does not listen ends with its lease.
            let told_so = JobClient::of(folder).ask(CANCEL);
            tracing::info!(build = %id, ended = told_so.is_ok(), "a build nobody wants is told to end");
            told += 1;
        }
    }
    Ok(told)
}

impl Boxes for BoxRunner {
    fn identity(&self) -> String {
        self.yard.identity.name()
    }

    fn start(&mut self, order: BoxOrder) {
        let build = order.build;
        self.handed_over.remove(&build);
        let job = JobOrder {
            build: build.number(),
            data: self.yard.data.clone(),
            boxes: self.yard.boxes.clone(),
            name: self.yard.name.clone(),
            repository: self.yard.repository.clone(),
            target: self.yard.target.clone(),
            base: order.base.to_string(),
            commit: order.commit.to_string(),
            gate: order.gate.source.clone(),
            about: format!("{} {}", order.gate_digest, order.sandbox),
            slots: self.yard.slots,
        };
        let (program, builds) = (self.yard.program.clone(), self.yard.builds.clone());
        self.follow(build, move |folder| {
            forget_old_logs(&builds, build);
            start(&program, folder, &job).map(Some).map_err(|error| {
                let kind = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::OutOfDisk,
                    _ => Trouble::CouldNotStart,
                };
                let place = folder.path().display();
                trouble_of(
                    build,
                    kind,
                    &format!("its process cannot be started in {place}: {error}"),
                )
            })
        });
    }

    fn cancel(&mut self, build: BuildId) {
        if let Some(running) = self.running.get(&build) {
            running.control.cancel();
        }
    }

    fn is_running(&mut self, build: &Build) -> bool {
        self.running.contains_key(&build.id) || self.find(build)
    }

    fn hand_over(&mut self, build: BuildId) {
        self.handed_over.insert(build);
        if let Some(running) = self.running.remove(&build) {
            drop(running.thread.join());
        }
    }

    fn is_doomed(&self, build: BuildId) -> bool {
        self.running
            .get(&build)
            .is_some_and(|running| running.control.is_doomed())
    }
}

/// Ends a build of the same number that still runs: numbers come twice when a database is lost. Waits until it has let go
/// of the folder, so that nothing writes into it while it is cleared.
fn end_namesake(folder: &JobFolder) -> io::Result<()> {
    let watch = Stopwatch::start();
    let mut asked = false;
    while folder.is_alive()? {
        if !asked {
            // One that does not listen is waited for all the same.
            asked = JobClient::of(folder.clone()).ask(CANCEL).is_ok();
        }
        if watch.left_of(JOB_END_WAIT).is_zero() {
            return Err(io::Error::other(format!(
                "process {:?} of an earlier build of this number does not end",
                folder.process()
            )));
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}

/// Starts a build's process in a folder that holds nothing of an earlier one.
fn start(program: &Path, folder: &JobFolder, order: &JobOrder) -> io::Result<Child> {
    end_namesake(folder)?;
    match std::fs::remove_dir_all(folder.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let folder = JobFolder::create(folder.path().to_owned())?;
    let text = serde_json::to_vec(order)?;
    folder.write_whole(ORDER, &text)?;
    // A file that cannot be read is named by the process itself.
    let variables = Engines::load(&order.data, &order.boxes)
        .map_or_else(|_| Vec::new(), |engines| engines.file.variables());
    start_job(program, &[OsStr::new(JOB_WORD)], &folder, &text, &variables)
}

/// Removes the folder of the build that is now one too old; its evidence lines stay in the database.
fn forget_old_logs(builds: &Path, build: BuildId) {
    let Some(old) = build.number().checked_sub(BUILD_LOGS_MAX as u64) else {
        return;
    };
    let folder = builds.join(BuildId::new(old).to_string());
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "old logs cannot be removed");
    }
}

/// What the thread of one build needs.
struct Follower {
    build: BuildId,
    folder: JobFolder,
    control: SandboxControl,
    /// Clears the folders of boxes whose process died.
    engine: NativeEngine,
}

/// The pause between two looks at a process that does not listen yet.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

impl Follower {
    /// Waits for the end of a build's process and returns what it reported.
    fn follow(&self, child: Option<Child>) -> BoxReport {
        let client = JobClient::of(self.folder.clone());
        let asked = client.clone();
        let mut child = child;
        if !self.wait_until_it_listens(child.as_mut()) {
            return self.conclude(child, "its process did not start to listen");
        }
        self.control.on_cancel(move || {
            // One that does not answer is ended by the wait below.
            drop(asked.ask(CANCEL));
        });
        let watched = client.watch(JOB_RENEW_INTERVAL, |line| {
            if matches!(serde_json::from_str(line), Ok(JobEvent::Doomed)) {
                self.control.doom();
            }
            true
        });
        let why = match watched {
            Ok(_) => "its process died".to_owned(),
            Err(error) => format!("its process cannot be listened to: {error}"),
        };
        self.conclude(child, &why)
    }

    fn wait_until_it_listens(&self, mut child: Option<&mut Child>) -> bool {
        let watch = Stopwatch::start();
        while !watch.left_of(JOB_START_WAIT).is_zero() {
            if self.folder.socket().exists() {
                return true;
            }
            let ended = match child.as_mut() {
                Some(child) => !matches!(child.try_wait(), Ok(None)),
                None => !self.folder.is_alive().unwrap_or(false),
            };
            if ended {
                return false;
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        false
    }

    /// Makes sure that the process is gone, and reads its report.
    fn conclude(&self, child: Option<Child>, why: &str) -> BoxReport {
        if let Err(error) = self.await_end(child) {
            return trouble_of(
                self.build,
                Trouble::Interrupted,
                &format!("its process cannot be ended: {error}"),
            );
        }
        let report = self.folder.read(REPORT).and_then(|bytes| match bytes {
            Some(bytes) => serde_json::from_slice::<JobReport>(&bytes)
                .map(Some)
                .map_err(io::Error::from),
            None => Ok(None),
        });
        match report {
            Ok(Some(report)) => report.into_report(self.build),
            Ok(None) => self.died(&self.last_words(why)),
            Err(error) => trouble_of(
                self.build,
                Trouble::Interrupted,
                &format!("its report cannot be read: {error}"),
            ),
        }
    }

    /// The report of a process that left none. It names no check: whatever ended the process, it was not the tree.
    fn died(&self, why: &str) -> BoxReport {
        tracing::warn!(build = %self.build, why, "a build's process died without a report");
        // Its boxes died with it; their folders are still there. The next start of the daemon tries again.
        if let Err(error) = self.engine.reap() {
            tracing::warn!(build = %self.build, %error, "what it left cannot be removed");
        }
        BoxReport {
            build: self.build,
            ending: Ending::Trouble(Trouble::Interrupted),
            checks: Vec::new(),
        }
    }

    fn await_end(&self, child: Option<Child>) -> io::Result<()> {
        if let Some(mut child) = child {
            if process::wait_within(&mut child, JOB_END_WAIT)?.is_none() {
                child.kill()?;
                child.wait()?;
            }
            return Ok(());
        }
        let watch = Stopwatch::start();
        while self.folder.is_alive()? {
            if watch.left_of(JOB_END_WAIT).is_zero() {
                return Err(io::Error::other(format!(
                    "process {:?} still holds its lock",
                    self.folder.process()
                )));
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(())
    }

    /// Adds what the process said of itself before it died.
    fn last_words(&self, why: &str) -> String {
        // Without a log the reason stands alone.
        let log = self.folder.read("process.out").ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or_else(|| why.to_owned(), |line| format!("{why}; its last words: {line}"))
    }
}

//! The process of one build: claims its folder, runs the checks in boxes, writes its report. Owns the life of the
//! build's boxes; ends by itself when nobody wants its result any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_adapters::engine::SandboxControl;
use gantry_adapters::job::{JobFolder, JobServer, Reply};
use gantry_core::id::{BuildId, CommitId};
use gantry_core::limits::JOB_LEASE;
use gantry_core::queue::build::Ending;

use super::entry::{read_order, run_if_asked};
use super::wire::{JobEvent, JobOrder, JobReport, REPORT};
use crate::boxes::BoxReport;
use crate::checks::CheckJob;
use crate::gate::Gate;
use crate::profile::Profile;
use crate::sandbox::{Engines, Images, Trust};
use crate::workflows::WorkflowChecks;

/// The first argument of a build's process.
pub const JOB_WORD: &str = "__job";
/// The request that ends a build.
pub(crate) const CANCEL: &str = "cancel";

/// Becomes a build's process and returns its exit code, if the arguments ask for it; `None` otherwise.
#[must_use]
pub fn run_job_if_asked(images: impl FnOnce(&Path) -> Arc<dyn Images>) -> Option<u8> {
    run_if_asked(JOB_WORD, |folder| run(folder, images))
}

fn run(folder: PathBuf, images: impl FnOnce(&Path) -> Arc<dyn Images>) -> Result<(), String> {
    let folder = JobFolder::at(folder);
    let order: JobOrder = read_order()?;
    let server = JobServer::claim(folder)
        .map_err(|error| format!("cannot claim the folder: {error}"))?
        .ok_or("another process runs this build")?;
    let server = Arc::new(server);
    let events = Arc::clone(&server);
    let tell = Arc::new(move |event: JobEvent| publish(&events, &event));
    let doomed = Arc::clone(&tell);
    let control = SandboxControl::new(move || doomed(JobEvent::Doomed));
    let asked = control.clone();
    server
        .serve(move |request| {
            if request == CANCEL {
                asked.cancel();
                return Reply::Line("ok".to_owned());
            }
            Reply::Line(format!("this build does not know {request:?}"))
        })
        .map_err(|error| format!("cannot listen: {error}"))?;
    watch_lease(&server, control.clone())?;
    tell(JobEvent::Started);
    let images = images(&order.data);
    let report = run_order(&order, &server, &control, (tell.clone(), images));
    let bytes = serde_json::to_vec_pretty(&JobReport::of(&order, &report))
        .map_err(|error| format!("a bug: a report has no JSON form: {error}"))?;
    server
        .folder()
        .write_whole(REPORT, &bytes)
        .map_err(|error| format!("cannot write the report: {error}"))?;
    tell(JobEvent::Ended);
    server.end();
    Ok(())
}

/// Ends the build when nobody has asked for it for the time of its lease.
fn watch_lease(server: &Arc<JobServer>, control: SandboxControl) -> Result<(), String> {
    let server = Arc::clone(server);
    std::thread::Builder::new()
        .name("lease".into())
        .spawn(move || {
            if server.wait_lease(JOB_LEASE) {
                eprintln!(
                    "nobody has asked for this build for {} s: it ends",
                    JOB_LEASE.as_secs()
                );
                control.cancel();
            }
        })
        .map(drop)
        .map_err(|error| format!("no thread could be started: {error}"))
}

fn publish(server: &JobServer, event: &JobEvent) {
    let line = match serde_json::to_string(event) {
        Ok(line) => line,
        Err(error) => {
            eprintln!("a bug: an event has no JSON form: {error}");
            return;
        }
    };
    // The report tells the same at the end; a watcher only learns it later.
    if let Err(error) = server.publish(&line) {
        eprintln!("an event could not be written: {error}");
    }
}

/// Where events go.
type TellJob = Arc<dyn Fn(JobEvent) + Send + Sync>;

fn run_order(
    order: &JobOrder,
    server: &JobServer,
    control: &SandboxControl,
    (tell, images): (TellJob, Arc<dyn Images>),
) -> BoxReport {
    let build = BuildId::new(order.build);
    let ready = || -> Result<CheckJob, String> {
        let gate = Gate::parse(order.gate.as_bytes()).map_err(|error| error.to_string())?;
        let commit = order
            .commit
            .parse()
            .map_err(|_| format!("{:?} is no commit", order.commit))?;
        let engines = Engines::load(&order.data, &order.boxes)?;
        let profile = Profile::find(gate.profile.as_deref(), &engines.file.profiles, &gate.profiles)?;
        Ok(CheckJob {
            build,
            commit,
            repository: order.repository.clone(),
            gate,
            profile,
            engines,
            images: Arc::clone(&images),
            trust: trust_of(order),
            folder: server.folder().clone(),
            control: control.clone(),
            tell,
        })
    };
    let job = match ready() {
        Ok(job) => job,
        Err(why) => return crate::checks::trouble(build, &why),
    };
    let mut report = job.run();
    if report.ending == Ending::Passed && !job.gate.workflows.is_empty() {
        let checks = match order.base.parse() {
            Ok(base) => workflows_of(order, base, &job).run(),
            Err(_) => return crate::checks::trouble(build, &format!("{:?} is no commit", order.base)),
        };
        report.ending = join_endings(checks.iter().map(|check| check.ending));
        report.checks.extend(checks);
    }
    report
}

/// A control run is of the target's own commit; everything else has not landed.
fn trust_of(order: &JobOrder) -> Trust {
    let repository = order.repository.display().to_string();
    if order.base == order.commit {
        return Trust::of_target(&repository, &order.target);
    }
    Trust::of_candidate(
        &repository,
        &order.target,
        &format!("gantry-queue/{}", order.commit),
    )
}

fn workflows_of<'a>(order: &'a JobOrder, base: CommitId, job: &'a CheckJob) -> WorkflowChecks<'a> {
    WorkflowChecks {
        build: job.build,
        commit: job.commit,
        base,
        target: &order.target,
        name: &order.name,
        repository: &order.repository,
        gate: &job.gate,
        profile: &job.profile,
        engines: &job.engines,
        images: &*job.images,
        folder: &job.folder,
        slots: order.slots.max(1),
        control: &job.control,
        tell: Arc::clone(&job.tell),
    }
}

/// Joins endings: a failure is a verdict and comes first, then what is none.
fn join_endings(endings: impl Iterator<Item = Ending>) -> Ending {
    endings
        .max_by_key(|ending| match ending {
            Ending::Failed => 4,
            Ending::Trouble(_) => 3,
            Ending::TimedOut => 2,
            Ending::Cancelled => 1,
            Ending::Passed => 0,
        })
        .unwrap_or(Ending::Passed)
}

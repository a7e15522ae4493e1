//! A box that lives as a container. Owns its end and what is told about it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bollard::models::ChangeType;
use bollard::query_parameters::InspectContainerOptionsBuilder;
use gantry_core::limits::RECEIPT_PATHS_MAX;

use super::body::PLAIN_HOME;
use super::exec::Runner;
use super::files::Files;
use super::made::Made;
use super::meter::ask_daemon;
use super::open::Lease;
use super::workspace::{Baseline, OBJECTS};
use crate::clock::Stopwatch;
use crate::engine::{
    ExecReport, ExecSpec, FileVisitor, FilesWritten, Output, Sandbox, SandboxControl, SandboxError,
    SandboxReceipt, Usage,
};

/// What a box is put together from.
pub(super) struct Parts {
    pub(super) runner: Runner,
    pub(super) made: Made,
    /// Kept, never used: they end with their owner.
    pub(super) leases: Mutex<Vec<Lease>>,
    pub(super) stopwatch: Stopwatch,
    pub(super) baseline: Baseline,
    pub(super) workspace_at: PathBuf,
    pub(super) image: String,
    pub(super) limits: Vec<String>,
    pub(super) hosts: Option<Vec<String>>,
}

/// One box.
pub(super) struct ContainerSandbox {
    parts: Parts,
    output_bytes: AtomicU64,
}

impl ContainerSandbox {
    pub(super) const fn new(parts: Parts) -> Self {
        Self {
            parts,
            output_bytes: AtomicU64::new(0),
        }
    }

    fn files(&self) -> Files<'_> {
        let runner = &self.parts.runner;
        Files {
            connection: &runner.connection,
            container: &runner.container,
            ids: runner.ids,
        }
    }

    fn usage(&self) -> Usage {
        let runner = &self.parts.runner;
        let mut reading = runner.meter.read();
        ask_daemon(&runner.connection, &runner.container, &mut reading);
        Usage {
            wall: self.parts.stopwatch.elapsed(),
            cpu: reading.cpu,
            memory_peak_bytes: reading.memory_peak_bytes,
            processes_peak: reading.processes_peak,
            oom_kills: reading.oom_kills.unwrap_or(0),
            output_bytes: self.output_bytes.load(Ordering::Relaxed),
        }
    }

    /// Returns what was written to the root, by the daemon, and to the workspace, by the folder.
    fn files_written(&self) -> FilesWritten {
        let runner = &self.parts.runner;
        let mut written = FilesWritten::default();
        let docker = runner.connection.docker();
        let changes = runner
            .connection
            .call("list changes", docker.container_changes(&runner.container));
        // A box that ended by itself is not there to be asked; its receipt then tells of the workspace only.
        let changes = changes.unwrap_or_default().unwrap_or_default();
        let parents: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        for change in &changes {
            let path = Path::new(&change.path);
            let below = format!("{}/", change.path);
            let only_parent =
                change.kind == ChangeType::_0 && parents.iter().any(|other| other.starts_with(&below));
            if only_parent || self.is_our_own(path) {
                continue;
            }
            match change.kind {
                ChangeType::_2 => written.removed_count += 1,
                _ => {
                    written.changed_count += 1;
                    note(&mut written, path.to_owned());
                }
            }
        }
        if written.changed_count > 0 {
            let options = InspectContainerOptionsBuilder::default().size(true).build();
            let look = docker.inspect_container(&runner.container, Some(options));
            let size = runner
                .connection
                .call("measure a box", look)
                .ok()
                .and_then(|found| found.size_rw);
            written.bytes += size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        }
        let folder = self.parts.made.folder.as_ref();
        // A workspace that cannot be read on the host is reported as unchanged, which the removal then explains.
        if let Some(Ok(found)) = folder.map(|folder| self.parts.baseline.compare(folder)) {
            written.changed_count += found.changed.len() as u64;
            written.removed_count += found.removed_count;
            written.bytes += found.bytes;
            for path in found.changed {
                note(&mut written, self.parts.workspace_at.join(path));
            }
        }
        written
    }

    /// Whether a change of the root is the engine's: a place to mount at, the list of users.
    fn is_our_own(&self, path: &Path) -> bool {
        let user = [PLAIN_HOME, "/etc/passwd", "/etc/group"];
        let objects = Path::new(OBJECTS);
        objects.starts_with(path)
            || path.starts_with(objects)
            || self.parts.workspace_at.starts_with(path)
            || user.iter().any(|own| Path::new(own) == path)
            || ["/dev", "/proc", "/sys", "/run/.containerenv", "/.dockerenv"]
                .iter()
                .any(|own| path.starts_with(own))
    }
}

fn note(written: &mut FilesWritten, path: PathBuf) {
    if written.paths.len() < RECEIPT_PATHS_MAX {
        written.paths.push(path);
    }
}

impl Sandbox for ContainerSandbox {
    fn exec(&self, spec: &ExecSpec, output: &mut Output<'_>, control: &SandboxControl) -> ExecReport {
        let (report, bytes) = self.parts.runner.run(spec, output, control);
        self.output_bytes.fetch_add(bytes, Ordering::Relaxed);
        report
    }

    fn put_file(&self, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError> {
        self.files().put(at, bytes, mode)
    }

    fn visit_files(&self, at: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError> {
        self.files().visit(at, visitor)
    }

    fn changed_root(&self) -> Option<PathBuf> {
        None
    }

    fn freeze(&self, frozen: bool) -> Result<(), SandboxError> {
        let runner = &self.parts.runner;
        let docker = runner.connection.docker();
        let (doing, call) = if frozen {
            (
                "freeze a box",
                runner
                    .connection
                    .call("freeze a box", docker.pause_container(&runner.container)),
            )
        } else {
            (
                "thaw a box",
                runner
                    .connection
                    .call("thaw a box", docker.unpause_container(&runner.container)),
            )
        };
        call.map_err(|error| match error.status() {
            Some(404) => SandboxError::Gone,
            // A box that ended and is about to be removed is refused in other words.
            Some(_) if self.files().alive().is_err() => SandboxError::Gone,
            _ => SandboxError::System {
                doing: doing.to_owned(),
                source: error.into_io(),
            },
        })
    }

    fn close(mut self: Box<Self>) -> SandboxReceipt {
        let mut usage = self.usage();
        let files = self.files_written();
        let leftover = self.parts.made.remove().err();
        self.parts
            .leases
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        usage.wall = self.parts.stopwatch.elapsed();
        SandboxReceipt {
            engine: self.parts.runner.connection.flavour.name().to_owned(),
            image: std::mem::take(&mut self.parts.image),
            usage,
            files,
            hosts: self.parts.hosts.take(),
            limits: std::mem::take(&mut self.parts.limits),
            leftover,
        }
    }
}

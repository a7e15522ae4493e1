//! The native engine as its owner sees it. Owns the list of its running boxes; an attempt does the work.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::geteuid;

use super::attempt::{Attempt, Source};
use super::entry::BOX_HOST_UID;
use super::probe;
use super::reap::reap_folder;
use super::view::Host;
use crate::engine::{CheckEngine, CheckReport, CheckSpec, EngineUnavailable, ReapError, SandboxControl};

/// Makes boxes of Linux namespaces, as root or as a plain user.
#[derive(Debug)]
pub struct NativeEngine {
    pub(super) entry: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) host: Host,
    pub(super) privileged: bool,
    running: Mutex<HashSet<PathBuf>>,
}

impl NativeEngine {
    /// Makes an engine.
    ///
    /// `entry` is a program whose `main` begins with [`super::enter_if_asked`]: `/proc/self/exe` is this one, even
    /// after its file was replaced. `scratch` is an absolute path of a directory for the folders of boxes, which nobody else may use; no box can see it.
    #[must_use]
    pub fn new(entry: PathBuf, scratch: PathBuf) -> Self {
        let mut host = Host::of_this_process();
        host.hidden.push(scratch.clone());
        Self {
            entry,
            scratch,
            host,
            privileged: may_act_as_box_user(),
            running: Mutex::default(),
        }
    }

    /// Shows a further directory of the host to every box, for reading: a toolchain at an unusual place.
    #[must_use]
    pub fn showing(mut self, directory: PathBuf) -> Self {
        self.host.shown.push(directory);
        self
    }

    /// Hides a directory of the host from every box, should it be below something that is shown.
    #[must_use]
    pub fn hiding(mut self, directory: PathBuf) -> Self {
        self.host.hidden.push(directory);
        self
    }

    pub(super) fn running(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // The set is changed in one step: a panic elsewhere cannot leave it half changed.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CheckEngine for NativeEngine {
    fn name(&self) -> &'static str {
        "native"
    }

    fn probe(&self) -> Result<(), EngineUnavailable> {
        probe::probe(self)
    }

    fn run(&self, spec: &CheckSpec, control: &SandboxControl) -> CheckReport {
        Attempt::new(self, spec, control).run(Source::Commit)
    }

    fn reap(&self) -> Result<usize, ReapError> {
        let trouble = |path: &Path, source| ReapError {
            path: path.to_owned(),
            source,
        };
        let entries = match std::fs::read_dir(&self.scratch) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(source) => return Err(trouble(&self.scratch, source)),
        };
        let mut ended = 0;
        let mut first = None;
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(source) => return Err(trouble(&self.scratch, source)),
            };
            if self.running().contains(&path) {
                continue;
            }
            match reap_folder(&path) {
                Ok(()) => ended += 1,
                Err(source) => first = first.or(Some(trouble(&path, source))),
            }
        }
        first.map_or(Ok(ended), Err)
    }
}

/// Says whether this process may make files of the box's user and become it: root on a host, but not root in
/// a container that has only a few users, or few rights.
fn may_act_as_box_user() -> bool {
    /// CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, SYS_ADMIN. Source: capability.h.
    const NEEDED: u64 = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 21;
    if !geteuid().is_root() {
        return false;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    effective & NEEDED == NEEDED && ["uid_map", "gid_map"].iter().all(|map| maps_box_user(map))
}

fn maps_box_user(map: &str) -> bool {
    let table = std::fs::read_to_string(format!("/proc/self/{map}")).unwrap_or_default();
    table.lines().any(|line| {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        matches!(numbers[..], [first, _, count] if (first..first + count).contains(&u64::from(BOX_HOST_UID)))
    })
}

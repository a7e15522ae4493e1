//! The native engine as its owner sees it. Owns what every box of it shares; opening one is `open`'s work.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use nix::unistd::geteuid;

use super::cgroup::Groups;
use super::entry::{BOX_HOST_UID_FIRST, BOX_UIDS};
use super::view::Host;
use super::warm::WarmCheckouts;
use super::{open, probe, reap};
use crate::engine::{
    EngineUnavailable, OpenError, ReapError, Sandbox, SandboxControl, SandboxEngine, SandboxSpec,
};

/// Makes boxes of Linux namespaces, as root or as a plain user.
#[derive(Debug)]
pub struct NativeEngine {
    pub(super) entry: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) host: Host,
    pub(super) privileged: bool,
    pub(super) warm: WarmCheckouts,
    groups: OnceLock<Arc<Groups>>,
}

impl NativeEngine {
    /// Makes an engine.
    ///
    /// `entry` is a program whose `main` begins with [`super::enter_if_asked`]: `/proc/self/exe` is this one, even
    /// after its file was replaced. `scratch` is an absolute path of a directory for the folders of boxes, which only
    /// engines may use (several may share it); no box can see it.
    #[must_use]
    pub fn new(entry: PathBuf, scratch: PathBuf) -> Self {
        let mut host = Host::of_this_process();
        host.hidden.push(scratch.clone());
        Self {
            entry,
            scratch,
            host,
            privileged: may_act_as_box_users(),
            warm: WarmCheckouts::default(),
            groups: OnceLock::new(),
        }
    }

    /// Returns the host's first user behind the users of boxes, who owns what root of a box may change; `None` where all
    /// of them are this process's own user.
    #[must_use]
    pub fn users_from(&self) -> Option<u32> {
        self.privileged.then_some(BOX_HOST_UID_FIRST)
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

    /// Returns where groups can be made, found at the first use.
    pub(super) fn groups(&self) -> Arc<Groups> {
        Arc::clone(self.groups.get_or_init(|| Arc::new(Groups::find())))
    }
}

impl SandboxEngine for NativeEngine {
    fn name(&self) -> &'static str {
        "native"
    }

    fn probe(&self) -> Result<Vec<String>, EngineUnavailable> {
        probe::probe(self)
    }

    fn open(&self, spec: &SandboxSpec, control: &SandboxControl) -> Result<Box<dyn Sandbox>, OpenError> {
        open::open(self, spec, control).map(|sandbox| Box::new(sandbox) as Box<dyn Sandbox>)
    }

    fn reap(&self) -> Result<usize, ReapError> {
        reap::reap(&self.scratch, &self.groups())
    }
}

/// Says whether this process may make files of the box's user and become it: root on a host, but not root in
/// a container that has only a few users, or few rights.
fn may_act_as_box_users() -> bool {
    /// CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, SYS_CHROOT, SYS_ADMIN. Source: capability.h.
    const NEEDED: u64 = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 18 | 1 << 21;
    if !geteuid().is_root() {
        return false;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    effective & NEEDED == NEEDED && ["uid_map", "gid_map"].iter().all(|map| maps_box_users(map))
}

fn maps_box_users(map: &str) -> bool {
    let table = std::fs::read_to_string(format!("/proc/self/{map}")).unwrap_or_default();
    table.lines().any(|line| {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let wanted = u64::from(BOX_HOST_UID_FIRST);
        matches!(numbers[..], [first, _, count]
            if first <= wanted && wanted + u64::from(BOX_UIDS) <= first + count)
    })
}

//! What a container uses, read from its cgroups on this host: the daemons' own figures have no peaks and say too late
//! that memory ran out. Must never write to a cgroup.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::connection::Connection;

/// Where the cgroups of one container are; whatever cannot be found is not measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    pids: Option<PathBuf>,
}

/// What was read at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) cpu: Option<Duration>,
    pub(super) memory_peak_bytes: Option<u64>,
    pub(super) processes_peak: Option<u64>,
    pub(super) oom_kills: Option<u64>,
}

impl Meter {
    /// Finds the cgroups of a process of the container; empty where this host cannot see it.
    pub(super) fn of_process(pid: u32) -> Self {
        // A daemon in a virtual machine has processes that are not here; the daemon's own figures are then used.
        match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
            Ok(text) => Self::parse(&text, Path::new("/sys/fs/cgroup")),
            Err(_) => Self::default(),
        }
    }

    fn parse(text: &str, root: &Path) -> Self {
        let mut meter = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let below = |controller: &str| Some(root.join(controller).join(path.trim_start_matches('/')));
            if controllers.is_empty() && !text.contains(":memory:") {
                meter = Self {
                    memory: below(""),
                    cpu: below(""),
                    pids: below(""),
                };
                break;
            }
            for controller in controllers.split(',') {
                match controller {
                    "memory" => meter.memory = below("memory"),
                    "cpuacct" => meter.cpu = below("cpuacct"),
                    "pids" => meter.pids = below("pids"),
                    _ => {}
                }
            }
        }
        meter
    }

    /// Reads all of it.
    pub(super) fn read(&self) -> Reading {
        let memory = self.memory.as_deref();
        let cpu = self.cpu.as_deref();
        Reading {
            cpu: number(cpu, "cpuacct.usage")
                .map(Duration::from_nanos)
                .or_else(|| field(cpu, "cpu.stat", "usage_usec").map(Duration::from_micros)),
            memory_peak_bytes: number(memory, "memory.peak")
                .or_else(|| number(memory, "memory.max_usage_in_bytes")),
            processes_peak: number(self.pids.as_deref(), "pids.peak"),
            oom_kills: self.oom_kills(),
        }
    }

    /// Returns how often the kernel ended a process of the container for want of memory.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        let memory = self.memory.as_deref();
        field(memory, "memory.events", "oom_kill").or_else(|| field(memory, "memory.oom_control", "oom_kill"))
    }
}

/// Reads a file that holds one number; `None` for a figure this kernel or cgroup version does not have.
fn number(folder: Option<&Path>, name: &str) -> Option<u64> {
    fs::read_to_string(folder?.join(name)).ok()?.trim().parse().ok()
}

/// Reads one line of a file of names and numbers.
fn field(folder: Option<&Path>, name: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(folder?.join(name)).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// Asks the daemon for what the host's cgroups did not tell.
pub(super) fn ask_daemon(connection: &Connection, container: &str, reading: &mut Reading) {
    use futures_util::StreamExt;
    if reading.cpu.is_some() && reading.memory_peak_bytes.is_some() {
        return;
    }
    let options = bollard::query_parameters::StatsOptionsBuilder::default()
        .stream(false)
        .one_shot(true)
        .build();
    let answer = connection.wait(async {
        let mut stats = Box::pin(connection.docker().stats(container, Some(options)));
        stats.next().await
    });
    // A figure that nobody gives is left out of the receipt.
    let Some(Ok(stats)) = answer else { return };
    let cpu = stats
        .cpu_stats
        .and_then(|cpu| cpu.cpu_usage)
        .and_then(|usage| usage.total_usage);
    reading.cpu = reading.cpu.or(cpu.map(Duration::from_nanos));
    let peak = stats.memory_stats.and_then(|memory| memory.max_usage);
    reading.memory_peak_bytes = reading.memory_peak_bytes.or(peak);
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "8:pids:/docker/1f\n4:memory:/docker/1f\n2:cpu,cpuacct:/docker/1f\n0::/docker/1f\n";
    const V2: &str = "0::/system.slice/docker-1f.scope\n";

    /// Reads a container with this `/proc/PID/cgroup` among these files.
    fn check(cgroup: &str, files: &[(&str, &str)], expected: &Reading) {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let at = root.path().join(path);
            fs::create_dir_all(at.parent().expect("below")).expect("folders");
            fs::write(at, text).expect("a file");
        }
        assert_eq!(&Meter::parse(cgroup, root.path()).read(), expected);
    }

    #[test]
    fn both_versions_of_cgroups_are_read_and_what_is_missing_is_left_out() {
        check(
            V1,
            &[
                ("memory/docker/1f/memory.max_usage_in_bytes", "4096\n"),
                (
                    "memory/docker/1f/memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                ),
                ("cpuacct/docker/1f/cpuacct.usage", "1500\n"),
            ],
            &Reading {
                cpu: Some(Duration::from_nanos(1500)),
                memory_peak_bytes: Some(4096),
                processes_peak: None,
                oom_kills: Some(2),
            },
        );
        let scope = "system.slice/docker-1f.scope";
        check(
            V2,
            &[
                (&format!("{scope}/memory.peak"), "8192\n"),
                (&format!("{scope}/memory.events"), "low 0\noom 3\noom_kill 1\n"),
                (&format!("{scope}/cpu.stat"), "usage_usec 7\nuser_usec 3\n"),
                (&format!("{scope}/pids.peak"), "9\n"),
            ],
            &Reading {
                cpu: Some(Duration::from_micros(7)),
                memory_peak_bytes: Some(8192),
                processes_peak: Some(9),
                oom_kills: Some(1),
            },
        );
        check("", &[], &Reading::default());
    }
}

//! The kernel's groups of a box. Owns finding where this process may make some, in either version or both mixed,
//! one box's groups in them, its limits, and what it used; must never touch a group that is not below its own
//! `gantry` directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::engine::{Limits, Usage};

/// The directory below this process's own group that holds the groups of boxes.
const SUBTREE: &str = "gantry";
/// Where this process goes if its own group has to be empty of processes.
const OWNER_LEAF: &str = "gantry-owner";
/// How long the kernel may take to give up a group whose processes are gone.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);
/// The shortest time the processor is shared out for, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// The controllers of the first version that boxes use.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuacct", "pids", "freezer"];

/// Where groups can be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Groups {
    /// First version: each controller and the directory for boxes.
    first: Vec<(String, PathBuf)>,
    /// Second version: the directory for boxes and the controllers that work in it.
    second: Option<(PathBuf, Vec<String>)>,
}

impl Groups {
    /// Finds where this process may make groups, and makes the directories for boxes.
    pub(super) fn find() -> Self {
        // A system without one of the two has no groups for boxes.
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = places(&own, &mounts);
        let mut groups = Self::default();
        for (controller, own) in places.first {
            let directory = own.join(SUBTREE);
            if ensure_directory(&directory) {
                groups.first.push((controller, directory));
            }
        }
        if let Some(own) = places.second {
            groups.second = second_version(&own);
        }
        groups
    }

    fn has(&self, controller: &str) -> bool {
        self.first.iter().any(|(name, _)| name == controller)
            || self
                .second
                .as_ref()
                .is_some_and(|(_, names)| names.iter().any(|name| name == controller))
    }

    /// Says in words what can be limited, by which version.
    pub(super) fn describe(&self) -> String {
        let held = |version: &str, names: &mut dyn Iterator<Item = &str>| {
            let wanted: Vec<&str> = names
                .filter(|name| ["memory", "cpu", "pids"].contains(name))
                .collect();
            (!wanted.is_empty()).then(|| format!("limits by cgroup {version}: {}", wanted.join(", ")))
        };
        let first = held("v1", &mut self.first.iter().map(|(name, _)| name.as_str()));
        let second = self
            .second
            .as_ref()
            .and_then(|(_, names)| held("v2", &mut names.iter().map(String::as_str)));
        let all: Vec<String> = first.into_iter().chain(second).collect();
        if all.is_empty() {
            return "no limits by cgroup: this user may not make groups here".to_owned();
        }
        all.join("; ")
    }

    /// Makes the groups of one box with its limits; returns them and the limits in words.
    ///
    /// Errors: in words, the limit that cannot be held and why.
    pub(super) fn make(&self, name: &str, limits: &Limits) -> Result<(BoxGroups, Vec<String>), String> {
        for (wanted, controller, what) in [
            (limits.memory_bytes.is_some(), "memory", "memory"),
            (limits.cpu_millis.is_some(), "cpu", "processor time"),
        ] {
            if wanted && !self.has(controller) {
                return Err(format!(
                    "a limit on {what} cannot be held here: this user may not make a cgroup with the {controller} \
                     controller; ask for none, run gantry as root, or under a cgroup v2 that is delegated to it"
                ));
            }
        }
        let mut groups = BoxGroups::default();
        for (controller, directory) in &self.first {
            let at = directory.join(name);
            if ensure_directory(&at) {
                groups.first.push((controller.clone(), at));
            }
        }
        if let Some((directory, _)) = &self.second {
            let at = directory.join(name);
            if ensure_directory(&at) {
                groups.second = Some(at);
            }
        }
        // A group that somebody else made may be one that this user cannot make another below.
        for (wanted, controller, what) in [
            (limits.memory_bytes.is_some(), "memory", "memory"),
            (limits.cpu_millis.is_some(), "cpu", "processor time"),
        ] {
            let first = self.first.iter().any(|(name, _)| name == controller);
            let held = if first {
                groups.first.iter().any(|(name, _)| name == controller)
            } else {
                groups.second.is_some()
            };
            if wanted && !held {
                groups.remove();
                return Err(format!(
                    "a limit on {what} cannot be held here: this user may not make a cgroup below the one that is there; \
                     ask for none, run gantry as root, or under a cgroup v2 that is delegated to it"
                ));
            }
        }
        match groups.limit(self, limits) {
            Ok(words) => Ok((groups, words)),
            Err(why) => {
                groups.remove();
                Err(why)
            }
        }
    }

    /// Removes the groups of boxes for which `is_alive` says no; ends what is still in them.
    pub(super) fn sweep(&self, is_alive: &dyn Fn(&str) -> bool) {
        let mut names = Vec::new();
        let second = self.second.iter().map(|(directory, _)| directory);
        for directory in self.first.iter().map(|(_, directory)| directory).chain(second) {
            // What cannot be listed cannot be swept either.
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    names.extend(entry.file_name().into_string());
                }
            }
        }
        names.sort();
        names.dedup();
        for name in names.iter().filter(|name| !is_alive(name)) {
            let first = self.first.iter();
            let groups = BoxGroups {
                first: first
                    .map(|(controller, at)| (controller.clone(), at.join(name)))
                    .collect(),
                second: self.second.as_ref().map(|(at, _)| at.join(name)),
            };
            groups.kill();
            groups.remove();
        }
    }
}

/// The groups of one box.
#[derive(Debug, Clone, Default)]
pub(super) struct BoxGroups {
    first: Vec<(String, PathBuf)>,
    second: Option<PathBuf>,
}

impl BoxGroups {
    fn at(&self, controller: &str) -> Option<&Path> {
        self.first
            .iter()
            .find(|(name, _)| name == controller)
            .map(|(_, at)| at.as_path())
    }

    fn limit(&self, groups: &Groups, limits: &Limits) -> Result<Vec<String>, String> {
        let set = |at: &Path, file: &str, value: &str| {
            fs::write(at.join(file), value)
                .map_err(|source| format!("the limit {file} = {value} is refused: {source}"))
        };
        let mut words = Vec::new();
        let second = self.second.as_deref();
        if let Some(bytes) = limits.memory_bytes {
            let value = bytes.to_string();
            if let Some(at) = self.at("memory") {
                set(at, "memory.limit_in_bytes", &value)?;
                // A kernel that does not count swap has no such file.
                let swap = at.join("memory.memsw.limit_in_bytes");
                if swap.exists() {
                    set(at, "memory.memsw.limit_in_bytes", &value)?;
                }
                words.push(format!("memory {bytes} bytes (cgroup v1)"));
            } else if let Some(at) = second {
                set(at, "memory.max", &value)?;
                if at.join("memory.swap.max").exists() {
                    set(at, "memory.swap.max", "0")?;
                }
                words.push(format!("memory {bytes} bytes (cgroup v2)"));
            }
        }
        if let Some(millis) = limits.cpu_millis {
            let quota = (millis.saturating_mul(CPU_PERIOD_US) / 1000).max(1000);
            if let Some(at) = self.at("cpu") {
                set(at, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                set(at, "cpu.cfs_quota_us", &quota.to_string())?;
                words.push(format!("processor {millis}/1000 of a core (cgroup v1)"));
            } else if let Some(at) = second {
                set(at, "cpu.max", &format!("{quota} {CPU_PERIOD_US}"))?;
                words.push(format!("processor {millis}/1000 of a core (cgroup v2)"));
            }
        }
        if let Some(count) = limits.processes {
            // Pid 1 has threads of its own; they are not the box's.
            let value = (count + OWN_THREADS).to_string();
            if let Some(at) = self.at("pids") {
                set(at, "pids.max", &value)?;
                words.push(format!("processes {count} (cgroup v1)"));
            } else if let Some(at) = second.filter(|_| groups.has("pids")) {
                set(at, "pids.max", &value)?;
                words.push(format!("processes {count} (cgroup v2)"));
            } else {
                words.push(format!("processes {count} (rlimit)"));
            }
        }
        Ok(words)
    }

    /// Puts a process in every group.
    ///
    /// Errors: what the system said.
    pub(super) fn take_in(&self, pid: u32) -> io::Result<()> {
        for at in self.first.iter().map(|(_, at)| at).chain(&self.second) {
            fs::write(at.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Counts how often the kernel ended a process of the box for want of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        let first = self.at("memory").map(|at| at.join("memory.oom_control"));
        let second = self.second.as_ref().map(|at| at.join("memory.events"));
        let read = |path: PathBuf| number_behind(&fs::read_to_string(path).ok()?, "oom_kill ");
        // A group that counts none has had none.
        first
            .into_iter()
            .chain(second)
            .filter_map(read)
            .max()
            .unwrap_or(0)
    }

    /// Returns what the box used, as far as it is counted.
    pub(super) fn usage(&self) -> Usage {
        let number = |at: Option<&Path>, file: &str| -> Option<u64> {
            fs::read_to_string(at?.join(file)).ok()?.trim().parse().ok()
        };
        let second = self.second.as_deref();
        let cpu_us = || {
            let text = fs::read_to_string(second?.join("cpu.stat")).ok()?;
            number_behind(&text, "usage_usec ")
        };
        Usage {
            cpu: number(self.at("cpuacct"), "cpuacct.usage")
                .map(Duration::from_nanos)
                .or_else(|| cpu_us().map(Duration::from_micros)),
            memory_peak_bytes: number(self.at("memory"), "memory.max_usage_in_bytes")
                .or_else(|| number(second, "memory.peak")),
            processes_peak: number(self.at("pids"), "pids.peak").or_else(|| number(second, "pids.peak")),
            oom_kills: self.oom_kills(),
            ..Usage::default()
        }
    }

    /// Stops or continues everything in the box; `false` if no group here can.
    ///
    /// Errors: what the system said.
    pub(super) fn freeze(&self, frozen: bool) -> io::Result<bool> {
        if let Some(at) = &self.second
            && at.join("cgroup.freeze").exists()
        {
            fs::write(at.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
            return Ok(true);
        }
        if let Some(at) = self.at("freezer") {
            fs::write(at.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Kills everything in the groups.
    pub(super) fn kill(&self) {
        use nix::sys::signal::{Signal, kill};
        // A frozen process dies when it is continued.
        let _ = self.freeze(false);
        if let Some(at) = &self.second
            && fs::write(at.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for at in self.first.iter().map(|(_, at)| at).chain(&self.second) {
            // A group that cannot be read has no processes or is gone.
            let processes = fs::read_to_string(at.join("cgroup.procs")).unwrap_or_default();
            for pid in processes
                .lines()
                .filter_map(|line| line.parse().ok())
                .filter(|pid| *pid > 0)
            {
                // It may have ended meanwhile.
                let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Removes the groups once their last process is gone. What stays is swept at the next start.
    pub(super) fn remove(&self) {
        let watch = Stopwatch::start();
        for at in self.first.iter().map(|(_, at)| at).chain(&self.second) {
            loop {
                match fs::remove_dir(at) {
                    Err(source)
                        if source.kind() == io::ErrorKind::ResourceBusy
                            && !watch.left_of(EMPTY_WITHIN).is_zero() =>
                    {
                        thread::sleep(Duration::from_micros(500));
                    }
                    Ok(()) | Err(_) => break,
                }
            }
        }
    }
}

/// Threads and stages of pid 1 that count as processes of the box.
const OWN_THREADS: u64 = 8;

fn ensure_directory(at: &Path) -> bool {
    match fs::create_dir(at) {
        Ok(()) => true,
        Err(source) => source.kind() == io::ErrorKind::AlreadyExists,
    }
}

fn number_behind(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.trim().parse().ok()
}

/// Makes the directory for boxes in the second version, with whatever controllers are there to be used.
fn second_version(own: &Path) -> Option<(PathBuf, Vec<String>)> {
    let own = if own.ends_with(OWNER_LEAF) {
        own.parent()?
    } else {
        own
    };
    let there = fs::read_to_string(own.join("cgroup.controllers")).ok()?;
    let wanted: Vec<String> = there
        .split_whitespace()
        .filter(|name| ["memory", "cpu", "pids"].contains(name))
        .map(str::to_owned)
        .collect();
    let mut held = enable(own, &wanted);
    if held.len() < wanted.len() && ensure_directory(&own.join(OWNER_LEAF)) {
        // A group that shares out its controllers may hold no process itself.
        let processes = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines() {
            // One that cannot be moved keeps the group from sharing, which is told by what it holds.
            let _ = fs::write(own.join(OWNER_LEAF).join("cgroup.procs"), pid);
        }
        held = enable(own, &wanted);
    }
    let directory = own.join(SUBTREE);
    if !ensure_directory(&directory) {
        return None;
    }
    Some((directory.clone(), enable(&directory, &held)))
}

/// Shares out controllers to the groups below one, and returns those that are shared out now.
fn enable(at: &Path, controllers: &[String]) -> Vec<String> {
    let file = at.join("cgroup.subtree_control");
    let mut held = Vec::new();
    for controller in controllers {
        // What is refused is not held.
        if fs::write(&file, format!("+{controller}")).is_ok() {
            held.push(controller.clone());
        }
    }
    held
}

/// Directories of this process's own groups.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    first: Vec<(String, PathBuf)>,
    second: Option<PathBuf>,
}

/// Reads the places from the process's groups and the mounts. Source: cgroups(7), proc_pid_mountinfo(5).
fn places(own: &str, mounts: &str) -> Places {
    let mut places = Places::default();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if names.is_empty() {
            places.second = mounts.lines().find_map(|line| place(line, "cgroup2", "", path));
            continue;
        }
        for name in names.split(',').filter(|name| CONTROLLERS.contains(name)) {
            if let Some(at) = mounts.lines().find_map(|line| place(line, "cgroup", name, path)) {
                places.first.push((name.to_owned(), at));
            }
        }
    }
    places
}

/// Returns where a mount shows a group, if it is a mount of this kind.
fn place(line: &str, kind: &str, controller: &str, path: &str) -> Option<PathBuf> {
    let (before, behind) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    let mut behind = behind.split(' ');
    let (found, options) = (behind.next()?, behind.nth(1)?);
    let holds = controller.is_empty() || options.split(',').any(|option| option == controller);
    if found != kind || !holds {
        return None;
    }
    let below = Path::new(path).strip_prefix(root).ok()?;
    Some(Path::new(at).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_either_version_and_both_mixed() {
        let mounts = "24 20 0:21 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            25 20 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            26 20 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/a\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/b\n";
        let first = [
            ("memory", "/sys/fs/cgroup/memory/a"),
            ("cpu", "/sys/fs/cgroup/cpu,cpuacct"),
            ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
        ];
        let expected = Places {
            first: first.map(|(name, at)| (name.to_owned(), at.into())).to_vec(),
            second: Some("/sys/fs/cgroup/unified/b".into()),
        };
        assert_eq!(places(own, mounts), expected);
        let pure = places(
            "0::/user.slice/x\n",
            "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(pure.second, Some("/sys/fs/cgroup/user.slice/x".into()));
        assert!(pure.first.is_empty());
        assert_eq!(places("", mounts), Places::default());
    }

    #[test]
    fn a_container_that_sees_its_own_group_as_the_root_finds_it() {
        let mounts = "24 20 0:21 /docker/1 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let found = places("4:pids:/docker/1/x\n", mounts);
        assert_eq!(
            found.first,
            [("pids".to_owned(), PathBuf::from("/sys/fs/cgroup/pids/x"))]
        );
    }

    #[test]
    fn a_limit_nobody_can_hold_is_refused_with_its_name() {
        let limits = Limits {
            memory_bytes: Some(1 << 30),
            ..Limits::default()
        };
        let refused = Groups::default().make("b", &limits).expect_err("nobody holds it");
        assert!(
            refused.contains("a limit on memory cannot be held here"),
            "{refused}"
        );
        assert!(Groups::default().make("b", &Limits::default()).is_ok());
    }

    #[test]
    fn numbers_of_the_kernels_files_are_read_by_their_word() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(number_behind(text, "oom_kill "), Some(3));
        assert_eq!(number_behind(text, "oom "), None);
    }
}

//! Who is killed. Owns finding the processes of one factory by what they are.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// The daemon.
    Daemon,
    /// The process of a build.
    Build,
    /// The process of a box by hand.
    Hand,
    /// A process that makes a box.
    Stage,
    /// Something that runs in a box.
    Inside,
}

impl Victim {
    /// Every kind; the daemon is last, because it is always there.
    pub(super) const ALL: [Self; 5] = [Self::Build, Self::Hand, Self::Stage, Self::Inside, Self::Daemon];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Daemon => "the daemon",
            Self::Build => "a build's process",
            Self::Hand => "a hand box's process",
            Self::Stage => "a process that makes a box",
            Self::Inside => "a process in a box",
        }
    }
}

/// A process as `/proc` shows it.
struct Process {
    parent: i32,
    words: Vec<Vec<u8>>,
}

/// Finds all processes of a kind that belong to the factory of this data directory.
pub(super) fn find(victim: Victim, data: &Path) -> anyhow::Result<Vec<i32>> {
    let all = processes()?;
    let data = data.as_os_str().as_bytes();
    let is_ours = |process: &Process| {
        process
            .words
            .iter()
            .any(|word| word.windows(data.len()).any(|part| part == data))
    };
    let has = |process: &Process, word: &[u8]| process.words.iter().any(|other| other == word);
    let stages: HashSet<i32> = all
        .iter()
        .filter(|(_, process)| has(process, b"__sandbox") && is_ours(process))
        .map(|(pid, _)| *pid)
        .collect();
    let mut found: Vec<i32> = all
        .iter()
        .filter(|(pid, process)| match victim {
            Victim::Daemon => has(process, b"up") && is_ours(process),
            Victim::Build => has(process, b"__job") && is_ours(process),
            Victim::Hand => has(process, b"__box") && is_ours(process),
            Victim::Stage => stages.contains(pid),
            // A tree whose own command is killed three times counts as failing: that one is left out.
            Victim::Inside => {
                !stages.contains(pid) && !stages.contains(&process.parent) && descends(&all, process, &stages)
            }
        })
        .map(|(pid, _)| *pid)
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Kills a process, if it is still there.
pub(super) fn kill(pid: i32) {
    // Gone already is as good as killed.
    let _ = send(Pid::from_raw(pid), Signal::SIGKILL);
}

fn descends(all: &HashMap<i32, Process>, process: &Process, from: &HashSet<i32>) -> bool {
    let mut parent = process.parent;
    // No chain of parents is longer than the table.
    for _ in 0..all.len() {
        if from.contains(&parent) {
            return true;
        }
        match all.get(&parent) {
            Some(process) => parent = process.parent,
            None => return false,
        }
    }
    false
}

fn processes() -> anyhow::Result<HashMap<i32, Process>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ended meanwhile is not one of them.
        let (Ok(words), Ok(stat)) = (
            fs::read(entry.path().join("cmdline")),
            fs::read_to_string(entry.path().join("stat")),
        ) else {
            continue;
        };
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let mut fields = after.split_whitespace();
        let is_dead = fields.next() == Some("Z");
        let Some(parent) = fields.next().and_then(|field| field.parse().ok()) else {
            continue;
        };
        if !is_dead {
            let words = words.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
            all.insert(pid, Process { parent, words });
        }
    }
    Ok(all)
}

//! What a factory could leave on a host. Owns looking; each thing is one line that names it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Everything that could have been left.
pub(super) struct Remains(BTreeSet<String>);

impl Remains {
    /// Looks at the host: what names the data directory, and what the kernel keeps for boxes of anybody.
    pub(super) fn look(data: Option<&Path>) -> anyhow::Result<Self> {
        let mut found = BTreeSet::new();
        if let Some(data) = data {
            look_at_processes(data, &mut found)?;
            look_at_mounts(data, &mut found)?;
            if data.exists() {
                found.insert(format!("folder {}", data.display()));
            }
        }
        look_at_cgroups(Path::new("/sys/fs/cgroup"), &mut found)?;
        look_at_network(&mut found)?;
        Ok(Self(found))
    }

    /// Returns what is here and was not there.
    pub(super) fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

fn look_at_processes(data: &Path, found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let needle = data.as_os_str().as_bytes();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let holds = |file: &str| {
            // A process that ended meanwhile holds nothing.
            let text = fs::read(entry.path().join(file)).unwrap_or_default();
            text.windows(needle.len()).any(|part| part == needle)
        };
        if pid != std::process::id() && (holds("cmdline") || holds("mountinfo")) {
            found.insert(format!("process {pid}"));
        }
    }
    Ok(())
}

fn look_at_mounts(data: &Path, found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let text = data.to_string_lossy().into_owned();
    found.extend(
        table
            .lines()
            .filter(|line| line.contains(&text))
            .map(|line| format!("mount {line}")),
    );
    Ok(())
}

/// Control groups below one that is gantry's.
fn look_at_cgroups(top: &Path, found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let mut folders = vec![(top.to_owned(), false)];
    while let Some((folder, ours)) = folders.pop() {
        // A group that went away meanwhile is not left.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            let is_gantrys = entry.file_name() == "gantry";
            // Other factories of this host have groups, too; the names of checks and boxes tell them apart.
            let name = entry.file_name().to_string_lossy().into_owned();
            if ours && (name.contains("leftover-") || name.starts_with("box-")) {
                found.insert(format!("cgroup {}", entry.path().display()));
            }
            folders.push((entry.path(), ours || is_gantrys));
        }
    }
    Ok(())
}

fn look_at_network(found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let interfaces = fs::read_to_string("/proc/net/dev")?;
    let names = interfaces
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next());
    found.extend(names.map(|name| format!("interface {}", name.trim())));
    for place in ["/run/netns", "/var/run/netns"] {
        // A host without named namespaces has no such folder.
        let Ok(entries) = fs::read_dir(place) else {
            continue;
        };
        found.extend(
            entries
                .flatten()
                .map(|entry| format!("network namespace {}", entry.path().display())),
        );
    }
    Ok(())
}

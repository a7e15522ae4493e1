//! What a daemon says about itself. Owns turning its answer into what can be held and what not.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};

use super::connection::{CallError, Connection};
use super::flavour::Flavour;

/// What matters of a daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether it runs without the host's root.
    pub(super) rootless: bool,
    /// Whether it uses cgroup v2.
    pub(super) unified: bool,
    /// Whether it can hold a limit of memory.
    pub(super) memory: bool,
    /// Whether it can hold a limit of processor time.
    pub(super) cpu: bool,
    /// Whether it can hold a limit of processes.
    pub(super) processes: bool,
    /// How it stores layers.
    pub(super) storage: String,
    /// Its version.
    pub(super) version: String,
    /// The program that makes its containers.
    pub(super) runtime: String,
    /// The version of that program, if it says so.
    pub(super) runtime_version: Option<String>,
    /// Whether somebody can log in as a container's root without being the host's.
    pub(super) remapped: bool,
}

impl Facts {
    /// Asks a daemon.
    ///
    /// Errors: [`CallError`].
    pub(super) fn ask(connection: &Connection) -> Result<Self, CallError> {
        let docker = connection.docker();
        let info = connection.call("tell about itself", docker.info())?;
        let mut facts = Self::read(connection.flavour, &info);
        if facts.runtime_version.is_none() {
            let version = connection.call("tell its version", docker.version())?;
            let parts = version.components.unwrap_or_default();
            let part = parts.into_iter().find(|part| part.name.contains(&facts.runtime));
            facts.runtime_version = part.and_then(|part| version_in(&part.version));
        }
        Ok(facts)
    }

    fn read(flavour: Flavour, info: &SystemInfo) -> Self {
        let options = info.security_options.clone().unwrap_or_default();
        let option = |name: &str| options.iter().any(|option| option.contains(name));
        let rootless = option("name=rootless");
        let unified = info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2);
        // Without the host's root, cgroup v1 cannot be delegated: limits are taken and then ignored.
        let held = |said: Option<bool>| said == Some(true) && (unified || !rootless);
        let commit = info.runc_commit.clone().and_then(|commit| commit.id);
        Self {
            rootless,
            unified,
            memory: held(info.memory_limit),
            cpu: held(info.cpu_cfs_quota),
            processes: held(info.pids_limit),
            storage: info.driver.clone().unwrap_or_default(),
            version: info.server_version.clone().unwrap_or_default(),
            runtime: info.default_runtime.clone().unwrap_or_else(|| "runc".to_owned()),
            runtime_version: match flavour {
                Flavour::Docker => commit.as_deref().and_then(version_in),
                Flavour::Podman => None,
            },
            remapped: option("name=userns"),
        }
    }

    /// Returns the cgroup version in words.
    pub(super) const fn cgroup(&self) -> &'static str {
        if self.unified { "cgroup v2" } else { "cgroup v1" }
    }
}

/// Returns the first version number in a text, such as `1.1.5` of `runc version 1.1.5+ds1`.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find(|word| word.split('.').filter(|part| !part.is_empty()).count() == 3)
        .map(str::to_owned)
}

/// Whether a version of runc has a known way out of its containers: CVE-2024-21626 (fixed in 1.1.12), CVE-2024-45310
/// (1.1.14, 1.2.0-rc.3), and CVE-2025-31133, 52565, 52881 (1.2.8, 1.3.3; 1.1 was not mended upstream).
pub(super) fn runc_is_old(version: &str) -> bool {
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    match parts[..] {
        [1, 2, patch] => patch < 8,
        [1, 3, patch] => patch < 3,
        [1, minor, _] => minor < 2,
        [major, ..] => major < 1,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_among_the_packagers_additions() {
        for (text, expected) in [
            ("1.1.5+ds1-1+deb12u1", Some("1.1.5")),
            ("runc version 1.3.3\ncommit: v1.3.3-0-gd842d771", Some("1.3.3")),
            ("v1.2.8-0-geeb7e602", Some("1.2.8")),
            ("5fd4c4d144137e991c4acebb2146ab1483a97925", None),
            ("", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn old_versions_of_runc_are_told() {
        for (version, old) in [
            ("1.0.3", true),
            ("1.1.5", true),
            ("1.1.15", true),
            ("1.2.7", true),
            ("1.2.8", false),
            ("1.3.2", true),
            ("1.3.3", false),
            ("1.4.0", false),
            ("2.0.0", false),
            ("0.9.1", true),
        ] {
            assert_eq!(runc_is_old(version), old, "{version}");
        }
    }

    fn check(rootless: bool, version: SystemInfoCgroupVersionEnum, held: bool) {
        let info = SystemInfo {
            memory_limit: Some(true),
            pids_limit: Some(true),
            cpu_cfs_quota: Some(true),
            cgroup_version: Some(version),
            security_options: Some(if rootless {
                vec!["name=rootless".to_owned()]
            } else {
                Vec::new()
            }),
            ..SystemInfo::default()
        };
        let facts = Facts::read(Flavour::Podman, &info);
        assert_eq!([facts.memory, facts.processes, facts.cpu], [held; 3], "{facts:?}");
    }

    #[test]
    fn limits_that_a_rootless_daemon_would_ignore_cannot_be_held() {
        check(false, SystemInfoCgroupVersionEnum::_1, true);
        check(false, SystemInfoCgroupVersionEnum::_2, true);
        check(true, SystemInfoCgroupVersionEnum::_1, false);
        check(true, SystemInfoCgroupVersionEnum::_2, true);
    }
}

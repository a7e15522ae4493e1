//! What a daemon is asked to make. Owns every setting of a box's container; must never start one, and never ask for
//! less than the box was promised.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, Mount as ApiMount, MountType, NetworkingConfig,
};
use gantry_core::limits::BOX_OPEN_FILES_MAX;

use super::facts::Facts;
use super::flavour::Flavour;
use super::image::LocalImage;
use super::service::LOOPBACK;
use crate::engine::{BoxUser, Limits, Network, OpenError, SandboxSpec};

/// Whose a container, network or volume is.
pub(super) const LABEL_OWNER: &str = "gantry.owner";
/// What people call the box.
pub(super) const LABEL_NAME: &str = "gantry.name";
/// When it may be ended though its owner cannot be seen; milliseconds since 1970.
pub(super) const LABEL_EXPIRES: &str = "gantry.expires_ms";
/// The folder of the host that goes with it.
pub(super) const LABEL_FOLDER: &str = "gantry.folder";

/// The home of [`BoxUser::Plain`].
pub(super) const PLAIN_HOME: &str = "/home/box";
/// Processes of the container that are not the box's: the first one and the one that watches its standard input.
const OWN_PROCESSES: u64 = 2;

/// The first process: it waits for children, its own and adopted ones, until somebody closes its standard input, which
/// the owner's death does. When it ends, the kernel ends every other process of the container.
const SLEEPER: &str = "exec 3<&0; (while read -r _; do :; done) <&3 & wait";

/// What root in a box may do to the box's own files and processes. Nothing that reaches the host's: no devices, no raw
/// sockets, no mounts, no modules.
pub(super) const ROOT_CAPABILITIES: [&str; 8] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
];

/// The numbers a box's user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    /// The user's.
    pub(super) uid: u32,
    /// The group's.
    pub(super) gid: u32,
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Returns the numbers of a box's user, who must own the workspace that this process writes on the host.
///
/// Errors: [`OpenError::Unsupported`] where nobody in the container could own it.
pub(super) fn choose_ids(
    flavour: Flavour,
    facts: &Facts,
    user: BoxUser,
    this: Ids,
) -> Result<Ids, OpenError> {
    const PLAIN: Ids = Ids { uid: 1000, gid: 1000 };
    match (user, flavour) {
        (BoxUser::Root, _) => Ok(Ids { uid: 0, gid: 0 }),
        (BoxUser::Plain, Flavour::Docker) if facts.rootless || facts.remapped => {
            Err(OpenError::Unsupported(
                "a docker daemon that is rootless or remaps users gives the host's files to the container's root only: \
                 ask for user = \"root\", or use podman or the native engine"
                    .to_owned(),
            ))
        }
        // `keep-id` makes the caller this one.
        (BoxUser::Plain, Flavour::Podman) if facts.rootless => Ok(PLAIN),
        (BoxUser::Plain, _) if this.uid == 0 => Ok(PLAIN),
        // Whoever is not root can give files to nobody else.
        (BoxUser::Plain, _) => Ok(this),
    }
}

/// Refuses every limit that the daemon cannot hold.
///
/// Errors: [`OpenError::Unsupported`].
pub(super) fn refuse_limits(flavour: Flavour, facts: &Facts, limits: &Limits) -> Result<(), OpenError> {
    let engine = flavour.name();
    let refused = |limit: &str, why: &str| {
        Err(OpenError::Unsupported(format!(
            "the {engine} engine cannot hold a limit of {limit} here: {why}"
        )))
    };
    let daemon = "its daemon says so (rootless on cgroup v1 ignores limits); run it as root or with cgroup v2, or ask for \
                  none";
    if limits.memory_bytes.is_some() && !facts.memory {
        return refused("memory", daemon);
    }
    if limits.cpu_millis.is_some() && !facts.cpu {
        return refused("processor time", daemon);
    }
    if limits.processes.is_some() && !facts.processes {
        return refused("processes", daemon);
    }
    let native =
        "the workspace is a folder of the host without a quota; use the native engine, or ask for none";
    if limits.disk_bytes.is_some() {
        return refused("disk", native);
    }
    if limits.inodes.is_some() {
        return refused("files", native);
    }
    if limits.in_memory {
        return refused("memory for what is written", native);
    }
    Ok(())
}

/// Says how the limits are held, for the receipt.
pub(super) fn limits_in_words(flavour: Flavour, facts: &Facts, limits: &Limits) -> Vec<String> {
    let by = format!("({}, {})", flavour.name(), facts.cgroup());
    let mut words = Vec::new();
    words.extend(
        limits
            .memory_bytes
            .map(|bytes| format!("memory {bytes} bytes {by}")),
    );
    words.extend(
        limits
            .cpu_millis
            .map(|millis| format!("processor {millis}/1000 of a core {by}")),
    );
    words.extend(limits.processes.map(|count| format!("{count} processes {by}")));
    words
}

/// What is known of a box before its container is made.
pub(super) struct Plan<'a> {
    pub(super) flavour: Flavour,
    pub(super) facts: &'a Facts,
    pub(super) spec: &'a SandboxSpec,
    pub(super) image: &'a LocalImage,
    pub(super) labels: HashMap<String, String>,
    /// Everything that is mounted, the workspace among it.
    pub(super) mounts: Vec<ApiMount>,
    /// The network it shares with its services, or one of the daemon's own.
    pub(super) network: Option<String>,
}

/// Returns the body for a box's container.
pub(super) fn box_body(plan: &Plan<'_>) -> ContainerCreateBody {
    let root = plan.spec.user == BoxUser::Root;
    let capabilities = if root { &ROOT_CAPABILITIES[..] } else { &[] };
    let mut host = confined(plan.flavour, capabilities, &plan.spec.limits);
    host.mounts = Some(plan.mounts.clone());
    host.network_mode = plan.network.clone();
    if plan.spec.network == Network::None && !plan.spec.services.is_empty() {
        let names = plan
            .spec
            .services
            .iter()
            .map(|service| format!("{}:{LOOPBACK}", service.name));
        host.extra_hosts = Some(names.collect());
    }
    if plan.flavour == Flavour::Podman && plan.facts.rootless && !root {
        host.userns_mode = Some("keep-id:uid=1000,gid=1000".to_owned());
    }
    let home = if root { "/root" } else { PLAIN_HOME };
    let mut env = vec![("HOME".to_owned(), home.to_owned())];
    env.extend(plan.spec.env.iter().cloned());
    ContainerCreateBody {
        // The first process is root without a capability, so that nothing of the box's user can end it.
        user: Some("0:0".to_owned()),
        env: Some(env_list(&env)),
        hostname: Some("box".to_owned()),
        working_dir: Some("/".to_owned()),
        labels: Some(plan.labels.clone()),
        image: Some(plan.image.id.clone()),
        host_config: Some(host),
        ..kept_alive(SLEEPER, &[])
    }
}

/// Returns a body whose first process ends when the owner's connection does.
pub(super) fn kept_alive(script: &str, arguments: &[String]) -> ContainerCreateBody {
    let mut command = vec!["-c".to_owned(), script.to_owned(), "gantry".to_owned()];
    command.extend(arguments.iter().cloned());
    ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        tty: Some(false),
        entrypoint: Some(vec!["/bin/sh".to_owned()]),
        cmd: Some(command),
        ..ContainerCreateBody::default()
    }
}

/// Returns the settings that keep a container inside.
pub(super) fn confined(flavour: Flavour, capabilities: &[&str], limits: &Limits) -> HostConfig {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let open_files = bollard::models::ResourcesUlimits {
        name: Some("nofile".to_owned()),
        soft: Some(count(BOX_OPEN_FILES_MAX)),
        hard: Some(count(BOX_OPEN_FILES_MAX)),
    };
    HostConfig {
        auto_remove: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities.iter().map(|&name| name.to_owned()).collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ipc_mode: Some("private".to_owned()),
        privileged: Some(false),
        memory: limits.memory_bytes.map(count),
        // Equal to the memory: no swap.
        memory_swap: limits.memory_bytes.map(count),
        nano_cpus: limits
            .cpu_millis
            .map(|millis| count(millis.saturating_mul(1_000_000))),
        pids_limit: limits
            .processes
            .map(|processes| count(processes.saturating_add(OWN_PROCESSES))),
        // Podman drops its own default limits if any is given, and then asks for more processes than it may.
        ulimits: (flavour == Flavour::Docker).then(|| vec![open_files]),
        ..HostConfig::default()
    }
}

/// Returns what makes a container known by a name in a network.
pub(super) fn known_as(network: &str, name: &str) -> NetworkingConfig {
    let endpoint = EndpointSettings {
        aliases: Some(vec![name.to_owned()]),
        ..EndpointSettings::default()
    };
    NetworkingConfig {
        endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
    }
}

/// Returns a file or folder of the host as a mount.
pub(super) fn bind(host: &Path, at: &Path, read_only: bool) -> Result<ApiMount, OpenError> {
    Ok(ApiMount {
        typ: Some(MountType::BIND),
        source: Some(text_of(host)?),
        target: Some(text_of(at)?),
        read_only: Some(read_only),
        ..ApiMount::default()
    })
}

/// Returns a path as the daemon takes it.
///
/// Errors: [`OpenError::Unsupported`] if it is not text, not absolute, or leads up.
pub(super) fn text_of(path: &Path) -> Result<String, OpenError> {
    let plain = path.is_absolute()
        && path
            .components()
            .all(|part| part != std::path::Component::ParentDir);
    match path.to_str() {
        Some(text) if plain => Ok(text.to_owned()),
        _ => Err(OpenError::Unsupported(format!(
            "{path:?} cannot be named to a container engine: it takes absolute paths in UTF-8 without `..`"
        ))),
    }
}

/// Whether a shell passes a variable of this name on.
pub(super) fn shell_passes(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

/// Returns the variables a shell passes on as the daemon takes them, the later of two equal names only.
pub(super) fn env_list(env: &[(String, String)]) -> Vec<String> {
    let mut list: Vec<(&str, &str)> = Vec::with_capacity(env.len());
    for (name, value) in env.iter().filter(|(name, _)| shell_passes(name)) {
        list.retain(|(known, _)| known != name);
        list.push((name, value));
    }
    list.into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOTFUL: Facts = Facts {
        rootless: false,
        unified: false,
        memory: true,
        cpu: true,
        processes: true,
        storage: String::new(),
        version: String::new(),
        runtime: String::new(),
        runtime_version: None,
        remapped: false,
    };

    #[test]
    fn a_limit_that_cannot_be_held_is_refused() {
        let check = |facts: &Facts, limits: Limits, refused: bool| {
            let answer = refuse_limits(Flavour::Docker, facts, &limits);
            assert_eq!(
                matches!(answer, Err(OpenError::Unsupported(_))),
                refused,
                "{limits:?}"
            );
        };
        let none = Facts::default();
        let one = Some(1 << 30);
        let limits = |change: &dyn Fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits
        };
        for held in [
            limits(&|limits| limits.memory_bytes = one),
            limits(&|limits| limits.cpu_millis = one),
            limits(&|limits| limits.processes = one),
        ] {
            check(&ROOTFUL, held.clone(), false);
            check(&none, held, true);
        }
        for never in [
            limits(&|limits| limits.disk_bytes = one),
            limits(&|limits| limits.inodes = one),
            limits(&|limits| limits.in_memory = true),
        ] {
            check(&ROOTFUL, never, true);
        }
        check(&none, Limits::default(), false);
    }

    #[test]
    fn the_user_of_a_box_owns_what_is_written_for_it() {
        let root = Ids { uid: 0, gid: 0 };
        let other = Ids { uid: 1001, gid: 100 };
        let plain = Ids { uid: 1000, gid: 1000 };
        let rootless = Facts {
            rootless: true,
            ..ROOTFUL
        };
        for (flavour, facts, user, this, expected) in [
            (Flavour::Docker, &ROOTFUL, BoxUser::Plain, root, Some(plain)),
            (Flavour::Docker, &ROOTFUL, BoxUser::Plain, other, Some(other)),
            (Flavour::Docker, &rootless, BoxUser::Plain, other, None),
            (Flavour::Docker, &rootless, BoxUser::Root, other, Some(root)),
            (Flavour::Podman, &rootless, BoxUser::Plain, other, Some(plain)),
        ] {
            let chosen = choose_ids(flavour, facts, user, this).ok();
            assert_eq!(chosen, expected, "{flavour:?} {user:?} {this}");
        }
    }

    #[test]
    fn the_later_of_two_variables_wins_and_odd_names_go_another_way() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = [
            pair("A", "1"),
            pair("B", "2"),
            pair("A", "3"),
            pair("A-B", "4"),
            pair("", "5"),
        ];
        assert_eq!(env_list(&env), ["B=2", "A=3"]);
    }

    #[test]
    fn paths_that_a_daemon_would_read_otherwise_are_refused() {
        for (path, fine) in [("/a/b", true), ("a", false), ("/a/../b", false)] {
            assert_eq!(text_of(Path::new(path)).is_ok(), fine, "{path}");
        }
    }
}

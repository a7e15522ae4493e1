//! Whether a daemon can make boxes here. Owns naming what is in the way, and the command that mends it.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bollard::query_parameters::ListImagesOptions;

use super::container_engine::{ContainerEngine, ReachError, Reached};
use super::facts::{Facts, runc_is_old};
use super::flavour::Flavour;
use super::socket::NoSocket;
use crate::engine::{
    BoxUser, EngineUnavailable, ExecEnding, ExecSpec, Image, Limits, Network, OpenError, SandboxControl,
    SandboxEngine, SandboxSpec, Workspace,
};

/// How long the command of the trial box may take.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes one box and tells what the daemon can hold.
///
/// Errors: [`EngineUnavailable`].
pub(super) fn probe(engine: &ContainerEngine) -> Result<Vec<String>, EngineUnavailable> {
    let flavour = engine.flavour;
    let unavailable = |why: String, mend: String| EngineUnavailable {
        engine: flavour.name(),
        why,
        mend,
    };
    let reached = engine.reach().map_err(|error| {
        let mend = mend_reach(flavour, &error);
        unavailable(error.to_string(), mend)
    })?;
    let facts = &reached.facts;
    if facts.storage == "vfs" {
        return Err(unavailable(
            "it stores layers with vfs, which copies the whole image for every box".to_owned(),
            mend_vfs(flavour).to_owned(),
        ));
    }
    let image = match &engine.settings.probe_image {
        Some(name) => name.clone(),
        None => any_image(&reached, flavour)?,
    };
    try_box(engine, facts, &image)?;
    Ok(sentences(flavour, &reached))
}

fn mend_vfs(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Docker => {
            "put {\"storage-driver\": \"overlay2\"} into /etc/docker/daemon.json and restart docker"
        }
        Flavour::Podman => {
            "apt-get install fuse-overlayfs, put `driver = \"overlay\"` below `[storage]` in \
             ~/.config/containers/storage.conf (/etc/containers/storage.conf for root), then `podman system reset`"
        }
    }
}

fn mend_reach(flavour: Flavour, error: &ReachError) -> String {
    let text = error.to_string();
    match (flavour, error) {
        (_, ReachError::Socket(NoSocket::Elsewhere { variable, .. })) => {
            format!("unset {variable}, or name a socket of this machine: {variable}=unix:///path")
        }
        (Flavour::Docker, ReachError::Socket(NoSocket::Missing { .. })) if has_program("dockerd") => {
            "systemctl start docker".to_owned()
        }
        (Flavour::Docker, ReachError::Socket(NoSocket::Missing { .. })) => {
            "apt-get install docker.io, then systemctl start docker".to_owned()
        }
        (Flavour::Podman, ReachError::Socket(NoSocket::Missing { .. })) if has_program("podman") => {
            let user = if nix::unistd::geteuid().is_root() { "" } else { "--user " };
            let socket = match std::env::var_os("XDG_RUNTIME_DIR") {
                Some(folder) if !user.is_empty() => PathBuf::from(folder).join("podman/podman.sock"),
                _ => PathBuf::from("/run/podman/podman.sock"),
            };
            format!(
                "systemctl {user}start podman.socket, or without systemd: podman system service --time=0 unix://{}",
                socket.display()
            )
        }
        (Flavour::Podman, ReachError::Socket(NoSocket::Missing { .. })) => {
            "apt-get install podman, then systemctl --user start podman.socket".to_owned()
        }
        (Flavour::Docker, ReachError::Call(_)) if text.contains("ermission denied") => {
            "usermod -aG docker $USER and log in again (members of docker are root of this host), or use podman"
                .to_owned()
        }
        (Flavour::Podman, ReachError::Call(_)) if text.contains("ermission denied") => {
            "systemctl --user start podman.socket, which is your own".to_owned()
        }
        (Flavour::Docker, ReachError::Call(_)) => {
            "systemctl restart docker; if it says \"timeout waiting for containerd\", end the containerd-shim processes \
             it left first"
                .to_owned()
        }
        (Flavour::Podman, ReachError::Call(_)) => "systemctl --user restart podman.socket".to_owned(),
    }
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|folder| folder.join(name).is_file())
}

/// Returns the smallest image the daemon has.
fn any_image(reached: &Reached, flavour: Flavour) -> Result<String, EngineUnavailable> {
    let connection = &reached.connection;
    let engine = flavour.name();
    let list = connection.docker().list_images(None::<ListImagesOptions>);
    let images = connection
        .call("list images", list)
        .map_err(|error| EngineUnavailable {
            engine,
            why: error.text(),
            mend: mend_reach(flavour, &ReachError::Call(error)),
        })?;
    let named = images
        .into_iter()
        .filter(|image| image.repo_tags.iter().any(|tag| !tag.starts_with("<none>")));
    let smallest = named.min_by_key(|image| image.size);
    smallest.map(|image| image.id).ok_or_else(|| EngineUnavailable {
        engine,
        why: "it has no image to make a box of".to_owned(),
        mend: format!(
            "{engine} pull docker.io/library/debian:stable-slim, or {engine} import rootfs.tar debian:stable-slim"
        ),
    })
}

fn try_box(engine: &ContainerEngine, facts: &Facts, image: &str) -> Result<(), EngineUnavailable> {
    let unavailable = |why: String| {
        let mend = mend_box(engine.flavour, facts, &why);
        EngineUnavailable {
            engine: engine.flavour.name(),
            why,
            mend,
        }
    };
    let control = SandboxControl::default();
    let user = if engine.flavour == Flavour::Docker && (facts.rootless || facts.remapped) {
        BoxUser::Root
    } else {
        BoxUser::Plain
    };
    let spec = SandboxSpec {
        name: "probe".to_owned(),
        image: Image::Named(image.to_owned()),
        workspace: Workspace::Empty,
        workspace_at: PathBuf::from("/box/workspace"),
        mounts: Vec::new(),
        env: Vec::new(),
        network: Network::None,
        limits: Limits {
            memory_bytes: facts.memory.then_some(256 * 1024 * 1024),
            processes: facts.processes.then_some(64),
            ..Limits::default()
        },
        user,
        services: Vec::new(),
    };
    let sandbox = engine
        .open(&spec, &control)
        .map_err(|error: OpenError| unavailable(error.to_string()))?;
    let exec = ExecSpec {
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), "exit 7".to_owned()],
        env: Vec::new(),
        directory: PathBuf::from("/box/workspace"),
        timeout: TRIAL_TIMEOUT,
        grace: Duration::from_secs(1),
    };
    let report = sandbox.exec(&exec, &mut |_: &[u8]| Ok::<_, io::Error>(()), &control);
    let receipt = sandbox.close();
    if let Some(left) = receipt.leftover {
        return Err(unavailable(format!("a box could not be removed: {left}")));
    }
    match report.ending {
        ExecEnding::Exited { code: 7 } => Ok(()),
        ExecEnding::Trouble(_, why) => Err(unavailable(why)),
        other => Err(unavailable(format!(
            "`exit 7` in a box of {image} ended as {other:?}"
        ))),
    }
}

/// Returns what mends the refusal of a box.
fn mend_box(flavour: Flavour, facts: &Facts, why: &str) -> String {
    let engine = flavour.name();
    let known: [(&[&str], String); 5] = [
        (
            &["setrlimit", "RLIMIT_NOFILE", "RLIMIT_NPROC"],
            match flavour {
                Flavour::Docker => "the daemon lacks CAP_SYS_RESOURCE: put {\"default-ulimits\": {\"nofile\": {\"Name\": \
                                    \"nofile\", \"Soft\": 20000, \"Hard\": 20000}}} into /etc/docker/daemon.json and \
                                    restart docker"
                    .to_owned(),
                Flavour::Podman => "the service lacks CAP_SYS_RESOURCE: put `default_ulimits = [\"nofile=20000:20000\", \
                                    \"nproc=20000:20000\"]` below `[containers]` in containers.conf and restart it"
                    .to_owned(),
            },
        ),
        (
            &["hybrid mode"],
            "crun refuses hybrid cgroups: put `runtime = \"runc\"` below `[engine]` in containers.conf, or `umount \
             /sys/fs/cgroup/unified` in the service's mount namespace"
                .to_owned(),
        ),
        (
            &["executable file not found", "no such file or directory: unknown", "/bin/sh"],
            "name an image that has /bin/sh".to_owned(),
        ),
        (&["has no image"], format!("{engine} pull docker.io/library/debian:stable-slim")),
        (&["no space left"], format!("{engine} system prune")),
    ];
    let found = known
        .into_iter()
        .find(|(words, _)| words.iter().any(|word| why.contains(word)));
    found.map_or_else(
        || {
            format!(
                "see what `{engine} run --rm IMAGE true` says (it makes them with {})",
                facts.runtime
            )
        },
        |(_, mend)| mend,
    )
}

/// Says what can be held and what not.
fn sentences(flavour: Flavour, reached: &Reached) -> Vec<String> {
    let facts = &reached.facts;
    let engine = flavour.name();
    let held = HashMap::from([
        ("memory", facts.memory),
        ("cpu", facts.cpu),
        ("processes", facts.processes),
    ]);
    let names = |wanted: bool| {
        let mut names: Vec<&str> = held
            .iter()
            .filter(|(_, held)| **held == wanted)
            .map(|(name, _)| *name)
            .collect();
        names.sort_unstable();
        names.join(", ")
    };
    let mut said = vec![format!(
        "{engine} {} at {}, storage {}, runtime {} {}",
        facts.version,
        reached.connection.socket.display(),
        facts.storage,
        facts.runtime,
        facts
            .runtime_version
            .as_deref()
            .unwrap_or("of an unknown version"),
    )];
    if held.values().any(|held| *held) {
        said.push(format!("limits by {}: {}", facts.cgroup(), names(true)));
    }
    if held.values().any(|held| !*held) {
        said.push(format!(
            "no limits of {}: rootless on {} ignores them; boot with systemd.unified_cgroup_hierarchy=1 or run the daemon \
             as root",
            names(false),
            facts.cgroup()
        ));
    }
    said.push(
        "no limits of disk and files, and no list of allowed hosts: the native engine has them".to_owned(),
    );
    if !facts.rootless && !facts.remapped {
        said.push(
            "root in a box is the host's root without its capabilities; user = \"box\" is not".to_owned(),
        );
    }
    if facts.runtime == "runc" && facts.runtime_version.as_deref().is_some_and(runc_is_old) {
        said.push(format!(
            "runc {} may have known ways out of a container (CVE-2024-21626, CVE-2024-45310, CVE-2025-31133, \
             CVE-2025-52565, CVE-2025-52881) unless its packager mended them: apt-get install --only-upgrade runc",
            facts.runtime_version.as_deref().unwrap_or_default()
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flavour: Flavour, why: &str, mend: &str) {
        let found = mend_box(flavour, &Facts::default(), why);
        assert!(found.contains(mend), "{why}: {found}");
    }

    #[test]
    fn every_known_trap_has_a_command_that_mends_it() {
        check(
            Flavour::Podman,
            "setrlimit `RLIMIT_NPROC`: Operation not permitted: OCI permission denied",
            "default_ulimits",
        );
        check(
            Flavour::Docker,
            "error setting rlimits: setrlimit RLIMIT_NOFILE",
            "default-ulimits",
        );
        check(
            Flavour::Podman,
            "crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2",
            "runtime = \"runc\"",
        );
        check(
            Flavour::Docker,
            "exec: \"/bin/sh\": stat /bin/sh: no such file or directory",
            "name an image",
        );
        check(
            Flavour::Docker,
            "write /x: no space left on device",
            "docker system prune",
        );
        check(Flavour::Podman, "something new", "podman run --rm");
    }

    #[test]
    fn a_daemon_that_cannot_be_reached_has_a_command_that_mends_it() {
        let refused = |why: &str| {
            let source = io::Error::other(why.to_owned());
            ReachError::Call(super::super::connection::CallError {
                engine: "docker",
                socket: PathBuf::from("/var/run/docker.sock"),
                doing: "tell about itself".to_owned(),
                source: Box::new(source.into()),
            })
        };
        let mend = mend_reach(Flavour::Docker, &refused("Permission denied (os error 13)"));
        assert!(mend.contains("usermod -aG docker"), "{mend}");
        let mend = mend_reach(Flavour::Docker, &refused("Connection refused (os error 111)"));
        assert!(mend.contains("systemctl restart docker"), "{mend}");
        let missing = ReachError::Socket(NoSocket::Missing {
            looked_at: Vec::new(),
        });
        assert!(mend_reach(Flavour::Podman, &missing).contains("podman.socket"));
    }
}

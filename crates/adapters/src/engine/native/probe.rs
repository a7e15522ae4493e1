//! Whether the native engine works on this host. Owns one empty box, and what mends a refusal.

use std::fs;
use std::time::Duration;

use gantry_core::limits::BOX_GRACE;

use super::NativeEngine;
use super::view::WORKSPACE;
use crate::engine::{
    BoxUser, EngineUnavailable, ExecEnding, ExecSpec, Image, Limits, Network, SandboxControl, SandboxEngine,
    SandboxSpec, Workspace,
};

/// How long the empty box may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Settings of the kernel that stop plain users from making namespaces: file, value that stops, mending command.
const SETTINGS: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "run: sudo sysctl -w user.max_user_namespaces=15000",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "run: sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

/// Runs an empty box; returns what is held here.
pub(super) fn probe(engine: &NativeEngine) -> Result<Vec<String>, EngineUnavailable> {
    let unavailable = |why: String| EngineUnavailable {
        engine: "native",
        why,
        mend: mend(),
    };
    let spec = SandboxSpec {
        name: "probe".to_owned(),
        image: Image::Host,
        workspace: Workspace::Empty,
        workspace_at: WORKSPACE.into(),
        mounts: Vec::new(),
        env: Vec::new(),
        network: Network::None,
        limits: Limits::default(),
        user: BoxUser::Plain,
        services: Vec::new(),
    };
    let control = SandboxControl::default();
    let sandbox = engine
        .open(&spec, &control)
        .map_err(|failed| unavailable(failed.to_string()))?;
    let exec = ExecSpec {
        command: ["/bin/sh", "-c", "exit 0"].map(str::to_owned).to_vec(),
        env: Vec::new(),
        directory: "/".into(),
        timeout: TIMEOUT,
        grace: BOX_GRACE,
    };
    let report = sandbox.exec(&exec, &mut |_| Ok(()), &control);
    drop(sandbox);
    match report.ending {
        ExecEnding::Exited { code: 0 } => {}
        ExecEnding::Trouble(_, why) => return Err(unavailable(why)),
        other => return Err(unavailable(format!("an empty box ended with {other:?}"))),
    }
    let users = if engine.privileged {
        "users: every box has 65,536 of its own, none of them the host's"
    } else {
        "users: a box has one, this daemon's user in a namespace of its own"
    };
    Ok(vec![
        engine.groups().describe(),
        "limits: disk and inodes in memory by the kernel, on disk by looking".to_owned(),
        users.to_owned(),
    ])
}

fn mend() -> String {
    let stops = |(path, value, _): &&(&str, &str, &str)| {
        // A kernel without the setting does not have the restriction.
        fs::read_to_string(path).is_ok_and(|found| found.trim() == *value)
    };
    let known = SETTINGS.iter().find(stops).map(|(_, _, mend)| (*mend).to_owned());
    known.unwrap_or_else(|| {
        "run gantry as root, or, in a container, start the container with the right to make namespaces \
         (docker run --privileged)"
            .to_owned()
    })
}

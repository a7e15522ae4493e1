//! Whether the native engine works on this host. Owns one empty box, and what mends a refusal.

use std::fs;
use std::time::Duration;

use gantry_core::id::CommitId;

use super::NativeEngine;
use super::attempt::{Attempt, Source};
use crate::engine::{CheckSpec, EngineUnavailable, Network, SandboxControl, SandboxEnding};

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

/// Runs an empty box.
pub(super) fn probe(engine: &NativeEngine) -> Result<(), EngineUnavailable> {
    let spec = CheckSpec {
        name: "probe".to_owned(),
        repository: engine.scratch.clone(),
        commit: CommitId::from_bytes([0; 20]),
        command: ["/bin/sh", "-c", "exit 0"].map(str::to_owned).to_vec(),
        env: Vec::new(),
        timeout: TIMEOUT,
        output_bytes_max: 1024,
        log: "/dev/null".into(),
        fail_fast: Vec::new(),
        network: Network::None,
    };
    let report = Attempt::new(engine, &spec, &SandboxControl::default()).run(Source::Empty);
    let why = match report.ending {
        SandboxEnding::Exited { code: 0 } => return Ok(()),
        SandboxEnding::Trouble(_, why) => why,
        other => format!("an empty box ended with {other:?}"),
    };
    Err(EngineUnavailable {
        engine: "native",
        why,
        mend: mend(),
    })
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

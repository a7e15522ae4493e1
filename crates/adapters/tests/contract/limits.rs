//! What a box may use.

use std::time::Duration;

use gantry_adapters::engine::{ExecEnding, Limits, OpenError, SandboxControl};

use crate::Clause;
use crate::subject::Subject;
use crate::world::{check, passes, run};

pub const CLAUSES: &[Clause] = &[
    (
        "a command without memory is told from one that was killed",
        memory,
    ),
    ("a box cannot hold more processes than it may", processes),
    ("a box cannot use more processor time than it may", cpu),
    ("a limit is held or refused, never ignored", others),
];

fn memory(subject: &Subject) {
    let sandbox = subject.open_with(|spec| spec.limits.memory_bytes = Some(64 * 1024 * 1024));
    check(&*sandbox, "kill -9 $$", &ExecEnding::Signalled { signal: 9 });
    check(&*sandbox, "tail /dev/zero", &ExecEnding::OutOfMemory);
    check(&*sandbox, "exec tail /dev/zero", &ExecEnding::OutOfMemory);
    passes(&*sandbox, "echo it goes on");
    let receipt = sandbox.close();
    assert!(receipt.usage.oom_kills >= 2, "{receipt:?}");
    assert!(
        receipt
            .usage
            .memory_peak_bytes
            .is_some_and(|peak| peak > 32 << 20 && peak <= 64 << 20),
        "{receipt:?}"
    );
    assert!(
        receipt.limits.iter().any(|limit| limit.contains("memory")),
        "{receipt:?}"
    );
}

fn processes(subject: &Subject) {
    let sandbox = subject.open_with(|spec| spec.limits.processes = Some(30));
    let line = "i=0; while [ $i -lt 60 ]; do sleep 7321 & i=$((i+1)); done; wait";
    let mut spec = crate::world::shell(line);
    spec.timeout = Duration::from_secs(3);
    let ran = crate::world::run_spec(&*sandbox, &spec);
    // A shell that cannot fork gives up; whatever it says, the box can be used again after it.
    assert!(
        !matches!(ran.report.ending, ExecEnding::Exited { code: 0 }),
        "{ran:?}"
    );
    drop(sandbox);
    let sandbox = subject.open_with(|spec| spec.limits.processes = Some(30));
    let text = run(
        &*sandbox,
        "i=0; while [ $i -lt 15 ]; do sleep 1 & i=$((i+1)); done; wait; echo all",
    )
    .text();
    assert_eq!(text, "all\n");
}

fn cpu(subject: &Subject) {
    let sandbox = subject.open_with(|spec| spec.limits.cpu_millis = Some(250));
    passes(&*sandbox, "timeout 3 sh -c 'while :; do :; done'; true");
    let usage = sandbox.close().usage;
    let used = usage.cpu.expect("measured");
    assert!(
        used < Duration::from_millis(1500) && used > Duration::from_millis(100),
        "{usage:?}"
    );
}

fn others(subject: &Subject) {
    let limits = Limits::default;
    for wanted in [
        Limits {
            disk_bytes: Some(8 << 20),
            ..limits()
        },
        Limits {
            disk_bytes: Some(8 << 20),
            in_memory: true,
            memory_bytes: Some(256 << 20),
            ..limits()
        },
        Limits {
            inodes: Some(100),
            ..limits()
        },
    ] {
        let mut spec = subject.spec();
        spec.limits = wanted.clone();
        match subject.engine.open(&spec, &SandboxControl::default()) {
            Err(OpenError::Unsupported(_)) => {}
            Err(error) => panic!("{wanted:?} {error}"),
            Ok(sandbox) => {
                let line = "dd if=/dev/zero of=big bs=1048576 count=64 2>/dev/null && \
                            (i=0; while [ $i -lt 1000 ]; do : >f$i || exit 1; i=$((i+1)); done)";
                let ran = run(&*sandbox, line);
                assert_ne!(ran.report.ending, ExecEnding::Exited { code: 0 }, "{wanted:?}");
            }
        }
    }
}

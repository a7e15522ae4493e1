//! The life of a box and what is left of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::thread;

use gantry_adapters::engine::{BoxUser, ExecEnding, Mount, MountKind, SandboxControl, SandboxError};
use gantry_adapters::process;
use gantry_core::queue::build::Trouble;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Clause;
use crate::subject::Subject;
use crate::world::{passes, processes_naming, run, shell, wait_until};

pub const CLAUSES: &[Clause] = &[
    (
        "a box that ends under a command blames nobody and says that it is gone",
        ended,
    ),
    ("a frozen box stands still and goes on", freeze),
    ("closing tells what a box used and wrote", receipt),
    ("dropping a box ends it and leaves nothing", drop_removes),
    ("what is in a frozen box goes with it", drop_frozen),
    (
        "a box does not outlive its owner, and reaping leaves nothing",
        owner_killed,
    ),
    ("reaping leaves alone what belongs to the living", owner_lives),
    ("twenty boxes live at once", many),
];

fn freeze(subject: &Subject) {
    let host = subject.fresh("host");
    let sandbox = subject.open_with(|spec| {
        spec.mounts = vec![Mount {
            host: host.clone(),
            at: "/shared".into(),
            kind: MountKind::Shared,
        }];
    });
    passes(
        &*sandbox,
        "(while :; do echo >>/shared/ticks; usleep 10000 2>/dev/null || sleep 0.01; done) >/dev/null 2>&1 & true",
    );
    let ticks = || fs::metadata(host.join("ticks")).map_or(0, |metadata| metadata.len());
    wait_until("it ticks", || ticks() > 3);
    sandbox.freeze(true).expect("frozen");
    let stood = ticks();
    // Another box takes longer to make than many ticks.
    passes(&*subject.open(), "sleep 0.3");
    assert_eq!(ticks(), stood);
    sandbox.freeze(false).expect("thawed");
    wait_until("it goes on", || ticks() > stood);
    passes(&*sandbox, "true");
}

/// Kills the first process of the box in which something has this variable in its environment.
fn kill_first_process(variable: &str) {
    let text = variable.as_bytes();
    let processes = || fs::read_dir("/proc").expect("processes").flatten();
    let namespace = |at: &Path| fs::read_link(at.join("ns/pid")).ok();
    let marked = processes().find(|entry| {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|found| found == text)
    });
    let Some(of_box) = marked.and_then(|entry| namespace(&entry.path())) else {
        panic!("no box with {variable}");
    };
    for entry in processes() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let first = status
            .lines()
            .any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"));
        let name = entry.file_name();
        if let (true, true, Some(Ok(number))) = (
            first,
            namespace(&entry.path()).as_ref() == Some(&of_box),
            name.to_str().map(str::parse),
        ) {
            kill(Pid::from_raw(number), Signal::SIGKILL).expect("it is ours");
            return;
        }
    }
    panic!("the box with {variable} has no first process");
}

fn ended(subject: &Subject) {
    let mark = format!("{}-{}", subject.name, std::process::id());
    let sandbox = subject.open_with(|spec| spec.env = vec![("GANTRY_MARK".to_owned(), mark.clone())]);
    let mut end = |_: &[u8]| {
        kill_first_process(&format!("GANTRY_MARK={mark}"));
        Ok(())
    };
    let report = sandbox.exec(
        &shell("echo ready; sleep 7335"),
        &mut end,
        &SandboxControl::default(),
    );
    assert!(
        matches!(report.ending, ExecEnding::Trouble(Trouble::Interrupted, _)),
        "{report:?}"
    );
    let again = run(&*sandbox, "true").report;
    assert!(
        matches!(again.ending, ExecEnding::Trouble(Trouble::Interrupted, _)),
        "{again:?}"
    );
    let put = sandbox.put_file(Path::new("/tmp/x"), b"", 0o644);
    assert!(matches!(put, Err(SandboxError::Gone)), "{put:?}");
    let frozen = sandbox.freeze(true);
    assert!(matches!(frozen, Err(SandboxError::Gone)), "{frozen:?}");
    assert_eq!(sandbox.close().leftover, None);
}

fn receipt(subject: &Subject) {
    let sandbox = subject.open_with(|spec| spec.limits.processes = Some(100));
    passes(
        &*sandbox,
        "mkdir d; printf 12345 >d/new; printf 678 >/var/tmp/root; head -c 20000000 /dev/zero | sha256sum >/dev/null; echo said",
    );
    let receipt = sandbox.close();
    assert_eq!(receipt.engine, subject.name);
    assert!(!receipt.image.is_empty(), "{receipt:?}");
    assert!(
        !receipt.usage.wall.is_zero() && receipt.usage.cpu.is_some_and(|cpu| !cpu.is_zero()),
        "{receipt:?}"
    );
    assert!(
        receipt.usage.memory_peak_bytes.is_some_and(|peak| peak > 100_000),
        "{receipt:?}"
    );
    assert_eq!((receipt.usage.output_bytes, receipt.usage.oom_kills), (5, 0));
    for path in ["/box/workspace/d", "/box/workspace/d/new", "/var/tmp/root"] {
        assert!(receipt.files.paths.contains(&path.into()), "{path} {receipt:?}");
    }
    assert_eq!(receipt.files.paths.len(), 3, "{receipt:?}");
    assert_eq!(
        (receipt.files.changed_count, receipt.files.removed_count),
        (3, 0),
        "{receipt:?}"
    );
    assert!(receipt.files.bytes >= 8, "{receipt:?}");
    assert_eq!((receipt.limits.len(), receipt.leftover), (1, None));
}

fn drop_removes(subject: &Subject) {
    for user in [BoxUser::Plain, BoxUser::Root] {
        let sandbox = subject.open_with(|spec| spec.user = user);
        passes(
            &*sandbox,
            "setsid sleep 7331 >/dev/null 2>&1 & touch file /tmp/file",
        );
        drop(sandbox);
        wait_until("its processes are gone", || {
            processes_naming("sleep\x007331").is_empty()
        });
        subject.nothing_is_left();
    }
}

fn drop_frozen(subject: &Subject) {
    let sandbox = subject.open();
    passes(&*sandbox, "setsid sleep 7332 >/dev/null 2>&1 & true");
    sandbox.freeze(true).expect("frozen");
    assert_eq!(sandbox.close().leftover, None);
    wait_until("its processes are gone", || {
        processes_naming("sleep\x007332").is_empty()
    });
}

/// Starts another process with a box in which something sleeps.
fn owner(subject: &Subject, sleep: &str) -> (Child, BufReader<ChildStdout>) {
    let test = std::env::current_exe().expect("this program");
    let target = test.parent().and_then(Path::parent).expect("cargo's folder");
    let program = target.join("examples/sandbox_owner");
    assert!(
        program.is_file(),
        "build it first: cargo build -p gantry-adapters --examples"
    );
    let mut child = process::command(program)
        .args(&subject.owner)
        .arg(format!("touch file; setsid sleep {sleep} >/dev/null 2>&1 & true"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
    said.read_line(&mut line).expect("its word");
    assert_eq!(line, "open Exited { code: 0 }\n");
    wait_until("something sleeps in its box", || {
        !processes_naming(&format!("sleep\0{sleep}")).is_empty()
    });
    (child, said)
}

fn owner_killed(subject: &Subject) {
    let (mut child, _said) = owner(subject, "7333");
    child.kill().expect("killed");
    child.wait().expect("gone");
    wait_until("its box is gone though nobody reaps", || {
        processes_naming("sleep\x007333").is_empty()
    });
    assert_eq!(subject.engine.reap().expect("reaped"), 1);
    subject.nothing_is_left();
}

fn owner_lives(subject: &Subject) {
    let (mut child, _said) = owner(subject, "7334");
    assert_eq!(subject.engine.reap().expect("nothing to do"), 0);
    assert!(!processes_naming("sleep\x007334").is_empty());
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    assert!(processes_naming("sleep\x007334").is_empty());
}

fn many(subject: &Subject) {
    thread::scope(|scope| {
        let all: Vec<_> = (0..20)
            .map(|number| {
                scope.spawn(move || {
                    let sandbox = subject.open();
                    let text = passes(&*sandbox, &format!("echo {number} >n; sleep 0.2; cat n"));
                    assert_eq!(text, format!("{number}\n"));
                    sandbox.close().leftover
                })
            })
            .collect();
        for one in all {
            assert_eq!(one.join().expect("a box"), None);
        }
    });
}

//! How commands end.

use std::io;
use std::thread;
use std::time::Duration;

use gantry_adapters::engine::{ExecEnding, SandboxControl};
use gantry_core::queue::build::Trouble;

use crate::Clause;
use crate::subject::Subject;
use crate::world::{check, passes, run, run_spec, shell, wait_until};

pub const CLAUSES: &[Clause] = &[
    ("an exit code is the command's own", exit_codes),
    ("a signal is told from an exit code", signals),
    ("what is not there or cannot be executed ends with 127", not_there),
    (
        "a working directory that is not there blames nobody",
        no_directory,
    ),
    (
        "a command that runs into its limit is taken away with its session",
        timeout,
    ),
    ("a command that ignores the request to end is killed", stubborn),
    (
        "a command that is cancelled before it starts does not start",
        cancelled_before,
    ),
    ("a command that runs can be cancelled", cancelled),
    ("output that cannot be kept ends the command", refused_output),
    ("several commands run at once", concurrent),
    ("what a command leaves running outlives it", background),
];

fn exit_codes(subject: &Subject) {
    let sandbox = subject.open();
    for code in [0, 1, 3, 101, 126, 127, 128, 130, 137, 255] {
        check(&*sandbox, &format!("exit {code}"), &ExecEnding::Exited { code });
    }
}

fn signals(subject: &Subject) {
    let sandbox = subject.open();
    for (name, signal) in [("KILL", 9), ("SEGV", 11), ("TERM", 15), ("ABRT", 6)] {
        let ending = ExecEnding::Signalled { signal };
        check(&*sandbox, &format!("kill -{name} $$"), &ending);
    }
}

fn not_there(subject: &Subject) {
    let sandbox = subject.open();
    for program in ["no-such-program", "/no/such/program", "/etc/passwd"] {
        let mut spec = shell("");
        spec.command = vec![program.to_owned()];
        let ran = run_spec(&*sandbox, &spec);
        assert_eq!(
            ran.report.ending,
            ExecEnding::Exited { code: 127 },
            "{program} {}",
            ran.text()
        );
    }
}

fn no_directory(subject: &Subject) {
    let sandbox = subject.open();
    let mut spec = shell("echo ran");
    spec.directory = "/no/such/directory".into();
    let ran = run_spec(&*sandbox, &spec);
    assert!(
        matches!(ran.report.ending, ExecEnding::Trouble(Trouble::CouldNotStart, _)),
        "{ran:?}"
    );
    assert!(!ran.text().contains("ran"), "{ran:?}");
}

/// The processes of a box that carry this number in their arguments.
fn alive(subject: &dyn gantry_adapters::engine::Sandbox, number: &str) -> String {
    let line = format!(
        "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file 2>/dev/null | grep '^sleep {number}'; done; true"
    );
    passes(subject, &line)
}

fn timeout(subject: &Subject) {
    let sandbox = subject.open();
    let mut spec = shell("echo before; sleep 7301 & sleep 7301");
    spec.timeout = Duration::from_millis(700);
    let ran = run_spec(&*sandbox, &spec);
    assert_eq!(ran.report.ending, ExecEnding::TimedOut, "{ran:?}");
    assert_eq!(ran.text(), "before\n");
    assert!(ran.report.duration < Duration::from_secs(20), "{ran:?}");
    assert_eq!(alive(&*sandbox, "7301"), "");
}

fn stubborn(subject: &Subject) {
    let sandbox = subject.open();
    let mut spec = shell("trap '' TERM; sleep 7302; sleep 7302");
    spec.timeout = Duration::from_millis(300);
    let ran = run_spec(&*sandbox, &spec);
    assert_eq!(ran.report.ending, ExecEnding::TimedOut, "{ran:?}");
    assert!(ran.report.duration < Duration::from_secs(20), "{ran:?}");
    assert_eq!(alive(&*sandbox, "7302"), "");
    passes(&*sandbox, "true");
}

fn cancelled_before(subject: &Subject) {
    let sandbox = subject.open();
    let control = SandboxControl::default();
    control.cancel();
    let report = sandbox.exec(&shell("touch ran"), &mut |_: &[u8]| Ok(()), &control);
    assert_eq!(report.ending, ExecEnding::Cancelled);
    assert_eq!(passes(&*sandbox, "ls"), "");
    let refused = subject.engine.open(&subject.spec(), &control).map(|_| ());
    assert_eq!(refused, Err(gantry_adapters::engine::OpenError::Cancelled));
}

fn cancelled(subject: &Subject) {
    let sandbox = subject.open();
    let control = SandboxControl::default();
    let other = control.clone();
    let mut cancel_at_once = |_: &[u8]| {
        let other = other.clone();
        thread::spawn(move || other.cancel());
        Ok(())
    };
    let report = sandbox.exec(
        &shell("echo ready; sleep 7303 & sleep 7303"),
        &mut cancel_at_once,
        &control,
    );
    assert_eq!(report.ending, ExecEnding::Cancelled);
    assert!(report.duration < Duration::from_secs(20), "{report:?}");
    assert_eq!(alive(&*sandbox, "7303"), "");
}

fn refused_output(subject: &Subject) {
    let sandbox = subject.open();
    for (kind, trouble) in [
        (io::ErrorKind::StorageFull, Trouble::OutOfDisk),
        (io::ErrorKind::FileTooLarge, Trouble::TooMuchOutput),
        (io::ErrorKind::BrokenPipe, Trouble::Interrupted),
    ] {
        let mut refuse = |_: &[u8]| Err(kind.into());
        let line = shell("while echo more; do :; done");
        let report = sandbox.exec(&line, &mut refuse, &SandboxControl::default());
        assert!(
            matches!(&report.ending, ExecEnding::Trouble(found, _) if *found == trouble),
            "{report:?}"
        );
    }
}

fn concurrent(subject: &Subject) {
    let sandbox = subject.open();
    passes(&*sandbox, "mkfifo one two");
    let sandbox = &*sandbox;
    thread::scope(|scope| {
        // Each waits for the other, in both directions.
        let first = scope.spawn(|| passes(sandbox, "echo a >one; cat two"));
        let second = scope.spawn(|| passes(sandbox, "cat one; echo b >two"));
        assert_eq!(first.join().expect("ran"), "b\n");
        assert_eq!(second.join().expect("ran"), "a\n");
    });
}

fn background(subject: &Subject) {
    let sandbox = subject.open();
    let ran = run(
        &*sandbox,
        "(while :; do echo noise; sleep 0.1; done) & sleep 7304 & echo started",
    );
    assert_eq!(ran.report.ending, ExecEnding::Exited { code: 0 }, "{ran:?}");
    assert!(ran.report.duration < Duration::from_secs(20), "{ran:?}");
    assert!(ran.text().contains("started\n"), "{ran:?}");
    assert_eq!(alive(&*sandbox, "7304"), "sleep 7304 \n");
    assert!(sandbox.close().leftover.is_none());
    wait_until("it is gone with its box", || {
        crate::world::processes_naming("sleep\x007304").is_empty()
    });
}

//! How boxes end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{SandboxControl, SandboxEnding};
use gantry_core::limits::EVIDENCE_LINES_MAX;
use gantry_core::queue::build::Trouble;
use regex::bytes::Regex;

use crate::world::{PATIENCE, World, processes_naming, wait_until};

#[test]
fn a_check_that_passes_exits_with_zero() {
    let Some(world) = World::new() else { return };
    let report = world.check("cat README; echo err >&2", &SandboxEnding::Exited { code: 0 });
    assert_eq!(world.log(), "hello\nerr\n");
    assert_eq!(report.output_bytes, 10);
    assert!(report.evidence.is_empty() && !report.doomed && report.leftover.is_none());
}

#[test]
fn a_check_that_fails_gives_its_code_and_the_lines_that_matter() {
    let Some(world) = World::new() else { return };
    let line = "echo start; echo 'error: \x1b[31mbroken\x1b[0m'; seq 100; exit 3";
    let report = world.check(line, &SandboxEnding::Exited { code: 3 });
    assert_eq!(report.evidence.len(), EVIDENCE_LINES_MAX);
    assert_eq!(report.evidence[0], "error: broken");
    assert_eq!(report.evidence[EVIDENCE_LINES_MAX - 1], "100");
}

#[test]
fn a_command_that_is_not_there_is_the_changes_fault() {
    let Some(world) = World::new() else { return };
    for program in ["./ci.sh", "no-such-program", "./README"] {
        let mut spec = world.spec("");
        spec.command = vec![program.to_owned()];
        let report = world.run(&spec, &SandboxControl::default());
        assert_eq!(report.ending, SandboxEnding::Exited { code: 127 }, "{program}");
        assert!(
            report.evidence[0].starts_with("gantry: cannot start"),
            "{:?}",
            report.evidence
        );
    }
}

#[test]
fn a_signal_is_told_and_a_kill_from_outside_blames_nobody() {
    let Some(world) = World::new() else { return };
    world.check("kill -SEGV $$", &SandboxEnding::Signalled { signal: 11 });
    let report = world.run(&world.spec("kill -KILL $$"), &SandboxControl::default());
    assert!(
        matches!(report.ending, SandboxEnding::Trouble(Trouble::Killed, _)),
        "{:?}",
        report.ending
    );
}

#[test]
fn a_check_that_hangs_is_ended_with_everything_it_started() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("sleep 7531 & setsid sleep 7531 & trap '' TERM; sleep 7531; sleep 7531");
    spec.timeout = Duration::from_millis(300);
    let watch = Stopwatch::start();
    let report = world.run(&spec, &SandboxControl::default());
    assert_eq!(report.ending, SandboxEnding::TimedOut);
    assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());
    assert!(processes_naming(b"7531").is_empty());
}

#[test]
fn a_check_may_clean_up_when_its_time_is_over() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.01; done");
    spec.timeout = Duration::from_millis(300);
    let report = world.run(&spec, &SandboxControl::default());
    assert_eq!(report.ending, SandboxEnding::TimedOut);
    assert!(world.log().contains("cleaned"));
}

#[test]
fn a_cancel_ends_a_running_box_at_once() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("echo running; sleep 7532");
    spec.fail_fast = vec![Regex::new("running").expect("a pattern")];
    let control = SandboxControl::default();
    let watch = Stopwatch::start();
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&spec, &control));
        wait_until("the check runs", || control.is_doomed());
        control.cancel();
        run.join().expect("it ends")
    });
    assert_eq!(report.ending, SandboxEnding::Cancelled);
    assert!(watch.elapsed() < Duration::from_secs(10));
    assert!(processes_naming(b"7532").is_empty());
}

#[test]
fn a_cancel_before_the_start_makes_no_box() {
    let Some(world) = World::new() else { return };
    let control = SandboxControl::default();
    control.cancel();
    let report = world.run(&world.spec("echo ran"), &control);
    assert_eq!(report.ending, SandboxEnding::Cancelled);
    assert_eq!(world.log(), "");
}

#[test]
fn background_processes_are_gone_when_the_check_has_ended() {
    let Some(world) = World::new() else { return };
    let watch = Stopwatch::start();
    world.passes("setsid sleep 7533 & (sleep 7533 &) & for n in 1 2 3 4 5; do sleep 7533 & done; exit 0");
    assert!(
        watch.elapsed() < PATIENCE / 2,
        "a process that holds the output must not be waited for"
    );
    assert!(processes_naming(b"7533").is_empty());
}

#[test]
fn a_fork_bomb_stays_in_its_box() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("f() { f 7534 | f 7534 & }; f 7534; sleep 7534");
    spec.timeout = Duration::from_millis(500);
    let report = world.run(&spec, &SandboxControl::default());
    assert!(!report.ending.passed(), "{:?}", report.ending);
    wait_until("the bomb is gone", || processes_naming(b"7534").is_empty());
}

#[test]
fn a_long_log_keeps_both_ends() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("seq 100000");
    spec.output_bytes_max = 20_000;
    let report = world.run(&spec, &SandboxControl::default());
    assert_eq!(report.ending, SandboxEnding::Exited { code: 0 });
    assert_eq!(report.output_bytes, 588_895);
    let log = world.log();
    assert!(log.len() < 20_100 && log.starts_with("1\n2\n") && log.ends_with("\n100000\n"));
    assert!(log.contains("[gantry: 568895 bytes left out]"), "{log}");
}

#[test]
fn a_flood_of_output_is_trouble_and_ends() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("yes");
    spec.output_bytes_max = 100_000;
    let report = world.run(&spec, &SandboxControl::default());
    assert!(
        matches!(report.ending, SandboxEnding::Trouble(Trouble::TooMuchOutput, _)),
        "{:?}",
        report.ending
    );
    assert!(world.log().len() < 110_000);
}

#[test]
fn a_doomed_check_is_told_while_it_still_runs() {
    let Some(world) = World::new() else { return };
    let told = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&told);
    let control = SandboxControl::new(move || seen.store(true, Ordering::SeqCst));
    let mut spec = world.spec("echo 'test result: FAILED'; sleep 7535");
    spec.fail_fast = vec![Regex::new("(?m)FAILED$").expect("a pattern")];
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&spec, &control));
        wait_until("the owner is told", || told.load(Ordering::SeqCst));
        assert!(!run.is_finished());
        control.cancel();
        run.join().expect("it ends")
    });
    assert!(report.doomed);
    assert_eq!(report.evidence, ["test result: FAILED"]);
}

//! What is left when something dies.

use std::fs;
use std::thread;

use gantry_adapters::engine::{SandboxControl, SandboxEnding, SandboxEngine};
use gantry_core::queue::build::Trouble;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regex::bytes::Regex;

use crate::world::{World, processes_naming, wait_until};

/// Kills one of a running box's own processes and returns how the box ended.
fn kill_stage(world: &World, stage: &[u8], sleep: &str) -> SandboxEnding {
    let mut spec = world.spec(&format!("echo running; setsid sleep {sleep} & sleep {sleep}"));
    spec.fail_fast = vec![Regex::new("running").expect("a pattern")];
    let control = SandboxControl::default();
    let ending = thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&spec, &control).ending);
        wait_until("the check runs", || control.is_doomed());
        let boxes = world.path("data/boxes");
        let mut arguments = stage.to_vec();
        arguments.push(0);
        arguments.extend_from_slice(boxes.to_str().expect("text").as_bytes());
        let found = processes_naming(&arguments);
        assert_eq!(found.len(), 1, "{stage:?}");
        kill(Pid::from_raw(found[0]), Signal::SIGKILL).expect("it is ours");
        run.join().expect("it ends")
    });
    wait_until("everything is gone", || {
        processes_naming(sleep.as_bytes()).is_empty()
    });
    world.nothing_is_left();
    ending
}

#[test]
fn a_killed_pid_one_takes_its_box_along() {
    let Some(world) = World::new() else { return };
    let ending = kill_stage(&world, b"init", "7542");
    assert!(
        matches!(ending, SandboxEnding::Trouble(Trouble::Interrupted, _)),
        "{ending:?}"
    );
}

#[test]
fn whatever_a_check_leaves_in_its_workspace_is_removed() {
    let Some(world) = World::new() else { return };
    world.passes(
        "mkdir -p a/b/c && touch a/b/c/d && chmod 000 a/b/c a/b a; ln -s /etc out; ln -s / root; mkfifo pipe; \
         python3 -c \"import os\nfor n in range(3000): os.mkdir('deep-directory'); os.chdir('deep-directory')\"; \
         mkdir $HOME/x && chmod 500 $HOME/x",
    );
}

#[test]
fn a_folder_of_an_earlier_daemon_is_reaped() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.engine.reap().expect("nothing to do"), 0);
    let left = world.path("data/boxes/B9-test.1/workspace/a");
    fs::create_dir_all(&left).expect("a folder");
    std::os::unix::fs::symlink("/etc", left.join("out")).expect("a link");
    fs::write(world.path("data/boxes/stray"), "x").expect("a file");
    assert_eq!(world.engine.reap().expect("reaped"), 2);
    assert!(fs::exists("/etc/passwd").expect("the system's"));
    world.nothing_is_left();
}

#[test]
fn a_running_box_is_not_reaped() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("echo running; while [ ! -e stop ]; do sleep 0.01; done; echo done");
    spec.fail_fast = vec![Regex::new("running").expect("a pattern")];
    let control = SandboxControl::default();
    let ending = thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&spec, &control).ending);
        wait_until("the check runs", || control.is_doomed());
        assert_eq!(world.engine.reap().expect("nothing to do"), 0);
        let boxes = fs::read_dir(world.path("data/boxes"))
            .expect("the boxes")
            .flatten();
        for entry in boxes.filter(|entry| entry.file_name() != ".warm") {
            fs::write(entry.path().join("upper/stop"), "").expect("its workspace");
        }
        run.join().expect("it ends")
    });
    assert_eq!(ending, SandboxEnding::Exited { code: 0 });
}

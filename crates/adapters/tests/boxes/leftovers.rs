//! What is left when something dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{ExecEnding, SandboxControl, SandboxEnding, SandboxEngine};
use gantry_core::queue::build::Trouble;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regex::bytes::Regex;

use crate::world::{World, command, line_spec, processes_naming, wait_until};

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
    let sandbox = world.open(&world.sandbox_spec());
    let mut told = false;
    let spec =
        line_spec("cd /box/workspace; echo running; while [ ! -e stop ]; do sleep 0.01; done; echo done");
    let report = sandbox.exec(
        &spec,
        &mut |_| {
            if !told {
                told = true;
                assert_eq!(world.engine.reap().expect("nothing to do"), 0);
                let stop = Path::new("/box/workspace/stop");
                sandbox.put_file(stop, b"", 0o644).expect("its workspace");
            }
            Ok(())
        },
        &SandboxControl::default(),
    );
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 });
    assert_eq!(sandbox.close().leftover, None);
}

/// A daemon with a box is killed after each of these times: from before it has begun to well after it has ended.
const KILLS: u64 = 50;

#[test]
fn a_daemon_killed_at_any_time_leaves_nothing() {
    let Some(world) = World::new() else { return };
    let text = |name: &str| world.path(name).to_str().expect("text").to_owned();
    let (mut before, mut after) = (0, 0);
    let mut daemons = Vec::new();
    for number in 0..KILLS {
        // Nobody else on the host sleeps for just so long, another run of this test neither.
        let sleep = format!("{}{}", 700 + number, std::process::id());
        let mut child = command(crate::world::entry().to_str().expect("text"))
            .arg("run")
            .args([
                text("data/boxes"),
                text("daemon-log"),
                text("repo.git"),
                world.commit.to_string(),
            ])
            .arg(format!(
                "setsid sleep {sleep} & mkdir -p a/b; chmod 000 a; echo x >f; sleep 0.05"
            ))
            .stdout(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        daemons.push(format!("daemon.{}-", child.id()));
        // Spread over twice the time a whole run takes; the order is the same in every run of the test.
        let wait = Duration::from_micros((number * 17 % KILLS) * 8_000);
        let watch = Stopwatch::start();
        wait_until("its time has come", || watch.elapsed() >= wait);
        match child.try_wait().expect("it is ours") {
            Some(_) => after += 1,
            None => before += 1,
        }
        // One that has ended cannot be killed.
        let _ = child.kill();
        child.wait().expect("it ends");
        wait_until("everything of the box is gone", || {
            processes_naming(sleep.as_bytes()).is_empty()
                && processes_naming(text("data/boxes").as_bytes()).is_empty()
        });
        world.engine.reap().expect("reaped");
        world.nothing_is_left();
    }
    assert!(
        before > 5,
        "only {before} were killed while they ran, {after} not"
    );
    let boxes = fs::read_dir(world.path("data/boxes")).expect("the boxes");
    let boxes: Vec<_> = boxes
        .flatten()
        .filter(|entry| entry.file_name() != ".warm")
        .collect();
    assert!(boxes.is_empty(), "{boxes:?}");
    let left = walk_groups(Path::new("/sys/fs/cgroup"), &daemons);
    assert!(left.is_empty(), "groups are left: {left:?}");
}

/// Returns the groups whose names begin with one of these.
fn walk_groups(at: &Path, beginnings: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if beginnings.iter().any(|beginning| name.starts_with(beginning)) {
            found.push(path.clone());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk_groups(&path, beginnings));
        }
    }
    found
}

#[test]
fn two_daemons_share_one_scratch_directory() {
    let Some(world) = World::new() else { return };
    let text = |name: &str| world.path(name).to_str().expect("text").to_owned();
    let start = |number: u32| {
        command(crate::world::entry().to_str().expect("text"))
            .arg("run")
            .args([
                text("data/boxes"),
                text(&format!("log-{number}")),
                text("repo.git"),
                world.commit.to_string(),
            ])
            .arg(format!(
                "cat README; echo {number} >mine; sleep 0.3; cat mine; git status --porcelain"
            ))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a daemon starts")
    };
    // Both make the first warm checkout, or one finds the other's; a third clears up all the while.
    let daemons: Vec<_> = (1..=6).map(|number| (number, start(number))).collect();
    for _ in 0..20 {
        world.engine.reap().expect("nothing of the living");
    }
    for (number, daemon) in daemons {
        let output = daemon.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("Exited { code: 0 }"), "{said}");
        let log = fs::read_to_string(world.path(&format!("log-{number}"))).expect("its log");
        assert_eq!(log, format!("hello\n{number}\n?? mine\n"));
    }
    world.nothing_is_left();
}

//! A daemon with one box: as a plain user, killed, and without disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use gantry_adapters::engine::SandboxEngine;
use nix::unistd::geteuid;

use crate::world::{World, command, entry, processes_naming, wait_until};

/// The user nobody, who owns nothing.
pub const NOBODY: u32 = 65534;

/// Adds the arguments that make the daemon run one line in a box.
fn run_line(world: &World, daemon: &mut Command, line: &str) -> String {
    let text = |name: &str| world.path(name).to_str().expect("text").to_owned();
    let output = daemon
        .arg("run")
        .args([
            text("data/boxes"),
            text("daemon-log"),
            text("repo.git"),
            world.commit.to_string(),
        ])
        .arg(line)
        .output()
        .expect("the daemon runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Returns a command that runs the daemon as a user without any right.
pub fn plain_daemon(world: &World) -> Command {
    if !geteuid().is_root() {
        return command(entry().to_str().expect("text"));
    }
    let open = |name: &str, mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(world.path(name), permissions).expect("its mode");
    };
    // Copied by another process: a file this one has open for writing might be inherited by a test's child
    // in another thread, and could not be executed while that lives.
    let copied = command("cp").arg(entry()).arg(world.path("entry")).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp");
    fs::create_dir_all(world.path("data")).expect("a folder");
    chown(world.path("data"), Some(NOBODY), Some(NOBODY)).expect("its owner");
    fs::write(world.path("daemon-log"), "").expect("a log");
    chown(world.path("daemon-log"), Some(NOBODY), Some(NOBODY)).expect("its owner");
    for (name, mode) in [("", 0o755), ("entry", 0o755)] {
        open(name, mode);
    }
    let mut daemon = command("setpriv");
    daemon.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    daemon.arg(world.path("entry"));
    daemon
}

#[test]
fn a_plain_user_can_make_boxes() {
    let Some(world) = World::new() else { return };
    let mut daemon = plain_daemon(&world);
    let line = "cat README; id -u; id -G; touch new; git status --porcelain; cat /proc/net/route | wc -l; \
                touch /usr/x /etc/x /x 2>/dev/null && echo WROTE; \
                grep CapEff /proc/self/status; ls -A /root 2>/dev/null; \
                unshare -Urm mount -o remount,rw,bind / 2>/dev/null && echo REMOUNTED; \
                ls -d /proc/[0-9]* | wc -l; mkdir -p a/b && touch a/b/c && chmod 000 a/b";
    let said = run_line(&world, &mut daemon, line);
    assert!(said.starts_with("Exited { code: 0 }"), "{said}");
    let log = fs::read_to_string(world.path("daemon-log")).expect("the log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[..2], ["hello", "1000"], "{log}");
    assert!(
        lines.contains(&"?? new") && lines.contains(&"CapEff:\t0000000000000000"),
        "{log}"
    );
    assert!(
        !log.contains("WROTE") && !log.contains("REMOUNTED") && !log.contains(".bashrc"),
        "{log}"
    );
}

#[test]
fn a_plain_users_boxes_are_ended_whole() {
    let Some(world) = World::new() else { return };
    let mut daemon = plain_daemon(&world);
    let said = run_line(&world, &mut daemon, "setsid sleep 7551 & sleep 7551 & exit 4");
    assert!(said.starts_with("Exited { code: 4 }"), "{said}");
    assert!(processes_naming(b"7551").iter().all(|_| false));
}

fn kill_daemon(world: &World, daemon: &mut Command, sleep: &str) {
    let text = |name: &str| world.path(name).to_str().expect("text").to_owned();
    let mut child = daemon
        .arg("run")
        .args([
            text("data/boxes"),
            text("daemon-log"),
            text("repo.git"),
            world.commit.to_string(),
        ])
        .arg(format!(
            "setsid sleep {sleep} & (sleep {sleep} &) & echo running; sleep {sleep}"
        ))
        .stdout(Stdio::null())
        .spawn()
        .expect("the daemon starts");
    let log = world.path("daemon-log");
    wait_until("the check runs", || {
        fs::read(&log).is_ok_and(|log| log == b"running\n")
    });
    child.kill().expect("it is ours");
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(9));
    let watch = gantry_adapters::clock::Stopwatch::start();
    wait_until("everything of the box is gone", || {
        processes_naming(sleep.as_bytes()).is_empty()
    });
    assert!(watch.elapsed().as_millis() < 1000, "{:?}", watch.elapsed());
    let folders = fs::read_dir(world.path("data/boxes"))
        .expect("the boxes")
        .flatten();
    assert_eq!(folders.filter(|entry| entry.file_name() != ".warm").count(), 1);
    assert_eq!(world.engine.reap().expect("reaped"), 1);
    world.nothing_is_left();
}

#[test]
fn a_killed_daemon_leaves_no_process_and_its_folder_is_reaped() {
    let Some(world) = World::new() else { return };
    let mut daemon = command(entry().to_str().expect("text"));
    kill_daemon(&world, &mut daemon, "7552");
}

#[test]
fn a_plain_users_killed_daemon_leaves_no_process_either() {
    let Some(world) = World::new() else { return };
    let mut daemon = plain_daemon(&world);
    kill_daemon(&world, &mut daemon, "7553");
}

#[test]
fn a_process_that_outlived_its_daemon_is_reaped() {
    let Some(world) = World::new() else { return };
    let folder = world.path("data/boxes/B1-test.7");
    fs::create_dir_all(folder.join("root")).expect("a folder");
    // It waits for a word that never comes: this end of the pipe stays open.
    let mut stuck = command(entry().to_str().expect("text"))
        .args([
            "__sandbox",
            "supervise",
            folder.to_str().expect("text"),
            "plain",
            "box",
            "own",
            "0",
            "0",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut argument = b"supervise\0".to_vec();
    argument.extend_from_slice(folder.to_str().expect("text").as_bytes());
    wait_until("its pid 1 runs", || !processes_naming(&argument).is_empty());
    assert_eq!(world.engine.reap().expect("reaped"), 1);
    assert_eq!(stuck.wait().expect("it ended").signal(), Some(9));
    world.nothing_is_left();
}

/// Runs the daemon with its boxes on a small file system of its own.
fn on_small_disk(world: &World, line: &str) -> String {
    let boxes = world.path("data");
    fs::create_dir_all(&boxes).expect("a folder");
    let mut daemon = command("unshare");
    daemon.args(if geteuid().is_root() {
        ["-m"].as_slice()
    } else {
        ["-Urm"].as_slice()
    });
    let shell = "mount -t tmpfs -o size=16m small \"$1\" && shift && exec \"$@\"";
    daemon.args(["sh", "-c", shell, "sh"]).arg(boxes).arg(entry());
    run_line(world, &mut daemon, line)
}

#[test]
fn a_check_that_fails_on_a_full_disk_blames_nobody() {
    let Some(world) = World::new() else { return };
    let said = on_small_disk(&world, "head -c 100000000 /dev/zero > big || exit 1");
    assert!(said.starts_with("Trouble(OutOfDisk"), "{said}");
    let said = on_small_disk(&world, "exit 1");
    assert!(said.starts_with("Exited { code: 1 }"), "{said}");
}

#[test]
fn a_workspace_that_does_not_fit_the_disk_blames_nobody() {
    let content = vec![b'x'; 20_000_000];
    let Some(world) = World::with(&[(b"big", "100644", &content)]) else {
        return;
    };
    let said = on_small_disk(&world, "exit 0");
    assert!(said.starts_with("Trouble(OutOfDisk"), "{said}");
}

#[test]
fn files_that_the_daemons_parent_left_open_are_not_in_the_box() {
    let Some(world) = World::new() else { return };
    let mut daemon = command("sh");
    daemon
        .args(["-c", "umask 077; exec \"$@\" 9</etc/hostname", "sh"])
        .arg(entry());
    let line = "ls /proc/self/fd | tr '\\n' ' '; umask; stat -c %a README";
    let said = run_line(&world, &mut daemon, line);
    assert!(said.starts_with("Exited { code: 0 }"), "{said}");
    let log = fs::read_to_string(world.path("daemon-log")).expect("the log");
    assert_eq!(log, "0 1 2 3 0022\n644\n");
}

#[test]
fn a_host_that_allows_no_namespaces_is_told_apart_with_the_mending_command() {
    let Some(world) = World::new() else { return };
    let shell = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let output = command("unshare")
        .args(["-Ur", "sh", "-c", shell, "sh"])
        .arg(entry())
        .arg("probe")
        .arg(world.path("data/boxes"))
        .output()
        .expect("the daemon runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = "the native engine cannot make boxes here: cannot make namespaces: ENOSPC: \
        No space left on device; run: sudo sysctl -w user.max_user_namespaces=15000\n";
    assert_eq!(said, expected);
}

//! A data directory on a small disk that runs full: clear errors, nothing lost, and work goes on when there is room.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::factory::{Factory, text, wait_for};

/// A small disk of its own, as long as it lives.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Mounts one, or says loudly that it cannot be done here.
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs"])
            .arg(folder.path())
            .output()
            .expect("mount starts");
        if !mounted.status.success() {
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Self { folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes until nothing more goes in.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.folder.path().join("ballast")).expect("made");
        let block = vec![1; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..512]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.folder.path().join("ballast")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn on_a_full_disk_offers_are_refused_with_the_reason_and_go_through_later() {
    let Some(disk) = Disk::new("16m") else { return };
    let Some(mut factory) = Factory::new() else { return };
    factory.keep_data_in(disk.data());
    factory.repo.branch("before", &[("a", "a\n")]);
    factory.repo.branch("after", &[("b", "b\n")]);
    factory.up();
    let before = factory.offer("before");
    factory.landed(&[&before]);
    disk.fill();
    // What the database has set aside is used up first.
    let mut offers = 0;
    let refused = loop {
        let ran = factory.run(&[
            "queue",
            "add",
            "after",
            "--title",
            &format!("{offers}{}", "x".repeat(190)),
        ]);
        if ran.code != 0 {
            break ran;
        }
        offers += 1;
        assert!(offers < 5_000, "the disk is never full");
    };
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(refused.err.contains("full"), "{refused:?}");
    assert_eq!(factory.run(&["status"]).code, 0, "it lives");
    assert_eq!(factory.state(&before), "landed");
    disk.make_room();
    let after = factory.offer("after");
    factory.landed(&[&after]);
    factory.proven();
}

#[test]
fn a_disk_that_runs_full_during_a_check_blames_nobody_and_loses_nothing() {
    let Some(disk) = Disk::new("16m") else { return };
    let Some(mut factory) = Factory::new() else { return };
    factory.keep_data_in(disk.data());
    factory.repo.branch("slow", &[("wait", "full")]);
    factory.repo.branch("next", &[("next", "n\n")]);
    factory.up();
    let slow = factory.offer("slow");
    factory.until_reason(&slow, "testing");
    let next = factory.offer("next");
    disk.fill();
    factory.open("full");
    wait_for("the disk is named", || {
        let obstacle = factory.ask(&["status"])["repositories"][0]["obstacle"].clone();
        obstacle["code"] == "host" && text(&obstacle["next_action"]).contains("disk")
    });
    assert_ne!(factory.state(&slow), "bounced");
    disk.make_room();
    factory.landed(&[&slow, &next]);
    factory.proven();
}

#[test]
fn a_daemon_that_is_killed_on_a_full_disk_starts_when_there_is_room() {
    let Some(disk) = Disk::new("16m") else { return };
    let Some(mut factory) = Factory::new() else { return };
    factory.keep_data_in(disk.data());
    factory.repo.branch("slow", &[("wait", "full")]);
    factory.up();
    let slow = factory.offer("slow");
    factory.until_reason(&slow, "testing");
    disk.fill();
    factory.kill();
    disk.make_room();
    factory.open("full");
    factory.up_with(&[]);
    factory.landed(&[&slow]);
    factory.proven();
}

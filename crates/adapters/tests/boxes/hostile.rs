//! The hostile box: everything it tries, and what comes of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{BoxUser, ExecEnding, Limits, SandboxControl};
use gantry_core::queue::build::Trouble;
use nix::unistd::geteuid;

use crate::world::{World, exec, line_spec, passes, processes_naming, sh};

const MEBIBYTE: u64 = 1024 * 1024;

#[test]
fn it_cannot_mount_load_or_reach_the_kernel_and_sees_no_other_process() {
    let Some(world) = World::new() else { return };
    let sandbox = world.open(&world.sandbox_spec());
    for line in [
        "mount -t tmpfs x /tmp",
        "umount /tmp",
        "mount -o remount,rw /usr",
        "touch /usr/x",
        "echo x >/proc/sysrq-trigger",
        "echo 1 >/proc/sys/kernel/panic",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "ls /box/.proc/all",
        "cat /etc/shadow | grep -q .",
        "ls /proc/1/root/",
        "cat /proc/1/environ",
        "kill -9 1 && sleep 0.1 && ! kill -0 1",
        "mknod /tmp/disk b 254 0",
        "ls /dev/vda /dev/mem /dev/kmsg",
        "dmesg",
        "unshare -Urm mount -o remount,rw,bind /usr",
        "unshare -Urm umount /etc/passwd",
        "unshare -Ur mknod /tmp/disk b 254 0",
        "unshare -Ur chroot /proc/1/root true",
        "nsenter -t 1 -m true",
    ] {
        let (report, said) = sh(sandbox.as_ref(), line);
        assert_ne!(report.ending, ExecEnding::Exited { code: 0 }, "{line}\n{said}");
    }
    let calls = "python3 - <<'E'\n\
        import ctypes, errno\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        for call in (321, 246, 175, 313, 298, 250, 248, 304, 425, 323, 0x40000000 + 321):\n\
        \x20   ctypes.set_errno(0); r = libc.syscall(call, 0, 0, 0, 0, 0)\n\
        \x20   print(call, r, errno.errorcode[ctypes.get_errno()])\n\
        E\n";
    let said = passes(sandbox.as_ref(), calls);
    assert!(
        said.lines().all(|line| line.ends_with("-1 EPERM")) && said.lines().count() == 11,
        "{said}"
    );
    let said = passes(
        sandbox.as_ref(),
        "ls -d /proc/[0-9]* | wc -l; cat /proc/self/cgroup; cat /proc/sys/kernel/hostname",
    );
    assert!(
        said.starts_with(['2', '3', '4']) && !said.contains("gantry/"),
        "{said}"
    );
    assert_eq!(sandbox.close().leftover, None);
    world.nothing_is_left();
}

#[test]
fn it_cannot_write_to_the_program_that_starts_it() {
    let Some(world) = World::new() else { return };
    let entry = crate::world::entry();
    let before = fs::metadata(&entry).expect("the program");
    let sandbox = world.open(&world.sandbox_spec());
    let mut spec = line_spec("");
    spec.command = vec![
        "/proc/self/exe".to_owned(),
        "__sandbox".to_owned(),
        "no".to_owned(),
    ];
    let (report, _) = exec(sandbox.as_ref(), &spec, &SandboxControl::default());
    assert!(
        !matches!(report.ending, ExecEnding::Exited { code: 0 }),
        "{:?}",
        report.ending
    );
    let (report, said) = sh(
        sandbox.as_ref(),
        "for p in /proc/[0-9]*; do echo x >> $p/exe; done 2>&1; true",
    );
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 }, "{said}");
    drop(sandbox);
    let after = fs::metadata(&entry).expect("the program");
    assert_eq!((before.len(), before.mtime()), (after.len(), after.mtime()));
}

#[test]
fn it_cannot_outlive_its_end() {
    let Some(world) = World::new() else { return };
    let sandbox = world.open(&world.sandbox_spec());
    let line = "(setsid sh -c 'trap \"\" TERM HUP INT; sleep 7561' &); setsid sleep 7561 & \
                (sleep 7561; sleep 7561) & kill -STOP $! ; python3 -c 'import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: os.execvp(\"sleep\", [\"sleep\", \"7561\"])'; \
                kill -STOP 1 2>/dev/null; sleep 0.2; echo left";
    assert_eq!(passes(sandbox.as_ref(), line), "left\n");
    assert!(!processes_naming(b"7561").is_empty());
    let watch = Stopwatch::start();
    assert_eq!(sandbox.close().leftover, None);
    assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
    assert!(processes_naming(b"7561").is_empty());
    world.nothing_is_left();
}

#[test]
fn it_cannot_take_more_memory_than_its_limit() {
    let Some(world) = World::new() else { return };
    if !geteuid().is_root() {
        return;
    }
    let mut spec = world.sandbox_spec();
    spec.limits = Limits {
        memory_bytes: Some(64 * MEBIBYTE),
        ..Limits::default()
    };
    let sandbox = world.open(&spec);
    let (report, said) = sh(sandbox.as_ref(), "python3 -c 'b = bytearray(300 << 20)'");
    assert_eq!(report.ending, ExecEnding::OutOfMemory, "{said}");
    let (report, said) = sh(sandbox.as_ref(), "head -c 300000000 /dev/zero >/dev/shm/big");
    assert!(!matches!(report.ending, ExecEnding::Exited { code: 0 }), "{said}");
    passes(sandbox.as_ref(), "rm -f /dev/shm/big; echo fine");
    let receipt = sandbox.close();
    assert!(
        receipt.usage.oom_kills > 0 && receipt.usage.memory_peak_bytes <= Some(65 * MEBIBYTE),
        "{receipt:?}"
    );
    assert!(
        receipt.usage.cpu.is_some() && receipt.limits[0].starts_with("memory 67108864"),
        "{receipt:?}"
    );
    world.nothing_is_left();
}

#[test]
fn it_cannot_have_more_processes_than_its_limit() {
    let Some(world) = World::new() else { return };
    let mut spec = world.sandbox_spec();
    spec.limits.processes = Some(20);
    let sandbox = world.open(&spec);
    let line = "for n in $(seq 60); do sleep 7562 & done; wait";
    let (report, said) = sh(sandbox.as_ref(), line);
    assert_ne!(report.ending, ExecEnding::Exited { code: 0 }, "{said}");
    assert!(processes_naming(b"7562").len() <= 20);
    drop(sandbox);
    world.nothing_is_left();
}

#[test]
fn it_cannot_fill_memory_or_disk_with_files() {
    let Some(world) = World::new() else { return };
    let mut spec = world.sandbox_spec();
    spec.limits.in_memory = true;
    spec.limits.disk_bytes = Some(16 * MEBIBYTE);
    spec.limits.inodes = Some(500);
    let sandbox = world.open(&spec);
    let (_, said) = sh(
        sandbox.as_ref(),
        "head -c 100000000 /dev/zero >/box/workspace/big; stat -c %s /box/workspace/big; rm /box/workspace/big",
    );
    assert!(said.contains("No space left"), "{said}");
    let (_, said) = sh(
        sandbox.as_ref(),
        "cd /box/workspace && for n in $(seq 600); do echo >f$n || break; done; ls | wc -l",
    );
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(sandbox.close().leftover, None);
    spec.limits.in_memory = false;
    let sandbox = world.open(&spec);
    let (report, said) = sh(
        sandbox.as_ref(),
        "head -c 400000000 /dev/zero >/box/workspace/big; sleep 20",
    );
    assert!(
        matches!(report.ending, ExecEnding::Trouble(Trouble::OutOfDisk, _)),
        "{:?} {said}",
        report.ending
    );
    assert_eq!(sandbox.close().leftover, None);
    world.nothing_is_left();
}

#[test]
fn an_agents_own_sandbox_works_inside() {
    let Some(world) = World::new() else { return };
    if crate::world::command("bwrap").arg("--version").output().is_err() {
        eprintln!("skipped: bubblewrap is not installed here");
        return;
    }
    let sandbox = world.open(&world.sandbox_spec());
    let line = "cd /box/workspace && bwrap --ro-bind / / --bind /box/workspace /box/workspace --dev /dev --proc /proc \
                --unshare-all --die-with-parent sh -c 'touch inside; touch /box/home/no; ls /proc | grep -c ^[0-9]' 2>/dev/null; ls";
    let said = passes(sandbox.as_ref(), line);
    assert!(said.ends_with("\nREADME\ninside\n"), "{said}");
    // Only its own processes are in the table it mounted.
    let processes = said.lines().next().and_then(|line| line.parse::<u32>().ok());
    assert!(processes.is_some_and(|count| count <= 5), "{said}");
}

#[test]
fn root_of_a_box_is_nobody_outside() {
    let Some(world) = World::new() else { return };
    let shared = world.path("shared");
    fs::create_dir(&shared).expect("a folder");
    let mut spec = world.sandbox_spec();
    spec.user = BoxUser::Root;
    spec.mounts.push(gantry_adapters::engine::Mount {
        host: shared.clone(),
        at: "/shared".into(),
        kind: gantry_adapters::engine::MountKind::Shared,
    });
    let sandbox = world.open(&spec);
    let said = passes(
        sandbox.as_ref(),
        "id -u; touch /shared/mine /new /etc/new && echo wrote; git -C /box/workspace status --porcelain",
    );
    assert_eq!(said, "0\nwrote\n");
    for line in [
        "mount -t tmpfs x /mnt",
        "touch /usr/bin/env",
        "chroot /proc/1/root true",
        "mknod /d b 254 0",
        "date -s 2001-01-01",
        "hostname x",
    ] {
        let (report, said) = sh(sandbox.as_ref(), line);
        assert_ne!(report.ending, ExecEnding::Exited { code: 0 }, "{line}\n{said}");
    }
    passes(
        sandbox.as_ref(),
        "mkdir /shared/d && touch /shared/d/f && chmod 000 /shared/d",
    );
    drop(sandbox);
    let owner = fs::metadata(shared.join("mine")).expect("its file").uid();
    let expected = if geteuid().is_root() {
        1_900_000_000
    } else {
        geteuid().as_raw()
    };
    assert_eq!(owner, expected);
    assert!(!fs::exists("/etc/new").expect("the host's"));
    world.nothing_is_left();
}

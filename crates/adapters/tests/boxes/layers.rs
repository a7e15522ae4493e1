//! Boxes whose root is made of an image's layers, as a root daemon and as a plain user.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{BoxUser, ExecEnding, Image, RootLayer, SandboxSpec};
use nix::unistd::geteuid;

use crate::daemon::{NOBODY, plain_daemon};
use crate::world::{World, command, passes, sh};

/// Root of a box on the host, for a root daemon.
const ROOT: u32 = 1_900_000_000;

/// Makes a layer of busybox, or nothing where there is no static one.
fn busybox(world: &World) -> Option<PathBuf> {
    let found = ["/usr/bin/busybox", "/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).is_file());
    let Some(busybox) = found else {
        eprintln!("skipped: no busybox here; apt-get install busybox-static");
        return None;
    };
    let layer = world.path("layer");
    for folder in ["bin", "etc", "usr/share", "root", "var/tmp", "home/u"] {
        fs::create_dir_all(layer.join(folder)).expect("a folder");
    }
    fs::copy(busybox, layer.join("bin/busybox")).expect("busybox");
    let names = command(busybox).arg("--list").output().expect("its names");
    for name in String::from_utf8_lossy(&names.stdout).lines() {
        if name != "busybox" {
            std::os::unix::fs::symlink("busybox", layer.join("bin").join(name)).expect("a link");
        }
    }
    let files = [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nu:x:1234:1234:u:/home/u:/bin/sh\n",
        ),
        ("etc/group", "root:x:0:\nu:x:1234:\n"),
        ("etc/settings", "as the image has it\n"),
        ("usr/share/gone", "a file to be deleted\n"),
    ];
    for (path, text) in files {
        fs::write(layer.join(path), text).expect("a file");
    }
    // A link of an image leads nowhere outside of the box.
    std::os::unix::fs::symlink("/proc/1/root/etc/passwd", layer.join("etc/out")).expect("a link");
    fs::create_dir(layer.join("usr/share/old")).expect("a folder");
    fs::write(layer.join("usr/share/old/below"), "x").expect("a file");
    if geteuid().is_root() {
        give(&layer, ROOT);
        lchown(layer.join("home/u"), Some(ROOT + 1234), Some(ROOT + 1234)).expect("its owner");
    }
    open_to_all(&layer);
    Some(layer)
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn give(at: &Path, owner: u32) {
    lchown(at, Some(owner), Some(owner)).expect("its owner");
    if fs::symlink_metadata(at).expect("it is there").is_dir() {
        for entry in fs::read_dir(at).expect("a folder").flatten() {
            give(&entry.path(), owner);
        }
    }
}

fn spec_on(world: &World, layers: &[&Path], user: BoxUser) -> SandboxSpec {
    let layers = layers.iter().map(|path| RootLayer(path.to_path_buf())).collect();
    SandboxSpec {
        image: Image::Layers {
            digest: "sha256:00".to_owned(),
            layers,
            env: vec![
                ("OF_IMAGE".to_owned(), "yes".to_owned()),
                ("BOTH".to_owned(), "image".to_owned()),
            ],
        },
        env: vec![("BOTH".to_owned(), "box".to_owned())],
        user,
        ..world.sandbox_spec()
    }
}

/// Keeps what a box changed, as an image store would.
fn keep(world: &World, upper: &Path) -> PathBuf {
    let kept = world.path("captured");
    let copied = command("cp").arg("-a").arg(upper).arg(&kept).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp");
    kept
}

#[test]
fn root_of_a_box_builds_on_an_image_and_the_next_box_stands_on_it() {
    let Some(world) = World::new() else { return };
    let Some(layer) = busybox(&world) else { return };
    let sandbox = world.open(&spec_on(&world, &[&layer], BoxUser::Root));
    let said = passes(
        sandbox.as_ref(),
        "id -u; echo $OF_IMAGE $BOTH $HOME; cat /box/workspace/README /etc/settings; \
         echo new >/usr/share/new && echo changed >/etc/settings && echo more >>/etc/passwd && \
         rm /usr/share/gone && rm -r /usr/share/old && mkdir /usr/share/old && touch /usr/share/old/fresh && \
         mkdir /srv && mv /usr/share/new /srv/moved && chown 33:33 /srv/moved && \
         ! cat /etc/out 2>/dev/null && ls /usr/share",
    );
    let expected = "0\nyes box /root\nhello\nas the image has it\n";
    assert!(said.starts_with(expected) && said.ends_with("\nold\n"), "{said}");
    let upper = sandbox.changed_root().expect("a layer of its own");
    let owner = |path: &str| fs::symlink_metadata(upper.join(path)).map(|found| found.uid());
    let root = if geteuid().is_root() {
        ROOT
    } else {
        geteuid().as_raw()
    };
    for path in [
        "",
        "etc/settings",
        "usr",
        "usr/share/old",
        "usr/share/old/fresh",
        "srv",
    ] {
        assert_eq!(owner(path).expect(path), root, "{path}");
    }
    if geteuid().is_root() {
        assert_eq!(owner("srv/moved").expect("moved"), ROOT + 33);
    }
    let gone = fs::symlink_metadata(upper.join("usr/share/gone")).expect("a mark");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0, "{gone:?}");
    assert!(fs::symlink_metadata(upper.join("usr/share/new")).is_err());
    // What the box needs for itself is none of the image's.
    for entry in walk(&upper) {
        let found = fs::symlink_metadata(&entry).expect("it is there");
        let nobodys = found.file_type().is_char_device();
        assert!(
            nobodys || found.uid() >= root,
            "{} belongs to {}",
            entry.display(),
            found.uid()
        );
    }
    let kept = keep(&world, &upper);
    let receipt = sandbox.close();
    assert_eq!((receipt.leftover, receipt.image.as_str()), (None, "sha256:00"));
    assert_eq!(
        fs::read_to_string(layer.join("etc/settings")).expect("the layer's"),
        "as the image has it\n"
    );
    assert!(layer.join("usr/share/gone").is_file());

    let second = world.open(&spec_on(&world, &[&layer, &kept], BoxUser::Root));
    let said = passes(
        second.as_ref(),
        "cat /etc/settings /srv/moved; tail -n 1 /etc/passwd; ls -1 /usr/share /usr/share/old; stat -c %u:%g /srv/moved /home/u",
    );
    let owners = if geteuid().is_root() {
        "33:33\n1234:1234\n"
    } else {
        ""
    };
    let expected = "changed\nnew\nmore\n/usr/share:\nold\n\n/usr/share/old:\nfresh\n";
    assert_eq!(said, format!("{expected}{owners}"));
    drop(second);
    world.nothing_is_left();
}

#[test]
fn the_plain_user_of_a_box_cannot_change_an_image() {
    let Some(world) = World::new() else { return };
    let Some(layer) = busybox(&world) else { return };
    let sandbox = world.open(&spec_on(&world, &[&layer], BoxUser::Plain));
    let said = passes(
        sandbox.as_ref(),
        "id -un; id -u; echo $HOME; grep -c . /etc/passwd; touch $HOME/mine /box/workspace/mine /tmp/mine && echo wrote",
    );
    assert_eq!(said, "box\n1000\n/box/home\n3\nwrote\n");
    for line in [
        "touch /usr/x",
        "echo x >/etc/settings",
        "rm /bin/sh",
        "touch /x",
        "touch /home/u/x",
    ] {
        let (report, said) = sh(sandbox.as_ref(), line);
        assert_ne!(report.ending, ExecEnding::Exited { code: 0 }, "{line}\n{said}");
    }
    assert_eq!(sandbox.close().leftover, None);
    world.nothing_is_left();
}

#[test]
fn a_hostile_images_links_lead_nowhere() {
    let Some(world) = World::new() else { return };
    let Some(layer) = busybox(&world) else { return };
    let outside = world.path("outside");
    fs::create_dir(&outside).expect("a folder");
    // Where the box mounts its own things, the image has links to a folder of the host.
    for name in ["box", "tmp", "run", "proc", "dev", "sys"] {
        std::os::unix::fs::symlink(&outside, layer.join(name)).expect("a link");
    }
    for name in ["etc/hosts", "etc/hostname"] {
        std::os::unix::fs::symlink(outside.join("made"), layer.join(name)).expect("a link");
    }
    let opened = world.engine_open(&spec_on(&world, &[&layer], BoxUser::Root));
    if let Ok(sandbox) = opened {
        drop(sandbox);
    }
    let made: Vec<_> = fs::read_dir(&outside).expect("the host's").collect();
    assert!(made.is_empty(), "{made:?}");
    world.nothing_is_left();
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.file_type().expect("its kind").is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_plain_user_makes_boxes_on_an_image_too() {
    let Some(world) = World::new() else { return };
    let Some(layer) = busybox(&world) else { return };
    if geteuid().is_root() {
        give(&layer, NOBODY);
    }
    let mut daemon = plain_daemon(&world);
    let said = daemon
        .arg("build")
        .args([world.path("data/boxes"), layer])
        .arg("id -u; echo changed >/etc/settings; rm /usr/share/gone; rm -r /usr/share/old; mkdir /usr/share/old; cat /etc/settings")
        .output()
        .expect("the daemon runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("0\nchanged\nExited { code: 0 }\n"), "{said}");
    for line in [
        "file etc/settings",
        "device usr/share/gone",
        "folder usr/share/old",
    ] {
        assert!(said.lines().any(|found| found == line), "{line} of {said}");
    }
    assert!(said.ends_with("closed None\n"), "{said}");
    world.nothing_is_left();
}

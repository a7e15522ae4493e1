//! The store with real archives: round trips, crashes between any two steps, several at once, what is removed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gantry_core::time::Timestamp;

use super::*;
use crate::archive::WriteEntry;
use crate::layer::tests::{file, tar_of};
use crate::{Digest, ExportFormat, ImageName, ImportError, ImportRequest, Imported};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn rootfs(mark: &[u8]) -> Vec<u8> {
    tar_of(&[
        (b"etc", WriteEntry::Folder, 0o755, b""),
        (b"etc/os-release", file(mark), 0o644, mark),
        (b"usr/bin/tool", file(b"#!/bin/sh\n"), 0o755, b"#!/bin/sh\n"),
        (b"bin", WriteEntry::Symlink(b"usr/bin"), 0o777, b""),
    ])
}

fn name(text: &str) -> ImageName {
    text.parse().expect("a name")
}

fn import(store: &ImageStore, path: &Path, text: Option<&str>) -> Result<Imported, ImportError> {
    store.import(&ImportRequest {
        path,
        name: text.map(name),
        now: NOW,
    })
}

struct World {
    scratch: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            scratch: tempfile::tempdir().expect("a scratch folder"),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    fn store(&self, folder: &str) -> ImageStore {
        ImageStore::open(self.at(folder)).expect("a store")
    }

    fn file(&self, path: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.at(path), bytes).expect("a file");
        self.at(path)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn what_is_exported_is_imported_as_the_same_image() {
    let world = World::new();
    let first = world.store("a");
    let tar = world.file("rootfs.tar", &rootfs(b"one"));
    let imported = import(&first, &tar, Some("base:1")).expect("a root file system");
    assert_eq!(imported.layers, [Digest::of(&rootfs(b"one"))]);
    for (format, path) in [
        (ExportFormat::OciFolder, "layout"),
        (ExportFormat::OciArchive, "oci.tar"),
        (ExportFormat::DockerArchive, "docker.tar"),
    ] {
        first
            .export(imported.digest, format, &world.at(path))
            .expect("an export");
        let other = world.store(&format!("store-{path}"));
        let again = import(&other, &world.at(path), None).expect("an import");
        assert_eq!(
            (again.digest, &again.layers),
            (imported.digest, &imported.layers),
            "{path}"
        );
        assert_eq!(again.names, [name("base:1")], "{path}");
        assert_eq!(
            other.config(again.digest).expect("it"),
            first.config(imported.digest).expect("it")
        );
        if format != ExportFormat::OciFolder {
            let plain = std::fs::read(world.at(path)).expect("a file");
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            for packed in [
                gzip(&plain),
                ruzstd::encoding::compress_to_vec(plain.as_slice(), level),
            ] {
                let packed = world.file("packed", &packed);
                let again =
                    import(&world.store(&format!("packed-{path}")), &packed, None).expect("an import");
                assert_eq!(again.digest, imported.digest);
            }
        }
        let twice = first.export(imported.digest, format, &world.at(path));
        assert!(matches!(twice, Err(crate::ExportError::Exists(_))));
    }
}

#[test]
fn a_layer_whose_digest_is_wrong_is_refused_and_nothing_is_kept() {
    let world = World::new();
    let store = world.store("a");
    let tar = world.file("rootfs.tar", &rootfs(b"one"));
    let imported = import(&store, &tar, None).expect("a root file system");
    store
        .export(imported.digest, ExportFormat::OciFolder, &world.at("layout"))
        .expect("an export");
    let blob = world.at("layout/blobs/sha256").join(imported.layers[0].hex());
    std::fs::write(&blob, rootfs(b"two")).expect("a file");
    let other = world.store("b");
    let outcome = import(&other, &world.at("layout"), None);
    assert!(matches!(outcome, Err(ImportError::Digest { .. })), "{outcome:?}");
    std::fs::remove_file(&blob).expect("it was there");
    let outcome = import(&other, &world.at("layout"), None);
    assert!(matches!(outcome, Err(ImportError::Member { .. })), "{outcome:?}");
    assert_eq!(left(&world.at("b")), ["activity", "lock"]);
}

/// Everything in a store but its empty folders, by path; nothing below a layer.
fn left(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).expect("a store").flatten() {
        let top = entry.file_name().into_string().expect("UTF-8");
        if entry.path().is_dir() {
            for inner in std::fs::read_dir(entry.path()).expect("a folder").flatten() {
                found.push(format!("{top}/{}", inner.file_name().display()));
            }
        } else {
            found.push(top);
        }
    }
    found.sort();
    found
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).expect("a link"), target)
                .expect("a link");
        } else {
            std::fs::copy(entry.path(), target).expect("a file");
        }
    }
}

#[test]
fn a_crash_at_any_step_leaves_a_whole_image_or_none() {
    let world = World::new();
    let tar = world.file("rootfs.tar", &rootfs(b"one"));
    let copies = Arc::new(Mutex::new(0_usize));
    let (root, folder, count) = (world.at("a"), world.at("crash"), Arc::clone(&copies));
    // The state of the disk after each step is what a process killed there leaves: its locks are not in a copy.
    let store = world.store("a").watched_by(move |_| {
        let mut count = count.lock().expect("one thread");
        copy_tree(&root, &folder.join(count.to_string()));
        *count += 1;
    });
    let imported = import(&store, &tar, Some("base")).expect("an import");
    let clean = left(&world.at("a"));
    let copies = *copies.lock().expect("one thread");
    assert!(copies >= 8, "{copies} steps");
    let mut whole = 0;
    for number in 0..copies {
        let root = world.at("crash").join(number.to_string());
        let store = ImageStore::open(&root).expect("a store");
        store.sweep().expect("a sweep");
        let digests = store.digests().expect("a list");
        if digests.is_empty() {
            let expected: Vec<String> = left(&root)
                .into_iter()
                .filter(|path| !["activity", "lock", "tmp.json"].contains(&path.as_str()))
                .collect();
            let none: [&str; 0] = [];
            let more: Vec<&String> = expected
                .iter()
                .filter(|path| !path.starts_with("used/"))
                .collect();
            assert_eq!(more, none, "step {number}");
        } else {
            whole += 1;
            assert_eq!(digests, [imported.digest]);
            store
                .export(imported.digest, ExportFormat::OciArchive, &root.join("x.tar"))
                .expect("whole");
        }
        let again = import(&store, &tar, Some("base")).expect("an import after the crash");
        assert_eq!(again.digest, imported.digest);
        let after: Vec<String> = left(&root).into_iter().filter(|path| path != "x.tar").collect();
        assert_eq!(after, clean, "step {number}");
    }
    assert!(whole >= 2 && whole < copies, "{whole} of {copies}");
}

#[test]
fn imports_of_one_image_at_once_give_one_image() {
    let world = World::new();
    let tar = world.file("rootfs.tar", &rootfs(b"one"));
    let stores: Vec<ImageStore> = (0..8).map(|_| world.store("a")).collect();
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let running: Vec<_> = stores
            .iter()
            .map(|store| scope.spawn(|| import(store, &tar, Some("base")).expect("an import").digest))
            .collect();
        running
            .into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    let store = &stores[0];
    assert_eq!(store.digests().expect("a list"), [digests[0]]);
    assert_eq!(store.resolve("base").expect("a name"), digests[0]);
    assert_eq!(store.sweep().expect("a sweep"), Swept::default());
    store
        .export(digests[0], ExportFormat::OciArchive, &world.at("x.tar"))
        .expect("whole");
}

#[test]
fn a_leased_image_is_not_removed() {
    let world = World::new();
    let store = world.store("a");
    let tar = world.file("rootfs.tar", &rootfs(b"one"));
    let digest = import(&store, &tar, Some("base")).expect("an import").digest;
    let lease = store.lease(digest, NOW).expect("a lease");
    assert!(!world.store("a").remove(digest).expect("an answer"));
    assert_eq!(store.sweep().expect("a sweep").layer_count, 0);
    drop(lease);
    assert!(store.remove(digest).expect("an answer"));
    assert!(matches!(store.resolve("base"), Err(StoreError::Unknown(_))));
    let swept = store.sweep().expect("a sweep");
    assert_eq!((swept.layer_count, swept.busy), (1, false));
    assert_eq!(left(&world.at("a")), ["activity", "lock"]);
}

#[test]
fn a_sweep_leaves_running_work_alone() {
    let world = World::new();
    let store = world.store("a");
    let mut running = store.begin().expect("a transaction");
    running
        .add_layer(rootfs(b"one").as_slice(), None)
        .expect("a layer");
    let swept = world.store("a").sweep().expect("a sweep");
    assert_eq!((swept.scratch_count, swept.busy), (0, true));
    assert!(running.folder().exists());
}

#[test]
fn a_damaged_layer_is_not_exported() {
    let world = World::new();
    let store = world.store("a");
    let tar = world.file("rootfs.tar", &rootfs(b"one"));
    let imported = import(&store, &tar, None).expect("an import");
    let path = store.layer_tree(imported.layers[0]).join("etc/os-release");
    File::create(&path)
        .and_then(|mut file| file.write_all(b"two"))
        .expect("a file");
    let outcome = store.export(imported.digest, ExportFormat::DockerArchive, &world.at("x.tar"));
    assert!(
        matches!(outcome, Err(crate::ExportError::Layer(_))),
        "{outcome:?}"
    );
    assert!(!world.at("x.tar").exists() && !world.at("x.tar.partial").exists());
}

#[test]
fn a_store_keeps_whose_files_its_layers_are() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may give files away");
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let tar = world.file("rootfs.tar", &rootfs(b"one"));
    let owned = world
        .store("a")
        .owned_from(Some(1_900_000_000))
        .expect("a new store");
    let imported = import(&owned, &tar, None).expect("a root file system");
    let owner = |store: &ImageStore, digest| {
        let tree = &store.layer_trees(digest).expect("its layers")[0];
        std::fs::metadata(tree.join("etc/os-release"))
            .expect("a file")
            .uid()
    };
    assert_eq!(owner(&owned, imported.digest), 1_900_000_000);
    // Whoever opens it again without saying so goes on in the same way.
    let other = world.file("other.tar", &rootfs(b"two"));
    let again = import(&world.store("a"), &other, None).expect("a root file system");
    assert_eq!(owner(&owned, again.digest), 1_900_000_000);
    world
        .store("a")
        .owned_from(Some(1_900_000_000))
        .expect("the same");
    for base in [None, Some(7)] {
        let refused = world.store("a").owned_from(base).map(|_| ());
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    let plain = world.store("b").owned_from(None).expect("a new store");
    import(&plain, &tar, None).expect("a root file system");
    assert!(world.store("b").owned_from(Some(7)).is_err());
}

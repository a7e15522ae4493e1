//! Layers: what comes out of honest archives, that hostile ones get nowhere, and that deletions mean what an overlay
//! would make of them.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use proptest::prelude::*;

use super::stack::{Node, Stack, children};
use super::*;
use crate::archive::{Meta, TarWriter, WriteEntry};
use crate::digest::Digest;

/// An entry of a test's archive.
pub(crate) fn tar_of(entries: &[(&[u8], WriteEntry<'_>, u32, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (path, what, mode, content) in entries {
        let meta = Meta {
            mode: *mode,
            ..Meta::default()
        };
        writer
            .append(path, *what, &meta, &mut &content[..])
            .expect("memory");
    }
    writer.finish().expect("memory")
}

pub(crate) fn file(content: &[u8]) -> WriteEntry<'static> {
    WriteEntry::File(content.len() as u64)
}

fn unpacked(tar: &[u8], folder: &Path) -> Unpacked {
    unpack(tar, folder, LayerLimits::default(), None).expect("an honest archive")
}

/// Given an archive, when it is unpacked and put together again, then the bytes are the same.
fn check_reassembled(tar: &[u8], folder: &Path) -> Unpacked {
    let layer = unpacked(tar, folder);
    assert_eq!(layer.diff_id, Digest::of(tar));
    let mut again = Vec::new();
    reassemble(folder, layer.diff_id, &mut again).expect("it was just unpacked");
    assert_eq!(again, tar);
    layer
}

#[test]
fn an_archive_is_put_together_again_to_the_byte() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let long = b"deep/".repeat(60);
    let odd = [b"odd \xff\n".to_vec(), b"n".repeat(90)].concat();
    let tar = tar_of(&[
        (b"etc", WriteEntry::Folder, 0o755, b""),
        (b"etc/a", file(b"first"), 0o4755, b"first"),
        (b"etc/b", WriteEntry::HardLink(b"etc/a"), 0o644, b""),
        (b"etc/a", file(b"second"), 0o600, b"second"),
        (b"etc/l", WriteEntry::Symlink(b"/etc/passwd"), 0o777, b""),
        (&long, WriteEntry::Folder, 0o700, b""),
        (&odd, file(&[7; 70_000]), 0o000, &[7; 70_000]),
        (b"empty", file(b""), 0o644, b""),
        (b"pipe", WriteEntry::Pipe, 0o644, b""),
    ]);
    let layer = check_reassembled(&tar, scratch.path());
    let tree = scratch.path().join(TREE);
    assert_eq!(std::fs::read(tree.join("etc/a")).expect("a file"), b"second");
    assert_eq!(std::fs::read(tree.join("etc/b")).expect("a file"), b"first");
    let mode = std::fs::metadata(tree.join("etc/b"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755, "the set-user-id bit is dropped");
    assert_eq!(
        layer.notes.first,
        [Note {
            kind: NoteKind::SetId,
            path: "etc/a".to_owned()
        }]
    );
    assert!(tree.join(std::ffi::OsStr::from_bytes(&odd)).is_file());
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, b"sparse");
    put(100, b"0000644\0");
    put(124, b"00000000010\0");
    put(136, b"00000000000\0");
    put(156, b"S");
    put(257, b"ustar  \0");
    put(386, b"00000000000\0");
    put(398, b"00000000004\0");
    put(410, b"00004000000\0");
    put(422, b"00000000004\0");
    put(483, b"00010000000\0");
    put(148, b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(b"headtail");
    tar.extend_from_slice(&[0; 504 + 1024]);
    check_reassembled(&tar, scratch.path());
    let path = scratch.path().join(TREE).join("sparse");
    let found = std::fs::metadata(&path).expect("a file");
    assert_eq!(found.len(), 2 * 1024 * 1024);
    assert!(found.blocks() * 512 < 64 * 1024, "{} blocks", found.blocks());
    let content = std::fs::read(&path).expect("a file");
    assert_eq!(
        (&content[..4], &content[1024 * 1024..][..4]),
        (&b"head"[..], &b"tail"[..])
    );
}

#[test]
fn nothing_in_a_hostile_archive_gets_out() {
    let link = WriteEntry::Symlink;
    let hard = WriteEntry::HardLink;
    let x = || file(b"x");
    type Made<'a> = Vec<(&'a [u8], WriteEntry<'a>, u32, &'a [u8])>;
    let cases: Vec<(&str, Made<'_>)> = vec![
        ("absolute", vec![(b"/tmp/x", x(), 0o644, b"x")]),
        ("up", vec![(b"../x", x(), 0o644, b"x")]),
        ("up inside", vec![(b"a/../../x", x(), 0o644, b"x")]),
        (
            "through a link",
            vec![(b"a", link(b"OUTSIDE"), 0o777, b""), (b"a/x", x(), 0o644, b"x")],
        ),
        (
            "through a relative link",
            vec![(b"a", link(b"../.."), 0o777, b""), (b"a/x", x(), 0o644, b"x")],
        ),
        (
            "a folder through a link",
            vec![
                (b"a", link(b"OUTSIDE"), 0o777, b""),
                (b"a/d", WriteEntry::Folder, 0o755, b""),
            ],
        ),
        (
            "a deletion through a link",
            vec![
                (b"a", link(b"OUTSIDE"), 0o777, b""),
                (b"a/.wh.kept", x(), 0o644, b"x"),
            ],
        ),
        (
            "hiding through a link",
            vec![
                (b"a", link(b"OUTSIDE"), 0o777, b""),
                (b"a/.wh..wh..opq", x(), 0o644, b"x"),
            ],
        ),
        (
            "a hard link up",
            vec![(b"h", hard(b"../OUTSIDE/kept"), 0o644, b"")],
        ),
        (
            "an absolute hard link",
            vec![(b"h", hard(b"/etc/passwd"), 0o644, b"")],
        ),
        (
            "a hard link through a link",
            vec![
                (b"a", link(b"OUTSIDE"), 0o777, b""),
                (b"h", hard(b"a/kept"), 0o644, b""),
            ],
        ),
        (
            "a hard link to nothing",
            vec![(b"h", hard(b"missing"), 0o644, b"")],
        ),
        (
            "a file over a folder",
            vec![(b"d/f", x(), 0o644, b"x"), (b"d", x(), 0o644, b"x")],
        ),
        (
            "a deletion of the folder itself",
            vec![(b"d/.wh...", x(), 0o644, b"x")],
        ),
    ];
    for (name, entries) in cases {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let outside = scratch.path().join("outside");
        std::fs::create_dir(&outside).expect("a folder");
        std::fs::write(outside.join("kept"), b"kept").expect("a file");
        let target = outside.as_os_str().as_bytes();
        let entries: Made<'_> = entries
            .into_iter()
            .map(|(path, what, mode, content)| match what {
                WriteEntry::Symlink(b"OUTSIDE") => (path, WriteEntry::Symlink(target), mode, content),
                other => (path, other, mode, content),
            })
            .collect();
        let tar = tar_of(&entries);
        let failed = unpack(
            tar.as_slice(),
            &scratch.path().join("layer"),
            LayerLimits::default(),
            None,
        );
        assert!(
            matches!(failed, Err(UnpackError::Escape { .. })),
            "{name}: {failed:?}"
        );
        let left: Vec<_> = std::fs::read_dir(&outside).expect("a folder").collect();
        assert_eq!(left.len(), 1, "{name}");
        assert_eq!(
            std::fs::metadata(outside.join("kept")).expect("a file").nlink(),
            1,
            "{name}"
        );
        assert!(!scratch.path().join("x").exists(), "{name}");
    }
}

#[test]
fn a_link_that_is_replaced_by_a_file_is_not_written_through() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let outside = scratch.path().join("kept");
    std::fs::write(&outside, b"kept").expect("a file");
    let tar = tar_of(&[
        (
            b"a",
            WriteEntry::Symlink(outside.as_os_str().as_bytes()),
            0o777,
            b"",
        ),
        (b"a", file(b"new"), 0o644, b"new"),
    ]);
    check_reassembled(&tar, &scratch.path().join("layer"));
    assert_eq!(std::fs::read(&outside).expect("a file"), b"kept");
}

#[test]
fn a_bound_is_named() {
    let tar = tar_of(&[
        (b"a", file(&[0; 4000]), 0o644, &[0; 4000]),
        (b"b", file(b""), 0o644, b""),
    ]);
    let check = |limits: LayerLimits, words: &str| {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let error = unpack(tar.as_slice(), scratch.path(), limits, None).expect_err("too much");
        assert!(error.to_string().contains(words), "{error}");
    };
    check(
        LayerLimits {
            entries: 1,
            bytes: 1 << 20,
        },
        "1 entries",
    );
    check(
        LayerLimits {
            entries: 9,
            bytes: 2048,
        },
        "2048 bytes",
    );
}

#[test]
fn a_file_that_claims_to_be_huge_is_refused_before_it_is_made() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut tar = tar_of(&[(b"a", file(b""), 0o644, b"")]);
    tar[124..136].copy_from_slice(b"77777777777\0");
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let limits = LayerLimits {
        entries: 9,
        bytes: 1 << 20,
    };
    let error = unpack(tar.as_slice(), scratch.path(), limits, None).expect_err("8 GiB");
    assert!(
        matches!(error, UnpackError::Bound { what: "bytes", .. }),
        "{error}"
    );
}

#[test]
fn a_broken_archive_is_told_from_an_empty_one() {
    let tar = tar_of(&[(b"a", file(&[1; 4000]), 0o644, &[1; 4000])]);
    for length in [1, 511, 513, 2000, 4600] {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let outcome = unpack(&tar[..length], scratch.path(), LayerLimits::default(), None);
        assert!(
            matches!(outcome, Err(UnpackError::Tar(crate::TarError::Truncated(_)))),
            "{length}: {outcome:?}"
        );
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let text = b"#!/bin/sh\n".repeat(100);
    let outcome = unpack(text.as_slice(), scratch.path(), LayerLimits::default(), None);
    assert!(
        matches!(outcome, Err(UnpackError::Tar(crate::TarError::Header(_)))),
        "{outcome:?}"
    );
}

#[test]
fn a_mark_of_the_overlay_is_not_taken_from_an_archive() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut writer = TarWriter::new(Vec::new());
    let attributes = vec![
        (b"user.overlay.opaque".to_vec(), b"y".to_vec()),
        (b"security.capability".to_vec(), b"x".to_vec()),
        (b"user.kept".to_vec(), b"yes".to_vec()),
    ];
    let meta = Meta {
        mode: 0o755,
        attributes,
        ..Meta::default()
    };
    writer
        .append(b"d", WriteEntry::Folder, &meta, &mut io::empty())
        .expect("memory");
    let layer = unpacked(&writer.finish().expect("memory"), scratch.path());
    assert_eq!(layer.notes.count, 2);
    let mut value = [0_u8; 16];
    let folder = scratch.path().join(TREE).join("d");
    assert_eq!(rustix::fs::getxattr(&folder, "user.kept", &mut value), Ok(3));
    assert!(rustix::fs::getxattr(&folder, "user.overlay.opaque", &mut value).is_err());
}

#[test]
fn a_deletion_without_a_device_is_seen_as_one() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(scratch.path().join("kept"), b"").expect("a file");
    let folder = crate::beneath::Beneath::open(scratch.path())
        .expect("the folder")
        .folder(b"")
        .expect("it");
    whiteout::put_marked_file(&folder, b"gone").expect("a mark");
    assert!(whiteout::is_whiteout(&folder, b"gone").expect("a look"));
    assert!(!whiteout::is_whiteout(&folder, b"kept").expect("a look"));
}

/// A file system as a map: `None` is a folder.
type Model = BTreeMap<String, Option<u8>>;

/// One thing that a layer does.
#[derive(Debug, Clone)]
enum Act {
    Write(String, u8),
    Folder(String),
    Delete(String),
    Hide(String),
}

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The reference: a layer's deletions take from what was there, then its files are put on top.
fn apply(model: &Model, acts: &[Act]) -> Model {
    let mut model = model.clone();
    for act in acts {
        match act {
            Act::Delete(path) => model.retain(|other, _| other != path && !is_below(other, path)),
            Act::Hide(folder) => model.retain(|other, _| !is_below(other, folder)),
            _ => {}
        }
    }
    for act in acts {
        let (path, content) = match act {
            Act::Write(path, content) => (path, Some(*content)),
            Act::Folder(path) => (path, None),
            Act::Hide(path) => (path, None),
            Act::Delete(path) => match path.rsplit_once('/') {
                // Saying that something in a folder is gone says that there is a folder.
                Some((folder, _)) => (&folder.to_owned(), None),
                None => continue,
            },
        };
        for (at, _) in path.match_indices('/') {
            put(&mut model, &path[..at], None);
        }
        put(&mut model, path, content);
    }
    model
}

fn put(model: &mut Model, path: &str, content: Option<u8>) {
    if path.is_empty() {
        return;
    }
    if content.is_some() {
        model.retain(|other, _| !is_below(other, path));
    }
    model.insert(path.to_owned(), content);
}

fn tar_of_acts(acts: &[Act]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    let meta = Meta {
        mode: 0o755,
        ..Meta::default()
    };
    for act in acts {
        let (path, what, content) = match act {
            Act::Write(path, content) => (path.clone(), WriteEntry::File(1), vec![*content]),
            Act::Folder(path) => (path.clone(), WriteEntry::Folder, vec![]),
            Act::Delete(path) => {
                let (folder, name) = path.rsplit_once('/').map_or(("", path.as_str()), |pair| pair);
                (
                    format!("{folder}/.wh.{name}").trim_start_matches('/').to_owned(),
                    WriteEntry::File(0),
                    vec![],
                )
            }
            Act::Hide(path) => (
                format!("{path}/.wh..wh..opq").trim_start_matches('/').to_owned(),
                WriteEntry::File(0),
                vec![],
            ),
        };
        writer
            .append(path.as_bytes(), what, &meta, &mut content.as_slice())
            .expect("memory");
    }
    writer.finish().expect("memory")
}

fn seen(node: &Node, path: &str, model: &mut Model) {
    for (name, child) in children(node).expect("a folder") {
        let path = format!("{path}/{}", String::from_utf8_lossy(&name))
            .trim_start_matches('/')
            .to_owned();
        if let Node::Folder(_) = child {
            model.insert(path.clone(), None);
            seen(&child, &path, model);
        } else {
            let content = io::read_to_string(stack::open_file(&child).expect("a file")).expect("text");
            model.insert(path, content.bytes().next());
        }
    }
}

fn an_act() -> impl Strategy<Value = Act> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"));
    (path, 0..6_u8, b'a'..=b'z').prop_map(|(path, which, content)| match which {
        0..3 => Act::Write(path, content),
        3 => Act::Folder(path),
        4 => Act::Delete(path),
        _ => Act::Hide(path),
    })
}

/// Leaves out acts that make one archive contradict itself: a file and a folder at one path.
fn consistent(acts: Vec<Act>) -> Vec<Act> {
    let mut kept: Vec<Act> = Vec::new();
    for act in acts {
        let with = [kept.clone(), vec![act.clone()]].concat();
        let mut files = Vec::new();
        let mut folders = Vec::new();
        for act in &with {
            let (path, is_file) = match act {
                Act::Write(path, _) => (path, true),
                Act::Folder(path) | Act::Hide(path) => (path, false),
                Act::Delete(path) => (path, true),
            };
            folders.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
            if !is_file {
                folders.push(path.clone());
            } else if matches!(act, Act::Write(..)) {
                files.push(path.clone());
            }
        }
        if !files.iter().any(|file| folders.contains(file)) {
            kept = with;
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn layers_show_what_an_overlay_of_them_would(
        layers in prop::collection::vec(prop::collection::vec(an_act(), 0..8).prop_map(consistent), 1..5),
    ) {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let mut model = Model::new();
        let mut trees = Vec::new();
        for (number, acts) in layers.iter().enumerate() {
            let folder = scratch.path().join(number.to_string());
            unpacked(&tar_of_acts(acts), &folder);
            trees.push(folder.join(TREE));
            model = apply(&model, acts);
        }
        let stack = Stack::open(&trees).expect("the trees");
        let mut found = Model::new();
        seen(&stack.at(b"").expect("the root").expect("it is there"), "", &mut found);
        prop_assert_eq!(&found, &model);
        // What is captured of an upper folder and unpacked again hides the same.
        let mut again = Vec::new();
        for (number, tree) in trees.iter().enumerate() {
            let tar = capture(tree, Vec::new(), None).expect("a tree");
            let folder = scratch.path().join(format!("again{number}"));
            unpacked(&tar, &folder);
            again.push(folder.join(TREE));
        }
        let mut found = Model::new();
        seen(&Stack::open(&again).expect("the trees").at(b"").expect("the root").expect("it"), "", &mut found);
        prop_assert_eq!(found, model);
    }
}

#[test]
fn layers_of_boxes_users_keep_their_owners_there_and_back() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may give files away");
        return;
    }
    let mut writer = TarWriter::new(Vec::new());
    let mut add = |path: &[u8], what: WriteEntry<'_>, mode, uid, gid| {
        let meta = Meta {
            mode,
            uid,
            gid,
            ..Meta::default()
        };
        let content = &b"content"[..7 * usize::from(matches!(what, WriteEntry::File(_)))];
        writer.append(path, what, &meta, &mut &*content).expect("memory");
    };
    add(b"home", WriteEntry::Folder, 0o1755, 1000, 100);
    add(b"home/f", WriteEntry::File(7), 0o640, 1000, 1001);
    add(b"home/again", WriteEntry::HardLink(b"home/f"), 0o640, 1000, 1001);
    add(b"home/l", WriteEntry::Symlink(b"/etc/passwd"), 0o777, 65_535, 0);
    add(b"home/p", WriteEntry::Pipe, 0o600, 33, 33);
    add(
        b"implied/deep/f",
        WriteEntry::File(7),
        0o600,
        2_000_000_000,
        65_536,
    );
    let tar = writer.finish().expect("memory");
    let before = std::fs::symlink_metadata("/etc/passwd").expect("the host's");
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let base = Some(OwnerBase(1_900_000_000));
    let layer = unpack(tar.as_slice(), scratch.path(), LayerLimits::default(), base).expect("an archive");
    let tree = scratch.path().join(TREE);
    for (path, uid, gid, mode) in [
        ("", 0, 0, 0o755),
        ("home", 1000, 100, 0o1755),
        ("home/f", 1000, 1001, 0o640),
        ("home/l", 65_535, 0, 0o777),
        ("home/p", 33, 33, 0o600),
        ("implied", 0, 0, 0o755),
        ("implied/deep", 0, 0, 0o755),
        ("implied/deep/f", 65_534, 65_534, 0o600),
    ] {
        let found = std::fs::symlink_metadata(tree.join(path)).expect("it was unpacked");
        let owner = (
            found.uid() - 1_900_000_000,
            found.gid() - 1_900_000_000,
            found.mode() & 0o7777,
        );
        assert_eq!(owner, (uid, gid, mode), "{path}");
    }
    let after = std::fs::symlink_metadata("/etc/passwd").expect("the host's");
    assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    let mut again = Vec::new();
    reassemble(scratch.path(), layer.diff_id, &mut again).expect("it was just unpacked");
    assert_eq!(again, tar);
    // A file of the host's own user in a captured folder is nobody's in the archive.
    std::fs::write(tree.join("stray"), b"x").expect("a file");
    let captured = capture(&tree, Vec::new(), base).expect("a tree");
    let mut reader = crate::archive::TarReader::new(captured.as_slice());
    let mut owners = BTreeMap::new();
    while let Some(entry) = reader.next(&mut Nowhere).expect("an archive") {
        let path = String::from_utf8(entry.path).expect("text");
        owners.insert(path.trim_end_matches('/').to_owned(), entry.owner);
    }
    let expected = [
        ("home", (1000, 100)),
        ("home/again", (1000, 1001)),
        ("home/f", (1000, 1001)),
        ("home/l", (65_535, 0)),
        ("home/p", (33, 33)),
        ("implied", (0, 0)),
        ("implied/deep", (0, 0)),
        ("implied/deep/f", (65_534, 65_534)),
        ("stray", (65_534, 65_534)),
    ];
    assert_eq!(
        owners,
        expected.map(|(path, owner)| (path.to_owned(), owner)).into()
    );
}

/// Takes the raw bytes of an archive that nobody needs.
struct Nowhere;

impl crate::archive::RawSink for Nowhere {
    fn raw(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

//! What is handed into a box.

use std::fs;
use std::path::Path;

use gantry_adapters::engine::{Mount, MountKind, OpenError, SandboxControl, Workspace};
use gantry_core::queue::build::Trouble;

use crate::Clause;
use crate::subject::Subject;
use crate::world::{open_to_all, passes, repository};

pub const CLAUSES: &[Clause] = &[
    ("a read-only mount can be read and not written", read_only),
    ("a file is mounted into a directory of the image", into_image),
    ("a shared mount is written by both", shared),
    (
        "a copy-on-write mount keeps the host's files as they are",
        copy_on_write,
    ),
    ("what is to be mounted must be there", missing),
    (
        "a workspace is the commit, with a clean Git directory of its own",
        commit,
    ),
    ("a commit that is not there blames nobody", no_commit),
    (
        "what a box leaves in its workspace is removed, whatever it is",
        leaves,
    ),
];

fn mount(host: &Path, at: &str, kind: MountKind) -> Mount {
    Mount {
        host: host.to_owned(),
        at: at.into(),
        kind,
    }
}

fn read_only(subject: &Subject) {
    let host = subject.fresh("host");
    fs::write(host.join("file"), "text").expect("a file");
    open_to_all(&host.join("file"));
    let file = host.join("file");
    let sandbox = subject.open_with(|spec| {
        spec.mounts = vec![
            mount(&host, "/data", MountKind::ReadOnly),
            mount(&file, "/data-file", MountKind::ReadOnly),
        ];
    });
    let text = passes(
        &*sandbox,
        "cat /data/file /data-file; for at in /data/new /data/file /data-file; do (echo x >$at) 2>/dev/null && echo WROTE; done; true",
    );
    assert_eq!(text, "texttext");
    assert_eq!(fs::read_to_string(file).expect("there"), "text");
}

fn into_image(subject: &Subject) {
    let file = subject.fresh("host").join("file");
    fs::write(&file, "text").expect("a file");
    open_to_all(&file);
    let sandbox = subject.open_with(|spec| {
        spec.mounts = vec![mount(&file, "/etc/one-file", MountKind::ReadOnly)];
    });
    let text = passes(
        &*sandbox,
        "cat /etc/one-file; (echo x >/etc/one-file) 2>/dev/null && echo WROTE; true",
    );
    assert_eq!(text, "text");
}

fn shared(subject: &Subject) {
    let host = subject.fresh("host");
    let sandbox =
        subject.open_with(|spec| spec.mounts = vec![mount(&host, "/shared/deep", MountKind::Shared)]);
    passes(
        &*sandbox,
        "echo box >/shared/deep/box; mkdir /shared/deep/d; chmod 000 /shared/deep/d",
    );
    assert_eq!(fs::read_to_string(host.join("box")).expect("there"), "box\n");
    fs::write(host.join("host"), "host").expect("a file");
    assert_eq!(passes(&*sandbox, "cat /shared/deep/host"), "host");
    assert!(sandbox.close().leftover.is_none());
    assert!(host.join("box").exists());
}

fn copy_on_write(subject: &Subject) {
    let host = subject.fresh("host");
    for name in ["kept", "changed", "removed", "alone"] {
        fs::write(host.join(name), "old").expect("a file");
        open_to_all(&host.join(name));
    }
    let file = host.join("alone");
    let sandbox = subject.open_with(|spec| {
        spec.mounts = vec![
            mount(&host, "/cow", MountKind::CopyOnWrite),
            mount(&file, "/cow-file", MountKind::CopyOnWrite),
        ];
    });
    let text = passes(
        &*sandbox,
        "cd /cow; cat kept; echo new >changed; rm removed; echo x >added; mkdir d; echo new >/cow-file; ls; cat changed /cow-file",
    );
    assert_eq!(text, "oldadded\nalone\nchanged\nd\nkept\nnew\nnew\n");
    let other = subject.open_with(|spec| spec.mounts = vec![mount(&host, "/cow", MountKind::CopyOnWrite)]);
    assert_eq!(
        passes(&*other, "ls /cow; cat /cow/changed"),
        "alone\nchanged\nkept\nremoved\nold"
    );
    drop((sandbox, other));
    let mut names: Vec<_> = fs::read_dir(&host)
        .expect("there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["alone", "changed", "kept", "removed"]);
    for name in names {
        assert_eq!(fs::read_to_string(host.join(name)).expect("there"), "old");
    }
}

fn missing(subject: &Subject) {
    let mut spec = subject.spec();
    spec.mounts = vec![mount(Path::new("/no/such/place"), "/data", MountKind::ReadOnly)];
    let refused = subject.engine.open(&spec, &SandboxControl::default()).map(|_| ());
    assert!(
        matches!(&refused, Err(OpenError::Trouble(Trouble::CouldNotStart, text)) if text.contains("/no/such/place")),
        "{refused:?}"
    );
}

fn commit(subject: &Subject) {
    let host = subject.fresh("host");
    let (repository, commit) = repository(
        &host,
        &[
            ("a/file", "100644", "text\n"),
            ("a/run", "100755", "#!/bin/sh\necho ran\n"),
            ("link", "120000", "a/file"),
        ],
    );
    let sandbox = subject.open_with(|spec| spec.workspace = Workspace::Commit { repository, commit });
    let text = passes(
        &*sandbox,
        "a/run; readlink link; stat -c '%a %U' a/file a/run; git rev-parse HEAD; git status --porcelain; git cat-file -p HEAD:a/file",
    );
    assert_eq!(text, format!("ran\na/file\n644 box\n755 box\n{commit}\ntext\n"));
    let text = passes(
        &*sandbox,
        "echo more >>a/file; git -c user.name=a -c user.email=a@b commit -qam change && git log --format=%s; git status --porcelain",
    );
    assert_eq!(text, "change\nm\n");
    passes(
        &*sandbox,
        "for at in /box/objects/0/new; do touch $at 2>/dev/null && echo WROTE; done; true",
    );
}

fn no_commit(subject: &Subject) {
    let host = subject.fresh("host");
    let (repository, _) = repository(&host, &[("a", "100644", "x")]);
    let mut spec = subject.spec();
    let commit = "0123456789012345678901234567890123456789"
        .parse()
        .expect("a name");
    spec.workspace = Workspace::Commit { repository, commit };
    let refused = subject.engine.open(&spec, &SandboxControl::default()).map(|_| ());
    assert!(matches!(refused, Err(OpenError::Trouble(..))), "{refused:?}");
}

fn leaves(subject: &Subject) {
    let sandbox = subject.open();
    passes(
        &*sandbox,
        "mkdir -p a/b/c && touch a/b/c/d && chmod 000 a/b/c a/b a; ln -s /etc out; ln -s / root; mkfifo pipe; \
         i=0; while [ $i -lt 240 ]; do mkdir deep-directory && cd deep-directory || exit 1; i=$((i+1)); done",
    );
    assert_eq!(sandbox.close().leftover, None);
}

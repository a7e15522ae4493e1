//! What a box may leave for others: repositories that run something, files that hide their size, output of any bytes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use gantry_adapters::engine::native::take_commit;
use gantry_adapters::engine::{ExecEnding, Limits, SandboxControl};
use gantry_core::queue::build::Trouble;

use crate::world::{World, commit_files, git, line_spec, passes, sh};

#[test]
fn nothing_of_a_poisoned_repository_runs_on_the_host() {
    let Some(world) = World::new() else { return };
    let sandbox = world.open(&world.sandbox_spec());
    // Every way a repository has to run a program, all of which would write to this world's folder.
    let out = world.path("escaped");
    let out = out.to_str().expect("text");
    let line = format!(
        "cd /box/workspace && export GIT_AUTHOR_NAME=b GIT_AUTHOR_EMAIL=b GIT_COMMITTER_NAME=b GIT_COMMITTER_EMAIL=b
         printf '#!/bin/sh\ntouch {out}\nexit 0\n' >/box/home/run && chmod 755 /box/home/run && cp /box/home/run run
         echo more >>README; echo '* filter=x diff=x merge=x' >.gitattributes
         printf '[submodule \"s\"]\n\tpath = s\n\turl = ext::sh -c touch%%{out}\n\tupdate = !touch {out}\n' >.gitmodules
         git add -A && git commit -qm poisoned
         git update-ref refs/replace/$(git rev-parse HEAD~1) HEAD
         for hook in post-checkout pre-commit post-merge pre-receive post-receive update reference-transaction \
             pre-auto-gc post-index-change fsmonitor-watchman proc-receive push-to-checkout post-update; do
             mkdir -p .git/hooks && cp run .git/hooks/$hook; done
         for pair in core.fsmonitor=run core.hooksPath=/box/workspace/.git/hooks core.sshCommand=run core.pager=run \
             core.editor=run core.askPass=run core.gitProxy=run filter.x.clean=run filter.x.smudge=run \
             filter.x.process=run diff.x.textconv=run diff.x.command=run diff.external=run merge.x.driver=run \
             gpg.program=run uploadpack.packObjectsHook=run receive.procReceiveRefs=refs credential.helper=run \
             alias.rev-parse=!run; do git config ${{pair%%=*}} $(echo ${{pair#*=}} | sed s,run,/box/workspace/run,); done
         echo {} >>.git/objects/info/alternates; true",
        world.path("repo.git/objects").display()
    );
    let (report, said) = sh(sandbox.as_ref(), &line);
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 }, "{said}");
    let repository = world.path("repo.git");
    let before = fs::read(repository.join("config")).expect("the host's");
    let at = Path::new("/box/workspace");
    // What Git itself refuses is refused; the rest is taken.
    let take = || take_commit(sandbox.as_ref(), at, "HEAD", Some(world.commit), &repository);
    let refused = take().expect_err("a submodule that runs a program");
    assert!(format!("{refused:?}").contains("gitmodules"), "{refused:?}");
    passes(
        sandbox.as_ref(),
        "set -e; cd /box/workspace; rm -r .git/hooks .git/refs/replace; cp .git/config /tmp/poisoned; printf '[core]\n\trepositoryformatversion = 0\n' >.git/config; \
         git rm -q --cached .gitmodules .gitattributes; rm .gitmodules .gitattributes; \
         git -c user.name=b -c user.email=b commit -q --amend -m poisoned 2>/dev/null; mkdir -p .git/hooks; cp run .git/hooks/post-checkout; \
         cp /tmp/poisoned .git/config",
    );
    let taken = take().expect("taken");
    assert_eq!(
        git(&repository, &["show", &format!("{taken}:README")], b""),
        "hello\nmore"
    );
    assert_eq!(fs::read(repository.join("config")).expect("the host's"), before);
    let refs = git(&repository, &["for-each-ref", "--format=%(refname)"], b"");
    assert_eq!(refs, "refs/heads/main");
    assert!(!world.path("escaped").exists());
    // The next box of what was taken has nothing of the first one's settings either.
    let mut spec = world.sandbox_spec();
    spec.workspace = gantry_adapters::engine::Workspace::Commit {
        repository,
        commit: taken,
    };
    drop(sandbox);
    let next = world.open(&spec);
    let said = passes(
        next.as_ref(),
        "cd /box/workspace; git status --porcelain; git config --get core.fsmonitor; ls -A .git/hooks 2>/dev/null; ls s 2>/dev/null; git log --format=%s | head -n 1",
    );
    assert_eq!(said, "poisoned\n");
    assert!(!world.path("escaped").exists());
}

#[test]
fn a_commit_that_is_not_one_is_refused_whatever_the_box_says() {
    let Some(world) = World::new() else { return };
    let sandbox = world.open(&world.sandbox_spec());
    // The box's own git lies: about the commit, then about what is in its pack.
    for lie in [
        "echo --upload-pack=x",
        "echo 0123456789012345678901234567890123456789",
        "case $1 in rev-parse) echo 0123456789012345678901234567890123456789;; *) head -c 100000 /dev/urandom;; esac",
        "yes",
    ] {
        let line = "mkdir -p /box/home/bin && printf '#!/bin/sh\\n%s\\n' \"$1\" >/box/home/bin/git && chmod 755 /box/home/bin/git";
        let mut put = line_spec(line);
        put.command.extend(["sh".to_owned(), lie.to_owned()]);
        let mut spec = world.sandbox_spec();
        spec.env = vec![("PATH".to_owned(), "/box/home/bin:/usr/bin:/bin".to_owned())];
        let liar = world.open(&spec);
        let (report, said) = crate::world::exec(liar.as_ref(), &put, &SandboxControl::default());
        assert_eq!(report.ending, ExecEnding::Exited { code: 0 }, "{said}");
        let at = Path::new("/box/workspace");
        let taken = take_commit(liar.as_ref(), at, "HEAD", None, &world.path("repo.git"));
        assert!(taken.is_err(), "{lie}: {taken:?}");
    }
    let objects = git(&world.path("repo.git"), &["count-objects", "-v"], b"");
    assert!(objects.contains("garbage: 0"), "{objects}");
    drop(sandbox);
}

#[test]
fn a_file_of_holes_takes_no_room_and_counts_as_what_it_takes() {
    let Some(world) = World::new() else { return };
    let mut spec = world.sandbox_spec();
    spec.limits = Limits {
        disk_bytes: Some(16 << 20),
        ..Limits::default()
    };
    let sandbox = world.open(&spec);
    let said = passes(
        sandbox.as_ref(),
        "cd /box/workspace; truncate -s 5G holes; printf end | dd of=holes bs=1 seek=5368709120 conv=notrunc 2>/dev/null; \
         ln holes again; ln README linked; echo more >>linked; cat README; stat -c %s again; sleep 0.6",
    );
    assert_eq!(said, "hello\nmore\n5368709123\n");
    let receipt = sandbox.close();
    assert_eq!(receipt.leftover, None);
    assert!(receipt.files.bytes > 5 << 30, "{receipt:?}");
    world.nothing_is_left();
}

#[test]
fn hard_links_of_a_box_never_reach_the_shared_checkout() {
    let Some(world) = World::new() else { return };
    let first = world.open(&world.sandbox_spec());
    passes(
        first.as_ref(),
        "cd /box/workspace; ln README a; ln a b; echo changed >b; cat README a | sort -u",
    );
    let second = world.open(&world.sandbox_spec());
    assert_eq!(
        passes(second.as_ref(), "cat /box/workspace/README; ls /box/workspace"),
        "hello\nREADME\n"
    );
    drop((first, second));
}

#[test]
fn output_of_any_bytes_comes_as_it_is() {
    let Some(world) = World::new() else { return };
    let sandbox = world.open(&world.sandbox_spec());
    let mut said = Vec::new();
    let report = sandbox.exec(
        &line_spec(
            "printf '\\377\\376\\000\\303('; printf '\\033]0;x\\007\\033[2J' >&2; printf '\\360\\237'",
        ),
        &mut |bytes| {
            said.extend_from_slice(bytes);
            Ok(())
        },
        &SandboxControl::default(),
    );
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 });
    drop(sandbox);
    assert_eq!(said, b"\xff\xfe\0\xc3(\x1b]0;x\x07\x1b[2J\xf0\x9f");
    world.passes("printf '\\377\\376\\000\\303('");
    assert_eq!(fs::read(world.path("log")).expect("the log"), b"\xff\xfe\0\xc3(");
}

#[test]
fn submodules_are_empty_and_shallow_repositories_are_shallow_in_the_box() {
    let name = b"0123456789012345678901234567890123456789";
    let modules = b"[submodule \"s\"]\n\tpath = s\n\turl = /etc\n";
    let Some(mut world) = World::with(&[
        (b"s", "160000", name),
        (b".gitmodules", "100644", modules),
        (b"file", "100644", b"1\n"),
    ]) else {
        return;
    };
    let sandbox = world.open(&world.sandbox_spec());
    let said = passes(
        sandbox.as_ref(),
        "cd /box/workspace; ls -A s; git status --porcelain; git submodule status; (git submodule update --init 2>&1) >/dev/null; ls -A s",
    );
    assert_eq!(said, "-0123456789012345678901234567890123456789 s\n");
    drop(sandbox);
    // A second commit, of which a shallow clone has no parent.
    commit_files(&world.path("repo.git"), &[(b"file", "100644", b"2\n")]);
    let url = format!("file://{}", world.path("repo.git").display());
    git(
        world.folder.path(),
        &["clone", "-q", "--bare", "--depth=1", &url, "shallow.git"],
        b"",
    );
    let head = git(&world.path("shallow.git"), &["rev-parse", "HEAD"], b"");
    world.commit = head.parse().expect("a commit");
    let mut spec = world.sandbox_spec();
    spec.workspace = gantry_adapters::engine::Workspace::Commit {
        repository: world.path("shallow.git"),
        commit: world.commit,
    };
    let sandbox = world.open(&spec);
    let said = passes(
        sandbox.as_ref(),
        "cd /box/workspace; cat file; git log --format=%s | wc -l; git rev-parse --is-shallow-repository; git status --porcelain; git fsck 2>&1 | grep -v notice; true",
    );
    assert_eq!(said, "2\n1\ntrue\n");
}

#[test]
fn a_flood_of_output_hides_nothing_else_a_box_does() {
    let Some(world) = World::new() else { return };
    let mut spec = world.sandbox_spec();
    spec.limits = Limits {
        processes: Some(50),
        disk_bytes: Some(8 << 20),
        ..Limits::default()
    };
    let sandbox = world.open(&spec);
    // Fills the output, processes and the disk at once, and keeps its ends from being told.
    let line = "trap '' TERM HUP PIPE; (while :; do (sleep 7582 &) ; done) 2>/dev/null & \
                (while :; do cat /dev/zero >>/box/workspace/big; done) 2>/dev/null & \
                setsid sh -c 'while :; do kill -STOP $$; done' & yes | cat & yes >&2";
    let mut bytes = 0_u64;
    let report = sandbox.exec(
        &line_spec(line),
        &mut |chunk| {
            bytes += chunk.len() as u64;
            Ok(())
        },
        &SandboxControl::default(),
    );
    assert!(
        matches!(report.ending, ExecEnding::Trouble(Trouble::OutOfDisk, _)),
        "{:?} after {bytes} bytes",
        report.ending
    );
    assert_eq!(sandbox.close().leftover, None);
    assert!(crate::world::processes_naming(b"7582").is_empty());
    world.nothing_is_left();
    let sandbox = world.open(&world.sandbox_spec());
    let mut left = 4 << 20;
    let report = sandbox.exec(
        &line_spec("(while :; do setsid sleep 7583 & sleep 0.01; done) & yes"),
        &mut |chunk| {
            left -= i64::try_from(chunk.len()).expect("small");
            if left < 0 {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(())
        },
        &SandboxControl::default(),
    );
    assert!(
        matches!(report.ending, ExecEnding::Trouble(Trouble::TooMuchOutput, _)),
        "{:?}",
        report.ending
    );
    assert_eq!(sandbox.close().leftover, None);
    assert!(crate::world::processes_naming(b"7583").is_empty());
}

#[test]
fn what_root_of_a_box_leaves_closed_is_removed() {
    let Some(world) = World::new() else { return };
    let mut spec = world.sandbox_spec();
    spec.user = gantry_adapters::engine::BoxUser::Root;
    let sandbox = world.open(&spec);
    let line = "cd /box/workspace; mkdir -p r/s/t; touch r/s/t/u; mkfifo r/p; ln -s / r/l; chmod 000 r/s/t/u r/s/t r/s r; \
                chown -hR 12345:54321 r 2>/dev/null; mkdir -p /root/x 2>/dev/null; chmod 000 /root 2>/dev/null; chattr +i README 2>/dev/null; true";
    passes(sandbox.as_ref(), line);
    let folder = world.path("data/boxes");
    assert_eq!(fs::metadata(&folder).expect("the boxes").mode() & 0o077, 0);
    assert_eq!(sandbox.close().leftover, None);
    world.nothing_is_left();
}

#[test]
fn landlock_works_inside() {
    let Some(world) = World::new() else { return };
    let sandbox = world.open(&world.sandbox_spec());
    // The rules of a sandbox that may read everything and write below one folder. Numbers: landlock(7), x86-64.
    let program = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    result = libc.syscall(*arguments)
    return result if result >= 0 else -ctypes.get_errno()
version = call(444, None, 0, 1)
if version < 1:
    print("none", version); sys.exit()
write = 0b1111111110010
rules = call(444, ctypes.c_char_p(struct.pack("Q", write)), 8, 0)
assert rules >= 0, rules
os.mkdir("/box/workspace/allowed")
folder = os.open("/box/workspace/allowed", os.O_PATH)
assert call(445, rules, 1, ctypes.c_char_p(struct.pack("<Qi", write, folder)), 0) == 0
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert call(446, rules, 0) == 0
open("/box/workspace/allowed/file", "w").close()
try:
    open("/box/workspace/refused", "w").close(); print("wrote")
except PermissionError:
    print("held")
"#;
    let mut spec = line_spec("");
    spec.command = ["python3", "-c", program].map(str::to_owned).to_vec();
    let (report, said) = crate::world::exec(sandbox.as_ref(), &spec, &SandboxControl::default());
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 }, "{said}");
    if said.starts_with("none") {
        let refused_by_box = said.trim() == "none -1";
        assert!(!refused_by_box, "the box's filter refuses it: {said}");
        eprintln!("skipped: this kernel has no Landlock: {said}");
        return;
    }
    assert_eq!(said, "held\n");
}

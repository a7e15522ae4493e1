//! What is in a workspace.

use std::fmt::Write;
use std::fs;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{SandboxControl, SandboxEnding};
use gantry_core::queue::build::Trouble;

use crate::world::{World, commit_files, git};

#[test]
fn files_executables_links_and_submodules_are_as_committed() {
    let Some(world) = World::with(&[
        (b"a/file", "100644", b"text\r\n"),
        (b"a/run", "100755", b"#!/bin/sh\necho ran\n"),
        (b"link", "120000", b"a/file"),
        (b".gitattributes", "100644", b"* text eol=crlf filter=evil\n"),
        (b"sub", "160000", b"0123456789012345678901234567890123456789"),
    ]) else {
        return;
    };
    git(
        &world.path("repo.git"),
        &["config", "filter.evil.smudge", "touch /tmp/gantry-evil"],
        b"",
    );
    let log = world.passes(
        "a/run; od -c a/file | head -1; readlink link; stat -c '%a %U' a/file a/run; ls -d sub/ && ls sub",
    );
    assert_eq!(
        log,
        "ran\n0000000   t   e   x   t  \\r  \\n\na/file\n644 box\n755 box\nsub/\n"
    );
}

#[test]
fn names_with_anything_in_them_are_only_names() {
    let names: [&[u8]; 6] = [
        b"a\nb",
        b"quo'te\"",
        b"-rf",
        b"$(touch x)",
        b"n\xff\xfe",
        b"a b/\\",
    ];
    let files: Vec<(&[u8], &str, &[u8])> = names.iter().map(|name| (*name, "100644", &b"x"[..])).collect();
    let Some(world) = World::with(&files) else { return };
    let log = world.passes("find . -path ./.git -prune -o -type f -print0 | tr -d '\\n' | tr '\\0' '\\n' | sort | od -An -c | tr -d ' \\n'; git status --porcelain | wc -l");
    assert!(log.ends_with("0\n"), "{log}");
    assert!(
        log.contains("n377376") || log.contains("n\\377\\376") || log.contains("377"),
        "{log}"
    );
}

#[test]
fn a_link_that_leads_out_is_never_followed() {
    let Some(world) = World::new() else { return };
    let outside = world.path("outside");
    fs::create_dir(&outside).expect("a folder");
    let repository = world.path("repo.git");
    let blob = git(&repository, &["hash-object", "-w", "--stdin"], b"evil");
    let target = git(
        &repository,
        &["hash-object", "-w", "--stdin"],
        outside.to_str().expect("text").as_bytes(),
    );
    let below = git(
        &repository,
        &["mktree"],
        format!("100644 blob {blob}\tpasswd\n").as_bytes(),
    );
    // The same name twice: a link, then a directory that would be entered through it.
    let twice = format!("120000 blob {target}\tout\n040000 tree {below}\tout\n");
    let tree = git(&repository, &["mktree"], twice.as_bytes());
    let mut spec = world.spec("ls");
    spec.commit = git(
        &repository,
        &[
            "-c",
            "user.name=a",
            "-c",
            "user.email=b",
            "commit-tree",
            "-m",
            "m",
            &tree,
        ],
        b"",
    )
    .parse()
    .expect("a commit");
    let report = world.run(&spec, &SandboxControl::default());
    assert!(
        matches!(report.ending, SandboxEnding::Refused(_)),
        "{:?}",
        report.ending
    );
    assert!(
        report.evidence.last().is_some_and(|line| line.contains("twice")),
        "{:?}",
        report.evidence
    );
    assert_eq!(fs::read_dir(&outside).expect("the folder").count(), 0);
}

#[test]
fn a_tree_that_replaces_gits_own_directory_is_refused() {
    let Some(world) = World::new() else { return };
    let repository = world.path("repo.git");
    let blob = git(
        &repository,
        &["hash-object", "-w", "--stdin"],
        b"[core]\n\tfsmonitor = evil\n",
    );
    let config = git(
        &repository,
        &["mktree"],
        format!("100644 blob {blob}\tconfig\n").as_bytes(),
    );
    for name in [".git", ".GIT", ".."] {
        let raw = format!("40000 {name}\0");
        let mut bytes = raw.into_bytes();
        bytes.extend((0..20).map(|n| u8::from_str_radix(&config[2 * n..2 * n + 2], 16).expect("hex")));
        let tree = git(
            &repository,
            &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
            &bytes,
        );
        let mut spec = world.spec("ls");
        let arguments = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=b",
            "commit-tree",
            "-m",
            "m",
            &tree,
        ];
        spec.commit = git(&repository, &arguments, b"").parse().expect("a commit");
        let report = world.run(&spec, &SandboxControl::default());
        assert!(
            matches!(report.ending, SandboxEnding::Refused(_)),
            "{name}: {:?}",
            report.ending
        );
    }
}

#[test]
fn a_missing_object_is_trouble_and_not_a_failure() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("true");
    spec.commit = "0123456789012345678901234567890123456789"
        .parse()
        .expect("a name");
    let report = world.run(&spec, &SandboxControl::default());
    assert!(
        matches!(report.ending, SandboxEnding::Trouble(Trouble::CouldNotStart, _)),
        "{:?}",
        report.ending
    );
}

#[test]
fn git_works_in_a_box_and_the_hosts_hooks_are_not_there() {
    let Some(world) = World::new() else { return };
    let repository = world.path("repo.git");
    git(&repository, &["tag", "v1.0"], b"");
    fs::write(
        repository.join("hooks/post-commit"),
        "#!/bin/sh\ntouch /tmp/hook\n",
    )
    .expect("a hook");
    let log = world.passes(
        "git status --porcelain && git describe --tags && git rev-parse HEAD && git log --format=%an && \
         echo more >> README && git -c user.name=b -c user.email=b commit -qam more && git log --oneline | wc -l; ls /tmp",
    );
    assert_eq!(log, format!("v1.0\n{}\na\n2\n", world.commit));
}

#[test]
fn objects_borrowed_from_another_repository_are_there() {
    let Some(world) = World::new() else { return };
    let arguments = ["clone", "-q", "--bare", "--shared", "repo.git", "shared.git"];
    git(world.folder.path(), &arguments, b"");
    let mut spec = world.spec("git log --format=%H && cat README");
    spec.repository = world.path("shared.git");
    let report = world.run(&spec, &SandboxControl::default());
    assert_eq!(
        report.ending,
        SandboxEnding::Exited { code: 0 },
        "{}",
        world.log()
    );
    assert!(world.log().contains(&world.commit.to_string()), "{}", world.log());
}

#[test]
fn a_thousand_files_are_there_within_seconds() {
    let Some(world) = World::new() else { return };
    let mut names = Vec::new();
    for number in 0..1000 {
        let mut name = String::new();
        write!(name, "d{}/f{number}", number % 40).expect("text");
        names.push(name);
    }
    let content = vec![b'x'; 2000];
    let files: Vec<(&[u8], &str, &[u8])> = names
        .iter()
        .map(|name| (name.as_bytes(), "100644", &content[..]))
        .collect();
    let mut spec = world.spec("find . -name 'f*' -type f -path './d*' | wc -l");
    spec.commit = commit_files(&world.path("repo.git"), &files);
    for round in 0..3 {
        let watch = Stopwatch::start();
        let report = world.run(&spec, &SandboxControl::default());
        eprintln!(
            "round {round}: 1,000 files in {:?}, removed after {:?}",
            report.duration,
            watch.elapsed()
        );
        assert_eq!(report.ending, SandboxEnding::Exited { code: 0 });
    }
    assert_eq!(world.log(), "1000\n");
    spec.commit = world.commit;
    for round in 0..3 {
        let watch = Stopwatch::start();
        let report = world.run(&spec, &SandboxControl::default());
        eprintln!(
            "round {round}: one file in {:?}, removed after {:?}",
            report.duration,
            watch.elapsed()
        );
    }
}

#[test]
fn a_commit_far_from_the_warm_checkout_is_whole_and_clean() {
    let first: [(&[u8], &str, &[u8]); 5] = [
        (b"keep", "100644", b"kept\n"),
        (b"gone/a/b", "100644", b"x"),
        (b"file", "100644", b"f"),
        (b"dir/x", "100644", b"x"),
        (b"mod/y", "100644", b"y"),
    ];
    let Some(mut world) = World::with(&first) else {
        return;
    };
    world.passes("git status --porcelain");
    let second: [(&[u8], &str, &[u8]); 5] = [
        (b"keep", "100644", b"kept\n"),
        (b"file/now/dir", "100755", b"d"),
        (b"dir", "120000", b"keep"),
        (b"mod", "160000", b"0123456789012345678901234567890123456789"),
        (b"new", "100644", b"n"),
    ];
    let mut stream: Vec<(&[u8], &str, &[u8])> = second.to_vec();
    stream.sort_by_key(|file| file.0);
    git(
        &world.path("repo.git"),
        &["update-ref", "-d", "refs/heads/main"],
        b"",
    );
    world.commit = commit_files(&world.path("repo.git"), &stream);
    let log = world.passes(
        "git status --porcelain; find . -path ./.git -prune -o -print | sort; cat dir; git rev-parse HEAD",
    );
    let expected = ".\n./dir\n./file\n./file/now\n./file/now/dir\n./keep\n./mod\n./new\nkept\n";
    assert_eq!(log, format!("{expected}{}\n", world.commit));
}

#[test]
fn a_commit_made_in_a_box_is_taken_out_whole() {
    use gantry_adapters::engine::native::take_commit;
    let Some(world) = World::new() else { return };
    let sandbox = world.open(&world.sandbox_spec());
    crate::world::passes(
        sandbox.as_ref(),
        "cd /box/workspace && mkdir -p .git/hooks && printf '#!/bin/sh\\ntouch /tmp/ran' >.git/hooks/post-commit && \
         echo more >README && git -c user.name=b -c user.email=b commit -qam more",
    );
    let repository = world.path("repo.git");
    let at = std::path::Path::new("/box/workspace");
    let taken = take_commit(sandbox.as_ref(), at, "HEAD", Some(world.commit), &repository).expect("taken");
    assert_eq!(
        git(&repository, &["show", &format!("{taken}:README")], b""),
        "more"
    );
    let missing = take_commit(sandbox.as_ref(), at, "--upload-pack=x", None, &repository);
    assert!(missing.is_err_and(|failed| failed.to_string().contains("does not hand --upload-pack=x out")));
}

#[test]
fn a_repository_of_very_many_files_has_an_index_of_what_differs() {
    let names: Vec<Vec<u8>> = (0..12_000)
        .map(|number| format!("folder-{:03}/a-file-with-a-name-{number:05}", number % 300).into_bytes())
        .collect();
    let all = |change: &dyn Fn(&[u8]) -> Option<&'static [u8]>| -> Vec<(Vec<u8>, &'static [u8])> {
        let kept = names
            .iter()
            .filter_map(|name| Some((name.clone(), change(name)?)));
        kept.collect()
    };
    let commit = |world: &World, files: &[(Vec<u8>, &'static [u8])]| {
        let mut stream: Vec<(&[u8], &str, &[u8])> = Vec::new();
        for (path, content) in files {
            let mode = if content.starts_with(b"#!") {
                "100755"
            } else {
                "100644"
            };
            stream.push((path, mode, content));
        }
        crate::world::commit_files(&world.path("repo.git"), &stream)
    };
    let Some(mut world) = World::new() else { return };
    world.commit = commit(&world, &all(&|_| Some(b"same\n")));
    // Makes the checkout the others stand on.
    drop(world.open(&world.sandbox_spec()));
    let mut files = all(&|name| match &name[name.len() - 5..] {
        b"00000" | b"11999" | b"05000" => None,
        b"00001" | b"11998" | b"07000" => Some(b"changed\n"),
        b"00002" => Some(b"#!/bin/sh\n"),
        _ => Some(b"same\n"),
    });
    for name in ["folder-000/a", "folder-150/between", "zz/last", "a"] {
        files.push((name.as_bytes().to_vec(), b"new\n"));
    }
    world.commit = commit(&world, &files);
    let sandbox = world.open(&world.sandbox_spec());
    let said = crate::world::passes(
        sandbox.as_ref(),
        "cd /box/workspace; git status --porcelain; git ls-files | wc -l; test $(stat -c %s .git/index) -lt 5000 && echo small; \
         git ls-files -s | cut -f1,2 | sort -u -k2 >/tmp/a; git diff --stat HEAD; \
         test \"$(git write-tree)\" = \"$(git rev-parse HEAD^{tree})\" && echo same; \
         cat folder-001/a-file-with-a-name-00001 zz/last; test -x folder-002/a-file-with-a-name-00002 && echo runs; \
         echo more >>a; git status --porcelain; git -c user.name=b -c user.email=b commit -qam more 2>&1; git status --porcelain; git log --format=%s | head -n 1",
    );
    assert_eq!(said, "12001\nsmall\nsame\nchanged\nnew\nruns\n M a\nmore\n");
    drop(sandbox);
    world.nothing_is_left();
}

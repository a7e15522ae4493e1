//! Files, names and repositories as they are, not as one would like them.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::factory::{Factory, set_mode, text};
use crate::repo::Repo;

#[test]
fn renames_modes_links_and_binary_files_land_as_they_are() {
    let Some(mut factory) = Factory::new() else { return };
    let repo = &factory.repo;
    repo.push_to_main(&[
        ("old-name", "one\ntwo\nthree\nfour\nfive\n"),
        ("tool", "#!/bin/sh\n"),
    ]);
    repo.git(&["switch", "-q", "-c", "odd", "main"]);
    repo.git(&["mv", "old-name", "new-name"]);
    set_mode(&repo.path.join("tool"), 0o755);
    symlink("../outside", repo.path.join("link")).expect("linked");
    symlink("nowhere", repo.path.join("dangling")).expect("linked");
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    repo.write("binary", &bytes);
    repo.write("crlf", "a\r\nb\r\n");
    repo.write(".gitattributes", "crlf text=auto\nsecret filter=nothing\n");
    repo.write("secret", "$Id$\n");
    repo.commit("odd files");
    repo.git(&["switch", "-q", "idle"]);
    // Meanwhile the renamed file is changed on main.
    repo.push_to_main(&[("old-name", "ONE\ntwo\nthree\nfour\nfive\n")]);
    factory.up();
    let change = factory.offer("odd");
    factory.landed(&[&change]);
    let repo = &factory.repo;
    assert_eq!(repo.file("main", "new-name"), b"ONE\ntwo\nthree\nfour\nfive\n");
    assert!(!repo.has("main", "old-name"));
    assert_eq!(repo.file("main", "binary"), bytes);
    let modes = repo.git(&["ls-tree", "main", "tool", "link", "dangling"]);
    assert!(
        modes.contains("100755 blob") && modes.matches("120000 blob").count() == 2,
        "{modes}"
    );
    factory.proven();
}

#[test]
fn submodules_and_names_that_are_not_utf8_land_as_they_are() {
    let Some(mut factory) = Factory::new() else { return };
    let repo = &factory.repo;
    let blob = repo.git_in(&["hash-object", "-w", "--stdin"], b"content\n");
    let entries = [
        format!("100644 blob {blob}\tcaf").into_bytes(),
        vec![0xe9, 0xff, b'\n', b'"', b'\0'],
        format!("160000 commit {}\tmodule\0", repo.rev("main")).into_bytes(),
        repo.git(&["ls-tree", "main"])
            .lines()
            .map(|line| format!("{line}\0"))
            .collect::<String>()
            .into_bytes(),
    ]
    .concat();
    let tree = repo.git_in(&["mktree", "-z"], &entries);
    let main = repo.rev("main");
    let head = repo.git(&["commit-tree", &tree, "-p", &main, "-m", "names"]);
    repo.git(&["update-ref", "refs/heads/names", &head]);
    repo.branch("beside", &[("beside", "b\n")]);
    factory.up();
    let beside = factory.offer("beside");
    factory.landed(&[&beside]);
    let names = factory.offer("names");
    factory.landed(&[&names]);
    let listed = factory.repo.try_git(&["ls-tree", "-z", "main"], b"").stdout;
    assert!(
        listed.windows(4).any(|bytes| bytes == [0xe9, 0xff, b'\n', b'"']),
        "the name is kept"
    );
    assert!(
        factory
            .repo
            .git(&["ls-tree", "main", "module"])
            .starts_with("160000 commit")
    );
    assert!(
        factory.ask(&["dock"])["changes"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
}

#[test]
fn merges_inside_a_branch_land_with_both_sides() {
    for method in ["rebase", "squash", "merge"] {
        let gate = format!("[gate]\nmethod = '{method}'\n[[gate.check]]\nname = 't'\nrun = 'sh ci.sh'\n");
        let Some(mut factory) = Factory::with_gate(&gate) else {
            return;
        };
        let repo = &factory.repo;
        repo.branch("side", &[("side", "s\n")]);
        repo.branch("work", &[("work", "w\n")]);
        repo.push_to_main(&[("base", "b\n")]);
        repo.git(&["switch", "-q", "work"]);
        repo.git(&["merge", "-q", "--no-ff", "-m", "take side in", "side"]);
        repo.git(&["merge", "-q", "--no-ff", "-m", "take main in", "main"]);
        repo.write("after", "a\n");
        repo.commit("after the merges");
        repo.git(&["switch", "-q", "idle"]);
        repo.push_to_main(&[("later", "l\n")]);
        factory.up();
        let change = factory.offer("work");
        factory.landed(&[&change]);
        for file in ["side", "work", "base", "after", "later"] {
            assert!(factory.repo.has("main", file), "{method}: {file}");
        }
        factory.proven();
    }
}

#[test]
fn a_stale_index_lock_is_in_nobodys_way() {
    let Some(mut factory) = Factory::new() else { return };
    factory.repo.branch("work", &[("a", "a\n")]);
    factory.repo.write(".git/index.lock", "");
    factory.up();
    let change = factory.offer("work");
    factory.landed(&[&change]);
    assert!(
        factory.repo.path.join(".git/index.lock").exists(),
        "somebody else's lock stays"
    );
    std::fs::remove_file(factory.repo.path.join(".git/index.lock")).expect("removed");
}

#[test]
fn another_work_tree_on_main_is_no_obstacle_and_keeps_its_edits() {
    let Some(mut factory) = Factory::new() else { return };
    let other = factory.folder.path().join("other");
    factory
        .repo
        .git(&["worktree", "add", "-q", other.to_str().expect("UTF-8"), "main"]);
    std::fs::write(other.join("README"), "edited and not committed\n").expect("written");
    factory.repo.branch("work", &[("a", "a\n")]);
    factory.up();
    let change = factory.offer("work");
    factory.landed(&[&change]);
    let kept = std::fs::read_to_string(other.join("README")).expect("there");
    assert_eq!(kept, "edited and not committed\n");
}

#[test]
fn hooks_and_filters_of_the_repository_never_run() {
    let Some(mut factory) = Factory::new() else { return };
    let ran = factory.folder.path().join("ran");
    for hook in [
        "reference-transaction",
        "post-update",
        "pre-commit",
        "post-checkout",
        "update",
        "pre-receive",
        "post-merge",
        "fsmonitor-watchman",
    ] {
        let path = factory.repo.path.join(".git/hooks").join(hook);
        factory.repo.write(
            &format!(".git/hooks/{hook}"),
            format!("#!/bin/sh\necho {hook} >> {}\nexit 1\n", ran.display()),
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
    }
    factory.repo.branch(
        "work",
        &[
            ("a", "a\n"),
            (".gitattributes", "* filter=evil diff=evil merge=evil\n"),
        ],
    );
    for hook in std::fs::read_dir(factory.repo.path.join(".git/hooks"))
        .expect("hooks")
        .flatten()
    {
        set_mode(&hook.path(), 0o755);
    }
    for (key, value) in [
        ("filter.evil.smudge", "touch"),
        ("filter.evil.clean", "touch"),
        ("merge.evil.driver", "touch"),
        ("core.fsmonitor", "touch"),
        ("diff.external", "touch"),
        ("core.sshCommand", "touch"),
    ] {
        factory.repo.write(".git/config.new", "");
        let value = format!("{value} {}", ran.display());
        factory.repo.try_git(&["config", key, &value], b"");
    }
    factory.up();
    let change = factory.offer("work");
    factory.landed(&[&change]);
    factory.proven();
    let said = std::fs::read_to_string(&ran).unwrap_or_default();
    assert_eq!(said, "", "nothing of the repository's ran");
    assert!(!ran.exists(), "nothing of the repository's ran");
    for hook in std::fs::read_dir(factory.repo.path.join(".git/hooks"))
        .expect("hooks")
        .flatten()
    {
        set_mode(&hook.path(), 0o644);
    }
}

#[test]
fn a_target_whose_name_has_slashes_and_a_repository_with_spaces_are_fine() {
    let Some(mut factory) = Factory::new() else { return };
    let repo = Repo::work_tree(factory.folder.path().join("my repo 'quoted'"));
    repo.git(&["branch", "release/1.0", "main"]);
    let path = repo.path.to_str().expect("UTF-8").to_owned();
    repo.branch("fix/é", &[("a", "a\n")]);
    factory.ask(&[
        "init",
        "--repo",
        &path,
        "--target",
        "release/1.0",
        "--name",
        "spaced",
    ]);
    factory.up_with(&[]);
    let change = factory.offer("fix/é");
    factory.landed(&[&change]);
    assert_eq!(
        repo.rev("release/1.0"),
        text(&factory.show(&change)["landed"]["sha"])
    );
    assert!(!repo.has("main", "a"));
}

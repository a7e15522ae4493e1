//! Tests against real repositories, made by the git program. Owns their making; must never be the only place
//! that knows a rule.

use std::path::Path;

use gantry_core::id::{BranchName, ChangeId, CommitId, TreeId};
use gantry_core::time::Timestamp;
use tempfile::TempDir;

use super::*;

struct Scratch {
    directory: TempDir,
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self {
            directory: TempDir::new().expect("a scratch directory"),
        };
        scratch.git(&["init", "--quiet", "--initial-branch=main"]);
        scratch.write("a.txt", &lines(20));
        scratch.commit("first");
        scratch
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "tests prepare real repositories with git itself"
    )]
    fn git(&self, arguments: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Ada Löve")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_AUTHOR_DATE", "1700000000 +0530")
            .env("GIT_COMMITTER_NAME", "Carl")
            .env("GIT_COMMITTER_EMAIL", "carl@example.org")
            .env("GIT_COMMITTER_DATE", "1700000100 -0200")
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .expect("git's output is text")
            .trim_end()
            .to_owned()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).expect("the file is written");
    }

    fn commit(&self, message: &str) -> CommitId {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.id("HEAD")
    }

    fn id(&self, name: &str) -> CommitId {
        self.git(&["rev-parse", name]).parse().expect("a commit")
    }

    fn branch(&self, name: &str, start: &str) {
        self.git(&["checkout", "--quiet", "-b", name, start]);
    }

    fn advance_main(&self, file: &str, content: &str) -> CommitId {
        self.git(&["checkout", "--quiet", "main"]);
        self.write(file, content);
        self.commit("main moves")
    }

    fn open(&self) -> GitRepository {
        GitRepository::open(self.path()).expect("the repository opens")
    }

    fn show(&self, commit: CommitId, format: &str) -> String {
        self.git(&["show", "-s", &format!("--format={format}"), &commit.to_string()])
    }
}

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("line {n}\n")).collect()
}

fn member(number: u64, head: CommitId) -> Member {
    Member {
        change: ChangeId::new(number),
        head,
        title: format!("Change {number}"),
        offered_at: Timestamp::from_millis(1_800_000_000_123),
        stands_on: Vec::new(),
    }
}

fn made(replay: Replay) -> Vec<Step> {
    match replay {
        Replay::Made { steps } => steps,
        Replay::Conflict { change, paths, .. } => panic!("{change} conflicts at {paths:?}"),
    }
}

#[test]
fn the_tip_of_a_branch_is_read_and_a_missing_branch_has_none() {
    let scratch = Scratch::new();
    let repository = scratch.open();
    let main = BranchName::parse("main").expect("a name");
    let other = BranchName::parse("other").expect("a name");
    assert_eq!(repository.tip(&main).expect("readable"), Some(scratch.id("main")));
    assert_eq!(repository.tip(&other).expect("readable"), None);
    let next = scratch.advance_main("b.txt", "b\n");
    let first = scratch.id("main~1");
    assert!(repository.is_ancestor(first, next).expect("readable"));
    assert!(repository.is_ancestor(next, next).expect("readable"));
    assert!(!repository.is_ancestor(next, first).expect("readable"));
}

#[test]
fn a_rebase_keeps_author_date_and_message_and_is_deterministic() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.write("one.txt", "1\n");
    let head = scratch.commit("Subject\n\nBody ü");
    let base = scratch.advance_main("b.txt", "b\n");
    let repository = scratch.open();
    let first = repository
        .replay(base, &[member(1, head)], Method::Rebase)
        .expect("no trouble");
    let again = scratch
        .open()
        .replay(base, &[member(1, head)], Method::Rebase)
        .expect("no trouble");
    assert_eq!(first, again);
    let commit = made(first)[0].commit;
    assert_eq!(
        scratch.show(commit, "%an|%ae|%ad|%B"),
        scratch.show(head, "%an|%ae|%ad|%B")
    );
    assert_eq!(
        scratch.show(commit, "%cn <%ce> %ct %P"),
        format!("gantry <gantry@localhost> 1800000000 {base}")
    );
    scratch.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn batches_that_begin_alike_share_their_commits_and_git_merges_to_the_same_tree() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.write("one.txt", "1\n");
    let one = scratch.commit("one");
    scratch.branch("two", "main");
    scratch.write("a.txt", &lines(20).replace("line 18", "LINE 18"));
    let two = scratch.commit("two");
    let base = scratch.advance_main("a.txt", &lines(20).replace("line 1\n", "LINE 1\n"));
    let repository = scratch.open();
    for method in [Method::Rebase, Method::Squash, Method::Merge] {
        let short = made(
            repository
                .replay(base, &[member(1, one)], method)
                .expect("no trouble"),
        );
        let long = made(
            repository
                .replay(base, &[member(1, one), member(2, two)], method)
                .expect("no trouble"),
        );
        assert_eq!(short[0], long[0], "{method:?}");
        let wanted = scratch.git(&["merge-tree", "--write-tree", &short[0].commit.to_string(), "two"]);
        assert_eq!(
            long[1].tree,
            wanted.parse::<TreeId>().expect("a tree"),
            "{method:?}"
        );
        assert_eq!(
            repository.tree_of(long[1].commit).expect("readable"),
            long[1].tree
        );
    }
}

#[test]
fn a_conflict_names_its_paths_and_keeps_the_steps_before_it() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.write("one.txt", "1\n");
    let one = scratch.commit("one");
    scratch.branch("two", "main");
    scratch.write("a.txt", &lines(20).replace("line 5", "theirs"));
    let two = scratch.commit("two");
    let base = scratch.advance_main("a.txt", &lines(20).replace("line 5", "ours"));
    for method in [Method::Rebase, Method::Squash, Method::Merge] {
        let replay = scratch
            .open()
            .replay(base, &[member(1, one), member(2, two)], method)
            .expect("no trouble");
        let Replay::Conflict { change, paths, made } = replay else {
            panic!("{method:?} must conflict");
        };
        assert_eq!(
            (change, paths, made.len()),
            (ChangeId::new(2), vec![b"a.txt".to_vec()], 1)
        );
    }
}

#[test]
fn a_member_whose_content_is_already_there_is_empty() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.write("one.txt", "1\n");
    let one = scratch.commit("one");
    let base = scratch.advance_main("one.txt", "1\n");
    for method in [Method::Rebase, Method::Squash] {
        let steps = made(
            scratch
                .open()
                .replay(base, &[member(1, one)], method)
                .expect("no trouble"),
        );
        assert!(steps[0].empty && steps[0].commit == base, "{method:?}");
    }
}

#[test]
fn a_swap_moves_only_from_the_expected_value() {
    let scratch = Scratch::new();
    let first = scratch.id("main");
    let second = scratch.advance_main("b.txt", "b\n");
    let repository = scratch.open();
    let swap = |old, new| repository.compare_and_swap("refs/heads/x", old, new, "test");
    assert_eq!(
        swap(Some(first), Some(second)).expect("no trouble"),
        Swap::Lost { actual: None }
    );
    assert_eq!(swap(None, Some(first)).expect("no trouble"), Swap::Moved);
    assert_eq!(
        swap(None, Some(second)).expect("no trouble"),
        Swap::Lost { actual: Some(first) }
    );
    assert_eq!(
        swap(Some(second), None).expect("no trouble"),
        Swap::Lost { actual: Some(first) }
    );
    assert_eq!(swap(Some(first), Some(second)).expect("no trouble"), Swap::Moved);
    assert_eq!(scratch.id("x"), second);
    scratch.write(".git/refs/heads/x.lock", "");
    let error = swap(Some(second), Some(first)).expect_err("the ref is locked");
    assert!(
        matches!(&error, GitError::Locked { lock } if lock.ends_with("refs/heads/x.lock")),
        "{error:?}"
    );
    std::fs::remove_file(scratch.path().join(".git/refs/heads/x.lock")).expect("removable");
    assert_eq!(swap(Some(second), None).expect("no trouble"), Swap::Moved);
    assert_eq!(swap(None, None).expect("no trouble"), Swap::Moved);
}

#[test]
fn a_rename_on_one_side_and_an_edit_on_the_other_merge_as_git_merges_them() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.git(&["mv", "a.txt", "moved.txt"]);
    let one = scratch.commit("rename");
    let base = scratch.advance_main("a.txt", &lines(20).replace("line 9", "edited"));
    let wanted = scratch.git(&["merge-tree", "--write-tree", "main", "one"]);
    for method in [Method::Rebase, Method::Squash, Method::Merge] {
        let steps = made(
            scratch
                .open()
                .replay(base, &[member(1, one)], method)
                .expect("no trouble"),
        );
        assert_eq!(steps[0].tree.to_string(), wanted, "{method:?}");
    }
}

#[test]
fn executable_files_and_symbolic_links_stay_what_they_are() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    std::fs::set_permissions(scratch.path().join("a.txt"), PermissionsExt::from_mode(0o755)).expect("a mode");
    symlink("a.txt", scratch.path().join("link")).expect("a link");
    let one = scratch.commit("modes");
    let base = scratch.advance_main("a.txt", &lines(20).replace("line 9", "edited"));
    let wanted = scratch.git(&["merge-tree", "--write-tree", "main", "one"]);
    let steps = made(
        scratch
            .open()
            .replay(base, &[member(1, one)], Method::Rebase)
            .expect("no trouble"),
    );
    assert_eq!(steps[0].tree.to_string(), wanted);
    let listing = scratch.git(&["ls-tree", &wanted]);
    assert!(
        listing.contains("100755 blob") && listing.contains("120000 blob"),
        "{listing}"
    );
}

#[test]
fn a_merge_inside_a_branch_is_made_linear() {
    let scratch = Scratch::new();
    scratch.branch("side", "main");
    scratch.write("side.txt", "s\n");
    scratch.commit("side");
    scratch.branch("one", "main");
    scratch.write("one.txt", "1\n");
    scratch.commit("one");
    scratch.git(&["merge", "--quiet", "--no-ff", "-m", "inner merge", "side"]);
    let head = scratch.id("HEAD");
    let base = scratch.advance_main("b.txt", "b\n");
    let steps = made(
        scratch
            .open()
            .replay(base, &[member(1, head)], Method::Rebase)
            .expect("no trouble"),
    );
    let range = format!("{base}..{}", steps[0].commit);
    assert_eq!(
        scratch.git(&["log", "--reverse", "--format=%s", &range]),
        "one\nside"
    );
    assert_eq!(
        steps[0].tree.to_string(),
        scratch.git(&["merge-tree", "--write-tree", "main", "one"])
    );
}

#[test]
fn commits_already_on_top_of_the_base_keep_their_names() {
    let scratch = Scratch::new();
    let base = scratch.id("main");
    scratch.branch("one", "main");
    scratch.write("one.txt", "1\n");
    scratch.commit("one");
    scratch.write("one.txt", "2\n");
    let head = scratch.commit("two");
    let steps = made(
        scratch
            .open()
            .replay(base, &[member(1, head)], Method::Rebase)
            .expect("no trouble"),
    );
    assert_eq!(steps[0].commit, head);
}

#[test]
fn a_change_built_on_another_change_brings_only_what_is_its_own() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.write("a.txt", &lines(20).replace("line 5", "once"));
    scratch.commit("one");
    scratch.write("a.txt", &lines(20).replace("line 5", "twice"));
    let one = scratch.commit("one again");
    scratch.write("a.txt", &lines(20).replace("line 5", "thrice"));
    let two = scratch.commit("two");
    let base = scratch.advance_main("b.txt", "b\n");
    let wanted = scratch.git(&["merge-tree", "--write-tree", "main", &two.to_string()]);
    for method in [Method::Rebase, Method::Squash, Method::Merge] {
        let members = [member(1, one), member(2, two)];
        let steps = made(scratch.open().replay(base, &members, method).expect("no trouble"));
        assert_eq!(steps[1].tree.to_string(), wanted, "{method:?}");
    }
}

#[test]
fn a_missing_object_is_trouble_and_never_a_conflict() {
    for lost in [
        "one:a.txt",
        "one^{tree}",
        "one",
        "one~1",
        "main:a.txt",
        "main~1:a.txt",
    ] {
        let scratch = Scratch::new();
        scratch.branch("one", "main");
        scratch.write("one.txt", "1\n");
        scratch.commit("one");
        scratch.write("a.txt", &lines(20).replace("line 5", "theirs"));
        let head = scratch.commit("two");
        let base = scratch.advance_main("a.txt", &lines(20).replace("line 15", "ours"));
        let id = scratch.git(&["rev-parse", lost]);
        let file = scratch.path().join(".git/objects").join(&id[..2]).join(&id[2..]);
        std::fs::remove_file(file).expect("the object is loose");
        for method in [Method::Rebase, Method::Squash, Method::Merge] {
            if lost == "one~1" && method != Method::Rebase {
                continue;
            }
            let replay = scratch.open().replay(base, &[member(1, head)], method);
            assert!(
                matches!(replay, Err(GitError::Object { .. })),
                "{lost} {method:?}: {replay:?}"
            );
        }
    }
}

#[test]
fn a_configured_merge_driver_is_not_started() {
    let scratch = Scratch::new();
    scratch.write(".gitattributes", "a.txt merge=touch\n");
    scratch.commit("attributes");
    scratch.git(&["config", "merge.touch.driver", "touch started; exit 0"]);
    scratch.branch("one", "main");
    scratch.write("a.txt", &lines(20).replace("line 5", "theirs"));
    let one = scratch.commit("one");
    let base = scratch.advance_main("a.txt", &lines(20).replace("line 15", "ours"));
    let started = scratch.path().join("started");
    let steps = made(
        scratch
            .open()
            .replay(base, &[member(1, one)], Method::Squash)
            .expect("no trouble"),
    );
    assert!(!started.exists());
    let merged = scratch.git(&["show", &format!("{}:a.txt", steps[0].commit)]);
    assert!(merged.contains("ours") && merged.contains("theirs"));
}

#[test]
fn a_corrupt_object_in_a_bare_repository_is_trouble() {
    let scratch = Scratch::new();
    let head = scratch.id("main");
    scratch.git(&["clone", "--quiet", "--bare", "--no-hardlinks", ".", "bare.git"]);
    let bare = scratch.path().join("bare.git");
    let id = head.to_string();
    let file = bare.join("objects").join(&id[..2]).join(&id[2..]);
    assert!(
        GitRepository::open(&bare)
            .expect("it opens")
            .tree_of(head)
            .is_ok()
    );
    std::fs::remove_file(&file).expect("the object is loose");
    std::fs::write(&file, "not zlib").expect("the file is written");
    let tree = GitRepository::open(&bare).expect("it opens").tree_of(head);
    assert!(matches!(tree, Err(GitError::Object { .. })), "{tree:?}");
}

#[test]
fn a_change_stacked_on_one_that_landed_under_another_name_brings_only_its_own() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.write("a.txt", &lines(20).replace("line 5", "once"));
    let one = scratch.commit("one");
    scratch.write("a.txt", &lines(20).replace("line 5", "twice"));
    let two = scratch.commit("two");
    scratch.advance_main("b.txt", "b\n");
    let base = scratch.advance_main("a.txt", &lines(20).replace("line 5", "once"));
    for method in [Method::Rebase, Method::Squash, Method::Merge] {
        let alone = member(2, two);
        let stacked = Member {
            stands_on: vec![one],
            ..alone.clone()
        };
        let steps = made(
            scratch
                .open()
                .replay(base, &[stacked], method)
                .expect("no trouble"),
        );
        let text = scratch.git(&["show", &format!("{}:a.txt", steps[0].commit)]);
        assert!(text.contains("twice") && !text.contains("once"), "{method:?}");
        if method != Method::Rebase {
            let plain = scratch.open().replay(base, &[alone], method).expect("no trouble");
            assert!(matches!(plain, Replay::Conflict { .. }), "{method:?}: {plain:?}");
        }
    }
}

#[test]
fn an_edit_made_in_a_merge_commit_lands_with_its_branch() {
    let scratch = Scratch::new();
    scratch.branch("side", "main");
    scratch.write("side.txt", "s\n");
    scratch.commit("side");
    scratch.branch("one", "main");
    scratch.write("one.txt", "1\n");
    scratch.commit("one");
    scratch.git(&["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
    scratch.write("one.txt", "1 with side\n");
    let head = scratch.commit("merge and mend");
    let base = scratch.advance_main("b.txt", "b\n");
    let wanted = scratch.git(&["merge-tree", "--write-tree", "main", "one"]);
    let steps = made(
        scratch
            .open()
            .replay(base, &[member(1, head)], Method::Rebase)
            .expect("no trouble"),
    );
    assert_eq!(steps[0].tree.to_string(), wanted);
    assert_eq!(
        scratch.show(steps[0].commit, "%P"),
        base.to_string(),
        "it stays linear"
    );
}

#[test]
fn one_broken_ref_hides_no_other_branch_and_is_not_taken_for_a_deleted_one() {
    let scratch = Scratch::new();
    scratch.branch("one", "main");
    scratch.write(".git/refs/heads/broken", "");
    let repository = scratch.open();
    let branches = repository.branches().expect("the others are listed");
    let names: Vec<&str> = branches.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["main", "one"]);
    assert!(repository.refs_under("refs/heads/broken").is_err());
}

//! Repositories in odd states: alternates, packed refs, holes in history, criss-crossed branches. Owns these states;
//! must keep trouble apart from conflicts.

use std::path::Path;

use gantry_core::id::{BranchName, ChangeId, CommitId};
use gantry_core::time::Timestamp;

use super::invented::{Files, Invented, git};
use super::*;

const METHODS: [Method; 3] = [Method::Rebase, Method::Squash, Method::Merge];

fn files(pairs: &[(&str, &str)]) -> Files {
    let file =
        |(path, text): &(&str, &str)| (path.as_bytes().to_vec(), (0o100_644, text.as_bytes().to_vec()));
    pairs.iter().map(file).collect()
}

fn member(head: CommitId) -> Member {
    Member {
        change: ChangeId::new(1),
        head,
        title: "A change".to_owned(),
        offered_at: Timestamp::from_millis(1_800_000_000_000),
        stands_on: Vec::new(),
    }
}

fn open(number: u64, head: CommitId) -> OpenHead {
    OpenHead {
        change: ChangeId::new(number),
        head,
    }
}

/// A target of four commits and a branch of three that left it at the first.
fn forked() -> (Invented, Vec<CommitId>) {
    let mut invented = Invented::new(1);
    let mut at = invented.commit("main", files(&[("a", "1\n2\n3\n4\n5\n")]), &[]);
    for number in 0..3 {
        at = invented.commit("main", files(&[("a", &format!("1\n2\n3\n4\n{number}\n"))]), &[at]);
    }
    let mut topic = 1;
    for number in 0..3 {
        topic = invented.commit(
            "topic",
            files(&[("a", &format!("{number}x\n2\n3\n4\n5\n"))]),
            &[topic],
        );
    }
    let commits = invented.finish();
    (invented, commits)
}

fn explode(path: &Path) {
    let packs = path.join("objects/pack");
    for file in std::fs::read_dir(&packs)
        .expect("a folder")
        .map(|file| file.expect("a file").path())
    {
        if file.extension().is_some_and(|end| end == "pack") {
            let pack = std::fs::read(&file).expect("readable");
            let moved = path.join("moved.pack");
            std::fs::rename(&file, &moved).expect("moved");
            std::fs::remove_file(file.with_extension("idx")).expect("removed");
            git(path, &["unpack-objects", "-q"], &pack);
        }
    }
}

fn lose(path: &Path, commit: CommitId) {
    let id = commit.to_string();
    let file = path.join("objects").join(&id[..2]).join(&id[2..]);
    std::fs::remove_file(file).expect("the object is loose");
}

#[test]
fn a_hole_in_history_is_trouble_whatever_is_asked() {
    // Commits 0 to 3 are the target's, 4 to 6 the branch's.
    for hole in [0, 1, 2, 4, 5] {
        let (invented, commits) = forked();
        explode(invented.path());
        lose(invented.path(), commits[hole]);
        let repository = GitRepository::open(invented.path()).expect("it opens");
        let (tip, head) = (commits[3], commits[6]);
        for method in METHODS {
            let replay = repository.replay(tip, &[member(head)], method);
            assert!(
                matches!(replay, Err(GitError::Object { .. })),
                "{hole} {method:?}: {replay:?}"
            );
        }
        let ancestor = repository.is_ancestor(head, tip);
        assert!(
            matches!(ancestor, Err(GitError::Object { .. })),
            "{hole}: {ancestor:?}"
        );
        let merge = repository.merge_commits(tip, head);
        assert!(matches!(merge, Err(GitError::Object { .. })), "{hole}: {merge:?}");
        let verdicts = Radar::new()
            .check(&repository, tip, &[open(1, head)])
            .expect("the tip is there");
        assert!(
            matches!(verdicts[0].standing, Standing::Trouble(_)),
            "{hole}: {verdicts:?}"
        );
        let revert = repository.silent_revert(tip, head);
        assert!(
            matches!(revert, Err(GitError::Object { .. })),
            "{hole}: {revert:?}"
        );
    }
}

#[test]
fn a_hole_that_git_itself_meets_is_trouble_too() {
    // Both sides rename the file, so that Git is asked, and Git cannot read it.
    let mut invented = Invented::new(2);
    let text = "1\n2\n3\n4\n5\n6\n7\n8\n";
    let base = invented.commit("main", files(&[("a", text)]), &[]);
    let main = invented.commit("main", files(&[("b", &text.replace('8', "eight"))]), &[base]);
    let topic = invented.commit("topic", files(&[("c", &text.replace('1', "one"))]), &[base]);
    let commits = invented.finish();
    explode(invented.path());
    let blob = git(
        invented.path(),
        &["rev-parse", &format!("{}:b", commits[main - 1])],
        b"",
    );
    lose(
        invented.path(),
        String::from_utf8(blob)
            .expect("text")
            .trim()
            .parse()
            .expect("an object"),
    );
    let repository = GitRepository::open(invented.path()).expect("it opens");
    let merge = repository.merge_commits(commits[main - 1], commits[topic - 1]);
    assert!(matches!(merge, Err(GitError::Program { .. })), "{merge:?}");
}

#[test]
fn a_shallow_repository_ends_where_it_was_cut_on_purpose() {
    let (invented, commits) = forked();
    let shallow = invented.path().join("shallow");
    let source = format!("file://{}", invented.path().display());
    let to = shallow.to_str().expect("text");
    git(
        invented.path(),
        &[
            "clone",
            "--quiet",
            "--bare",
            "--depth=2",
            "--branch=main",
            &source,
            to,
        ],
        b"",
    );
    let repository = GitRepository::open(&shallow).expect("it opens");
    assert!(repository.is_ancestor(commits[2], commits[3]).expect("readable"));
    assert!(!repository.is_ancestor(commits[3], commits[2]).expect("readable"));
}

#[test]
fn histories_that_share_nothing_are_named_as_such() {
    let mut invented = Invented::new(3);
    let main = invented.commit("main", files(&[("a", "1\n")]), &[]);
    let other = invented.commit("other", files(&[("b", "1\n")]), &[]);
    let commits = invented.finish();
    let repository = GitRepository::open(invented.path()).expect("it opens");
    let merge = repository.merge_commits(commits[main - 1], commits[other - 1]);
    assert!(matches!(merge, Err(GitError::Unrelated { .. })), "{merge:?}");
}

#[test]
fn objects_of_an_alternate_and_packed_refs_are_used() {
    let (invented, commits) = forked();
    let borrower = invented.path().join("borrower.git");
    let to = borrower.to_str().expect("text");
    git(
        invented.path(),
        &["clone", "--quiet", "--bare", "--shared", ".", to],
        b"",
    );
    git(&borrower, &["pack-refs", "--all", "--prune"], b"");
    let repository = GitRepository::open(&borrower).expect("it opens");
    let main = BranchName::parse("main").expect("a name");
    assert_eq!(repository.tip(&main).expect("readable"), Some(commits[3]));
    for method in METHODS {
        let replay = repository
            .replay(commits[3], &[member(commits[6])], method)
            .expect("no trouble");
        assert!(matches!(replay, Replay::Made { .. }), "{method:?}: {replay:?}");
    }
    let swapped = repository.compare_and_swap("refs/heads/main", Some(commits[3]), Some(commits[6]), "test");
    assert_eq!(swapped.expect("no trouble"), Swap::Moved);
    assert_eq!(repository.tip(&main).expect("readable"), Some(commits[6]));
}

#[test]
fn the_culprit_is_the_landing_that_first_made_a_change_conflict() {
    let mut invented = Invented::new(4);
    let text = |first: &str, last: &str| format!("{first}\n2\n3\n4\n5\n6\n7\n{last}\n");
    let mut main = vec![invented.commit("main", files(&[("a", &text("1", "8"))]), &[])];
    for (first, last) in [("1", "eight"), ("one", "eight"), ("ONE", "eight"), ("ONE", "8!")] {
        let tip = *main.last().expect("a tip");
        main.push(invented.commit("main", files(&[("a", &text(first, last))]), &[tip]));
    }
    let topic = invented.commit("topic", files(&[("a", &text("uno", "8"))]), &[main[0]]);
    let commits = invented.finish();
    let repository = GitRepository::open(invented.path()).expect("it opens");
    let head = commits[topic - 1];
    let mut radar = Radar::new();
    for (number, tip) in main.iter().enumerate() {
        let verdict = radar
            .check(&repository, commits[tip - 1], &[open(1, head)])
            .expect("no trouble");
        let wanted = if number < 2 {
            Standing::Clean { tree: None }
        } else {
            Standing::Conflict {
                paths: vec![b"a".to_vec()],
                culprit: Some(commits[main[2] - 1]),
            }
        };
        assert_eq!(verdict[0].standing, wanted, "{number}");
        assert_eq!(verdict[0].behind, number);
    }
}

#[test]
fn a_resubmitted_head_is_looked_at_afresh_and_a_landed_one_is_already_in() {
    let (invented, commits) = forked();
    let repository = GitRepository::open(invented.path()).expect("it opens");
    let mut radar = Radar::new();
    let standing = |radar: &mut Radar, tip: CommitId, head: CommitId| {
        let verdicts = radar
            .check(&repository, tip, &[open(1, head)])
            .expect("no trouble");
        verdicts[0].standing.clone()
    };
    assert_eq!(
        standing(&mut radar, commits[3], commits[4]),
        Standing::Clean { tree: None }
    );
    assert_eq!(standing(&mut radar, commits[3], commits[1]), Standing::AlreadyIn);
    assert_eq!(
        standing(&mut radar, commits[3], commits[6]),
        Standing::Clean { tree: None }
    );
    // The target was forced to where the branch is.
    assert_eq!(standing(&mut radar, commits[6], commits[6]), Standing::AlreadyIn);
    assert_eq!(standing(&mut radar, commits[6], commits[5]), Standing::AlreadyIn);
}

#[test]
fn pairs_tell_who_gets_in_whose_way_and_who_does_the_same() {
    let mut invented = Invented::new(5);
    let text = |lines: [&str; 3]| format!("{}\n2\n3\n{}\n5\n6\n{}\n", lines[0], lines[1], lines[2]);
    let base = invented.commit("main", files(&[("a", &text(["1", "4", "7"])), ("b", "b\n")]), &[]);
    let main = invented.commit(
        "main",
        files(&[("a", &text(["1", "4", "7"])), ("b", "B\n")]),
        &[base],
    );
    let one = invented.commit(
        "one",
        files(&[("a", &text(["one", "4", "7"])), ("b", "b\n")]),
        &[base],
    );
    let same = invented.commit(
        "same",
        files(&[("a", &text(["one", "4", "7"])), ("b", "B\n")]),
        &[main],
    );
    let last = invented.commit(
        "last",
        files(&[("a", &text(["1", "4", "seven"])), ("b", "b\n")]),
        &[base],
    );
    let other = invented.commit(
        "other",
        files(&[("a", &text(["uno", "4", "7"])), ("b", "b\n")]),
        &[base],
    );
    let rotted = invented.commit(
        "rotted",
        files(&[("a", &text(["1", "4", "7"])), ("b", "mine\n")]),
        &[base],
    );
    let commits = invented.finish();
    let repository = GitRepository::open(invented.path()).expect("it opens");
    let heads = [one, same, last, other, rotted];
    let all: Vec<OpenHead> = (1..)
        .zip(heads)
        .map(|(number, mark)| open(number, commits[mark - 1]))
        .collect();
    let mut radar = Radar::new();
    radar
        .check(&repository, commits[main - 1], &all)
        .expect("no trouble");
    let pairs = radar.overlaps(&repository).expect("no trouble");
    let told: Vec<(u64, u64, Overlap)> = pairs
        .into_iter()
        .map(|pair| (pair.a.number(), pair.b.number(), pair.overlap))
        .collect();
    let at_a = || Overlap::Conflict(vec![b"a".to_vec()]);
    let wanted = [
        (1, 2, Overlap::Duplicate),
        (1, 3, Overlap::Compatible),
        (1, 4, at_a()),
        (2, 3, Overlap::Compatible),
        (2, 4, at_a()),
        (3, 4, Overlap::Compatible),
    ];
    assert_eq!(told, wanted);
    assert_eq!(radar.duplicates(), [[ChangeId::new(1), ChangeId::new(2)]]);
}

//! Our verdicts beside Git's over invented histories. Owns the comparison; must never excuse a difference.

use gantry_core::id::{ChangeId, CommitId};

use super::invented::Invented;
use super::*;

struct World {
    invented: Invented,
    main: Vec<CommitId>,
    heads: Vec<CommitId>,
}

/// Invents a target of a dozen commits and as many branches that left it at different points.
fn world(seed: u64) -> World {
    let mut invented = Invented::new(seed);
    let files = invented.files();
    let mut main = vec![invented.commit("main", files, &[])];
    let mut heads = Vec::new();
    let mut tips: Vec<usize> = Vec::new();
    for _ in 0..10 {
        let onto = *main.last().expect("a tip");
        let mut files = invented.files_at(onto);
        invented.edit(&mut files);
        // Sometimes a branch lands as a merge would, which gives later branches two bases.
        let parents = match tips.last() {
            Some(other) if invented.dice.roll(6) == 0 => vec![onto, *other],
            _ => vec![onto],
        };
        main.push(invented.commit("main", files, &parents));
        let start = main[invented.dice.roll(main.len())];
        let mut tip = start;
        let mut files = invented.files_at(start);
        for _ in 0..=invented.dice.roll(2) {
            invented.edit(&mut files);
            let mut parents = vec![tip];
            if invented.dice.roll(8) == 0 {
                parents.push(main[invented.dice.roll(main.len())]);
                parents.dedup();
            }
            tip = invented.commit("branch", files.clone(), &parents);
        }
        tips.push(tip);
        heads.push(tip);
    }
    let commits = invented.finish();
    let named = |marks: Vec<usize>| marks.into_iter().map(|mark| commits[mark - 1]).collect();
    World {
        main: named(main),
        heads: named(heads),
        invented,
    }
}

/// Both answers as text, so that a difference can be read.
fn shown(merge: &TreeMerge) -> String {
    match merge {
        TreeMerge::Clean(tree) => format!("clean {tree}"),
        TreeMerge::Conflict(paths) => {
            let paths: Vec<_> = paths.iter().map(|path| String::from_utf8_lossy(path)).collect();
            format!("conflict {paths:?}")
        }
    }
}

#[test]
fn merges_give_gits_verdict_gits_tree_and_gits_paths() {
    let seeds = std::env::var("GANTRY_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6);
    let mut differences = Vec::new();
    let mut merges = 0;
    for seed in 0..seeds {
        let world = world(seed);
        let repository = GitRepository::open(world.invented.path()).expect("it opens");
        let git = GitProgram::at(world.invented.path());
        let all: Vec<CommitId> = world.heads.iter().chain(world.main.last()).copied().collect();
        for (at, ours) in all.iter().enumerate() {
            for theirs in &all[at + 1..] {
                let mine = repository.merge_commits(*ours, *theirs).expect("no trouble");
                let gits = git.merge_tree(*ours, *theirs).expect("no trouble");
                merges += 1;
                if mine != gits {
                    let (mine, gits) = (shown(&mine), shown(&gits));
                    differences.push(format!(
                        "seed {seed}: {ours} {theirs}\n  ours {mine}\n  git  {gits}"
                    ));
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {merges}:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn the_radar_says_after_every_landing_what_git_says() {
    let seeds = std::env::var("GANTRY_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6);
    for seed in 0..seeds {
        let world = world(1000 + seed);
        let repository = GitRepository::open(world.invented.path()).expect("it opens");
        let git = GitProgram::at(world.invented.path());
        let open: Vec<OpenHead> = (1..)
            .zip(&world.heads)
            .map(|(number, head)| OpenHead {
                change: ChangeId::new(number),
                head: *head,
            })
            .collect();
        let mut radar = Radar::new();
        for tip in &world.main {
            let verdicts = radar.check(&repository, *tip, &open).expect("no trouble");
            for (open, verdict) in open.iter().zip(verdicts) {
                let gits = git.merge_tree(*tip, open.head).expect("no trouble");
                let told = format!("seed {seed} tip {tip} head {}: {:?}", open.head, verdict.standing);
                match (&verdict.standing, &gits) {
                    (Standing::Clean { tree }, TreeMerge::Clean(wanted)) => {
                        assert!(tree.is_none_or(|tree| tree == *wanted), "{told}");
                        assert_ne!(repository.tree_of(*tip).expect("readable"), *wanted, "{told}");
                    }
                    (Standing::AlreadyIn, TreeMerge::Clean(wanted)) => {
                        assert_eq!(repository.tree_of(*tip).expect("readable"), *wanted, "{told}");
                    }
                    (Standing::Conflict { paths, .. }, TreeMerge::Conflict(wanted)) => {
                        assert_eq!(paths, wanted, "{told}");
                    }
                    _ => panic!("{told} but git {}", shown(&gits)),
                }
                let range = format!("{}..{tip}", open.head);
                let behind =
                    super::invented::git(world.invented.path(), &["rev-list", "--count", &range], b"");
                assert_eq!(
                    String::from_utf8_lossy(&behind).trim(),
                    verdict.behind.to_string(),
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn pairs_that_share_nothing_merge_in_git_too_and_the_others_as_the_radar_says() {
    for seed in 0..4 {
        let world = world(2000 + seed);
        let path = world.invented.path();
        let repository = GitRepository::open(path).expect("it opens");
        let git = GitProgram::at(path);
        let tip = *world.main.last().expect("a tip");
        let open: Vec<OpenHead> = (1..)
            .zip(&world.heads)
            .map(|(number, head)| OpenHead {
                change: ChangeId::new(number),
                head: *head,
            })
            .collect();
        let mut radar = Radar::new();
        // What is kept from one landing to the next has to be right for the last.
        for tip in &world.main {
            radar.check(&repository, *tip, &open).expect("no trouble");
        }
        let pairs = radar.overlaps(&repository).expect("no trouble");
        let landed: Vec<Option<CommitId>> = open
            .iter()
            .map(|open| landed(&git, path, tip, open.head))
            .collect();
        for (at, one) in open.iter().enumerate() {
            for (to, other) in open.iter().enumerate().skip(at + 1) {
                let (Some(a), Some(b)) = (landed[at], landed[to]) else {
                    continue;
                };
                let gits = git.merge_tree(a, b).expect("no trouble");
                let pair = pairs
                    .iter()
                    .find(|pair| pair.a == one.change && pair.b == other.change);
                let told = format!("seed {seed} {} {}: {pair:?}", one.head, other.head);
                match (pair.map(|pair| &pair.overlap), &gits) {
                    (Some(Overlap::Conflict(paths)), TreeMerge::Conflict(wanted)) => {
                        assert_eq!(paths, wanted, "{told}");
                    }
                    (None | Some(Overlap::Compatible | Overlap::Duplicate), TreeMerge::Clean(_)) => {}
                    _ => panic!("{told} but git {}", shown(&gits)),
                }
            }
        }
    }
}

/// Makes the commit that a change would land as, or `None` if it conflicts or adds nothing.
fn landed(program: &GitProgram, path: &std::path::Path, tip: CommitId, head: CommitId) -> Option<CommitId> {
    let TreeMerge::Clean(tree) = program.merge_tree(tip, head).expect("no trouble") else {
        return None;
    };
    let arguments = [
        "commit-tree",
        "-m",
        "landed",
        "-p",
        &tip.to_string(),
        &tree.to_string(),
    ];
    let id = super::invented::git(path, &arguments, b"");
    let id = String::from_utf8(id)
        .expect("text")
        .trim()
        .parse()
        .expect("a commit");
    let repository = GitRepository::open(path).expect("it opens");
    (repository.tree_of(tip).expect("readable") != tree).then_some(id)
}

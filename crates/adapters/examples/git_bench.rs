//! Measures the radar and the making of candidates beside Git's own programs, on invented repositories. Owns the
//! inventing and the timing; must never be run in the tests.
//!
//! `cargo run --release -p gantry-adapters --example git_bench`

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use gantry_adapters::git::{
    GitProgram, GitRepository, Member, Method, OpenHead, Overlap, Radar, Replay, Standing,
};
use gantry_core::id::{ChangeId, CommitId};
use gantry_core::time::Timestamp;

type Answer<T> = Result<T, Box<dyn Error>>;

const FILES: usize = 1_000;
const LINES: usize = 120;
const MAIN_COMMITS: usize = 300;
const OPEN: usize = 1_000;
/// Pairs Git is timed on; the rest is extrapolated.
const PAIR_SAMPLE: usize = 2_000;

fn main() -> Answer<()> {
    println!("{}", GitProgram::at("/").version()?);
    if std::env::args().nth(1).as_deref() == Some("candidate") {
        return candidate_figures();
    }
    radar_figures()?;
    candidate_figures()?;
    long_history_figures()?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed())
}

/// Numbers that look random. Source: SplitMix64 by Sebastiano Vigna.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap_or(0)
    }
}

/// A file as the list of its lines' versions.
type File = Vec<u32>;

struct Stream {
    text: String,
    mark: usize,
    dice: Dice,
    edit: u32,
}

impl Stream {
    fn new(seed: u64) -> Self {
        Self {
            text: String::new(),
            mark: 0,
            dice: Dice(seed),
            edit: 0,
        }
    }

    fn commit(&mut self, branch: &str, from: Option<usize>, files: &[(usize, &File)]) -> usize {
        self.mark += 1;
        let (mark, seconds) = (self.mark, 1_700_000_000 + self.mark);
        let out = &mut self.text;
        let _ = writeln!(out, "commit refs/heads/{branch}\nmark :{mark}");
        let _ = writeln!(out, "committer Ada <ada@example.org> {seconds} +0000\ndata 2\nx");
        if let Some(from) = from {
            let _ = writeln!(out, "from :{from}");
        }
        for (number, file) in files {
            let mut content = String::new();
            for (line, version) in file.iter().enumerate() {
                let _ = writeln!(content, "    let value_{line} = file_{number}.call({version});");
            }
            let path = path_of(*number);
            let _ = writeln!(out, "M 100644 inline {path}\ndata {}\n{content}", content.len());
        }
        mark
    }

    /// Edits a few neighbouring lines of a file.
    fn edit(&mut self, file: &mut File) {
        let at = self.dice.roll(file.len() - 3);
        self.edit += 1;
        for line in &mut file[at..at + 3] {
            *line = self.edit;
        }
    }
}

fn path_of(number: usize) -> String {
    format!("src/area{}/part{}/f{number}.rs", number % 20, number % 7)
}

fn git(path: &Path, arguments: &[&str], input: &[u8]) -> Answer<Vec<u8>> {
    let mut child = GitProgram::at(path)
        .command(arguments)
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no pipe")?;
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.write_all(input));
        let output = child.wait_with_output();
        writer.join().map_err(|_| "the writer ended early")??;
        Answer::Ok(output?)
    })?;
    if !output.status.success() {
        return Err(format!("git {arguments:?} ended with {}", output.status).into());
    }
    Ok(output.stdout)
}

fn import(path: &Path, stream: &Stream) -> Answer<Vec<CommitId>> {
    git(path, &["init", "--quiet", "--bare", "--initial-branch=main"], b"")?;
    let marks = path.join("marks");
    let export = format!("--export-marks={}", marks.display());
    git(path, &["fast-import", "--quiet", &export], stream.text.as_bytes())?;
    let mut commits: Vec<(usize, CommitId)> = Vec::new();
    for line in std::fs::read_to_string(marks)?.lines() {
        let (mark, id) = line
            .trim_start_matches(':')
            .split_once(' ')
            .ok_or("a strange mark")?;
        commits.push((mark.parse()?, id.parse()?));
    }
    commits.sort_unstable();
    git(path, &["repack", "-a", "-d", "--quiet"], b"")?;
    Ok(commits.into_iter().map(|(_, id)| id).collect())
}

/// A target, the commit that lands on it, and open changes that left it at many points.
struct Backlog {
    directory: tempfile::TempDir,
    tip: CommitId,
    landed: CommitId,
    heads: Vec<CommitId>,
}

fn backlog() -> Answer<Backlog> {
    let directory = tempfile::TempDir::new()?;
    let mut stream = Stream::new(7);
    let mut files: Vec<File> = vec![vec![0; LINES]; FILES];
    let all: Vec<(usize, &File)> = files.iter().enumerate().collect();
    let mut main = vec![stream.commit("main", None, &all)];
    let mut states = vec![files.clone()];
    for _ in 1..MAIN_COMMITS {
        let touched: BTreeSet<usize> = (0..3).map(|_| stream.dice.roll(FILES)).collect();
        for number in &touched {
            stream.edit(&mut files[*number]);
        }
        let edits: Vec<_> = touched.iter().map(|number| (*number, &files[*number])).collect();
        main.push(stream.commit("main", main.last().copied(), &edits));
        states.push(files.clone());
    }
    let mut heads = Vec::new();
    for change in 0..OPEN {
        let start = MAIN_COMMITS - 1 - stream.dice.roll(200);
        let mut mine = states[start].clone();
        let mut tip = main[start];
        for _ in 0..=stream.dice.roll(2) {
            let touched: BTreeSet<usize> = (0..=stream.dice.roll(4))
                .map(|_| stream.dice.roll(FILES))
                .collect();
            for number in &touched {
                stream.edit(&mut mine[*number]);
            }
            let edits: Vec<_> = touched.iter().map(|number| (*number, &mine[*number])).collect();
            tip = stream.commit(&format!("c{change}"), Some(tip), &edits);
        }
        // One in fifty renames a file too.
        if change % 50 == 0 {
            let number = stream.dice.roll(FILES);
            tip = stream.commit(&format!("c{change}"), Some(tip), &[]);
            let (from, to) = (path_of(number), format!("src/renamed{change}.rs"));
            let _ = writeln!(stream.text, "R {from} {to}");
        }
        heads.push(tip);
    }
    let touched: BTreeSet<usize> = (0..10).map(|_| stream.dice.roll(FILES)).collect();
    for number in &touched {
        stream.edit(&mut files[*number]);
    }
    let edits: Vec<_> = touched.iter().map(|number| (*number, &files[*number])).collect();
    let tip = *main.last().ok_or("no tip")?;
    let landed = stream.commit("main", Some(tip), &edits);
    let commits = import(directory.path(), &stream)?;
    Ok(Backlog {
        tip: commits[tip - 1],
        landed: commits[landed - 1],
        heads: heads.into_iter().map(|mark| commits[mark - 1]).collect(),
        directory,
    })
}

/// Asks Git for all merges in one process; true stands for a clean one.
fn gits_verdicts(path: &Path, pairs: &[(CommitId, CommitId)]) -> Answer<Vec<bool>> {
    let input: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let output = git(
        path,
        &["merge-tree", "--write-tree", "--stdin", "--no-messages"],
        input.as_bytes(),
    )?;
    // Each answer is "<clean>\0<tree>\0[<conflicted file>\0]…\0".
    let mut verdicts = Vec::new();
    let mut starts = true;
    for field in output.split(|byte| *byte == 0) {
        if starts && !field.is_empty() {
            verdicts.push(field == b"1");
        }
        starts = field.is_empty();
    }
    Ok(verdicts)
}

fn radar_figures() -> Answer<()> {
    let backlog = backlog()?;
    let path = backlog.directory.path();
    let repository = GitRepository::open(path)?;
    let open: Vec<OpenHead> = (1..)
        .zip(&backlog.heads)
        .map(|(number, head)| OpenHead {
            change: ChangeId::new(number),
            head: *head,
        })
        .collect();
    let mut radar = Radar::new();
    let (first, from_nothing) = timed(|| radar.check(&repository, backlog.tip, &open));
    let first = first?;
    let (pairs, overlap) = timed(|| radar.overlaps(&repository));
    let pairs = pairs?;
    let conflicts = pairs
        .iter()
        .filter(|pair| matches!(pair.overlap, Overlap::Conflict(_)))
        .count();
    let count = |wanted: fn(&Standing) -> bool, of: &[gantry_adapters::git::Verdict]| {
        of.iter().filter(|verdict| wanted(&verdict.standing)).count()
    };
    let clean = |standing: &Standing| matches!(standing, Standing::Clean { .. } | Standing::AlreadyIn);
    println!(
        "radar from nothing, {OPEN} open changes: {from_nothing:.1?}, {} merge",
        count(clean, &first)
    );
    println!(
        "  overlap of every pair: {overlap:.1?}, {} share paths, {conflicts} conflict",
        pairs.len()
    );
    let (second, after) = timed(|| radar.check(&repository, backlog.landed, &open));
    let second = second?;
    println!(
        "radar after a landing of 10 files: {after:.2?}, {} merge",
        count(clean, &second)
    );
    let (_, again) = timed(|| radar.overlaps(&repository));
    println!("  overlap of every pair after it: {again:.1?}");
    for (name, tip, verdicts, mine) in [
        ("from nothing", backlog.tip, &first, from_nothing),
        ("after the landing", backlog.landed, &second, after),
    ] {
        let asked: Vec<_> = backlog.heads.iter().map(|head| (tip, *head)).collect();
        let (gits, time) = timed(|| gits_verdicts(path, &asked));
        let gits = gits?;
        let equal = verdicts
            .iter()
            .zip(&gits)
            .filter(|(mine, git)| clean(&mine.standing) == **git)
            .count();
        println!(
            "  git merge-tree --stdin {name}: {time:.1?} ({:.0} times), {equal} of {} verdicts equal",
            time.as_secs_f64() / mine.as_secs_f64(),
            gits.len()
        );
    }
    let mut dice = Dice(3);
    let mut any = || backlog.heads[dice.roll(OPEN)];
    let sample: Vec<_> = (0..PAIR_SAMPLE).map(|_| (any(), any())).collect();
    let (gits, time) = timed(|| gits_verdicts(path, &sample));
    gits?;
    let every = time.as_secs_f64() / PAIR_SAMPLE as f64 * (OPEN * (OPEN - 1) / 2) as f64;
    println!(
        "  git merge-tree --stdin over {PAIR_SAMPLE} pairs: {time:.1?}; over every pair about {every:.0} s"
    );
    Ok(())
}

fn candidate_figures() -> Answer<()> {
    let backlog = backlog()?;
    let path = backlog.directory.path();
    let batches = batches_of_eight(&backlog)?;
    for (method, batches) in [Method::Rebase, Method::Squash, Method::Merge]
        .iter()
        .zip(batches.chunks(21))
    {
        let mut times = Vec::new();
        for batch in batches {
            let fresh = GitRepository::open(path)?;
            let (made, time) = timed(|| fresh.replay(backlog.tip, batch, *method));
            if let Replay::Conflict { change, .. } = made? {
                return Err(format!("{change} conflicts").into());
            }
            times.push(time);
        }
        times.sort();
        println!(
            "candidate of 8 changes by {method:?}: median {:.1?}, worst {:.1?}",
            times[10], times[20]
        );
    }
    let members = batches.first().ok_or("no batch")?;
    let tree = path.join("tree");
    let at = tree.to_str().ok_or("a strange path")?;
    git(
        path,
        &[
            "worktree",
            "add",
            "--quiet",
            "--detach",
            at,
            &backlog.tip.to_string(),
        ],
        b"",
    )?;
    let (done, time) = timed(|| -> Answer<()> {
        let mut onto = backlog.tip.to_string();
        for member in members {
            git(
                &tree,
                &["checkout", "--quiet", "--detach", &member.head.to_string()],
                b"",
            )?;
            git(&tree, &["rebase", "--quiet", &onto], b"")?;
            onto = String::from_utf8(git(&tree, &["rev-parse", "HEAD"], b"")?)?
                .trim()
                .to_owned();
        }
        Ok(())
    });
    done?;
    println!("  the same by git rebase in a work tree: {time:.1?}");
    Ok(())
}

/// Finds changes that land together; a repetition takes other changes, so that nothing it has to write is there yet.
fn batches_of_eight(backlog: &Backlog) -> Answer<Vec<Vec<Member>>> {
    let copy = tempfile::TempDir::new()?;
    GitProgram::clone_bare(backlog.directory.path(), &copy.path().join("trials"))?;
    let trials = GitRepository::open(copy.path().join("trials"))?;
    let mut batches: Vec<Vec<Member>> = Vec::new();
    let mut members = Vec::new();
    for (number, head) in (1..).zip(&backlog.heads) {
        let member = Member {
            change: ChangeId::new(number),
            head: *head,
            title: format!("Change {number}"),
            offered_at: Timestamp::from_millis(1_800_000_000_000),
            stands_on: Vec::new(),
        };
        members.push(member);
        if let Replay::Conflict { .. } = trials.replay(backlog.tip, &members, Method::Rebase)? {
            members.pop();
        }
        if members.len() == 8 {
            batches.push(std::mem::take(&mut members));
        }
        if batches.len() == 63 {
            break;
        }
    }
    Ok(batches)
}

fn long_history_figures() -> Answer<()> {
    let directory = tempfile::TempDir::new()?;
    let mut stream = Stream::new(11);
    let mut files: Vec<File> = vec![vec![0; 40]; 500];
    let all: Vec<(usize, &File)> = files.iter().enumerate().collect();
    let mut tip = stream.commit("main", None, &all);
    let mut branch = tip;
    for number in 0..50_000 {
        let at = stream.dice.roll(500);
        stream.edit(&mut files[at]);
        tip = stream.commit("main", Some(tip), &[(at, &files[at])]);
        if number == 49_000 {
            branch = stream.commit("topic", Some(tip), &[(500, &vec![1; 10])]);
        }
    }
    let commits = import(directory.path(), &stream)?;
    let member = Member {
        change: ChangeId::new(1),
        head: commits[branch - 1],
        title: "topic".to_owned(),
        offered_at: Timestamp::from_millis(1_800_000_000_000),
        stands_on: Vec::new(),
    };
    for method in [Method::Rebase, Method::Squash] {
        let repository = GitRepository::open(directory.path())?;
        let (made, time) =
            timed(|| repository.replay(commits[tip - 1], std::slice::from_ref(&member), method));
        made?;
        println!("one change 1,000 commits behind, 50,000 commits in one pack, by {method:?}: {time:.1?}");
    }
    let repository = GitRepository::open(directory.path())?;
    let open = [OpenHead {
        change: member.change,
        head: member.head,
    }];
    let (verdicts, time) = timed(|| Radar::new().check(&repository, commits[tip - 1], &open));
    println!(
        "  its radar from nothing: {time:.1?}, {} behind",
        verdicts?[0].behind
    );
    Ok(())
}

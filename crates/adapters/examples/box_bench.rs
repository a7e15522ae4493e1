//! Measures boxes: `box_bench [REPOSITORY COMMIT [ROUNDS [WARM]]]`, of which the warm checkout is of the commit WARM; without a repository it makes one of 2,337 files.
//! Prints p50 and p99 of a whole box, of a command in one that lives, 100 boxes at once, and the memory of one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::native::enter_if_asked;
use gantry_adapters::engine::{
    BoxUser, ExecEnding, ExecSpec, Image, Limits, NativeEngine, Network, Sandbox, SandboxControl,
    SandboxEngine, SandboxSpec, Workspace,
};
use gantry_adapters::process;
use gantry_core::id::CommitId;

const FILES: usize = 2_337;
const AT_ONCE: usize = 100;

fn main() {
    enter_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = std::env::temp_dir().join(format!("gantry-box-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let (repository, commit) = match &arguments[..] {
        [repository, commit, ..] => (PathBuf::from(repository), commit.parse().expect("a commit")),
        _ => make_repository(&folder),
    };
    let rounds = arguments
        .get(2)
        .map_or(200, |rounds| rounds.parse().expect("a number"));
    let engine = NativeEngine::new("/proc/self/exe".into(), folder.join("boxes"));
    let spec = SandboxSpec {
        name: "bench".to_owned(),
        image: Image::Host,
        workspace: Workspace::Commit { repository, commit },
        workspace_at: "/box/workspace".into(),
        mounts: Vec::new(),
        env: Vec::new(),
        network: Network::None,
        limits: Limits {
            memory_bytes: Some(1 << 30),
            cpu_millis: Some(2000),
            processes: Some(1000),
            ..Limits::default()
        },
        user: BoxUser::Plain,
        services: Vec::new(),
    };
    let watch = Stopwatch::start();
    let mut first = spec.clone();
    if let (Some(warm), Workspace::Commit { commit, .. }) = (arguments.get(3), &mut first.workspace) {
        *commit = warm.parse().expect("a commit");
    }
    whole_box(&engine, &first);
    println!("first box, with the warm checkout made: {:?}", watch.elapsed());
    show(
        "open + exec + close",
        &mut (0..rounds).map(|_| whole_box(&engine, &spec)).collect::<Vec<_>>(),
    );
    parts(&engine, &spec, rounds);
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| whole_box(&engine, &spec));
        }
    });
    println!("{AT_ONCE} at once: {:?}", watch.elapsed());
    let left = fs::read_dir(folder.join("boxes")).expect("the boxes").flatten();
    let left = left.filter(|entry| entry.file_name() != ".warm").count();
    println!("folders left: {left}");
    drop(engine);
    fs::remove_dir_all(&folder).expect("removed");
}

fn parts(engine: &NativeEngine, spec: &SandboxSpec, rounds: usize) {
    let control = SandboxControl::default();
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let watch = Stopwatch::start();
        let sandbox = engine.open(spec, &control).expect("a box");
        opened.push(watch.elapsed());
        let watch = Stopwatch::start();
        sandbox.close();
        closed.push(watch.elapsed());
    }
    show("open", &mut opened);
    show("close", &mut closed);
    let sandbox = engine.open(spec, &control).expect("a box");
    show(
        "exec",
        &mut (0..rounds)
            .map(|_| exec_true(sandbox.as_ref()))
            .collect::<Vec<_>>(),
    );
    let mut bare = Vec::new();
    for _ in 0..rounds {
        let watch = Stopwatch::start();
        let status = process::command("/bin/true").status().expect("it runs");
        assert!(status.success());
        bare.push(watch.elapsed());
    }
    show("the same without a box", &mut bare);
    println!("memory of an idle box: {} KiB PSS", pss_kib());
    sandbox.close();
}

fn exec_true(sandbox: &dyn Sandbox) -> Duration {
    let exec = ExecSpec {
        command: vec!["/bin/true".to_owned()],
        env: Vec::new(),
        directory: "/box/workspace".into(),
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(1),
    };
    let watch = Stopwatch::start();
    let report = sandbox.exec(&exec, &mut |_| Ok(()), &SandboxControl::default());
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 });
    watch.elapsed()
}

fn whole_box(engine: &NativeEngine, spec: &SandboxSpec) -> Duration {
    let watch = Stopwatch::start();
    let sandbox = engine.open(spec, &SandboxControl::default()).expect("a box");
    exec_true(sandbox.as_ref());
    assert_eq!(sandbox.close().leftover, None);
    watch.elapsed()
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: p50 {:?} p99 {:?} (n={})", at(50), at(99), times.len());
}

/// Adds up what the processes of boxes of this program share of the memory.
fn pss_kib() -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mine = std::env::temp_dir().join(format!("gantry-box-bench-{}", std::process::id()));
        let text = String::from_utf8_lossy(&arguments).into_owned();
        if text.contains("__sandbox") && text.contains(mine.to_str().expect("text")) {
            let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            sum += line
                .and_then(|line| line.split_whitespace().next()?.parse().ok())
                .unwrap_or(0);
        }
    }
    sum
}

fn make_repository(folder: &Path) -> (PathBuf, CommitId) {
    let repository = folder.join("repo.git");
    let git = |arguments: &[&str]| {
        let mut command = process::command("git");
        command.args(arguments).env("HOME", folder);
        command
    };
    let path = repository.to_str().expect("text");
    assert!(
        git(&["init", "-q", "--bare", path])
            .status()
            .expect("git runs")
            .success()
    );
    let mut stream = b"commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 1\nm\n".to_vec();
    for number in 0..FILES {
        let content = format!("{number}\n").repeat(1500);
        let head = format!(
            "M 644 inline d{}/f{number}\ndata {}\n{content}\n",
            number % 60,
            content.len()
        );
        stream.extend_from_slice(head.as_bytes());
    }
    let mut import = git(&["-C", path, "fast-import", "--quiet"]);
    let mut child = import.stdin(Stdio::piped()).spawn().expect("git starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(&stream)
        .expect("git reads");
    assert!(child.wait().expect("git ends").success());
    let output = git(&["-C", path, "rev-parse", "main"])
        .output()
        .expect("git runs");
    let commit = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("a commit");
    (repository, commit)
}

//! Measures how long a box takes from asking for it to its end: `sandbox_times ENGINE SOCKET SCRATCH IMAGE COUNT
//! [REPOSITORY COMMIT]`. Prints the median and the slowest in milliseconds, each step apart.

use std::path::PathBuf;
use std::time::Duration;

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    BoxUser, ContainerEngine, ContainerSettings, ExecEnding, ExecSpec, Image, Limits, Network,
    SandboxControl, SandboxEngine, SandboxSpec, Workspace,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [engine, socket, scratch, image, count, ref commit @ ..] = words[..] else {
        eprintln!("sandbox_times ENGINE SOCKET SCRATCH IMAGE COUNT [REPOSITORY COMMIT]");
        std::process::exit(2);
    };
    let settings = ContainerSettings {
        scratch: PathBuf::from(scratch),
        socket: Some(PathBuf::from(socket)),
        probe_image: None,
    };
    let engine = match engine {
        "docker" => ContainerEngine::docker(settings),
        _ => ContainerEngine::podman(settings),
    };
    let workspace = match commit {
        [repository, commit] => Workspace::Commit {
            repository: PathBuf::from(repository),
            commit: commit.parse().expect("a commit's name"),
        },
        _ => Workspace::Empty,
    };
    let spec = SandboxSpec {
        name: "timed".to_owned(),
        image: Image::Named(image.to_owned()),
        workspace,
        workspace_at: PathBuf::from("/box/workspace"),
        mounts: Vec::new(),
        env: Vec::new(),
        network: Network::None,
        limits: Limits {
            memory_bytes: Some(256 * 1024 * 1024),
            processes: Some(100),
            ..Limits::default()
        },
        user: BoxUser::Plain,
        services: Vec::new(),
    };
    let exec = ExecSpec {
        command: vec!["true".to_owned()],
        env: Vec::new(),
        directory: PathBuf::from("/box/workspace"),
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(1),
    };
    let mut times: [Vec<u128>; 4] = Default::default();
    for _ in 0..count.parse::<usize>().expect("a number") {
        let watch = Stopwatch::start();
        let control = SandboxControl::default();
        let sandbox = engine.open(&spec, &control).expect("a box");
        let opened = watch.elapsed();
        let report = sandbox.exec(&exec, &mut |_: &[u8]| Ok(()), &control);
        assert_eq!(report.ending, ExecEnding::Exited { code: 0 });
        let ran = watch.elapsed();
        let receipt = sandbox.close();
        assert_eq!(receipt.leftover, None);
        let all = watch.elapsed();
        for (kept, time) in times.iter_mut().zip([opened, ran - opened, all - ran, all]) {
            kept.push(time.as_millis());
        }
    }
    for (name, mut kept) in ["open", "exec true", "close", "all"].into_iter().zip(times) {
        kept.sort_unstable();
        println!(
            "{name}: p50 {} ms, slowest {} ms",
            kept[kept.len() / 2],
            kept[kept.len() - 1]
        );
    }
}

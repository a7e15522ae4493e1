//! A program that becomes a part of a box, as gantry itself does, and a daemon with one box, which tests can
//! start as another user and kill: `sandbox_entry run SCRATCH LOG REPOSITORY COMMIT LINE` `... probe SCRATCH` or
//! `... build SCRATCH LAYER LINE`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use gantry_adapters::engine::native::enter_if_asked;
use gantry_adapters::engine::{
    BoxUser, CheckSpec, ExecSpec, Image, Limits, NativeEngine, Network, RootLayer, SandboxControl,
    SandboxEngine, SandboxSpec, Workspace, run_check,
};

fn main() {
    enter_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["probe", scratch] => match engine(scratch).probe() {
            Ok(held) => println!("boxes can be made; {}", held.join("; ")),
            Err(why) => println!("{why}"),
        },
        ["run", scratch, log, repository, commit, line] => {
            let spec = CheckSpec {
                name: "daemon".to_owned(),
                repository: repository.into(),
                commit: commit.parse().expect("a commit's name"),
                command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
                env: Vec::new(),
                timeout: Duration::from_secs(600),
                output_bytes_max: 64 * 1024 * 1024,
                log: log.into(),
                fail_fast: Vec::new(),
                network: Network::None,
            };
            let report = run_check(&engine(scratch), &spec, &SandboxControl::default());
            println!(
                "{:?} after {:?}, {} bytes",
                report.ending, report.duration, report.output_bytes
            );
            println!("{:?} {:?}", report.evidence, report.leftover);
        }
        ["build", scratch, layer, line] => build(scratch, layer, line),
        _ => {
            eprintln!("this program is for the tests of the native engine");
            std::process::exit(2);
        }
    }
}

/// Runs a line as root of a box on a layer, and lists what it changed of its root.
fn build(scratch: &str, layer: &str, line: &str) {
    let spec = SandboxSpec {
        name: "build".to_owned(),
        image: Image::Layers {
            digest: "sha256:00".to_owned(),
            layers: vec![RootLayer(layer.into())],
            env: Vec::new(),
        },
        workspace: Workspace::Empty,
        workspace_at: "/box/workspace".into(),
        mounts: Vec::new(),
        env: Vec::new(),
        network: Network::None,
        limits: Limits::default(),
        user: BoxUser::Root,
        services: Vec::new(),
    };
    let exec = ExecSpec {
        command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        env: Vec::new(),
        directory: "/".into(),
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(1),
    };
    let control = SandboxControl::default();
    let sandbox = engine(scratch).open(&spec, &control).expect("a box");
    let mut print = |bytes: &[u8]| std::io::stdout().write_all(bytes);
    let report = sandbox.exec(&exec, &mut print, &control);
    println!("{:?}", report.ending);
    let upper = sandbox.changed_root().expect("a layer of its own");
    list(&upper, &upper);
    println!("closed {:?}", sandbox.close().leftover);
}

fn list(top: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("its kind");
        let below = path.strip_prefix(top).expect("it is below").display();
        match (kind.is_dir(), kind.is_char_device()) {
            (true, _) => println!("folder {below}"),
            (_, true) => println!("device {below}"),
            _ => println!("file {below}"),
        }
        if kind.is_dir() {
            list(top, &path);
        }
    }
}

fn engine(scratch: &str) -> NativeEngine {
    NativeEngine::new("/proc/self/exe".into(), scratch.into())
}

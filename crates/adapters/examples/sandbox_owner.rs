//! A program that owns one box, which tests can kill: `sandbox_owner ENGINE SOCKET SCRATCH IMAGE LINE`. Runs the line in
//! the box, says `open` and waits until its standard input ends.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use gantry_adapters::engine::native::enter_if_asked;
use gantry_adapters::engine::{
    BoxUser, ContainerEngine, ContainerSettings, ExecSpec, Image, Limits, NativeEngine, Network,
    SandboxControl, SandboxEngine, SandboxSpec, Workspace,
};

fn main() {
    enter_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [engine, socket, scratch, image, line] = words[..] else {
        eprintln!("this program is for the tests of the engines");
        std::process::exit(2);
    };
    let settings = ContainerSettings {
        scratch: PathBuf::from(scratch),
        socket: Some(PathBuf::from(socket)),
        probe_image: None,
    };
    let engine: Box<dyn SandboxEngine> = match engine {
        "native" => Box::new(NativeEngine::new("/proc/self/exe".into(), settings.scratch)),
        "docker" => Box::new(ContainerEngine::docker(settings)),
        _ => Box::new(ContainerEngine::podman(settings)),
    };
    let control = SandboxControl::default();
    let spec = SandboxSpec {
        name: "owned".to_owned(),
        image: match image {
            "host" => Image::Host,
            name => Image::Named(name.to_owned()),
        },
        workspace: Workspace::Empty,
        workspace_at: PathBuf::from("/box/workspace"),
        mounts: Vec::new(),
        env: Vec::new(),
        network: Network::None,
        limits: Limits::default(),
        user: BoxUser::Plain,
        services: Vec::new(),
    };
    let sandbox = engine.open(&spec, &control).expect("a box");
    let exec = ExecSpec {
        command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        env: Vec::new(),
        directory: PathBuf::from("/box/workspace"),
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(1),
    };
    let report = sandbox.exec(&exec, &mut |_: &[u8]| Ok(()), &control);
    println!("open {:?}", report.ending);
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest).expect("its end");
    println!("closed {:?}", sandbox.close().leftover);
}

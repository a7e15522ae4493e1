//! A program that becomes a part of a box, as gantry itself does, and a daemon with one box, which tests can
//! start as another user and kill: `sandbox_entry run SCRATCH LOG REPOSITORY COMMIT LINE` or `... probe SCRATCH`.

use std::time::Duration;

use gantry_adapters::engine::native::enter_if_asked;
use gantry_adapters::engine::{CheckSpec, NativeEngine, Network, SandboxControl, SandboxEngine, run_check};

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
        _ => {
            eprintln!("this program is for the tests of the native engine");
            std::process::exit(2);
        }
    }
}

fn engine(scratch: &str) -> NativeEngine {
    NativeEngine::new("/proc/self/exe".into(), scratch.into())
}

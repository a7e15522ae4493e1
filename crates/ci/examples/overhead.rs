//! Measures what the runner itself costs: steps in boxes that do nothing, and output through lines, commands and masks.

use std::io::Read;
use std::path::{Path, PathBuf};

use gantry_adapters::clock::Stopwatch;
use gantry_adapters::engine::{
    EngineUnavailable, ExecEnding, ExecReport, ExecSpec, FileVisitor, Found, FoundKind, Image, Limits,
    Network, OpenError, Output, ReapError, Sandbox, SandboxControl, SandboxEngine, SandboxError,
    SandboxReceipt, SandboxSpec,
};
use gantry_ci::run::{
    ConcurrencyGroups, EventInput, Images, NoLibrary, RepositoryInput, RunIdentity, RunRequest, run_workflows,
};
use gantry_workflow::model::WorkflowFile;

/// Boxes that do nothing, but write this often a chunk of this text.
struct Idle {
    chunk: Vec<u8>,
    times: usize,
}

impl SandboxEngine for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn probe(&self) -> Result<Vec<String>, EngineUnavailable> {
        Ok(Vec::new())
    }

    fn open(&self, _: &SandboxSpec, _: &SandboxControl) -> Result<Box<dyn Sandbox>, OpenError> {
        Ok(Box::new(Idle {
            chunk: self.chunk.clone(),
            times: self.times,
        }))
    }

    fn reap(&self) -> Result<usize, ReapError> {
        Ok(0)
    }
}

impl Sandbox for Idle {
    fn exec(&self, _: &ExecSpec, output: &mut Output<'_>, _: &SandboxControl) -> ExecReport {
        let watch = Stopwatch::start();
        for _ in 0..self.times {
            output(&self.chunk).expect("the log takes it");
        }
        ExecReport {
            ending: ExecEnding::Exited { code: 0 },
            duration: watch.elapsed(),
        }
    }

    fn put_file(&self, _: &Path, _: &[u8], _: u32) -> Result<(), SandboxError> {
        Ok(())
    }

    fn visit_files(&self, _: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError> {
        for name in ["env", "output", "path", "state", "step_summary"] {
            let found = Found {
                path: PathBuf::from(name),
                mode: 0o644,
                kind: FoundKind::File { bytes: 0 },
            };
            let content: &mut dyn Read = &mut std::io::empty();
            visitor.visit(&found, content).expect("nothing is read");
        }
        Ok(())
    }

    fn changed_root(&self) -> Option<PathBuf> {
        None
    }

    fn freeze(&self, _: bool) -> Result<(), SandboxError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> SandboxReceipt {
        SandboxReceipt::default()
    }
}

fn measure(engine: &Idle, text: &str, secrets: &[(String, String)], folder: &Path) -> std::time::Duration {
    let files = [WorkflowFile::parse("ci.yml", text).expect("it is a workflow")];
    let event = EventInput {
        name: "push".into(),
        payload: serde_json::json!({}),
        git_ref: "refs/heads/main".into(),
        commit: "0123456789abcdef0123456789abcdef01234567"
            .parse()
            .expect("it is a commit"),
        base_ref: String::new(),
        head_ref: String::new(),
        changed_paths: None,
    };
    let repository = RepositoryInput {
        owner: "o".into(),
        name: "r".into(),
        default_branch: "main".into(),
        git_dir: folder.to_owned(),
    };
    let images = Images {
        labels: vec![("box".into(), Some(Image::Host))],
        ..Images::default()
    };
    let request = RunRequest {
        workflows: &files,
        event: &event,
        repository: &repository,
        actor: "a",
        vars: &[],
        secrets,
        inputs: &[],
        engine,
        images: &images,
        mounts: &[],
        env: &[],
        user: gantry_adapters::engine::BoxUser::Plain,
        slots: 2,
        limits: &Limits::default(),
        network: &Network::None,
        identity: RunIdentity {
            id: 1,
            number: 1,
            attempt: 1,
            debug: false,
        },
        folder: folder.to_owned(),
        stores: None,
        library: &NoLibrary,
        groups: &ConcurrencyGroups::default(),
        cancel_grace: std::time::Duration::from_secs(30),
        control: &SandboxControl::default(),
        tell: &|_| {},
    };
    let watch = Stopwatch::start();
    let report = run_workflows(&request).expect("the secrets can be masked");
    let elapsed = watch.elapsed();
    assert_eq!(
        report.ending(),
        gantry_core::queue::build::Ending::Passed,
        "{report:?}"
    );
    elapsed
}

fn main() {
    let folder = std::env::temp_dir().join("gantry-overhead");
    std::fs::create_dir_all(&folder).expect("there is room");
    let steps = "      - run: echo a\n".repeat(5);
    let matrix: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let text = format!(
        "on: push\njobs:\n  a:\n    strategy: {{matrix: {{n: [{}]}}}}\n    runs-on: box\n    steps:\n{steps}",
        matrix.join(", ")
    );
    let idle = Idle {
        chunk: Vec::new(),
        times: 0,
    };
    let elapsed = measure(&idle, &text, &[], &folder);
    println!("20 jobs x 5 steps: {elapsed:?}, {:?} a step", elapsed / 100);
    let line = "the quick brown fox jumps over the lazy dog and tells nobody where it went\n";
    let loud = Idle {
        chunk: line.repeat(850).into_bytes(),
        times: 4_000,
    };
    let secrets: Vec<(String, String)> = (0..200)
        .map(|number| {
            (
                format!("S{number}"),
                format!("secret-value-{number:04}-{}", number * 7919),
            )
        })
        .collect();
    let text = "on: push\njobs:\n  a:\n    runs-on: box\n    steps:\n      - run: echo a\n";
    let elapsed = measure(&loud, text, &secrets, &folder);
    let megabytes = (loud.chunk.len() * loud.times) as f64 / 1e6;
    println!(
        "{megabytes:.0} MB of output with 200 secrets: {:.0} MB/s",
        megabytes / elapsed.as_secs_f64()
    );
    std::fs::remove_dir_all(&folder).expect("it is there");
}

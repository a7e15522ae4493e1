//! The steps of an image's build, each in a fresh box on the layers so far. Owns showing what a step prints.

use std::path::PathBuf;
use std::sync::Arc;

use gantry_adapters::engine::{
    BoxUser, ExecEnding, ExecSpec, Image, Limits, Network, RootLayer, Sandbox, SandboxControl, SandboxEngine,
    SandboxSpec, Workspace,
};
use gantry_core::limits::{BOX_GRACE, CHECK_TIMEOUT_MAX};
use gantry_core::mask::{Masker, Secrets};
use gantry_engine::profile::EngineName;
use gantry_engine::sandbox::Engines;
use gantry_image::{ChangedLayer, LayerPath, RunStep, StepError, StepRunner};

use crate::cli::{Common, show};
use crate::exit_code::{Coded, ExitCode};

/// Runs steps in native boxes.
pub struct BoxSteps {
    engine: Arc<dyn SandboxEngine>,
    secrets: Secrets,
    quiet: bool,
}

impl BoxSteps {
    pub fn new(common: &Common, secrets: &Secrets) -> Result<Self, Coded> {
        let data = common.data()?;
        let engine = Engines::load(data.root(), &data.boxes())
            .and_then(|engines| engines.make(EngineName::Native))
            .map_err(|why| Coded::new(ExitCode::Usage, why))?;
        Ok(Self {
            engine,
            secrets: secrets.clone(),
            quiet: common.json(),
        })
    }

    fn show(&self, bytes: &[u8]) {
        if !self.quiet {
            // What a step prints is for people; the build does not hang on it.
            drop(show::line(String::from_utf8_lossy(bytes).trim_end_matches('\n')));
        }
    }
}

/// Keeps a box open until its layer was read.
struct Open(Option<Box<dyn Sandbox>>);

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(leftover) = self.0.take().and_then(|sandbox| sandbox.close().leftover) {
            eprintln!("gantry: left behind: {leftover}; gantry box prune tries again");
        }
    }
}

impl StepRunner for BoxSteps {
    fn run(&mut self, layers: &[LayerPath], step: &RunStep) -> Result<ChangedLayer, StepError> {
        let control = SandboxControl::default();
        let mut trees: Vec<RootLayer> = Vec::new();
        for layer in layers {
            match layer {
                LayerPath::Tree(path) => trees.push(RootLayer(path.clone())),
                LayerPath::Host => {
                    return Err(StepError::Trouble(
                        "an image on the base `host` cannot run steps: name an image as its base".to_owned(),
                    ));
                }
            }
        }
        self.show(format!("==> {}", step.text).as_bytes());
        let spec = SandboxSpec {
            name: "image-step".to_owned(),
            image: Image::Layers {
                digest: String::new(),
                layers: trees,
                env: step.environment.clone(),
            },
            workspace: Workspace::Empty,
            workspace_at: "/box/workspace".into(),
            mounts: Vec::new(),
            env: Vec::new(),
            network: Network::Full,
            limits: Limits::default(),
            user: BoxUser::Root,
            services: Vec::new(),
        };
        let sandbox = self
            .engine
            .open(&spec, &control)
            .map_err(|error| StepError::Trouble(error.to_string()))?;
        let open = Open(Some(sandbox));
        let sandbox = open
            .0
            .as_ref()
            .ok_or_else(|| StepError::Trouble("the box is gone".to_owned()))?;
        let exec = ExecSpec {
            command: words_as(step),
            env: Vec::new(),
            directory: PathBuf::from(&step.folder),
            timeout: CHECK_TIMEOUT_MAX,
            grace: BOX_GRACE,
        };
        let mut masker = Masker::new(&self.secrets);
        let mut shown = Vec::new();
        let report = sandbox.exec(
            &exec,
            &mut |bytes| {
                shown.clear();
                masker.push(bytes, &mut shown);
                self.show(&shown);
                Ok(())
            },
            &control,
        );
        shown.clear();
        masker.finish(&mut shown);
        self.show(&shown);
        match report.ending {
            ExecEnding::Exited { code: 0 } => {}
            ExecEnding::Exited { code } => return Err(StepError::Failed { code }),
            ExecEnding::Signalled { signal } => return Err(StepError::Failed { code: 128 + signal }),
            ExecEnding::OutOfMemory => return Err(StepError::Trouble("it ran out of memory".to_owned())),
            ExecEnding::TimedOut => return Err(StepError::Trouble("it ran too long".to_owned())),
            ExecEnding::Cancelled => return Err(StepError::Trouble("it was cancelled".to_owned())),
            ExecEnding::Trouble(_, why) => return Err(StepError::Trouble(why)),
        }
        let upper = sandbox
            .changed_root()
            .ok_or_else(|| StepError::Trouble("the engine does not tell what the step changed".to_owned()))?;
        Ok(ChangedLayer {
            upper,
            guard: Some(Box::new(open)),
        })
    }
}

/// Returns the words that run a step as the user the recipe names.
fn words_as(step: &RunStep) -> Vec<String> {
    if matches!(step.user.as_str(), "" | "root" | "0" | "0:0" | "root:root") {
        return step.words.clone();
    }
    let mut words = vec!["setpriv".to_owned(), "--init-groups".to_owned()];
    let (user, group) = step.user.split_once(':').unwrap_or((&step.user, ""));
    words.extend(["--reuid".to_owned(), user.to_owned()]);
    words.extend([
        "--regid".to_owned(),
        if group.is_empty() { user } else { group }.to_owned(),
        "--".to_owned(),
    ]);
    words.extend(step.words.iter().cloned());
    words
}

//! The order of a build: which stages are needed, each step from the cache or run, what is refused, what is published.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use gantry_core::limits::IMAGE_LAYERS_MAX;
use gantry_core::time::Timestamp;
use serde::Serialize;

use super::stage::StageState;
use super::step::{StepError, StepRunner};
use crate::beneath::Beneath;
use crate::bounded::read_document;
use crate::digest::Digest;
use crate::format::{ImportError, ImportRequest};
use crate::layer::stack::Stack;
use crate::layer::{CaptureError, capture};
use crate::name::ImageName;
use crate::recipe::{Action, Base, KeyHash, Recipe, RecipeError, Stage, Step, recipe_key};
use crate::scan::{Finding, ScanError, scan_config, scan_tree};
use crate::store::{BakedInputs, ImageStore, NewImage, StoreError, Transaction};

/// The most bytes of a key file, and of `.dockerignore`.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What to build.
pub struct BuildRequest<'a> {
    /// From what.
    pub recipe: &'a Recipe,
    /// The folder that `COPY`, `key` and base files are relative to.
    pub context: &'a Path,
    /// The names to give it.
    pub names: Vec<ImageName>,
    /// Values for `ARG`s.
    pub arguments: BTreeMap<String, String>,
    /// False to run every step.
    pub cached: bool,
    /// Returns the name of a secret that the bytes hold; see [`ImageStore::scan`].
    pub named_secret: &'a dyn Fn(&[u8]) -> Option<String>,
    /// Now.
    pub now: Timestamp,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The image.
    pub digest: Digest,
    /// Its names.
    pub names: Vec<ImageName>,
    /// How many steps were run.
    pub run_count: usize,
    /// How many were not, as their layers were there.
    pub cached_count: usize,
}

/// Why there is no image. Steps that went well are kept for the next try.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A file of the context.
    #[error("{} cannot be read", path.display())]
    Context {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A step did not go well.
    #[error("{file} line {line}: {text}")]
    Step {
        /// The recipe's file.
        file: String,
        /// The line.
        line: usize,
        /// The step.
        text: String,
        /// Why.
        #[source]
        source: StepError,
    },
    /// A step's changes cannot be kept.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The image would hold secrets.
    #[error("the image would hold {} secrets, the first in {}: {}; hand them to the box instead", .0.len(), .0[0].place, .0[0].kind)]
    Secrets(Vec<Finding>),
    /// It cannot be told whether it would.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A base file.
    #[error("the base cannot be taken in")]
    Base(#[from] ImportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageStore {
    /// Builds an image, from the cache where nothing changed.
    ///
    /// Errors: [`BuildError`].
    pub fn build(
        &self,
        request: &BuildRequest<'_>,
        runner: &mut dyn StepRunner,
    ) -> Result<Built, BuildError> {
        let mut build = Build {
            store: self,
            request,
            transaction: self.begin()?,
            stages: Vec::new(),
            base: None,
            run_count: 0,
            cached_count: 0,
        };
        let needed = needed_stages(request.recipe);
        for (number, stage) in request.recipe.stages.iter().enumerate() {
            let state = if needed.contains(&number) {
                Some(build.stage(stage, runner)?)
            } else {
                None
            };
            build.stages.push(state);
        }
        build.finish()
    }
}

/// Returns the stages that the last one stands on or copies from, and itself.
fn needed_stages(recipe: &Recipe) -> Vec<usize> {
    let mut needed = vec![recipe.stages.len() - 1];
    let mut at = 0;
    while at < needed.len() {
        let number = needed[at];
        let stage = &recipe.stages[number];
        let base = (stage.base.word(), false);
        let copies = stage.steps.iter().filter_map(|step| match &step.action {
            Action::Copy(copy) => copy.from.as_deref().map(|from| (from, true)),
            _ => None,
        });
        for (word, by_number) in std::iter::once(base).chain(copies) {
            if let Some(found) = stage_named(&recipe.stages[..number], word, by_number)
                && !needed.contains(&found)
            {
                needed.push(found);
            }
        }
        at += 1;
    }
    needed
}

pub(super) fn stage_named(stages: &[Stage], word: &str, by_number: bool) -> Option<usize> {
    let lower = word.to_ascii_lowercase();
    let named = stages
        .iter()
        .rposition(|stage| stage.name.as_deref() == Some(lower.as_str()));
    named.or_else(|| {
        word.parse()
            .ok()
            .filter(|number| by_number && *number < stages.len())
    })
}

/// A build under way.
pub(super) struct Build<'a> {
    pub(super) store: &'a ImageStore,
    pub(super) request: &'a BuildRequest<'a>,
    pub(super) transaction: Transaction<'a>,
    /// The stages so far; `None` for one nobody needs.
    pub(super) stages: Vec<Option<StageState>>,
    /// The image the last stage stands on.
    base: Option<Digest>,
    pub(super) run_count: usize,
    pub(super) cached_count: usize,
}

impl Build<'_> {
    pub(super) fn fail(&self, step: &Step, problem: impl Into<String>) -> BuildError {
        self.request.recipe.fail(step.line, problem).into()
    }

    pub(super) fn context_file(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = Beneath::open(self.request.context)?.file(path.trim_start_matches("./").as_bytes())?;
        read_document(file, KEY_FILE_BYTES_MAX)
    }

    fn recipe_key(&self) -> Result<String, BuildError> {
        let read = |path: &Path| self.context_file(&path.to_string_lossy());
        recipe_key(self.request.recipe, &read).map_err(|source| BuildError::Context {
            path: self.request.context.to_owned(),
            source,
        })
    }

    /// Returns a value for an `ARG`: what the caller gives, or the default.
    fn argument(&self, name: &str, default: Option<&str>) -> Option<String> {
        self.request
            .arguments
            .get(name)
            .cloned()
            .or_else(|| default.map(str::to_owned))
    }

    /// Returns the arguments before the first stage; later defaults may use earlier ones.
    fn global_arguments(&self) -> Result<BTreeMap<String, String>, String> {
        let mut known = StageState::empty(false);
        for (name, default) in &self.request.recipe.arguments {
            let default = default
                .as_ref()
                .map(|default| known.expand(default))
                .transpose()?;
            if let Some(value) = self.argument(name, default.as_deref()) {
                known.arguments.insert(name.clone(), value);
            }
        }
        Ok(known.arguments)
    }

    fn base(&mut self, stage: &Stage) -> Result<StageState, BuildError> {
        let fail = |problem: String| self.request.recipe.fail(stage.line, problem);
        self.base = None;
        let mut state = match &stage.base {
            Base::Host => StageState::empty(true),
            Base::Scratch => StageState::empty(false),
            Base::File(path) => {
                let path = self.request.context.join(path);
                let import = ImportRequest {
                    path: &path,
                    name: None,
                    now: self.request.now,
                };
                let digest = self.store.import(&import)?.digest;
                self.base = Some(digest);
                StageState::on_image(digest, self.store.config(digest)?)
            }
            Base::Image(word) => {
                let mut words = StageState::empty(false);
                words.arguments = self.global_arguments().map_err(fail)?;
                let name = words.expand(word).map_err(fail)?;
                if let Some(number) =
                    stage_named(&self.request.recipe.stages[..self.stages.len()], &name, false)
                {
                    self.stages[number]
                        .clone()
                        .expect("a stage that another stands on is needed")
                } else {
                    let digest = self.store.resolve(&name).map_err(|error| match error {
                        StoreError::Unknown(_) => BuildError::from(fail(format!(
                            "no image is named {name:?}; pull or import it first"
                        ))),
                        other => other.into(),
                    })?;
                    self.base = Some(digest);
                    StageState::on_image(digest, self.store.config(digest)?)
                }
            }
        };
        state.arguments.clear();
        if !self.request.recipe.key_files.is_empty() {
            let mut key = KeyHash::new("keyed");
            key.part(state.key.to_string().as_bytes())
                .part(self.recipe_key()?.as_bytes());
            state.key = key.finish();
        }
        Ok(state)
    }

    fn stage(&mut self, stage: &Stage, runner: &mut dyn StepRunner) -> Result<StageState, BuildError> {
        let mut state = self.base(stage)?;
        for step in &stage.steps {
            if state.layers.len() >= IMAGE_LAYERS_MAX {
                return Err(self.fail(
                    step,
                    format!("the image would have more than {IMAGE_LAYERS_MAX} layers; join steps"),
                ));
            }
            self.step(&mut state, step, runner)?;
        }
        Ok(state)
    }

    fn step(
        &mut self,
        state: &mut StageState,
        step: &Step,
        runner: &mut dyn StepRunner,
    ) -> Result<(), BuildError> {
        if state
            .configure(&step.action)
            .map_err(|problem| self.fail(step, problem))?
        {
            state.remember(&step.text, true);
            return Ok(());
        }
        match &step.action {
            Action::Argument(name, default) => {
                let globals = self
                    .global_arguments()
                    .map_err(|problem| self.fail(step, problem))?;
                let default = default.as_ref().map(|default| state.expand(default)).transpose();
                let default = default
                    .map_err(|problem| self.fail(step, problem))?
                    .or_else(|| globals.get(name).cloned());
                if let Some(value) = self.argument(name, default.as_deref()) {
                    state.arguments.insert(name.clone(), value);
                }
                state.remember(&step.text, true);
                Ok(())
            }
            Action::Folder(path) => {
                let path = state.expand(path).map_err(|problem| self.fail(step, problem))?;
                state.config.config.working_dir = state.absolute(&path);
                self.folder(state, step)
            }
            Action::Copy(copy) => self.copy(state, step, copy),
            _ => self.run(state, step, runner),
        }
    }

    fn run(
        &mut self,
        state: &mut StageState,
        step: &Step,
        runner: &mut dyn StepRunner,
    ) -> Result<(), BuildError> {
        let run = state
            .run_step(&step.action, &step.text)
            .expect("every other action was taken before");
        let key = state.step_key(&run);
        if self.request.cached
            && let Some(layer) = self.store.cached_step(&key.hex())?
        {
            self.cached_count += 1;
            state.add_layer(layer, &step.text, key);
            return Ok(());
        }
        let lowers = state.lowers(|layer| self.transaction.layer_tree(layer));
        let changed = runner.run(&lowers, &run).map_err(|source| BuildError::Step {
            file: self.request.recipe.file.clone(),
            line: step.line,
            text: step.text.clone(),
            source,
        })?;
        let path = self.transaction.folder().join("step.tar");
        let file = File::create(&path).map_err(|source| self.scratch(&path, source))?;
        capture(
            &changed.upper,
            BufWriter::with_capacity(256 * 1024, file),
            self.store.owner(),
        )?;
        drop(changed);
        let layer = self.new_layer(&path)?;
        self.transaction
            .commit_step(&key.hex(), layer, self.request.now)?;
        self.run_count += 1;
        state.add_layer(layer, &step.text, key);
        Ok(())
    }

    pub(super) fn scratch(&self, path: &Path, source: io::Error) -> BuildError {
        StoreError::Io {
            path: path.to_owned(),
            source,
        }
        .into()
    }

    /// Unpacks a layer and refuses it if it holds a secret.
    pub(super) fn new_layer(&mut self, path: &Path) -> Result<Digest, BuildError> {
        let file = File::open(path).map_err(|source| self.scratch(path, source))?;
        let layer = self
            .transaction
            .add_layer(BufReader::with_capacity(256 * 1024, file), None)?
            .diff_id;
        let found = scan_tree(&self.transaction.layer_tree(layer), self.request.named_secret)?;
        if found.is_empty() {
            Ok(layer)
        } else {
            Err(BuildError::Secrets(found))
        }
    }

    /// Returns a stage as one tree; the host is below where the stage stands on it.
    pub(super) fn stack(&self, state: &StageState) -> io::Result<Stack> {
        let host = state.on_host.then(|| PathBuf::from("/"));
        let trees = state
            .layers
            .iter()
            .map(|layer| self.transaction.layer_tree(*layer));
        Stack::open(&host.into_iter().chain(trees).collect::<Vec<_>>())
    }

    fn finish(mut self) -> Result<Built, BuildError> {
        let state = self
            .stages
            .pop()
            .flatten()
            .expect("the last stage is always needed");
        let found = scan_config(&state.config, self.request.named_secret);
        if !found.is_empty() {
            return Err(BuildError::Secrets(found));
        }
        let recipe = self.request.recipe;
        let last = recipe.stages.last().expect("a recipe has a stage");
        let mut files = BTreeMap::new();
        for path in &recipe.key_files {
            let digest = match self.context_file(path) {
                Ok(bytes) => Some(Digest::of(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => {
                    return Err(BuildError::Context {
                        path: path.into(),
                        source,
                    });
                }
            };
            files.insert(path.clone(), digest);
        }
        let inputs = BakedInputs {
            recipe_key: self.recipe_key()?,
            base: last.base.word().to_owned(),
            base_digest: self.base,
            packages: recipe.packages.clone(),
            files,
            steps: recipe.step_texts(),
        };
        let image = NewImage {
            config_bytes: serde_json::to_vec(&state.config).expect("a configuration has text keys only"),
            layers: state.layers,
            names: self.request.names.clone(),
            source_digest: None,
            inputs: Some(inputs),
            steps: BTreeMap::new(),
        };
        let record = self.transaction.commit(image, self.request.now)?;
        Ok(Built {
            digest: record.digest,
            names: self.request.names.clone(),
            run_count: self.run_count,
            cached_count: self.cached_count,
        })
    }
}

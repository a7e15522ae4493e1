//! The border to whoever runs steps.

use std::any::Any;
use std::path::PathBuf;

/// A lower of the overlay a step runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerPath {
    /// The host's own root, read-only; always the lowest.
    Host,
    /// A layer's folder.
    Tree(PathBuf),
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// The program and its arguments; never empty.
    pub words: Vec<String>,
    /// Its whole environment but for what every box has; no name twice.
    pub environment: Vec<(String, String)>,
    /// The working directory, absolute; it is there.
    pub folder: String,
    /// `user`, `user:group` or numbers; empty for the image's root.
    pub user: String,
    /// The step as the recipe has it, for people.
    pub text: String,
}

/// What a step changed.
pub struct ChangedLayer {
    /// The overlay's upper folder, mounted with `redirect_dir=off` and `metacopy=off`; no process uses it any more.
    pub upper: PathBuf,
    /// Dropped when the folder has been read.
    pub guard: Option<Box<dyn Any>>,
}

/// Why a step made no layer.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It ended with another code than 0.
    #[error("it ended with code {code}")]
    Failed {
        /// The code.
        code: i32,
    },
    /// It did not run to its end, and that says nothing about the recipe.
    #[error("it could not be run: {0}")]
    Trouble(String),
}

/// Runs steps.
pub trait StepRunner {
    /// Runs a step on an overlay of these layers, the lowest first, and returns what it changed.
    ///
    /// Errors: [`StepError`]; nothing of the step is kept then.
    fn run(&mut self, layers: &[LayerPath], step: &RunStep) -> Result<ChangedLayer, StepError>;
}

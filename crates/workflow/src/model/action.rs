//! An `action.yml` as types. Owns the types and their door; reading is in `read`.

use super::place::{Diagnostic, Place, Spanned};
use super::step::Step;
use super::text::{Text, TextMap};

/// A valid action file.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionFile {
    /// The path it was read from.
    pub path: String,
    /// `name`.
    pub name: Option<Text>,
    /// `description`.
    pub description: Option<Text>,
    /// `inputs`, in the order written.
    pub inputs: Vec<ActionInput>,
    /// `outputs`, in the order written.
    pub outputs: Vec<ActionOutput>,
    /// `runs`.
    pub runs: ActionRuns,
    /// Where keys are expressions (`${{ insert }}`), which the types cannot hold.
    pub expression_keys: Vec<Place>,
}

impl ActionFile {
    /// Reads an action file.
    ///
    /// Errors: every fault found, with file, line and column.
    pub fn parse(path: &str, text: &str) -> Result<ActionFile, Vec<Diagnostic>> {
        super::read::read_action(path, text)
    }
}

/// An input of an action.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionInput {
    /// Its name.
    pub name: Spanned<String>,
    /// `required`; the runner warns, it does not refuse.
    pub required: bool,
    /// `default`.
    pub default: Option<Text>,
    /// `deprecationMessage`.
    pub deprecation: Option<Text>,
}

/// An output of an action.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionOutput {
    /// Its name.
    pub name: Spanned<String>,
    /// `value`, composite actions only.
    pub value: Option<Text>,
}

/// How an action runs.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionRuns {
    /// `using: composite`.
    Composite {
        /// `steps`; each `run` has a shell.
        steps: Vec<Step>,
    },
    /// `using: node12` to `node24`.
    Javascript(JavascriptAction),
    /// `using: docker`.
    Docker(DockerAction),
}

/// A JavaScript action.
#[derive(Debug, Clone, PartialEq)]
pub struct JavascriptAction {
    /// The major version of Node.js that is asked for: `12`, `16`, `20` or `24`.
    pub node: Spanned<String>,
    /// `main`.
    pub main: Text,
    /// `pre`.
    pub pre: Option<Text>,
    /// `pre-if`; `always()` if absent.
    pub pre_condition: Option<Text>,
    /// `post`.
    pub post: Option<Text>,
    /// `post-if`; `always()` if absent.
    pub post_condition: Option<Text>,
}

/// Where a Docker action's image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerImage {
    /// A Dockerfile in the action's folder.
    Dockerfile(String),
    /// An image of a registry, without `docker://`.
    Registry(String),
}

/// A Docker action.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerAction {
    /// `image`.
    pub image: Spanned<DockerImage>,
    /// `entrypoint`.
    pub entrypoint: Option<Text>,
    /// `pre-entrypoint`.
    pub pre_entrypoint: Option<Text>,
    /// `pre-if`; `always()` if absent.
    pub pre_condition: Option<Text>,
    /// `post-entrypoint`.
    pub post_entrypoint: Option<Text>,
    /// `post-if`; `always()` if absent.
    pub post_condition: Option<Text>,
    /// `args`.
    pub args: Vec<Text>,
    /// `env`.
    pub env: TextMap,
}

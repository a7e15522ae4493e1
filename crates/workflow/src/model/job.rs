//! Jobs and what belongs to one: where it runs, its matrix, containers, permissions. Owns the types only.

use super::place::{Place, Spanned};
use super::step::Step;
use super::text::{OrExpression, Text, TextMap};
use super::uses::WorkflowRef;
use super::yaml::Node;

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its key under `jobs`.
    pub id: Spanned<String>,
    /// `name`.
    pub name: Option<Text>,
    /// `needs`, in the order written; every one exists and there is no cycle.
    pub needs: Vec<Spanned<String>>,
    /// `if`, with or without its `${{ }}`.
    pub condition: Option<Text>,
    /// `strategy`.
    pub strategy: Option<Strategy>,
    /// `permissions`.
    pub permissions: Option<Permissions>,
    /// `cache-mode`.
    pub cache_mode: Option<Text>,
    /// `concurrency`.
    pub concurrency: Option<Concurrency>,
    /// Steps of its own, or a call of another workflow.
    pub kind: JobKind,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq)]
pub enum JobKind {
    /// It runs steps.
    Steps(Box<StepsJob>),
    /// It calls a reusable workflow.
    Call(Box<CallJob>),
}

/// A job with steps.
#[derive(Debug, Clone, PartialEq)]
pub struct StepsJob {
    /// `runs-on`.
    pub runs_on: RunsOn,
    /// `timeout-minutes`.
    pub timeout_minutes: Option<Spanned<OrExpression<f64>>>,
    /// `cancel-timeout-minutes`.
    pub cancel_timeout_minutes: Option<Spanned<OrExpression<f64>>>,
    /// `continue-on-error`.
    pub continue_on_error: Option<Spanned<OrExpression<bool>>>,
    /// `container`.
    pub container: Option<Container>,
    /// `services`.
    pub services: Services,
    /// `env`.
    pub env: TextMap,
    /// `environment`.
    pub environment: Option<Environment>,
    /// `outputs`.
    pub outputs: TextMap,
    /// `defaults.run`.
    pub defaults: Defaults,
    /// `steps`.
    pub steps: Vec<Step>,
    /// Where `snapshot` stands, if it does.
    pub snapshot: Option<Place>,
}

/// A job that calls a reusable workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct CallJob {
    /// `uses`.
    pub uses: Spanned<WorkflowRef>,
    /// `with`: names and JSON values, texts as written.
    pub with: Vec<(Spanned<String>, Node)>,
    /// `secrets`.
    pub secrets: PassedSecrets,
}

/// The secrets a call passes on.
#[derive(Debug, Clone, PartialEq)]
pub enum PassedSecrets {
    /// None are written.
    None,
    /// `inherit`: all of the caller's.
    Inherit,
    /// These.
    Named(TextMap),
}

/// `strategy`.
#[derive(Debug, Clone, PartialEq)]
pub enum Strategy {
    /// Written out.
    Written {
        /// `fail-fast`; true if absent.
        fail_fast: Option<Spanned<OrExpression<bool>>>,
        /// `max-parallel`.
        max_parallel: Option<Spanned<OrExpression<f64>>>,
        /// `matrix`: a mapping, or a scalar whose expression makes one.
        matrix: Option<Node>,
    },
    /// An expression makes the whole.
    Expression(Text),
}

/// `runs-on`.
#[derive(Debug, Clone, PartialEq)]
pub struct RunsOn {
    /// Where it stands.
    pub place: Place,
    /// The labels; a single one may be an expression that makes a list or an object.
    pub labels: Vec<Text>,
    /// `group`.
    pub group: Option<Text>,
}

/// `defaults.run`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    /// `shell`.
    pub shell: Option<Text>,
    /// `working-directory`.
    pub working_directory: Option<Text>,
    /// An expression that makes both.
    pub expression: Option<Text>,
}

/// `permissions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Permissions {
    /// Where they stand.
    pub place: Place,
    /// `read-all` or `write-all`, if that is what is written.
    pub all: Option<String>,
    /// Scopes and levels.
    pub scopes: Vec<(Spanned<String>, Spanned<String>)>,
}

/// `concurrency`.
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    /// The group's name.
    pub group: Text,
    /// `cancel-in-progress`; false if absent.
    pub cancel_in_progress: Option<Spanned<OrExpression<bool>>>,
    /// `queue`: `single` (one waits, the default) or `max` (all wait).
    pub queue: Option<Spanned<String>>,
}

/// `environment`.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Its name.
    pub name: Text,
    /// `url`.
    pub url: Option<Text>,
}

/// A job's container or a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Where it stands.
    pub place: Place,
    /// `image`; empty means no container, an expression may make the whole.
    pub image: Text,
    /// `options`.
    pub options: Option<Text>,
    /// `env`.
    pub env: TextMap,
    /// `ports`.
    pub ports: Vec<Text>,
    /// `volumes`.
    pub volumes: Vec<Text>,
    /// `credentials.username` and `credentials.password`.
    pub credentials: Option<(Text, Text)>,
    /// `entrypoint`, services only.
    pub entrypoint: Option<Text>,
    /// `command`, services only.
    pub command: Option<Text>,
}

/// `services`.
#[derive(Debug, Clone, PartialEq)]
pub enum Services {
    /// Names and containers in the order written.
    Written(Vec<(Spanned<String>, Container)>),
    /// An expression makes them.
    Expression(Text),
}

impl Strategy {
    /// Returns the matrix as written, if there is one.
    pub fn matrix(&self) -> Option<&Node> {
        match self {
            Strategy::Written { matrix, .. } => matrix.as_ref(),
            Strategy::Expression(_) => None,
        }
    }
}

//! The list of everything a workflow may use, with what gantry makes of it. Owns that one table, which `check` and the
//! documentation read.

/// What gantry makes of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureState {
    /// It does what GitHub does.
    Honoured,
    /// It does so where the machine has what it takes; otherwise the workflow is refused.
    WhereAvailable,
    /// It is read and has no effect here; the reason says why that changes no result.
    NoEffect,
    /// A workflow that uses it is refused.
    Refused,
}

impl FeatureState {
    /// Returns the word that the documentation uses.
    pub fn as_str(self) -> &'static str {
        match self {
            FeatureState::Honoured => "yes",
            FeatureState::WhereAvailable => "where available",
            FeatureState::NoEffect => "no effect",
            FeatureState::Refused => "refused",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureRow {
    /// Which feature.
    pub feature: Feature,
    /// How people write it.
    pub name: &'static str,
    /// What gantry makes of it.
    pub state: FeatureState,
    /// Why it has no effect or is refused, or on what it depends; empty for those that are honoured.
    pub reason: &'static str,
    /// What to do about it; empty if there is nothing to do.
    pub advice: &'static str,
}

macro_rules! features {
    ($($feature:ident $name:literal $state:ident $reason:literal $advice:literal;)*) => {
        /// Something a workflow may use; the names are those of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Feature {
            $(#[doc = $name] $feature,)*
        }

        /// Every feature, once.
        pub const FEATURES: &[FeatureRow] = &[
            $(FeatureRow {
                feature: Feature::$feature,
                name: $name,
                state: FeatureState::$state,
                reason: $reason,
                advice: $advice,
            },)*
        ];
    };
}

features! {
    WorkflowName "name" Honoured "" "";
    RunName "run-name" NoEffect "runs are listed by workflow and commit" "";
    Triggers "on: push, pull_request, merge_group, schedule, workflow_dispatch, workflow_call" Honoured "" "";
    OtherTriggers "on: other events" NoEffect
        "only a code host sends them" "listen to one of the events above as well if it is needed here";
    EventFilters "branches, tags, paths, types" Honoured "" "";
    ScheduleTimezone "schedule timezone" Honoured "" "";
    DispatchInputs "workflow_dispatch inputs" Honoured "" "";
    ExpressionKeys "${{ }} as a key" Refused
        "GitHub does not document it" "write the keys out, or make the whole mapping by one expression";
    IgnoredKeys "unknown keys under workflow_dispatch" NoEffect
        "GitHub reads over them too" "correct or remove the key";
    Env "env" Honoured "" "";
    Defaults "defaults.run" Honoured "" "";
    Permissions "permissions" NoEffect
        "boxes get no token of the code host, so there is nothing to narrow" "";
    IdToken "permissions: id-token" NoEffect
        "no identity provider stands behind gantry" "steps that ask for an OIDC token fail; guard them with an `if`";
    CacheMode "cache-mode" NoEffect
        "what a run caches is read only by runs that may trust it, whatever the mode" "";
    Concurrency "concurrency" Honoured "" "";
    Needs "needs" Honoured "" "";
    JobCondition "jobs.if" Honoured "" "";
    JobName "jobs.name" Honoured "" "";
    Matrix "strategy.matrix" Honoured "" "";
    FailFast "strategy.fail-fast" Honoured "" "";
    MaxParallel "strategy.max-parallel" Honoured "" "";
    JobTimeout "jobs.timeout-minutes" Honoured "" "";
    CancelTimeout "jobs.cancel-timeout-minutes" Honoured "" "";
    JobContinueOnError "jobs.continue-on-error" Honoured "" "";
    JobOutputs "jobs.outputs" Honoured "" "";
    RunsOn "runs-on" WhereAvailable
        "a label must map to a box" "map the label in the configuration, or leave the job to the code host with an `if`";
    RunsOnGroup "runs-on.group" NoEffect "boxes are not grouped; the labels choose" "";
    Container "jobs.container" WhereAvailable
        "needs an engine that runs images" "choose the docker or podman engine (gantry doctor says which work)";
    Services "jobs.services" WhereAvailable
        "needs an engine that runs images" "choose the docker or podman engine (gantry doctor says which work)";
    Environment "environment" NoEffect
        "deployments and their approvals live on the code host" "its secrets and variables have to be given to gantry by name";
    Snapshot "snapshot" Refused
        "images are not made by jobs" "describe the image in `.gantry.toml` and build it with `gantry image build`";
    ReusableCall "jobs.uses" WhereAvailable
        "a remote workflow must be in the mirror" "gantry ci mirror OWNER/REPO@REF PATH";
    CallSecrets "jobs.secrets" Honoured "" "";
    RunStep "steps.run" Honoured "" "";
    Shell "steps.shell" WhereAvailable
        "the shell must be in the image" "add the shell to the image, or use bash";
    WorkingDirectory "steps.working-directory" Honoured "" "";
    UsesLocal "steps.uses: ./path" Honoured "" "";
    UsesRemote "steps.uses: owner/repo@ref" WhereAvailable
        "the action must be built in or in the mirror" "gantry ci mirror OWNER/REPO@REF PATH";
    UsesDocker "steps.uses: docker://image" WhereAvailable
        "needs an engine that runs images" "choose the docker or podman engine (gantry doctor says which work)";
    JavascriptAction "actions: JavaScript" Honoured "" "";
    CompositeAction "actions: composite" Honoured "" "";
    DockerAction "actions: Docker" WhereAvailable
        "needs an engine that runs images" "choose the docker or podman engine (gantry doctor says which work)";
    StepCondition "steps.if" Honoured "" "";
    StepContinueOnError "steps.continue-on-error" Honoured "" "";
    StepTimeout "steps.timeout-minutes" Honoured "" "";
    Background "steps.background, wait, wait-all, cancel" Honoured "" "";
    Parallel "steps.parallel" Honoured "" "";
}

impl Feature {
    /// Returns the feature's row.
    pub fn row(self) -> &'static FeatureRow {
        FEATURES
            .iter()
            .find(|row| row.feature == self)
            .expect("the macro makes the list of features and their rows from the same lines")
    }
}

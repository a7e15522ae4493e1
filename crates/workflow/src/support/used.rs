//! Which features a workflow or action uses. Owns the walk from the model to the names in the table, so that each row can
//! be held against the files that prove it.

use std::collections::BTreeSet;

use super::feature::Feature;
use crate::model::{
    ActionFile, ActionRuns, Defaults, Job, JobKind, PassedSecrets, Permissions, Services, Step, StepKind,
    StepsJob, Strategy, TriggerKind, UsesRef, WorkflowFile,
};

/// Lists the features a workflow uses.
pub fn features_used(file: &WorkflowFile) -> BTreeSet<Feature> {
    let mut used = BTreeSet::new();
    let mut add = |feature, is_used: bool| {
        if is_used {
            used.insert(feature);
        }
    };
    add(Feature::WorkflowName, file.name.is_some());
    add(Feature::RunName, file.run_name.is_some());
    add(Feature::IgnoredKeys, !file.ignored_keys.is_empty());
    add(Feature::ExpressionKeys, !file.expression_keys.is_empty());
    add(Feature::Env, !file.env.is_empty());
    add(Feature::CacheMode, file.cache_mode.is_some());
    add(Feature::Concurrency, file.concurrency.is_some());
    add(Feature::Defaults, file.defaults != Defaults::default());
    permissions(file.permissions.as_ref(), &mut used);
    for trigger in &file.on {
        match &trigger.kind {
            TriggerKind::Filtered(filter) => {
                let own = matches!(
                    trigger.event.value.as_str(),
                    "push" | "pull_request" | "pull_request_target" | "merge_group"
                );
                used.insert(if own {
                    Feature::Triggers
                } else {
                    Feature::OtherTriggers
                });
                if !filter.written().is_empty() {
                    used.insert(Feature::EventFilters);
                }
            }
            TriggerKind::Schedule(entries) => {
                used.insert(Feature::Triggers);
                if entries.iter().any(|entry| entry.timezone.is_some()) {
                    used.insert(Feature::ScheduleTimezone);
                }
            }
            TriggerKind::Dispatch(inputs) => {
                used.insert(Feature::Triggers);
                if !inputs.is_empty() {
                    used.insert(Feature::DispatchInputs);
                }
            }
            TriggerKind::Call(_) => {
                used.insert(Feature::Triggers);
            }
        }
    }
    for job in &file.jobs {
        of_job(job, &mut used);
    }
    used
}

/// Lists the features an action uses.
pub fn features_of_action(action: &ActionFile) -> BTreeSet<Feature> {
    let mut used = BTreeSet::new();
    match &action.runs {
        ActionRuns::Composite { steps } => {
            used.insert(Feature::CompositeAction);
            of_steps(steps, &mut used);
        }
        ActionRuns::Javascript(_) => {
            used.insert(Feature::JavascriptAction);
        }
        ActionRuns::Docker(_) => {
            used.insert(Feature::DockerAction);
        }
    }
    used
}

fn permissions(permissions: Option<&Permissions>, used: &mut BTreeSet<Feature>) {
    let Some(permissions) = permissions else { return };
    used.insert(Feature::Permissions);
    if permissions
        .scopes
        .iter()
        .any(|(scope, level)| scope.value == "id-token" && level.value == "write")
    {
        used.insert(Feature::IdToken);
    }
}

fn of_job(job: &Job, used: &mut BTreeSet<Feature>) {
    permissions(job.permissions.as_ref(), used);
    let mut add = |feature, is_used: bool| {
        if is_used {
            used.insert(feature);
        }
    };
    add(Feature::JobName, job.name.is_some());
    add(Feature::CacheMode, job.cache_mode.is_some());
    add(Feature::Needs, !job.needs.is_empty());
    add(Feature::JobCondition, job.condition.is_some());
    add(Feature::Concurrency, job.concurrency.is_some());
    if let Some(Strategy::Written {
        fail_fast,
        max_parallel,
        matrix,
    }) = &job.strategy
    {
        add(Feature::Matrix, matrix.is_some());
        add(Feature::FailFast, fail_fast.is_some());
        add(Feature::MaxParallel, max_parallel.is_some());
    }
    add(
        Feature::Matrix,
        matches!(job.strategy, Some(Strategy::Expression(_))),
    );
    match &job.kind {
        JobKind::Call(call) => {
            add(Feature::ReusableCall, true);
            add(Feature::CallSecrets, call.secrets != PassedSecrets::None);
        }
        JobKind::Steps(steps) => of_steps_job(steps, used),
    }
}

fn of_steps_job(job: &StepsJob, used: &mut BTreeSet<Feature>) {
    let services = !matches!(&job.services, Services::Written(services) if services.is_empty());
    for (feature, is_used) in [
        (Feature::RunsOn, !job.runs_on.labels.is_empty()),
        (Feature::RunsOnGroup, job.runs_on.group.is_some()),
        (Feature::JobTimeout, job.timeout_minutes.is_some()),
        (Feature::CancelTimeout, job.cancel_timeout_minutes.is_some()),
        (Feature::JobContinueOnError, job.continue_on_error.is_some()),
        (Feature::Container, job.container.is_some()),
        (Feature::Services, services),
        (Feature::Env, !job.env.is_empty()),
        (Feature::Environment, job.environment.is_some()),
        (Feature::JobOutputs, !job.outputs.is_empty()),
        (Feature::Defaults, job.defaults != Defaults::default()),
        (Feature::Snapshot, job.snapshot.is_some()),
    ] {
        if is_used {
            used.insert(feature);
        }
    }
    of_steps(&job.steps, used);
}

fn of_steps(steps: &[Step], used: &mut BTreeSet<Feature>) {
    for step in steps {
        for (feature, is_used) in [
            (Feature::StepCondition, step.condition.is_some()),
            (Feature::StepContinueOnError, step.continue_on_error.is_some()),
            (Feature::StepTimeout, step.timeout_minutes.is_some()),
            (Feature::Env, !step.env.is_empty()),
            (Feature::Background, step.background.is_some()),
        ] {
            if is_used {
                used.insert(feature);
            }
        }
        match &step.kind {
            StepKind::Run(run) => {
                used.insert(Feature::RunStep);
                used.extend(run.shell.is_some().then_some(Feature::Shell));
                used.extend(
                    run.working_directory
                        .is_some()
                        .then_some(Feature::WorkingDirectory),
                );
            }
            StepKind::Uses(uses) => {
                used.insert(match &uses.uses.value {
                    UsesRef::Local { .. } => Feature::UsesLocal,
                    UsesRef::Docker { .. } => Feature::UsesDocker,
                    UsesRef::Remote(_) => Feature::UsesRemote,
                });
            }
            StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) => {
                used.insert(Feature::Background);
            }
            StepKind::Parallel(steps) => {
                used.insert(Feature::Parallel);
                of_steps(steps, used);
            }
        }
    }
}

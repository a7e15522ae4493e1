//! Jobs from checked YAML. Owns job ids, runner groups, containers and calls.

use super::fields;
use super::identifier::Identifiers;
use super::step::read_steps;
use crate::model::job::{
    CallJob, Concurrency, Container, Defaults, Environment, Job, JobKind, PassedSecrets, Permissions, RunsOn,
    Services, StepsJob, Strategy,
};
use crate::model::place::{Faults, Spanned};
use crate::model::scalar::Scalar;
use crate::model::uses::WorkflowRef;
use crate::model::yaml::{Node, NodeKind};

/// Reads the jobs of a workflow.
pub(super) fn read_jobs(node: &Node, faults: &mut Faults) -> Vec<Job> {
    let mut ids = Identifiers::default();
    fields::pairs(node)
        .iter()
        .filter_map(|(key, value)| read_job(key, value, &mut ids, faults))
        .collect()
}

fn read_job(key: &Node, node: &Node, ids: &mut Identifiers, faults: &mut Faults) -> Option<Job> {
    let id = fields::name_of(key);
    if let Err(message) = ids.add(&id.value) {
        faults.add(id.place, message);
    }
    let kind = match fields::text(node, "uses") {
        Some(uses) => match WorkflowRef::parse(&uses.value) {
            Ok(reference) => JobKind::Call(Box::new(CallJob {
                uses: Spanned::new(reference, uses.place),
                with: node.get("with").map(read_call_inputs).unwrap_or_default(),
                secrets: read_passed_secrets(node),
            })),
            Err(message) => {
                faults.add(uses.place, message);
                return None;
            }
        },
        None => JobKind::Steps(Box::new(read_steps_job(node, faults))),
    };
    Some(Job {
        id,
        name: fields::filled_text(node, "name"),
        needs: fields::texts(node, "needs"),
        condition: fields::filled_text(node, "if"),
        strategy: node
            .get("strategy")
            .and_then(|strategy| read_strategy(strategy, faults)),
        permissions: read_permissions(node),
        cache_mode: fields::filled_text(node, "cache-mode"),
        concurrency: read_concurrency(node, faults),
        kind,
    })
}

fn read_call_inputs(with: &Node) -> Vec<(Spanned<String>, Node)> {
    fields::pairs(with)
        .iter()
        .map(|(key, value)| (fields::name_of(key), value.clone()))
        .collect()
}

fn read_passed_secrets(job: &Node) -> PassedSecrets {
    match job.get("secrets").map(|secrets| &secrets.kind) {
        None => PassedSecrets::None,
        Some(NodeKind::Scalar(_)) => PassedSecrets::Inherit,
        Some(NodeKind::Mapping(_) | NodeKind::Sequence(_)) => {
            PassedSecrets::Named(fields::text_map(job, "secrets"))
        }
    }
}

fn read_steps_job(node: &Node, faults: &mut Faults) -> StepsJob {
    StepsJob {
        runs_on: read_runs_on(node, faults),
        timeout_minutes: fields::number(node, "timeout-minutes"),
        cancel_timeout_minutes: fields::number(node, "cancel-timeout-minutes"),
        continue_on_error: fields::boolean(node, "continue-on-error"),
        container: node
            .get("container")
            .and_then(|container| read_container(container, faults)),
        services: read_services(node, faults),
        env: fields::text_map(node, "env"),
        environment: node.get("environment").and_then(read_environment),
        outputs: fields::text_map(node, "outputs"),
        defaults: read_defaults(node),
        steps: node
            .get("steps")
            .map(|steps| read_steps(steps, faults))
            .unwrap_or_default(),
        snapshot: node.get("snapshot").map(|snapshot| snapshot.place),
    }
}

fn read_strategy(node: &Node, faults: &mut Faults) -> Option<Strategy> {
    if let Some(text) = fields::text_of(node) {
        return Some(Strategy::Expression(text));
    }
    let matrix = node.get("matrix").cloned();
    for (key, vector) in matrix.iter().flat_map(fields::pairs) {
        let name = key.scalar_text().unwrap_or_default();
        let is_empty = matches!(&vector.kind, NodeKind::Sequence(items) if items.is_empty());
        if is_empty && name != "include" && name != "exclude" {
            faults.add(
                vector.place,
                format!("Matrix vector '{name}' does not contain any values"),
            );
        }
    }
    Some(Strategy::Written {
        fail_fast: fields::boolean(node, "fail-fast"),
        max_parallel: fields::number(node, "max-parallel"),
        matrix,
    })
}

fn read_runs_on(job: &Node, faults: &mut Faults) -> RunsOn {
    let Some(node) = job.get("runs-on") else {
        // The table says that the key is required, so the fault is already noted.
        return RunsOn {
            place: job.place,
            labels: Vec::new(),
            group: None,
        };
    };
    let (labels, group) = match &node.kind {
        NodeKind::Mapping(_) => (fields::texts(node, "labels"), fields::text(node, "group")),
        NodeKind::Scalar(_) | NodeKind::Sequence(_) => (fields::texts_of(node), None),
    };
    if let Some(group) = &group
        && !group.value.contains("${{")
        && let Some(message) = group_fault(&group.value)
    {
        faults.add(group.place, message);
    }
    RunsOn {
        place: node.place,
        labels,
        group,
    }
}

fn group_fault(group: &str) -> Option<String> {
    let parts: Vec<&str> = group.split('/').collect();
    let known = ["org", "organization", "ent", "enterprise"];
    match parts.as_slice() {
        [_] => None,
        [prefix, name] if known.contains(prefix) => name
            .is_empty()
            .then(|| format!("Invalid runs-on group name '{group}'.")),
        _ => Some(format!(
            "Invalid runs-on group name '{group}'. Please use 'organization/' or 'enterprise/' prefix to target a single \
             runner group."
        )),
    }
}

fn read_services(job: &Node, faults: &mut Faults) -> Services {
    let Some(node) = job.get("services") else {
        return Services::Written(Vec::new());
    };
    if let Some(text) = fields::text_of(node) {
        return Services::Expression(text);
    }
    let mut services = Vec::new();
    for (key, value) in fields::pairs(node) {
        if let Some(container) = read_container(value, faults) {
            services.push((fields::name_of(key), container));
        }
    }
    Services::Written(services)
}

fn read_container(node: &Node, faults: &mut Faults) -> Option<Container> {
    let image = match fields::text_of(node) {
        Some(text) => Some(text),
        None => fields::text(node, "image"),
    };
    let Some(image) = image else {
        faults.add(node.place, "Container image cannot be empty");
        return None;
    };
    let credentials = node.get("credentials").and_then(|credentials| {
        Some((
            fields::text(credentials, "username")?,
            fields::text(credentials, "password")?,
        ))
    });
    Some(Container {
        place: node.place,
        image,
        options: fields::filled_text(node, "options"),
        env: fields::text_map(node, "env"),
        ports: fields::texts(node, "ports"),
        volumes: fields::texts(node, "volumes"),
        credentials,
        entrypoint: fields::filled_text(node, "entrypoint"),
        command: fields::filled_text(node, "command"),
    })
}

fn read_environment(node: &Node) -> Option<Environment> {
    let name = match fields::text_of(node) {
        Some(text) => text,
        None => fields::text(node, "name")?,
    };
    Some(Environment {
        name,
        url: fields::text(node, "url"),
    })
}

/// Reads `defaults.run` of a workflow or job.
pub(super) fn read_defaults(node: &Node) -> Defaults {
    let Some(run) = node.get("defaults").and_then(|defaults| defaults.get("run")) else {
        return Defaults::default();
    };
    Defaults {
        shell: fields::filled_text(run, "shell"),
        working_directory: fields::filled_text(run, "working-directory"),
        expression: fields::text_of(run),
    }
}

/// Reads `permissions` of a workflow or job.
pub(super) fn read_permissions(node: &Node) -> Option<Permissions> {
    let permissions = node.get("permissions")?;
    let scopes = fields::pairs(permissions)
        .iter()
        .filter_map(|(key, value)| Some((fields::name_of(key), fields::text_of(value)?)))
        .collect();
    Some(Permissions {
        place: permissions.place,
        all: permissions.scalar_text(),
        scopes,
    })
}

/// Reads `concurrency` of a workflow or job.
pub(super) fn read_concurrency(node: &Node, faults: &mut Faults) -> Option<Concurrency> {
    let concurrency = node.get("concurrency")?;
    if let NodeKind::Scalar(Scalar::Null) = concurrency.kind {
        return None;
    }
    let group = match fields::text_of(concurrency) {
        Some(text) => text,
        None => fields::text(concurrency, "group")?,
    };
    let queue = fields::text(concurrency, "queue");
    if let Some(queue) = queue.as_ref().filter(|queue| queue.value == "max")
        && fields::flag(concurrency, "cancel-in-progress")
    {
        faults.add(
            queue.place,
            "'queue: max' may not be combined with 'cancel-in-progress: true'",
        );
    }
    Some(Concurrency {
        group,
        cancel_in_progress: fields::boolean(concurrency, "cancel-in-progress"),
        queue,
    })
}

//! A workflow file from text: YAML, then the tables, then the types. Owns the order of these and what is said first.

use super::fields;
use super::job::{read_concurrency, read_defaults, read_jobs, read_permissions};
use super::needs::check_needs;
use super::trigger::{ignored_keys, read_triggers};
use crate::model::place::{Diagnostic, Faults};
use crate::model::schema::{WORKFLOW, check_node};
use crate::model::workflow::WorkflowFile;
use crate::model::yaml::read_yaml;

/// Reads a workflow file.
pub(in crate::model) fn read_workflow(path: &str, text: &str) -> Result<WorkflowFile, Vec<Diagnostic>> {
    let mut faults = Faults::new(path);
    let Some(root) = read_yaml(text, &mut faults) else {
        return Err(faults.into_diagnostics());
    };
    check_node(&root, &WORKFLOW, &mut faults);
    if !faults.is_empty() {
        // What does not fit the tables would be read as if it were absent; later faults would mislead.
        return Err(faults.into_diagnostics());
    }
    let on = read_triggers(root.get("on"), root.place, &mut faults);
    let concurrency = read_concurrency(&root, &mut faults);
    let (jobs, jobs_place) = match root.get("jobs") {
        Some(node) => (read_jobs(node, &mut faults), node.place),
        None => (Vec::new(), root.place),
    };
    if faults.is_empty() {
        check_needs(&jobs, jobs_place, &mut faults);
    }
    if !faults.is_empty() {
        return Err(faults.into_diagnostics());
    }
    Ok(WorkflowFile {
        path: path.to_string(),
        name: fields::filled_text(&root, "name"),
        run_name: fields::filled_text(&root, "run-name"),
        on,
        env: fields::text_map(&root, "env"),
        defaults: read_defaults(&root),
        permissions: read_permissions(&root),
        cache_mode: fields::filled_text(&root, "cache-mode"),
        concurrency,
        jobs,
        ignored_keys: root.get("on").map(ignored_keys).unwrap_or_default(),
        expression_keys: root.expression_keys(),
    })
}

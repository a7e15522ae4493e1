//! Whether jobs can be put in an order. Owns the check of `needs` and GitHub's messages about it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::job::Job;
use crate::model::place::{Faults, Place};

/// Notes needs that name no job, and circles.
pub(super) fn check_needs(jobs: &[Job], jobs_place: Place, faults: &mut Faults) {
    if !jobs.iter().any(|job| job.needs.is_empty()) {
        faults.add(
            jobs_place,
            "The workflow must contain at least one job with no dependencies.",
        );
        return;
    }
    let ids: BTreeSet<&str> = jobs.iter().map(|job| job.id.value.as_str()).collect();
    let mut open: BTreeMap<&str, &Job> = jobs
        .iter()
        .filter(|job| !job.needs.is_empty())
        .map(|job| (job.id.value.as_str(), job))
        .collect();
    let is_done = |open: &BTreeMap<&str, &Job>, need: &str| ids.contains(need) && !open.contains_key(need);
    loop {
        let ready: Vec<&str> = open
            .iter()
            .filter(|(_, job)| job.needs.iter().all(|need| is_done(&open, &need.value)))
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() {
            break;
        }
        for id in ready {
            open.remove(id);
        }
    }
    for job in jobs.iter().filter(|job| open.contains_key(job.id.value.as_str())) {
        for need in job.needs.iter().filter(|need| !is_done(&open, &need.value)) {
            let message = if ids.contains(need.value.as_str()) {
                format!(
                    "Job '{}' depends on job '{}' which creates a cycle in the dependency graph.",
                    job.id.value, need.value
                )
            } else {
                format!("Job '{}' depends on unknown job '{}'.", job.id.value, need.value)
            };
            faults.add(need.place, message);
        }
    }
}

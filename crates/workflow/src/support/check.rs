//! Finds what a workflow uses that would not be honoured. Owns the walk over the model; what a feature's state is stands
//! in `feature`. Must never look anything up itself: [`Known`] has the answers.

use std::fmt;

use super::feature::{Feature, FeatureState};
use super::known::Known;
use crate::model::{
    ActionFile, ActionRuns, Defaults, DockerImage, Job, JobKind, Permissions, Place, RunsOn, Services, Step,
    StepKind, StepsJob, Text, TriggerKind, UsesRef, WorkflowFile,
};

/// What a finding means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The workflow is not run.
    Refused,
    /// It only shows once an expression is evaluated; the run stops there if it does not fit.
    Unclear,
    /// It is read and has no effect.
    NoEffect,
}

/// Something that would not be honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The file.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// Which feature.
    pub feature: Feature,
    /// What it means for the run.
    pub verdict: Verdict,
    /// What was written there.
    pub written: String,
    /// Why.
    pub reason: String,
    /// What to do; may be empty.
    pub advice: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Refused => "refused",
            Verdict::Unclear => "known only when it runs",
            Verdict::NoEffect => "no effect",
        };
        let row = self.feature.row();
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.place.line, self.place.column, row.name
        )?;
        if !self.written.is_empty() {
            write!(f, " ({})", self.written)?;
        }
        write!(f, ": {verdict}: {}", self.reason)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

/// Lists what a workflow uses that would not be honoured.
///
/// Shape: in the order of the file's parts; empty if everything is honoured.
pub fn check(file: &WorkflowFile, known: &Known) -> Vec<Unsupported> {
    let mut walk = Walk {
        file: &file.path,
        known,
        found: Vec::new(),
    };
    walk.expression_keys(&file.expression_keys);
    for key in &file.ignored_keys {
        walk.note(Feature::IgnoredKeys, key.place, &key.value);
    }
    if let Some(name) = &file.run_name {
        walk.note(Feature::RunName, name.place, &name.value);
    }
    for trigger in &file.on {
        let usual = ["push", "pull_request", "pull_request_target", "merge_group"];
        if matches!(trigger.kind, TriggerKind::Filtered(_)) && !usual.contains(&trigger.event.value.as_str())
        {
            walk.note(Feature::OtherTriggers, trigger.event.place, &trigger.event.value);
        }
    }
    walk.permissions(file.permissions.as_ref());
    walk.cache_mode(file.cache_mode.as_ref());
    walk.shell(file.defaults.shell.as_ref());
    for job in &file.jobs {
        walk.job(job);
    }
    walk.found
}

/// Lists what an action uses that would not be honoured.
pub fn check_action(action: &ActionFile, known: &Known) -> Vec<Unsupported> {
    let mut walk = Walk {
        file: &action.path,
        known,
        found: Vec::new(),
    };
    walk.expression_keys(&action.expression_keys);
    match &action.runs {
        ActionRuns::Composite { steps } => walk.steps(steps),
        ActionRuns::Javascript(_) => {}
        ActionRuns::Docker(docker) if !known.docker_actions => {
            let written = match &docker.image.value {
                DockerImage::Dockerfile(path) => path,
                DockerImage::Registry(image) => image,
            };
            walk.note(Feature::DockerAction, docker.image.place, written);
        }
        ActionRuns::Docker(_) => {}
    }
    walk.found
}

struct Walk<'w> {
    file: &'w str,
    known: &'w Known,
    found: Vec<Unsupported>,
}

impl Walk<'_> {
    /// Notes a feature with the verdict that its row says.
    fn note(&mut self, feature: Feature, place: Place, written: &str) {
        let verdict = match feature.row().state {
            FeatureState::NoEffect => Verdict::NoEffect,
            FeatureState::Refused | FeatureState::WhereAvailable => Verdict::Refused,
            // What is honoured is nothing to note.
            FeatureState::Honoured => return,
        };
        self.push(feature, verdict, place, written);
    }

    fn push(&mut self, feature: Feature, verdict: Verdict, place: Place, written: &str) {
        let row = feature.row();
        self.found.push(Unsupported {
            file: self.file.to_string(),
            place,
            feature,
            verdict,
            written: written.lines().next().unwrap_or("").to_string(),
            reason: row.reason.to_string(),
            advice: row.advice,
        });
    }

    fn permissions(&mut self, permissions: Option<&Permissions>) {
        let Some(permissions) = permissions else { return };
        self.note(
            Feature::Permissions,
            permissions.place,
            permissions.all.as_deref().unwrap_or(""),
        );
        for (scope, level) in &permissions.scopes {
            if scope.value == "id-token" && level.value == "write" {
                self.note(Feature::IdToken, scope.place, &level.value);
            }
        }
    }

    fn expression_keys(&mut self, places: &[Place]) {
        for place in places {
            self.note(Feature::ExpressionKeys, *place, "");
        }
    }

    fn cache_mode(&mut self, mode: Option<&Text>) {
        if let Some(mode) = mode {
            self.note(Feature::CacheMode, mode.place, &mode.value);
        }
    }

    fn job(&mut self, job: &Job) {
        self.permissions(job.permissions.as_ref());
        self.cache_mode(job.cache_mode.as_ref());
        match &job.kind {
            JobKind::Call(call) if !self.known.has_workflow(&call.uses.value) => {
                self.note(
                    Feature::ReusableCall,
                    call.uses.place,
                    &call.uses.value.to_string(),
                );
            }
            JobKind::Call(_) => {}
            JobKind::Steps(steps) => self.steps_job(steps),
        }
    }

    fn steps_job(&mut self, job: &StepsJob) {
        self.runs_on(&job.runs_on);
        if let Some(environment) = &job.environment {
            self.note(
                Feature::Environment,
                environment.name.place,
                &environment.name.value,
            );
        }
        if let Some(place) = job.snapshot {
            self.note(Feature::Snapshot, place, "");
        }
        if let Some(container) = &job.container
            && !self.known.containers
            && !container.image.value.is_empty()
        {
            self.note(Feature::Container, container.place, &container.image.value);
        }
        if !self.known.containers {
            match &job.services {
                Services::Written(services) => {
                    for (name, _) in services {
                        self.note(Feature::Services, name.place, &name.value);
                    }
                }
                Services::Expression(text) => self.note(Feature::Services, text.place, &text.value),
            }
        }
        self.defaults(&job.defaults);
        self.steps(&job.steps);
    }

    fn runs_on(&mut self, runs_on: &RunsOn) {
        if let Some(group) = &runs_on.group {
            self.note(Feature::RunsOnGroup, group.place, &group.value);
        }
        for label in &runs_on.labels {
            if label.value.contains("${{") {
                self.push(Feature::RunsOn, Verdict::Unclear, label.place, &label.value);
            } else if !self.known.has_label(&label.value) {
                self.note(Feature::RunsOn, label.place, &label.value);
            }
        }
    }

    fn defaults(&mut self, defaults: &Defaults) {
        self.shell(defaults.shell.as_ref());
        if let Some(text) = &defaults.expression {
            self.push(Feature::Shell, Verdict::Unclear, text.place, &text.value);
        }
    }

    fn shell(&mut self, shell: Option<&Text>) {
        let Some(shell) = shell else { return };
        if shell.value.contains("${{") {
            self.push(Feature::Shell, Verdict::Unclear, shell.place, &shell.value);
        } else if !self.known.has_shell(&shell.value) {
            self.note(Feature::Shell, shell.place, &shell.value);
        }
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            // A step that never runs needs nothing.
            if step
                .condition
                .as_ref()
                .is_some_and(|condition| condition.value.trim() == "false")
            {
                continue;
            }
            match &step.kind {
                StepKind::Run(run) => self.shell(run.shell.as_ref()),
                StepKind::Uses(uses) => match &uses.uses.value {
                    UsesRef::Local { .. } => {}
                    UsesRef::Docker { image } if !self.known.docker_actions => {
                        self.note(Feature::UsesDocker, uses.uses.place, image);
                    }
                    UsesRef::Docker { .. } => {}
                    UsesRef::Remote(remote) if !self.known.has_action(remote) => {
                        self.note(Feature::UsesRemote, uses.uses.place, &remote.to_string());
                    }
                    UsesRef::Remote(_) => {}
                },
                StepKind::Parallel(steps) => self.steps(steps),
                StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            built_in_actions: ["actions/checkout".to_string(), "actions/cache/save".to_string()].into(),
            mirrored: ["o/r@v1".to_string(), "o/r/.github/workflows/w.yml@v1".to_string()].into(),
            labels: vec!["ubuntu-*".into(), "self-hosted".into(), "linux".into()],
            ..Known::default()
        }
    }

    /// Lists the findings of a workflow's text after its `on`.
    fn check_text(rest: &str, known: &Known, expected: &[&str]) {
        let text = format!("on: push\n{rest}\n");
        let file = WorkflowFile::parse("x.yml", &text).unwrap();
        let found: Vec<String> = check(&file, known)
            .iter()
            .map(|finding| {
                format!(
                    "{}:{} {:?} {:?} {}",
                    finding.place.line,
                    finding.place.column,
                    finding.verdict,
                    finding.feature,
                    finding.written
                )
            })
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_is_available_is_not_mentioned() {
        check_text(
            "jobs:\n  a:\n    runs-on: [self-hosted, Linux]\n    steps:\n      - uses: Actions/checkout@v4\n      \
             - uses: actions/cache/save@v4\n      - uses: o/r@v1\n      - uses: ./here\n      - run: x\n        shell: \
             perl {0}\n  b:\n    uses: o/r/.github/workflows/w.yml@v1\n  c:\n    uses: ./.github/workflows/l.yml",
            &known(),
            &[],
        );
    }

    #[test]
    fn what_would_change_the_result_is_refused_by_place() {
        check_text(
            "jobs:\n  a:\n    runs-on: macos-14\n    snapshot: x\n    container: alpine\n    services:\n      db: postgres\n    \
             steps:\n      - uses: o/r@v2\n      - uses: docker://alpine\n      - run: x\n        shell: pwsh\n  b:\n    uses: \
             o/r/.github/workflows/w.yml@v2",
            &known(),
            &[
                "4:14 Refused RunsOn macos-14",
                "5:15 Refused Snapshot ",
                "6:16 Refused Container alpine",
                "8:7 Refused Services db",
                "10:15 Refused UsesRemote o/r@v2",
                "11:15 Refused UsesDocker alpine",
                "13:16 Refused Shell pwsh",
                "15:11 Refused ReusableCall o/r/.github/workflows/w.yml@v2",
            ],
        );
        let more = Known {
            containers: true,
            docker_actions: true,
            shells: ["pwsh".to_string()].into(),
            ..known()
        };
        check_text(
            "jobs:\n  a:\n    runs-on: linux\n    container: alpine\n    services:\n      db: postgres\n    steps:\n      - uses: \
             docker://alpine\n      - run: x\n        shell: pwsh",
            &more,
            &[],
        );
    }

    #[test]
    fn what_has_no_effect_is_noted_with_its_reason() {
        check_text(
            "run-name: r\npermissions:\n  id-token: write\njobs:\n  a:\n    runs-on: {group: g, labels: linux}\n    \
             environment: prod\n    permissions: read-all\n    steps:\n      - uses: other/x@v1\n        if: false",
            &known(),
            &[
                "2:11 NoEffect RunName r",
                "4:3 NoEffect Permissions ",
                "4:3 NoEffect IdToken write",
                "9:18 NoEffect Permissions read-all",
                "7:22 NoEffect RunsOnGroup g",
                "8:18 NoEffect Environment prod",
            ],
        );
    }

    #[test]
    fn keys_made_by_expressions_are_refused_and_not_dropped() {
        check_text(
            "jobs:\n  a:\n    runs-on: linux\n    env:\n      ${{ insert }}: ${{ matrix.env }}",
            &known(),
            &["6:7 Refused ExpressionKeys "],
        );
    }

    #[test]
    fn keys_that_github_reads_over_are_noted() {
        let text = "on: {workflow_dispatch: {input: {}}}\njobs:\n  a:\n    runs-on: linux\n";
        let file = WorkflowFile::parse("x.yml", text).unwrap();
        let found: Vec<String> = check(&file, &known()).iter().map(ToString::to_string).collect();
        let expected = "x.yml:1:26: unknown keys under workflow_dispatch (input): no effect: GitHub reads over them too; \
                        correct or remove the key";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn labels_and_shells_made_by_expressions_are_known_only_when_they_run() {
        check_text(
            "jobs:\n  a:\n    runs-on: ${{ matrix.os }}\n    defaults: {run: {shell: '${{ matrix.shell }}'}}",
            &known(),
            &[
                "4:14 Unclear RunsOn ${{ matrix.os }}",
                "5:29 Unclear Shell ${{ matrix.shell }}",
            ],
        );
    }

    #[test]
    fn a_finding_says_file_place_feature_reason_and_what_to_do() {
        let file =
            WorkflowFile::parse("ci.yml", "on: push\njobs:\n  a:\n    runs-on: windows-2025\n").unwrap();
        let expected = "ci.yml:4:14: runs-on (windows-2025): refused: a label must map to a box; map the label in the \
                        configuration, or leave the job to the code host with an `if`";
        assert_eq!(check(&file, &known())[0].to_string(), expected);
    }

    #[test]
    fn actions_are_checked_like_workflows() {
        let docker = ActionFile::parse("a/action.yml", "runs: {using: docker, image: Dockerfile}").unwrap();
        assert_eq!(check_action(&docker, &known())[0].feature, Feature::DockerAction);
        let composite =
            "runs:\n  using: composite\n  steps:\n    - {run: x, shell: pwsh}\n    - uses: q/z@v1\n";
        let composite = ActionFile::parse("a/action.yml", composite).unwrap();
        let features: Vec<Feature> = check_action(&composite, &known())
            .iter()
            .map(|found| found.feature)
            .collect();
        assert_eq!(features, [Feature::Shell, Feature::UsesRemote]);
    }
}

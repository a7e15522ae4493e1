//! The workflows in `tests/workflows`: what each says of itself, and what came of it as text to compare.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gantry_ci::run::{JobReport, RunReport, WorkflowOutcome};
use gantry_core::queue::build::Ending;

use super::host_engine::git;
use super::world::{Mirrored, World};

/// Returns the folder of the workflows.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/workflows")
}

/// A workflow that proves something.
pub struct Proof {
    pub name: String,
    pub text: String,
}

impl Proof {
    /// Reads all, in order of names.
    pub fn all() -> Vec<Self> {
        let mut proofs: Vec<Self> = fs::read_dir(folder())
            .expect("the folder is there")
            .map(|entry| entry.expect("it is read").path())
            .filter(|path| path.extension().is_some_and(|end| end == "yml"))
            .map(|path| Self {
                name: path
                    .file_stem()
                    .expect("it has a name")
                    .to_string_lossy()
                    .into_owned(),
                text: fs::read_to_string(&path).expect("it is text"),
            })
            .collect();
        proofs.sort_by(|a, b| a.name.cmp(&b.name));
        proofs
    }

    /// Returns the values of a `# key: value` line at the top.
    fn said(&self, key: &str) -> impl Iterator<Item = &str> {
        let start = format!("# {key}: ");
        self.text
            .lines()
            .filter_map(move |line| line.strip_prefix(&start).map(str::trim))
    }

    /// Returns the features it proves.
    pub fn features(&self) -> Vec<&str> {
        self.said("proves").collect()
    }

    /// Tells whether it is there to be called by another.
    pub fn is_only_called(&self) -> bool {
        self.features().is_empty()
    }

    /// Makes the world it runs in.
    pub fn world(&self) -> World {
        let mut world = World::default();
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').expect("name=value");
            (name.to_owned(), value.to_owned())
        };
        world.secrets = self.said("secret").map(pair).collect();
        world.vars = self.said("var").map(pair).collect();
        world.inputs = self.said("input").map(pair).collect();
        let origin = world.folder.path().join("origin");
        read_files(&folder().join("repository"), &mut |path, text| {
            let at = origin.join(path);
            fs::create_dir_all(at.parent().expect("it is in the folder")).expect("there is room");
            fs::write(at, text).expect("there is room");
        });
        git(&origin, &["init", "-q"]);
        git(&origin, &["add", "."]);
        git(&origin, &["commit", "-q", "-m", "all"]);
        world.event.commit = git(&origin, &["rev-parse", "HEAD"])
            .parse()
            .expect("it is a commit");
        world.mirrored = mirrored();
        let event = self.said("event").next().unwrap_or("push").to_owned();
        match event.as_str() {
            "pull_request" => {
                world.event.payload = serde_json::json!({"action": "opened", "number": 5});
                world.event.git_ref = "refs/pull/5/merge".into();
                world.event.base_ref = "main".into();
                world.event.head_ref = "topic".into();
                world.event.changed_paths = Some(vec!["src/a.rs".into()]);
            }
            "schedule" => world.event.payload = serde_json::json!({"schedule": "30 5 * * 1-5"}),
            _ => {}
        }
        world.event.name = event;
        world
    }

    /// Runs it.
    pub fn run(&self) -> (World, RunReport) {
        let world = self.world();
        let called = fs::read_to_string(folder().join("called.yml")).expect("it is there");
        let path = format!(".github/workflows/{}.yml", self.name);
        let report = world.run(&[(&path, &self.text), (".github/workflows/called.yml", &called)]);
        (world, report)
    }
}

fn mirrored() -> Vec<Mirrored> {
    let mut all: Vec<Mirrored> = Vec::new();
    read_files(&folder().join("mirror"), &mut |path, text| {
        let mut parts = path.splitn(4, '/');
        let mut next = || parts.next().expect("owner/name/reference/path").to_owned();
        let name = format!("{}/{}@{}", next(), next(), next());
        let file = (next(), text);
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, files)) => files.push(file),
            None => all.push((name, vec![file])),
        }
    });
    all
}

fn read_files(folder: &Path, each: &mut dyn FnMut(String, String)) {
    fn walk(root: &Path, folder: &Path, each: &mut dyn FnMut(String, String)) {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it is read").path();
            if path.is_dir() {
                walk(root, &path, each);
            } else {
                let inside = path
                    .strip_prefix(root)
                    .expect("it is below")
                    .display()
                    .to_string();
                each(inside, fs::read_to_string(&path).expect("it is text"));
            }
        }
    }
    walk(folder, folder, each);
}

/// Writes what came of a run, without what differs from run to run.
pub fn render(report: &RunReport) -> String {
    let mut text = String::new();
    for workflow in &report.workflows {
        match &workflow.outcome {
            WorkflowOutcome::Ignored(why) => writeln!(text, "ignored: {why}"),
            WorkflowOutcome::Refused(found) => {
                let lines: Vec<String> = found.iter().map(|found| format!("refused: {found}\n")).collect();
                write!(text, "{}", lines.concat())
            }
            WorkflowOutcome::Ran { conclusion, fault } => {
                let fault = fault
                    .as_ref()
                    .map_or_else(String::new, |fault| format!(": {fault}"));
                writeln!(text, "{} {}{fault}", workflow.name, conclusion.as_str())
            }
        }
        .expect("memory takes it");
        let mut jobs: Vec<&JobReport> = workflow.jobs.iter().collect();
        jobs.sort_by(|a, b| (&a.id, &a.name, a.leg).cmp(&(&b.id, &b.name, b.leg)));
        jobs.iter().for_each(|job| render_job(job, &mut text));
    }
    text
}

fn render_job(job: &JobReport, text: &mut String) {
    let mut line = |indent: usize, words: String| {
        writeln!(text, "{:indent$}{words}", "").expect("memory takes it");
    };
    let ending = match job.ending {
        Ending::Passed => String::new(),
        other => format!(" [{}]", other.as_str()),
    };
    let tolerated = if job.tolerated { " tolerated" } else { "" };
    line(
        2,
        format!("job {}: {}{ending}{tolerated}", job.name, job.conclusion.as_str()),
    );
    if !job.detail.is_empty() {
        line(4, format!("because: {}", job.detail));
    }
    for step in &job.steps {
        let (outcome, conclusion) = (step.outcome.as_str(), step.conclusion.as_str());
        let counted = if outcome == conclusion {
            String::new()
        } else {
            format!(" as {conclusion}")
        };
        line(4, format!("step {}: {outcome}{counted}", step.name));
    }
    for (name, value) in &job.outputs {
        line(4, format!("output {name}: {value:?}"));
    }
    for found in &job.annotations {
        let place = match (&found.file, found.line) {
            (Some(file), Some(line)) => format!(" {file}:{line}"),
            _ => String::new(),
        };
        line(4, format!("{:?}{place}: {}", found.level, found.message));
    }
    if let Some(path) = &job.summary {
        let summary = fs::read_to_string(path).expect("the summary is there");
        summary
            .lines()
            .for_each(|words| line(4, format!("summary: {words}")));
    }
}

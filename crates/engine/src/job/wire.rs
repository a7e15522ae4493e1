//! What the daemon and a build's process tell each other, as JSON. Owns the forms and their version: after an upgrade
//! an old process reports to a new daemon, so a field is only ever added, and a missing one has a meaning.

use std::path::PathBuf;
use std::time::Duration;

use gantry_core::id::BuildId;
use gantry_core::queue::build::{CheckRun, Ending, Trouble};
use serde::{Deserialize, Serialize};

use crate::boxes::BoxReport;

/// The file of the job's folder that holds its [`JobReport`].
pub const REPORT: &str = "report.json";

/// What a build's process is to do; handed over on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOrder {
    /// Which build.
    pub build: u64,
    /// The factory's data directory.
    pub data: PathBuf,
    /// Where boxes have their folders.
    pub boxes: PathBuf,
    /// The repository's name in the factory.
    pub name: String,
    /// Its Git storage.
    pub repository: PathBuf,
    /// The target branch.
    pub target: String,
    /// The commit of the target below the candidate.
    pub base: String,
    /// The commit that is tested.
    pub commit: String,
    /// The text of the gate's file, as it was on the target branch.
    pub gate: String,
    /// The digest of the gate's definition and the name of the boxes: with the commit, what the verdict is about.
    pub about: String,
    /// How many boxes may live at once; a process that is told nothing takes two.
    #[serde(default = "two")]
    pub slots: usize,
}

const fn two() -> usize {
    2
}

/// Something that happened in a build's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// It begins.
    Started,
    /// Output was seen that means it will fail.
    Doomed,
    /// A check, or a job of a workflow, started.
    CheckStarted {
        /// Its name.
        name: String,
    },
    /// A check, or a job of a workflow, ended.
    CheckEnded {
        /// Its name.
        name: String,
        /// The word for how.
        ending: String,
    },
    /// A step of a workflow's job ended.
    StepEnded {
        /// The job's name.
        job: String,
        /// The step's name.
        step: String,
        /// The word for how.
        ending: String,
        /// Wall time.
        duration_ms: u64,
    },
    /// The report is written.
    Ended,
    /// Something of a version this one does not know.
    #[serde(other)]
    Unknown,
}

/// What a build came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// The commit it is about.
    pub commit: String,
    /// As in [`JobOrder::about`].
    pub about: String,
    /// The word of its ending; a word nobody knows is trouble.
    pub ending: String,
    /// Its checks.
    pub checks: Vec<CheckForm>,
}

/// A [`CheckRun`] in its JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckForm {
    name: String,
    ending: String,
    detail: String,
    duration_ms: u64,
    #[serde(default)]
    evidence: Vec<String>,
}

impl JobReport {
    /// Puts a report into its JSON form.
    #[must_use]
    pub fn of(order: &JobOrder, report: &BoxReport) -> Self {
        let checks = report.checks.iter().map(|check| CheckForm {
            name: check.name.clone(),
            ending: ending_word(check.ending),
            detail: check.detail.clone(),
            duration_ms: u64::try_from(check.duration.as_millis()).unwrap_or(u64::MAX),
            evidence: check.evidence.clone(),
        });
        Self {
            commit: order.commit.clone(),
            about: order.about.clone(),
            ending: ending_word(report.ending),
            checks: checks.collect(),
        }
    }

    /// Reads the report of a build.
    #[must_use]
    pub fn into_report(self, build: BuildId) -> BoxReport {
        let checks = self.checks.into_iter().map(|check| CheckRun {
            name: check.name,
            ending: parse_ending(&check.ending),
            detail: check.detail,
            duration: Duration::from_millis(check.duration_ms),
            evidence: check.evidence,
        });
        BoxReport {
            build,
            ending: parse_ending(&self.ending),
            checks: checks.collect(),
        }
    }
}

/// Returns the word of an ending: `passed failed timed_out cancelled`, or `trouble:` and its kind.
pub(super) fn ending_word(ending: Ending) -> String {
    match ending {
        Ending::Passed | Ending::Failed | Ending::TimedOut | Ending::Cancelled => ending.as_str().to_owned(),
        Ending::Trouble(trouble) => format!("trouble:{}", trouble.as_str()),
    }
}

fn parse_ending(word: &str) -> Ending {
    for ending in [
        Ending::Passed,
        Ending::Failed,
        Ending::TimedOut,
        Ending::Cancelled,
    ] {
        if word == ending.as_str() {
            return ending;
        }
    }
    let trouble = word.strip_prefix("trouble:").and_then(Trouble::parse);
    // A word of a later version is no verdict of ours.
    Ending::Trouble(trouble.unwrap_or(Trouble::Interrupted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> JobOrder {
        JobOrder {
            build: 7,
            data: "/data".into(),
            boxes: "/data/boxes".into(),
            name: "acme".into(),
            repository: "/r.git".into(),
            target: "main".into(),
            base: "b".into(),
            commit: "c".into(),
            gate: "[gate]".into(),
            about: "digest native:host".into(),
            slots: 2,
        }
    }

    #[test]
    fn a_report_comes_back_as_it_was() {
        let endings = [
            Ending::Passed,
            Ending::Failed,
            Ending::TimedOut,
            Ending::Cancelled,
        ]
        .into_iter()
        .chain(Trouble::ALL.map(Ending::Trouble));
        for ending in endings {
            let report = BoxReport {
                build: BuildId::new(7),
                ending,
                checks: vec![CheckRun {
                    name: "test".into(),
                    ending,
                    detail: "d".into(),
                    duration: Duration::from_millis(1_234),
                    evidence: vec!["line".into()],
                }],
            };
            let text = serde_json::to_string(&JobReport::of(&order(), &report)).expect("JSON");
            let read: JobReport = serde_json::from_str(&text).expect("a report");
            assert_eq!(read.into_report(BuildId::new(7)), report);
        }
    }

    #[test]
    fn words_and_fields_of_a_later_version_are_no_verdict_and_no_error() {
        let text = r#"{"commit":"c","about":"a","ending":"sublime","checks":[],"more":1}"#;
        let read: JobReport = serde_json::from_str(text).expect("a report");
        assert_eq!(
            read.into_report(BuildId::new(7)).ending,
            Ending::Trouble(Trouble::Interrupted)
        );
        let event: JobEvent =
            serde_json::from_str(r#"{"event":"levitated","height_m":3}"#).expect("an event");
        assert_eq!(event, JobEvent::Unknown);
    }
}

//! What comes back from boxes: a build ends once, a verdict is in the journal before it is in the database.

use std::time::Duration;

use gantry_core::event::FactKind;
use gantry_core::limits::{
    LEARN_BUILDS_MAX, SAME_TREE_TROUBLE_MAX, SHORT_PASS_HISTORY_MIN, SHORT_PASS_PARTS, SHORT_PASS_USUAL_MIN,
};
use gantry_core::queue::build::{Build, BuildEvent, BuildState, Ending, Trouble};
use gantry_core::time::Timestamp;
use gantry_store::{Saved, Store};

use super::{Line, LineError, Obstacle, chain};
use crate::boxes::{BoxReport, Boxes};
use crate::forge::Forge;
use crate::journal::{CANDIDATES, Entry, Verdict};

impl<F: Forge, B: Boxes> Line<F, B> {
    /// Takes a report over. A late or doubled one changes nothing; one that cannot be stored is lost, and the build
    /// counts as interrupted at the next look.
    pub fn report(&mut self, store: &mut Store, report: BoxReport, now: Timestamp) {
        let id = report.build;
        self.boxes.hand_over(id);
        if let Err(error) = self.try_report(store, report, now) {
            tracing::warn!(build = %id, error = chain(&error), "a build's report could not be kept");
            self.memory.recovered = false;
            let obstacle = self.explain(&error, now);
            self.memory.host = Some(obstacle);
        }
    }

    fn try_report(&mut self, store: &mut Store, report: BoxReport, now: Timestamp) -> Result<(), LineError> {
        let Some(mut build) = store.load_build(report.build)? else {
            return Ok(());
        };
        if !matches!(build.state, BuildState::Running { .. }) {
            return Ok(());
        }
        build.checks = report.checks;
        let event = match report.ending {
            Ending::Passed if self.is_too_short(store, &build)? => BuildEvent::Trouble(Trouble::TooShort),
            Ending::Passed => BuildEvent::Pass,
            Ending::Failed => BuildEvent::Fail,
            Ending::TimedOut => BuildEvent::TimeOut,
            Ending::Trouble(trouble) if self.is_its_own_doing(store, &build, trouble)? => BuildEvent::Fail,
            Ending::Trouble(trouble) => BuildEvent::Trouble(trouble),
            Ending::Cancelled => BuildEvent::Cancel,
        };
        self.end_build(store, &mut build, event, now)
    }

    /// Ends a build: journal first if it judged, then the row with the fact, then its ref if it counts no more.
    pub(super) fn end_build(
        &mut self,
        store: &mut Store,
        build: &mut Build,
        event: BuildEvent,
        now: Timestamp,
    ) -> Result<(), LineError> {
        // A verdict found in the journal after a crash is of a box that ran, whatever the row got to say.
        if build.state == BuildState::Prepared
            && !matches!(event, BuildEvent::Cancel | BuildEvent::Trouble(_))
        {
            build.state = build.state.apply(BuildEvent::BoxRuns, build.order.prepared_at)?;
        }
        build.state = build.state.apply(event, now)?;
        build.ended_at = Some(now);
        let BuildState::Ended(ending) = build.state else {
            return Ok(());
        };
        build.counts = matches!(ending, Ending::Passed | Ending::Failed | Ending::TimedOut);
        if build.counts && !self.memory.journaled.contains(&build.id) {
            let verdict = Verdict::of(build, ending.as_str(), now.as_millis());
            self.append(&Entry::Verdict(verdict), Some(build.order.candidate), now)?;
            self.memory.journaled.insert(build.id);
        }
        self.mind_the_host(build, ending, now);
        let failing = build.checks.iter().find(|check| check.ending != Ending::Passed);
        let mut fact = self.fact(FactKind::BuildEnded, now, ending_text(build, ending));
        fact.build = Some(build.id);
        fact.evidence = failing.map(|check| check.evidence.clone()).unwrap_or_default();
        if store.save_build(build, &[], &[fact])? == Saved::Lost {
            return Ok(());
        }
        if !build.counts {
            self.forge
                .ensure_ref(&format!("{CANDIDATES}{}", build.id), None)?;
        }
        Ok(())
    }

    /// Boxes that give no verdict are tried again later and later; a verdict ends the waiting.
    fn mind_the_host(&mut self, build: &Build, ending: Ending, now: Timestamp) {
        match ending {
            Ending::Passed | Ending::Failed | Ending::TimedOut => {
                self.memory.host = None;
                self.memory.tries = 0;
                self.memory.retry_at = None;
            }
            Ending::Trouble(Trouble::Interrupted | Trouble::Killed | Trouble::TooShort)
            | Ending::Cancelled => {}
            Ending::Trouble(trouble) => {
                let what = build
                    .checks
                    .last()
                    .map_or_else(String::new, |check| format!(": {}", check.detail));
                let next_action = match trouble {
                    Trouble::OutOfDisk => "make room on the disk of the data directory",
                    Trouble::TooMuchOutput => "make the check print less, or change what floods its output",
                    _ => "run `gantry status` and `gantry build log` to see what the host refuses",
                };
                if trouble == Trouble::CouldNotStart {
                    // An object may have gone bad since it was read: the radar says whose it is.
                    self.forge.doubt();
                    self.memory.verdicts_of = None;
                }
                let retry_at = Some(self.back_off(now));
                self.memory.host = Some(Obstacle {
                    code: "host",
                    text: format!("{} gave no verdict ({}){what}", build.id, trouble.as_str()),
                    next_action: next_action.into(),
                    retry_at,
                });
            }
        }
    }

    /// True if boxes of this tree were killed from inside or flooded their log again and again: whatever else the
    /// host does, the tree does it too. A control run on the base still stands between this and a bounce.
    fn is_its_own_doing(&self, store: &Store, build: &Build, trouble: Trouble) -> Result<bool, LineError> {
        if !matches!(trouble, Trouble::Killed | Trouble::TooMuchOutput) {
            return Ok(false);
        }
        let recent = store.load_builds_below(self.repository.id, build.id, LEARN_BUILDS_MAX)?;
        let same = recent.iter().filter(|other| {
            // A build the daemon itself cut short has no checks: that says nothing about its tree.
            other.order.tree == build.order.tree
                && !other.checks.is_empty()
                && matches!(
                    other.state,
                    BuildState::Ended(Ending::Trouble(Trouble::Killed | Trouble::TooMuchOutput))
                )
        });
        Ok(same.count() + 1 >= SAME_TREE_TROUBLE_MAX)
    }

    /// True if a check that always takes long passed in no time, and this tree was not run again for that yet.
    fn is_too_short(&mut self, store: &Store, build: &Build) -> Result<bool, LineError> {
        let learnt = self.learn(store)?;
        if learnt.doubted.contains(&build.order.tree) {
            return Ok(false);
        }
        Ok(build.checks.iter().any(|check| {
            learnt.passes.get(&check.name).is_some_and(|passes| {
                passes.len() >= SHORT_PASS_HISTORY_MIN && is_far_below(check.duration, passes)
            })
        }))
    }
}

fn is_far_below(duration: Duration, passes: &[Duration]) -> bool {
    let mut sorted = passes.to_vec();
    sorted.sort_unstable();
    let usual = sorted[sorted.len() / 2];
    usual >= SHORT_PASS_USUAL_MIN && duration.saturating_mul(SHORT_PASS_PARTS) < usual
}

fn ending_text(build: &Build, ending: Ending) -> String {
    let took = build
        .started_at
        .zip(build.ended_at)
        .map_or_else(String::new, |(from, to)| {
            format!(" after {:.1} s", to.since(from).as_secs_f64())
        });
    let failing = build.checks.iter().find(|check| check.ending != Ending::Passed);
    let detail = failing.map_or_else(String::new, |check| {
        format!(": check {:?} {}", check.name, check.detail)
    });
    let word = match ending {
        Ending::Passed => "passed".to_owned(),
        Ending::Failed => "failed".to_owned(),
        Ending::TimedOut => "ran into a time limit".to_owned(),
        Ending::Trouble(trouble) => format!("gave no verdict ({})", trouble.as_str()),
        Ending::Cancelled => "was ended early".to_owned(),
    };
    format!("{} {word}{took}{detail}", build.id)
}

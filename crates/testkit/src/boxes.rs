//! Boxes in virtual time: a build ends when its time has come, with what the truth of its tree says, unless a fault
//! by script gets in between.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use gantry_core::id::BuildId;
use gantry_core::queue::build::{Build, CheckRun, Ending, Trouble};
use gantry_core::time::Timestamp;
use gantry_engine::boxes::{BoxOrder, BoxReport, Boxes};

use crate::dice::Dice;
use crate::fuse::Fuse;
use crate::git::Git;
use crate::truth::{Truth, truth_of};

/// How often, in a thousand builds, something goes wrong with a box.
#[derive(Debug, Clone, Copy, Default)]
pub struct BoxFaults {
    /// It is interrupted.
    pub interrupted: u64,
    /// It cannot start.
    pub no_start: u64,
    /// The disk is full.
    pub no_disk: u64,
    /// It is gone, and nobody says so.
    pub vanishes: u64,
    /// It does not even begin, and its report says so later.
    pub refused: u64,
    /// Its report comes twice.
    pub doubled: u64,
    /// Its report comes late.
    pub late: u64,
    /// A failure shows early in the output.
    pub doomed: u64,
}

/// A box.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) ends_at: Timestamp,
    doomed_at: Option<Timestamp>,
    cancelled: bool,
    /// `None`: it vanishes.
    pub(crate) report: Option<BoxReport>,
    pub(crate) doubled: bool,
    /// Its report is on the way.
    pub(crate) told: bool,
}

/// All boxes of the machine, and what is known of each build.
#[derive(Debug)]
pub struct Yard {
    pub(crate) now: Timestamp,
    pub(crate) faults: BoxFaults,
    pub(crate) running: BTreeMap<BuildId, Running>,
    /// Reports of boxes that never began.
    pub(crate) refusals: Vec<BoxReport>,
    /// The most boxes that ran at once.
    pub(crate) most: usize,
    /// How long a check takes, usually.
    pub(crate) usual: Duration,
    /// Spread of it, in percent.
    pub(crate) spread: u64,
    /// Durations by script, for builds with these numbers.
    pub(crate) scripted: BTreeMap<BuildId, Duration>,
    /// How many builds were started.
    pub(crate) started: u64,
    /// The name of the boxes.
    pub(crate) identity: String,
    pub(crate) dice: Dice,
}

/// A process's view of the boxes.
#[derive(Debug, Clone)]
pub struct FakeBoxes {
    yard: Rc<RefCell<Yard>>,
    git: Rc<RefCell<Git>>,
    fuse: Rc<Fuse>,
}

impl FakeBoxes {
    pub(crate) fn new(yard: Rc<RefCell<Yard>>, git: Rc<RefCell<Git>>, fuse: Rc<Fuse>) -> Self {
        Self { yard, git, fuse }
    }
}

impl Yard {
    pub(crate) fn new(usual: Duration, spread: u64, seed: u64) -> Self {
        Self {
            now: Timestamp::from_millis(0),
            faults: BoxFaults::default(),
            running: BTreeMap::new(),
            refusals: Vec::new(),
            most: 0,
            usual,
            spread,
            scripted: BTreeMap::new(),
            started: 0,
            identity: "virtual:host".into(),
            dice: Dice::new(seed),
        }
    }

    /// How many boxes run that nobody has ended.
    pub(crate) fn active(&self) -> usize {
        self.running
            .values()
            .filter(|r| !r.cancelled && r.ends_at > self.now)
            .count()
    }

    fn run(&mut self, order: &BoxOrder, truth: Truth) -> Running {
        let limit = order
            .gate
            .checks
            .first()
            .map_or(Duration::MAX, |check| check.timeout);
        let part = 100 - self.spread + self.dice.below(2 * self.spread + 1);
        let usual = self.usual * u32::try_from(part).unwrap_or(100) / 100;
        let duration = self.scripted.get(&order.build).copied().unwrap_or(usual);
        let faults = self.faults;
        let mut roll = |share| self.dice.permille(share);
        let fate = if roll(faults.vanishes) {
            None
        } else if roll(faults.no_start) {
            Some(Ending::Trouble(Trouble::CouldNotStart))
        } else if roll(faults.no_disk) {
            Some(Ending::Trouble(Trouble::OutOfDisk))
        } else if roll(faults.interrupted) {
            Some(Ending::Trouble(Trouble::Interrupted))
        } else {
            Some(match truth {
                Truth::Good => Ending::Passed,
                Truth::Bad => Ending::Failed,
                Truth::Hangs => Ending::TimedOut,
                Truth::Flaky(share) if roll(share) => Ending::Failed,
                Truth::Flaky(_) => Ending::Passed,
            })
        };
        let duration = match fate {
            Some(Ending::TimedOut) => limit,
            Some(Ending::Trouble(Trouble::CouldNotStart)) => Duration::from_millis(50),
            _ => duration,
        };
        let doomed = fate == Some(Ending::Failed) && roll(faults.doomed);
        let late = if roll(faults.late) {
            self.usual / 2
        } else {
            Duration::ZERO
        };
        Running {
            ends_at: self.now + duration + late,
            doomed_at: doomed.then(|| self.now + duration / 4),
            cancelled: false,
            report: fate.map(|ending| report(order.build, ending, duration)),
            doubled: self.dice.permille(faults.doubled),
            told: false,
        }
    }
}

fn report(build: BuildId, ending: Ending, duration: Duration) -> BoxReport {
    let check = CheckRun {
        name: "test".into(),
        ending,
        detail: ending.as_str().into(),
        duration,
        evidence: vec![format!("the virtual check {}", ending.as_str())],
    };
    BoxReport {
        build,
        ending,
        checks: vec![check],
    }
}

impl Boxes for FakeBoxes {
    fn identity(&self) -> String {
        self.yard.borrow().identity.clone()
    }

    fn start(&mut self, order: BoxOrder) {
        self.fuse.effect(|| {
            let truth = truth_of(self.git.borrow().files_at(order.commit));
            let mut yard = self.yard.borrow_mut();
            yard.started += 1;
            let refused = yard.faults.refused;
            if yard.dice.permille(refused) {
                let ending = Ending::Trouble(Trouble::CouldNotStart);
                yard.refusals.push(report(order.build, ending, Duration::ZERO));
                return;
            }
            let running = yard.run(&order, truth);
            yard.running.insert(order.build, running);
            yard.most = yard.most.max(yard.active());
        });
    }

    fn cancel(&mut self, build: BuildId) {
        self.fuse.effect(|| {
            let mut yard = self.yard.borrow_mut();
            let now = yard.now;
            if let Some(running) = yard.running.get_mut(&build) {
                running.cancelled = true;
                running.ends_at = now;
                running.report = Some(report(build, Ending::Cancelled, Duration::ZERO));
            }
        });
    }

    fn is_running(&mut self, build: &Build) -> bool {
        self.yard.borrow().running.contains_key(&build.id)
    }

    fn hand_over(&mut self, build: BuildId) {
        self.yard.borrow_mut().running.remove(&build);
    }

    fn is_doomed(&self, build: BuildId) -> bool {
        let yard = self.yard.borrow();
        let doomed = yard.running.get(&build).and_then(|running| running.doomed_at);
        doomed.is_some_and(|at| at <= yard.now)
    }
}

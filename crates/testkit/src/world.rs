//! A factory with one line in a virtual world: what people do, time that passes, deaths and restarts. Rules that must
//! never break are checked after every step (`check`).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use gantry_core::id::{BranchName, BuildId, ChangeId};
use gantry_core::queue::change::{Change, ChangeState};
use gantry_core::repository::Repository;
use gantry_core::time::Timestamp;
use gantry_engine::boxes::BoxReport;
use gantry_engine::factory::Factory;
use gantry_engine::line::{Line, Obstacle};
use gantry_store::{Store, StoreError};

use crate::boxes::{BoxFaults, FakeBoxes, Yard};
use crate::check::Rules;
use crate::forge::FakeForge;
use crate::fuse::{Death, Fuse, Moment};
use crate::git::{Files, Git, TARGET};

/// The factory of the virtual world.
pub type Virtual = Factory<FakeForge, FakeBoxes>;

/// What a world is made of.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Everything random comes from here.
    pub seed: u64,
    /// Builds at once.
    pub slots: usize,
    /// The batch limit.
    pub batch_max: usize,
    /// `rebase`, `squash` or `merge`.
    pub method: &'static str,
    /// `priced`, `serial`, `batch`, `optimistic` or `best-first`.
    pub policy: &'static str,
    /// How long a check takes.
    pub check: Duration,
    /// Spread of it, in percent.
    pub spread: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            slots: 2,
            batch_max: 8,
            method: "rebase",
            policy: "priced",
            check: Duration::from_secs(360),
            spread: 0,
        }
    }
}

/// How long nothing may happen before everything is looked at again, as the real loop does.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// So often in a row a line may ask to come back at once.
const AT_ONCE_MAX: u32 = 20;
/// The time limit of the virtual check.
pub const TIMEOUT: Duration = Duration::from_secs(1_800);

/// Writes a gate file from its short form `slots:batch:method:policy:anything`; any other text stays as it is.
pub(crate) fn gate_text(short: &str) -> String {
    let parts: Vec<&str> = short.split(':').collect();
    let [slots, batch, method, policy, ..] = parts.as_slice() else {
        return short.to_owned();
    };
    format!(
        "# {short}\n[gate]\nslots = {slots}\nbatch_max = {batch}\nmethod = \"{method}\"\npolicy = \"{policy}\"\n\
         [[gate.check]]\nname = \"test\"\nrun = \"true\"\ntimeout = \"{}s\"\n",
        TIMEOUT.as_secs()
    )
}

/// The world.
#[derive(Debug)]
pub struct TestWorld {
    /// What it was made of.
    pub setup: Setup,
    /// The present.
    pub now: Timestamp,
    pub(crate) git: Rc<RefCell<Git>>,
    pub(crate) yard: Rc<RefCell<Yard>>,
    /// When the process dies.
    pub fuse: Rc<Fuse>,
    pub(crate) factory: Virtual,
    pub(crate) rules: Rules,
    wake_at: Option<Timestamp>,
    doubled: Vec<BoxReport>,
    /// How often the process died.
    pub deaths: u32,
    /// People's next requests are not heard by the line until it looks by itself.
    pub deaf: bool,
}

impl TestWorld {
    /// Makes a world whose target has a gate and one file, and a factory that has looked at it.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let git = Rc::new(RefCell::new(Git::default()));
        let gate = format!(
            "{}:{}:{}:{}:1",
            setup.slots, setup.batch_max, setup.method, setup.policy
        );
        let files = Files::from([
            (".gantry.toml".to_owned(), gate),
            ("base".to_owned(), "0".to_owned()),
        ]);
        let root = git.borrow_mut().write(Vec::new(), files, "root", "person", 0);
        git.borrow_mut().set_ref(TARGET, Some(root));
        let yard = Rc::new(RefCell::new(Yard::new(setup.check, setup.spread, setup.seed)));
        let fuse = Rc::new(Fuse::default());
        let factory = wire(empty_store(), &git, &yard, &fuse);
        let mut world = Self {
            setup,
            now: Timestamp::from_millis(0),
            git,
            yard,
            fuse,
            factory,
            rules: Rules::default(),
            wake_at: None,
            doubled: Vec::new(),
            deaths: 0,
            deaf: false,
        };
        world.look();
        world
    }

    /// The repository of the world.
    #[must_use]
    pub fn git(&self) -> std::cell::RefMut<'_, Git> {
        self.git.borrow_mut()
    }

    /// The database of the world.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.factory.store()
    }

    /// The repository as the factory knows it.
    #[must_use]
    pub fn repository(&mut self) -> Repository {
        self.factory.parts().1[0].repository.clone()
    }

    /// What is in the line's way.
    #[must_use]
    pub fn obstacle(&mut self) -> Option<Obstacle> {
        self.factory.parts().1[0].obstacle().cloned()
    }

    /// Lets boxes fail in these ways from now on.
    pub fn box_faults(&mut self, faults: BoxFaults) {
        self.yard.borrow_mut().faults = faults;
    }

    /// Lets a build, by number, run so long.
    pub fn build_takes(&mut self, build: u64, duration: Duration) {
        self.yard
            .borrow_mut()
            .scripted
            .insert(BuildId::new(build), duration);
    }

    /// Lets builds from now on take so long.
    pub fn checks_take(&mut self, duration: Duration) {
        self.yard.borrow_mut().usual = duration;
    }

    /// How many builds were started in boxes so far.
    #[must_use]
    pub fn builds_started(&self) -> u64 {
        self.yard.borrow().started
    }

    /// The most boxes that ran at once.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.yard.borrow().most
    }

    /// Calls the factory; if the process dies in it, starts another one and answers `None`.
    pub(crate) fn alive<T>(&mut self, call: impl FnOnce(&mut Virtual) -> T) -> Option<T> {
        self.yard.borrow_mut().now = self.now;
        let factory = &mut self.factory;
        match catch_unwind(AssertUnwindSafe(|| call(factory))) {
            Ok(answer) => Some(answer),
            Err(payload) if payload.is::<Death>() => {
                self.restart();
                None
            }
            Err(payload) => resume_unwind(payload),
        }
    }

    /// The process is killed and another one is started over the same disk.
    pub fn restart(&mut self) {
        self.deaths += 1;
        self.yard.borrow_mut().running.clear();
        self.yard.borrow_mut().refusals.clear();
        self.doubled.clear();
        self.wake_at = Some(self.now);
        let empty = Store::in_memory().expect("a database in memory");
        let store = std::mem::replace(self.factory.parts().0, empty);
        self.factory = wire(store, &self.git, &self.yard, &self.fuse);
    }

    /// The line looks at everything until nothing is left to do at this instant.
    ///
    /// # Panics
    ///
    /// If it never comes to rest, or a rule is broken.
    pub fn look(&mut self) {
        for _ in 0..AT_ONCE_MAX {
            let now = self.now;
            let before = self.fuse.count();
            let wake = self.alive(|factory| factory.reconcile(now));
            assert!(
                self.fuse.count() - before < 20_000,
                "one look takes too many effects"
            );
            self.check();
            match wake {
                Some(wake) if wake.is_none_or(|at| at > now) => {
                    self.wake_at = wake;
                    return;
                }
                Some(_) | None => {}
            }
        }
        panic!(
            "the line asks to come back at once for ever: {:?}",
            self.obstacle()
        );
    }

    fn next_instant(&self, until: Timestamp) -> Timestamp {
        let yard = self.yard.borrow();
        let boxes = yard.running.values().filter(|r| !r.told).map(|r| r.ends_at).min();
        let next = [boxes, self.wake_at, Some(self.now + LOOK_AGAIN)];
        let next = next.into_iter().flatten().min().unwrap_or(until);
        next.max(self.now).min(until)
    }

    /// Lets time pass until an instant, or until the next thing happens.
    pub fn step(&mut self, until: Timestamp) {
        self.now = self.next_instant(until);
        self.yard.borrow_mut().now = self.now;
        self.deliver();
        self.look();
    }

    fn deliver(&mut self) {
        let now = self.now;
        let mut news = std::mem::take(&mut self.doubled);
        let mut again = Vec::new();
        {
            let mut yard = self.yard.borrow_mut();
            news.append(&mut yard.refusals);
            yard.running.retain(|_, r| r.ends_at > now || r.report.is_some());
            for running in yard.running.values_mut().filter(|r| r.ends_at <= now && !r.told) {
                running.told = true;
                if running.doubled {
                    again.extend(running.report.clone());
                }
                news.extend(running.report.clone());
            }
        }
        let repository = self.repository().id;
        for report in news {
            let died = self
                .alive(|factory| factory.report(repository, report, now))
                .is_none();
            if died {
                break;
            }
            self.check();
        }
        self.doubled.extend(again);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.step(until);
        }
    }

    /// Lets time pass until no change is queued, tested or landing.
    ///
    /// # Panics
    ///
    /// If that takes longer than so many check times.
    pub fn run_until_settled(&mut self, check_times: u32) {
        let until = self.now + self.yard.borrow().usual.max(Duration::from_secs(60)) * check_times;
        self.look();
        while self.now < until {
            if !self.changes().iter().any(|change| self.goes_on(change)) {
                return;
            }
            self.step(until);
        }
        panic!(
            "after {check_times} check times there still wait: {}",
            self.tell()
        );
    }

    /// True if a change needs no person to come to its end: it is pending, and not behind one that is halted.
    #[must_use]
    pub fn goes_on(&self, change: &Change) -> bool {
        let below = |id: &ChangeId| self.factory.change(*id).ok();
        match &change.state {
            ChangeState::Landing { .. } => true,
            state if state.is_pending() => change
                .after
                .iter()
                .filter_map(below)
                .all(|other| other.state.is_terminal() || self.goes_on(&other)),
            _ => false,
        }
    }

    /// Everything in a few lines, for failing tests.
    #[must_use]
    pub fn tell(&mut self) -> String {
        let obstacle = self.obstacle();
        let mut text = format!("now {}, in the way: {obstacle:?}\n", self.now);
        for change in self.changes() {
            text.push_str(&format!("{} {} {:?}\n", change.id, change.branch, change.state));
        }
        for fact in self.store().load_facts_after(0, 10_000).unwrap_or_default() {
            let fact = fact.fact;
            text.push_str(&format!(
                "  {} {} {:?} {}\n",
                fact.at,
                fact.kind.as_str(),
                fact.change,
                fact.text
            ));
        }
        text
    }

    /// All changes, oldest first.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let all = ChangeId::new(i64::MAX as u64);
        let repository = gantry_core::id::RepositoryId::new(1);
        let mut changes = self
            .store()
            .load_changes_below(repository, all, 10_000)
            .expect("readable changes");
        changes.reverse();
        changes
    }

    /// Dies at so many effects from now.
    pub fn die_in(&mut self, effects: u64, moment: Moment) {
        self.fuse.arm(self.fuse.count() + effects, moment);
    }

    /// Where a change is.
    #[must_use]
    pub fn state(&self, change: ChangeId) -> ChangeState {
        self.factory.change(change).expect("it was offered").state
    }

    /// The branches that landed, in the order of the target's history since the root.
    #[must_use]
    pub fn landed(&self) -> Vec<String> {
        let git = self.git.borrow();
        let mut subjects = Vec::new();
        let mut next = git.tip();
        while let Some(id) = next {
            let commit = git.commit(id);
            subjects.push(commit.author.clone());
            next = commit.parents.first().copied();
        }
        subjects.reverse();
        subjects.dedup();
        subjects.retain(|author| author != "person");
        subjects
    }

    /// Makes a new database from the refs alone.
    ///
    /// Errors: [`StoreError`], and whatever the rebuilding met as text.
    pub fn rebuilt(&mut self) -> Result<Store, StoreError> {
        let mut store = Store::in_memory()?;
        let main = BranchName::parse("main").expect("a name");
        let repository = store.insert_repository("virtual", "/virtual", &main, false)?;
        let mut forge = FakeForge::open(Rc::clone(&self.git), Rc::clone(&self.fuse));
        gantry_engine::rebuild::rebuild(&mut store, &repository, &mut forge, self.now)
            .expect("readable refs");
        Ok(store)
    }

    /// The database is lost with the process; the line makes another from the refs when it first looks.
    pub fn lose_database(&mut self) {
        *self.factory.parts().0 = empty_store();
        self.rules.database_lost();
        self.restart();
        self.look();
    }
}

/// A database that knows the repository and nothing of it.
fn empty_store() -> Store {
    let mut store = Store::in_memory().expect("a database in memory");
    let main = BranchName::parse("main").expect("a name");
    store
        .insert_repository("virtual", "/virtual", &main, false)
        .expect("a repository");
    store
}

fn wire(store: Store, git: &Rc<RefCell<Git>>, yard: &Rc<RefCell<Yard>>, fuse: &Rc<Fuse>) -> Virtual {
    let repositories = store.load_repositories().expect("readable repositories");
    let mut factory = Factory::new(store);
    for repository in repositories {
        let forge = FakeForge::open(Rc::clone(git), Rc::clone(fuse));
        let boxes = FakeBoxes::new(Rc::clone(yard), Rc::clone(git), Rc::clone(fuse));
        factory.add_line(Line::new(repository, forge, boxes, 2));
    }
    factory
}

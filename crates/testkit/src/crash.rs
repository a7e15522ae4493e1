//! The crash matrix: a few scenarios, and the death of the process at every effect of each. The end must be the one
//! without a crash.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::fuse::Moment;
use crate::people::request;
use crate::world::{Setup, TestWorld};

/// A scenario of the matrix.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What happens, as a name.
    pub name: &'static str,
    play: fn(&mut TestWorld),
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One death and what came of it.
#[derive(Debug, Clone)]
pub struct Point {
    /// The scenario.
    pub scenario: &'static str,
    /// At which effect.
    pub effect: u64,
    /// Before or after it.
    pub moment: Moment,
    /// What was otherwise than without the death; `None` if nothing.
    pub broken: Option<String>,
}

/// Every scenario.
pub const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "a batch lands",
        play: batch_lands,
    },
    Scenario {
        name: "a change bounces",
        play: change_bounces,
    },
    Scenario {
        name: "a push between move and record",
        play: pushed_over,
    },
    Scenario {
        name: "a push before the move",
        play: pushed_before,
    },
    Scenario {
        name: "changes are offered",
        play: offered,
    },
    Scenario {
        name: "a change is cancelled",
        play: cancelled,
    },
    Scenario {
        name: "a verdict is taken over",
        play: taken_over,
    },
    Scenario {
        name: "a branch moves and another goes",
        play: branches_move,
    },
    Scenario {
        name: "a lost database is rebuilt",
        play: rebuilt,
    },
];

fn batch_lands(world: &mut TestWorld) {
    for name in ["a", "b", "c"] {
        world.offer(name, &format!("{name}=1"));
    }
}

fn change_bounces(world: &mut TestWorld) {
    world.offer("a", "a=1");
    world.offer("broken", "bad/x=1");
    world.offer("c", "c=1");
}

/// Somebody pushes as soon as the target was moved by gantry: a death after the move leaves that to be recorded.
fn pushed_over(world: &mut TestWorld) {
    world.offer("a", "a=1");
    let before = world.git().moves.len();
    while world.git().moves.len() == before {
        let soon = world.now + Duration::from_secs(60);
        world.step(soon);
    }
    world.push("pushed=1");
}

fn pushed_before(world: &mut TestWorld) {
    world.surprise(|git| git.push("pushed=1", "pushed"));
    world.offer("a", "a=1");
    world.offer("b", "b=1");
}

fn offered(world: &mut TestWorld) {
    let first = world.offer("a", "a=1");
    world.branch_on("a", "b", &["b=1"]);
    let mut above = request("b");
    above.after = vec![first];
    // The answer is looked at by the end state.
    drop(world.ask_offer(&above));
    world.offer_with("c", "c=1", |offer| offer.solo = true);
}

fn cancelled(world: &mut TestWorld) {
    world.offer("a", "a=1");
    let second = world.offer("b", "b=1");
    world.run_for(Duration::from_secs(30));
    world.cancel(second);
}

fn taken_over(world: &mut TestWorld) {
    world.offer("a", "a=1");
    world.run_until_settled(20);
    world.push("-a");
    world.branch_on("main", "again", &["a=1"]);
    let mut again = request("again");
    again.title = Some("revert the removal".into());
    drop(world.ask_offer(&again));
}

fn branches_move(world: &mut TestWorld) {
    world.offer("a", "a=1");
    world.offer("b", "b=1");
    world.run_for(Duration::from_secs(30));
    world.branch_on("a", "a", &["a=2"]);
    world.look();
    world.delete_branch("b");
}

fn rebuilt(world: &mut TestWorld) {
    let first = world.offer("a", "a=1");
    world.offer_with("b", "b=1", |offer| offer.after = vec![first]);
    world.offer("broken", "bad/x=1");
    world.run_for(Duration::from_secs(400));
    world.lose_database();
}

fn setup(seed: u64) -> Setup {
    Setup {
        seed,
        slots: 2,
        ..Setup::default()
    }
}

/// Plays a scenario and tells how it ended; with a death at one effect, counted from the scenario's beginning.
fn play(scenario: Scenario, seed: u64, death: Option<(u64, Moment)>) -> (String, u64) {
    let mut world = TestWorld::new(setup(seed));
    let start = world.fuse.count();
    if let Some((effect, moment)) = death {
        world.die_in(effect, moment);
    }
    (scenario.play)(&mut world);
    world.run_until_settled(200);
    world.fuse.disarm();
    // Also what nobody waits for any more comes to rest before refs and rows are compared.
    world.run_for(Duration::from_secs(900));
    world.check_day();
    let mut end: Vec<String> = world
        .changes()
        .iter()
        .map(|change| format!("{} {}", change.branch, word(&change.state)))
        .collect();
    end.sort();
    let tree = {
        let git = world.git();
        git.tip().map(|tip| git.commit(tip).tree)
    };
    (format!("{end:?} on {tree:?}"), world.fuse.count() - start)
}

/// The state without the numbers of builds, which a death may shift.
fn word(state: &gantry_core::queue::change::ChangeState) -> String {
    let columns = gantry_store::StateColumns::of(state);
    format!("{} {:?} {:?}", columns.state, columns.reason, columns.change)
}

/// Tells how many effects a scenario has.
#[must_use]
pub fn effects_of(scenario: Scenario, seed: u64) -> u64 {
    play(scenario, seed, None).1
}

/// Kills the process at one effect of a scenario and compares the end.
#[must_use]
pub fn try_point(scenario: Scenario, seed: u64, effect: u64, moment: Moment) -> Point {
    let (expected, _) = play(scenario, seed, None);
    try_against(scenario, seed, effect, moment, &expected)
}

fn try_against(scenario: Scenario, seed: u64, effect: u64, moment: Moment, expected: &str) -> Point {
    let played = std::panic::catch_unwind(|| play(scenario, seed, Some((effect, moment))).0);
    let broken = match played {
        Ok(end) if end == expected => None,
        Ok(end) => Some(format!("ended as {end}, without a death as {expected}")),
        Err(panic) => Some(match panic.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => "it panicked".to_owned(),
        }),
    };
    Point {
        scenario: scenario.name,
        effect,
        moment,
        broken,
    }
}

/// Kills the process before and after every effect of every scenario.
#[must_use]
pub fn matrix(seed: u64) -> Vec<Point> {
    SCENARIOS
        .into_iter()
        .flat_map(|scenario| row(scenario, seed))
        .collect()
}

/// Kills the process before and after every effect of one scenario.
#[must_use]
pub fn row(scenario: Scenario, seed: u64) -> Vec<Point> {
    let (expected, effects) = play(scenario, seed, None);
    let mut points = Vec::new();
    for effect in 1..=effects {
        for moment in [Moment::Before, Moment::After] {
            points.push(try_against(scenario, seed, effect, moment, &expected));
        }
    }
    points
}

/// So many points of the matrix and, when it is exhausted, random days with deaths; for `cargo xtask crash`.
#[must_use]
pub fn points(count: usize, seed: u64) -> Vec<Point> {
    let mut all = matrix(seed);
    let mut dice = Dice::new(seed);
    while all.len() > count {
        let gone = usize::try_from(dice.below(all.len() as u64)).unwrap_or(0);
        all.swap_remove(gone);
    }
    while all.len() < count {
        let day = dice.below(1_000_000);
        let broken = std::panic::catch_unwind(|| crate::day::run_day(day)).err();
        all.push(Point {
            scenario: "a random day",
            effect: day,
            moment: Moment::Before,
            broken: broken.map(|_| format!("day {day} broke a rule")),
        });
    }
    all
}

//! A random day: changes of every kind arrive, people get in the way, boxes fail, the process dies. Then it is calm,
//! and everything has to come to its end.

use std::time::Duration;

use gantry_core::queue::change::{ChangeState, HoldReason, Priority};
use gantry_core::repository::Freeze;

use crate::boxes::BoxFaults;
use crate::dice::Dice;
use crate::fuse::Moment;
use crate::people::request;
use crate::world::{Setup, TestWorld};

/// What a day came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Day {
    /// Changes offered.
    pub changes: usize,
    /// Changes that landed.
    pub landed: usize,
    /// Builds that were started in boxes.
    pub builds: u64,
    /// How often the process died.
    pub deaths: u32,
    /// Effects asked for.
    pub effects: u64,
}

/// What a day holds, by its seed.
#[derive(Debug, Clone, Copy)]
struct Weather {
    deaths: bool,
    database_loss: bool,
    people: bool,
    pushes: bool,
    box_trouble: bool,
    repository_trouble: bool,
    flakes: bool,
}

/// Runs the day of a seed to its end.
///
/// # Panics
///
/// If a rule is broken; the seed is in the message.
#[must_use]
pub fn run_day(seed: u64) -> Day {
    let mut dice = Dice::new(seed);
    let setup = setup(seed, &mut dice);
    let mut one = |share| dice.permille(share);
    let weather = Weather {
        deaths: one(400),
        database_loss: one(100),
        people: one(600),
        pushes: one(300),
        box_trouble: one(400),
        repository_trouble: one(250),
        flakes: one(150),
    };
    let mut world = TestWorld::new(setup);
    if weather.box_trouble {
        world.box_faults(BoxFaults {
            interrupted: dice.below(150),
            no_start: dice.below(100),
            no_disk: dice.below(100),
            vanishes: dice.below(100),
            refused: dice.below(60),
            doubled: 300,
            late: 200,
            doomed: 500,
        });
    }
    let changes = 4 + dice.below(9);
    let mut names = Vec::new();
    for number in 0..changes {
        storm(&mut world, &mut dice, weather, &names);
        arrive(&mut world, &mut dice, weather, number, &mut names);
        let pause = dice.below(2 * setup.check.as_secs());
        if dice.permille(600) {
            world.run_for(Duration::from_secs(pause));
        }
    }
    for _ in 0..dice.below(8) {
        storm(&mut world, &mut dice, weather, &names);
        world.run_for(Duration::from_secs(dice.below(2 * setup.check.as_secs())));
    }
    calm(&mut world);
    world.run_until_settled(600);
    world.run_for(setup.check * 4);
    world.check_day();
    let all = world.changes();
    Day {
        changes: all.len(),
        landed: all
            .iter()
            .filter(|c| matches!(c.state, ChangeState::Landed(_)))
            .count(),
        builds: world.builds_started(),
        deaths: world.deaths,
        effects: world.fuse.count(),
    }
}

fn setup(seed: u64, dice: &mut Dice) -> Setup {
    let methods = ["rebase", "rebase", "squash", "merge"];
    let policies = [
        "priced",
        "priced",
        "priced",
        "serial",
        "batch",
        "optimistic",
        "best-first",
    ];
    Setup {
        seed,
        slots: 1 + usize::try_from(dice.below(4)).unwrap_or(0),
        batch_max: 1 + usize::try_from(dice.below(8)).unwrap_or(0),
        method: dice.pick(&methods).copied().unwrap_or("rebase"),
        policy: dice.pick(&policies).copied().unwrap_or("priced"),
        check: Duration::from_secs(60 + dice.below(400)),
        spread: dice.below(60),
    }
}

/// A change is offered.
fn arrive(world: &mut TestWorld, dice: &mut Dice, weather: Weather, number: u64, names: &mut Vec<String>) {
    let name = format!("b{number}");
    let own = format!("own/{number}=1");
    let edits = match dice.below(20) {
        0..=2 => format!("{own} bad/{number}=1"),
        3..=5 => format!(
            "{own} pair/{}/{}=1",
            dice.below(2),
            if dice.permille(500) { "left" } else { "right" }
        ),
        6..=8 => format!("{own} slot/{}={number}", dice.below(2)),
        9 => format!("{own} hang/{number}=1"),
        10 if weather.flakes => format!("{own} flaky/{number}={}", 100 + dice.below(400)),
        11 => {
            let setup = world.setup;
            let (slots, batch) = (setup.slots, setup.batch_max);
            format!(
                ".gantry.toml={slots}:{batch}:{}:{}:g{number}",
                setup.method, setup.policy
            )
        }
        12 => "base=0".to_owned(),
        _ => own.clone(),
    };
    let stacked = dice.permille(120).then(|| dice.pick(names).cloned()).flatten();
    let on = stacked.clone().unwrap_or_else(|| "main".to_owned());
    let there = |world: &TestWorld, name: &str| world.git().refs.contains_key(&format!("refs/heads/{name}"));
    let on = if there(world, &on) { on } else { "main".to_owned() };
    let second = format!("more/{number}=1");
    let commits = if dice.permille(200) {
        vec![edits.as_str(), second.as_str()]
    } else {
        vec![edits.as_str()]
    };
    world.branch_on(&on, &name, &commits);
    let mut offer = request(&name);
    if dice.permille(250) {
        offer.priority = dice.pick(&Priority::ALL).copied();
    }
    offer.solo = dice.permille(60);
    if stacked.is_some() || dice.permille(80) {
        let known = world.changes();
        let below = known
            .iter()
            .find(|c| Some(c.branch.as_str()) == stacked.as_deref());
        offer.after = below.or(dice.pick(&known)).map(|c| c.id).into_iter().collect();
    }
    world.deaf = dice.permille(50);
    // What has ended already, or what cannot be read for now, refuses an offer: that is an answer.
    let _answer = world.ask_offer(&offer);
    world.deaf = false;
    names.push(name);
}

/// Something gets in the way, perhaps.
fn storm(world: &mut TestWorld, dice: &mut Dice, weather: Weather, names: &[String]) {
    if weather.deaths && dice.permille(500) {
        let moment = if dice.permille(500) {
            Moment::Before
        } else {
            Moment::After
        };
        world.die_in(1 + dice.below(120), moment);
    }
    if weather.database_loss && dice.permille(150) {
        world.lose_database();
    }
    if weather.people && dice.permille(500) {
        person(world, dice, names);
    }
    if weather.pushes && dice.permille(400) {
        push(world, dice);
    }
    if weather.repository_trouble && dice.permille(400) {
        match dice.below(3) {
            0 => world.git().locked_writes = u32::try_from(dice.below(4)).unwrap_or(1),
            1 => {
                let broken = world.git().broken;
                world.git().broken = !broken;
            }
            _ => {
                let head = dice.pick(&world.changes()).map(|c| c.head);
                let mut git = world.git();
                let on_target: Vec<_> = git.tip().map(|tip| git.ancestors(tip)).unwrap_or_default();
                git.missing.clear();
                git.missing.extend(head.filter(|head| !on_target.contains(head)));
            }
        }
    }
}

/// A person asks for something, or does something to a branch.
fn person(world: &mut TestWorld, dice: &mut Dice, names: &[String]) {
    let Some(change) = dice.pick(&world.changes()).cloned() else {
        return;
    };
    let (id, branch) = (change.id, change.branch.as_str().to_owned());
    // Each of these may be refused by what the change is by now; that is an answer, too.
    match dice.below(9) {
        0 => drop(world.cancel(id)),
        1 => drop(world.ask(|factory, now| factory.hold(id, "wait", now))),
        2 | 3 => drop(world.ask(|factory, now| factory.release(id, now))),
        4 => {
            let priority = dice.pick(&Priority::ALL).copied().unwrap_or_default();
            drop(world.ask(|factory, now| factory.set_priority(id, priority, now)));
        }
        5 => {
            let below = dice.pick(&[None, Some(Priority::High)]).copied().flatten();
            drop(world.ask(|factory, now| {
                let freeze = Freeze {
                    below,
                    author: "ada".into(),
                    reason: "release".into(),
                    since: now,
                };
                factory.freeze(0, freeze)
            }));
        }
        6 => drop(world.ask(|factory, now| factory.thaw(0, "ada", now))),
        7 if names.contains(&branch) && !change.state.is_terminal() => {
            let edits = format!("moved/{}={}", id.number(), dice.below(100));
            if world.git().refs.contains_key(&format!("refs/heads/{branch}")) {
                world.branch_on(&branch.clone(), &branch, &[&edits]);
                world.look();
            }
        }
        8 => world.delete_branch(&branch),
        _ => {}
    }
}

/// Somebody pushes to the target past the queue.
fn push(world: &mut TestWorld, dice: &mut Dice) {
    let edits = format!("push/{}={}", dice.below(3), dice.below(100));
    match dice.below(10) {
        0 => world.push(&format!("slot/{}=pushed", dice.below(2))),
        1 => world.push("bad/pushed=1"),
        2 => world.push("-bad/pushed"),
        3 | 4 => world.surprise(move |git| git.push(&edits, "surprise")),
        5 => {
            let mut git = world.git();
            let Some(tip) = git.tip() else { return };
            let back = git.commit(tip).parents.first().copied();
            if let Some(back) = back {
                git.set_ref("refs/heads/main", Some(back));
                drop(git);
                world.rules.rewound = true;
                world.look();
            }
        }
        6 => {
            // The target is deleted and pushed again.
            let tip = world.git().tip();
            world.git().set_ref("refs/heads/main", None);
            world.look();
            world.git().set_ref("refs/heads/main", tip);
            world.look();
        }
        _ => world.push(&edits),
    }
}

/// Nothing gets in the way any more.
fn calm(world: &mut TestWorld) {
    world.fuse.disarm();
    world.box_faults(BoxFaults::default());
    {
        let mut git = world.git();
        git.locked_writes = 0;
        git.broken = false;
        git.missing.clear();
        git.surprises.clear();
    }
    // Not frozen is as good as thawed.
    drop(world.ask(|factory, now| factory.thaw(0, "ada", now)));
    let dirty = {
        let git = world.git();
        git.tip()
            .is_some_and(|tip| git.files_at(tip).contains_key("bad/pushed"))
    };
    if dirty {
        world.push("-bad/pushed");
    }
    // What waits for a held change waits as long as a person wants.
    for change in world.changes() {
        if matches!(change.state, ChangeState::Held(HoldReason::ByHand { .. })) {
            drop(world.ask(|factory, now| factory.release(change.id, now)));
        }
    }
    world.look();
}

//! A list of steps in order, with those that run beside it. Owns waiting, cancelling and the order in which the ends of
//! background steps count; must never look into a step.
//!
//! What a background step set counts when it is waited for, at the latest at the end of the list: so the steps between
//! do not hang on which was faster.

use std::thread::{self, ScopedJoinHandle};

use gantry_core::limits::BACKGROUND_STEPS_MAX;
use gantry_core::queue::build::Trouble;
use gantry_workflow::model::{Step, StepKind, UsesRef};

use super::cancel::{Attached, Cancel};
use super::frame::Frame;
use super::layout::StepFolder;
use super::leg::Leg;
use super::report::StepFault;
use super::slots::Slots;
use super::stage::new_folder;
use super::step::{Begun, StepAt, StepDone, begin_step, conclude, finish_step};

/// A step that runs beside the others.
struct Background<'scope> {
    id: String,
    cancel: Cancel,
    _attached: Attached,
    handle: ScopedJoinHandle<'scope, StepDone>,
}

/// Runs steps in order, and waits for all that run beside them.
pub(super) fn run_list(
    leg: &Leg<'_>,
    frame: &Frame<'_>,
    steps: &[Step],
    folder: &StepFolder,
    cancel: &Cancel,
) {
    let names = action_names(steps);
    let slots = Slots::new(BACKGROUND_STEPS_MAX);
    thread::scope(|scope| {
        let mut running: Vec<Background<'_>> = Vec::new();
        // Numbered here, so that the numbers do not hang on which thread is faster.
        let number = || {
            if frame.depth == 0 {
                leg.start_step()
            } else {
                frame.number
            }
        };
        let start = |step, index, action: String| {
            let (own, attached) = cancel.child();
            let beside = begin_beside(leg, frame, step, (index, number(), action), own.clone());
            let slots = slots.clone();
            let handle = scope.spawn(move || beside.finish(leg, frame, step, &slots));
            let id = id_of(step);
            Background {
                id,
                cancel: own,
                _attached: attached,
                handle,
            }
        };
        let mut beside = steps.len();
        for ((index, step), action) in steps.iter().enumerate().zip(names) {
            if step.background.is_some() {
                running.push(start(step, index, action));
                continue;
            }
            let at = StepAt {
                index,
                number: number(),
                action,
                folder,
                cancel,
            };
            let begun = begin_step(leg, frame, step, &at);
            let is_skipped = begun.is_skipped();
            let done = finish_step(leg, frame, step, &at, begun);
            if is_skipped {
                conclude(leg, frame, done);
                continue;
            }
            match &step.kind {
                StepKind::Run(_) | StepKind::Uses(_) => {}
                StepKind::Wait(ids) => {
                    let wanted = |known: &Background<'_>| {
                        ids.iter().any(|id| id.value.eq_ignore_ascii_case(&known.id))
                    };
                    settle(leg, frame, take(&mut running, wanted));
                }
                StepKind::WaitAll => settle(leg, frame, std::mem::take(&mut running)),
                StepKind::Cancel(id) => {
                    let ended = take(&mut running, |known| id.value.eq_ignore_ascii_case(&known.id));
                    ended.iter().for_each(|background| background.cancel.cancel());
                    settle(leg, frame, ended);
                }
                StepKind::Parallel(inner) => {
                    let names = action_names(inner);
                    let group = inner.iter().zip(names).map(|(step, action)| {
                        beside += 1;
                        start(step, beside - 1, action)
                    });
                    settle(leg, frame, group.collect());
                }
            }
            conclude(leg, frame, done);
        }
        settle(leg, frame, running);
    });
}

fn id_of(step: &Step) -> String {
    step.id.as_ref().map_or_else(String::new, |id| id.value.clone())
}

fn take<'s>(
    running: &mut Vec<Background<'s>>,
    wanted: impl Fn(&Background<'s>) -> bool,
) -> Vec<Background<'s>> {
    let (taken, left) = std::mem::take(running).into_iter().partition(wanted);
    *running = left;
    taken
}

/// Waits for steps and lets each end count, in the order of starting.
fn settle(leg: &Leg<'_>, frame: &Frame<'_>, running: Vec<Background<'_>>) {
    for background in running {
        match background.handle.join() {
            Ok(done) => conclude(leg, frame, done),
            Err(_) => leg.break_off(
                Trouble::Interrupted,
                "a step that ran beside others broke off: a fault of gantry",
            ),
        }
    }
}

/// A step that is to run beside the others, looked at in its place among them.
struct Beside {
    index: usize,
    number: usize,
    action: String,
    folder: StepFolder,
    cancel: Cancel,
    begun: Begun,
}

fn begin_beside(
    leg: &Leg<'_>,
    frame: &Frame<'_>,
    step: &Step,
    (index, number, action): (usize, usize, String),
    cancel: Cancel,
) -> Beside {
    let folder = new_folder(leg).unwrap_or_else(|fault| {
        match fault {
            StepFault::Trouble(kind, why) => leg.break_off(kind, &why),
            StepFault::Failed(why) | StepFault::TimedOut(why) => leg.break_off(Trouble::Interrupted, &why),
            StepFault::Cancelled => leg.note_cancel(),
        }
        // Nothing is run any more, so nothing is written there.
        StepFolder::new(usize::MAX)
    });
    let at = StepAt {
        index,
        number,
        action,
        folder: &folder,
        cancel: &cancel,
    };
    let begun = begin_step(leg, frame, step, &at);
    let action = at.action;
    Beside {
        index,
        number,
        action,
        folder,
        cancel,
        begun,
    }
}

impl Beside {
    fn finish(self, leg: &Leg<'_>, frame: &Frame<'_>, step: &Step, slots: &Slots) -> StepDone {
        let _slot = slots.take(&self.cancel);
        let at = StepAt {
            index: self.index,
            number: self.number,
            action: self.action,
            folder: &self.folder,
            cancel: &self.cancel,
        };
        finish_step(leg, frame, step, &at, self.begun)
    }
}

/// Returns `github.action` of each step: its id, or a name made of what it does, numbered if it is there before.
fn action_names(steps: &[Step]) -> Vec<String> {
    let mut seen: Vec<(String, usize)> = Vec::new();
    let names = steps.iter().map(|step| {
        if let Some(id) = &step.id {
            return id.value.clone();
        }
        let name = match &step.kind {
            StepKind::Uses(uses) => match &uses.uses.value {
                UsesRef::Local { .. } => "__self".to_owned(),
                UsesRef::Docker { image } => {
                    format!("__{}", image.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
                }
                UsesRef::Remote(remote) => format!("__{}_{}", remote.owner, remote.repository),
            },
            _ => "__run".to_owned(),
        };
        match seen.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => {
                *count += 1;
                format!("{name}_{count}")
            }
            None => {
                seen.push((name.clone(), 1));
                name
            }
        }
    });
    names.collect()
}

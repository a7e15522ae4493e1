//! The groups of `concurrency` among the runs of one factory. Owns waiting for a turn and telling who is cancelled; who
//! that is, is decided in `gantry_workflow::graph`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gantry_workflow::graph::{Group, GroupAction, Queue, enter_group, leave_group};

use super::cancel::Cancel;

/// The groups that runs share; clones are one.
#[derive(Clone, Default)]
pub struct ConcurrencyGroups(Arc<Shared>);

impl fmt::Debug for ConcurrencyGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyGroups").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    groups: BTreeMap<String, Group<u64>>,
    members: BTreeMap<u64, Member>,
}

struct Member {
    cancel: Cancel,
    runs: bool,
}

/// A turn in a group, until it is dropped.
pub(super) struct Turn {
    groups: ConcurrencyGroups,
    name: String,
    member: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.groups.leave(&self.name, self.member);
    }
}

impl ConcurrencyGroups {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made whole under the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn; `None` if `cancel` is set before it comes, by a newcomer or otherwise.
    pub(super) fn enter(&self, name: &str, in_progress: bool, queue: Queue, cancel: &Cancel) -> Option<Turn> {
        let (member, told) = {
            let mut state = self.state();
            let member = state.next;
            state.next += 1;
            state.members.insert(
                member,
                Member {
                    cancel: cancel.clone(),
                    runs: false,
                },
            );
            let group = state.groups.remove(name).unwrap_or_default();
            let (group, actions) = enter_group(group, member, in_progress, queue);
            state.groups.insert(name.to_owned(), group);
            (member, state.follow(actions))
        };
        self.tell(told);
        let turn = Turn {
            groups: self.clone(),
            name: name.to_owned(),
            member,
        };
        let groups = self.clone();
        let _attached = cancel.attach(move || {
            // The lock orders the wake-up behind the look at the mark, so that none is lost.
            drop(groups.state());
            groups.0.changed.notify_all();
        });
        let mut state = self.state();
        loop {
            if cancel.is_cancelled() {
                drop(state);
                return None;
            }
            if state.members.get(&member).is_some_and(|own| own.runs) {
                drop(state);
                return Some(turn);
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, name: &str, member: u64) {
        let told = {
            let mut state = self.state();
            state.members.remove(&member);
            let group = state.groups.remove(name).unwrap_or_default();
            let (group, actions) = leave_group(group, &member);
            if group.running.is_some() || !group.pending.is_empty() {
                state.groups.insert(name.to_owned(), group);
            }
            state.follow(actions)
        };
        self.tell(told);
    }

    /// Cancels outside of the lock, as whoever is told may ask for it.
    fn tell(&self, told: Vec<Cancel>) {
        told.iter().for_each(Cancel::cancel);
        self.0.changed.notify_all();
    }
}

impl State {
    fn follow(&mut self, actions: Vec<GroupAction<u64>>) -> Vec<Cancel> {
        let mut told = Vec::new();
        for action in actions {
            match action {
                GroupAction::Start(member) => {
                    if let Some(member) = self.members.get_mut(&member) {
                        member.runs = true;
                    }
                }
                GroupAction::CancelPending(member) | GroupAction::CancelRunning(member) => {
                    told.extend(self.members.get(&member).map(|member| member.cancel.clone()));
                }
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_runs_and_the_next_waits_until_it_leaves() {
        let groups = ConcurrencyGroups::default();
        let first = groups
            .enter("g", false, Queue::Single, &Cancel::default())
            .expect("nobody runs");
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                groups
                    .enter("g", false, Queue::Single, &Cancel::default())
                    .is_some()
            });
            let other = groups.enter("h", false, Queue::Single, &Cancel::default());
            assert!(other.is_some(), "another group waits for nobody");
            drop(first);
            assert!(second.join().expect("it ends"));
        });
        assert!(groups.state().groups.is_empty() && groups.state().members.is_empty());
    }

    #[test]
    fn a_newcomer_cancels_who_runs_if_it_says_so_and_who_waits_anyway() {
        let groups = ConcurrencyGroups::default();
        let (running, waiting) = (Cancel::default(), Cancel::default());
        let first = groups
            .enter("g", false, Queue::Single, &running)
            .expect("nobody runs");
        thread::scope(|scope| {
            let second = scope.spawn(|| groups.enter("g", false, Queue::Single, &waiting).is_none());
            while groups.state().groups["g"].pending.is_empty() {
                thread::yield_now();
            }
            let third = scope.spawn(|| {
                groups
                    .enter("g", true, Queue::Single, &Cancel::default())
                    .is_some()
            });
            assert!(second.join().expect("it ends"), "who waited gives way");
            while !running.is_cancelled() {
                thread::yield_now();
            }
            drop(first);
            assert!(third.join().expect("it ends"));
        });
    }
}

//! Concurrency groups: at most one member runs; by default one more waits. Owns who runs, waits or is cancelled when
//! one comes or goes; must never cancel anything itself.
//!
//! Source: GitHub's documentation of `concurrency`.

use std::collections::VecDeque;

/// The most members of a group that may wait with `queue: max`; a further one is cancelled itself.
///
/// Source: GitHub's documented limit.
pub const PENDING_MAX: usize = 100;

/// Returns the form of a group's name to compare by: GitHub does not tell `prod` from `Prod`.
pub fn group_key(name: &str) -> String {
    name.to_lowercase()
}

/// How members wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// One waits; a newcomer cancels it.
    Single,
    /// All wait in order.
    Max,
}

/// A group: who runs and who waits, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<M> {
    /// The member that runs.
    pub running: Option<M>,
    /// The members that wait.
    pub pending: VecDeque<M>,
}

impl<M> Default for Group<M> {
    fn default() -> Self {
        Group {
            running: None,
            pending: VecDeque::new(),
        }
    }
}

/// What follows when a member comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAction<M> {
    /// This member may run.
    Start(M),
    /// This member, which waited, is cancelled; it is no longer in the group.
    CancelPending(M),
    /// This member, which runs, is to be cancelled; it stays in the group until it leaves.
    CancelRunning(M),
}

/// Lets a member come.
///
/// Shape: it runs at once if nobody does; otherwise it waits behind the others, whom it may cancel, or is cancelled
/// itself because too many wait.
pub fn enter_group<M: Clone + PartialEq>(
    mut group: Group<M>,
    member: M,
    cancel_in_progress: bool,
    queue: Queue,
) -> (Group<M>, Vec<GroupAction<M>>) {
    if group.running.as_ref() == Some(&member) || group.pending.contains(&member) {
        return (group, Vec::new());
    }
    let Some(running) = group.running.clone() else {
        group.running = Some(member.clone());
        return (group, vec![GroupAction::Start(member)]);
    };
    let mut actions = Vec::new();
    match queue {
        Queue::Single => actions.extend(group.pending.drain(..).map(GroupAction::CancelPending)),
        Queue::Max if group.pending.len() >= PENDING_MAX => {
            return (group, vec![GroupAction::CancelPending(member)]);
        }
        Queue::Max => {}
    }
    if cancel_in_progress {
        actions.push(GroupAction::CancelRunning(running));
    }
    group.pending.push_back(member);
    (group, actions)
}

/// Lets a member go, because it ended or was cancelled.
pub fn leave_group<M: Clone + PartialEq>(mut group: Group<M>, member: &M) -> (Group<M>, Vec<GroupAction<M>>) {
    group.pending.retain(|waiting| waiting != member);
    if group.running.as_ref() != Some(member) {
        return (group, Vec::new());
    }
    group.running = group.pending.pop_front();
    let actions = group.running.iter().cloned().map(GroupAction::Start).collect();
    (group, actions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(cancel: bool, queue: Queue, members: &[u32]) -> (Group<u32>, Vec<GroupAction<u32>>) {
        let mut last = Vec::new();
        let mut group = Group::default();
        for member in members {
            (group, last) = enter_group(group, *member, cancel, queue);
        }
        (group, last)
    }

    #[test]
    fn one_runs_one_waits_and_a_newcomer_cancels_the_one_that_waits() {
        let (group, actions) = filled(false, Queue::Single, &[1, 2, 3]);
        assert_eq!(actions, [GroupAction::CancelPending(2)]);
        let (group, actions) = leave_group(group, &1);
        assert_eq!(actions, [GroupAction::Start(3)]);
        assert_eq!(leave_group(group, &3), (Group::default(), vec![]));
    }

    #[test]
    fn cancel_in_progress_also_cancels_the_one_that_runs_and_waits_for_its_end() {
        let (group, actions) = filled(true, Queue::Single, &[1, 2]);
        assert_eq!(actions, [GroupAction::CancelRunning(1)]);
        assert_eq!(group.running, Some(1));
        assert_eq!(leave_group(group, &1).1, [GroupAction::Start(2)]);
    }

    #[test]
    fn a_long_queue_keeps_everybody_in_order_up_to_its_bound() {
        let (group, actions) = filled(false, Queue::Max, &[1, 2, 3, 2]);
        assert_eq!((group.pending, actions), (VecDeque::from([2, 3]), vec![]));
        let many: Vec<u32> = (0..=101).collect();
        let (group, actions) = filled(false, Queue::Max, &many);
        assert_eq!(
            (group.pending.len(), actions),
            (PENDING_MAX, vec![GroupAction::CancelPending(101)])
        );
    }

    #[test]
    fn names_of_groups_are_equal_whatever_their_case() {
        assert_eq!(group_key("Prod"), group_key("prod"));
        assert_ne!(group_key("prod-1"), group_key("prod-2"));
    }

    proptest! {
        #[test]
        fn nobody_waits_while_nobody_runs(moves in prop::collection::vec((0..6_u32, any::<bool>(), any::<bool>()), 0..60)) {
            let mut group = Group::default();
            for (member, comes, long) in moves {
                let queue = if long { Queue::Max } else { Queue::Single };
                group = if comes { enter_group(group, member, false, queue).0 } else { leave_group(group, &member).0 };
                prop_assert!(group.running.is_some() || group.pending.is_empty());
                prop_assert!(!group.pending.iter().any(|waiting| Some(waiting) == group.running.as_ref()));
            }
        }
    }
}

//! Who is next: the order in which pending changes land. Derived each time, never stored.
//!
//! Priority first, then first come first served, and every prerequisite in front of what was offered after it.
//! A prerequisite is as urgent as the most urgent change that waits for it: otherwise an urgent change could be
//! kept waiting by its own low prerequisite.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::id::ChangeId;
use crate::queue::change::Priority;

/// What the order depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which change. Numbers are given in the order of offers.
    pub change: ChangeId,
    /// How urgent it was said to be.
    pub priority: Priority,
    /// What has to land before it; those that are not among the entries are ignored (they have landed).
    pub after: Vec<ChangeId>,
}

/// Changes that wait for one another in a circle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} wait for one another in a circle: take one of these prerequisites away", list(.changes))]
pub struct Cycle {
    /// The circle; the first waits for the second, and the last for the first.
    pub changes: Vec<ChangeId>,
}

fn list(changes: &[ChangeId]) -> String {
    changes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the changes in landing order.
///
/// Shape: every entry once; a prerequisite is in front of its dependants. Errors: [`Cycle`] with one circle.
pub fn plan_order(entries: &[Entry]) -> Result<Vec<ChangeId>, Cycle> {
    let index: BTreeMap<ChangeId, usize> = entries
        .iter()
        .enumerate()
        .map(|(position, entry)| (entry.change, position))
        .collect();
    let mut dependants = vec![Vec::new(); entries.len()];
    let mut missing = vec![0_usize; entries.len()];
    for (position, entry) in entries.iter().enumerate() {
        let prerequisites: BTreeSet<usize> = entry
            .after
            .iter()
            .filter_map(|id| index.get(id).copied())
            .collect();
        missing[position] = prerequisites.len();
        for prerequisite in prerequisites {
            dependants[prerequisite].push(position);
        }
    }
    let topological = sort_topologically(entries, &dependants, &missing, |position| {
        entries[position].priority
    });
    if topological.len() < entries.len() {
        return Err(Cycle {
            changes: find_cycle(entries, &index, &topological),
        });
    }
    let mut urgency: Vec<Priority> = entries.iter().map(|entry| entry.priority).collect();
    for &position in topological.iter().rev() {
        for &dependant in &dependants[position] {
            urgency[position] = urgency[position].max(urgency[dependant]);
        }
    }
    let order = sort_topologically(entries, &dependants, &missing, |position| urgency[position]);
    Ok(order
        .into_iter()
        .map(|position| entries[position].change)
        .collect())
}

/// Takes, again and again, the most urgent and then oldest entry whose prerequisites are all taken.
///
/// Shape: positions; shorter than `entries` if there is a circle.
fn sort_topologically(
    entries: &[Entry],
    dependants: &[Vec<usize>],
    missing: &[usize],
    urgency: impl Fn(usize) -> Priority,
) -> Vec<usize> {
    let key = |position: usize| (urgency(position), Reverse(entries[position].change), position);
    let mut missing = missing.to_vec();
    let mut ready: BinaryHeap<_> = (0..entries.len()).filter(|&p| missing[p] == 0).map(key).collect();
    let mut order = Vec::with_capacity(entries.len());
    while let Some((_, _, position)) = ready.pop() {
        order.push(position);
        for &dependant in &dependants[position] {
            missing[dependant] -= 1;
            if missing[dependant] == 0 {
                ready.push(key(dependant));
            }
        }
    }
    order
}

/// Walks from any entry that could not be sorted along unsorted prerequisites until one comes twice.
fn find_cycle(entries: &[Entry], index: &BTreeMap<ChangeId, usize>, sorted: &[usize]) -> Vec<ChangeId> {
    let sorted: BTreeSet<usize> = sorted.iter().copied().collect();
    let mut walk: Vec<usize> = Vec::new();
    let mut here = (0..entries.len()).find(|position| !sorted.contains(position));
    while let Some(position) = here {
        if let Some(start) = walk.iter().position(|&seen| seen == position) {
            return walk[start..].iter().map(|&p| entries[p].change).collect();
        }
        walk.push(position);
        here = entries[position]
            .after
            .iter()
            .filter_map(|id| index.get(id).copied())
            .find(|prerequisite| !sorted.contains(prerequisite));
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(number: u64, priority: Priority, after: &[u64]) -> Entry {
        Entry {
            change: ChangeId::new(number),
            priority,
            after: after.iter().copied().map(ChangeId::new).collect(),
        }
    }

    #[track_caller]
    fn check(entries: &[Entry], expected: &[u64]) {
        let order = plan_order(entries).expect("no circle");
        assert_eq!(order.iter().map(|id| id.number()).collect::<Vec<_>>(), expected);
    }

    use Priority::{High, Low, Normal, Urgent};

    #[test]
    fn first_come_is_first_served() {
        check(
            &[
                entry(3, Normal, &[]),
                entry(1, Normal, &[]),
                entry(2, Normal, &[]),
            ],
            &[1, 2, 3],
        );
    }

    #[test]
    fn the_more_urgent_goes_first() {
        let entries = [
            entry(1, Low, &[]),
            entry(2, Normal, &[]),
            entry(3, Urgent, &[]),
            entry(4, High, &[]),
            entry(5, High, &[]),
        ];
        check(&entries, &[3, 4, 5, 2, 1]);
    }

    #[test]
    fn a_prerequisite_is_as_urgent_as_what_waits_for_it() {
        check(
            &[entry(1, Normal, &[]), entry(2, Low, &[]), entry(3, Urgent, &[2])],
            &[2, 3, 1],
        );
    }

    #[test]
    fn chains_and_trees_keep_prerequisites_in_front() {
        check(
            &[
                entry(1, Normal, &[4]),
                entry(2, Normal, &[1]),
                entry(3, Normal, &[1]),
                entry(4, Normal, &[]),
            ],
            &[4, 1, 2, 3],
        );
    }

    #[test]
    fn a_prerequisite_that_has_landed_is_no_obstacle() {
        check(&[entry(2, Normal, &[1])], &[2]);
    }

    #[test]
    fn a_circle_is_refused_and_named() {
        let entries = [
            entry(1, Normal, &[]),
            entry(2, Normal, &[1, 4]),
            entry(3, Normal, &[2]),
            entry(4, Normal, &[3]),
            entry(5, Normal, &[4]),
        ];
        let refused = plan_order(&entries).expect_err("2, 3 and 4 wait in a circle");
        insta::assert_snapshot!(refused, @"C2, C4, C3 wait for one another in a circle: take one of these prerequisites away");
    }

    #[test]
    fn a_change_after_itself_is_a_circle() {
        assert_eq!(
            plan_order(&[entry(1, Normal, &[1])]),
            Err(Cycle {
                changes: vec![ChangeId::new(1)]
            })
        );
    }

    proptest! {
        /// Without circles everything is served once, prerequisites in front, and nobody overtakes a change that
        /// was ready and at least as urgent and older.
        #[test]
        fn every_change_is_served_once_and_after_its_prerequisites(
            raw in prop::collection::vec((0_usize..4, prop::collection::vec(any::<u8>(), 0..3)), 1..25)
        ) {
            let entries: Vec<Entry> = raw.iter().enumerate().map(|(position, (priority, after))| {
                let after: Vec<u64> = if position == 0 { vec![] } else {
                    after.iter().map(|n| u64::from(*n) % position as u64).collect()
                };
                entry(position as u64, Priority::ALL[*priority], &after)
            }).collect();
            let order = plan_order(&entries).expect("prerequisites are older, so no circle");
            prop_assert_eq!(order.len(), entries.len());
            let place: BTreeMap<ChangeId, usize> = order.iter().enumerate().map(|(p, id)| (*id, p)).collect();
            prop_assert_eq!(place.len(), entries.len());
            for entry in &entries {
                for prerequisite in &entry.after {
                    prop_assert!(place[prerequisite] < place[&entry.change]);
                }
            }
            let free: Vec<&Entry> = entries.iter().filter(|e| {
                e.after.is_empty() && !entries.iter().any(|other| other.after.contains(&e.change))
            }).collect();
            for pair in free.windows(2) {
                if pair[0].priority >= pair[1].priority {
                    prop_assert!(place[&pair[0].change] < place[&pair[1].change]);
                }
            }
        }
    }
}

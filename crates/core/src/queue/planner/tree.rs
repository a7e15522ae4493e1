//! The speculation tree: which points the queue may come to, how likely each is, and which builds are worth
//! their price there.

use super::belief::{Belief, failed_front};
use super::policy::{Wanted, ended, group_at, run_of};
use super::resolve::needs_retry;
use super::{Item, Priority, Purpose, QueueView};
use crate::id::ChangeId;

/// A chance so near to certainty that nothing open can change it.
const CERTAIN: f64 = 1.0 - 1e-9;
/// A running build that is overdue is expected to take this share of a check more.
const OVERDUE: f64 = 0.1;

/// Who is likelier bad than this shares no new group: the group would fail, and everybody in it wait twice.
const SUSPECT: f64 = 0.3;
/// A group of more doubt than this (the sum of its members' chances to be bad) fails about as often as not, and
/// then costs more builds than it saves.
const DOUBT: f64 = 0.5;
/// Slots are scarce while a group holds less than this many times the changes that arrive for each slot in one
/// check time: waiting for more of them then saves builds that the slots cannot give.
const SCARCE: f64 = 2.0;

/// A walk over the tree.
#[derive(Debug)]
pub(super) struct Walk<'v> {
    view: &'v QueueView<'v>,
    belief: Belief,
    /// The most changes in a group that is begun anew.
    group: usize,
    /// What a check time of waiting is worth in check times of a slot; none: every build is started.
    patience: Option<f64>,
}

/// A point of the tree: these land, and the items from `next` on are open.
#[derive(Debug, Clone)]
struct Node {
    context: Vec<ChangeId>,
    next: usize,
    chance: f64,
    /// Share of a check time until it is known whether the queue comes here.
    known_in: f64,
    /// The group here is a front of one that failed, with so many changes. Zero: it is not.
    split_of: usize,
}

impl<'v> Walk<'v> {
    /// One change a group, whatever it costs.
    pub(super) fn free(view: &'v QueueView<'v>, belief: Belief) -> Self {
        Walk {
            view,
            belief,
            group: 1,
            patience: None,
        }
    }

    /// Groups as large as the queue is long for its slots, each build priced.
    pub(super) fn priced(view: &'v QueueView<'v>, belief: Belief) -> Self {
        let group = view.items.len().div_ceil(view.settings.slots.max(1));
        Walk {
            view,
            belief,
            group: group.clamp(1, view.settings.batch_max.max(1)),
            patience: Some(view.settings.patience.max(0.0)),
        }
    }

    /// Walks from the likeliest point on, and returns the builds in that order.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let mut open = vec![Node {
            context: Vec::new(),
            next: 0,
            chance: 1.0,
            known_in: 0.0,
            split_of: 0,
        }];
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut budget = 64 * (self.view.settings.slots + 1) + 2 * self.view.builds.len();
        while wanted.len() < self.view.settings.slots && budget > 0 {
            budget -= 1;
            let best = (0..open.len()).max_by(|a, b| {
                let order = open[*a].chance.total_cmp(&open[*b].chance);
                order.then(open[*b].next.cmp(&open[*a].next))
            });
            let Some(best) = best else { break };
            let node = open.swap_remove(best);
            if node.chance > 0.0 {
                open.extend(self.grow(&node, &mut wanted));
            }
        }
        wanted
    }

    /// Adds the build of this point, unless it has ended, and returns the points behind it.
    fn grow(&self, node: &Node, wanted: &mut Vec<Wanted>) -> Vec<Node> {
        let Some(item) = self.view.items.get(node.next) else {
            return Vec::new();
        };
        let members = self.members_at(node);
        let taken = members.len() - node.context.len();
        if taken == 0 {
            let behind = Node {
                next: node.next + 1,
                split_of: 0,
                ..node.clone()
            };
            return if item.solo { Vec::new() } else { vec![behind] };
        }
        let verdict = ended(self.view, &members);
        let good = match verdict {
            Some(true) => 1.0,
            Some(false) => 0.0,
            None => self.belief.pass_given(self.view, &node.context, node.next, taken),
        };
        let mut known_in = node.known_in;
        let left = self.left(&members).unwrap_or(1.0);
        if verdict.is_none() {
            if !self.is_worth_it(node, taken, left) {
                return Vec::new();
            }
            known_in = known_in.max(left);
            let purpose = if node.split_of > 0 {
                Purpose::Split
            } else {
                Purpose::Land
            };
            wanted.push(Wanted {
                members: members.clone(),
                purpose,
            });
        } else if taken == 1 && needs_retry(self.view, &members) && self.is_worth_it(node, 1, left) {
            // It will be asked for when the item comes first; the answer may be there by then.
            wanted.push(Wanted {
                members: members.clone(),
                purpose: Purpose::Retry,
            });
        }
        self.behind(node, item, members, good, known_in)
    }

    /// The points behind this one: its group lands, or it does not.
    fn behind(
        &self,
        node: &Node,
        item: &Item,
        members: Vec<ChangeId>,
        good: f64,
        known_in: f64,
    ) -> Vec<Node> {
        let taken = members.len() - node.context.len();
        let without = Node {
            context: node.context.clone(),
            next: if taken == 1 { node.next + 1 } else { node.next },
            chance: node.chance * (1.0 - good),
            known_in,
            split_of: if taken == 1 { 0 } else { taken },
        };
        if item.solo {
            return vec![without];
        }
        let with = Node {
            context: members,
            next: node.next + taken,
            chance: node.chance * good,
            known_in,
            split_of: 0,
        };
        vec![with, without]
    }

    /// True if this build, expected to run for `cost` of a check time, saves waiting worth as much.
    ///
    /// Everything from `next` on waits for its verdict, and begun later it would be known later by as long as it
    /// takes to learn whether the queue comes here.
    fn is_worth_it(&self, node: &Node, taken: usize, cost: f64) -> bool {
        let Some(patience) = self.patience else {
            return true;
        };
        // Nothing that is open can make it useless, and without it the line stands still.
        if node.chance >= CERTAIN && node.known_in <= 0.0 {
            return true;
        }
        let waiting = (self.view.items.len() - node.next) as f64;
        let scarcity = (SCARCE * self.load() / taken as f64).max(1.0);
        node.chance * node.known_in * waiting * patience >= cost * scarcity
    }

    /// How many changes arrive for each slot in one check time.
    fn load(&self) -> f64 {
        let check_hours = self.view.check_time.median.as_secs_f64() / 3600.0;
        self.view.rates.arrivals_per_hour * check_hours / self.view.settings.slots.max(1) as f64
    }

    /// The share of a check time that the running build of these members still needs.
    fn left(&self, members: &[ChangeId]) -> Option<f64> {
        let running = self.view.builds.iter().find_map(|b| {
            let since = b.progress.running_since()?;
            (b.on_tip && b.members == members).then_some(since)
        })?;
        let elapsed = self.view.now.since(running).as_secs_f64();
        let whole = self.view.check_time.median.as_secs_f64().max(1e-3);
        Some((1.0 - elapsed / whole).clamp(OVERDUE, 1.0))
    }

    /// The context and the group that is built behind it.
    fn members_at(&self, node: &Node) -> Vec<ChangeId> {
        let exactly = |size| run_of(self.view.items, &node.context, node.next, size);
        let below = if node.split_of > 0 {
            node.split_of
        } else {
            usize::MAX
        };
        if self.patience.is_none() && node.split_of == 0 {
            return group_at(self.view, &node.context, node.next, 1);
        }
        if let Some(size) = self.begun(node, below) {
            return exactly(size);
        }
        if node.split_of > 0 {
            return exactly(self.split_point(node, node.split_of));
        }
        match failed_front(self.view, &node.context, node.next, 1) {
            Some((length, false)) => exactly(self.split_point(node, length)),
            _ => group_at(self.view, &node.context, node.next, self.group_size(node)),
        }
    }

    /// The size of the smallest group already begun at this point: arrivals must not shift what runs.
    fn begun(&self, node: &Node, below: usize) -> Option<usize> {
        let open = self.view.items.get(node.next..)?;
        let follows = |members: &[ChangeId]| {
            let more = members.strip_prefix(node.context.as_slice())?;
            let same = more.len() <= open.len() && more.iter().zip(open).all(|(m, i)| *m == i.change);
            (same && !more.is_empty() && more.len() < below).then_some(more.len())
        };
        let on_tip = self.view.builds.iter().filter(|b| b.on_tip);
        on_tip.filter_map(|b| follows(&b.members)).min()
    }

    /// How many changes to begin a group with: as many as the queue is long for its slots, and more while the
    /// build saved is worth the waiting that the doubt costs. A suspect is left to a group of its own, and
    /// an urgent change shares none with others.
    fn group_size(&self, node: &Node) -> usize {
        let waiting = (self.view.items.len() - node.next) as f64;
        let price = self.patience.unwrap_or(0.0) * waiting;
        let mut doubt = 0.0;
        let urgent = |place: usize| self.view.items[place].priority == Priority::Urgent;
        for (size, place) in (node.next..self.view.items.len()).enumerate() {
            let bad = self.belief.bad_behind(node.context.len() + size, place);
            doubt += bad;
            let dear = (size >= self.group && doubt * price > 1.0) || doubt > DOUBT;
            let interrupted = urgent(node.next) && !urgent(place);
            if size > 0 && (bad > SUSPECT || dear || interrupted) {
                return size;
            }
            if bad > SUSPECT {
                return 1;
            }
        }
        self.view.items.len() - node.next
    }

    /// Where to cut a failed group: at the front that is as likely to pass as to fail, between stacks if any.
    fn split_point(&self, node: &Node, length: usize) -> usize {
        if length < 2 {
            return 1;
        }
        if self.patience.is_none() {
            return length / 2;
        }
        let behind = node.context.len();
        let whole = self.belief.pass(behind, node.next, length);
        let doubt = |size: usize| {
            let front = self.belief.pass(behind, node.next, size);
            ((front - whole) / (1.0 - whole).max(1e-6) - 0.5).abs()
        };
        let stack = |place: usize| self.view.items.get(node.next + place).and_then(|i| i.stack);
        let tears = |size: usize| stack(size - 1).is_some() && stack(size - 1) == stack(size);
        let best =
            |sizes: &mut dyn Iterator<Item = usize>| sizes.min_by(|a, b| doubt(*a).total_cmp(&doubt(*b)));
        best(&mut (1..length).filter(|s| !tears(*s)))
            .or_else(|| best(&mut (1..length)))
            .unwrap_or(1)
    }
}

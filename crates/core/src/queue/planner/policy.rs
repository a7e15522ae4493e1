//! What to build: every policy ranks candidates, and the slots are filled in that order.

use super::belief::Belief;
use super::tree::Walk;
use super::{BuildProgress, BuildView, Item, Policy, Priority, Purpose, QueueView, Step};
use crate::id::ChangeId;

/// A candidate and what for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) members: Vec<ChangeId>,
    pub(super) purpose: Purpose,
}

/// Ranks candidates by the policy and turns the ranking into steps.
pub(super) fn choose(view: &QueueView<'_>, needed: &[(Vec<ChangeId>, Purpose)]) -> Vec<Step> {
    let mut wanted: Vec<Wanted> = needed
        .iter()
        .map(|(members, purpose)| Wanted {
            members: members.clone(),
            purpose: *purpose,
        })
        .collect();
    match view.settings.policy {
        Policy::Serial if wanted.is_empty() => wanted.extend(batch(view, 1)),
        Policy::Batch if wanted.is_empty() => wanted.extend(batch(view, view.settings.batch_max.max(1))),
        Policy::Serial | Policy::Batch => {}
        Policy::Optimistic => wanted.extend(Walk::free(view, Belief::trusting(view)).wanted()),
        Policy::BestFirst => wanted.extend(Walk::free(view, Belief::from_records(view)).wanted()),
        Policy::Priced => wanted.extend(Walk::priced(view, Belief::calibrated(view)).wanted()),
    }
    fill(view, &wanted)
}

/// Cancels what is not wanted and starts what is, as far as there are slots.
fn fill(view: &QueueView<'_>, wanted: &[Wanted]) -> Vec<Step> {
    let slots = view.settings.slots;
    let doomed = doomed(view, wanted);
    let mut kept: Vec<&[ChangeId]> = doomed.iter().map(|b| b.members.as_slice()).collect();
    let others = wanted.iter().filter(|w| !kept.contains(&w.members.as_slice()));
    let top: Vec<&Wanted> = others.take(slots.saturating_sub(kept.len())).collect();
    let mut steps = Vec::new();
    for build in view
        .builds
        .iter()
        .filter(|b| b.progress.running_since().is_some())
    {
        if doomed.iter().any(|d| d.build == build.build) {
            continue;
        }
        let is_wanted = build.on_tip && top.iter().any(|w| w.members == build.members);
        if is_wanted && !kept.contains(&build.members.as_slice()) {
            kept.push(&build.members);
        } else {
            steps.push(Step::Cancel { build: build.build });
        }
    }
    for want in top {
        if kept.contains(&want.members.as_slice()) {
            continue;
        }
        kept.push(&want.members);
        steps.push(Step::Start {
            members: want.members.clone(),
            purpose: want.purpose,
        });
    }
    steps
}

/// The doomed builds that keep their slots: all on the tip, save that an urgent change that none of them holds gets
/// one.
fn doomed<'a>(view: &QueueView<'a>, wanted: &[Wanted]) -> Vec<&'a BuildView> {
    let is_doomed = |b: &&BuildView| b.on_tip && matches!(b.progress, BuildProgress::Doomed { .. });
    let doomed = || view.builds.iter().filter(is_doomed);
    let first = view.items.first().filter(|i| i.priority == Priority::Urgent);
    let waits = first.is_some_and(|i| !doomed().any(|b| b.members.contains(&i.change)));
    let reserved = usize::from(waits && !wanted.is_empty());
    doomed()
        .take(view.settings.slots.saturating_sub(reserved))
        .collect()
}

/// One build at a time: the first items, or the low half of the shortest front that failed.
fn batch(view: &QueueView<'_>, most: usize) -> Option<Wanted> {
    let running = view
        .builds
        .iter()
        .find(|b| b.on_tip && b.progress.running_since().is_some());
    if let Some(build) = running {
        return Some(Wanted {
            members: build.members.clone(),
            purpose: Purpose::Land,
        });
    }
    let front = group_at(view, &[], 0, most);
    let failed = (2..=front.len()).find(|n| ended(view, &front[..*n]) == Some(false));
    let (members, purpose) = match failed {
        Some(n) => (front[..n / 2].to_vec(), Purpose::Split),
        None => (front, Purpose::Land),
    };
    // A half that passed and has not landed holds part of a stack: the next longer front is asked for.
    let longer = match failed {
        Some(n) if ended(view, &members) == Some(true) => {
            (members.len() + 1..n).find(|l| ended(view, &view_front(view, *l)).is_none())
        }
        _ => None,
    };
    let members = longer.map_or(members, |l| view_front(view, l));
    if members.is_empty() || ended(view, &members).is_some() {
        return None;
    }
    Some(Wanted { members, purpose })
}

/// The first so many items, whatever they are.
fn view_front(view: &QueueView<'_>, length: usize) -> Vec<ChangeId> {
    view.items.iter().take(length).map(|i| i.change).collect()
}

/// What the ended builds of exactly these members on this tip say: a pass outweighs a failure.
pub(super) fn ended(view: &QueueView<'_>, members: &[ChangeId]) -> Option<bool> {
    let mut verdict = None;
    for build in view.builds.iter().filter(|b| b.on_tip && b.members == members) {
        match build.progress {
            BuildProgress::Passed => return Some(true),
            BuildProgress::Failed | BuildProgress::TimedOut | BuildProgress::Doomed { .. } => {
                verdict = Some(false);
            }
            BuildProgress::Running { .. } => {}
        }
    }
    verdict
}

/// True if this item may stand behind these members in one candidate.
pub(super) fn may_follow(items: &[Item], members: &[ChangeId], item: &Item) -> bool {
    let pending = |change: &ChangeId| items.iter().any(|other| other.change == *change);
    let clashes = |change: &ChangeId| {
        item.conflicts_with.contains(change)
            || items
                .iter()
                .any(|o| o.change == *change && (o.solo || o.conflicts_with.contains(&item.change)))
    };
    (!item.solo || members.is_empty())
        && item.after.iter().all(|a| !pending(a) || members.contains(a))
        && !members.iter().any(clashes)
}

/// The longest run of items from `next` on that may follow `context`, at most `most`, stacks kept whole where
/// the batch limit lets them: the group grows to the end of a stack, or else ends before it.
pub(super) fn group_at(
    view: &QueueView<'_>,
    context: &[ChangeId],
    next: usize,
    most: usize,
) -> Vec<ChangeId> {
    let limit = view.settings.batch_max.max(1);
    let most = most.min(limit);
    let members = run_of(view.items, context, next, limit);
    let fitting = members.len() - context.len();
    let open = view.items.get(next..).unwrap_or_default();
    let mut taken = fitting.min(most);
    let stack = |place: usize| open.get(place).and_then(|i| i.stack);
    if taken > 0 && stack(taken - 1).is_some() && stack(taken - 1) == stack(taken) {
        let torn = stack(taken - 1);
        let begin = (0..taken)
            .rev()
            .take_while(|p| stack(*p) == torn)
            .last()
            .unwrap_or(0);
        let end = (taken..open.len())
            .find(|p| stack(*p) != torn)
            .unwrap_or(open.len());
        taken = match (end <= fitting, begin > 0 && end - begin <= limit) {
            (true, _) => end,
            (false, true) => begin,
            (false, false) => taken,
        };
    }
    members[..context.len() + taken].to_vec()
}

/// The longest run of items from `next` on that may follow `context`, at most `most`.
pub(super) fn run_of(items: &[Item], context: &[ChangeId], next: usize, most: usize) -> Vec<ChangeId> {
    let mut members = context.to_vec();
    for item in items.iter().skip(next).take(most) {
        if !may_follow(items, &members, item) {
            break;
        }
        members.push(item.change);
    }
    members
}

//! What to build: every policy ranks candidates, and the slots are filled in that order.

use super::{BuildProgress, Item, Policy, Purpose, QueueView, Step};
use crate::id::ChangeId;

/// Below this chance of being needed a build is not worth its price.
const FLOOR: f64 = 0.4;

/// A candidate and what for.
#[derive(Debug, Clone)]
struct Wanted {
    members: Vec<ChangeId>,
    purpose: Purpose,
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
        Policy::Optimistic => wanted.extend(tree(view, 1, 0.0, |_| 0.0)),
        Policy::BestFirst => wanted.extend(tree(view, 1, 0.0, |item| 1.0 - item.pass_probability)),
        Policy::Priced => {
            let group = view.items.len().div_ceil(view.settings.slots.max(1));
            let shift = shift(view);
            let group = group.clamp(1, view.settings.batch_max.max(1));
            wanted.extend(tree(view, group, FLOOR, |item| scaled(item, shift)));
        }
    }
    fill(view, &wanted)
}

/// What the odds of badness are multiplied with, so that the typical item is no worse than the base rate.
fn shift(view: &QueueView<'_>) -> f64 {
    let odds = |bad: f64| bad / (1.0 - bad).max(1e-3);
    let mut records: Vec<f64> = view.items.iter().map(|i| 1.0 - i.pass_probability).collect();
    records.sort_by(f64::total_cmp);
    let median = records.get(records.len() / 2).copied().unwrap_or(0.0);
    (odds(view.rates.bad.max(1e-3)) / odds(median).max(1e-6)).min(1.0)
}

/// How likely this item is bad, its odds shifted.
fn scaled(item: &Item, shift: f64) -> f64 {
    let bad = (1.0 - item.pass_probability) * shift;
    bad / (bad + item.pass_probability).max(1e-6)
}

/// Cancels what is not wanted, if its slot is, and starts what is.
fn fill(view: &QueueView<'_>, wanted: &[Wanted]) -> Vec<Step> {
    let slots = view.settings.slots;
    let mut steps = Vec::new();
    let top: Vec<&Wanted> = wanted.iter().take(slots).collect();
    let mut kept: Vec<&[ChangeId]> = Vec::new();
    for build in view.builds {
        if !matches!(build.progress, BuildProgress::Running { .. }) {
            continue;
        }
        let is_wanted = build.on_tip && top.iter().any(|w| w.members == build.members);
        if is_wanted && kept.len() < slots && !kept.contains(&build.members.as_slice()) {
            kept.push(&build.members);
        } else {
            steps.push(Step::Cancel { build: build.build });
        }
    }
    for want in top {
        if kept.len() >= slots {
            break;
        }
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

/// One build at a time: the first items, or the low half of the shortest front that failed.
fn batch(view: &QueueView<'_>, most: usize) -> Option<Wanted> {
    let running = view
        .builds
        .iter()
        .find(|b| b.on_tip && matches!(b.progress, BuildProgress::Running { .. }));
    if let Some(build) = running {
        return Some(Wanted {
            members: build.members.clone(),
            purpose: Purpose::Land,
        });
    }
    let front = group_at(view.items, &[], 0, most);
    let failed = (2..=front.len()).find(|n| ended(view, &front[..*n]) == Some(false));
    let (members, purpose) = match failed {
        Some(n) => (front[..n / 2].to_vec(), Purpose::Split),
        None => (front, Purpose::Land),
    };
    if members.is_empty() || ended(view, &members).is_some() {
        return None;
    }
    Some(Wanted { members, purpose })
}

/// What the ended builds of exactly these members on this tip say: a pass outweighs a failure.
fn ended(view: &QueueView<'_>, members: &[ChangeId]) -> Option<bool> {
    let mut verdict = None;
    for build in view.builds.iter().filter(|b| b.on_tip && b.members == members) {
        match build.progress {
            BuildProgress::Passed => return Some(true),
            BuildProgress::Failed | BuildProgress::TimedOut => verdict = Some(false),
            BuildProgress::Running { .. } => {}
        }
    }
    verdict
}

/// True if this item may stand behind these members in one candidate.
fn may_follow(items: &[Item], members: &[ChangeId], item: &Item) -> bool {
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

/// The longest run of items from `next` on that may follow `context`, at most `most`.
fn group_at(items: &[Item], context: &[ChangeId], next: usize, most: usize) -> Vec<ChangeId> {
    let mut members = context.to_vec();
    for item in items.iter().skip(next).take(most) {
        if !may_follow(items, &members, item) {
            break;
        }
        members.push(item.change);
    }
    members
}

/// A point of the speculation tree: these land, and the items from `next` on are open.
#[derive(Debug, Clone)]
struct Node {
    context: Vec<ChangeId>,
    next: usize,
    group: usize,
    chance: f64,
    split: bool,
}

/// The size of the smallest group already begun at this point: arrivals must not shift what runs.
fn begun(view: &QueueView<'_>, node: &Node) -> Option<usize> {
    let follows = |members: &[ChangeId]| {
        let more = members.strip_prefix(node.context.as_slice())?;
        let open = view.items.get(node.next..)?;
        let same = more.len() <= open.len() && more.iter().zip(open).all(|(m, i)| *m == i.change);
        (same && !more.is_empty()).then_some(more.len())
    };
    let on_tip = view.builds.iter().filter(|b| b.on_tip);
    on_tip.filter_map(|b| follows(&b.members)).min()
}

/// Walks the speculation tree from the likeliest point on, and returns the builds in that order.
fn tree(view: &QueueView<'_>, group: usize, floor: f64, bad: impl Fn(&Item) -> f64) -> Vec<Wanted> {
    let mut open = vec![Node {
        context: Vec::new(),
        next: 0,
        group,
        chance: 1.0,
        split: false,
    }];
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut budget = 64 * (view.settings.slots + 1) + 2 * view.builds.len();
    while wanted.len() < view.settings.slots && budget > 0 {
        budget -= 1;
        let best = (0..open.len()).max_by(|a, b| {
            let order = open[*a].chance.total_cmp(&open[*b].chance);
            order.then(open[*b].next.cmp(&open[*a].next))
        });
        let Some(best) = best else { break };
        let node = open.swap_remove(best);
        if node.chance <= floor {
            break;
        }
        open.extend(grow(view, &node, group, &bad, &mut wanted));
    }
    wanted
}

/// Adds the build of this point, unless it has ended, and returns the points behind it.
fn grow(
    view: &QueueView<'_>,
    node: &Node,
    group: usize,
    bad: &impl Fn(&Item) -> f64,
    wanted: &mut Vec<Wanted>,
) -> Vec<Node> {
    let Some(item) = view.items.get(node.next) else {
        return Vec::new();
    };
    let size = if node.split || node.group == 1 {
        node.group
    } else {
        begun(view, node).unwrap_or(node.group)
    };
    let members = group_at(view.items, &node.context, node.next, size);
    let taken = members.len() - node.context.len();
    if taken == 0 {
        if item.solo {
            return Vec::new();
        }
        return vec![Node {
            next: node.next + 1,
            ..node.clone()
        }];
    }
    let group_items = &view.items[node.next..node.next + taken];
    let good = match ended(view, &members) {
        Some(true) => 1.0,
        Some(false) => 0.0,
        None => {
            wanted.push(Wanted {
                members: members.clone(),
                purpose: if node.split { Purpose::Split } else { Purpose::Land },
            });
            group_items.iter().map(|i| 1.0 - bad(i)).product()
        }
    };
    let mut points = Vec::new();
    if !item.solo {
        points.push(Node {
            context: members,
            next: node.next + taken,
            group,
            chance: node.chance * good,
            split: false,
        });
    }
    points.push(Node {
        context: node.context.clone(),
        next: if taken == 1 { node.next + 1 } else { node.next },
        group: if taken == 1 { group } else { taken / 2 },
        chance: node.chance * (1.0 - good),
        split: taken > 1,
    });
    points
}

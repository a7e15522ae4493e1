//! What the verdicts so far prove: shared by all policies.

use super::{Blame, BuildProgress, BuildView, Item, Purpose, QueueView, Step};
use crate::id::ChangeId;

/// A flake rate below this counts as none.
const NO_FLAKES: f64 = 1e-9;

/// What the facts demand.
#[derive(Debug)]
pub(super) enum Resolved {
    /// This step, and then a new plan.
    Final(Step),
    /// These builds before any other.
    Needed(Vec<(Vec<ChangeId>, Purpose)>),
}

/// Lands, bounces, or asks for the builds that a bounce needs.
pub(super) fn resolve(view: &QueueView<'_>) -> Resolved {
    if let Some(step) = landing(view) {
        return Resolved::Final(step);
    }
    let Some(first) = view.items.first() else {
        return Resolved::Needed(Vec::new());
    };
    let alone = |progress: BuildProgress| {
        view.builds
            .iter()
            .filter(move |b| b.on_tip && b.members == [first.change] && b.progress == progress)
    };
    let failures = alone(BuildProgress::Failed).count();
    let timeouts = alone(BuildProgress::TimedOut).count();
    if failures + timeouts == 0 {
        return Resolved::Needed(Vec::new());
    }
    if !view.tip_is_green {
        return control(view);
    }
    let enough = failures >= 2 || (failures == 1 && view.rates.flake < NO_FLAKES);
    if enough && let Some(proof) = alone(BuildProgress::Failed).next_back() {
        return bounce(first, Blame::Alone { build: proof.build });
    }
    if timeouts >= 2
        && let Some(proof) = alone(BuildProgress::TimedOut).next_back()
    {
        return bounce(first, Blame::TimedOut { build: proof.build });
    }
    Resolved::Needed(vec![(vec![first.change], Purpose::Retry)])
}

fn bounce(item: &Item, blame: Blame) -> Resolved {
    Resolved::Final(Step::Bounce {
        change: item.change,
        blame,
    })
}

/// A control run, unless enough of them have failed to call the base broken.
fn control(view: &QueueView<'_>) -> Resolved {
    let failed = view
        .builds
        .iter()
        .filter(|b| b.on_tip && b.members.is_empty() && b.progress == BuildProgress::Failed)
        .count();
    let allowed = if view.rates.flake < NO_FLAKES { 1 } else { 2 };
    if failed >= allowed {
        return Resolved::Needed(Vec::new());
    }
    Resolved::Needed(vec![(Vec::new(), Purpose::Control)])
}

/// The longest passed build that may land.
fn landing(view: &QueueView<'_>) -> Option<Step> {
    view.builds
        .iter()
        .filter(|b| b.on_tip && b.progress == BuildProgress::Passed && !b.members.is_empty())
        .filter(|b| may_land(view, b))
        .max_by_key(|b| b.members.len())
        .map(|b| Step::Land { build: b.build })
}

/// True if nothing ahead of a member is left behind, save what is independent of it.
fn may_land(view: &QueueView<'_>, build: &BuildView) -> bool {
    let mut left: Vec<&Item> = Vec::new();
    let mut found = 0;
    for item in view.items {
        if build.members.contains(&item.change) {
            found += 1;
            if left.iter().any(|ahead| !independent(view, ahead, item)) {
                return false;
            }
        } else {
            left.push(item);
        }
    }
    found == build.members.len()
}

/// True if the two need not wait for one another.
fn independent(view: &QueueView<'_>, ahead: &Item, item: &Item) -> bool {
    view.settings.independent
        && !ahead.footprint.is_empty()
        && !item.footprint.is_empty()
        && !ahead.solo
        && !item.after.contains(&ahead.change)
        && !item.conflicts_with.contains(&ahead.change)
        && !ahead.footprint.iter().any(|path| item.footprint.contains(path))
}

//! What the verdicts so far prove: shared by all policies.

use super::pair::blame;
use super::{Blame, BuildProgress, BuildView, Item, Purpose, QueueView, Step};
use crate::id::{BuildId, ChangeId};

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
    match view.items.first() {
        Some(first) => judge(view, first),
        None => Resolved::Needed(Vec::new()),
    }
}

/// The build that shows that the tip itself does not pass. Until the tip moves nobody is bounced and no further
/// control is run; a queued change that mends the base still lands. To have the base tried again, leave its failed
/// control runs out of the view.
///
/// Shape: the last of the failed control runs, if as many failed as tell a broken base from a flake.
#[must_use]
pub fn base_is_broken(view: &QueueView<'_>) -> Option<BuildId> {
    if view.tip_is_green {
        return None;
    }
    let controls = || view.builds.iter().filter(|b| b.on_tip && b.members.is_empty());
    if controls().any(|b| b.progress == BuildProgress::Passed) {
        return None;
    }
    let allowed = if view.rates.flake < NO_FLAKES { 1 } else { 2 };
    let failed = |b: &&BuildView| matches!(b.progress, BuildProgress::Failed | BuildProgress::TimedOut);
    let last = controls().rfind(failed)?;
    (controls().filter(failed).count() >= allowed).then_some(last.build)
}

/// What the builds of the first change alone say about it. Only the first: whatever fails behind others may fail
/// because of them.
fn judge(view: &QueueView<'_>, first: &Item) -> Resolved {
    let alone = |progress: BuildProgress| {
        view.builds
            .iter()
            .filter(move |b| b.on_tip && b.members == [first.change] && b.progress == progress)
    };
    let failures = alone(BuildProgress::Failed).count();
    // A limit is reached on any tip alike, and each time costs everybody the whole limit: all tips count.
    let too_long = |b: &&BuildView| b.members == [first.change] && b.progress == BuildProgress::TimedOut;
    let timeouts = view.builds.iter().filter(too_long).count();
    if failures + timeouts == 0 {
        return Resolved::Needed(Vec::new());
    }
    if !view.tip_is_green {
        let broken = base_is_broken(view).is_some();
        let control = (!broken).then_some((Vec::new(), Purpose::Control));
        return Resolved::Needed(control.into_iter().collect());
    }
    let enough = failures > 0 && !failed_too_seldom(view, &[first.change], failures);
    if enough && let Some(proof) = alone(BuildProgress::Failed).next_back() {
        return bounce(first, blame(view, first.change, proof.build));
    }
    if timeouts >= 2
        && let Some(proof) = view.builds.iter().rfind(too_long)
    {
        return bounce(first, Blame::TimedOut { build: proof.build });
    }
    Resolved::Needed(vec![(vec![first.change], Purpose::Retry)])
}

/// True if so many failures of these members may still be flakes.
fn failed_too_seldom(view: &QueueView<'_>, members: &[ChangeId], failures: usize) -> bool {
    // A green build on top of them speaks for a flake, however rare flakes were so far.
    let disputed = || {
        view.builds
            .iter()
            .any(|b| b.on_tip && b.progress == BuildProgress::Passed && b.members.starts_with(members))
    };
    failures < 2 && (view.rates.flake >= NO_FLAKES || disputed())
}

/// True if the last of these members failed behind the others in one build, and one is not enough to blame it.
pub(super) fn needs_retry(view: &QueueView<'_>, members: &[ChangeId]) -> bool {
    let ended = |progress| {
        let same = |b: &&BuildView| b.on_tip && b.members == members && b.progress == progress;
        view.builds.iter().filter(same).count()
    };
    let [passed, failed, timed_out] = [
        BuildProgress::Passed,
        BuildProgress::Failed,
        BuildProgress::TimedOut,
    ]
    .map(ended);
    passed == 0 && failed + timed_out == 1 && (failed == 0 || failed_too_seldom(view, members, failed))
}

fn bounce(item: &Item, blame: Blame) -> Resolved {
    Resolved::Final(Step::Bounce {
        change: item.change,
        blame,
    })
}

/// The longest passed build that may land.
fn landing(view: &QueueView<'_>) -> Option<Step> {
    view.builds
        .iter()
        .filter(|b| b.on_tip && b.progress == BuildProgress::Passed && !b.members.is_empty())
        .filter(|b| in_order(view, b) && !hides_a_failure(view, b) && leaves_stacks_whole(view, b))
        .max_by_key(|b| b.members.len())
        .map(|b| Step::Land { build: b.build })
}

/// True if nothing ahead of a member is left behind, save what is independent of it and loses little by it.
fn in_order(view: &QueueView<'_>, build: &BuildView) -> bool {
    let mut left: Vec<&Item> = Vec::new();
    let mut found = 0;
    for item in view.items {
        if build.members.contains(&item.change) {
            found += 1;
            if left.iter().any(|ahead| !may_overtake(view, ahead, item)) {
                return false;
            }
        } else {
            left.push(item);
        }
    }
    found == build.members.len()
}

/// True if the two are independent and the one ahead has no build on the tip that is more than half done.
///
/// A landing voids every build that does not hold what lands. Without this bound a stream of independent changes
/// could keep the one ahead from ever getting its verdict.
fn may_overtake(view: &QueueView<'_>, ahead: &Item, item: &Item) -> bool {
    let half = i64::try_from(view.check_time.median.as_millis() / 2).unwrap_or(i64::MAX);
    let advanced = |b: &BuildView| {
        let since = b.progress.running_since();
        since.is_some_and(|at| view.now.as_millis().saturating_sub(at.as_millis()) >= half)
    };
    independent(view, ahead, item)
        && !view
            .builds
            .iter()
            .any(|b| b.on_tip && b.members.contains(&ahead.change) && advanced(b))
}

/// True if the two need not wait for one another.
fn independent(view: &QueueView<'_>, ahead: &Item, item: &Item) -> bool {
    view.settings.independent
        && !ahead.footprint.is_empty()
        && !item.footprint.is_empty()
        && !ahead.solo
        && !item.after.contains(&ahead.change)
        && !item.conflicts_with.contains(&ahead.change)
        && !ahead.conflicts_with.contains(&item.change)
        && !ahead.footprint.iter().any(|path| item.footprint.contains(path))
}

/// True if a front of this build failed on the same tip, and no build of exactly that front passed.
///
/// A time limit is no verdict, so it hides nothing.
fn hides_a_failure(view: &QueueView<'_>, build: &BuildView) -> bool {
    let is_front = |b: &BuildView| {
        let shorter = b.members.len() < build.members.len();
        b.on_tip && !b.members.is_empty() && shorter && build.members.starts_with(&b.members)
    };
    let failed = |b: &BuildView| matches!(b.progress, BuildProgress::Failed | BuildProgress::Doomed { .. });
    let acquitted = |front: &BuildView| {
        let same = |b: &BuildView| b.on_tip && b.members == front.members;
        view.builds
            .iter()
            .any(|b| same(b) && b.progress == BuildProgress::Passed)
    };
    view.builds
        .iter()
        .any(|b| is_front(b) && failed(b) && !acquitted(b))
}

/// True unless a stack would land in part although its next member could still land with it.
fn leaves_stacks_whole(view: &QueueView<'_>, build: &BuildView) -> bool {
    let Some(at) = view.items.iter().rposition(|i| build.members.contains(&i.change)) else {
        return true;
    };
    let (last, Some(next)) = (&view.items[at], view.items.get(at + 1)) else {
        return true;
    };
    let Some(stack) = last.stack.filter(|_| last.stack == next.stack) else {
        return true;
    };
    let whole = view.items.iter().filter(|i| i.stack == Some(stack)).count();
    if whole > view.settings.batch_max || !super::policy::may_follow(view.items, &build.members, next) {
        return true;
    }
    // The rest has failed on top of this build: a candidate with more of this stack and nothing else.
    view.builds.iter().any(|b| {
        let rest = b.members.strip_prefix(build.members.as_slice());
        let failed = matches!(b.progress, BuildProgress::Failed | BuildProgress::TimedOut);
        let of_stack = |m: &ChangeId| {
            view.items
                .iter()
                .any(|i| i.change == *m && i.stack == Some(stack))
        };
        b.on_tip && failed && rest.is_some_and(|rest| !rest.is_empty() && rest.iter().all(of_stack))
    })
}

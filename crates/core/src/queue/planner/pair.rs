//! Which landed change a culprit does not work with: read off the builds there are, or found by new ones.

use super::{Blame, BuildProgress, BuildView, QueueView};
use crate::id::{BuildId, ChangeId};

/// What to do next to name the partner of a change that failed alone on the tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// Build the change on the target as it was after this many of the landings.
    Build {
        /// How many of the landings the base holds.
        landings: usize,
    },
    /// It works without this one and fails with it.
    With(ChangeId),
    /// It fails without any of them: it is bad by itself.
    Alone,
}

/// Finds the landing that a change does not work with: a binary search over earlier tips.
///
/// Shape: `landed` are the changes that landed since the change was offered, in that order; with all of them it
/// is known to fail. `verdicts` are builds of the change alone on the tip after so many of them, and whether it
/// passed. The search ends after `1 + log2(landed.len())` builds. It may run after the bounce, in idle slots:
/// the bounce does not wait for it.
#[must_use]
pub fn tell_apart(landed: &[ChangeId], verdicts: &[(usize, bool)]) -> Apart {
    let fails = verdicts.iter().filter(|(_, passed)| !passed).map(|(n, _)| *n);
    let fails = fails.min().unwrap_or(landed.len()).min(landed.len());
    let passes = verdicts.iter().filter(|(n, passed)| *passed && *n < fails);
    let Some(passes) = passes.map(|(n, _)| *n).max() else {
        return if fails == 0 {
            Apart::Alone
        } else {
            Apart::Build { landings: 0 }
        };
    };
    match landed.get(passes) {
        Some(partner) if fails - passes == 1 => Apart::With(*partner),
        _ => Apart::Build {
            landings: passes + (fails - passes) / 2,
        },
    }
}

/// The blame for a change that failed alone: with a partner, if the builds show that it passed without one.
pub(super) fn blame(view: &QueueView<'_>, change: ChangeId, build: BuildId) -> Blame {
    let holds = |b: &&BuildView| !b.on_tip && b.members.contains(&change);
    let passed = |b: &&BuildView| holds(b) && b.progress == BuildProgress::Passed && !b.missing.is_empty();
    let Some(closest) = view.builds.iter().filter(passed).min_by_key(|b| b.missing.len()) else {
        return Blame::Alone { build };
    };
    let acquitted = |partner: &ChangeId| {
        let passed_with = |b: &BuildView| passed(&b) && !b.missing.contains(partner);
        let failed_without = |b: &BuildView| {
            holds(&b)
                && b.members.len() == 1
                && b.progress == BuildProgress::Failed
                && b.missing.contains(partner)
        };
        view.builds.iter().any(|b| passed_with(b) || failed_without(b))
    };
    let with: Vec<ChangeId> = closest
        .missing
        .iter()
        .copied()
        .filter(|p| !acquitted(p))
        .collect();
    if with.is_empty() {
        return Blame::Alone { build };
    }
    Blame::Together {
        build,
        passed: closest.build,
        with,
    }
}

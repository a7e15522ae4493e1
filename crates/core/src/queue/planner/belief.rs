//! How likely changes pass, from their records, the base rates and the failures seen.

use super::{BuildProgress, Item, QueueView};
use crate::id::ChangeId;

/// How far a failure on an earlier tip is trusted to repeat itself.
const STILL_FAILS: f64 = 0.8;

/// How likely each item is bad, by its place in the queue.
#[derive(Debug)]
pub(super) struct Belief {
    bad: Vec<f64>,
    pair: f64,
    learns: bool,
}

impl Belief {
    /// Everything passes.
    pub(super) fn trusting(view: &QueueView<'_>) -> Self {
        Belief {
            bad: vec![0.0; view.items.len()],
            pair: 0.0,
            learns: false,
        }
    }

    /// The records as they are.
    pub(super) fn from_records(view: &QueueView<'_>) -> Self {
        Belief {
            bad: view.items.iter().map(|i| 1.0 - i.pass_probability).collect(),
            pair: 0.0,
            learns: false,
        }
    }

    /// The records, with all odds scaled alike so that the queue as a whole is no worse than the base rate, what
    /// landed since the offer counted as possible partners, and failures taken into account.
    pub(super) fn calibrated(view: &QueueView<'_>) -> Self {
        let scale = scale(view);
        let pair = view.rates.pair_conflict.clamp(0.0, 1.0);
        let bad =
            |item: &Item| 1.0 - (1.0 - scaled(item, scale)) * (1.0 - pair).powf(item.landed_since as f64);
        Belief {
            bad: view.items.iter().map(bad).collect(),
            pair,
            learns: true,
        }
    }

    /// How likely the item at this place fails behind so many pending others that pass.
    pub(super) fn bad_behind(&self, others: usize, place: usize) -> f64 {
        self.bad(place) + self.pair * others as f64
    }

    fn bad(&self, place: usize) -> f64 {
        self.bad.get(place).copied().unwrap_or(0.0)
    }

    /// How likely the `taken` items from `next` on pass behind so many others, before any build is looked at.
    pub(super) fn pass(&self, behind: usize, next: usize, taken: usize) -> f64 {
        let alone: f64 = (next..next + taken).map(|place| 1.0 - self.bad(place)).product();
        let pairs = (taken * behind + taken * taken.saturating_sub(1) / 2) as f64;
        alone * (1.0 - self.pair).powf(pairs)
    }

    /// The same, given that a longer front behind this context failed if one did.
    pub(super) fn pass_given(
        &self,
        view: &QueueView<'_>,
        context: &[ChangeId],
        next: usize,
        taken: usize,
    ) -> f64 {
        let prior = self.pass(context.len(), next, taken);
        if !self.learns {
            return prior;
        }
        let Some((length, exact)) = failed_front(view, context, next, taken) else {
            return prior;
        };
        let whole = self.pass(context.len(), next, length);
        let given = ((prior - whole) / (1.0 - whole).max(1e-6)).clamp(0.0, 1.0);
        if exact {
            given
        } else {
            STILL_FAILS * given + (1.0 - STILL_FAILS) * prior
        }
    }
}

/// The shortest front of the open items, of at least so many, that failed behind this context: its length, and
/// whether it failed on this tip behind exactly this context. If not, it is a hint only.
pub(super) fn failed_front(
    view: &QueueView<'_>,
    context: &[ChangeId],
    next: usize,
    least: usize,
) -> Option<(usize, bool)> {
    let open = view.items.get(next..)?;
    let failed = |p: BuildProgress| {
        matches!(
            p,
            BuildProgress::Failed | BuildProgress::TimedOut | BuildProgress::Doomed { .. }
        )
    };
    let fronts = view.builds.iter().filter(|b| failed(b.progress)).filter_map(|b| {
        let more = || b.members.iter().filter(|m| !context.contains(m));
        let length = more().count();
        let same = length <= open.len() && more().zip(open).all(|(m, i)| *m == i.change);
        let exact = b.on_tip && b.members.starts_with(context);
        (same && length > 0 && length >= least).then_some((length, exact))
    });
    fronts.min_by_key(|(length, exact)| (*length, !exact))
}

/// How likely this item is bad, its odds scaled.
fn scaled(item: &Item, scale: f64) -> f64 {
    let bad = (1.0 - item.pass_probability) * scale;
    bad / (bad + item.pass_probability).max(1e-6)
}

/// What the odds of badness are multiplied with; at most 1, because a record that is better than the base rate
/// is believed.
fn scale(view: &QueueView<'_>) -> f64 {
    let count = view.items.len() as f64;
    let mean = |scale: f64| view.items.iter().map(|i| scaled(i, scale)).sum::<f64>() / count.max(1.0);
    let wanted = view.rates.bad.max(1e-3);
    let (mut low, mut high) = (0.0, 1.0);
    if mean(high) <= wanted {
        return high;
    }
    // Halving 20 times leaves an error below one in a million.
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if mean(middle) > wanted {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

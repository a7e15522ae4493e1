//! Which entries go when there is too much. Owns the choice only; must never remove anything.

use std::time::Duration;

use gantry_core::time::Timestamp;

/// What the choice is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<I> {
    /// What is named in the plan.
    pub id: I,
    /// Its bytes on the disk.
    pub bytes: u64,
    /// When it was last read or written.
    pub used_at: Timestamp,
}

/// Chooses what to remove: everything not used for `unused_max`, then the longest unused until the rest fits.
///
/// Shape: the longest unused first.
#[must_use]
pub fn plan_eviction<I: Clone + Ord>(
    kept: &[Kept<I>],
    bytes_max: u64,
    unused_max: Duration,
    now: Timestamp,
) -> Vec<I> {
    let mut order: Vec<&Kept<I>> = kept.iter().collect();
    order.sort_by(|a, b| (a.used_at.as_millis(), &a.id).cmp(&(b.used_at.as_millis(), &b.id)));
    let mut total: u128 = kept.iter().map(|one| u128::from(one.bytes)).sum();
    let mut plan = Vec::new();
    for one in order {
        if total <= u128::from(bytes_max) && now.since(one.used_at) <= unused_max {
            break;
        }
        total -= u128::from(one.bytes);
        plan.push(one.id.clone());
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kept: &[(u32, u64, i64)], bytes_max: u64, expected: &[u32]) {
        let kept: Vec<_> = kept
            .iter()
            .map(|(id, bytes, used)| Kept {
                id: *id,
                bytes: *bytes,
                used_at: Timestamp::from_millis(*used),
            })
            .collect();
        let plan = plan_eviction(
            &kept,
            bytes_max,
            Duration::from_millis(100),
            Timestamp::from_millis(150),
        );
        assert_eq!(plan, expected);
    }

    #[test]
    fn the_longest_unused_go_first_and_no_more_than_needed() {
        check(&[], 0, &[]);
        check(&[(1, 10, 60), (2, 10, 70)], 20, &[]);
        check(&[(1, 10, 70), (2, 10, 60), (3, 10, 80)], 20, &[2]);
        check(&[(1, 10, 60), (2, 10, 60)], 10, &[1]);
        check(&[(1, u64::MAX, 60), (2, u64::MAX, 70)], u64::MAX, &[1]);
    }

    #[test]
    fn what_nobody_used_for_long_goes_though_there_is_room() {
        check(&[(1, 10, 49), (2, 10, 50)], 100, &[1]);
        check(&[(1, 10, 500)], 100, &[]);
    }
}

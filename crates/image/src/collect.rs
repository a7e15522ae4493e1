//! Which images go: by the date of their last use, and by the bytes of all. The plan is a pure function; carrying it
//! out never removes an image that a lease holds.

use std::collections::HashMap;
use std::time::Duration;

use gantry_core::time::Timestamp;
use serde::Serialize;

use crate::digest::Digest;
use crate::name::ImageName;
use crate::store::{ImageStore, StoreError, Swept};

/// An image as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The image.
    pub digest: Digest,
    /// When it was used last.
    pub used: Timestamp,
    /// Its layers with the bytes of their files.
    pub layers: Vec<(Digest, u64)>,
    /// Whether a box stands on it now.
    pub in_use: bool,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CollectLimits {
    /// Images not used for longer go.
    pub unused_for: Option<Duration>,
    /// The most bytes of all layers together.
    pub bytes: Option<u64>,
}

/// Why an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// Nobody used it for too long.
    Unused,
    /// There was too much, and it was the one used longest ago.
    Space,
}

/// An image to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// The image.
    pub digest: Digest,
    /// Why.
    pub reason: RemovalReason,
    /// Bytes of layers that no image needs any more after it and the removals before it.
    pub freed_bytes: u64,
}

/// Returns what to remove, in order: the longest unused first.
///
/// Shape: never an image in use; a layer that two images share is counted once, and freed with the second.
#[must_use]
pub fn plan_collection(images: &[ImageUse], now: Timestamp, limits: CollectLimits) -> Vec<Removal> {
    let mut needed: HashMap<Digest, (u64, usize)> = HashMap::new();
    for image in images {
        for (layer, bytes) in distinct(image) {
            needed.entry(layer).or_insert((bytes, 0)).1 += 1;
        }
    }
    let mut total: u64 = needed.values().map(|(bytes, _)| bytes).sum();
    let mut oldest: Vec<&ImageUse> = images.iter().filter(|image| !image.in_use).collect();
    oldest.sort_by_key(|image| (image.used, image.digest));
    let mut removals = Vec::new();
    for image in oldest {
        let unused = limits.unused_for.is_some_and(|most| now.since(image.used) > most);
        let space = limits.bytes.is_some_and(|most| total > most);
        let reason = match (unused, space) {
            (true, _) => RemovalReason::Unused,
            (false, true) => RemovalReason::Space,
            (false, false) => continue,
        };
        let mut freed_bytes = 0;
        for (layer, bytes) in distinct(image) {
            let users = &mut needed.get_mut(&layer).expect("every layer was counted").1;
            *users -= 1;
            if *users == 0 {
                freed_bytes += bytes;
            }
        }
        total -= freed_bytes;
        removals.push(Removal {
            digest: image.digest,
            reason,
            freed_bytes,
        });
    }
    removals
}

fn distinct(image: &ImageUse) -> HashMap<Digest, u64> {
    image.layers.iter().copied().collect()
}

/// What a collection did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// What was removed, with the names it had.
    pub removed: Vec<(Removal, Vec<ImageName>)>,
    /// Images that were taken into use after the plan, and stay.
    pub kept: Vec<Digest>,
    /// Build steps that were forgotten, as no image has their layer.
    pub step_count: u64,
    /// What else went.
    pub swept: Swept,
}

impl ImageStore {
    /// Returns what [`Self::prune`] would remove.
    ///
    /// Errors: the store's.
    pub fn plan_prune(&self, limits: CollectLimits, now: Timestamp) -> Result<Vec<Removal>, StoreError> {
        Ok(plan_collection(&self.uses()?, now, limits))
    }

    /// Removes images over the limits, layers and build steps nobody needs, and what crashes left.
    ///
    /// Errors: the store's; what was removed before stays removed.
    pub fn prune(&self, limits: CollectLimits, now: Timestamp) -> Result<Pruned, StoreError> {
        let names = self.names()?;
        let (mut removed, mut kept) = (Vec::new(), Vec::new());
        for removal in self.plan_prune(limits, now)? {
            let digest = removal.digest;
            if self.remove(digest)? {
                let had = names
                    .iter()
                    .filter(|(_, named)| *named == digest)
                    .map(|(name, _)| name.clone());
                removed.push((removal, had.collect()));
            } else {
                kept.push(digest);
            }
        }
        let step_count = self.forget_steps()?;
        Ok(Pruned {
            removed,
            kept,
            step_count,
            swept: self.sweep()?,
        })
    }

    fn uses(&self) -> Result<Vec<ImageUse>, StoreError> {
        let mut uses = Vec::new();
        for image in self.list()? {
            let layers = self.record(image.digest)?.layers;
            let sized = layers
                .into_iter()
                .map(|layer| Ok((layer, self.layer_record(layer)?.content_bytes)));
            uses.push(ImageUse {
                digest: image.digest,
                used: Timestamp::from_millis(image.used_ms),
                layers: sized.collect::<Result<_, StoreError>>()?,
                in_use: image.in_use,
            });
        }
        Ok(uses)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layer(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn image(number: u8, used: i64, layers: &[u8], in_use: bool) -> ImageUse {
        ImageUse {
            digest: Digest::of(&[b'i', number]),
            used: Timestamp::from_millis(used),
            layers: layers
                .iter()
                .map(|number| (layer(*number), u64::from(*number) * 10))
                .collect(),
            in_use,
        }
    }

    #[test]
    fn the_longest_unused_go_first_and_shared_layers_last() {
        let images = [
            image(1, 100, &[1, 2], false),
            image(2, 50, &[1, 3], false),
            image(3, 10, &[4], true),
        ];
        let check = |unused_ms: Option<u64>, bytes: Option<u64>, expected: &[(usize, RemovalReason, u64)]| {
            let limits = CollectLimits {
                unused_for: unused_ms.map(Duration::from_millis),
                bytes,
            };
            let found = plan_collection(&images, Timestamp::from_millis(200), limits);
            let found: Vec<_> = found
                .iter()
                .map(|one| (one.digest, one.reason, one.freed_bytes))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(at, reason, freed)| (images[*at].digest, *reason, *freed))
                .collect();
            assert_eq!(found, expected);
        };
        check(None, None, &[]);
        check(Some(150), Some(100), &[]);
        check(Some(120), None, &[(1, RemovalReason::Unused, 30)]);
        check(None, Some(99), &[(1, RemovalReason::Space, 30)]);
        check(
            Some(120),
            Some(40),
            &[(1, RemovalReason::Unused, 30), (0, RemovalReason::Space, 30)],
        );
        check(
            None,
            Some(0),
            &[(1, RemovalReason::Space, 30), (0, RemovalReason::Space, 30)],
        );
    }

    proptest! {
        #[test]
        fn a_plan_keeps_what_is_used_and_reaches_its_bytes(
            made in prop::collection::vec((0..100_i64, prop::collection::vec(0..9_u8, 0..4), any::<bool>()), 0..8),
            most in 0..300_u64,
        ) {
            let images: Vec<ImageUse> =
                (0..).zip(&made).map(|(number, (used, layers, in_use))| image(number, *used, layers, *in_use)).collect();
            let limits = CollectLimits { unused_for: None, bytes: Some(most) };
            let plan = plan_collection(&images, Timestamp::from_millis(100), limits);
            let gone = |image: &&ImageUse| plan.iter().any(|one| one.digest == image.digest);
            prop_assert!(images.iter().filter(gone).all(|image| !image.in_use));
            let left: HashMap<Digest, u64> = images.iter().filter(|image| !gone(image)).flat_map(|image| image.layers.clone()).collect();
            let all: HashMap<Digest, u64> = images.iter().flat_map(|image| image.layers.clone()).collect();
            let (left, all): (u64, u64) = (left.values().sum(), all.values().sum());
            prop_assert_eq!(all - left, plan.iter().map(|one| one.freed_bytes).sum::<u64>());
            prop_assert!(left <= most || images.iter().filter(|image| !gone(image)).all(|image| image.in_use));
        }
    }
}

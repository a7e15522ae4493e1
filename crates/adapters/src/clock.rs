//! The door to the clocks. Owns reading them; must never decide anything from what it reads.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gantry_core::time::Timestamp;

/// Returns the wall clock's time. It may jump; measure durations with [`Stopwatch`].
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the door to the wall clock")]
pub fn now() -> Timestamp {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    };
    Timestamp::from_millis(millis)
}

/// Returns an instant of the monotonic clock, which never jumps and means nothing outside this process.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the door to the monotonic clock"
)]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[must_use]
    pub fn start() -> Self {
        Self(monotonic())
    }

    /// Returns the time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        monotonic().duration_since(self.0)
    }

    /// Returns what is left of `limit`, zero once it has passed.
    #[must_use]
    pub fn left_of(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_in_this_century() {
        assert!(now().as_seconds() > 1_700_000_000);
        assert!(now().as_seconds() < 4_102_444_800);
    }

    #[test]
    fn a_passed_limit_leaves_nothing() {
        let watch = Stopwatch::start();
        assert_eq!(watch.left_of(Duration::ZERO), Duration::ZERO);
        assert!(watch.left_of(Duration::from_secs(60)) > Duration::from_secs(1));
    }
}

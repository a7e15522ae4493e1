//! When a failed run is tried again. One total function; the numbers are in `gantry_core::limits`.

use std::time::Duration;

use gantry_core::limits::{AGENT_LIMIT_TRIES_MAX, AGENT_RETRY_WAIT, AGENT_RETRY_WAIT_MAX, AGENT_TRIES_MAX};
use gantry_core::time::Timestamp;

use super::{Failure, FailureClass};

/// What is done about a failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryRule {
    /// Nothing by itself: a person has to act.
    Never,
    /// It is tried again at once.
    Now,
    /// It is tried again at that instant.
    At(Timestamp),
    /// It is tried again at once with another model; without another one, never.
    OnAnotherModel,
    /// It is tried again at once in a session of its own: going on with this one fails again.
    InNewSession,
}

/// Says whether and when a failed run is tried again.
///
/// Shape: `attempts` counts the runs that failed in this way in a row, this one included, from 1. Units: `now` is when
/// it failed.
#[must_use]
pub fn retry_rule(failure: &Failure, attempts: u32, now: Timestamp) -> RetryRule {
    let once = |rule| if attempts <= 1 { rule } else { RetryRule::Never };
    match failure.class {
        // A person has to mend the account, the lane, the box or the task.
        FailureClass::Authentication
        | FailureClass::Billing
        | FailureClass::InvalidRequest
        | FailureClass::Budget
        | FailureClass::PermissionDenied
        | FailureClass::ToolMissing
        | FailureClass::TimedOut
        | FailureClass::Refused => RetryRule::Never,
        FailureClass::RateLimited { until } => limited(failure, until, attempts, now),
        FailureClass::Overloaded | FailureClass::Network => {
            if attempts >= AGENT_TRIES_MAX {
                RetryRule::Never
            } else {
                RetryRule::At(now + failure.retry_after.unwrap_or_else(|| backoff(attempts)))
            }
        }
        FailureClass::ContextTooLong | FailureClass::MaxTurns => once(RetryRule::InNewSession),
        FailureClass::ModelNotFound => once(RetryRule::OnAnotherModel),
        FailureClass::Crashed
        | FailureClass::Killed
        | FailureClass::Silent
        | FailureClass::NoResult
        | FailureClass::Unknown => once(RetryRule::Now),
        // A neighbour may have used the memory; a second time it is the run itself.
        FailureClass::OutOfMemory => once(RetryRule::At(now + AGENT_RETRY_WAIT_MAX)),
    }
}

fn limited(failure: &Failure, until: Option<Timestamp>, attempts: u32, now: Timestamp) -> RetryRule {
    if attempts >= AGENT_LIMIT_TRIES_MAX {
        return RetryRule::Never;
    }
    let wait = failure.retry_after.unwrap_or_else(|| backoff(attempts));
    // An instant that is past already, or a wait of nothing, must not become a loop without a pause.
    let soonest = now + wait.max(AGENT_RETRY_WAIT);
    RetryRule::At(until.map_or(soonest, |until| until.max(now + AGENT_RETRY_WAIT)))
}

fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    AGENT_RETRY_WAIT
        .saturating_mul(1 << doublings)
        .min(AGENT_RETRY_WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn rule(class: FailureClass, attempts: u32) -> RetryRule {
        retry_rule(&Failure::new(class, ""), attempts, NOW)
    }

    fn after(seconds: u64) -> RetryRule {
        RetryRule::At(NOW + Duration::from_secs(seconds))
    }

    #[test]
    fn every_class_is_given_up_in_the_end() {
        for class in FailureClass::ALL {
            assert_eq!(rule(class, AGENT_LIMIT_TRIES_MAX), RetryRule::Never, "{class}");
        }
    }

    #[test]
    fn each_class_has_its_rule_for_the_first_failure() {
        for class in FailureClass::ALL {
            let expected = match class.name() {
                "rate_limited" | "overloaded" | "network" => after(15),
                "context_too_long" | "max_turns" => RetryRule::InNewSession,
                "model_not_found" => RetryRule::OnAnotherModel,
                "crashed" | "killed" | "silent" | "no_result" | "unknown" => RetryRule::Now,
                "out_of_memory" => after(1800),
                _ => RetryRule::Never,
            };
            assert_eq!(rule(class, 1), expected, "{class}");
        }
    }

    #[test]
    fn waits_double_up_to_their_bound() {
        let waits = [1, 2, 3, 4, 5].map(|attempts| rule(FailureClass::Network, attempts));
        assert_eq!(waits, [15, 30, 60, 120, 240].map(after));
        let limited = FailureClass::RateLimited { until: None };
        assert_eq!(rule(limited, 19), after(1800));
    }

    #[test]
    fn a_limit_is_waited_for_and_an_instant_that_is_past_is_no_loop() {
        let at = |millis| FailureClass::RateLimited {
            until: Some(Timestamp::from_millis(millis)),
        };
        assert_eq!(
            rule(at(2_000_000_000), 3),
            RetryRule::At(Timestamp::from_millis(2_000_000_000))
        );
        assert_eq!(rule(at(5), 3), after(15));
    }

    #[test]
    fn a_providers_own_wait_is_kept() {
        let mut failure = Failure::new(FailureClass::Overloaded, "");
        failure.retry_after = Some(Duration::from_secs(77));
        assert_eq!(retry_rule(&failure, 2, NOW), after(77));
        failure.class = FailureClass::RateLimited { until: None };
        failure.retry_after = Some(Duration::ZERO);
        assert_eq!(retry_rule(&failure, 2, NOW), after(15));
    }
}

//! When a run is over and how it went, by what its program said, how it exited and how long it has been silent. Owns
//! the rule; kills nothing and reads no clock.
//!
//! No program's word alone ends a run: some say an error and go on, some say that they are done and stay, some stop
//! without a word (anthropics/claude-code issues 25629 and 39700, openai/codex issue 41984).

use std::time::Duration;

use gantry_core::limits::{AGENT_LINGER_MAX, AGENT_SILENCE_MAX, AGENT_TOOL_SILENCE_MAX, AGENT_WALL_MAX};

use crate::adapter::Adapter;
use crate::failure::{Failure, FailureClass, classify_text};
use crate::summary::StreamSummary;

/// Exit codes by which a shell says that there is no such program, and that it cannot be run.
const NOT_FOUND_CODE: i32 = 127;
const NOT_RUNNABLE_CODE: i32 = 126;
/// A shell adds this to the number of the signal that ended a program.
const SIGNAL_CODE_BASE: i32 = 128;
/// Signals that a program's own fault raises: illegal instruction, trap, abort, bus error, arithmetic, segmentation.
const FAULT_SIGNALS: [i32; 6] = [4, 5, 6, 7, 8, 11];

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Without a sign of life.
    pub silence_max: Duration,
    /// The same while a tool is at work.
    pub tool_silence_max: Duration,
    /// In all.
    pub wall_max: Duration,
    /// From the program's last word to its exit.
    pub linger_max: Duration,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            silence_max: AGENT_SILENCE_MAX,
            tool_silence_max: AGENT_TOOL_SILENCE_MAX,
            wall_max: AGENT_WALL_MAX,
            linger_max: AGENT_LINGER_MAX,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with that code.
    Code(i32),
    /// By that signal.
    Signal(i32),
    /// By the kernel, as its box had no memory left.
    OutOfMemory,
    /// It never began: there is no such program.
    NotFound,
    /// What became of it is not known: whoever watched it is gone.
    Lost,
}

/// Why a run is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its program said that it is done, and would wait for more.
    Finished,
    /// Its program said that it is done and did not exit.
    Lingering,
    /// Its program gave no sign of life for too long.
    Silent,
    /// It took too long.
    TimedOut,
    /// Its budget is used up.
    Budget,
    /// Somebody asked for it.
    Cancelled,
}

/// What is seen of a run from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunObservation<'a> {
    /// How its process ended; `None` while it runs.
    pub exit: Option<Exit>,
    /// How long it has been running.
    pub wall: Duration,
    /// How long ago it gave a sign of life: it began, or [`crate::StreamCounts::signs_of_life`] grew.
    pub silence: Duration,
    /// How long ago its program said that it is done.
    pub since_finished: Option<Duration>,
    /// Why it was ended from outside, if it was.
    pub ended_by: Option<EndReason>,
    /// The end of what it wrote on standard error.
    pub stderr_tail: &'a str,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Its program says that all went well. Whether it did anything is for others to find out.
    Succeeded {
        /// Its last word.
        final_text: Option<String>,
        /// It exited by itself with 0, or was ended only because it waited for more.
        clean: bool,
    },
    /// It did not go well.
    Failed(Failure),
}

/// What is to be done about a run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndDecision {
    /// Nothing.
    Wait {
        /// When to look again if nothing happens until then.
        look_again_in: Duration,
    },
    /// Its process group is to be ended. Said again until it has exited.
    EndNow(EndReason),
    /// It is over.
    Ended(RunEnd),
}

/// Says whether a run is over, has to be ended, or goes on.
#[must_use]
pub fn decide_end(
    adapter: &Adapter,
    summary: &StreamSummary,
    seen: &RunObservation<'_>,
    clocks: &Clocks,
) -> EndDecision {
    match &seen.exit {
        Some(exit) => EndDecision::Ended(run_end(adapter, summary, seen, exit)),
        None => decide_running(adapter, summary, seen, clocks),
    }
}

fn decide_running(
    adapter: &Adapter,
    summary: &StreamSummary,
    seen: &RunObservation<'_>,
    clocks: &Clocks,
) -> EndDecision {
    if let Some(reason) = seen.ended_by {
        return EndDecision::EndNow(reason);
    }
    let wall_left = clocks.wall_max.saturating_sub(seen.wall);
    let (left, reason) = if summary.finished.is_some() {
        // A server of a protocol waits for the next prompt; there is none.
        if matches!(adapter, Adapter::Acp { .. }) {
            return EndDecision::EndNow(EndReason::Finished);
        }
        let since = seen.since_finished.unwrap_or_default();
        (clocks.linger_max.saturating_sub(since), EndReason::Lingering)
    } else {
        let silence_max = if summary.is_in_tool() {
            clocks.tool_silence_max.max(clocks.silence_max)
        } else {
            clocks.silence_max
        };
        (silence_max.saturating_sub(seen.silence), EndReason::Silent)
    };
    if wall_left.is_zero() {
        EndDecision::EndNow(EndReason::TimedOut)
    } else if left.is_zero() {
        EndDecision::EndNow(reason)
    } else {
        EndDecision::Wait {
            look_again_in: left.min(wall_left),
        }
    }
}

fn run_end(adapter: &Adapter, summary: &StreamSummary, seen: &RunObservation<'_>, exit: &Exit) -> RunEnd {
    let own_exit = *exit == Exit::Code(0) && seen.ended_by.is_none();
    if let Some(finished) = &summary.finished {
        return match &finished.failure {
            Some(failure) => RunEnd::Failed(failure.clone().with_reset(summary.limit_resets_at)),
            None => RunEnd::Succeeded {
                final_text: finished.final_text.clone(),
                clean: own_exit || matches!(seen.ended_by, Some(EndReason::Finished | EndReason::Lingering)),
            },
        };
    }
    let says_nothing = matches!(adapter, Adapter::Command { output, .. } if !output.says_result());
    if own_exit && says_nothing {
        return RunEnd::Succeeded {
            final_text: summary.last_message.clone(),
            clean: true,
        };
    }
    let failure = match seen.ended_by {
        Some(reason) => failure_of_reason(reason, summary),
        None => failure_of_exit(exit, summary, seen.stderr_tail),
    };
    RunEnd::Failed(failure.with_reset(summary.limit_resets_at))
}

fn failure_of_reason(reason: EndReason, summary: &StreamSummary) -> Failure {
    let (class, message) = match reason {
        EndReason::Silent => (FailureClass::Silent, "it gave no sign of life for too long"),
        EndReason::TimedOut => (FailureClass::TimedOut, "it took too long"),
        EndReason::Budget => (FailureClass::Budget, "its budget is used up"),
        EndReason::Cancelled => (FailureClass::Killed, "it was cancelled"),
        EndReason::Finished | EndReason::Lingering => (FailureClass::Killed, "it was ended"),
    };
    // A program that tried again until it was ended failed for the reason it tried again.
    if let (EndReason::Silent | EndReason::TimedOut, Some(problem)) = (reason, &summary.retrying) {
        let failure = classify_text(problem);
        if failure.class != FailureClass::Unknown {
            return failure;
        }
    }
    Failure::new(class, message)
}

fn failure_of_exit(exit: &Exit, summary: &StreamSummary, stderr_tail: &str) -> Failure {
    match exit {
        Exit::OutOfMemory => Failure::new(FailureClass::OutOfMemory, "its box had no memory left"),
        Exit::NotFound => Failure::new(FailureClass::ToolMissing, "the box has no such program"),
        Exit::Lost => Failure::new(FailureClass::Killed, "what became of its process is not known"),
        Exit::Signal(signal) => failure_of_signal(*signal),
        Exit::Code(code @ (NOT_FOUND_CODE | NOT_RUNNABLE_CODE)) => Failure::new(
            FailureClass::ToolMissing,
            &format!("it exited with {code}: {}", last_line(stderr_tail)),
        ),
        Exit::Code(code @ 129..=159) => failure_of_signal(code - SIGNAL_CODE_BASE),
        Exit::Code(code) => {
            let last_line = last_line(stderr_tail);
            let problem = summary.retrying.as_ref().or(summary.last_problem.as_ref());
            let texts = [Some(last_line), Some(stderr_tail), problem.map(String::as_str)];
            let known = texts
                .into_iter()
                .flatten()
                .map(classify_text)
                .find(|failure| failure.class != FailureClass::Unknown);
            match (known, *code) {
                (Some(failure), _) => failure,
                (None, 0) => Failure::new(
                    FailureClass::NoResult,
                    "it exited with 0 and never said how its work ended",
                ),
                (None, code) => Failure::new(
                    FailureClass::Crashed,
                    &format!("it exited with {code}: {last_line}"),
                ),
            }
        }
    }
}

fn failure_of_signal(signal: i32) -> Failure {
    let class = if FAULT_SIGNALS.contains(&signal) {
        FailureClass::Crashed
    } else {
        FailureClass::Killed
    };
    Failure::new(class, &format!("signal {signal} ended it"))
}

fn last_line(text: &str) -> &str {
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("nothing on standard error")
}

#[cfg(test)]
mod tests;

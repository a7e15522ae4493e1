//! The end-of-run rule, case by case.

use gantry_core::time::Timestamp;

use super::*;
use crate::acp::PermissionPolicy;
use crate::adapter::ProgramTemplate;
use crate::command::{CommandOutput, LineMapping};
use crate::event::{AgentEvent, Finished, RateLimit, RateLimitStatus, ToolStart};
use crate::launch::{Brief, LaunchRequest};

const NETWORK: &[u8] = include_bytes!("../../tests/captures/codex-exec-network-down.jsonl");
const FAILED: &[u8] = include_bytes!("../../tests/captures/codex-exec-turn-failed.jsonl");

fn codex() -> Adapter {
    Adapter::Codex {
        program: "codex".to_owned(),
    }
}

fn claude() -> Adapter {
    Adapter::Claude {
        program: "claude".to_owned(),
    }
}

fn acp() -> Adapter {
    Adapter::Acp {
        template: ProgramTemplate::default(),
        permission: PermissionPolicy::Allow,
    }
}

fn command(output: CommandOutput) -> Adapter {
    Adapter::Command {
        template: ProgramTemplate::default(),
        output,
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn seen() -> RunObservation<'static> {
    RunObservation {
        exit: None,
        wall: secs(60),
        silence: secs(0),
        since_finished: None,
        ended_by: None,
        stderr_tail: "",
    }
}

fn after(exit: Exit) -> RunObservation<'static> {
    RunObservation {
        exit: Some(exit),
        ..seen()
    }
}

fn said(events: &[AgentEvent]) -> StreamSummary {
    let mut summary = StreamSummary::default();
    events.iter().for_each(|event| summary.apply(event));
    summary
}

fn well() -> AgentEvent {
    AgentEvent::Finished(Finished {
        failure: None,
        final_text: Some("Done.".to_owned()),
    })
}

fn decide(adapter: &Adapter, summary: &StreamSummary, seen: &RunObservation<'_>) -> EndDecision {
    decide_end(adapter, summary, seen, &Clocks::default())
}

#[track_caller]
fn fails(adapter: &Adapter, summary: &StreamSummary, seen: &RunObservation<'_>, class: FailureClass) {
    match decide(adapter, summary, seen) {
        EndDecision::Ended(RunEnd::Failed(failure)) => assert_eq!(failure.class, class),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_running_program_is_looked_at_again_when_its_next_clock_runs_out() {
    let cases = [
        (seen(), secs(600)),
        (
            RunObservation {
                silence: secs(599),
                ..seen()
            },
            secs(1),
        ),
        (
            RunObservation {
                wall: secs(4 * 3600 - 7),
                ..seen()
            },
            secs(7),
        ),
    ];
    for (seen, look_again_in) in cases {
        assert_eq!(
            decide(&codex(), &StreamSummary::default(), &seen),
            EndDecision::Wait { look_again_in }
        );
    }
}

#[test]
fn a_silent_program_is_ended_later_while_its_tool_is_at_work() {
    let silent = RunObservation {
        silence: secs(600),
        ..seen()
    };
    let nothing = StreamSummary::default();
    assert_eq!(
        decide(&claude(), &nothing, &silent),
        EndDecision::EndNow(EndReason::Silent)
    );
    let in_tool = said(&[AgentEvent::ToolStarted(ToolStart {
        id: "1".to_owned(),
        name: "Bash".to_owned(),
        summary: String::new(),
    })]);
    assert_eq!(
        decide(&claude(), &in_tool, &silent),
        EndDecision::Wait {
            look_again_in: secs(3000)
        }
    );
    let long = RunObservation {
        silence: secs(3600),
        ..silent
    };
    assert_eq!(
        decide(&claude(), &in_tool, &long),
        EndDecision::EndNow(EndReason::Silent)
    );
}

#[test]
fn a_program_that_says_it_is_done_may_linger_and_no_longer() {
    let done = said(&[well()]);
    let at = |seconds| RunObservation {
        since_finished: Some(secs(seconds)),
        silence: secs(9999),
        ..seen()
    };
    assert_eq!(
        decide(&claude(), &done, &at(5)),
        EndDecision::Wait {
            look_again_in: secs(10)
        }
    );
    assert_eq!(
        decide(&claude(), &done, &at(15)),
        EndDecision::EndNow(EndReason::Lingering)
    );
    assert_eq!(
        decide(&acp(), &done, &at(0)),
        EndDecision::EndNow(EndReason::Finished)
    );
    let ended = RunObservation {
        ended_by: Some(EndReason::Lingering),
        ..after(Exit::Signal(9))
    };
    assert_eq!(
        decide(&claude(), &done, &ended),
        EndDecision::Ended(RunEnd::Succeeded {
            final_text: Some("Done.".to_owned()),
            clean: true
        })
    );
}

#[test]
fn a_run_takes_no_longer_than_its_wall_clock_says() {
    let late = RunObservation {
        wall: secs(4 * 3600),
        ..seen()
    };
    for adapter in [codex(), claude(), acp(), command(CommandOutput::Lines)] {
        let decision = decide(&adapter, &StreamSummary::default(), &late);
        assert_eq!(decision, EndDecision::EndNow(EndReason::TimedOut));
    }
}

#[test]
fn whoever_is_being_ended_is_ended_until_it_is_gone() {
    for reason in [EndReason::Budget, EndReason::Cancelled, EndReason::Silent] {
        let seen = RunObservation {
            ended_by: Some(reason),
            ..seen()
        };
        assert_eq!(
            decide(&codex(), &said(&[well()]), &seen),
            EndDecision::EndNow(reason)
        );
    }
}

#[test]
fn a_success_that_exits_badly_is_not_clean() {
    let done = said(&[well()]);
    for (exit, expected) in [
        (Exit::Code(0), true),
        (Exit::Code(1), false),
        (Exit::Signal(11), false),
    ] {
        match decide(&codex(), &done, &after(exit)) {
            EndDecision::Ended(RunEnd::Succeeded { clean, .. }) => assert_eq!(clean, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_programs_own_reason_counts_before_its_exit_code() {
    let mut parser = codex().stream(&LaunchRequest::new(Brief::Text(String::new()), "/w", "/h"));
    parser.feed(FAILED);
    fails(
        &codex(),
        parser.summary(),
        &after(Exit::Code(1)),
        FailureClass::ModelNotFound,
    );
}

#[test]
fn a_limit_that_refused_work_says_when_to_come_back() {
    let at = Timestamp::from_millis(5000);
    let summary = said(&[
        AgentEvent::RateLimit(RateLimit {
            provider: "anthropic",
            window: "five_hour".to_owned(),
            status: RateLimitStatus::Rejected,
            used_thousandths: None,
            resets_at: Some(at),
        }),
        AgentEvent::Finished(Finished {
            failure: Some(Failure::new(FailureClass::RateLimited { until: None }, "limit")),
            final_text: None,
        }),
    ]);
    fails(
        &claude(),
        &summary,
        &after(Exit::Code(1)),
        FailureClass::RateLimited { until: Some(at) },
    );
}

#[test]
fn without_a_word_the_exit_tells_why() {
    let cases = [
        (Exit::Code(0), "", FailureClass::NoResult),
        (Exit::Code(1), "", FailureClass::Crashed),
        (
            Exit::Code(1),
            "rate limit\nError: Not logged in\n\n",
            FailureClass::Authentication,
        ),
        (Exit::Code(1), "Connection refused\nbye\n", FailureClass::Network),
        (Exit::Code(127), "sh: codex: not found", FailureClass::ToolMissing),
        (Exit::Code(126), "", FailureClass::ToolMissing),
        (Exit::Code(137), "", FailureClass::Killed),
        (Exit::Code(139), "", FailureClass::Crashed),
        (Exit::Signal(15), "", FailureClass::Killed),
        (Exit::Signal(6), "", FailureClass::Crashed),
        (Exit::OutOfMemory, "", FailureClass::OutOfMemory),
        (Exit::NotFound, "", FailureClass::ToolMissing),
        (Exit::Lost, "", FailureClass::Killed),
    ];
    for (exit, stderr_tail, class) in cases {
        let seen = RunObservation {
            stderr_tail,
            ..after(exit)
        };
        fails(&codex(), &StreamSummary::default(), &seen, class);
    }
}

#[test]
fn what_it_was_ended_for_is_why_it_failed() {
    for (reason, class) in [
        (EndReason::Silent, FailureClass::Silent),
        (EndReason::TimedOut, FailureClass::TimedOut),
        (EndReason::Budget, FailureClass::Budget),
        (EndReason::Cancelled, FailureClass::Killed),
    ] {
        let seen = RunObservation {
            ended_by: Some(reason),
            ..after(Exit::Code(0))
        };
        fails(
            &command(CommandOutput::Lines),
            &StreamSummary::default(),
            &seen,
            class,
        );
    }
}

#[test]
fn a_program_that_only_tries_again_gives_no_sign_of_life_and_failed_for_its_reason() {
    let mut parser = codex().stream(&LaunchRequest::new(Brief::Text(String::new()), "/w", "/h"));
    parser.feed(NETWORK);
    let signs = parser.counts().signs_of_life;
    parser.feed(
        NETWORK
            .split_inclusive(|byte| *byte == b'\n')
            .next_back()
            .unwrap(),
    );
    assert_eq!(parser.counts().signs_of_life, signs);
    let seen = RunObservation {
        ended_by: Some(EndReason::Silent),
        ..after(Exit::Signal(9))
    };
    fails(&codex(), parser.summary(), &seen, FailureClass::Network);
}

#[test]
fn a_plain_command_ends_as_it_exits() {
    let summary = said(&[AgentEvent::Message {
        text: "mended".to_owned(),
        subagent: false,
    }]);
    assert_eq!(
        decide(&command(CommandOutput::Lines), &summary, &after(Exit::Code(0))),
        EndDecision::Ended(RunEnd::Succeeded {
            final_text: Some("mended".to_owned()),
            clean: true
        })
    );
    fails(
        &command(CommandOutput::Lines),
        &summary,
        &after(Exit::Code(3)),
        FailureClass::Crashed,
    );
    let says = command(CommandOutput::Json(Box::new(LineMapping {
        result: Some("/done".to_owned()),
        ..LineMapping::default()
    })));
    fails(&says, &summary, &after(Exit::Code(0)), FailureClass::NoResult);
}

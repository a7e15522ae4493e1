//! Whole days under every policy.

use gantry_core::queue::planner::{PATIENCE, Policy, Settings};

use crate::*;

const ALL: [Policy; 5] = [
    Policy::Priced,
    Policy::Serial,
    Policy::Batch,
    Policy::Optimistic,
    Policy::BestFirst,
];

fn settings(policy: Policy) -> Settings {
    Settings {
        policy,
        batch_max: 16,
        slots: 0,
        patience: PATIENCE,
        independent: false,
    }
}

fn day(seed: u64) -> Day {
    Day {
        slots: 4,
        arrivals_per_hour: 30.0,
        check_minutes: 6.0,
        bad: 0.1,
        pair_conflict: 0.02,
        changes: 60,
        seed,
        hint: 0.9,
        flake: 0.0,
    }
}

fn days(flake: f64) -> impl Iterator<Item = (Policy, Day, Outcome)> {
    ALL.into_iter().flat_map(move |policy| {
        (0..6).map(move |seed| {
            let day = Day { flake, ..day(seed) };
            (
                policy,
                day,
                simulate(&Scenario::synthetic(&day), settings(policy)),
            )
        })
    })
}

#[test]
fn there_are_never_more_builds_than_slots() {
    for (policy, day, outcome) in days(0.0) {
        assert!(outcome.most_running <= day.slots, "{policy:?} {day:?}");
    }
}

#[test]
fn nothing_red_lands_under_any_policy() {
    for (policy, day, outcome) in days(0.0).chain(days(0.03)) {
        assert_eq!(outcome.red_landings, 0, "{policy:?} {day:?}");
    }
}

#[test]
fn every_change_is_decided_under_any_policy() {
    for (policy, day, outcome) in days(0.0).chain(days(0.03)) {
        assert_eq!(outcome.waits.len(), day.changes, "{policy:?} {day:?}");
    }
}

#[test]
fn no_innocent_change_is_sent_back_where_no_check_flakes() {
    for (policy, day, outcome) in days(0.0) {
        assert_eq!(outcome.wronged, 0, "{policy:?} {day:?}");
    }
}

#[test]
fn changes_land_in_the_order_they_were_offered() {
    for (policy, day, outcome) in days(0.0) {
        assert!(outcome.landed.is_sorted(), "{policy:?} {day:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    for policy in ALL {
        assert_eq!(
            simulate(&Scenario::synthetic(&day(3)), settings(policy)),
            simulate(&Scenario::synthetic(&day(3)), settings(policy))
        );
    }
    let day = Scenario::synthetic(&day(3));
    assert_eq!(oracle(&day), oracle(&day));
}

fn line(at_s: u32, rest: &str) -> String {
    format!("{{\"at_s\":{at_s},\"duration_s\":300,{rest}}}\n")
}

#[test]
fn a_recorded_day_is_decided_as_it_was_recorded() {
    let text = [
        line(0, r#""ok":true,"conflicts_with":[]"#),
        line(
            10,
            r#""ok":false,"conflicts_with":[],"author":"ann","paths":["a","b"]"#,
        ),
        line(20, r#""ok":true,"conflicts_with":[1]"#),
        line(30, r#""ok":true,"conflicts_with":[],"paths":[],"author":null"#),
    ];
    let trace = Trace::parse(&text.concat()).expect("four offers");
    let day = Scenario::recorded(&trace, 2);
    for policy in ALL {
        let outcome = simulate(&day, settings(policy));
        assert_eq!(outcome.landed, vec![0, 3], "{policy:?}");
        assert_eq!(outcome.bounced.len(), 2, "{policy:?}");
        assert_eq!((outcome.red_landings, outcome.wronged), (0, 0), "{policy:?}");
    }
    assert_eq!(oracle(&day).landed, vec![0, 3]);
    assert_eq!(oracle(&day).bounced, vec![1, 2]);
}

#[test]
fn changes_that_were_not_pending_together_do_not_clash() {
    let text = [
        line(0, r#""ok":true,"conflicts_with":[2]"#),
        line(9000, r#""ok":true,"conflicts_with":[]"#),
    ];
    let trace = Trace::parse(&text.concat()).expect("two offers");
    let day = Scenario::recorded(&trace, 2);
    assert_eq!(simulate(&day, settings(Policy::Priced)).landed, vec![0, 1]);
    assert_eq!(oracle(&day).landed, vec![0, 1]);
}

#[test]
fn a_serial_queue_needs_the_sum_of_the_durations() {
    let text: String = (0..6)
        .map(|_| line(0, r#""ok":true,"conflicts_with":[]"#))
        .collect();
    let trace = Trace::parse(&text).expect("six offers");
    let span = serial(&Scenario::recorded(&trace, 4)).span_minutes;
    assert!((span - 30.0).abs() < 1e-6, "{span}");
}

#[test]
fn an_error_in_a_trace_names_the_line_and_the_field() {
    let good = line(0, r#""ok":true,"conflicts_with":[]"#);
    let text = |bad: &str| match Trace::parse(&format!("{good}\n{bad}")) {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    };
    let errors = [
        text("nonsense"),
        text("[1]"),
        text(r#"{"duration_s":1,"ok":true}"#),
        text(r#"{"at_s":0,"duration_s":-1,"ok":true}"#),
        text(r#"{"at_s":0,"duration_s":1,"ok":"yes"}"#),
        text(r#"{"at_s":0,"duration_s":1,"ok":true,"conflicts_with":["a"]}"#),
        text(r#"{"at_s":0,"duration_s":1,"ok":true,"conflicts_with":[2]}"#),
        text(r#"{"at_s":0,"duration_s":1,"ok":true,"conflict":[1]}"#),
        text(r#"{"at_s":0,"duration_s":1,"ok":true,"author":7}"#),
    ];
    let expected = [
        "line 3: not a JSON object: expected ident at line 1 column 2",
        "line 3: not a JSON object: it is a list of something else",
        "line 3: `at_s` is missing",
        "line 3: `duration_s` must be a number of seconds, not negative, not -1",
        "line 3: `ok` must be true or false, not \"yes\"",
        "line 3: `conflicts_with` must be a list of line numbers, not a list of something else",
        "line 3: `conflicts_with` names line 2, which holds no other offer",
        "line 3: `conflict` is no field of a trace; there are at_s, duration_s, ok, conflicts_with, paths, author",
        "line 3: `author` must be a text, not 7",
    ];
    assert_eq!(errors, expected);
    assert_eq!(Trace::parse("\n"), Err(TraceError::Empty));
}

#[test]
fn policies_are_compared_with_the_oracle_of_the_same_days() {
    let days: Vec<Scenario> = (0..2).map(|seed| Scenario::synthetic(&day(seed))).collect();
    let rows = compare(&days, settings(Policy::Priced), &[Policy::Priced, Policy::Serial]);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2].contender, Contender::Oracle);
    assert!(rows[0].p95_minutes < rows[1].p95_minutes);
    for row in rows {
        let bound = row.p50_minutes / row.p50_of_oracle;
        let mean = days.iter().map(|d| oracle(d).percentile(0.5)).sum::<f64>() / 2.0;
        assert!((bound - mean).abs() < 1e-6);
        assert!(row.decided_per_hour > 0.0 && row.red_landings == 0);
    }
}

#[test]
fn more_patience_buys_shorter_waits_for_more_builds() {
    let days: Vec<Scenario> = (0..4).map(|seed| Scenario::synthetic(&day(seed))).collect();
    let points = curve(&days, settings(Policy::Priced), &[0.25, 16.0]);
    assert!(points[0].p50_minutes > points[1].p50_minutes, "{points:?}");
    assert!(
        points[0].processor_minutes < points[1].processor_minutes,
        "{points:?}"
    );
}

#[test]
fn the_curve_is_one_closed_document_whatever_the_points() {
    let point = |patience: f64, builds_per_change: f64, minutes: f64| Point {
        patience,
        p50_minutes: minutes,
        p95_minutes: 3.0 * minutes,
        builds_per_change,
        processor_minutes: 6.0,
    };
    let points = [point(1.0, 1.1, 12.0), point(4.0, 1.6, 6.4)];
    for points in [&points[..], &points[..1], &[], &[point(1.0, 1.0, 0.0)]] {
        let svg = curve_svg(points);
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle").count(), 2 * points.len());
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
        assert!(svg.contains("prefers-color-scheme:dark"));
    }
}

#[test]
fn a_day_with_bars_in_reach_stays_within_them() {
    let busy = Day {
        slots: 8,
        arrivals_per_hour: 40.0,
        pair_conflict: 0.005,
        changes: 200,
        ..day(0)
    };
    let full = Day {
        slots: 4,
        arrivals_per_hour: 60.0,
        bad: 0.05,
        pair_conflict: 0.001,
        ..busy
    };
    let priced = |day: Day| {
        let days: Vec<Scenario> = (0..4)
            .map(|seed| Scenario::synthetic(&Day { seed, ..day }))
            .collect();
        compare(&days, settings(Policy::Priced), &[Policy::Priced])[0]
    };
    let busy = priced(busy);
    assert!(
        busy.p50_of_oracle <= 1.10 && busy.p95_of_oracle <= 1.5,
        "{busy:?}"
    );
    assert!(busy.builds_per_change <= 1.6, "{busy:?}");
    let full = priced(full);
    assert!(
        full.p95_minutes <= 60.0 && full.builds_per_change <= 0.75,
        "{full:?}"
    );
}

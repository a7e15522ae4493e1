//! Single decisions of the planner.

use std::time::Duration;

use super::*;

pub(super) fn item(number: u64) -> Item {
    Item {
        change: ChangeId::new(number),
        offered_at: Timestamp::from_millis(0),
        priority: Priority::Normal,
        solo: false,
        after: Vec::new(),
        conflicts_with: Vec::new(),
        stack: None,
        pass_probability: 0.9,
        landed_since: 0,
        footprint: Vec::new(),
    }
}

pub(super) fn ids(numbers: &[u64]) -> Vec<ChangeId> {
    numbers.iter().copied().map(ChangeId::new).collect()
}

pub(super) fn build(number: u64, members: &[u64], progress: BuildProgress) -> BuildView {
    BuildView {
        build: BuildId::new(number),
        members: ids(members),
        missing: Vec::new(),
        on_tip: true,
        progress,
    }
}

pub(super) fn view<'a>(items: &'a [Item], builds: &'a [BuildView], policy: Policy) -> QueueView<'a> {
    QueueView {
        now: Timestamp::from_millis(0),
        items,
        builds,
        tip_is_green: true,
        rates: BaseRates {
            bad: 0.1,
            pair_conflict: 0.0,
            flake: 0.0,
            arrivals_per_hour: 10.0,
        },
        check_time: CheckTime {
            median: Duration::from_mins(6),
            sigma: 0.35,
        },
        settings: Settings {
            policy,
            batch_max: 8,
            slots: 6,
            patience: PATIENCE,
            independent: false,
        },
    }
}

pub(super) const ALL: [Policy; 5] = [
    Policy::Priced,
    Policy::Serial,
    Policy::Batch,
    Policy::Optimistic,
    Policy::BestFirst,
];

pub(super) fn started(steps: &[Step]) -> Vec<Vec<ChangeId>> {
    let members = |step: &Step| match step {
        Step::Start { members, .. } => Some(members.clone()),
        _ => None,
    };
    steps.iter().filter_map(members).collect()
}

#[test]
fn the_longest_passed_front_lands() {
    let items = [item(1), item(2), item(3)];
    let builds = [
        build(1, &[1], BuildProgress::Passed),
        build(2, &[1, 2], BuildProgress::Passed),
        build(3, &[3], BuildProgress::Passed),
    ];
    let land = Step::Land {
        build: BuildId::new(2),
    };
    assert_eq!(plan(&view(&items, &builds, Policy::Priced)), vec![land]);
}

#[test]
fn an_innocent_on_top_of_a_bad_one_is_not_blamed() {
    let items = [item(1), item(2)];
    let builds = [
        build(1, &[1, 2], BuildProgress::Failed),
        build(2, &[2], BuildProgress::Failed),
    ];
    for policy in ALL {
        let steps = plan(&view(&items, &builds, policy));
        assert!(
            !steps.iter().any(|s| matches!(s, Step::Bounce { .. })),
            "{policy:?}"
        );
        assert!(started(&steps).contains(&ids(&[1])), "{policy:?} {steps:?}");
    }
}

#[test]
fn a_single_that_may_have_flaked_is_retried_before_it_is_blamed() {
    let items = [item(1)];
    let mut builds = vec![build(1, &[1], BuildProgress::Failed)];
    for policy in ALL {
        let mut view = view(&items, &builds, policy);
        view.rates.flake = 0.02;
        let retry = Step::Start {
            members: ids(&[1]),
            purpose: Purpose::Retry,
        };
        assert_eq!(plan(&view), vec![retry], "{policy:?}");
    }
    builds.push(build(2, &[1], BuildProgress::Failed));
    let mut view = view(&items, &builds, Policy::Priced);
    view.rates.flake = 0.02;
    assert!(matches!(plan(&view)[..], [Step::Bounce { .. }]));
}

#[test]
fn a_single_that_timed_out_once_is_retried() {
    let items = [item(1)];
    let builds = [build(1, &[1], BuildProgress::TimedOut)];
    let steps = plan(&view(&items, &builds, Policy::Priced));
    assert_eq!(started(&steps), vec![ids(&[1])]);
}

#[test]
fn a_broken_base_blames_nobody() {
    let items = [item(1), item(2)];
    let mut builds = vec![build(1, &[1], BuildProgress::Failed)];
    for policy in ALL {
        let mut view = view(&items, &builds, policy);
        view.tip_is_green = false;
        assert!(started(&plan(&view)).contains(&Vec::new()), "{policy:?}");
    }
    builds.push(build(2, &[], BuildProgress::Failed));
    for policy in ALL {
        let mut view = view(&items, &builds, policy);
        view.tip_is_green = false;
        let steps = plan(&view);
        assert!(!steps.iter().any(|s| matches!(s, Step::Bounce { .. })));
    }
}

#[test]
fn a_solo_change_shares_no_candidate() {
    let mut items = [item(1), item(2), item(3)];
    items[1].solo = true;
    for policy in ALL {
        for members in started(&plan(&view(&items, &[], policy))) {
            assert!(members.len() == 1 || !members.contains(&ChangeId::new(2)));
        }
    }
}

#[test]
fn a_dependant_is_built_only_behind_its_prerequisite() {
    let mut items = [item(1), item(2), item(3)];
    items[2].after = ids(&[1]);
    for policy in ALL {
        for members in started(&plan(&view(&items, &[], policy))) {
            assert!(!members.contains(&ChangeId::new(3)) || members.contains(&ChangeId::new(1)));
        }
    }
}

#[test]
fn textual_conflicts_are_never_in_one_candidate() {
    let mut items = [item(1), item(2), item(3)];
    items[2].conflicts_with = ids(&[1]);
    for policy in ALL {
        for members in started(&plan(&view(&items, &[], policy))) {
            assert!(!members.contains(&ChangeId::new(3)) || !members.contains(&ChangeId::new(1)));
        }
    }
}

#[test]
fn a_green_build_does_not_hide_the_failure_of_its_front() {
    let items = [item(1), item(2)];
    let mut builds = vec![
        build(1, &[1], BuildProgress::Failed),
        build(2, &[1, 2], BuildProgress::Passed),
    ];
    for policy in ALL {
        let steps = plan(&view(&items, &builds, policy));
        assert_eq!(started(&steps)[0], ids(&[1]), "{policy:?}: judged again first");
    }
    builds.push(build(3, &[1], BuildProgress::Failed));
    for policy in ALL {
        let steps = plan(&view(&items, &builds, policy));
        assert!(matches!(steps[..], [Step::Bounce { .. }]), "{policy:?} {steps:?}");
    }
}

#[test]
fn a_failure_that_the_same_members_contradict_is_a_flake() {
    let items = [item(1), item(2)];
    let builds = [
        build(1, &[1], BuildProgress::Failed),
        build(2, &[1, 2], BuildProgress::Passed),
        build(3, &[1], BuildProgress::Passed),
    ];
    let land = Step::Land {
        build: BuildId::new(2),
    };
    assert_eq!(plan(&view(&items, &builds, Policy::Priced)), vec![land]);
}

#[test]
fn a_failed_front_of_several_is_split_before_what_is_behind_it_lands() {
    let items = [item(1), item(2), item(3)];
    let builds = [
        build(1, &[1, 2], BuildProgress::Failed),
        build(2, &[1, 2, 3], BuildProgress::Passed),
    ];
    for policy in ALL {
        let steps = plan(&view(&items, &builds, policy));
        assert_eq!(started(&steps)[0], ids(&[1]), "{policy:?} {steps:?}");
    }
}

#[test]
fn a_change_that_timed_out_twice_needs_a_green_base_to_be_sent_back() {
    let items = [item(1)];
    let builds = [
        build(1, &[1], BuildProgress::TimedOut),
        build(2, &[1], BuildProgress::TimedOut),
    ];
    let mut unsure = view(&items, &builds, Policy::Priced);
    unsure.tip_is_green = false;
    assert_eq!(started(&plan(&unsure))[0], Vec::new(), "a control run");
    let blame = Blame::TimedOut {
        build: BuildId::new(2),
    };
    let change = ChangeId::new(1);
    assert_eq!(
        plan(&view(&items, &builds, Policy::Priced)),
        vec![Step::Bounce { change, blame }]
    );
}

#[test]
fn a_control_that_times_out_is_not_run_for_ever() {
    let items = [item(1)];
    let builds = [
        build(1, &[1], BuildProgress::Failed),
        build(2, &[], BuildProgress::TimedOut),
    ];
    let mut view = view(&items, &builds, Policy::Priced);
    view.tip_is_green = false;
    assert_eq!(base_is_broken(&view), Some(BuildId::new(2)));
    assert_eq!(plan(&view), Vec::new());
}

#[test]
fn one_failed_control_of_a_flaky_gate_does_not_make_a_base_broken() {
    let items = [item(1)];
    let builds = [
        build(1, &[1], BuildProgress::Failed),
        build(2, &[], BuildProgress::Failed),
    ];
    let mut view = view(&items, &builds, Policy::Priced);
    view.tip_is_green = false;
    view.rates.flake = 0.02;
    assert_eq!(base_is_broken(&view), None);
    assert!(started(&plan(&view)).contains(&Vec::new()));
}

#[test]
fn a_change_that_passed_without_a_landed_one_is_blamed_together_with_it() {
    let items = [item(2)];
    let earlier = BuildView {
        missing: ids(&[1]),
        on_tip: false,
        ..build(1, &[2], BuildProgress::Passed)
    };
    let builds = [earlier, build(2, &[2], BuildProgress::Failed)];
    let blame = Blame::Together {
        build: BuildId::new(2),
        passed: BuildId::new(1),
        with: ids(&[1]),
    };
    for policy in ALL {
        let change = ChangeId::new(2);
        let blame = blame.clone();
        assert_eq!(
            plan(&view(&items, &builds, policy)),
            vec![Step::Bounce { change, blame }]
        );
    }
}

#[test]
fn builds_on_earlier_tips_narrow_down_the_partner() {
    let off_tip = |number, missing: &[u64], progress| BuildView {
        missing: ids(missing),
        on_tip: false,
        ..build(number, &[9], progress)
    };
    let items = [item(9)];
    let builds = [
        off_tip(1, &[1, 2, 3, 4], BuildProgress::Passed),
        off_tip(2, &[2, 3, 4], BuildProgress::Passed),
        off_tip(3, &[4], BuildProgress::Failed),
        build(4, &[9], BuildProgress::Failed),
    ];
    let steps = plan(&view(&items, &builds, Policy::Priced));
    let [
        Step::Bounce {
            blame: Blame::Together { with, .. },
            ..
        },
    ] = &steps[..]
    else {
        panic!("{steps:?}");
    };
    assert_eq!(*with, ids(&[2, 3]));
}

#[test]
fn the_partner_is_found_by_halving_the_landings() {
    let landed = ids(&[1, 2, 3, 4, 5, 6, 7]);
    for partner in 0..=landed.len() {
        let mut verdicts = Vec::new();
        let answer = loop {
            match tell_apart(&landed, &verdicts) {
                Apart::Build { landings } => verdicts.push((landings, landings < partner)),
                answer => break answer,
            }
            assert!(verdicts.len() <= 4, "{verdicts:?}");
        };
        let expected = match partner {
            0 => Apart::Alone,
            _ => Apart::With(landed[partner - 1]),
        };
        assert_eq!(answer, expected);
    }
    assert_eq!(tell_apart(&[], &[]), Apart::Alone);
}

#[test]
fn followers_of_a_doomed_build_restart_at_once_and_nobody_is_judged_before_it_ends() {
    let items = [item(1), item(2)];
    let started_at = Timestamp::from_millis(0);
    let builds = [
        build(1, &[1], BuildProgress::Doomed { started_at }),
        build(2, &[1, 2], BuildProgress::Running { started_at }),
    ];
    for policy in [Policy::Priced, Policy::Optimistic, Policy::BestFirst] {
        let steps = plan(&view(&items, &builds, policy));
        let cancel = Step::Cancel {
            build: BuildId::new(2),
        };
        assert!(steps.contains(&cancel), "{policy:?} {steps:?}");
        assert_eq!(started(&steps), vec![ids(&[2])], "{policy:?}");
    }
    for policy in ALL {
        let steps = plan(&view(&items, &builds[..1], policy));
        let undecided = |s: &Step| matches!(s, Step::Start { .. });
        assert!(steps.iter().all(undecided), "{policy:?} {steps:?}");
    }
}

#[test]
fn a_doomed_build_keeps_its_slot_until_it_ends() {
    let items = [item(1), item(2)];
    let started_at = Timestamp::from_millis(0);
    let builds = [build(1, &[1], BuildProgress::Doomed { started_at })];
    for policy in ALL {
        let mut view = view(&items, &builds, policy);
        view.settings.slots = 1;
        assert_eq!(plan(&view), Vec::new(), "{policy:?}");
    }
}

#[test]
fn a_green_build_waits_for_its_doomed_front() {
    let items = [item(1), item(2)];
    let started_at = Timestamp::from_millis(0);
    let builds = [
        build(1, &[1], BuildProgress::Doomed { started_at }),
        build(2, &[1, 2], BuildProgress::Passed),
    ];
    for policy in ALL {
        let steps = plan(&view(&items, &builds, policy));
        assert!(
            !steps.iter().any(|s| matches!(s, Step::Land { .. })),
            "{policy:?}"
        );
    }
}

#[test]
fn an_independent_change_overtakes_unless_that_voids_most_of_a_build_ahead() {
    let mut items = [item(1), item(2)];
    items[0].footprint = vec![1];
    items[1].footprint = vec![2];
    let started_at = Timestamp::from_millis(0);
    let builds = [
        build(1, &[1], BuildProgress::Running { started_at }),
        build(2, &[2], BuildProgress::Passed),
    ];
    let lands = |now_minutes: i64, independent: bool| {
        let mut view = view(&items, &builds, Policy::Priced);
        view.now = Timestamp::from_millis(now_minutes * 60_000);
        view.settings.independent = independent;
        matches!(plan(&view)[..], [Step::Land { .. }])
    };
    assert!(lands(1, true));
    assert!(!lands(4, true), "the build ahead is more than half done");
    assert!(!lands(1, false));
}

#[test]
fn an_item_that_shares_a_path_or_names_none_does_not_overtake() {
    let builds = [build(2, &[2], BuildProgress::Passed)];
    for (ahead, behind) in [(vec![1, 2], vec![2, 3]), (vec![], vec![2]), (vec![1], vec![])] {
        let mut items = [item(1), item(2)];
        items[0].footprint = ahead;
        items[1].footprint = behind;
        let mut view = view(&items, &builds, Policy::Priced);
        view.settings.independent = true;
        assert!(!plan(&view).iter().any(|s| matches!(s, Step::Land { .. })));
    }
}

#[test]
fn more_patience_never_starts_fewer_builds_of_a_fresh_queue() {
    let items: Vec<Item> = (1..=8).map(item).collect();
    let starts = |patience: f64| {
        let mut view = view(&items, &[], Policy::Priced);
        view.settings.patience = patience;
        started(&plan(&view)).len()
    };
    let counts: Vec<usize> = [0.0, 0.25, 1.0, 4.0, 16.0].map(starts).to_vec();
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts[0], 1, "without patience only what is certain is built");
}

#[test]
fn a_suspect_shares_no_new_group() {
    let mut items: Vec<Item> = (1..=6).map(item).collect();
    items[3].pass_probability = 0.1;
    let mut view = view(&items, &[], Policy::Priced);
    view.settings.slots = 1;
    assert_eq!(started(&plan(&view)), vec![ids(&[1, 2, 3])]);
}

#[test]
fn an_urgent_change_takes_the_slot_of_a_doomed_build_that_does_not_hold_it() {
    let mut items = [item(9), item(1)];
    items[0].priority = Priority::Urgent;
    let started_at = Timestamp::from_millis(0);
    for (members, yields) in [(&[1][..], true), (&[9, 1], false)] {
        let builds = [build(1, members, BuildProgress::Doomed { started_at })];
        let mut view = view(&items, &builds, Policy::Priced);
        view.settings.slots = 1;
        assert_eq!(started(&plan(&view)) == vec![ids(&[9])], yields, "{members:?}");
    }
}

//! Single decisions of the planner.

use std::time::Duration;

use super::*;

fn item(number: u64) -> Item {
    Item {
        change: ChangeId::new(number),
        offered_at: Timestamp::from_millis(0),
        priority: Priority::Normal,
        solo: false,
        after: Vec::new(),
        conflicts_with: Vec::new(),
        stack: None,
        pass_probability: 0.9,
        footprint: Vec::new(),
    }
}

fn ids(numbers: &[u64]) -> Vec<ChangeId> {
    numbers.iter().copied().map(ChangeId::new).collect()
}

fn build(number: u64, members: &[u64], progress: BuildProgress) -> BuildView {
    BuildView {
        build: BuildId::new(number),
        members: ids(members),
        on_tip: true,
        progress,
    }
}

fn view<'a>(items: &'a [Item], builds: &'a [BuildView], policy: Policy) -> QueueView<'a> {
    QueueView {
        now: Timestamp::from_millis(0),
        items,
        builds,
        tip_is_green: true,
        rates: BaseRates {
            bad: 0.1,
            pair_conflict: 0.0,
            flake: 0.0,
        },
        check_time: CheckTime {
            median: Duration::from_mins(6),
            sigma: 0.35,
        },
        settings: Settings {
            policy,
            batch_max: 8,
            slots: 6,
            patience: 4.0,
            independent: false,
        },
    }
}

const ALL: [Policy; 5] = [
    Policy::Priced,
    Policy::Serial,
    Policy::Batch,
    Policy::Optimistic,
    Policy::BestFirst,
];

fn started(steps: &[Step]) -> Vec<Vec<ChangeId>> {
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

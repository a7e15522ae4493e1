//! The runner of workflows, in boxes that are folders of the host.

mod support;

use gantry_adapters::engine::OpenError;
use gantry_core::queue::build::{Ending, Trouble};
use gantry_workflow::graph::Conclusion;

use gantry_workflow::support::{FEATURES, render_table};
use support::proof::{self, Proof, render};
use support::world::{World, job, log_of};

#[test]
fn two_steps_of_one_job_run_in_order_in_one_box() {
    let world = World::default();
    let report = world.run_one(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo one > file; echo \"A=1\" >> $GITHUB_ENV\n      - run: test \"$(cat file) $A\" = 'one 1' && echo done\n",
    );
    let ended = job(&report, "a");
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", log_of(ended));
    assert_eq!(report.ending(), Ending::Passed);
    assert!(log_of(ended).ends_with("done\n"), "{}", log_of(ended));
    assert_eq!(
        world.engine.opened.lock().expect("nobody panics with it").len(),
        1
    );
}

/// Each workflow in `tests/workflows` asserts inside what its steps see; what came of it stands beside it.
#[test]
fn every_workflow_of_the_table_ends_as_the_file_beside_it_says() {
    let mut wrong = Vec::new();
    for proof in Proof::all().iter().filter(|proof| !proof.is_only_called()) {
        let (_world, report) = proof.run();
        let shown = render(&report);
        let beside = proof::folder().join(format!("{}.expected", proof.name));
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if shown != expected {
            let logs = report
                .workflows
                .iter()
                .flat_map(|workflow| &workflow.jobs)
                .filter(|job| job.log.is_some());
            let logs: Vec<String> = logs
                .map(|job| format!("--- log of {}\n{}", job.name, log_of(job)))
                .collect();
            wrong.push(format!(
                "=== {}\n{shown}=== expected\n{expected}{}",
                proof.name,
                logs.concat()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_features_names_a_workflow_for_each_row_and_is_the_one_in_the_docs() {
    let proofs = Proof::all();
    let proof_of = |feature: &str| {
        let proves = |proof: &&Proof| proof.features().iter().any(|said| names(said, feature));
        let found = proofs.iter().find(proves)?;
        Some(format!("[{0}](../tests/workflows/{0}.yml)", found.name))
    };
    for row in FEATURES {
        assert!(proof_of(row.name).is_some(), "no workflow proves {}", row.name);
    }
    let table = render_table(proof_of);
    let docs = std::fs::read_to_string(proof::folder().join("../../docs/workflows.md")).expect("it is there");
    assert!(
        docs.contains(&table),
        "docs/workflows.md does not hold this table:\n{table}"
    );
}

/// A `proves` line lists names by commas; some names have commas in them.
fn names(said: &str, feature: &str) -> bool {
    format!(", {said}, ").contains(&format!(", {feature}, "))
}

#[test]
fn a_box_that_cannot_be_opened_or_asks_too_much_blames_nobody() {
    let text = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: exit 1\n";
    let cases = [
        (
            OpenError::Trouble(Trouble::OutOfDisk, "full".into()),
            Ending::Trouble(Trouble::OutOfDisk),
        ),
        (
            OpenError::Unsupported("no network".into()),
            Ending::Trouble(Trouble::CouldNotStart),
        ),
        (OpenError::Refused("no such path".into()), Ending::Failed),
    ];
    for (error, ending) in cases {
        let mut world = World::default();
        world.engine.refuses = Some(error.clone());
        let report = world.run_one(text);
        assert_eq!(report.ending(), ending, "{error:?}");
        assert_eq!(job(&report, "a").detail, error.to_string());
    }
}

#[test]
fn a_time_limit_is_no_verdict_and_a_failure_is() {
    let step = |script: &str| {
        let text = format!(
            "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: {script}\n        timeout-minutes: 0.002\n"
        );
        World::default().run_one(&text).ending()
    };
    assert_eq!(step("sleep 60"), Ending::TimedOut);
    assert_eq!(step("exit 1"), Ending::Failed);
}

#[test]
fn a_cancel_ends_the_step_that_runs_and_lets_those_clean_up_that_want_to() {
    let world = World::default();
    let control = world.control.clone();
    let text = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo started; sleep 600\n      - run: exit 1\n      - if: cancelled()\n        run: echo cleaned\n  b:\n    needs: a\n    runs-on: ubuntu-latest\n    steps:\n      - run: exit 1\n";
    let report = std::thread::scope(|scope| {
        let run = scope.spawn(|| world.run_one(text));
        while world
            .engine
            .commands
            .lock()
            .expect("nobody panics with it")
            .is_empty()
        {
            std::thread::yield_now();
        }
        control.cancel();
        run.join().expect("it ends")
    });
    assert_eq!(report.ending(), Ending::Cancelled);
    let ended = job(&report, "a");
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    let steps: Vec<_> = ended.steps.iter().map(|step| step.outcome).collect();
    assert_eq!(
        steps,
        [Conclusion::Cancelled, Conclusion::Skipped, Conclusion::Success],
        "{}",
        log_of(ended)
    );
    assert!(log_of(ended).contains("cleaned\n"));
    assert_ne!(job(&report, "b").conclusion, Conclusion::Success);
    assert_eq!(
        world.engine.opened.lock().expect("nobody panics with it").len(),
        1
    );
}

#[test]
fn no_more_boxes_live_at_once_than_there_are_slots_and_a_step_is_one_command() {
    let world = World {
        slots: 2,
        ..World::default()
    };
    let text = "on: push\njobs:\n  a:\n    strategy:\n      matrix:\n        n: [1, 2, 3, 4, 5, 6]\n    runs-on: ubuntu-latest\n    steps:\n      - run: exit 0\n      - run: exit 0\n";
    assert_eq!(world.run_one(text).ending(), Ending::Passed);
    assert!(world.engine.living.lock().expect("nobody panics with it").1 <= 2);
    assert_eq!(
        world.engine.opened.lock().expect("nobody panics with it").len(),
        6
    );
    assert_eq!(
        world.engine.commands.lock().expect("nobody panics with it").len(),
        12
    );
}

#[test]
fn no_secret_is_in_anything_a_run_leaves_or_tells() {
    let proof = Proof::all()
        .into_iter()
        .find(|proof| proof.name == "commands")
        .expect("it is there");
    let (world, report) = proof.run();
    let mut texts = vec![
        format!("{report:?}"),
        world.told.lock().expect("nobody panics with it").join("\n"),
    ];
    let mut folders = vec![world.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it is read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                texts.push(String::from_utf8_lossy(&std::fs::read(path).expect("it is read")).into_owned());
            }
        }
    }
    assert!(texts.len() > 4, "logs and a summary are among them");
    for text in &texts {
        assert!(
            !text.contains("hunter2") && !text.contains("swordfish99"),
            "{text}"
        );
    }
    assert!(texts.iter().any(|text| text.contains("*** and ***")));
}

#[test]
fn a_newer_run_of_a_group_cancels_the_one_in_progress() {
    let text = "on: push\nconcurrency: {group: g, cancel-in-progress: true}\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: SCRIPT\n";
    let first = World::default();
    let second = World {
        groups: first.groups.clone(),
        ..World::default()
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| first.run_one(&text.replace("SCRIPT", "sleep 600")).ending());
        while first
            .engine
            .commands
            .lock()
            .expect("nobody panics with it")
            .is_empty()
        {
            std::thread::yield_now();
        }
        assert_eq!(
            second.run_one(&text.replace("SCRIPT", "exit 0")).ending(),
            Ending::Passed
        );
        assert_eq!(running.join().expect("it ends"), Ending::Cancelled);
    });
}

#[test]
fn a_box_that_breaks_in_a_step_runs_nothing_more_and_blames_nobody() {
    let mut world = World::default();
    world.engine.breaks = Some((2, Trouble::Interrupted));
    let steps = "    steps:\n      - run: exit 0\n      - run: exit 0\n        continue-on-error: true\n      - if: always()\n        run: exit 1\n";
    let report = world.run_one(&format!(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n{steps}"
    ));
    assert_eq!(report.ending(), Ending::Trouble(Trouble::Interrupted));
    let ended = job(&report, "a");
    assert_eq!(ended.detail, "command 2 broke");
    assert_eq!(ended.steps[2].outcome, Conclusion::Skipped);
    assert_eq!(
        world.engine.commands.lock().expect("nobody panics with it").len(),
        2
    );
}

#[test]
fn a_failure_before_the_box_broke_stays_a_verdict() {
    let mut world = World::default();
    world.engine.breaks = Some((2, Trouble::Interrupted));
    let steps = "    steps:\n      - run: |\n          echo 'error: this is why'\n          exit 1\n      - if: always()\n        run: exit 0\n";
    let report = world.run_one(&format!(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n{steps}"
    ));
    assert_eq!(report.ending(), Ending::Failed);
    let evidence = &job(&report, "a").evidence;
    assert!(
        evidence.iter().any(|line| line == "error: this is why"),
        "{evidence:?}"
    );
}

#[test]
fn a_job_that_always_runs_has_the_grace_of_a_cancelled_run() {
    let world = World {
        cancel_grace: std::time::Duration::from_secs(20),
        ..World::default()
    };
    let control = world.control.clone();
    let text = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: sleep 600\n  b:\n    needs: a\n    if: always()\n    runs-on: ubuntu-latest\n    steps:\n      - run: test '${{ needs.a.result }}' = cancelled\n";
    let report = std::thread::scope(|scope| {
        let run = scope.spawn(|| world.run_one(text));
        while world
            .engine
            .commands
            .lock()
            .expect("nobody panics with it")
            .is_empty()
        {
            std::thread::yield_now();
        }
        control.cancel();
        run.join().expect("it ends")
    });
    assert_eq!(job(&report, "b").conclusion, Conclusion::Success, "{report:#?}");
    assert_eq!(report.ending(), Ending::Cancelled);
}

#[test]
fn a_working_directory_that_is_not_there_fails_the_step() {
    let report = World::default().run_one(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: exit 0\n        working-directory: nowhere\n",
    );
    assert_eq!(report.ending(), Ending::Failed);
    assert!(job(&report, "a").detail.contains("repo/nowhere"), "{report:?}");
}

#[test]
fn every_leg_has_a_log_of_its_own() {
    let proof = Proof::all()
        .into_iter()
        .find(|proof| proof.name == "reusable")
        .expect("it is there");
    let (_world, report) = proof.run();
    let logs: Vec<_> = report
        .workflows
        .iter()
        .flat_map(|workflow| &workflow.jobs)
        .filter_map(|job| job.log.clone())
        .collect();
    let distinct: std::collections::BTreeSet<_> = logs.iter().collect();
    assert_eq!(logs.len(), 5);
    assert_eq!(distinct.len(), logs.len(), "{logs:?}");
}

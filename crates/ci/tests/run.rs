//! The runner of workflows, in boxes that are folders of the host.

mod support;

use gantry_core::queue::build::Ending;
use gantry_workflow::graph::Conclusion;

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
    assert_eq!(world.engine.opened.lock().unwrap().len(), 1);
}

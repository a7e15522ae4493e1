//! The real program on real repositories: every test has a factory of its own, with a daemon where it needs one.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start git and the program itself, as people do"
)]

mod box_life;
mod box_secrets;
mod boxes;
mod ci_by_hand;
mod crash;
mod documents;
mod explaining;
mod factory;
mod full_disk;
mod git_truth;
mod hostile;
mod jobs;
mod json_forms;
mod odd_files;
mod offers;
mod order;
mod people;
mod repo;
mod user_path;
mod workflows;

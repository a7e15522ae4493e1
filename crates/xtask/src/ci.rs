//! `cargo xtask ci`: every check a commit has to pass, in the order in which they are likely to fail.

use crate::{licences, shown, tidy};

/// What `cargo xtask ci` is given.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Leave the tests out: somebody ran them already.
    #[arg(long)]
    without_tests: bool,
}

/// Runs the checks; ends at the first that fails.
///
/// Errors: a check failed or could not be run.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let root = shown::root()?;
    step("tidy");
    tidy::run()?;
    step("fmt");
    shown::run(shown::cargo(["fmt", "--all", "--check"]).current_dir(&root))?;
    step("clippy");
    let words = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    shown::run(shown::cargo(words).current_dir(&root))?;
    step("docs");
    let mut docs = shown::cargo(["doc", "--workspace", "--no-deps", "--locked"]);
    shown::run(docs.env("RUSTDOCFLAGS", "-D warnings").current_dir(&root))?;
    step("licences");
    licences::run()?;
    if !arguments.without_tests {
        step("tests");
        shown::run(shown::program(root.join("x")).arg("test").current_dir(&root))?;
    }
    println!("xtask: ci passed");
    Ok(())
}

fn step(name: &str) {
    println!("xtask: {name}");
}

//! gantry: the daemon and every command.

mod cli;
mod daemon;
mod data_dir;
mod exit_code;
mod images;
mod web;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Boxes are started by running this program again: that has to come before anything else, threads above all.
    gantry_adapters::engine::native::enter_if_asked();
    if let Some(code) = gantry_engine::job::run_job_if_asked(images) {
        return ExitCode::from(code);
    }
    if let Some(code) = gantry_engine::sandbox::run_box_if_asked(images) {
        return ExitCode::from(code);
    }
    let (json, result) = cli::run();
    match result {
        Ok(code) => ExitCode::from(code.number()),
        Err(coded) => {
            // A reader that went away (`| head`) is no reason to complain.
            let broken = coded.error.chain().any(|cause| {
                cause
                    .downcast_ref::<std::io::Error>()
                    .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
            });
            if !broken {
                eprintln!("{}", coded.said(json));
            }
            ExitCode::from(coded.code.number())
        }
    }
}

/// Finds images in the store of a data directory.
fn images(data: &std::path::Path) -> std::sync::Arc<dyn gantry_engine::sandbox::Images> {
    std::sync::Arc::new(images::StoredImages::of(data))
}

//! `run` steps. Owns how a script becomes a command; must never read its output.

use std::path::Path;

use gantry_workflow::model::{Diagnostic, RunStep};

use super::report::StepFault;
use super::shell::Shell;
use super::stage::{Ran, StageCommand, box_trouble, process_env};
use super::step::StepCall;

/// Runs a script.
pub(super) fn run_script(call: &StepCall<'_, '_>, run: &RunStep) -> Ran {
    let prepared = match prepare(call, run) {
        Ok(prepared) => prepared,
        Err(fault) => return Ran::fault(fault),
    };
    let Prepared {
        script,
        shell,
        directory,
    } = prepared;
    let at = format!(
        "{}{}",
        call.folder.script(&call.key().replace('/', "-")),
        shell.extension
    );
    let put = call
        .leg
        .sandbox
        .put_file(Path::new(&at), shell.complete(&script).as_bytes(), 0o755);
    if let Err(error) = put {
        return Ran::fault(box_trouble(&error));
    }
    let env = process_env(call.leg, &call.env, &call.fields(), Vec::new());
    call.stage().run(StageCommand {
        words: shell.command(&at),
        env,
        directory: &directory,
        heading: heading(&script, &shell, &call.env),
    })
}

struct Prepared {
    script: String,
    shell: Shell,
    directory: String,
}

fn prepare(call: &StepCall<'_, '_>, run: &RunStep) -> Result<Prepared, StepFault> {
    let failed =
        |diagnostic: Diagnostic| StepFault::Failed(format!("The template is not valid. {diagnostic}"));
    let scope = call.scope();
    let evaluator = call.evaluator(&scope);
    let place = call.frame.places().other;
    let script = evaluator.text(&run.script, place).map_err(failed)?;
    // A composite action's steps know nothing of the defaults of the job that uses it.
    let defaults = (call.frame.depth == 0).then_some(&call.leg.plan.defaults);
    let written = evaluator.optional(run.shell.as_ref(), place).map_err(failed)?;
    let written = written.or_else(|| defaults.and_then(|defaults| defaults.shell.clone()));
    let shell = Shell::choose(written.as_deref(), call.leg.has_bash())
        .map_err(|fault| StepFault::Failed(fault.to_string()))?;
    let directory = evaluator
        .optional(run.working_directory.as_ref(), place)
        .map_err(failed)?;
    let directory = directory.or_else(|| defaults.and_then(|defaults| defaults.working_directory.clone()));
    let workspace = &call.leg.plan.workspace;
    let directory = match directory {
        Some(directory) => Path::new(workspace)
            .join(directory)
            .to_string_lossy()
            .into_owned(),
        None => workspace.clone(),
    };
    Ok(Prepared {
        script,
        shell,
        directory,
    })
}

fn heading(script: &str, shell: &Shell, env: &[(String, String)]) -> Vec<String> {
    let script = script.trim_end();
    let first = script.trim_start().lines().next().unwrap_or("");
    let mut lines = vec![format!("##[group]Run {first}")];
    // Each line is coloured by itself: that also keeps a script's own text from being read as a marker of the log.
    lines.extend(script.lines().map(|line| format!("\u{1b}[36;1m{line}\u{1b}[0m")));
    lines.push(format!("shell: {}", shell.shown()));
    lines.extend(shown_env(env));
    lines.push("##[endgroup]".to_owned());
    lines
}

/// Shows the variables of a step.
pub(super) fn shown_env(env: &[(String, String)]) -> Vec<String> {
    if env.is_empty() {
        return Vec::new();
    }
    let shown = env.iter().map(|(name, value)| format!("  {name}: {value}"));
    ["env:".to_owned()].into_iter().chain(shown).collect()
}

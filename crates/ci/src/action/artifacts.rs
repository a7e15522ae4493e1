//! `actions/upload-artifact`, its `merge`, and `actions/download-artifact`. Owns their inputs, outputs and messages.

use super::call::{ActionCall, ActionError, ActionOutcome};
use super::inputs::{InputError, InputSpec, default, input};
use crate::artifact::{
    Artifact, ArtifactName, DownloadSpec, IfNoFiles, Retention, UploadSpec, Uploaded, Wanted, choose,
    download, merge, upload,
};
use crate::files::Patterns;

pub(super) const UPLOAD_INPUTS: &[InputSpec] = &[
    default("name", "artifact"),
    input("path"),
    default("if-no-files-found", "warn"),
    input("retention-days"),
    default("compression-level", "6"),
    default("overwrite", "false"),
    default("include-hidden-files", "false"),
];

pub(super) const MERGE_INPUTS: &[InputSpec] = &[
    default("name", "merged-artifacts"),
    default("pattern", "*"),
    default("separate-directories", "false"),
    input("retention-days"),
    default("compression-level", "6"),
    default("delete-merged", "false"),
    default("include-hidden-files", "false"),
];

pub(super) const DOWNLOAD_INPUTS: &[InputSpec] = &[
    input("name"),
    input("artifact-ids"),
    input("path"),
    input("pattern"),
    default("merge-multiple", "false"),
    input("github-token"),
    input("repository"),
    input("run-id"),
];

fn level(call: &ActionCall<'_>) -> Result<u8, ActionError> {
    let level = call.inputs.number("compression-level", 6)?;
    u8::try_from(level)
        .ok()
        .filter(|level| *level <= 9)
        .ok_or_else(|| ActionError::Failed("Invalid compression-level. Valid values are 0-9".to_owned()))
}

fn retention(call: &mut ActionCall<'_>) -> Result<Retention, ActionError> {
    let (retention, cut) = Retention::of_days(call.inputs.number("retention-days", 0)?);
    if cut {
        call.warn("retention-days is more than the longest time an artifact is kept, which is used instead");
    }
    Ok(retention)
}

fn outputs(call: &ActionCall<'_>, artifact: &Artifact) -> ActionOutcome {
    let mut outcome = ActionOutcome::default();
    outcome.output("artifact-id", artifact.id.to_string());
    outcome.output("artifact-digest", &*artifact.digest);
    let file = call.stores.artifacts.zip_path(&artifact.name);
    outcome.output("artifact-url", format!("file://{}", file.display()));
    outcome
}

pub(super) fn up(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let name = ArtifactName::parse(call.inputs.get("name"))?;
    let paths = call.inputs.required("path")?.to_owned();
    let word = call.inputs.get("if-no-files-found").to_owned();
    let none = IfNoFiles::parse(&word).ok_or(InputError::Word {
        name: "if-no-files-found",
        value: word,
        may: "warn, error or ignore",
    })?;
    let patterns = Patterns::parse(&paths, call.workspace, call.home().as_deref(), true)?;
    let spec = UploadSpec {
        name: &name,
        patterns: &patterns,
        hidden: call.inputs.is("include-hidden-files")?,
        compression_level: level(call)?,
        retention: retention(call)?,
        overwrite: call.inputs.is("overwrite")?,
        now: call.now,
    };
    match upload(call.stores.artifacts, call.sandbox, call.stores.mask, &spec)? {
        Uploaded::Kept(artifact, left_out) => {
            for path in left_out {
                call.say(&format!(
                    "left out, as it leads nowhere or is no file: {}",
                    path.display()
                ));
            }
            call.say(&format!(
                "Artifact {name} has been successfully uploaded! {} files, {} bytes, SHA256 {}",
                artifact.file_count, artifact.size_bytes, artifact.digest
            ));
            Ok(outputs(call, &artifact))
        }
        Uploaded::NoFiles => {
            let text = format!(
                "No files were found with the provided path: {paths}. No artifacts will be uploaded."
            );
            match none {
                IfNoFiles::Error => return Err(ActionError::Failed(text)),
                IfNoFiles::Warn => call.warn(&text),
                IfNoFiles::Ignore => call.say(&text),
            }
            Ok(ActionOutcome::default())
        }
    }
}

pub(super) fn merged(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let name = ArtifactName::parse(call.inputs.get("name"))?;
    let pattern = call.inputs.get("pattern").to_owned();
    let from = choose(call.stores.artifacts, &Wanted::Pattern(pattern.clone()))?;
    if from.is_empty() {
        return Err(ActionError::Failed(format!(
            "No artifacts were found with the provided pattern: {pattern}."
        )));
    }
    let patterns = Patterns::parse(".", call.workspace, None, true)?;
    let spec = UploadSpec {
        name: &name,
        patterns: &patterns,
        hidden: true,
        compression_level: level(call)?,
        retention: retention(call)?,
        overwrite: false,
        now: call.now,
    };
    let separate = call.inputs.is("separate-directories")?;
    let artifact = merge(call.stores.artifacts, &from, separate, &spec)?;
    call.say(&format!("{} artifacts are merged into {name}", from.len()));
    if call.inputs.is("delete-merged")? {
        for one in &from {
            call.stores.artifacts.remove(&one.name)?;
        }
    }
    Ok(outputs(call, &artifact))
}

fn wanted(call: &ActionCall<'_>) -> Result<Wanted, ActionError> {
    let (name, ids, pattern) = (
        call.inputs.get("name"),
        call.inputs.get("artifact-ids"),
        call.inputs.get("pattern"),
    );
    match (name, ids) {
        ("", "") if pattern.is_empty() => Ok(Wanted::All),
        ("", "") => Ok(Wanted::Pattern(pattern.to_owned())),
        ("", ids) => ids
            .split(',')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(|id| {
                id.parse().map_err(|_| {
                    ActionError::Failed(format!("Invalid artifact ID: '{id}'. Must be a number."))
                })
            })
            .collect::<Result<Vec<u64>, _>>()
            .map(Wanted::Ids),
        (name, "") => Ok(Wanted::Name(ArtifactName::parse(name)?)),
        _ => Err(ActionError::Failed(
            "Inputs 'name' and 'artifact-ids' cannot be used together. Please specify only one.".to_owned(),
        )),
    }
}

pub(super) fn down(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    if !call.inputs.get("github-token").is_empty() {
        for (name, own) in [("repository", "GITHUB_REPOSITORY"), ("run-id", "GITHUB_RUN_ID")] {
            let value = call.inputs.get(name);
            if !value.is_empty() && call.var(own) != Some(value) {
                return Err(ActionError::Offline(format!(
                    "the artifacts of {name} {value} are not here: only those of this run are, and nothing is downloaded"
                )));
            }
        }
    }
    let at = call.path(call.inputs.get("path"));
    let wanted = wanted(call)?;
    let spec = DownloadSpec {
        wanted: &wanted,
        at: &at,
        merge: call.inputs.is("merge-multiple")?,
    };
    let downloaded = download(call.stores.artifacts, call.sandbox, call.control, &spec)?;
    for (artifact, to, unpacked) in &downloaded.artifacts {
        call.say(&format!(
            "{} → {}: {} files, {} bytes",
            artifact.name,
            to.display(),
            unpacked.files,
            unpacked.bytes
        ));
    }
    call.say(&format!(
        "Total of {} artifact(s) downloaded",
        downloaded.artifacts.len()
    ));
    let mut outcome = ActionOutcome::default();
    outcome.output("download-path", at.display().to_string());
    let list: Vec<serde_json::Value> = downloaded
        .artifacts
        .iter()
        .map(|(artifact, ..)| {
            serde_json::json!({"name": artifact.name, "id": artifact.id, "size": artifact.size_bytes, "digest": artifact.digest})
        })
        .collect();
    outcome.output("artifacts", serde_json::Value::from(list).to_string());
    Ok(outcome)
}

//! `box list|show|prune|receipt`: what is kept of boxes.

use std::path::Path;

use gantry_adapters::engine::{NativeEngine, SandboxEngine};
use gantry_adapters::job::{JobClient, JobFolder};
use gantry_engine::sandbox::{BoxEvent, BoxRequest, BoxState, RECEIPT};
use serde_json::{Value, json};

use super::live;
use crate::cli::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::wiring::SELF;

/// Says where a box is, in one word, and how it ended if it did.
fn state(folder: &JobFolder) -> Result<(String, String), Coded> {
    if folder.is_alive()? {
        let asked = JobClient::of(folder.clone()).ask(&serde_json::to_string(&BoxRequest::State)?);
        // One that does not listen yet is being made.
        let state = asked.ok().and_then(|line| serde_json::from_str(&line).ok());
        return Ok(match state {
            Some(BoxState::Running) => ("running".to_owned(), String::new()),
            Some(BoxState::Kept { ending }) => ("kept".to_owned(), ending),
            Some(BoxState::Closing) => ("closing".to_owned(), String::new()),
            Some(BoxState::Opening) | None => ("opening".to_owned(), String::new()),
        });
    }
    let events = live::past_events(folder)?;
    let ended = events.into_iter().rev().find_map(|event| match event {
        BoxEvent::Ended { ending, .. } => Some(ending),
        _ => None,
    });
    Ok(match ended {
        Some(ending) => ("ended".to_owned(), ending),
        None => ("lost".to_owned(), "its process was killed".to_owned()),
    })
}

fn receipt_of(folder: &JobFolder) -> Result<Option<Value>, Coded> {
    match folder.read(RECEIPT)? {
        Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        None => Ok(None),
    }
}

pub(super) fn list(common: &Common) -> Result<ExitCode, Coded> {
    let runs = common.data()?.runs();
    let mut rows = Vec::new();
    for number in live::numbers(&runs)? {
        let name = format!("box-{number}");
        let folder = JobFolder::at(runs.join(&name));
        let (state, ending) = state(&folder)?;
        let receipt = receipt_of(&folder)?.unwrap_or(Value::Null);
        rows.push(
            json!({"box": name, "state": state, "ending": ending, "command": receipt["command"],
            "wall_ms": receipt["usage"]["wall_ms"]}),
        );
    }
    if common.json() {
        show::json(&json!({"boxes": rows}))?;
        return Ok(ExitCode::Done);
    }
    if rows.is_empty() {
        show::line("no boxes")?;
    }
    for row in rows {
        let command: Vec<&str> = row["command"]
            .as_array()
            .map(|words| words.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let line = format!(
            "{:<8} {:<8} {:<24} {}",
            text("box"),
            text("state"),
            text("ending"),
            command.join(" ")
        );
        show::line(line.trim_end())?;
    }
    Ok(ExitCode::Done)
}

pub(super) fn show(common: &Common, name: &str) -> Result<ExitCode, Coded> {
    let folder = live::folder(common, name)?;
    let (state, ending) = state(&folder)?;
    let receipt = receipt_of(&folder)?;
    if common.json() {
        show::json(
            &json!({"box": name, "state": state, "ending": ending, "process": folder.process(),
            "folder": folder.path(), "receipt": receipt}),
        )?;
        return Ok(ExitCode::Done);
    }
    show::line(format!("{name} is {state} {ending}").trim_end())?;
    show::line(&format!("  folder {}", folder.path().display()))?;
    match receipt {
        Some(receipt) => print_receipt(&receipt),
        None => show::line("  it has no receipt yet"),
    }?;
    Ok(ExitCode::Done)
}

pub(super) fn receipt(common: &Common, name: &str) -> Result<ExitCode, Coded> {
    let receipts = if name.starts_with('B') {
        build_receipts(&common.data()?.logs().join(name), name)?
    } else {
        receipt_of(&live::folder(common, name)?)?.into_iter().collect()
    };
    if receipts.is_empty() {
        return Err(Coded::new(ExitCode::NotFound, format!("{name} has no receipt")));
    }
    if common.json() {
        show::json(&json!({"receipts": receipts}))?;
        return Ok(ExitCode::Done);
    }
    for receipt in receipts {
        show::line(receipt["name"].as_str().unwrap_or(name))?;
        print_receipt(&receipt)?;
    }
    Ok(ExitCode::Done)
}

/// Reads the receipts of every box of a build, by name.
fn build_receipts(folder: &Path, name: &str) -> Result<Vec<Value>, Coded> {
    let wrong = || {
        Coded::new(
            ExitCode::NotFound,
            format!("there is no build {name:?}, or it is too old"),
        )
    };
    if name.parse::<gantry_core::id::BuildId>().is_err() || !folder.is_dir() {
        return Err(wrong());
    }
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().ends_with(RECEIPT) {
                found.push(serde_json::from_slice::<Value>(&std::fs::read(entry.path())?)?);
            }
        }
    }
    found.sort_by_key(|receipt| receipt["started_at_ms"].as_i64());
    Ok(found)
}

fn print_receipt(receipt: &Value) -> Result<(), Coded> {
    let words = |key: &str| -> String {
        let list = receipt[key].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let number = |value: &Value| {
        value
            .as_u64()
            .map_or_else(|| "?".to_owned(), |number| number.to_string())
    };
    let usage = &receipt["usage"];
    let rows = [
        ("command", words("command")),
        (
            "ending",
            receipt["ending"].as_str().unwrap_or_default().to_owned(),
        ),
        (
            "engine",
            receipt["engine"].as_str().unwrap_or_default().to_owned(),
        ),
        ("image", receipt["image"].as_str().unwrap_or_default().to_owned()),
        ("commit", receipt["commit"].as_str().unwrap_or("none").to_owned()),
        (
            "network",
            receipt["network"].as_str().unwrap_or_default().to_owned(),
        ),
        ("limits", words("limits")),
        ("environment", words("environment")),
        (
            "used",
            format!(
                "{} ms wall, {} ms cpu, {} bytes of memory, {} processes, {} bytes of output",
                number(&usage["wall_ms"]),
                number(&usage["cpu_ms"]),
                number(&usage["memory_peak_bytes"]),
                number(&usage["processes_peak"]),
                number(&usage["output_bytes"]),
            ),
        ),
        (
            "wrote",
            format!(
                "{} files, {} bytes, {} removed",
                number(&receipt["files"]["changed_count"]),
                number(&receipt["files"]["bytes"]),
                number(&receipt["files"]["removed_count"]),
            ),
        ),
        (
            "hosts",
            receipt["hosts"]
                .as_array()
                .map_or_else(|| "not watched".to_owned(), |_| words("hosts")),
        ),
        (
            "log",
            receipt["log"]["digest"].as_str().unwrap_or("none").to_owned(),
        ),
        ("notes", words("notes")),
    ];
    for (name, value) in rows {
        if !value.is_empty() {
            show::line(&format!("  {name:<12} {value}"))?;
        }
    }
    Ok(())
}

pub(super) fn prune(common: &Common, keep: usize) -> Result<ExitCode, Coded> {
    let data = common.data()?;
    let runs = data.runs();
    let numbers = live::numbers(&runs)?;
    let old = numbers.len().saturating_sub(keep);
    let mut removed = 0;
    for number in &numbers[..old] {
        let folder = JobFolder::at(runs.join(format!("box-{number}")));
        if !folder.is_alive()? {
            std::fs::remove_dir_all(folder.path())?;
            removed += 1;
        }
    }
    let cleared = NativeEngine::new(SELF.into(), data.boxes()).reap()?;
    if common.json() {
        show::json(&json!({"removed": removed, "cleared": cleared}))?;
    } else {
        show::line(&format!(
            "removed {removed} receipts and logs, cleared {cleared} leftovers"
        ))?;
    }
    Ok(ExitCode::Done)
}

//! `box log|exec|shell|retry|freeze|stop`: what is asked of a box that lives.

use std::io::{BufRead, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, anyhow};
use gantry_adapters::clock::Stopwatch;
use gantry_adapters::job::{JobClient, JobFolder};
use gantry_core::limits::{JOB_END_WAIT, JOB_START_WAIT};
use gantry_engine::sandbox::{BoxEvent, BoxRequest};
use serde_json::{Value, json};

use crate::cli::{Common, show};
use crate::exit_code::{Coded, ExitCode};

/// The pause between two looks at a box that does not listen yet.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// Returns the numbers of all boxes that have a folder.
pub(super) fn numbers(runs: &Path) -> anyhow::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", runs.display())),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        numbers.extend(
            name.to_str()
                .and_then(|name| name.strip_prefix("box-")?.parse::<u64>().ok()),
        );
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Finds the folder of a box.
pub(super) fn folder(common: &Common, name: &str) -> Result<JobFolder, Coded> {
    let plain = name
        .strip_prefix("box-")
        .is_some_and(|number| number.parse::<u64>().is_ok());
    let path = common.data()?.runs().join(name);
    if !plain || !path.is_dir() {
        return Err(Coded::new(
            ExitCode::NotFound,
            format!("there is no box {name:?}; gantry box list shows those that are there"),
        ));
    }
    Ok(JobFolder::at(path))
}

fn living(common: &Common, name: &str) -> Result<JobFolder, Coded> {
    let folder = folder(common, name)?;
    if folder.is_alive()? {
        return Ok(folder);
    }
    Err(Coded::new(
        ExitCode::Conflict,
        format!("{name} has ended; gantry box receipt {name} tells how"),
    ))
}

/// Sends a request, once the box listens; `None` if it ended before.
pub(super) fn connect(
    folder: &JobFolder,
    client: &JobClient,
    request: BoxRequest,
    mut child: Option<&mut Child>,
) -> Result<Option<UnixStream>, Coded> {
    let text = serde_json::to_string(&request)?;
    let watch = Stopwatch::start();
    loop {
        match client.send(&text) {
            Ok(stream) => return Ok(Some(stream)),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = match child.as_mut() {
            Some(child) => child.try_wait()?.is_some(),
            None => !folder.is_alive()?,
        };
        if ended {
            return Ok(None);
        }
        if watch.left_of(JOB_START_WAIT).is_zero() {
            return Err(anyhow!("the box does not listen; {}", last_words(folder)).into());
        }
        std::thread::sleep(LOOK_PAUSE);
    }
}

/// Waits for the end of a box, or until it is kept, and returns that event.
pub(super) fn ending(folder: &JobFolder, client: &JobClient) -> Result<Option<BoxEvent>, Coded> {
    let mut last = None;
    let watched = client.watch(super::run::RENEW, |line| match serde_json::from_str(line) {
        Ok(event @ (BoxEvent::Ended { .. } | BoxEvent::Kept { .. })) => {
            last = Some(event);
            false
        }
        _ => true,
    });
    if last.is_none() && watched.is_err() {
        // It has ended: what it told is in its file.
        last = past_events(folder)?
            .into_iter()
            .rev()
            .find(|event| matches!(event, BoxEvent::Ended { .. } | BoxEvent::Kept { .. }));
    }
    Ok(last)
}

/// Reads the events of a box that has ended.
pub(super) fn past_events(folder: &JobFolder) -> Result<Vec<BoxEvent>, Coded> {
    let Some(bytes) = folder.read("events.ndjson")? else {
        return Ok(Vec::new());
    };
    let mut events = Vec::new();
    for line in bytes.lines() {
        // A line that was cut by a death is no event.
        events.extend(serde_json::from_str(&line?).ok());
    }
    Ok(events)
}

/// Returns what the box's process said of itself last.
pub(super) fn last_words(folder: &JobFolder) -> String {
    let place = folder.file("process.out");
    // Without a log there are no words, which the place says.
    let text = std::fs::read_to_string(&place).unwrap_or_default();
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("its last words: {line}"),
        None => format!("{} is empty", place.display()),
    }
}

pub(super) fn log(common: &Common, name: &str) -> Result<ExitCode, Coded> {
    let folder = folder(common, name)?;
    if common.json() {
        let text = folder.read("log")?.unwrap_or_default();
        show::json(&json!({"box": name, "log": String::from_utf8_lossy(&text)}))?;
        return Ok(ExitCode::Done);
    }
    let client = JobClient::of(folder.clone());
    let stream = if folder.is_alive()? {
        connect(&folder, &client, BoxRequest::Log, None)?
    } else {
        None
    };
    match stream {
        Some(mut stream) => {
            let mut out = std::io::stdout();
            std::io::copy(&mut stream, &mut out)?;
        }
        None => show::raw(&folder.read("log")?.unwrap_or_default())?,
    }
    Ok(ExitCode::Done)
}

fn ask(common: &Common, name: &str, request: &BoxRequest) -> Result<ExitCode, Coded> {
    let folder = living(common, name)?;
    let answer = JobClient::of(folder).ask(&serde_json::to_string(request)?)?;
    if let Some(problem) = answer.strip_prefix("error: ") {
        return Err(Coded::new(ExitCode::Conflict, format!("{name}: {problem}")));
    }
    if common.json() {
        show::json(&json!({"box": name, "answer": answer}))?;
    }
    Ok(ExitCode::Done)
}

pub(super) fn freeze(common: &Common, name: &str, frozen: bool) -> Result<ExitCode, Coded> {
    ask(common, name, &BoxRequest::Freeze { frozen })
}

pub(super) fn retry(common: &Common, name: &str) -> Result<ExitCode, Coded> {
    ask(common, name, &BoxRequest::Retry)
}

pub(super) fn stop(common: &Common, name: &str) -> Result<ExitCode, Coded> {
    let folder = living(common, name)?;
    let code = ask(common, name, &BoxRequest::Stop)?;
    let watch = Stopwatch::start();
    while folder.is_alive()? {
        if watch.left_of(JOB_END_WAIT).is_zero() {
            return Err(Coded::new(ExitCode::TimedOut, format!("{name} is still ending")));
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(code)
}

pub(super) fn exec(
    common: &Common,
    name: &str,
    directory: Option<PathBuf>,
    command: Vec<String>,
) -> Result<ExitCode, Coded> {
    let code = exec_once(common, name, directory, command)?;
    Ok(ExitCode::Command(u8::try_from(code).unwrap_or(1)))
}

fn exec_once(
    common: &Common,
    name: &str,
    directory: Option<PathBuf>,
    command: Vec<String>,
) -> Result<i64, Coded> {
    let folder = living(common, name)?;
    let client = JobClient::of(folder.clone());
    let Some(mut stream) = connect(&folder, &client, BoxRequest::Exec { command, directory }, None)? else {
        return Err(Coded::new(ExitCode::Conflict, format!("{name} has ended")));
    };
    let mut output = Vec::new();
    loop {
        let (kind, bytes) = read_frame(&mut stream).context("the box went away")?;
        if kind == b'e' {
            let end: Value = serde_json::from_slice(&bytes)?;
            let code = end["code"].as_i64().unwrap_or(125);
            if common.json() {
                let text = String::from_utf8_lossy(&output);
                show::json(
                    &json!({"box": name, "ending": end["ending"], "exit_code": code, "output": text}),
                )?;
            } else if let Some(why) = end["ending"]
                .as_str()
                .filter(|ending| ending.starts_with("trouble"))
            {
                eprintln!("gantry: {}", show::harmless(why));
            }
            return Ok(code);
        }
        if common.json() {
            output.extend_from_slice(&bytes);
        } else {
            show::raw(&bytes)?;
        }
    }
}

fn read_frame(stream: &mut UnixStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    let mut bytes = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != u64::from(length) {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok((head[0], bytes))
}

/// Runs each line that is typed as a command of a shell in the box, in the directory the last one ended in.
pub(super) fn shell(common: &Common, name: &str) -> Result<ExitCode, Coded> {
    drop(living(common, name)?);
    let mut directory = PathBuf::from("/box/workspace");
    let stdin = std::io::stdin();
    let mut line = String::new();
    loop {
        eprint!("{name}:{}$ ", directory.display());
        line.clear();
        if stdin.lock().read_line(&mut line)? == 0 {
            eprintln!();
            return Ok(ExitCode::Done);
        }
        let text = line.trim();
        if text == "exit" {
            return Ok(ExitCode::Done);
        }
        if let Some(to) = text.strip_prefix("cd ") {
            let to = directory.join(to.trim());
            let command = vec![
                "/bin/sh".into(),
                "-c".into(),
                format!("cd {} && pwd", quoted(&to)),
            ];
            if exec_once(common, name, Some(directory.clone()), command)? == 0 {
                directory = to;
            }
            continue;
        }
        if !text.is_empty() {
            let command = vec!["/bin/sh".into(), "-c".into(), text.to_owned()];
            exec_once(common, name, Some(directory.clone()), command)?;
        }
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

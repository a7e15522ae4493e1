//! One command in a box that runs. Owns its end, whoever brings it about: the command itself, a signal, the kernel's
//! want of memory, the time limit, a cancel, an output that cannot be kept.
//!
//! ```text
//! Running ─ mark ─► ended by itself
//!    └─ limit, cancel, output refused ─► Asked (SIGTERM) ─ grace ─► Killed (SIGKILL, the whole session)
//! ```

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use gantry_core::queue::build::Trouble;
use tokio::sync::Notify;

use super::body::{Ids, env_list, shell_passes};
use super::connection::{CallError, Connection};
use super::exec_report::{ExecReader, MARK_START};
use super::meter::Meter;
use crate::clock::Stopwatch;
use crate::engine::{ExecEnding, ExecReport, ExecSpec, Output, SandboxControl};

/// The shell around every command.
const RUN: &str = include_str!("run.sh");
/// Sends a signal to a session.
const SIGNAL: &str = include_str!("signal.sh");
/// How often a silent command is asked for, in case its last words were lost, or nobody called for a cancel.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long the shell's own words may take after the command's end.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(2);
/// How often a box is looked at whose command was ended together with the shell around it.
const GONE_LOOKS: u32 = 20;
/// The time between two looks.
const GONE_LOOK_WAIT: Duration = Duration::from_millis(50);
/// How often a session is killed until nothing of it is left.
const KILLS_MAX: u32 = 20;
/// The longest time limit; a longer one is this one.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The largest piece the stream is read in, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Runs commands in one container.
#[derive(Clone)]
pub(super) struct Runner {
    pub(super) connection: Arc<Connection>,
    pub(super) container: String,
    pub(super) ids: Ids,
    /// Variables of the box that no shell passes on.
    pub(super) odd_env: Vec<(String, String)>,
    pub(super) meter: Meter,
}

/// Why a command does not go on.
enum Stop {
    TimedOut,
    Cancelled,
    Output(io::Error),
}

/// What is known of a command that runs.
struct Watched {
    reader: ExecReader,
    mark: String,
    /// What the shell said beside the command's stream.
    words: Vec<u8>,
    stop: Option<Stop>,
    output_bytes: u64,
}

impl Runner {
    /// Runs one command to its end and returns how it ended and how many bytes it wrote.
    pub(super) fn run(
        &self,
        spec: &ExecSpec,
        output: &mut Output<'_>,
        control: &SandboxControl,
    ) -> (ExecReport, u64) {
        let stopwatch = Stopwatch::start();
        let report = |ending, bytes| {
            let duration = stopwatch.elapsed();
            (ExecReport { ending, duration }, bytes)
        };
        if control.is_cancelled() {
            return report(ExecEnding::Cancelled, 0);
        }
        let cancelled = Arc::new(Notify::new());
        let notify = Arc::clone(&cancelled);
        control.on_cancel(move || notify.notify_one());
        let kills_before = self.meter.oom_kills();
        let ran = self
            .connection
            .wait(self.run_async(spec, output, control, &cancelled));
        control.detach();
        match ran {
            Ok((ending, bytes)) => {
                let killed = self.meter.oom_kills() > kills_before;
                report(self.blame_memory(ending, killed), bytes)
            }
            Err(error) => report(self.trouble(&error), 0),
        }
    }

    /// A command that failed while the kernel had to make room is out of memory, whoever told it so.
    fn blame_memory(&self, ending: ExecEnding, killed: bool) -> ExecEnding {
        match ending {
            ExecEnding::Exited { code } if killed && code != 0 => ExecEnding::OutOfMemory,
            ExecEnding::Signalled { .. } if killed => ExecEnding::OutOfMemory,
            other => other,
        }
    }

    /// Nobody is blamed if the daemon does not answer; a box that has gone was interrupted.
    fn trouble(&self, error: &CallError) -> ExecEnding {
        // Podman has a general answer for a box that does not run. A daemon that does not say whether it does gives the
        // kind of its own error.
        let gone = match error.status() {
            Some(404 | 409) => true,
            Some(_) => self
                .connection
                .wait(self.connection.runs(&self.container))
                .is_ok_and(|runs| !runs),
            None => false,
        };
        let (kind, text) = error.trouble();
        ExecEnding::Trouble(if gone { Trouble::Interrupted } else { kind }, text)
    }

    async fn run_async(
        &self,
        spec: &ExecSpec,
        output: &mut Output<'_>,
        control: &SandboxControl,
        cancelled: &Notify,
    ) -> Result<(ExecEnding, u64), CallError> {
        let doing = "run a command in a box";
        let failed = |source| self.connection.failed(doing, source);
        let mark = new_mark().map_err(|source| failed(source.into()))?;
        let docker = self.connection.docker();
        let created = docker
            .create_exec(&self.container, self.options(spec, &mark))
            .await;
        let id = created.map_err(failed)?.id;
        let options = StartExecOptions {
            output_capacity: Some(PIECE_BYTES),
            ..StartExecOptions::default()
        };
        let started = docker.start_exec(&id, Some(options)).await.map_err(failed)?;
        let StartExecResults::Attached {
            output: mut stream,
            input,
        } = started
        else {
            return Err(failed(io::Error::other("the daemon detached it").into()));
        };
        let mut watched = Watched {
            reader: ExecReader::new(&mark),
            mark,
            words: Vec::new(),
            stop: None,
            output_bytes: 0,
        };
        let mut deadline = after(spec.timeout);
        let mut asked = false;
        loop {
            let piece = tokio::select! {
                piece = stream.next() => match piece {
                    Some(piece) => Some(piece.map_err(failed)?),
                    None => break,
                },
                () = cancelled.notified() => None,
                () = tokio::time::sleep_until(deadline) => None,
                () = tokio::time::sleep(LOOK_INTERVAL) => {
                    if !self.is_running(&id).await? {
                        watched.drain(&mut stream, output).await.map_err(failed)?;
                        break;
                    }
                    None
                }
            };
            if let Some(piece) = piece {
                watched.take(piece, output);
            }
            if watched.reader.code().is_some() {
                watched.drain(&mut stream, output).await.map_err(failed)?;
                break;
            }
            let late = tokio::time::Instant::now() >= deadline;
            watched.look_for_stop(late, control);
            if watched.stop.is_some() && !asked {
                asked = true;
                deadline = after(spec.grace);
                self.signal(&watched, "TERM").await;
            } else if asked && late {
                break;
            }
        }
        drop((stream, input));
        self.end(&id, watched, output).await
    }

    fn options(&self, spec: &ExecSpec, mark: &str) -> CreateExecOptions<String> {
        let directory = spec.directory.to_string_lossy().into_owned();
        let mut command: Vec<String> = ["/bin/sh", "-c", RUN, "gantry"].map(str::to_owned).to_vec();
        command.extend([directory, mark.to_owned()]);
        // A shell drops variables whose names it could not have itself, which actions' inputs often have.
        let odd: Vec<&(String, String)> = self
            .odd_env
            .iter()
            .chain(&spec.env)
            .filter(|(name, _)| !shell_passes(name))
            .collect();
        if !odd.is_empty() {
            command.push("env".to_owned());
            command.extend(odd.iter().map(|(name, value)| format!("{name}={value}")));
        }
        command.extend(spec.command.iter().cloned());
        CreateExecOptions {
            cmd: Some(command),
            env: Some(env_list(&spec.env)),
            user: Some(self.ids.to_string()),
            attach_stdin: Some(false),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            working_dir: Some("/".to_owned()),
            ..CreateExecOptions::default()
        }
    }

    /// Settles how a command ended that does not run any more, or must not.
    async fn end(
        &self,
        id: &str,
        mut watched: Watched,
        output: &mut Output<'_>,
    ) -> Result<(ExecEnding, u64), CallError> {
        let rest = watched.reader.finish();
        watched.give(&rest, output);
        let bytes = watched.output_bytes;
        if let Some(stop) = watched.stop.take() {
            self.kill(&watched).await?;
            return Ok((stop.ending(), bytes));
        }
        let code = match watched.reader.code() {
            Some(code) => code,
            // The shell itself was ended: whoever did it ended the command too.
            None => {
                let state = self.connection.docker().inspect_exec(id).await;
                let state =
                    state.map_err(|source| self.connection.failed("ask how a command ended", source))?;
                if state.running == Some(true) {
                    let text = "the connection to a command broke off while it ran".to_owned();
                    return Ok((ExecEnding::Trouble(Trouble::Interrupted, text), bytes));
                }
                self.refuse_if_gone().await?;
                let code = i32::try_from(state.exit_code.unwrap_or(-1)).unwrap_or(-1);
                let ending = match code {
                    129..=192 => ExecEnding::Signalled { signal: code - 128 },
                    code => ExecEnding::Exited { code },
                };
                return Ok((ending, bytes));
            }
        };
        Ok((watched.ending(code), bytes))
    }

    /// Errors: the box has ended, which ends every command in it with the code of a kill.
    async fn refuse_if_gone(&self) -> Result<(), CallError> {
        // The end of a command may be known before that of the box which brought it about.
        for _ in 0..GONE_LOOKS {
            if !self.connection.runs(&self.container).await? {
                let gone = bollard::errors::Error::DockerResponseServerError {
                    status_code: 409,
                    message: "the box has ended".to_owned(),
                };
                return Err(self.connection.failed("go on", gone));
            }
            tokio::time::sleep(GONE_LOOK_WAIT).await;
        }
        Ok(())
    }

    async fn is_running(&self, id: &str) -> Result<bool, CallError> {
        let state = self.connection.docker().inspect_exec(id).await;
        let state = state.map_err(|source| self.connection.failed("ask after a command", source))?;
        Ok(state.running == Some(true))
    }

    /// Sends a signal to the whole session of a command, and returns how many processes it had; `None` if nobody could
    /// be asked.
    async fn signal(&self, watched: &Watched, name: &str) -> Option<u32> {
        let session = watched.reader.pid().filter(|pid| *pid > 1)?;
        let docker = self.connection.docker();
        let arguments = ["/bin/sh", "-c", SIGNAL, "gantry", name].map(str::to_owned);
        let options = CreateExecOptions {
            cmd: Some(arguments.into_iter().chain([session.to_string()]).collect()),
            user: Some(self.ids.to_string()),
            attach_stdout: Some(true),
            ..CreateExecOptions::default()
        };
        // A daemon that does not answer, or a box without room for one more process, is dealt with by the caller.
        let id = docker.create_exec(&self.container, options).await.ok()?.id;
        let started = docker.start_exec(&id, None).await.ok()?;
        let StartExecResults::Attached {
            output: mut stream, ..
        } = started
        else {
            return None;
        };
        let mut said = Vec::new();
        while let Some(Ok(piece)) = stream.next().await {
            said.extend_from_slice(piece.as_ref());
        }
        String::from_utf8_lossy(&said).trim().parse().ok()
    }

    /// Kills the session until nothing is left of it; a box that does not let itself be asked is ended as a whole.
    async fn kill(&self, watched: &Watched) -> Result<(), CallError> {
        if watched.reader.pid().is_some_and(|pid| pid > 1) {
            for _ in 0..KILLS_MAX {
                match self.signal(watched, "KILL").await {
                    Some(0) => return Ok(()),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        let killed = self.connection.docker().kill_container(
            &self.container,
            None::<bollard::query_parameters::KillContainerOptions>,
        );
        match killed
            .await
            .map_err(|source| self.connection.failed("end a box", source))
        {
            // It has ended by itself.
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
            other => other,
        }
    }
}

impl Stop {
    fn ending(self) -> ExecEnding {
        match self {
            Self::TimedOut => ExecEnding::TimedOut,
            Self::Cancelled => ExecEnding::Cancelled,
            Self::Output(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::OutOfDisk,
                    io::ErrorKind::FileTooLarge => Trouble::TooMuchOutput,
                    _ => Trouble::Interrupted,
                };
                ExecEnding::Trouble(kind, error.to_string())
            }
        }
    }
}

impl Watched {
    fn take(&mut self, piece: LogOutput, output: &mut Output<'_>) {
        match piece {
            LogOutput::StdErr { message } => self.words.extend_from_slice(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                let bytes = self.reader.take(&message);
                self.give(&bytes, output);
            }
            LogOutput::StdIn { .. } => {}
        }
    }

    fn give(&mut self, bytes: &[u8], output: &mut Output<'_>) {
        if bytes.is_empty() {
            return;
        }
        self.output_bytes += bytes.len() as u64;
        // What was written before a limit or a cancel is output like any other.
        if !matches!(self.stop, Some(Stop::Output(_)))
            && let Err(error) = output(bytes)
        {
            self.stop = Some(Stop::Output(error));
        }
    }

    fn look_for_stop(&mut self, late: bool, control: &SandboxControl) {
        if self.stop.is_some() {
            return;
        }
        if control.is_cancelled() {
            self.stop = Some(Stop::Cancelled);
        } else if late {
            self.stop = Some(Stop::TimedOut);
        }
    }

    /// Reads what is left of the stream of a command that has ended, until the shell's last words. Whatever the
    /// command left running may hold the stream open for ever.
    async fn drain(
        &mut self,
        stream: &mut (impl futures_util::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin),
        output: &mut Output<'_>,
    ) -> Result<(), bollard::errors::Error> {
        let limit = tokio::time::Instant::now() + LAST_WORDS_WAIT;
        while !(self.reader.code().is_some() && self.said_all()) {
            match tokio::time::timeout_at(limit, stream.next()).await {
                Ok(Some(piece)) => self.take(piece?, output),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }

    fn said_all(&self) -> bool {
        self.words.trim_ascii_end().ends_with(self.mark.as_bytes())
    }

    /// Returns how a command ended whose shell saw this code.
    fn ending(&self, code: i32) -> ExecEnding {
        let words = String::from_utf8_lossy(&self.words);
        let mut lines = words.lines().filter(|line| *line != self.mark).peekable();
        match code {
            127 if words.lines().any(|line| line == "D") => ExecEnding::Trouble(
                Trouble::CouldNotStart,
                "the working directory is not there or cannot be entered".to_owned(),
            ),
            126 if words.lines().any(|line| line == "E") => ExecEnding::Exited { code: 127 },
            // Only a child that a signal ended makes the shell speak; a program may end with such a code by itself.
            129..=192 if lines.peek().is_some() => ExecEnding::Signalled { signal: code - 128 },
            code => ExecEnding::Exited { code },
        }
    }
}

/// Returns the moment after a limit that may be longer than any clock.
fn after(limit: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + limit.min(TIMEOUT_MAX)
}

/// Returns a text that no output holds by chance. Its first character is one that texts do not have, so that next to
/// nothing of a command's output is ever held back.
fn new_mark() -> io::Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(format!("{MARK_START}{}", uuid.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: i32, words: &str, expected: &ExecEnding) {
        let watched = Watched {
            reader: ExecReader::new("MARK"),
            mark: "MARK".to_owned(),
            words: words.as_bytes().to_vec(),
            stop: None,
            output_bytes: 0,
        };
        let found = watched.ending(code);
        match (&found, expected) {
            (ExecEnding::Trouble(found, _), ExecEnding::Trouble(expected, _)) => assert_eq!(found, expected),
            _ => assert_eq!(&found, expected, "{code} {words:?}"),
        }
    }

    #[test]
    fn what_the_shell_says_beside_the_code_tells_endings_apart() {
        let exited = |code| ExecEnding::Exited { code };
        check(0, "MARK\n", &exited(0));
        check(137, "MARK\n", &exited(137));
        check(137, "Killed\nMARK\n", &ExecEnding::Signalled { signal: 9 });
        check(
            139,
            "gantry: line 5: 7 Segmentation fault (exec)\nMARK\n",
            &ExecEnding::Signalled { signal: 11 },
        );
        check(126, "MARK\n", &exited(126));
        check(126, "E\nMARK\n", &exited(127));
        check(127, "E\nMARK\n", &exited(127));
        let nowhere = ExecEnding::Trouble(Trouble::CouldNotStart, String::new());
        check(127, "sh: 1: cd: can't cd to /no\nD\nMARK\n", &nowhere);
    }
}

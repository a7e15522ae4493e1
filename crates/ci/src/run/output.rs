//! A step's output on its way to the log. Owns the order: lines, commands, masks, log; no byte passes without the mask.

use std::io;
use std::path::Path;

use gantry_core::limits::STEP_OUTPUT_BYTES_MAX;
use gantry_core::mask::Masker;
use gantry_workflow::command::{
    Annotation, AnnotationLevel, CommandOptions, CommandProblem, CommandReader, LineOutcome, LineSplitter,
    MatcherName, Piece, StepCommand, parse_matchers,
};

use super::leg::{Leg, remark};
use super::log::StepTail;
use super::report::StepFault;
use super::scope::read_box_file;

/// What a step has asked for besides its output.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) outputs: Vec<(String, String)>,
    pub(super) saved: Vec<(String, String)>,
    pub(super) env: Vec<(String, String)>,
    pub(super) paths: Vec<String>,
    /// A command that could not be carried out lets the step fail.
    pub(super) failure: Option<String>,
}

/// The output of one step.
pub(super) struct StepOutput<'a, 'l> {
    leg: &'a Leg<'l>,
    number: usize,
    splitter: LineSplitter,
    lines: Lines<'a, 'l>,
    written: u64,
    /// The splitter holds nothing back: what came last ended a line.
    at_line_start: bool,
}

/// What becomes of the lines.
struct Lines<'a, 'l> {
    leg: &'a Leg<'l>,
    reader: CommandReader,
    masker: Masker,
    secrets_version: u64,
    has_matchers: bool,
    /// Masked, not yet in the log.
    ready: Vec<u8>,
    hides_long_line: bool,
    effects: Effects,
    /// A secret could not be added: nothing may be shown any more.
    unsafe_to_show: bool,
}

/// What a step's output came to.
pub(super) struct OutputEnd {
    pub(super) effects: Effects,
    pub(super) tail: StepTail,
    /// A secret could not be added: the leg must not go on.
    pub(super) unsafe_to_show: bool,
}

/// The output and its end.
pub(super) struct Listener<'a, 'l> {
    output: StepOutput<'a, 'l>,
    tail: StepTail,
}

impl<'a, 'l> Listener<'a, 'l> {
    /// Starts to listen to a step.
    pub(super) fn new(leg: &'a Leg<'l>, number: usize, env: &[(String, String)]) -> Self {
        let find = |name: &str| {
            let found = env.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let reader = CommandReader::new(CommandOptions::from_environment(find), leg.request.identity.debug);
        let (secrets, secrets_version, has_matchers) = {
            let mut state = leg.state();
            state.matchers.reset();
            (state.secrets.clone(), state.secrets_version, state.has_matchers)
        };
        let lines = Lines {
            leg,
            reader,
            masker: Masker::new(&secrets),
            secrets_version,
            has_matchers,
            ready: Vec::new(),
            hides_long_line: false,
            effects: Effects::default(),
            unsafe_to_show: false,
        };
        let output = StepOutput {
            leg,
            number,
            splitter: LineSplitter::new(),
            lines,
            written: 0,
            at_line_start: true,
        };
        Self {
            output,
            tail: StepTail::default(),
        }
    }

    /// Takes more output.
    ///
    /// Errors: there is too much of it, or the log cannot be written.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.written += bytes.len() as u64;
        if self.output.written > STEP_OUTPUT_BYTES_MAX {
            let message = format!("the step wrote more than {STEP_OUTPUT_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.output.lines.refresh();
        let Self { output, tail } = self;
        let rest = output.take_plain(bytes);
        output.splitter.push(rest, |piece| output.lines.take(piece));
        if let Some(last) = rest.last() {
            output.at_line_start = *last == b'\n';
        }
        if output.lines.unsafe_to_show {
            return Err(io::Error::other("a secret could not be masked"));
        }
        output.flush(tail, false)
    }

    /// Says a line of the runner's own, in its order among the output.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        self.output.lines.refresh();
        self.output.lines.show(line.as_bytes());
        let Self { output, tail } = self;
        output.flush(tail, false)
    }

    /// Ends the output.
    ///
    /// Errors: the log cannot be written.
    pub(super) fn finish(mut self) -> (OutputEnd, io::Result<()>) {
        let Self { output, tail } = &mut self;
        output.lines.refresh();
        output.splitter.finish(|piece| output.lines.take(piece));
        output.lines.masker.finish(&mut output.lines.ready);
        let written = if output.lines.unsafe_to_show {
            Ok(())
        } else {
            output.flush(tail, true)
        };
        let lines = self.output.lines;
        let end = OutputEnd {
            effects: lines.effects,
            tail: self.tail,
            unsafe_to_show: lines.unsafe_to_show,
        };
        (end, written)
    }
}

impl StepOutput<'_, '_> {
    /// Shows lines that cannot be commands as they came, all at once, and returns the rest.
    fn take_plain<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if !self.at_line_start || self.lines.has_matchers {
            return bytes;
        }
        let Some(end) = memchr::memrchr(b'\n', bytes) else {
            return bytes;
        };
        let (lines, rest) = bytes.split_at(end + 1);
        if may_hold_command(lines) {
            return bytes;
        }
        self.lines.masker.push(lines, &mut self.lines.ready);
        rest
    }

    /// Writes what is masked, whole lines at a time, as other steps may write, too.
    fn flush(&mut self, tail: &mut StepTail, all: bool) -> io::Result<()> {
        let ready = &mut self.lines.ready;
        let end = if all {
            ready.len()
        } else {
            ready
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1)
        };
        if end == 0 {
            return Ok(());
        }
        tail.push(&ready[..end]);
        self.leg
            .show(self.number, &ready[..end])
            .map_err(|fault| match fault {
                StepFault::Trouble(gantry_core::queue::build::Trouble::OutOfDisk, why) => {
                    io::Error::new(io::ErrorKind::StorageFull, why)
                }
                StepFault::Trouble(_, why) | StepFault::Failed(why) | StepFault::TimedOut(why) => {
                    io::Error::other(why)
                }
                StepFault::Cancelled => io::Error::other("cancelled"),
            })?;
        ready.drain(..end);
        Ok(())
    }
}

impl Lines<'_, '_> {
    /// Learns secrets and matchers that other steps have added.
    fn refresh(&mut self) {
        let state = self.leg.state();
        if state.secrets_version != self.secrets_version {
            self.masker.set_secrets(&state.secrets);
            self.secrets_version = state.secrets_version;
        }
        self.has_matchers = state.has_matchers;
    }

    fn show(&mut self, line: &[u8]) {
        self.masker.push(line, &mut self.ready);
        self.masker.push(b"\n", &mut self.ready);
    }

    fn take(&mut self, piece: Piece<'_>) {
        if self.unsafe_to_show {
            return;
        }
        match piece {
            Piece::Line(line) => self.take_line(line),
            Piece::LongStart(start) => {
                self.hides_long_line = !self.reader.may_show_long_line(start);
                if self.hides_long_line {
                    self.show(b"##[warning]A line that adds a mask is too long; it is not shown, and nothing is masked by it.");
                } else {
                    self.masker.push(start, &mut self.ready);
                }
            }
            Piece::LongMore(more) if !self.hides_long_line => self.masker.push(more, &mut self.ready),
            Piece::LongEnd(end) if !self.hides_long_line => self.show(end),
            Piece::LongMore(_) | Piece::LongEnd(_) => {}
        }
    }

    fn take_line(&mut self, line: &[u8]) {
        match self.reader.read_line(line) {
            LineOutcome::Text => self.take_text(line),
            LineOutcome::Command { command, shown } => {
                if let Some(shown) = shown {
                    self.show(shown.as_bytes());
                }
                self.obey(command);
            }
            LineOutcome::Problem { problem, shown } => {
                if let Some(shown) = shown {
                    self.show(shown.as_bytes());
                }
                self.complain(problem);
            }
        }
    }

    fn take_text(&mut self, line: &[u8]) {
        if self.has_matchers {
            let found = self.leg.state().matchers.match_line(line);
            if let Some(annotation) = found {
                self.masker.push(prefix(annotation.level), &mut self.ready);
                self.leg.state().annotate(annotation);
            }
        }
        self.show(line);
    }

    fn complain(&mut self, problem: CommandProblem) {
        for message in &problem.messages {
            let line = [prefix(problem.level), message.as_bytes()].concat();
            self.show(&line);
            self.leg.state().annotate(remark(problem.level, message.clone()));
        }
        if problem.fails_step {
            self.effects
                .failure
                .get_or_insert_with(|| problem.messages.join(" "));
        }
    }

    fn warn(&mut self, message: String) {
        self.complain(CommandProblem {
            level: AnnotationLevel::Warning,
            messages: vec![message],
            fails_step: false,
        });
    }

    fn obey(&mut self, command: StepCommand) {
        match command {
            StepCommand::SetOutput { name, value } => {
                super::leg::set_pair(&mut self.effects.outputs, name, value)
            }
            StepCommand::SaveState { name, value } => {
                super::leg::set_pair(&mut self.effects.saved, name, value)
            }
            StepCommand::SetEnv { name, value } => super::leg::set_pair(&mut self.effects.env, name, value),
            StepCommand::AddPath(path) => self.effects.paths.push(path),
            StepCommand::AddMask(value) => self.mask(&value),
            StepCommand::StopCommands { mask } => {
                if let Some(value) = mask {
                    self.mask(&value);
                }
            }
            StepCommand::Debug(message) => {
                if self.leg.request.identity.debug {
                    self.show(format!("##[debug]{message}").as_bytes());
                }
            }
            StepCommand::Annotation(annotation) => self.take_annotation(annotation),
            StepCommand::Group(title) => self.show(format!("##[group]{title}").as_bytes()),
            StepCommand::EndGroup => self.show(b"##[endgroup]"),
            StepCommand::Echo(_) | StepCommand::ResumeCommands => {}
            StepCommand::AddMatcher { file } => self.add_matchers(&file),
            StepCommand::RemoveMatcher(MatcherName::Owner(owner)) => self.leg.state().matchers.remove(&owner),
            StepCommand::RemoveMatcher(MatcherName::File(file)) => {
                if let Some(matchers) = self.read_matchers(&file) {
                    let mut state = self.leg.state();
                    matchers
                        .iter()
                        .for_each(|matcher| state.matchers.remove(matcher.owner()));
                }
            }
        }
    }

    fn take_annotation(&mut self, annotation: Annotation) {
        let line = [prefix(annotation.level), annotation.message.as_bytes()].concat();
        self.show(&line);
        self.leg.state().annotate(annotation);
    }

    fn mask(&mut self, value: &str) {
        let added = self.leg.state().add_secret("add-mask", value);
        match added {
            Ok(()) => self.refresh(),
            Err(error) => {
                self.unsafe_to_show = true;
                self.effects.failure = Some(format!("a secret cannot be masked: {error}"));
            }
        }
    }

    fn read_matchers(&mut self, file: &str) -> Option<Vec<gantry_workflow::command::Matcher>> {
        let at = Path::new(&self.leg.plan.workspace).join(file);
        let bytes = match read_box_file(self.leg.sandbox, &at, gantry_core::limits::ACTION_FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.warn(error.to_string());
                return None;
            }
        };
        match parse_matchers(&String::from_utf8_lossy(&bytes)) {
            Ok(matchers) => Some(matchers),
            Err(error) => {
                self.warn(error.to_string());
                None
            }
        }
    }

    fn add_matchers(&mut self, file: &str) {
        let Some(matchers) = self.read_matchers(file) else {
            return;
        };
        let mut state = self.leg.state();
        // Each goes in front of the others: from the last on, they keep the file's order.
        matchers
            .into_iter()
            .rev()
            .for_each(|matcher| state.matchers.add(matcher));
        state.has_matchers = true;
        drop(state);
        self.has_matchers = true;
    }
}

/// Tells whether there may be a command in whole lines, or an end of a line that the splitter knows and others do not.
fn may_hold_command(lines: &[u8]) -> bool {
    let starts_line = |at: usize| {
        let before = lines[..at].iter().rev().take_while(|byte| **byte != b'\n');
        // White space that is no ASCII counts, too; telling it from letters is left to who reads commands.
        before
            .into_iter()
            .all(|byte| byte.is_ascii_whitespace() || !byte.is_ascii() || *byte == 0x0b)
    };
    memchr::memchr(b'\r', lines).is_some()
        || memchr::memmem::find(lines, b"##[").is_some()
        || memchr::memmem::find_iter(lines, b"::").any(starts_line)
}

fn prefix(level: AnnotationLevel) -> &'static [u8] {
    match level {
        AnnotationLevel::Notice => b"##[notice]",
        AnnotationLevel::Warning => b"##[warning]",
        AnnotationLevel::Error => b"##[error]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_be_commands_are_looked_at_one_by_one() {
        for text in [
            "::a::b\n",
            "x\n  ::a::b\n",
            "x ##[group]y\n",
            "a\rb\n",
            "\u{a0}::a::\n",
        ] {
            assert!(may_hold_command(text.as_bytes()), "{text:?}");
        }
        for text in [
            "",
            "plain\n",
            "test a::b ... ok\n",
            "x\ny: std::io::Error\n",
            "# #[a]\n",
        ] {
            assert!(!may_hold_command(text.as_bytes()), "{text:?}");
        }
    }
}

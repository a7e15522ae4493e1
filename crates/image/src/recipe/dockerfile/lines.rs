//! A `Dockerfile`'s logical lines: continuations joined, comments out, heredocs taken along.

use crate::recipe::RecipeError;

/// The most bytes of a `Dockerfile`.
const BYTES_MAX: usize = 1024 * 1024;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins, from 1.
    pub(super) number: usize,
    /// In capitals.
    pub(super) word: String,
    /// What follows, on one line.
    pub(super) rest: String,
    pub(super) heredocs: Vec<Heredoc>,
}

/// A text that stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heredoc {
    pub(super) name: String,
    /// The mark as written, `<<EOF` and the like.
    pub(super) mark: String,
    pub(super) text: String,
    /// False where the name was quoted.
    pub(super) expands: bool,
}

/// Splits the file; also returns its escape character.
pub(super) fn lines(file: &str, text: &str) -> Result<(Vec<Line>, char), RecipeError> {
    if text.len() > BYTES_MAX {
        return Err(RecipeError::new(
            file,
            None,
            format!("it is longer than {BYTES_MAX} bytes"),
        ));
    }
    let escape = escape(file, text)?;
    let mut found = Vec::new();
    let mut source = (1..).zip(text.lines()).peekable();
    while let Some((number, first)) = source.next() {
        if is_skipped(first) {
            continue;
        }
        let mut whole = String::new();
        let mut line = first;
        loop {
            let trimmed = line.trim_end();
            let Some(before) = trimmed.strip_suffix(escape) else {
                whole.push_str(line);
                break;
            };
            whole.push_str(before);
            // Comments and empty lines inside of a continuation are left out.
            let next = source.by_ref().find(|(_, line)| !is_skipped(line));
            let Some((_, next)) = next else { break };
            line = next;
        }
        let whole = whole.trim();
        let (word, rest) = whole.split_once(char::is_whitespace).unwrap_or((whole, ""));
        let word = word.to_ascii_uppercase();
        let mut heredocs = Vec::new();
        if matches!(word.as_str(), "RUN" | "COPY" | "ADD") && !rest.trim_start().starts_with('[') {
            for mut heredoc in marks(rest) {
                let tabs = heredoc.mark.starts_with("<<-");
                let mut ended = false;
                for (_, line) in source.by_ref() {
                    let line = if tabs { line.trim_start_matches('\t') } else { line };
                    if line == heredoc.name {
                        ended = true;
                        break;
                    }
                    heredoc.text.push_str(line);
                    heredoc.text.push('\n');
                }
                if !ended {
                    let problem = format!(
                        "the text {} does not end; add a line {}",
                        heredoc.mark, heredoc.name
                    );
                    return Err(RecipeError::new(file, number, problem));
                }
                heredocs.push(heredoc);
            }
        }
        found.push(Line {
            number,
            word,
            rest: rest.trim().to_owned(),
            heredocs,
        });
    }
    Ok((found, escape))
}

fn is_skipped(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Reads the directives in front: only the first comment lines may be some.
fn escape(file: &str, text: &str) -> Result<char, RecipeError> {
    for (number, line) in (1..).zip(text.lines()) {
        let Some((key, value)) = line
            .trim()
            .strip_prefix('#')
            .and_then(|line| line.split_once('='))
        else {
            break;
        };
        match (key.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "`") => return Ok('`'),
            ("escape", "\\") => return Ok('\\'),
            ("escape", _) => return Err(RecipeError::new(file, number, "escape has to be \\ or `")),
            // Which parser and which checks docker uses.
            ("syntax" | "check", _) => {}
            _ => break,
        }
    }
    Ok('\\')
}

/// Finds `<<NAME`, `<<-NAME`, `<<"NAME"` outside of quotes.
fn marks(rest: &str) -> Vec<Heredoc> {
    let mut found = Vec::new();
    let mut quote = None;
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match quote {
            Some(open) if byte == open => quote = None,
            None if byte == b'\'' || byte == b'"' => quote = Some(byte),
            None if rest[at..].starts_with("<<")
                && !rest[at..].starts_with("<<<")
                && (at == 0 || bytes[at - 1] != b'<') =>
            {
                if let Some(heredoc) = mark(&rest[at..]) {
                    at += heredoc.mark.len();
                    found.push(heredoc);
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
        while at < bytes.len() && !rest.is_char_boundary(at) {
            at += 1;
        }
    }
    found
}

fn mark(text: &str) -> Option<Heredoc> {
    let after = text.strip_prefix("<<")?;
    let after = after.strip_prefix('-').unwrap_or(after);
    let quote = after.chars().next().filter(|first| matches!(first, '"' | '\''));
    let inner = quote.map_or(after, |_| &after[1..]);
    let end = inner
        .find(|next: char| !next.is_alphanumeric() && next != '_')
        .unwrap_or(inner.len());
    let name = &inner[..end];
    let first = name.chars().next()?;
    if first.is_numeric() || quote.is_some_and(|quote| !inner[end..].starts_with(quote)) {
        return None;
    }
    let length = text.len() - inner.len() + end + usize::from(quote.is_some());
    Some(Heredoc {
        name: name.to_owned(),
        mark: text[..length].to_owned(),
        text: String::new(),
        expands: quote.is_none(),
    })
}

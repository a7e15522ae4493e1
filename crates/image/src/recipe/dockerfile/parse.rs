//! Instructions of a `Dockerfile` as steps.

use super::expand::split_words;
use super::lines::{Heredoc, Line, lines};
use crate::recipe::error::{RecipeError, nearest};
use crate::recipe::stages::{Action, Base, CopySource, CopyStep, Recipe, Stage, Step};

/// What is understood.
const WORDS: [&str; 13] = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "WORKDIR",
    "USER",
    "SHELL",
    "LABEL",
    "EXPOSE",
    "ENTRYPOINT",
    "CMD",
];
/// What docker knows and an image of a box has no use for, with what to do instead.
const REFUSED: [(&str, &str); 5] = [
    ("VOLUME", "name the folder as a mount of the profile"),
    ("HEALTHCHECK", "boxes have no health checks; remove it"),
    ("STOPSIGNAL", "boxes end with SIGTERM; remove it"),
    ("ONBUILD", "write its step where it is to run"),
    ("MAINTAINER", "write LABEL maintainer=… instead"),
];
/// The most steps of a recipe.
const STEPS_MAX: usize = 2000;

/// Reads a `Dockerfile`; `file` is what errors call it.
///
/// Errors: [`RecipeError`] with the line, for everything outside of the subset in docs/images.md.
pub fn parse_dockerfile(file: &str, text: &str) -> Result<Recipe, RecipeError> {
    let (lines, escape) = lines(file, text)?;
    if lines.len() > STEPS_MAX {
        return Err(RecipeError::new(
            file,
            None,
            format!("it has more than {STEPS_MAX} instructions"),
        ));
    }
    let mut recipe = Recipe {
        file: file.to_owned(),
        arguments: Vec::new(),
        stages: Vec::new(),
        packages: Vec::new(),
        key_files: Vec::new(),
    };
    for line in &lines {
        let fail = |problem: String| RecipeError::new(file, line.number, problem);
        if line.word == "FROM" {
            let stage = from(line).map_err(fail)?;
            recipe.stages.push(stage);
            continue;
        }
        let actions = actions(line, escape).map_err(fail)?;
        for action in actions {
            match (recipe.stages.last_mut(), action) {
                (None, Action::Argument(name, default)) => recipe.arguments.push((name, default)),
                (None, _) => return Err(fail(format!("{} stands before the first FROM", line.word))),
                (Some(stage), action) => stage.steps.push(Step {
                    line: line.number,
                    text: shown(line),
                    action,
                }),
            }
        }
    }
    if recipe.stages.is_empty() {
        return Err(RecipeError::new(
            file,
            None,
            "it has no FROM; begin with FROM and an image",
        ));
    }
    Ok(recipe)
}

fn shown(line: &Line) -> String {
    let mut text = format!("{} {}", line.word, line.rest);
    for heredoc in &line.heredocs {
        text.push('\n');
        text.push_str(&heredoc.text);
        text.push_str(&heredoc.name);
    }
    text
}

fn from(line: &Line) -> Result<Stage, String> {
    let words: Vec<&str> = line.rest.split_whitespace().collect();
    if let Some(flag) = words.iter().find(|word| word.starts_with("--")) {
        return Err(format!(
            "FROM {flag} is not supported: images are for this machine; remove it"
        ));
    }
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, middle, name] if middle.eq_ignore_ascii_case("as") => {
            (base, Some((*name).to_ascii_lowercase()))
        }
        _ => return Err("FROM takes an image, and AS with a name".to_owned()),
    };
    let base = match *base {
        "scratch" => Base::Scratch,
        "host" => Base::Host,
        name => Base::Image(name.to_owned()),
    };
    Ok(Stage {
        name,
        base,
        line: line.number,
        steps: Vec::new(),
    })
}

fn actions(line: &Line, escape: char) -> Result<Vec<Action>, String> {
    let rest = line.rest.as_str();
    if rest.is_empty() {
        return Err(refused(&line.word).unwrap_or_else(|| format!("{} says nothing", line.word)));
    }
    let one = match line.word.as_str() {
        "RUN" => run(rest, &line.heredocs)?,
        "COPY" | "ADD" => copy(&line.word, rest, &line.heredocs, escape)?,
        "ENV" => Action::Env(pairs(rest, escape)?),
        "LABEL" => Action::Label(pairs(rest, escape)?),
        "ARG" => {
            let words = split_words(rest, escape)?;
            return words.iter().map(|word| argument(word)).collect();
        }
        "WORKDIR" => Action::Folder(rest.to_owned()),
        "USER" => Action::User(rest.to_owned()),
        "SHELL" => Action::Shell(json_words(rest).ok_or("SHELL takes a list like [\"/bin/bash\", \"-c\"]")?),
        "EXPOSE" => Action::Expose(rest.split_whitespace().map(str::to_owned).collect()),
        "ENTRYPOINT" => Action::Entrypoint(command(rest)),
        "CMD" => Action::Command(command(rest)),
        other => return Err(refused(other).unwrap_or_else(|| unknown(other))),
    };
    Ok(vec![one])
}

fn refused(word: &str) -> Option<String> {
    let (word, instead) = REFUSED.iter().find(|(refused, _)| *refused == word)?;
    Some(format!("{word} is not supported: {instead}"))
}

fn unknown(word: &str) -> String {
    match nearest(word, &WORDS) {
        Some(near) => format!("unknown instruction {word}; did you mean {near}?"),
        None => format!("unknown instruction {word}; there are {}", WORDS.join(", ")),
    }
}

/// Returns the words of a JSON list; `None` for anything else, which docker then takes as a line.
fn json_words(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str::<Vec<String>>(rest)
        .ok()
        .filter(|words| !words.is_empty())
}

/// A line is run by `/bin/sh -c`, in `CMD` and `ENTRYPOINT`, too.
fn command(rest: &str) -> Vec<String> {
    json_words(rest).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()])
}

fn run(rest: &str, heredocs: &[Heredoc]) -> Result<Action, String> {
    if let Some(flag) = rest
        .split_whitespace()
        .next()
        .filter(|word| word.starts_with("--"))
    {
        let name = flag.split('=').next().unwrap_or(flag);
        return Err(format!("RUN {name} is not supported; remove it"));
    }
    if let Some(words) = json_words(rest) {
        return Ok(Action::RunWords(words));
    }
    match heredocs {
        [] => Ok(Action::RunLine(rest.to_owned())),
        [only] if only.mark == rest => {
            if only.text.starts_with("#!") {
                return Err(
                    "a RUN text with #! is not supported; name the program: RUN python3 <<EOF".to_owned(),
                );
            }
            Ok(Action::RunLine(only.text.clone()))
        }
        // The shell reads the texts itself.
        several => {
            let texts = several
                .iter()
                .map(|heredoc| format!("{}{}\n", heredoc.text, heredoc.name));
            Ok(Action::RunLine(format!("{rest}\n{}", texts.collect::<String>())))
        }
    }
}

fn copy(word: &str, rest: &str, heredocs: &[Heredoc], escape: char) -> Result<Action, String> {
    let (mut from, mut mode, mut owner) = (None, None, None);
    let mut left = rest;
    while let Some(flag) = left
        .split_whitespace()
        .next()
        .filter(|word| word.starts_with("--"))
    {
        left = left[flag.len()..].trim_start();
        match flag.split_once('=') {
            Some(("--from", value)) if word == "COPY" => from = Some(value.to_owned()),
            Some(("--chown", value)) => owner = Some(value.to_owned()),
            Some(("--chmod", value)) => {
                let octal = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                mode =
                    Some(octal.ok_or_else(|| format!("--chmod={value}: write the mode in octal, like 755"))?);
            }
            _ => return Err(format!("{word} {flag} is not supported; remove it")),
        }
    }
    let mut words = match json_words(left) {
        // Words of a list are taken as they are but for variables, so that quotes and spaces are kept apart.
        Some(words) => words
            .iter()
            .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect(),
        None => split_words(left, escape)?,
    };
    let target = words.pop().filter(|_| !words.is_empty());
    let target = target.ok_or_else(|| format!("{word} takes at least one source and a target"))?;
    let mut sources = Vec::new();
    for source in words {
        if let Some(heredoc) = heredocs.iter().find(|heredoc| heredoc.mark == source) {
            sources.push(CopySource::Inline(
                heredoc.name.clone(),
                heredoc.text.clone(),
                heredoc.expands,
            ));
            continue;
        }
        if word == "ADD" {
            no_magic(&source)?;
        }
        sources.push(CopySource::Path(source));
    }
    Ok(Action::Copy(CopyStep {
        from,
        sources,
        target,
        mode,
        owner,
    }))
}

/// `ADD` fetches and unpacks by the look of a name; here it copies.
fn no_magic(source: &str) -> Result<(), String> {
    let plain = source.trim_matches('"');
    if plain.contains("://") || plain.starts_with("git@") {
        return Err(format!(
            "ADD {source}: fetching is not supported; RUN a program that fetches and checks it"
        ));
    }
    let packed = [
        ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst",
    ];
    if packed.iter().any(|end| plain.ends_with(end)) {
        return Err(format!(
            "ADD {source}: unpacking is not supported; COPY it and RUN tar"
        ));
    }
    Ok(())
}

/// Reads `KEY=VALUE …`, or the old `KEY the rest`.
fn pairs(rest: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = split_words(rest, escape)?;
    let first = words.first().ok_or("it says nothing")?;
    if !first.contains('=') {
        let (key, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{rest} has no value; write {rest}=…"))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.trim_matches('"').to_owned(), value.to_owned())),
            _ => Err(format!(
                "{word} is no KEY=VALUE; put quotes around values with spaces"
            )),
        })
        .collect()
}

fn argument(word: &str) -> Result<Action, String> {
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (word, None),
    };
    let plain = name
        .chars()
        .all(|next| next.is_ascii_alphanumeric() || next == '_');
    if name.is_empty() || !plain {
        return Err(format!("{name:?} is no name of an argument"));
    }
    Ok(Action::Argument(name.to_owned(), default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Recipe {
        parse_dockerfile("Dockerfile", text).expect("a Dockerfile of the subset")
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn each_instruction_is_read() {
        let recipe = parse(
            "# syntax=docker/dockerfile:1\nARG V=1\nfrom base:$V as One\nENV A=1 B=\"2 3\"\nENV OLD the rest\n\
             RUN a \\\n  # inside\n\n  b\nRUN [\"x\", \"y z\"]\nFROM scratch\nARG V X=2\nCOPY --from=one --chmod=755 a b /c/\n\
             ADD [\"with space\", \"/d\"]\nWORKDIR /w\nUSER me:us\nSHELL [\"/bin/bash\", \"-c\"]\nLABEL k=v\n\
             EXPOSE 80 53/udp\nENTRYPOINT [\"e\"]\nCMD run it\n",
        );
        assert_eq!(recipe.arguments, [("V".to_owned(), Some("1".to_owned()))]);
        let [one, two] = recipe.stages.as_slice() else {
            panic!("two stages")
        };
        assert_eq!(
            (one.name.as_deref(), &one.base),
            (Some("one"), &Base::Image("base:$V".to_owned()))
        );
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let actions: Vec<&Action> = one.steps.iter().map(|step| &step.action).collect();
        assert_eq!(
            actions,
            [
                &Action::Env(vec![pair("A", "1"), pair("B", "\"2 3\"")]),
                &Action::Env(vec![pair("OLD", "the rest")]),
                &Action::RunLine("a   b".to_owned()),
                &Action::RunWords(words(&["x", "y z"])),
            ]
        );
        assert_eq!(one.steps[2].line, 6);
        let copied = CopyStep {
            from: Some("one".to_owned()),
            sources: vec![CopySource::Path("a".to_owned()), CopySource::Path("b".to_owned())],
            target: "/c/".to_owned(),
            mode: Some(0o755),
            owner: None,
        };
        let actions: Vec<&Action> = two.steps.iter().map(|step| &step.action).collect();
        assert_eq!(
            actions[..2],
            [
                &Action::Argument("V".to_owned(), None),
                &Action::Argument("X".to_owned(), Some("2".to_owned()))
            ]
        );
        assert_eq!(actions[2], &Action::Copy(copied));
        assert!(
            matches!(actions[3], Action::Copy(copy) if copy.sources == [CopySource::Path("\"with space\"".to_owned())])
        );
        assert_eq!(
            actions[4..6],
            [
                &Action::Folder("/w".to_owned()),
                &Action::User("me:us".to_owned())
            ]
        );
        assert_eq!(
            actions[9..],
            [
                &Action::Entrypoint(words(&["e"])),
                &Action::Command(words(&["/bin/sh", "-c", "run it"]))
            ]
        );
    }

    #[test]
    fn texts_in_the_file_are_taken_along() {
        let recipe = parse(
            "FROM a\nRUN <<EOF\none\n# kept\nEOF\nRUN cat <<-'X' > f\n\t$a\n\tX\nCOPY <<A <<\"B\" /d/\na\nA\nb\nB\nRUN c\n",
        );
        let actions: Vec<&Action> = recipe.stages[0].steps.iter().map(|step| &step.action).collect();
        assert_eq!(actions[0], &Action::RunLine("one\n# kept\n".to_owned()));
        assert_eq!(actions[1], &Action::RunLine("cat <<-'X' > f\n$a\nX\n".to_owned()));
        let Action::Copy(copy) = actions[2] else {
            panic!("a copy")
        };
        let inline =
            |name: &str, text: &str, expands| CopySource::Inline(name.to_owned(), text.to_owned(), expands);
        assert_eq!(
            copy.sources,
            [inline("A", "a\n", true), inline("B", "b\n", false)]
        );
        assert_eq!(actions[3], &Action::RunLine("c".to_owned()));
    }

    #[test]
    fn another_escape_lets_backslashes_be() {
        let recipe = parse("# escape=`\nFROM a\nRUN one `\n two\\\n");
        assert_eq!(
            recipe.stages[0].steps[0].action,
            Action::RunLine("one  two\\".to_owned())
        );
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name_and_line() {
        let check = |text: &str, line: usize, words: &str| {
            let error = parse_dockerfile("Dockerfile", text).expect_err(text);
            assert_eq!(error.line, Some(line), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        check("FROM a\n\nHEALTHCHECK CMD x\n", 3, "HEALTHCHECK is not supported");
        check("FROM a\nVOLUME /x", 2, "VOLUME is not supported: name the folder");
        check("FROM a\nCOPPY a b", 2, "did you mean COPY?");
        check("RUN x", 1, "before the first FROM");
        check(
            "FROM --platform=linux/arm64 a",
            1,
            "--platform=linux/arm64 is not supported",
        );
        check(
            "FROM a\nRUN --mount=type=cache,target=/x y",
            2,
            "RUN --mount is not supported",
        );
        check("FROM a\nCOPY --link a b", 2, "COPY --link is not supported");
        check("FROM a\nCOPY --chmod=u+x a b", 2, "in octal");
        check("FROM a\nCOPY a", 2, "at least one source");
        check("FROM a\nADD https://x/y /z", 2, "fetching is not supported");
        check("FROM a\nADD x.tar.gz /z", 2, "unpacking is not supported");
        check("FROM a\nRUN <<EOF\nx\n", 2, "does not end");
        check(
            "FROM a\nRUN <<EOF\n#!/usr/bin/python3\nEOF\n",
            2,
            "#! is not supported",
        );
        check("FROM a\nENV A", 2, "A has no value");
        check("FROM a\nSHELL bash", 2, "SHELL takes a list");
        assert!(
            parse_dockerfile("Dockerfile", "# nothing\n")
                .expect_err("empty")
                .to_string()
                .contains("no FROM")
        );
    }
    #[test]
    fn the_factory_s_own_recipe_is_in_the_subset() {
        let recipe = parse(include_str!("../../../../../images/factory/Dockerfile"));
        assert_eq!(recipe.stages.len(), 1);
        let runs = recipe.stages[0]
            .steps
            .iter()
            .filter(|step| matches!(step.action, Action::RunLine(_)));
        assert_eq!(runs.count(), 2);
    }
}

//! `devcontainer.json` as input: what of it makes an image. Everything else is named as ignored, never in silence.

use serde_json::{Map, Value};

use super::error::RecipeError;
use super::stages::{Action, Base, Recipe, Stage, Step};

/// What a `devcontainer.json` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devcontainer {
    /// The `Dockerfile` to begin with, relative to the file's folder, where it names one instead of an image.
    pub dockerfile: Option<String>,
    /// The build's context, relative to the file's folder.
    pub context: Option<String>,
    /// The build's arguments.
    pub arguments: Vec<(String, String)>,
    /// The image; with a `dockerfile` the base is only the place where [`Self::on`] puts that one's stages.
    pub recipe: Recipe,
    /// Keys that are not looked at.
    pub ignored: Vec<String>,
}

/// Commands, in the order in which they run.
const COMMANDS: [&str; 3] = ["onCreateCommand", "updateContentCommand", "postCreateCommand"];
const KNOWN: [&str; 4] = ["image", "build", "containerEnv", "remoteUser"];

impl Devcontainer {
    /// Puts the file's own steps behind those of the `Dockerfile` it names.
    #[must_use]
    pub fn on(&self, mut dockerfile: Recipe) -> Recipe {
        let own = self
            .recipe
            .stages
            .iter()
            .flat_map(|stage| stage.steps.iter().cloned());
        if let Some(last) = dockerfile.stages.last_mut() {
            last.steps.extend(own);
        }
        dockerfile
    }
}

/// Reads a `devcontainer.json`, with its comments.
///
/// Errors: [`RecipeError`] for text that is no JSON, for neither an image nor a `Dockerfile`, for values of another
/// type, and for variables, which only an editor knows.
pub fn parse_devcontainer(file: &str, text: &str) -> Result<Devcontainer, RecipeError> {
    let fail = |problem: String| RecipeError::new(file, None, problem);
    let value: Value = serde_json::from_str(&plain_json(text))
        .map_err(|error| RecipeError::new(file, error.line(), error.to_string()))?;
    let Value::Object(keys) = value else {
        return Err(fail("it has to be an object".to_owned()));
    };
    let mut ignored: Vec<String> = (keys.keys())
        .filter(|key| !KNOWN.contains(&key.as_str()) && !COMMANDS.contains(&key.as_str()))
        .cloned()
        .collect();
    let build = match keys.get("build") {
        None => Map::new(),
        Some(Value::Object(build)) => build.clone(),
        Some(_) => return Err(fail("`build` has to be an object".to_owned())),
    };
    ignored.extend(
        (build.keys())
            .filter(|key| !["dockerfile", "context", "args"].contains(&key.as_str()))
            .map(|key| format!("build.{key}")),
    );
    let image = word(&keys, "image", file)?;
    let dockerfile = word(&build, "dockerfile", file)?;
    if image.is_none() && dockerfile.is_none() {
        return Err(fail(
            "it names neither `image` nor `build.dockerfile`; add one".to_owned(),
        ));
    }
    let mut steps = Vec::new();
    for (name, value) in words(&keys, "containerEnv", file)? {
        steps.push(step(
            format!("ENV {name}"),
            Action::Env(vec![(name.clone(), single_quoted(&value))]),
            &value,
        ));
    }
    if let Some(user) = word(&keys, "remoteUser", file)? {
        steps.push(step("USER".to_owned(), Action::User(user.clone()), &user));
    }
    for key in COMMANDS {
        if let Some(value) = keys.get(key) {
            steps.extend(commands(key, value).ok_or_else(|| fail(format!("`{key}` is no command")))?);
        }
    }
    Ok(Devcontainer {
        context: word(&build, "context", file)?,
        arguments: words(&build, "args", file)?,
        dockerfile,
        recipe: Recipe {
            file: file.to_owned(),
            arguments: Vec::new(),
            stages: vec![Stage {
                name: None,
                base: Base::Image(image.unwrap_or_else(|| "scratch".to_owned())),
                line: 0,
                steps,
            }],
            packages: Vec::new(),
            key_files: Vec::new(),
        },
        ignored,
    })
}

fn step(what: String, action: Action, value: &str) -> Step {
    Step {
        line: 0,
        text: format!("{what} {value}"),
        action,
    }
}

/// A value that stays as it is when words are expanded.
fn single_quoted(value: &str) -> String {
    value
        .split('\'')
        .map(|part| format!("'{part}'"))
        .collect::<Vec<_>>()
        .join("\"'\"")
}

fn word(keys: &Map<String, Value>, key: &str, file: &str) -> Result<Option<String>, RecipeError> {
    let text = match keys.get(key) {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(RecipeError::new(file, None, format!("`{key}` has to be a text"))),
    };
    no_variable(key, text, file)?;
    Ok(Some(text.clone()))
}

fn words(keys: &Map<String, Value>, key: &str, file: &str) -> Result<Vec<(String, String)>, RecipeError> {
    let table = match keys.get(key) {
        None => return Ok(Vec::new()),
        Some(Value::Object(table)) => table,
        Some(_) => {
            return Err(RecipeError::new(
                file,
                None,
                format!("`{key}` has to be an object"),
            ));
        }
    };
    table
        .keys()
        .filter_map(|name| Some((name.clone(), word(table, name, file).transpose()?)))
        .map(|(name, value)| Ok((name, value?)))
        .collect()
}

fn no_variable(key: &str, text: &str, file: &str) -> Result<(), RecipeError> {
    if text.contains("${") {
        let problem = format!("`{key}` has a variable ({text}), which only an editor knows; write the value");
        return Err(RecipeError::new(file, None, problem));
    }
    Ok(())
}

/// A command is a line, words, or several of either by name.
fn commands(key: &str, value: &Value) -> Option<Vec<Step>> {
    match value {
        Value::String(line) => Some(vec![step(key.to_owned(), Action::RunLine(line.clone()), line)]),
        Value::Array(words) => {
            let words: Vec<String> = words
                .iter()
                .map(|word| word.as_str().map(str::to_owned))
                .collect::<Option<_>>()?;
            let shown = words.join(" ");
            (!words.is_empty()).then(|| vec![step(key.to_owned(), Action::RunWords(words), &shown)])
        }
        Value::Object(several) => {
            let steps: Option<Vec<Vec<Step>>> = several.values().map(|one| commands(key, one)).collect();
            steps.map(|steps| steps.concat())
        }
        _ => None,
    }
}

/// Returns JSON without comments and without commas before a closing bracket; lines stay where they are.
fn plain_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if character == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|next| {
                let ends = next == '"' && !escaped;
                escaped = next == '\\' && !escaped;
                ends
            });
            let end = end.map_or(rest.len(), |end| end + 2);
            plain.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").map_or(comment.len(), |end| end + 2);
            plain.extend(comment[..end].chars().filter(|character| *character == '\n'));
            rest = &comment[end..];
        } else {
            if matches!(character, ']' | '}') && plain.trim_end().ends_with(',') {
                let comma = plain.trim_end().len() - 1;
                plain.remove(comma);
            }
            plain.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_an_image_is_taken_and_the_rest_is_named() {
        let text = r#"{
            // A comment with "quotes".
            "name": "x", /* "image": "no" */
            "image": "debian:12",
            "containerEnv": { "URL": "http://a//b", "COST": "$5 it's", },
            "remoteUser": "dev",
            "forwardPorts": [80],
            "postCreateCommand": { "b": "make b", "a": ["make", "a"] },
            "onCreateCommand": "make first",
        }"#;
        let found = parse_devcontainer("devcontainer.json", text).expect("valid");
        assert_eq!(found.ignored, ["forwardPorts", "name"]);
        assert_eq!(
            found.recipe.step_texts(),
            [
                "FROM debian:12",
                "ENV COST $5 it's",
                "ENV URL http://a//b",
                "USER dev",
                "onCreateCommand make first",
                "postCreateCommand make a",
                "postCreateCommand make b"
            ]
        );
        let Action::Env(pairs) = &found.recipe.stages[0].steps[0].action else {
            panic!("an environment")
        };
        let value = crate::recipe::expand(&pairs[0].1, &|_| Some("wrong".to_owned()), '\\').expect("a word");
        assert_eq!(value, "$5 it's");
    }

    #[test]
    fn a_dockerfile_comes_first() {
        let text = r#"{"build": {"dockerfile": "D", "context": "..", "args": {"V": "1"}, "target": "t"}, "remoteUser": "u"}"#;
        let found = parse_devcontainer("d.json", text).expect("valid");
        assert_eq!(
            (found.dockerfile.as_deref(), found.context.as_deref()),
            (Some("D"), Some(".."))
        );
        assert_eq!(
            (found.arguments.len(), found.ignored.clone()),
            (1, vec!["build.target".to_owned()])
        );
        let recipe = found.on(crate::recipe::parse_dockerfile("D", "FROM a\nRUN b\n").expect("valid"));
        assert_eq!(recipe.step_texts(), ["FROM a", "RUN b", "USER u"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, words: &str| {
            let error = parse_devcontainer("d.json", text).expect_err(text).to_string();
            assert!(error.contains(words), "{error}");
        };
        check("{", "d.json line 1");
        check("{}", "neither `image` nor `build.dockerfile`");
        check(r#"{"image": 1}"#, "`image` has to be a text");
        check(
            r#"{"image": "a", "remoteUser": "${localEnv:USER}"}"#,
            "only an editor knows",
        );
        check(
            r#"{"image": "a", "onCreateCommand": 1}"#,
            "`onCreateCommand` is no command",
        );
    }
}

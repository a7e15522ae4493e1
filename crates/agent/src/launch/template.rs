//! Fills placeholders in a lane's arguments. A value is put in whole and never read again, so that nothing in it is a
//! placeholder, an option of its own or a word of a shell.

use super::plan::LaunchError;

/// What placeholders stand for in one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub workspace: &'a str,
    pub home: &'a str,
    pub brief: Option<&'a str>,
    pub model: Option<&'a str>,
    pub session: Option<&'a str>,
}

impl<'a> Values<'a> {
    /// Returns the value of a placeholder and what to do if there is none; `None` for any other word.
    fn of(&self, word: &str) -> Option<(Option<&'a str>, &'static str)> {
        match word {
            "workspace" => Some((Some(self.workspace), "")),
            "home" => Some((Some(self.home), "")),
            "brief" => Some((self.brief, "the brief is on standard input")),
            "model" => Some((self.model, "set the lane's or the agent's model")),
            "session" => Some((self.session, "write it in the resume argv only")),
            _ => None,
        }
    }
}

/// Puts the values of a run in a text. Braces around any other word are left as they are.
///
/// Errors: [`LaunchError::NoValue`].
pub(crate) fn fill(text: &str, values: &Values<'_>) -> Result<String, LaunchError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, behind) = rest.split_at(open);
        filled.push_str(before);
        let word = behind[1..].split_once('}').map(|(word, _)| word);
        let Some((word, (value, fix))) = word.and_then(|word| Some((word, values.of(word)?))) else {
            filled.push('{');
            rest = &behind[1..];
            continue;
        };
        let Some(value) = value else {
            return Err(LaunchError::NoValue {
                argument: text.to_owned(),
                placeholder: word.to_owned(),
                fix,
            });
        };
        filled.push_str(value);
        rest = &behind[word.len() + 2..];
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values {
        workspace: "/ws",
        home: "/h{model}",
        brief: None,
        model: Some("m"),
        session: None,
    };

    #[test]
    fn placeholders_are_filled_once_and_other_braces_stay() {
        for (text, expected) in [
            ("--cd={workspace}", "--cd=/ws"),
            ("{home}{model}", "/h{model}m"),
            ("{\"a\":{b}}{", "{\"a\":{b}}{"),
            ("{{model}}", "{m}"),
            ("", ""),
        ] {
            assert_eq!(fill(text, &VALUES).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_is_named() {
        let error = fill("--resume={session}", &VALUES).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"--resume={session}\" needs {session}, which this run does not have: write it in the resume argv only"
        );
    }
}

//! How a lane says what a program's JSON lines mean.

/// How a program's output is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CommandOutput {
    /// Each line is a message; how the program exits is how the run ended.
    #[default]
    Lines,
    /// Each line is a JSON object.
    Json(Box<LineMapping>),
}

impl CommandOutput {
    /// True if the program says itself how its work ended, so that ending without a word is no success.
    #[must_use]
    pub const fn says_result(&self) -> bool {
        match self {
            Self::Lines => false,
            Self::Json(mapping) => mapping.result.is_some(),
        }
    }
}

/// Where in a line things stand.
///
/// Shape: JSON pointers (RFC 6901), such as `/usage/input`; a line that lacks one says nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineMapping {
    /// The session's name: a text.
    pub session: Option<String>,
    /// The model: a text.
    pub model: Option<String>,
    /// What the agent says: a text.
    pub message: Option<String>,
    /// Tokens read, those of them cached, and tokens written: numbers.
    pub input_tokens: Option<String>,
    /// Those of the tokens read that were cached.
    pub cached_input_tokens: Option<String>,
    /// Tokens written.
    pub output_tokens: Option<String>,
    /// The price in dollars: a number.
    pub cost_usd: Option<String>,
    /// Each line's numbers are those of the whole run so far; otherwise they are added up.
    pub usage_is_total: bool,
    /// The last word of a run that went well: a text.
    pub result: Option<String>,
    /// Why the run failed: a text.
    pub error: Option<String>,
}

impl LineMapping {
    /// Returns a pointer that can lead nowhere, with the name of its field: one that is not empty and has no slash at
    /// its start.
    #[must_use]
    pub fn wrong_pointer(&self) -> Option<(&'static str, &str)> {
        let all = [
            ("session", &self.session),
            ("model", &self.model),
            ("message", &self.message),
            ("input_tokens", &self.input_tokens),
            ("cached_input_tokens", &self.cached_input_tokens),
            ("output_tokens", &self.output_tokens),
            ("cost_usd", &self.cost_usd),
            ("result", &self.result),
            ("error", &self.error),
        ];
        all.into_iter()
            .filter_map(|(name, pointer)| Some((name, pointer.as_deref()?)))
            .find(|(_, pointer)| !pointer.is_empty() && !pointer.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_without_a_slash_is_found() {
        let mut mapping = LineMapping {
            message: Some("/text".to_owned()),
            session: Some(String::new()),
            ..LineMapping::default()
        };
        assert_eq!(mapping.wrong_pointer(), None);
        mapping.error = Some("error".to_owned());
        assert_eq!(mapping.wrong_pointer(), Some(("error", "error")));
    }
}

//! The inputs of a step. Owns how they are named, defaulted and read, as the official toolkit does.

use std::collections::BTreeMap;

/// One input an action has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name.
    pub name: &'static str,
    /// What it is if the step says nothing.
    pub default: &'static str,
}

/// Makes an input without a default.
pub(super) const fn input(name: &'static str) -> InputSpec {
    InputSpec { name, default: "" }
}

/// Makes an input with a default.
pub(super) const fn default(name: &'static str, default: &'static str) -> InputSpec {
    InputSpec { name, default }
}

/// Why an input is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// It is not there.
    #[error("Input required and not supplied: {0}")]
    Required(&'static str),
    /// It is not a truth value.
    #[error(
        "Input does not meet YAML 1.2 \"Core Schema\" specification: {0}\nSupport boolean input list: `true | True | TRUE | false | False | FALSE`"
    )]
    Boolean(&'static str),
    /// It is none of the words it may be.
    #[error("the input {name} is '{value}'; it may be {may}")]
    Word {
        /// Its name.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        may: &'static str,
    },
}

/// The inputs of one step, complete with the action's defaults.
#[derive(Debug, Clone, Default)]
pub struct Inputs(BTreeMap<String, String>);

impl Inputs {
    /// Takes the `with` of a step, and says which of its names the action does not have.
    #[must_use]
    pub fn new(specs: &[InputSpec], given: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        let mut values: BTreeMap<String, String> = specs
            .iter()
            .map(|spec| (spec.name.to_lowercase(), spec.default.to_owned()))
            .collect();
        let mut unknown = Vec::new();
        for (name, value) in given {
            let lower = name.to_lowercase();
            if !values.contains_key(&lower) {
                unknown.push(name.clone());
            }
            values.insert(lower, value.clone());
        }
        (Self(values), unknown)
    }

    /// Returns an input without the white space around it; empty if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(&name.to_lowercase()).map_or("", |value| value.trim())
    }

    /// Returns an input that has to be there.
    ///
    /// Errors: [`InputError::Required`].
    pub fn required(&self, name: &'static str) -> Result<&str, InputError> {
        match self.get(name) {
            "" => Err(InputError::Required(name)),
            value => Ok(value),
        }
    }

    /// Reads a truth value; an empty one is false.
    ///
    /// Errors: [`InputError::Boolean`].
    pub fn is(&self, name: &'static str) -> Result<bool, InputError> {
        match self.get(name) {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" | "" => Ok(false),
            _ => Err(InputError::Boolean(name)),
        }
    }

    /// Reads a number that is not negative; an empty one is `otherwise`.
    ///
    /// Errors: [`InputError::Word`].
    pub fn number(&self, name: &'static str, otherwise: u32) -> Result<u32, InputError> {
        match self.get(name) {
            "" => Ok(otherwise),
            text => text.parse().map_err(|_| InputError::Word {
                name,
                value: text.to_owned(),
                may: "a number from 0 on",
            }),
        }
    }

    /// Returns the lines of an input that are not empty.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_as_the_toolkit_does() {
        let given = [("Path", " a "), ("flag", "True"), ("other", "x"), ("bad", "yes")];
        let given = given
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let specs = [
            input("path"),
            default("flag", "false"),
            default("level", "6"),
            input("bad"),
        ];
        let (inputs, unknown) = Inputs::new(&specs, &given);
        assert_eq!(unknown, ["other"]);
        assert_eq!(inputs.get("path"), "a");
        assert_eq!(inputs.is("flag"), Ok(true));
        assert_eq!(inputs.number("level", 1), Ok(6));
        assert_eq!(inputs.is("bad"), Err(InputError::Boolean("bad")));
        assert!(inputs.number("bad", 1).is_err());
        assert_eq!(inputs.required("missing"), Err(InputError::Required("missing")));
    }
}

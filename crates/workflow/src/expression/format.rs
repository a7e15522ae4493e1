//! The format strings of `format`. Owns their grammar; must never evaluate an argument.
//!
//! Source: `Functions/Format.cs` of actions/runner.

use super::error::EvaluationErrorKind;

/// A piece of a format string.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text as it stands.
    Text(&'a str),
    /// The argument at this place, from 0, and what follows its colon.
    Argument(u8, String),
}

/// Cuts a format string into its pieces.
///
/// Errors: [`EvaluationErrorKind::InvalidFormat`], and [`EvaluationErrorKind::FormatArgument`] if it names an
/// argument at `argument_count` or above.
pub(super) fn pieces(format: &str, argument_count: usize) -> Result<Vec<Piece<'_>>, EvaluationErrorKind> {
    let invalid = || EvaluationErrorKind::InvalidFormat(format.to_owned());
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(brace);
        let after = &from_brace[1..];
        let doubled = after.starts_with(&from_brace[..1]);
        if doubled {
            pieces.push(Piece::Text(&rest[..=brace]));
            rest = &after[1..];
        } else if from_brace.starts_with('{') {
            let (place, specifiers, behind) = argument(after).ok_or_else(invalid)?;
            if usize::from(place) >= argument_count {
                return Err(EvaluationErrorKind::FormatArgument(format.to_owned()));
            }
            pieces.push(Piece::Text(before));
            pieces.push(Piece::Argument(place, specifiers));
            rest = behind;
        } else {
            return Err(invalid());
        }
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// Reads `N}` or `N:specifiers}`, and returns the text behind it too.
fn argument(text: &str) -> Option<(u8, String, &str)> {
    let after_digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let place = text[..text.len() - after_digits.len()].parse().ok()?;
    if let Some(behind) = after_digits.strip_prefix('}') {
        return Some((place, String::new(), behind));
    }
    let mut rest = after_digits.strip_prefix(':')?;
    let mut specifiers = String::new();
    loop {
        let (before, after) = rest.split_once('}')?;
        specifiers.push_str(before);
        let Some(behind_doubled) = after.strip_prefix('}') else {
            return Some((place, specifiers, after));
        };
        specifiers.push('}');
        rest = behind_doubled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_end_at_a_single_brace() {
        let cut = pieces("a{1:x}}y}b", 2).unwrap();
        let argument = Piece::Argument(1, "x}y".to_owned());
        assert_eq!(cut, [Piece::Text("a"), argument, Piece::Text("b")]);
    }

    #[test]
    fn a_number_that_no_byte_holds_is_no_argument() {
        let answer = pieces("{256}", 300);
        assert_eq!(
            answer,
            Err(EvaluationErrorKind::InvalidFormat("{256}".to_owned()))
        );
    }
}

//! Words of a `Dockerfile`: quotes, escapes and variables. Source: "Environment replacement" in the reference.

/// Puts variables into one word and takes its quotes off.
///
/// Errors: what is wrong, as text.
pub(crate) fn expand(
    word: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    escape: char,
) -> Result<String, String> {
    let mut out = String::new();
    Expansion { lookup, escape }.run(word, false, &mut out)?;
    Ok(out)
}

/// Parts a text into words at spaces outside of quotes, and expands each.
///
/// Errors: what is wrong, as text.
pub(crate) fn expand_words(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    escape: char,
) -> Result<Vec<String>, String> {
    split_words(text, escape)?
        .iter()
        .map(|word| expand(word, lookup, escape))
        .collect()
}

/// Parts a text into words at spaces outside of quotes; quotes stay.
pub(super) fn split_words(text: &str, escape: char) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match quote {
            None if character.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(character, '"' | '\'') => quote = Some(character),
            Some(open) if character == open => quote = None,
            _ if character == escape && quote != Some('\'') => {
                word.push(character);
                word.extend(characters.next());
                continue;
            }
            _ => {}
        }
        word.push(character);
    }
    if let Some(open) = quote {
        return Err(format!("a quote {open} is not closed"));
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

struct Expansion<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    escape: char,
}

impl Expansion<'_> {
    fn run(&self, word: &str, quoted: bool, out: &mut String) -> Result<(), String> {
        let mut rest = word;
        while let Some(character) = rest.chars().next() {
            let after = &rest[character.len_utf8()..];
            if character == self.escape {
                let Some(next) = after.chars().next() else {
                    out.push(character);
                    break;
                };
                // Between double quotes only these lose their escape.
                if quoted && !matches!(next, '"' | '$') && next != self.escape {
                    out.push(character);
                }
                out.push(next);
                rest = &after[next.len_utf8()..];
            } else if character == '\'' && !quoted {
                let end = after.find('\'').ok_or("a quote ' is not closed")?;
                out.push_str(&after[..end]);
                rest = &after[end + 1..];
            } else if character == '"' && !quoted {
                let end = self.closing(after).ok_or("a quote \" is not closed")?;
                self.run(&after[..end], true, out)?;
                rest = &after[end + 1..];
            } else if character == '$' {
                rest = self.variable(after, out)?;
            } else {
                out.push(character);
                rest = after;
            }
        }
        Ok(())
    }

    fn closing(&self, text: &str) -> Option<usize> {
        let mut escaped = false;
        text.find(|next| {
            let ends = next == '"' && !escaped;
            escaped = next == self.escape && !escaped;
            ends
        })
    }

    /// Puts in what follows a `$` and returns what is left.
    fn variable<'t>(&self, text: &'t str, out: &mut String) -> Result<&'t str, String> {
        let Some(braced) = text.strip_prefix('{') else {
            let (name, rest) = text.split_at(name_length(text));
            if name.is_empty() {
                out.push('$');
            }
            out.push_str(
                &(self.lookup)(name)
                    .filter(|_| !name.is_empty())
                    .unwrap_or_default(),
            );
            return Ok(rest);
        };
        let mut depth = 1;
        let end = braced.char_indices().find_map(|(at, next)| {
            depth += i32::from(next == '{') - i32::from(next == '}');
            (depth == 0).then_some(at)
        });
        let end = end.ok_or("a ${ is not closed")?;
        let (name, modifier) = braced[..end].split_at(name_length(&braced[..end]));
        let value = (self.lookup)(name);
        let is_set = value.is_some();
        let is_full = value.as_ref().is_some_and(|value| !value.is_empty());
        let text = |word: &str| expand(word, self.lookup, self.escape);
        let put = match modifier {
            "" if !name.is_empty() => value.unwrap_or_default(),
            _ if name.is_empty() => return Err(format!("${{{}}} names no variable", &braced[..end])),
            _ if modifier.starts_with(":-") && !is_full => text(&modifier[2..])?,
            _ if modifier.starts_with('-') && !is_set => text(&modifier[1..])?,
            _ if modifier.starts_with(":-") || modifier.starts_with('-') => value.unwrap_or_default(),
            _ if modifier.starts_with(":+") => {
                if is_full {
                    text(&modifier[2..])?
                } else {
                    String::new()
                }
            }
            _ if modifier.starts_with('+') => {
                if is_set {
                    text(&modifier[1..])?
                } else {
                    String::new()
                }
            }
            _ if modifier.starts_with(":?") && is_full => value.unwrap_or_default(),
            _ if modifier.starts_with(":?") => return Err(format!("{name}: {}", text(&modifier[2..])?)),
            other => return Err(format!("${{{name}{other}}} is not supported; use :- :+ or :?")),
        };
        out.push_str(&put);
        Ok(&braced[end + 1..])
    }
}

fn name_length(text: &str) -> usize {
    let starts_right = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_right {
        return 0;
    }
    text.find(|next: char| !next.is_ascii_alphanumeric() && next != '_')
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_quotes_and_escapes_mean_what_docker_says() {
        let lookup = |name: &str| match name {
            "a" => Some("A B".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        };
        let check = |text: &str, words: &[&str]| {
            assert_eq!(
                expand_words(text, &lookup, '\\').as_deref(),
                Ok(words
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>()
                    .as_slice()),
                "{text}"
            );
        };
        check("x y", &["x", "y"]);
        check("$a ${a}b", &["A B", "A Bb"]);
        check("'$a' \"$a\" \\$a", &["$a", "A B", "$a"]);
        check("\"a \\\"b\\\" \\n\"", &["a \"b\" \\n"]);
        check(
            "${no:-x} ${empty:-x} ${empty-x} ${a:-x} ${no:-${a}}",
            &["x", "x", "", "A B", "A B"],
        );
        check("${no:+x}. ${empty:+x}. ${a:+x}", &[".", ".", "x"]);
        check("$ 5$ a$no", &["$", "5$", "a"]);
        check("a\\ b", &["a b"]);
        for wrong in ["'a", "\"a", "${a", "${}", "${no:?missing}", "${a%b}"] {
            assert!(expand_words(wrong, &lookup, '\\').is_err(), "{wrong}");
        }
    }
}

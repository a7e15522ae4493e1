//! Text into tokens, one at a time. Owns where a token ends and what it is; must never look at what names mean.

use super::number::parse_number;
use super::token::{Token, TokenKind};
use super::tree::Comparison;

/// Reads one token after the other, and knows which parentheses are open.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    place: usize,
    last: Option<TokenKind>,
    unclosed: Vec<TokenKind>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            place: 0,
            last: None,
            unclosed: Vec::new(),
        }
    }

    /// Tells whether a parenthesis or a bracket is still open.
    pub(super) fn is_unclosed(&self) -> bool {
        !self.unclosed.is_empty()
    }

    /// Returns the next token, [`TokenKind::Unexpected`] for one that may not stand there.
    pub(super) fn next_token(&mut self) -> Option<Token> {
        let rest = &self.text[self.place..];
        self.place += rest.len() - rest.trim_start().len();
        let first = self.text[self.place..].chars().next()?;
        let start = self.place;
        let (kind, length) = match first {
            '(' if self.last == Some(TokenKind::Function) => (TokenKind::StartParameters, 1),
            '(' => (TokenKind::StartGroup, 1),
            ')' if self.unclosed.last() == Some(&TokenKind::StartParameters) => (TokenKind::EndParameters, 1),
            ')' => (TokenKind::EndGroup, 1),
            '[' => (TokenKind::StartIndex, 1),
            ']' => (TokenKind::EndIndex, 1),
            ',' => (TokenKind::Separator, 1),
            '*' => (TokenKind::Wildcard, 1),
            '\'' => self.read_string(),
            '!' | '>' | '<' | '=' | '&' | '|' => self.read_operator(),
            '.' if self.last.is_none_or(TokenKind::wants_operand) => self.read_number(),
            '.' => (TokenKind::Dereference, 1),
            '-' | '+' | '0'..='9' => self.read_number(),
            _ => self.read_keyword(),
        };
        self.place += length;
        let kind = if self.is_legal(kind) {
            kind
        } else {
            TokenKind::Unexpected
        };
        self.last = Some(kind);
        Some(Token {
            kind,
            start,
            end: self.place,
        })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    /// Checks the token against the last one and the open parentheses, which it may open or close.
    fn is_legal(&mut self, kind: TokenKind) -> bool {
        use TokenKind as K;
        if !kind.may_follow(self.last) {
            return false;
        }
        let closes = match kind {
            K::StartGroup | K::StartIndex | K::StartParameters => {
                self.unclosed.push(kind);
                return true;
            }
            K::Separator => return self.unclosed.last() == Some(&K::StartParameters),
            K::EndGroup => K::StartGroup,
            K::EndIndex => K::StartIndex,
            K::EndParameters => K::StartParameters,
            _ => return true,
        };
        self.unclosed.pop_if(|open| *open == closes).is_some()
    }

    fn read_string(&self) -> (TokenKind, usize) {
        let rest = self.rest();
        let mut from = 1;
        loop {
            let Some(quote) = rest[from..].find('\'') else {
                return (TokenKind::Unexpected, rest.len());
            };
            let after = from + quote + 1;
            if !rest[after..].starts_with('\'') {
                return (TokenKind::String, after);
            }
            from = after + 1;
        }
    }

    fn read_operator(&self) -> (TokenKind, usize) {
        use TokenKind as K;
        let rest = self.rest();
        let kind = match rest.get(..2) {
            Some("!=") => Some(K::Compare(Comparison::NotEqual)),
            Some(">=") => Some(K::Compare(Comparison::GreaterOrEqual)),
            Some("<=") => Some(K::Compare(Comparison::LessOrEqual)),
            Some("==") => Some(K::Compare(Comparison::Equal)),
            Some("&&") => Some(K::And),
            Some("||") => Some(K::Or),
            _ => None,
        };
        if let Some(kind) = kind {
            return (kind, 2);
        }
        match rest.as_bytes().first() {
            Some(b'!') => (K::Not, 1),
            Some(b'>') => (K::Compare(Comparison::Greater), 1),
            Some(b'<') => (K::Compare(Comparison::Less), 1),
            _ => (K::Unexpected, word_length(rest, false)),
        }
    }

    fn read_number(&self) -> (TokenKind, usize) {
        let length = word_length(self.rest(), true);
        let number = parse_number(&self.rest()[..length]);
        if number.is_nan() {
            return (TokenKind::Unexpected, length);
        }
        (TokenKind::Number(number), length)
    }

    fn read_keyword(&self) -> (TokenKind, usize) {
        use TokenKind as K;
        let length = word_length(self.rest(), false);
        let (word, after) = self.rest().split_at(length);
        let kind = match word {
            _ if !is_name(word) => K::Unexpected,
            _ if self.last == Some(K::Dereference) => K::PropertyName,
            "null" => K::Null,
            "true" => K::Bool(true),
            "false" => K::Bool(false),
            "NaN" => K::Number(f64::NAN),
            "Infinity" => K::Number(f64::INFINITY),
            _ if after.trim_start().starts_with('(') => K::Function,
            _ => K::NamedValue,
        };
        (kind, length)
    }
}

/// Returns how many bytes the word at the start of `text` has; its first character always belongs to it.
fn word_length(text: &str, with_dots: bool) -> usize {
    let ends = |c: char| match c {
        '.' => !with_dots,
        '(' | '[' | ')' | ']' | ',' | '!' | '>' | '<' | '=' | '&' | '|' => true,
        _ => c.is_whitespace(),
    };
    let after_first = text.char_indices().skip(1);
    let end = after_first
        .filter(|(_, c)| ends(*c))
        .map(|(place, _)| place)
        .next();
    end.unwrap_or(text.len())
}

/// Tells whether `word` can name a context, a property or a function.
pub(super) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Returns what a text in quotes says.
pub(super) fn unquote(quoted: &str) -> String {
    let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inner.unwrap_or(quoted).replace("''", "'")
}

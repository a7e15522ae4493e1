//! Values that may hold `${{ }}`, kept as they were written. Owns these types; must never evaluate an expression.

use super::place::Spanned;

/// A text that may hold `${{ }}`, as it was written.
pub type Text = Spanned<String>;

/// A value that is written out, or an expression that will make it.
#[derive(Debug, Clone, PartialEq)]
pub enum OrExpression<T> {
    /// The value itself.
    Literal(T),
    /// The raw text with its `${{ }}`.
    Expression(String),
}

/// Names and texts: `env`, `with`, `outputs`.
#[derive(Debug, Clone, PartialEq)]
pub enum TextMap {
    /// Pairs in the order written.
    Pairs(Vec<(Text, Text)>),
    /// The whole mapping is made by an expression.
    Expression(Text),
}

impl Default for TextMap {
    fn default() -> Self {
        TextMap::Pairs(Vec::new())
    }
}

impl TextMap {
    /// Returns the pairs that are written out; none if an expression makes them.
    pub fn pairs(&self) -> &[(Text, Text)] {
        match self {
            TextMap::Pairs(pairs) => pairs,
            TextMap::Expression(_) => &[],
        }
    }

    /// Finds a pair by its name, whatever the name's case.
    pub fn get(&self, name: &str) -> Option<&Text> {
        self.pairs()
            .iter()
            .find(|(key, _)| key.value.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Tells whether nothing is written.
    pub fn is_empty(&self) -> bool {
        matches!(self, TextMap::Pairs(pairs) if pairs.is_empty())
    }
}

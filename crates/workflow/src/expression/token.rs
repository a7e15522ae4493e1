//! The words of an expression's text. Owns their kinds, precedence, and which may follow which.

use super::tree::Comparison;

/// A kind of token. What a number or a text means is read from the token's place in the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenKind {
    /// `(` around a part of an expression.
    StartGroup,
    /// `[`.
    StartIndex,
    /// `(` after a function's name.
    StartParameters,
    /// `)` around a part of an expression.
    EndGroup,
    /// `]`.
    EndIndex,
    /// `)` after a function's arguments.
    EndParameters,
    /// `,`.
    Separator,
    /// `.`.
    Dereference,
    /// `*`.
    Wildcard,
    /// `!`.
    Not,
    /// `==` and its kin.
    Compare(Comparison),
    /// `&&`.
    And,
    /// `||`.
    Or,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text in quotes.
    String,
    /// A name after a dot.
    PropertyName,
    /// A name before a parenthesis.
    Function,
    /// Any other name.
    NamedValue,
    /// What may not stand where it stands.
    Unexpected,
}

impl TokenKind {
    /// Tells whether it is an operator to the parser, and not an operand.
    pub(super) fn is_operator(self) -> bool {
        use TokenKind as K;
        match self {
            K::StartGroup | K::StartIndex | K::StartParameters => true,
            K::EndGroup | K::EndIndex | K::EndParameters | K::Separator | K::Dereference => true,
            K::Not | K::Compare(_) | K::And | K::Or => true,
            K::Wildcard | K::Null | K::Bool(_) | K::Number(_) | K::String => false,
            K::PropertyName | K::Function | K::NamedValue | K::Unexpected => false,
        }
    }

    /// Returns how tightly it binds; higher binds tighter.
    pub(super) fn precedence(self) -> u8 {
        use TokenKind as K;
        match self {
            K::StartGroup => 20,
            K::StartIndex | K::StartParameters | K::Dereference => 19,
            K::Not => 16,
            K::Compare(Comparison::Equal | Comparison::NotEqual) => 10,
            K::Compare(_) => 11,
            K::And => 6,
            K::Or => 5,
            _ => 1,
        }
    }

    /// Tells whether it opens something that a later token closes or, for a comma, goes on with.
    pub(super) fn holds_back(self) -> bool {
        matches!(
            self,
            Self::StartGroup | Self::StartIndex | Self::StartParameters | Self::Separator
        )
    }

    /// Tells whether it may come right after `last`, `None` being the start.
    ///
    /// Source: `LexicalAnalyzer.CreateToken` of actions/runner.
    pub(super) fn may_follow(self, last: Option<Self>) -> bool {
        use TokenKind as K;
        match self {
            K::StartGroup
            | K::Not
            | K::Null
            | K::Bool(_)
            | K::Number(_)
            | K::String
            | K::Function
            | K::NamedValue => last.is_none_or(Self::wants_operand),
            K::StartIndex | K::Dereference => last.is_some_and(Self::ends_path),
            K::StartParameters => last == Some(K::Function),
            K::EndParameters => last.is_some_and(|last| last.ends_operand() || last == K::StartParameters),
            K::EndGroup | K::EndIndex | K::Separator | K::Compare(_) | K::And | K::Or => {
                last.is_some_and(Self::ends_operand)
            }
            K::Wildcard => matches!(last, Some(K::StartIndex | K::Dereference)),
            K::PropertyName => last == Some(K::Dereference),
            K::Unexpected => false,
        }
    }

    /// Tells whether an operand has to come next.
    pub(super) fn wants_operand(self) -> bool {
        use TokenKind as K;
        matches!(
            self,
            K::Separator
                | K::StartGroup
                | K::StartParameters
                | K::StartIndex
                | K::Not
                | K::Compare(_)
                | K::And
                | K::Or
        )
    }

    /// Tells whether an index or a property may come next.
    fn ends_path(self) -> bool {
        use TokenKind as K;
        matches!(
            self,
            K::EndGroup | K::EndParameters | K::EndIndex | K::Wildcard | K::PropertyName | K::NamedValue
        )
    }

    fn ends_operand(self) -> bool {
        use TokenKind as K;
        self.ends_path() || matches!(self, K::Null | K::Bool(_) | K::Number(_) | K::String)
    }
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: TokenKind,
    /// Its first byte in the text.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
}

//! The shape of one place in a file: what may stand there and which contexts its expressions may use. Owns the type of
//! the tables; must never hold a table itself.

/// What may stand in one place.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Contexts and functions that expressions here and below may use; `None` takes what the place above allows.
    pub(crate) contexts: Option<&'static [&'static str]>,
    /// The value's shape.
    pub(crate) shape: Shape,
}

/// The shapes of values.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// Any text, also empty.
    Text,
    /// Text that is not empty.
    NonEmpty,
    /// An expression, with or without its `${{ }}`.
    Condition,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list.
    Sequence(&'static Rule),
    /// Pairs.
    Mapping(MappingRule),
    /// One of these; they are tried by what the value is.
    OneOf(&'static [&'static Rule]),
    /// The mapping under `on`: the table of events decides.
    Events,
    /// Anything.
    Any,
}

/// The pairs of a mapping.
#[derive(Debug)]
pub(crate) struct MappingRule {
    /// Keys with a meaning.
    pub(crate) properties: &'static [Property],
    /// What other keys' values must be; `None` refuses other keys. Other keys must not be empty.
    pub(crate) rest: Option<&'static Rule>,
}

/// A key with a meaning.
#[derive(Debug)]
pub(crate) struct Property {
    /// The key.
    pub(crate) name: &'static str,
    /// What its value must be.
    pub(crate) rule: &'static Rule,
    /// Whether it must be there.
    pub(crate) required: bool,
}

/// A rule that takes its contexts from above.
pub(crate) const fn rule(shape: Shape) -> Rule {
    Rule {
        contexts: None,
        shape,
    }
}

/// A rule with contexts of its own.
pub(crate) const fn within(contexts: &'static [&'static str], shape: Shape) -> Rule {
    Rule {
        contexts: Some(contexts),
        shape,
    }
}

/// A mapping with these keys and no others.
pub(crate) const fn mapping(properties: &'static [Property]) -> Shape {
    Shape::Mapping(MappingRule {
        properties,
        rest: None,
    })
}

/// A mapping from names to values of one rule.
pub(crate) const fn map_of(rest: &'static Rule) -> Shape {
    Shape::Mapping(MappingRule {
        properties: &[],
        rest: Some(rest),
    })
}

/// A key that may be there.
pub(crate) const fn optional(name: &'static str, rule: &'static Rule) -> Property {
    Property {
        name,
        rule,
        required: false,
    }
}

/// A key that must be there.
pub(crate) const fn required(name: &'static str, rule: &'static Rule) -> Property {
    Property {
        name,
        rule,
        required: true,
    }
}

impl Rule {
    /// The rules this one stands for, nested choices written out.
    pub(crate) fn alternatives(&'static self) -> Vec<&'static Rule> {
        match &self.shape {
            Shape::OneOf(rules) => rules.iter().flat_map(|rule| rule.alternatives()).collect(),
            _ => vec![self],
        }
    }
}

/// Any text.
pub(crate) static TEXT: Rule = rule(Shape::Text);
/// Text that is not empty.
pub(crate) static NON_EMPTY: Rule = rule(Shape::NonEmpty);
/// `true` or `false`.
pub(crate) static BOOLEAN: Rule = rule(Shape::Boolean);
/// A number.
pub(crate) static NUMBER: Rule = rule(Shape::Number);
/// Nothing.
pub(crate) static NULL: Rule = rule(Shape::Null);
/// Anything.
pub(crate) static ANY: Rule = rule(Shape::Any);
/// A list of texts that are not empty.
pub(crate) static NON_EMPTY_LIST: Rule = rule(Shape::Sequence(&NON_EMPTY));
/// A list of texts.
pub(crate) static TEXT_LIST: Rule = rule(Shape::Sequence(&TEXT));
/// One text or a list of them.
pub(crate) static ONE_OR_MORE: Rule = rule(Shape::OneOf(&[&NON_EMPTY, &NON_EMPTY_LIST]));

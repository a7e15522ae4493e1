//! Typed access to the keys of a mapping that has been checked. Owns the small conversions; absent keys are `None`.

use crate::model::place::Spanned;
use crate::model::scalar::Scalar;
use crate::model::text::{OrExpression, Text, TextMap};
use crate::model::yaml::{Node, NodeKind};

/// The text of a scalar, in GitHub's conversion.
pub(super) fn text_of(node: &Node) -> Option<Text> {
    node.scalar_text().map(|text| Spanned::new(text, node.place))
}

/// The text under a key; a null is an empty text.
pub(super) fn text(node: &Node, key: &str) -> Option<Text> {
    node.get(key).and_then(text_of)
}

/// The text under a key, or nothing if it is absent or empty.
pub(super) fn filled_text(node: &Node, key: &str) -> Option<Text> {
    text(node, key).filter(|text| !text.value.is_empty())
}

/// The texts of a list, or the one text of a scalar.
pub(super) fn texts_of(node: &Node) -> Vec<Text> {
    match &node.kind {
        NodeKind::Sequence(items) => items.iter().filter_map(text_of).collect(),
        NodeKind::Scalar(_) => text_of(node).into_iter().collect(),
        NodeKind::Mapping(_) => Vec::new(),
    }
}

/// The texts under a key: a list, or one text.
pub(super) fn texts(node: &Node, key: &str) -> Vec<Text> {
    node.get(key).map(texts_of).unwrap_or_default()
}

/// The pairs of a mapping; none for anything else.
pub(super) fn pairs(node: &Node) -> &[(Node, Node)] {
    match &node.kind {
        NodeKind::Mapping(pairs) => pairs,
        NodeKind::Scalar(_) | NodeKind::Sequence(_) => &[],
    }
}

/// The items of a list; none for anything else.
pub(super) fn items(node: &Node) -> &[Node] {
    match &node.kind {
        NodeKind::Sequence(items) => items,
        NodeKind::Scalar(_) | NodeKind::Mapping(_) => &[],
    }
}

/// The key of a pair as text.
pub(super) fn name_of(key: &Node) -> Spanned<String> {
    Spanned::new(key.scalar_text().unwrap_or_default(), key.place)
}

/// Names and texts under a key.
pub(super) fn text_map(node: &Node, key: &str) -> TextMap {
    let Some(value) = node.get(key) else {
        return TextMap::default();
    };
    match &value.kind {
        NodeKind::Mapping(pairs) => TextMap::Pairs(
            pairs
                .iter()
                .filter_map(|(name, value)| Some((name_of(name), text_of(value)?)))
                .collect(),
        ),
        NodeKind::Scalar(Scalar::Text(text)) => TextMap::Expression(Spanned::new(text.clone(), value.place)),
        NodeKind::Scalar(_) | NodeKind::Sequence(_) => TextMap::default(),
    }
}

/// A boolean under a key, or the expression that makes it.
pub(super) fn boolean(node: &Node, key: &str) -> Option<Spanned<OrExpression<bool>>> {
    let value = node.get(key)?;
    let found = match &value.kind {
        NodeKind::Scalar(Scalar::Boolean(literal)) => OrExpression::Literal(*literal),
        NodeKind::Scalar(Scalar::Text(text)) => OrExpression::Expression(text.clone()),
        _ => return None,
    };
    Some(Spanned::new(found, value.place))
}

/// A boolean under a key that cannot be an expression; false if absent.
pub(super) fn flag(node: &Node, key: &str) -> bool {
    matches!(
        node.get(key).map(|value| &value.kind),
        Some(NodeKind::Scalar(Scalar::Boolean(true)))
    )
}

/// A number under a key, or the expression that makes it.
pub(super) fn number(node: &Node, key: &str) -> Option<Spanned<OrExpression<f64>>> {
    let value = node.get(key)?;
    let found = match &value.kind {
        NodeKind::Scalar(Scalar::Number(literal)) => OrExpression::Literal(*literal),
        NodeKind::Scalar(Scalar::Text(text)) => OrExpression::Expression(text.clone()),
        _ => return None,
    };
    Some(Spanned::new(found, value.place))
}

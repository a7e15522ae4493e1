//! Holds a file against the tables. Owns the walk and the messages about shape; must never build a model.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{EventRule, Filters};
use super::expression::{Scan, check_expression, scan_text};
use super::rule::{ANY, MappingRule, ONE_OR_MORE, Property, Rule, Shape};
use super::workflow::{REPOSITORY_DISPATCH, SCHEDULE, WORKFLOW_CALL, WORKFLOW_DISPATCH};
use crate::model::place::{Faults, Place};
use crate::model::scalar::Scalar;
use crate::model::yaml::{Node, NodeKind};

/// Notes everything about `node` that `rule` does not allow.
pub(crate) fn check_node(node: &Node, rule: &'static Rule, faults: &mut Faults) {
    Check { faults }.value(node, rule, &[]);
}

struct Check<'f> {
    faults: &'f mut Faults,
}

type Contexts<'c> = &'c [&'static str];

impl Check<'_> {
    fn value(&mut self, node: &Node, rule: &'static Rule, above: Contexts<'_>) {
        let contexts = rule.contexts.unwrap_or(above);
        let rules = rule.alternatives();
        match &node.kind {
            NodeKind::Scalar(scalar) => self.scalar(scalar, node.place, &rules, contexts),
            NodeKind::Sequence(items) => self.sequence(items, node.place, &rules, contexts),
            NodeKind::Mapping(pairs) => self.mapping(pairs, node.place, &rules, contexts),
        }
    }

    fn scalar(&mut self, scalar: &Scalar, place: Place, rules: &[&'static Rule], contexts: Contexts<'_>) {
        if rules.iter().any(|rule| matches!(rule.shape, Shape::Condition)) {
            return self.condition(&scalar.to_text(), place, contexts);
        }
        let literal = match scalar {
            Scalar::Text(text) => match scan_text(text, contexts) {
                Scan::Plain(literal) => Scalar::Text(literal),
                Scan::Expression | Scan::Insert => {
                    if contexts.is_empty() {
                        self.faults
                            .add(place, "A template expression is not allowed in this context");
                    }
                    return;
                }
                Scan::Faulty(messages) => {
                    for message in messages {
                        self.faults.add(place, message);
                    }
                    // GitHub goes on with the text as it stands, which no number or boolean can be.
                    Scalar::Text(text.clone())
                }
            },
            other => other.clone(),
        };
        let as_text = Scalar::Text(literal.to_text());
        if !rules
            .iter()
            .any(|rule| fits(&rule.shape, &literal) || fits(&rule.shape, &as_text))
        {
            self.faults
                .add(place, format!("Unexpected value '{}'", literal.to_text()));
        }
    }

    /// A condition is an expression with or without its `${{ }}`.
    fn condition(&mut self, text: &str, place: Place, contexts: Contexts<'_>) {
        let messages = match scan_text(text, contexts) {
            Scan::Faulty(messages) => messages,
            Scan::Plain(_) if !text.contains("${{") && !text.trim().is_empty() => {
                check_expression(text.trim(), contexts).into_iter().collect()
            }
            Scan::Plain(_) | Scan::Expression | Scan::Insert => Vec::new(),
        };
        for message in messages {
            self.faults.add(place, message);
        }
    }

    fn sequence(&mut self, items: &[Node], place: Place, rules: &[&'static Rule], contexts: Contexts<'_>) {
        let item_rule = rules.iter().find_map(|rule| match &rule.shape {
            Shape::Sequence(item) => Some(*item),
            Shape::Any => Some(&ANY),
            _ => None,
        });
        match item_rule {
            Some(item_rule) => {
                for item in items {
                    self.value(item, item_rule, contexts);
                }
            }
            None => self.faults.add(place, "A sequence was not expected"),
        }
    }

    fn mapping(
        &mut self,
        pairs: &[(Node, Node)],
        place: Place,
        rules: &[&'static Rule],
        contexts: Contexts<'_>,
    ) {
        static ANY_PAIRS: MappingRule = MappingRule {
            properties: &[],
            rest: Some(&ANY),
        };
        let mut candidates: Vec<(&'static MappingRule, Contexts<'_>)> = Vec::new();
        for rule in rules {
            match &rule.shape {
                Shape::Mapping(mapping) => candidates.push((mapping, rule.contexts.unwrap_or(contexts))),
                Shape::Any => candidates.push((&ANY_PAIRS, contexts)),
                Shape::Events => return self.events(pairs),
                _ => {}
            }
        }
        let Some(&(_, inner)) = candidates.first() else {
            return self.faults.add(place, "A mapping was not expected");
        };
        let mut candidates: Vec<&'static MappingRule> =
            candidates.into_iter().map(|(rule, _)| rule).collect();
        let keys = self.pairs(pairs, &mut candidates, inner);
        match candidates.as_slice() {
            [only] if !keys.has_expression => {
                for property in only.properties {
                    if property.required && !keys.seen.contains(&property.name.to_ascii_uppercase()) {
                        let message = format!("Required property is missing: {}", property.name);
                        self.faults.add(place, message);
                    }
                }
            }
            [] | [_] => {}
            several => self.faults.add(
                place,
                format!(
                    "There's not enough info to determine what you meant. Add one of these properties: {}",
                    telling_keys(several).join(", ")
                ),
            ),
        }
    }

    fn pairs(
        &mut self,
        pairs: &[(Node, Node)],
        candidates: &mut Vec<&'static MappingRule>,
        contexts: Contexts<'_>,
    ) -> Keys {
        let mut keys = Keys::default();
        for (key, value) in pairs {
            let name = match self.key(key, contexts, &mut keys) {
                KeyKind::Name(name) => name,
                KeyKind::Expression => {
                    self.value(value, &ANY, contexts);
                    continue;
                }
                KeyKind::Faulty => continue,
            };
            if let Some(property) = match_property(candidates, &name) {
                self.value(value, property.rule, contexts);
                continue;
            }
            match candidates.first().and_then(|first| first.rest) {
                Some(rest) => {
                    if name.is_empty() {
                        self.faults.add(key.place, "Unexpected value ''");
                    }
                    self.value(value, rest, contexts);
                }
                None => self.faults.add(key.place, format!("Unexpected value '{name}'")),
            }
        }
        keys
    }

    fn key(&mut self, key: &Node, contexts: Contexts<'_>, keys: &mut Keys) -> KeyKind {
        let text = key.scalar_text().unwrap_or_default();
        let name = match scan_text(&text, contexts) {
            Scan::Plain(name) => name,
            Scan::Expression | Scan::Insert => {
                keys.has_expression = true;
                if contexts.is_empty() {
                    self.faults
                        .add(key.place, "A template expression is not allowed in this context");
                    return KeyKind::Faulty;
                }
                return KeyKind::Expression;
            }
            Scan::Faulty(messages) => {
                for message in messages {
                    self.faults.add(key.place, message);
                }
                return KeyKind::Faulty;
            }
        };
        if !keys.seen.insert(name.to_uppercase()) && !name.is_empty() {
            self.faults.add(key.place, format!("'{name}' is already defined"));
            return KeyKind::Faulty;
        }
        KeyKind::Name(name)
    }

    fn events(&mut self, pairs: &[(Node, Node)]) {
        let mut keys = Keys::default();
        for (key, value) in pairs {
            let KeyKind::Name(name) = self.key(key, &[], &mut keys) else {
                continue;
            };
            match name.as_str() {
                "schedule" => self.value(value, &SCHEDULE, &[]),
                "workflow_call" => self.value(value, &WORKFLOW_CALL, &[]),
                "workflow_dispatch" => self.value(value, &WORKFLOW_DISPATCH, &[]),
                "repository_dispatch" => self.value(value, &REPOSITORY_DISPATCH, &[]),
                _ => match EventRule::find(&name) {
                    Some(event) => self.event(value, event),
                    None => self.faults.add(key.place, format!("Unexpected value '{name}'")),
                },
            }
        }
    }

    fn event(&mut self, value: &Node, event: &'static EventRule) {
        match &value.kind {
            NodeKind::Scalar(Scalar::Null) => {}
            NodeKind::Scalar(other) => {
                self.faults
                    .add(value.place, format!("Unexpected value '{}'", other.to_text()));
            }
            NodeKind::Sequence(_) => self.faults.add(value.place, "A sequence was not expected"),
            NodeKind::Mapping(_) if event.types.is_empty() && event.filters.is_empty() => {
                self.faults.add(value.place, "A mapping was not expected");
            }
            NodeKind::Mapping(pairs) => {
                let mut keys = Keys::default();
                for (key, value) in pairs {
                    let KeyKind::Name(name) = self.key(key, &[], &mut keys) else {
                        continue;
                    };
                    if name == "types" && !event.types.is_empty() {
                        self.activity_types(value, event.types);
                    } else if event
                        .filters
                        .iter()
                        .any(|filter: &Filters| filter.keys().contains(&name.as_str()))
                    {
                        self.value(value, &ONE_OR_MORE, &[]);
                    } else {
                        self.faults.add(key.place, format!("Unexpected value '{name}'"));
                    }
                }
            }
        }
    }

    fn activity_types(&mut self, value: &Node, allowed: &[&str]) {
        let items = match &value.kind {
            NodeKind::Sequence(items) => items.as_slice(),
            NodeKind::Scalar(_) => std::slice::from_ref(value),
            NodeKind::Mapping(_) => return self.faults.add(value.place, "A mapping was not expected"),
        };
        for item in items {
            match item.scalar_text() {
                Some(text) if allowed.contains(&text.as_str()) => {}
                Some(text) => self.faults.add(item.place, format!("Unexpected value '{text}'")),
                None => self.value(item, &super::rule::TEXT, &[]),
            }
        }
    }
}

#[derive(Default)]
struct Keys {
    /// In upper case: GitHub's keys repeat whatever their case.
    seen: BTreeSet<String>,
    has_expression: bool,
}

enum KeyKind {
    Name(String),
    Expression,
    Faulty,
}

fn fits(shape: &Shape, literal: &Scalar) -> bool {
    match (shape, literal) {
        (Shape::Any, _)
        | (Shape::Null, Scalar::Null)
        | (Shape::Boolean, Scalar::Boolean(_))
        | (Shape::Number, Scalar::Number(_))
        | (Shape::Text, Scalar::Text(_)) => true,
        (Shape::NonEmpty, Scalar::Text(text)) => !text.is_empty(),
        (Shape::Words(words), Scalar::Text(text)) => words.contains(&text.as_str()),
        _ => false,
    }
}

/// Finds a key's property; candidates that do not have it are dropped, since the key has told them apart.
fn match_property(candidates: &mut Vec<&'static MappingRule>, name: &str) -> Option<&'static Property> {
    let find = |rule: &'static MappingRule| rule.properties.iter().find(|property| property.name == name);
    let found = candidates.iter().rev().find_map(|rule| find(rule))?;
    candidates.retain(|rule| find(rule).is_some());
    Some(found)
}

/// Returns the keys that only one candidate has, sorted.
fn telling_keys(candidates: &[&'static MappingRule]) -> Vec<&'static str> {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for property in candidates.iter().flat_map(|rule| rule.properties) {
        *counts.entry(property.name).or_default() += 1;
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count == 1)
        .map(|(name, _)| name)
        .collect()
}

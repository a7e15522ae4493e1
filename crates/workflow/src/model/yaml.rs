//! A YAML file as a tree of nodes that know their place. Owns reading (anchors resolved, size and depth bounded); must
//! never know what a workflow is.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::place::{Faults, Place};
use super::scalar::{Scalar, TagFault};

/// The longest a workflow or action file may be, in characters; longer ones are refused, as GitHub does.
pub const FILE_CHARS_MAX: usize = 512 * 1024;
/// The deepest a file may nest; deeper ones are refused.
pub const DEPTH_MAX: usize = 50;
/// The most nodes a file may hold once its aliases are written out; more are refused.
pub const NODES_MAX: usize = 100_000;

/// A value of a YAML file.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it starts; inside an alias, where the anchored text stands.
    pub place: Place,
}

/// The kinds of YAML values.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// A null, boolean, number or text.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Pairs in the order written; keys may repeat until a schema has looked at them.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// Returns the text of a scalar as GitHub makes it, or nothing for a list or mapping.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(scalar.to_text()),
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => None,
        }
    }

    /// Finds a value of a mapping by its key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let NodeKind::Mapping(pairs) = &self.kind else {
            return None;
        };
        pairs
            .iter()
            .find(|(name, _)| name.scalar_text().as_deref() == Some(key))
            .map(|(_, value)| value)
    }

    /// Returns the whole as JSON, with each text replaced by what `evaluate` makes of it.
    ///
    /// Errors: the first that `evaluate` returns.
    pub fn to_json_with<E>(
        &self,
        evaluate: &mut impl FnMut(&str, Place) -> Result<Value, E>,
    ) -> Result<Value, E> {
        match &self.kind {
            NodeKind::Scalar(Scalar::Text(text)) => evaluate(text, self.place),
            NodeKind::Scalar(scalar) => Ok(scalar.to_json()),
            NodeKind::Sequence(items) => items
                .iter()
                .map(|item| item.to_json_with(evaluate))
                .collect::<Result<Vec<_>, E>>()
                .map(Value::Array),
            NodeKind::Mapping(pairs) => {
                let mut object = Map::new();
                for (key, value) in pairs {
                    let name = key.scalar_text().unwrap_or_default();
                    object.insert(name, value.to_json_with(evaluate)?);
                }
                Ok(Value::Object(object))
            }
        }
    }

    /// Returns the whole as JSON, texts as they stand.
    pub fn to_json(&self) -> Value {
        let literal: Result<Value, std::convert::Infallible> =
            self.to_json_with(&mut |text, _| Ok(Value::String(text.to_string())));
        match literal {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// Lists the keys that are expressions, wherever they stand.
    pub(crate) fn expression_keys(&self) -> Vec<Place> {
        match &self.kind {
            NodeKind::Scalar(_) => Vec::new(),
            NodeKind::Sequence(items) => items.iter().flat_map(Node::expression_keys).collect(),
            NodeKind::Mapping(pairs) => pairs
                .iter()
                .flat_map(|(key, value)| {
                    let is_expression = key.scalar_text().is_some_and(|text| text.contains("${{"));
                    let own = is_expression.then_some(key.place);
                    own.into_iter().chain(value.expression_keys())
                })
                .collect(),
        }
    }

    fn null(place: Place) -> Node {
        Node {
            kind: NodeKind::Scalar(Scalar::Null),
            place,
        }
    }

    fn count(&self) -> usize {
        match &self.kind {
            NodeKind::Scalar(_) => 1,
            NodeKind::Sequence(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            NodeKind::Mapping(pairs) => {
                1 + pairs
                    .iter()
                    .map(|(key, value)| key.count() + value.count())
                    .sum::<usize>()
            }
        }
    }

    fn depth(&self) -> usize {
        match &self.kind {
            NodeKind::Scalar(_) => 1,
            NodeKind::Sequence(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            NodeKind::Mapping(pairs) => 1 + pairs.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
        }
    }
}

/// Reads a file that holds one YAML document, or notes why it cannot.
///
/// An empty file is a null.
pub(crate) fn read_yaml(text: &str, faults: &mut Faults) -> Option<Node> {
    if text.chars().count() > FILE_CHARS_MAX {
        faults.add(
            Place::START,
            format!("The maximum file size of {FILE_CHARS_MAX} characters has been exceeded"),
        );
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match (Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        lines: text.lines().collect(),
    })
    .read_file()
    {
        Ok(node) => Some(node),
        Err(fault) => {
            faults.add(fault.place, fault.message);
            None
        }
    }
}

struct ReadFault {
    place: Place,
    message: String,
}

impl ReadFault {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// Finished anchored nodes; an alias inside its own anchor finds nothing here.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    lines: Vec<&'t str>,
}

impl<'t> Reader<'t> {
    fn read_file(mut self) -> Result<Node, ReadFault> {
        let mut document: Option<Node> = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(document.unwrap_or_else(|| Node::null(Place::START))),
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if document.is_some() => {
                    return Err(ReadFault::new(
                        place_of(&span),
                        "Expected end of reader: a file holds one YAML document",
                    ));
                }
                other => document = Some(self.read_node(other, span, 1)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), ReadFault> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                let marker = error.marker();
                let place = Place {
                    line: marker.line().max(1),
                    column: marker.col() + 1,
                };
                let message = format!(
                    "You have an error in your yaml syntax on line {}: {}",
                    place.line,
                    error.info()
                );
                Err(ReadFault::new(place, message))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn read_node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, ReadFault> {
        let mut place = place_of(&span);
        if let Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) = event {
            place = self.header_place(place).unwrap_or(place);
        }
        if depth > DEPTH_MAX {
            return Err(ReadFault::new(place, "Maximum object depth exceeded"));
        }
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (
                NodeKind::Scalar(read_scalar(&text, style, tag.as_deref(), place)?),
                anchor,
            ),
            Event::SequenceStart(anchor, _) => (self.read_sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.read_mapping(depth)?, anchor),
            Event::Alias(anchor) => return self.read_alias(anchor, place, depth),
            other => return Err(ReadFault::new(place, format!("Unexpected YAML event {other:?}"))),
        };
        self.note_nodes(1, place)?;
        let node = Node { kind, place };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn read_sequence(&mut self, depth: usize) -> Result<NodeKind, ReadFault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(NodeKind::Sequence(items)),
                (event, span) => items.push(self.read_node(event, span, depth + 1)?),
            }
        }
    }

    fn read_mapping(&mut self, depth: usize) -> Result<NodeKind, ReadFault> {
        let mut pairs = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(NodeKind::Mapping(pairs));
            }
            let key = self.read_node(event, span, depth + 1)?;
            if key.scalar_text().is_none() {
                return Err(ReadFault::new(key.place, "A mapping key must be a scalar"));
            }
            let (event, span) = self.next()?;
            let nothing = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty());
            let mut value = self.read_node(event, span, depth + 1)?;
            if nothing && value.place.line == key.place.line {
                // The parser puts an absent value on the colon; GitHub puts it behind.
                value.place.column += 1;
            }
            pairs.push((key, value));
        }
    }

    /// Finds the `|` or `>` of a block scalar whose text starts at `content`: GitHub counts the scalar from there.
    fn header_place(&self, content: Place) -> Option<Place> {
        let before = self.lines.get(..content.line - 1)?;
        let (at, line) = before
            .iter()
            .enumerate()
            .rev()
            .find(|(_, line)| !line.trim().is_empty())?;
        let header = line
            .char_indices()
            .find(|(start, _)| is_block_header(&line[*start..]))?;
        Some(Place {
            line: at + 1,
            column: line[..header.0].chars().count() + 1,
        })
    }

    fn read_alias(&mut self, anchor: usize, place: Place, depth: usize) -> Result<Node, ReadFault> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(ReadFault::new(
                place,
                "An alias may not stand inside the value it refers to",
            ));
        };
        if depth + node.depth() > DEPTH_MAX + 1 {
            return Err(ReadFault::new(place, "Maximum object depth exceeded"));
        }
        self.note_nodes(node.count(), place)?;
        Ok(node)
    }

    fn note_nodes(&mut self, more: usize, place: Place) -> Result<(), ReadFault> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            return Err(ReadFault::new(place, "Maximum object size exceeded"));
        }
        Ok(())
    }
}

/// Whether a rest of a line is `|` or `>` with its indicators and perhaps a comment.
fn is_block_header(rest: &str) -> bool {
    let Some(after) = rest.strip_prefix(['|', '>']) else {
        return false;
    };
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
    after.trim().is_empty() || (after.starts_with([' ', '\t']) && after.trim_start().starts_with('#'))
}

fn place_of(span: &Span) -> Place {
    Place {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}

fn read_scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Result<Scalar, ReadFault> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => Scalar::from_plain(text),
            _ => Scalar::Text(text.to_string()),
        });
    };
    let full = format!("{}{}", tag.handle, tag.suffix);
    let Some(kind) = full.strip_prefix("tag:yaml.org,2002:") else {
        // The lone `!` asks for a string, whatever the text looks like.
        if full == "!" {
            return Ok(Scalar::Text(text.to_string()));
        }
        return Err(ReadFault::new(place, format!("Unexpected tag '{full}'")));
    };
    if style != ScalarStyle::Plain && kind != "str" {
        let message = format!(
            "The scalar style '{style:?}' on line {} and column {} is not valid with the tag '{full}'",
            place.line, place.column
        );
        return Err(ReadFault::new(place, message));
    }
    Scalar::from_tagged(text, kind).map_err(|fault| match fault {
        TagFault::Unknown => ReadFault::new(place, format!("Unexpected tag '{full}'")),
        TagFault::Misfit => ReadFault::new(
            place,
            format!(
                "The value '{text}' on line {} and column {} is invalid for the type '{full}'",
                place.line, place.column
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::place::Diagnostic;

    fn read(text: &str) -> Result<Node, Vec<Diagnostic>> {
        let mut faults = Faults::new("x.yml");
        read_yaml(text, &mut faults).ok_or_else(|| faults.into_diagnostics())
    }

    #[test]
    fn aliases_stand_for_their_anchors() {
        let node = read("a: &one [1, {b: x}]\nc: *one\n").unwrap();
        assert_eq!(node.get("a").map(Node::to_json), node.get("c").map(Node::to_json));
    }

    #[test]
    fn places_count_lines_and_columns_from_one() {
        let node = read("on: push\njobs:\n  build:\n    runs-on: x\n").unwrap();
        let build = node.get("jobs").and_then(|jobs| jobs.get("build")).unwrap();
        assert_eq!(build.place, Place { line: 4, column: 5 });
        assert_eq!(node.place, Place::START);
    }

    #[test]
    fn block_scalars_stand_at_their_header() {
        let text = "a: |\n  x |\n\nb: >-  # > not this\n\n  y\nc:\n  - |2\n     z\n";
        let node = read(text).unwrap();
        let place = |line, column| Some(Place { line, column });
        assert_eq!(node.get("a").map(|value| value.place), place(1, 4));
        assert_eq!(node.get("b").map(|value| value.place), place(4, 4));
        let NodeKind::Sequence(items) = &node.get("c").unwrap().kind else {
            panic!("a list")
        };
        assert_eq!(Some(items[0].place), place(8, 5));
    }

    #[test]
    fn a_file_that_would_grow_without_end_is_refused() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e]\n";
        let deep = format!("a: {}{}", "[".repeat(60), "]".repeat(60));
        for (text, message) in [
            (bomb.to_string(), "Maximum object size exceeded"),
            (deep, "Maximum object depth exceeded"),
            (
                "a: &a [*a]\n".to_string(),
                "An alias may not stand inside the value it refers to",
            ),
            (
                "x".repeat(FILE_CHARS_MAX + 1),
                "The maximum file size of 524288 characters has been exceeded",
            ),
            (
                "a: !!timestamp 2022\n".to_string(),
                "Unexpected tag 'tag:yaml.org,2002:timestamp'",
            ),
        ] {
            let faults = read(&text).err().unwrap_or_default();
            assert_eq!(faults.first().map(|fault| fault.message.as_str()), Some(message));
        }
    }

    #[test]
    fn broken_yaml_names_its_line() {
        let faults = read("on: push\njobs: [\n").unwrap_err();
        assert!(
            faults[0]
                .message
                .starts_with("You have an error in your yaml syntax on line"),
            "{faults:?}"
        );
    }
}

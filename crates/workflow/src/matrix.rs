//! From a matrix to the legs of a job. Owns the cross product, `exclude`, `include` and the names of legs; must never
//! evaluate an expression: its values come evaluated.

use serde_json::Value;

use crate::model::{Job, Node, NodeKind, Place, number_text};

/// The most legs one job may have.
///
/// Source: GitHub's documented limit of a matrix.
pub const LEGS_MAX: usize = 256;

/// Names and values in the order written.
pub type Values = Vec<(String, Value)>;

/// A matrix whose expressions have been evaluated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    /// Vectors in the order written.
    pub vectors: Vec<(String, Vec<Value>)>,
    /// `include`.
    pub include: Vec<Values>,
    /// `exclude`.
    pub exclude: Vec<Values>,
}

/// One leg of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Leg {
    /// Its number, from 0; `strategy.job-index`.
    pub index: usize,
    /// What the `matrix` context holds, in order; empty for a job without a matrix.
    pub values: Values,
}

/// Why a matrix gives no legs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixFault {
    /// It is not a mapping.
    #[error("A matrix must be a mapping of names to lists, but it is {0}")]
    NotMapping(String),
    /// A vector is not a list.
    #[error("Matrix vector '{0}' must be a list of values")]
    NotList(String),
    /// `include` or `exclude` is not a list of mappings.
    #[error("Matrix '{0}' must be a list of mappings")]
    NotListOfMappings(String),
    /// A vector is empty.
    #[error("Matrix vector '{0}' does not contain any values")]
    EmptyVector(String),
    /// Nothing is in it.
    #[error("Matrix must define at least one vector")]
    Empty,
    /// `exclude` names a key that no vector has.
    #[error("Matrix exclude key '{0}' does not match any key within the matrix")]
    UnknownExcludeKey(String),
    /// It makes too many legs.
    #[error("The matrix makes more than {LEGS_MAX} jobs, which is the most a matrix may make")]
    TooManyLegs,
    /// `exclude` leaves nothing.
    #[error("The matrix excludes every job it would make")]
    AllExcluded,
}

/// Why a written matrix could not be evaluated.
#[derive(Debug, PartialEq, Eq)]
pub enum EvaluationFault<E> {
    /// An expression failed.
    Expression(E),
    /// The values make no matrix.
    Matrix(MatrixFault),
}

impl Matrix {
    /// Evaluates a matrix as it is written; `evaluate` gets each text and its place.
    ///
    /// Errors: the first fault of an expression, or why the values make no matrix.
    pub fn from_node<E>(
        node: &Node,
        mut evaluate: impl FnMut(&str, Place) -> Result<Value, E>,
    ) -> Result<Matrix, EvaluationFault<E>> {
        let NodeKind::Mapping(pairs) = &node.kind else {
            return match node
                .to_json_with(&mut evaluate)
                .map_err(EvaluationFault::Expression)?
            {
                Value::Object(object) => {
                    Matrix::from_pairs(object.into_iter().collect()).map_err(EvaluationFault::Matrix)
                }
                other => Err(EvaluationFault::Matrix(MatrixFault::NotMapping(
                    kind_of(&other).into(),
                ))),
            };
        };
        let mut matrix = Matrix::default();
        for (key, value) in pairs {
            let name = key.scalar_text().unwrap_or_default();
            match (name.as_str(), written_mappings(value)) {
                // Written out, these keep the order of their keys, which the names of legs show.
                ("include", Some(items)) => matrix.include = evaluate_all(&items, &mut evaluate)?,
                ("exclude", Some(items)) => matrix.exclude = evaluate_all(&items, &mut evaluate)?,
                _ => {
                    let value = value
                        .to_json_with(&mut evaluate)
                        .map_err(EvaluationFault::Expression)?;
                    matrix.set(name, value).map_err(EvaluationFault::Matrix)?;
                }
            }
        }
        Ok(matrix)
    }

    /// Makes a matrix of evaluated pairs.
    ///
    /// Errors: a value of the wrong kind.
    pub fn from_pairs(pairs: Values) -> Result<Matrix, MatrixFault> {
        let mut matrix = Matrix::default();
        for (name, value) in pairs {
            matrix.set(name, value)?;
        }
        Ok(matrix)
    }

    fn set(&mut self, name: String, value: Value) -> Result<(), MatrixFault> {
        match name.as_str() {
            "include" => self.include = list_of_mappings(&name, value)?,
            "exclude" => self.exclude = list_of_mappings(&name, value)?,
            _ => match value {
                Value::Array(values) => self.vectors.push((name, values)),
                _ => return Err(MatrixFault::NotList(name)),
            },
        }
        Ok(())
    }

    /// Makes the legs.
    ///
    /// Shape: 1 to [`LEGS_MAX`] legs; the last vector varies fastest, legs that only `include` makes come last.
    /// Errors: see [`MatrixFault`].
    pub fn expand(&self) -> Result<Vec<Leg>, MatrixFault> {
        if let Some((name, _)) = self.vectors.iter().find(|(_, values)| values.is_empty()) {
            return Err(MatrixFault::EmptyVector(name.clone()));
        }
        if self.vectors.is_empty() && self.include.is_empty() {
            return Err(MatrixFault::Empty);
        }
        let is_vector = |key: &str| {
            self.vectors
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(key))
        };
        if let Some((key, _)) = self.exclude.iter().flatten().find(|(key, _)| !is_vector(key)) {
            return Err(MatrixFault::UnknownExcludeKey(key.clone()));
        }
        let mut combinations = self.cross_product()?;
        combinations.retain(|values| !self.exclude.iter().any(|filter| matches_all(values, filter)));
        let legs = self.with_includes(combinations);
        if legs.is_empty() {
            return Err(MatrixFault::AllExcluded);
        }
        if legs.len() > LEGS_MAX {
            return Err(MatrixFault::TooManyLegs);
        }
        Ok(legs
            .into_iter()
            .enumerate()
            .map(|(index, values)| Leg { index, values })
            .collect())
    }

    fn cross_product(&self) -> Result<Vec<Values>, MatrixFault> {
        if self.vectors.is_empty() {
            return Ok(Vec::new());
        }
        let mut product: Vec<Values> = vec![Vec::new()];
        for (name, values) in &self.vectors {
            // Excludes can only take away what fits in memory; a product this large is refused before it is made.
            if product.len().saturating_mul(values.len()) > PRODUCT_MAX {
                return Err(MatrixFault::TooManyLegs);
            }
            product = product
                .iter()
                .flat_map(|head| values.iter().map(move |value| (head, value)))
                .map(|(head, value)| {
                    let mut combination = head.clone();
                    combination.push((name.clone(), value.clone()));
                    combination
                })
                .collect();
        }
        Ok(product)
    }

    /// Adds each include to every combination whose vector values it does not change, else makes it a leg of its own.
    fn with_includes(&self, combinations: Vec<Values>) -> Vec<Values> {
        let vector_keys: Vec<&str> = self.vectors.iter().map(|(name, _)| name.as_str()).collect();
        let original = combinations.len();
        let mut legs = combinations;
        for include in &self.include {
            let (on_vectors, extra): (Vec<_>, Vec<_>) = include
                .iter()
                .cloned()
                .partition(|(key, _)| vector_keys.iter().any(|name| name.eq_ignore_ascii_case(key)));
            let mut extended = false;
            for leg in legs
                .iter_mut()
                .take(original)
                .filter(|leg| matches_all(leg, &on_vectors))
            {
                extended = true;
                for (key, value) in &extra {
                    set_value(leg, key, value);
                }
            }
            if !extended {
                legs.push(include.clone());
            }
        }
        legs
    }
}

/// How many combinations are made before excludes are looked at.
const PRODUCT_MAX: usize = 64 * LEGS_MAX;

impl Leg {
    /// The leg of a job without a matrix.
    pub fn single() -> Leg {
        Leg {
            index: 0,
            values: Vec::new(),
        }
    }

    /// Returns the name GitHub shows for a leg; `evaluated` is what the job's `name` came to.
    ///
    /// Shape: a name with an expression stands alone, any other gets the leg's values behind it.
    pub fn job_name(&self, job: &Job, evaluated: Option<&str>) -> String {
        match (&job.name, evaluated) {
            (Some(written), Some(name)) if written.value.contains("${{") => name.to_string(),
            (Some(written), _) => self.display_name(&written.value),
            (None, _) => self.display_name(&job.id.value),
        }
    }

    /// Returns the name GitHub shows for a leg of a job that has no `name` of its own: `build (ubuntu-latest, 18)`.
    pub fn display_name(&self, job: &str) -> String {
        let mut parts = Vec::new();
        for (_, value) in &self.values {
            push_scalars(value, &mut parts);
        }
        if parts.is_empty() {
            job.to_string()
        } else {
            format!("{job} ({})", parts.join(", "))
        }
    }
}

fn push_scalars(value: &Value, parts: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => parts.push(flag.to_string()),
        Value::Number(number) => parts.push(number.as_f64().map_or_else(|| number.to_string(), number_text)),
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => parts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| push_scalars(item, parts)),
        Value::Object(object) => object.values().for_each(|item| push_scalars(item, parts)),
    }
}

type Pairs<'n> = &'n [(Node, Node)];

/// The mappings of a list, if all of it is written out.
fn written_mappings(node: &Node) -> Option<Vec<Pairs<'_>>> {
    let NodeKind::Sequence(items) = &node.kind else {
        return None;
    };
    items
        .iter()
        .map(|item| match &item.kind {
            NodeKind::Mapping(pairs) => Some(pairs.as_slice()),
            NodeKind::Scalar(_) | NodeKind::Sequence(_) => None,
        })
        .collect()
}

fn evaluate_all<E>(
    mappings: &[Pairs<'_>],
    evaluate: &mut impl FnMut(&str, Place) -> Result<Value, E>,
) -> Result<Vec<Values>, EvaluationFault<E>> {
    let mut all = Vec::with_capacity(mappings.len());
    for pairs in mappings {
        let mut values = Values::new();
        for (key, value) in *pairs {
            let value = value
                .to_json_with(evaluate)
                .map_err(EvaluationFault::Expression)?;
            values.push((key.scalar_text().unwrap_or_default(), value));
        }
        all.push(values);
    }
    Ok(all)
}

fn list_of_mappings(name: &str, value: Value) -> Result<Vec<Values>, MatrixFault> {
    let fault = || MatrixFault::NotListOfMappings(name.to_string());
    let Value::Array(items) = value else {
        return Err(fault());
    };
    items
        .into_iter()
        .map(|item| match item {
            Value::Object(object) => Ok(object.into_iter().collect()),
            _ => Err(fault()),
        })
        .collect()
}

fn matches_all(values: &[(String, Value)], wanted: &[(String, Value)]) -> bool {
    wanted.iter().all(|(key, wanted)| {
        values
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case(key) && same_value(value, wanted))
    })
}

/// Numbers are equal by value: `1` and `1.0` are one number to GitHub.
fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same_value(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| same_value(left, right)))
        }
        _ => left == right,
    }
}

fn set_value(leg: &mut Values, key: &str, value: &Value) {
    match leg.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
        Some((_, old)) => *old = value.clone(),
        None => leg.push((key.to_string(), value.clone())),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkflowFile;

    /// Writes a matrix into a workflow, reads it back and lists its legs by name.
    fn legs(matrix: &str) -> Result<Vec<String>, MatrixFault> {
        let indented = matrix.replace('\n', "\n        ");
        let text = format!(
            "on: push\njobs:\n  b:\n    runs-on: x\n    strategy:\n      matrix:\n        {indented}\n    steps: []\n"
        );
        let file = WorkflowFile::parse("x.yml", &text).unwrap();
        let strategy = file.jobs[0].strategy.clone().unwrap();
        let literal = |text: &str, _| Ok::<_, ()>(Value::String(text.into()));
        let matrix = match Matrix::from_node(strategy.matrix().unwrap(), literal) {
            Ok(matrix) => matrix,
            Err(EvaluationFault::Matrix(fault)) => return Err(fault),
            Err(EvaluationFault::Expression(())) => panic!("texts evaluate to themselves"),
        };
        Ok(matrix.expand()?.iter().map(|leg| leg.display_name("b")).collect())
    }

    fn check(matrix: &str, expected: &[&str]) {
        assert_eq!(
            legs(matrix),
            Ok(expected.iter().map(ToString::to_string).collect()),
            "{matrix}"
        );
    }

    #[test]
    fn legs_are_the_cross_product_in_the_order_written() {
        check(
            "os: [u, w]\nnode: [18, 20.5]",
            &["b (u, 18)", "b (u, 20.5)", "b (w, 18)", "b (w, 20.5)"],
        );
        check("v: [3.10, true, null, x]", &["b (3.1)", "b (true)", "b", "b (x)"]);
        check("c: [{a: 1, b: [x, y]}]", &["b (1, x, y)"]);
    }

    #[test]
    fn a_job_name_with_an_expression_stands_alone() {
        let leg = Leg {
            index: 0,
            values: vec![("os".into(), Value::from("u"))],
        };
        for (name, evaluated, expected) in [
            ("name: ${{ matrix.os }} tests", Some("u tests"), "u tests"),
            ("name: tests", Some("tests"), "tests (u)"),
            ("env: {}", None, "b (u)"),
        ] {
            let text = format!("on: push\njobs:\n  b:\n    runs-on: x\n    {name}\n");
            let file = WorkflowFile::parse("x.yml", &text).unwrap();
            assert_eq!(leg.job_name(&file.jobs[0], evaluated), expected);
        }
    }

    #[test]
    fn excluded_legs_match_every_key_they_name() {
        check(
            "os: [u, w]\nn: [1, 2]\nexclude:\n  - {os: w, n: 2}",
            &["b (u, 1)", "b (u, 2)", "b (w, 1)"],
        );
        check(
            "os: [u, w]\nn: [1, 2]\nexclude:\n  - {os: w}",
            &["b (u, 1)", "b (u, 2)"],
        );
    }

    #[test]
    fn includes_extend_legs_or_become_legs_as_github_documents() {
        // The example of GitHub's documentation.
        let fruit = "fruit: [apple, pear]\nanimal: [cat, dog]\ninclude:\n  - color: green\n  - {color: pink, animal: cat}\n  \
                     - {fruit: apple, shape: circle}\n  - fruit: banana\n  - {fruit: banana, animal: cat}";
        check(
            fruit,
            &[
                "b (apple, cat, pink, circle)",
                "b (apple, dog, green, circle)",
                "b (pear, cat, pink)",
                "b (pear, dog, green)",
                "b (banana)",
                "b (banana, cat)",
            ],
        );
        check(
            "include:\n  - {site: production}\n  - {site: staging}",
            &["b (production)", "b (staging)"],
        );
        check(
            "os: [u]\nexclude:\n  - {os: u}\ninclude:\n  - {os: z}",
            &["b (z)"],
        );
    }

    #[test]
    fn a_matrix_without_legs_says_why() {
        let many = format!(
            "a: [{0}]\nb: [{0}]",
            (0..17).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
        );
        let huge = (0..9)
            .map(|n| format!("v{n}: [1,2,3,4,5,6,7,8,9]"))
            .collect::<Vec<_>>()
            .join("\n");
        for (matrix, fault) in [
            ("include: []", MatrixFault::Empty),
            ("os: [u]\nexclude:\n  - {os: u}", MatrixFault::AllExcluded),
            (
                "os: [u]\nexclude:\n  - {arch: x}",
                MatrixFault::UnknownExcludeKey("arch".into()),
            ),
            (&many, MatrixFault::TooManyLegs),
            (&huge, MatrixFault::TooManyLegs),
            (
                "'${{ fromJSON(inputs.x) }}': [1]\ninclude: ${{ github.x }}",
                MatrixFault::NotListOfMappings("include".into()),
            ),
        ] {
            assert_eq!(legs(matrix), Err(fault), "{matrix}");
        }
        assert_eq!(
            MatrixFault::Empty.to_string(),
            "Matrix must define at least one vector"
        );
        let empty = Matrix {
            vectors: vec![("os".into(), vec![])],
            ..Matrix::default()
        };
        assert_eq!(empty.expand(), Err(MatrixFault::EmptyVector("os".into())));
    }

    #[test]
    fn sixteen_by_sixteen_legs_are_allowed() {
        let values: Vec<Value> = (0..16).map(Value::from).collect();
        let matrix = Matrix {
            vectors: vec![("a".into(), values.clone()), ("b".into(), values)],
            ..Matrix::default()
        };
        assert_eq!(matrix.expand().map(|legs| legs.len()), Ok(LEGS_MAX));
    }
}

//! The table of features as text. Owns its form in the documentation.

use super::feature::FEATURES;

/// Writes the table as Markdown; `proof` names the workflow that proves a row, by the feature's name.
pub fn render_table(proof: impl Fn(&str) -> Option<String>) -> String {
    let mut text =
        String::from("| feature | state | why | what to do | proof |\n| --- | --- | --- | --- | --- |\n");
    for row in FEATURES {
        let proof = proof(row.name).unwrap_or_default();
        let line = format!(
            "| `{}` | {} | {} | {} | {proof} |\n",
            row.name,
            row.state.as_str(),
            row.reason,
            row.advice
        );
        text.push_str(&line);
    }
    text
}

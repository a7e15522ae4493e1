//! `dock`.

use clap::Args;
use serde_json::{Value, json};

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::web::client::encoded;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gantry dock")]
pub struct Dock {
    /// The repository, if there is more than one
    #[arg(long)]
    repository: Option<String>,
}

impl Dock {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let query = self
            .repository
            .map_or(String::new(), |name| format!("?repository={}", encoded(&name)));
        let value = common.client()?.get(&format!("/v1/dock{query}"))?;
        if common.json() {
            show::json(&value)?;
            return Ok(ExitCode::Done);
        }
        let changes = show::list(&value, "changes");
        if changes.is_empty() {
            show::line("the dock is empty")?;
            return Ok(ExitCode::Done);
        }
        let rows: Vec<Vec<String>> = changes
            .iter()
            .map(|change| {
                let id = show::text(change, "id");
                let others: Vec<&str> = show::list(&value, "overlaps")
                    .iter()
                    .filter(|pair| pair["conflict"] == json!(true) || pair["duplicate"] == json!(true))
                    .filter_map(
                        |pair| match (show::text(pair, "first"), show::text(pair, "second")) {
                            (first, second) if first == id => Some(second),
                            (first, second) if second == id => Some(first),
                            _ => None,
                        },
                    )
                    .collect();
                let paths: Vec<&str> = show::list(change, "paths")
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                let culprit = show::text(change, "culprit")
                    .get(..10)
                    .map_or(String::new(), |c| format!(" since {c}"));
                vec![
                    id.to_owned(),
                    show::text(change, "state").to_owned(),
                    format!("{}{culprit}", show::text(change, "standing")),
                    change["behind"].to_string(),
                    show::text(change, "title").to_owned(),
                    others.join(" "),
                    paths.join(" "),
                ]
            })
            .collect();
        show::table(
            &[
                "ID",
                "STATE",
                "STANDING",
                "BEHIND",
                "TITLE",
                "COLLIDES WITH",
                "PATHS",
            ],
            &rows,
        )?;
        Ok(ExitCode::Done)
    }
}

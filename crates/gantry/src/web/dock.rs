//! The radar as the API shows it.

use axum::Json;
use axum::extract::{Query, State};
use gantry_core::id::CommitId;
use gantry_engine::factory::AskError;
use gantry_engine::forge::{Forge, OpenHead, Standing};
use serde_json::{Value, json};

use super::ask::App;
use super::error::Refusal;
use super::router::{Answer, ListQuery};

pub(super) async fn dock(State(app): State<App>, Query(query): Query<ListQuery>) -> Answer {
    let value = app
        .look(move |factory, _| {
            let at = factory.line_named(query.repository.as_deref())?;
            let (store, lines) = factory.parts();
            let line = &mut lines[at];
            let Some(tip) = line.repository.known_tip else {
                return Err(Refusal::trouble("the target was not looked at yet; try again in a moment"));
            };
            let alive = store.load_alive_changes(line.repository.id)?;
            let open: Vec<OpenHead> = alive
                .iter()
                .map(|change| OpenHead {
                    change: change.id,
                    head: change.head,
                })
                .collect();
            let git = |error| Refusal::from(AskError::Git(error));
            let verdicts = line.forge().standing(tip, &open).map_err(git)?;
            let overlaps = line.forge().overlaps(tip, &open).map_err(git)?;
            let rows: Vec<Value> = alive
                .iter()
                .zip(&verdicts)
                .map(|(change, verdict)| {
                    let (word, paths, culprit, text) = match &verdict.standing {
                        Standing::Clean => ("clean", vec![], None, None),
                        Standing::AlreadyIn => ("already_in", vec![], None, None),
                        Standing::Conflict { paths, culprit } => ("conflict", paths.clone(), *culprit, None),
                        Standing::Trouble(text) => ("trouble", vec![], None, Some(text.clone())),
                    };
                    json!({"id": change.id.to_string(), "branch": change.branch.as_str(), "title": change.title,
                           "state": change.state.as_str(), "standing": word, "paths": paths,
                           "culprit": culprit.map(|c: CommitId| c.to_string()), "trouble": text,
                           "behind": verdict.behind, "touches": verdict.paths.len()})
                })
                .collect();
            let pairs: Vec<Value> = overlaps
                .iter()
                .map(|pair| {
                    json!({"first": pair.first.to_string(), "second": pair.second.to_string(),
                           "paths": pair.paths, "conflict": pair.conflict, "duplicate": pair.duplicate})
                })
                .collect();
            Ok::<_, Refusal>(json!({"tip": tip.to_string(), "changes": rows, "overlaps": pairs}))
        })
        .await?;
    Ok(Json(value))
}

//! Waiting for changes to be decided, and viewing many at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use gantry_core::id::ChangeId;
use gantry_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{App, Wired};
use super::dto;
use super::error::Refusal;
use super::router::{Answer, WAIT_MAX, id_of};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitBody {
    changes: Vec<String>,
    #[serde(default)]
    wait_ms: u64,
}

/// Lists the changes of every repository that go on by themselves.
pub(super) async fn moving(State(app): State<App>) -> Answer {
    let value = app
        .look(|factory, _| {
            let (store, lines) = factory.parts();
            let mut names = Vec::new();
            for line in lines.iter() {
                let alive = store.load_alive_changes(line.repository.id)?;
                let goes_on = alive.iter().filter(|change| !change.state.is_halted());
                names.extend(goes_on.map(|change| change.id.to_string()));
            }
            Ok::<_, Refusal>(json!({"changes": names}))
        })
        .await?;
    Ok(Json(value))
}

/// Answers when all named changes have ended or wait for a person, or the time is over.
pub(super) async fn wait(State(mut app): State<App>, Json(body): Json<WaitBody>) -> Answer {
    let named: Vec<ChangeId> = body
        .changes
        .iter()
        .map(|text| id_of::<ChangeId>(text))
        .collect::<Result<_, _>>()?;
    let deadline = tokio::time::Instant::now() + Duration::from_millis(body.wait_ms).min(WAIT_MAX);
    loop {
        let seen = *app.recorded.borrow_and_update();
        let wanted = named.clone();
        let moves = app.look(move |factory, _| moves_of(factory, &wanted)).await?;
        if moves {
            let news = app.recorded.wait_for(|last| *last > seen);
            if matches!(tokio::time::timeout_at(deadline, news).await, Ok(Ok(_))) {
                continue;
            }
        }
        // The views cost more than the question: they are made once.
        let value = app
            .look(move |factory, now| {
                let moves = moves_of(factory, &named)?;
                let views = views(factory, &named, now)?;
                Ok::<_, Refusal>(json!({"ended": !moves, "changes": views}))
            })
            .await?;
        return Ok(Json(value));
    }
}

fn moves_of(factory: &Wired, named: &[ChangeId]) -> Result<bool, Refusal> {
    for id in named {
        let state = factory.change(*id)?.state;
        if !state.is_terminal() && !state.is_halted() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Views changes of any repository; what is common to a repository's changes is loaded once.
pub(super) fn views(factory: &mut Wired, named: &[ChangeId], now: Timestamp) -> Result<Vec<Value>, Refusal> {
    let mut outlooks = HashMap::new();
    let mut list = Vec::with_capacity(named.len());
    for id in named {
        let change = factory.change(*id)?;
        let (store, lines) = factory.parts();
        let found = lines
            .iter_mut()
            .find(|line| line.repository.id == change.repository);
        let line = found.ok_or_else(|| Refusal::missing(format!("the repository of {id} is not open")))?;
        let outlook = match outlooks.entry(change.repository) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(line.outlook(store, now)?),
        };
        list.push(dto::change(&line.view(store, outlook, change)?));
    }
    Ok(list)
}

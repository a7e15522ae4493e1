//! The routes. Each handler parses, asks, renders.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use gantry_core::id::{BranchName, BuildId, ChangeId, CommitId};
use gantry_core::limits::FACTS_PAGE_MAX;
use gantry_core::queue::change::{Change, Priority, Source};
use gantry_core::repository::Freeze;
use gantry_engine::factory::OfferRequest;
use gantry_engine::runner::log_path;
use gantry_store::Store;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{App, Wired, WiredLine};
use super::dto::{self, OfferBody, RepositoryBody, StepBody};
use super::error::Refusal;
use super::waiting::views;
use super::{dock, git_http, waiting};

pub(super) type Answer = Result<Json<Value>, Refusal>;

/// The most changes or builds one answer lists.
const PAGE_MAX: u32 = 500;
/// The longest one request waits for news; clients ask again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(25);

/// Makes the routes; `guarded` ones want the token.
pub fn router(app: App, guarded: bool) -> Router {
    let api = Router::new()
        .route(
            "/v1/ping",
            get(async || Json(json!({"gantry": env!("CARGO_PKG_VERSION")}))),
        )
        .route("/v1/status", get(status))
        .route("/v1/repositories", get(repositories))
        .route("/v1/changes", get(changes).post(offer))
        .route("/v1/changes/{id}", get(show_change))
        .route("/v1/changes/{id}/{step}", post(step_change))
        .route("/v1/moving", get(waiting::moving))
        .route("/v1/wait", post(waiting::wait))
        .route("/v1/freeze", post(freeze))
        .route("/v1/thaw", post(thaw))
        .route("/v1/builds", get(builds))
        .route("/v1/builds/{id}", get(show_build))
        .route("/v1/dock", get(dock::dock))
        .route("/v1/events", get(events));
    let api = if guarded {
        // Stopping the daemon and reading other repositories of the host is for whoever may open the local socket.
        api.layer(middleware::from_fn_with_state(app.clone(), check_token))
    } else {
        api.route("/v1/stop", post(stop))
            .route("/v1/repositories", post(add_repository))
    };
    api.route("/git/{*path}", any(git_http::serve)).with_state(app)
}

async fn check_token(State(app): State<App>, request: Request, next: Next) -> Response {
    if git_http::has_token(&app, request.headers()) {
        return next.run(request).await;
    }
    let body = json!({"error": "a token is needed: send the content of the data directory's `token` file as a bearer token"});
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    pub(super) repository: Option<String>,
    #[serde(default)]
    all: bool,
    before: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    #[serde(default)]
    after: u64,
    change: Option<String>,
    #[serde(default)]
    wait_ms: u64,
}

pub(super) fn id_of<T: std::str::FromStr>(text: &str) -> Result<T, Refusal>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| Refusal::bad(error.to_string()))
}

fn priority_of(word: &str) -> Result<Priority, Refusal> {
    Priority::parse(word).ok_or_else(|| {
        Refusal::bad(format!(
            "{word:?} is no priority: write low, normal, high or urgent"
        ))
    })
}

fn view(factory: &mut Wired, change: Change, now: gantry_core::time::Timestamp) -> Result<Value, Refusal> {
    views(factory, &[change.id], now).map(|mut list| list.pop().unwrap_or_default())
}

async fn status(State(app): State<App>) -> Answer {
    let value = app
        .look(|factory, _| {
            let (store, lines) = factory.parts();
            let mut repositories = Vec::new();
            for line in lines.iter() {
                let alive = store.load_alive_changes(line.repository.id)?;
                let mut counts: HashMap<&str, usize> = HashMap::new();
                for change in &alive {
                    *counts.entry(change.state.as_str()).or_default() += 1;
                }
                let running = store
                    .load_counting_builds(line.repository.id)?
                    .iter()
                    .filter(|build| {
                        matches!(build.state, gantry_core::queue::build::BuildState::Running { .. })
                    })
                    .count();
                let mut value = dto::repository(&line.repository);
                value["changes"] = json!(counts);
                value["builds_running"] = json!(running);
                value["obstacle"] = line.obstacle().map_or(Value::Null, |o| {
                    json!({"code": o.code, "text": o.text, "next_action": o.next_action,
                           "retry_at": o.retry_at.map(dto::instant)})
                });
                repositories.push(value);
            }
            repositories.extend(unopened(store, lines)?);
            Ok::<_, Refusal>(
                json!({"version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(),
                                    "repositories": repositories}),
            )
        })
        .await?;
    Ok(Json(value))
}

/// Shows repositories of the factory that could not be opened when the daemon started.
fn unopened(store: &Store, lines: &[WiredLine]) -> Result<Vec<Value>, Refusal> {
    let known = store.load_repositories()?;
    let closed = known
        .iter()
        .filter(|repository| !lines.iter().any(|line| line.repository.id == repository.id));
    let mut list = Vec::new();
    for repository in closed {
        let mut value = dto::repository(repository);
        value["changes"] = json!({});
        value["builds_running"] = json!(0);
        value["obstacle"] = json!({
            "code": "repository",
            "text": format!("it could not be opened at {}", repository.path),
            "next_action": format!("put it back, then `gantry init --repo {}`", repository.path),
            "retry_at": null,
        });
        list.push(value);
    }
    Ok(list)
}

async fn stop(State(app): State<App>) -> Answer {
    app.stop.send_replace(true);
    Ok(Json(json!({"stopping": true})))
}

async fn repositories(State(app): State<App>) -> Answer {
    let value = app
        .look(|factory, _| {
            let (_, lines) = factory.parts();
            let list: Vec<Value> = lines
                .iter()
                .map(|line| dto::repository(&line.repository))
                .collect();
            Ok::<_, Refusal>(json!({"repositories": list}))
        })
        .await?;
    Ok(Json(value))
}

async fn add_repository(State(app): State<App>, Json(body): Json<RepositoryBody>) -> Answer {
    let wiring = std::sync::Arc::clone(&app.wiring);
    let sender = app.sender.clone();
    let value = app
        .ask(move |factory, now| {
            let refuse = |error: anyhow::Error| Refusal::bad(format!("{error:#}"));
            let wanted = wiring.plan_repository(&body).map_err(refuse)?;
            let (store, lines) = factory.parts();
            if let Some(line) = lines.iter().find(|l| wanted.is_same(&l.repository)) {
                return Ok(dto::repository(&line.repository));
            }
            let repository = wiring.add(store, &wanted, now).map_err(refuse)?;
            let shown = dto::repository(&repository);
            let line = wiring.open_line(repository, &sender).map_err(refuse)?;
            factory.add_line(line);
            Ok::<_, Refusal>(shown)
        })
        .await?;
    Ok(Json(value))
}

async fn changes(State(app): State<App>, Query(query): Query<ListQuery>) -> Answer {
    let before = query.before.as_deref().map(id_of::<ChangeId>).transpose()?;
    let value = app
        .look(move |factory, now| {
            let at = factory.line_named(query.repository.as_deref())?;
            let (store, lines) = factory.parts();
            let line = &mut lines[at];
            let outlook = line.outlook(store, now)?;
            let listed = if query.all {
                let below = before.unwrap_or(ChangeId::new(i64::MAX as u64));
                store.load_changes_below(line.repository.id, below, PAGE_MAX)?
            } else {
                outlook.changes().to_vec()
            };
            let next = if query.all && listed.len() == PAGE_MAX as usize {
                listed.last().map(|c| c.id)
            } else {
                None
            };
            let mut views = Vec::with_capacity(listed.len());
            for change in listed {
                views.push(line.view(store, &outlook, change)?);
            }
            if !query.all {
                // The queue first, in its order; then what waits for a person.
                views.sort_by_key(|view| (view.position.unwrap_or(usize::MAX), view.change.id));
            }
            Ok::<_, Refusal>(json!({
                "changes": views.iter().map(dto::change).collect::<Vec<_>>(),
                "frozen": line.repository.frozen.as_ref().map(dto::freeze),
                "next_before": next.map(|id| id.to_string()),
            }))
        })
        .await?;
    Ok(Json(value))
}

async fn offer(State(app): State<App>, Json(body): Json<OfferBody>) -> Answer {
    let request = OfferRequest {
        branch: id_of::<BranchName>(&body.branch)?,
        source: match body.source.as_deref() {
            None => Source::Branch,
            Some(word) => Source::parse(word)
                .ok_or_else(|| Refusal::bad(format!("source is {word:?}; write branch or topic")))?,
        },
        head: body.sha.as_deref().map(id_of::<CommitId>).transpose()?,
        title: body.title,
        author: body.author,
        priority: body.priority.as_deref().map(priority_of).transpose()?,
        solo: body.solo,
        after: body
            .after
            .iter()
            .map(|text| id_of::<ChangeId>(text))
            .collect::<Result<_, _>>()?,
    };
    let value = app
        .ask(move |factory, now| {
            let at = factory.line_named(body.repository.as_deref())?;
            let change = factory.offer(at, request, now)?;
            view(factory, change, now)
        })
        .await?;
    Ok(Json(value))
}

async fn show_change(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = id_of::<ChangeId>(&id)?;
    let value = app
        .look(move |factory, now| {
            let change = factory.change(id)?;
            view(factory, change, now)
        })
        .await?;
    Ok(Json(value))
}

async fn step_change(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
    Json(body): Json<StepBody>,
) -> Answer {
    let id = id_of::<ChangeId>(&id)?;
    let value = app
        .ask(move |factory, now| {
            let change = match step.as_str() {
                "cancel" => factory.cancel(id, now)?,
                "release" => factory.release(id, now)?,
                "hold" => factory.hold(id, body.reason.as_deref().unwrap_or(""), now)?,
                "priority" => {
                    let word = body.priority.as_deref().unwrap_or("");
                    factory.set_priority(id, priority_of(word)?, now)?
                }
                other => return Err(Refusal::missing(format!("there is no step {other:?}"))),
            };
            view(factory, change, now)
        })
        .await?;
    Ok(Json(value))
}

async fn freeze(State(app): State<App>, Json(body): Json<StepBody>) -> Answer {
    let below = body.below.as_deref().map(priority_of).transpose()?;
    let reason = body.reason.filter(|reason| !reason.trim().is_empty());
    let reason = reason.ok_or_else(|| Refusal::bad("say why: --reason TEXT"))?;
    let value = app
        .ask(move |factory, now| {
            let at = factory.line_named(body.repository.as_deref())?;
            let author = body.author.unwrap_or_else(|| "somebody".to_owned());
            let frozen = Freeze {
                below,
                author,
                reason,
                since: now,
            };
            let shown = dto::freeze(&frozen);
            factory.freeze(at, frozen)?;
            Ok::<_, Refusal>(json!({"frozen": shown}))
        })
        .await?;
    Ok(Json(value))
}

async fn thaw(State(app): State<App>, Json(body): Json<StepBody>) -> Answer {
    app.ask(move |factory, now| {
        let at = factory.line_named(body.repository.as_deref())?;
        factory.thaw(at, body.author.as_deref().unwrap_or("somebody"), now)
    })
    .await?;
    Ok(Json(json!({"frozen": null})))
}

async fn builds(State(app): State<App>, Query(query): Query<ListQuery>) -> Answer {
    let before = query.before.as_deref().map(id_of::<BuildId>).transpose()?;
    let value = app
        .look(move |factory, _| {
            let at = factory.line_named(query.repository.as_deref())?;
            let (store, lines) = factory.parts();
            let below = before.unwrap_or(Store::after_all_builds());
            let most = if query.all { PAGE_MAX } else { 50 };
            let listed = store.load_builds_below(lines[at].repository.id, below, most)?;
            let next = if listed.len() == most as usize {
                listed.last().map(|b| b.id)
            } else {
                None
            };
            Ok::<_, Refusal>(json!({
                "builds": listed.iter().map(dto::build).collect::<Vec<_>>(),
                "next_before": next.map(|id| id.to_string()),
            }))
        })
        .await?;
    Ok(Json(value))
}

async fn show_build(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = id_of::<BuildId>(&id)?;
    let logs = app.logs.clone();
    let value = app
        .look(move |factory, _| {
            let build = factory.store().load_build(id)?;
            let build = build.ok_or_else(|| Refusal::missing(format!("there is no build {id}")))?;
            let mut value = dto::build(&build);
            let names = build.checks.iter().map(|check| check.name.as_str());
            let files: Vec<Value> = names
                .map(|name| json!({"check": name, "log": log_path(&logs, id, name).display().to_string()}))
                .collect();
            value["logs"] = json!(files);
            value["log_folder"] = json!(logs.join(id.to_string()).display().to_string());
            Ok::<_, Refusal>(value)
        })
        .await?;
    Ok(Json(value))
}

async fn events(State(mut app): State<App>, Query(query): Query<EventsQuery>) -> Answer {
    let wait = Duration::from_millis(query.wait_ms).min(WAIT_MAX);
    let change = query.change.as_deref().map(id_of::<ChangeId>).transpose()?;
    if !wait.is_zero() {
        // Running out of time is the answer "nothing new"; a closed channel ends in the question below.
        drop(tokio::time::timeout(wait, app.recorded.wait_for(|last| *last > query.after)).await);
    }
    let value = app
        .look(move |factory, _| {
            let names: HashMap<_, String> = {
                let (_, lines) = factory.parts();
                lines
                    .iter()
                    .map(|l| (l.repository.id, l.repository.name.clone()))
                    .collect()
            };
            let facts = match change {
                Some(change) => factory.store().load_facts_of(change, FACTS_PAGE_MAX)?,
                None => factory.store().load_facts_after(query.after, FACTS_PAGE_MAX)?,
            };
            let list: Vec<Value> = facts
                .iter()
                .map(|recorded| {
                    dto::event(
                        recorded,
                        names.get(&recorded.fact.repository).map_or("", String::as_str),
                    )
                })
                .collect();
            Ok::<_, Refusal>(json!({"events": list}))
        })
        .await?;
    Ok(Json(value))
}

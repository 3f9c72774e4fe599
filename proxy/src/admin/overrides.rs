//! `/v1/overrides`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use weir_api::{
    admin::{OverrideCreated, OverrideDeleted, OverrideList, OverrideView},
    settings::{Path as Field, Problem, Problems, Subject},
    units::parse_duration,
};

use super::{
    AdminState,
    answer::{Done, Failure},
    body::{Body, Terms, printable},
    settings::change,
};
use crate::settings::{MAX_TTL, NewOverride, StoreError};

const TTL: &str = "a duration from \"1s\" to \"24h\", such as \"10m\"";

pub(super) async fn list(State(state): State<AdminState>) -> Result<Json<OverrideList>, Failure> {
    Ok(Json(OverrideList {
        overrides: all(&state).await?,
        revision: state.store.revision(),
    }))
}

async fn all(state: &AdminState) -> Result<Vec<OverrideView>, Failure> {
    let store = Arc::clone(&state.store);
    state.workers.report(move || store.overrides()).await
}

pub(super) async fn read(
    State(state): State<AdminState>,
    Path(id): Path<String>,
) -> Result<Json<OverrideView>, Failure> {
    let found = all(&state).await?.into_iter().find(|o| o.id == id);
    Ok(Json(found.ok_or(StoreError::NoOverride(id))?))
}

pub(super) async fn create(
    State(state): State<AdminState>,
    terms: Terms,
    body: Body,
) -> Result<Response, Failure> {
    let new = request(&body.required()?)?;
    let conditions = terms.conditions;
    let (view, changed) = change(&state, move |store| {
        store.create_override(new.clone(), conditions)
    })
    .await?;
    let location = format!("/v1/overrides/{}", view.id);
    let created = Done(OverrideCreated {
        id: view.id,
        expires_at: view.expires_at,
        revision: changed.revision,
        dry_run: conditions.dry_run,
        diff: changed.diff,
    });
    if conditions.dry_run {
        return Ok(created.into_response());
    }
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], created).into_response())
}

pub(super) async fn renew(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<OverrideView>, Failure> {
    let mut fields = Fields::new(body.0.as_ref(), &["ttl"])?;
    let ttl = fields.duration("ttl");
    fields.finish()?;
    Ok(Json(
        change(&state, move |store| store.renew_override(&id, ttl)).await?,
    ))
}

pub(super) async fn delete(
    State(state): State<AdminState>,
    terms: Terms,
    Path(id): Path<String>,
) -> Result<Done<OverrideDeleted>, Failure> {
    let ended = id.clone();
    let who = terms.author.who;
    let changed = change(&state, move |store| store.delete_override(&ended, &who)).await?;
    Ok(Done(OverrideDeleted {
        id,
        revision: changed.revision,
        diff: changed.diff,
    }))
}

fn request(body: &Value) -> Result<NewOverride, Failure> {
    let mut fields = Fields::new(Some(body), &["settings", "ttl", "owner", "reason"])?;
    let ttl = fields.duration("ttl");
    if ttl.is_none() {
        fields.missing("ttl", TTL);
    }
    let owner = fields.text("owner");
    if owner.is_none() {
        fields.missing("owner", "who wants the override, 1 to 200 characters");
    }
    let reason = fields.text("reason");
    let settings = body.get("settings").cloned();
    if settings.is_none() {
        fields.missing("settings", "an object with the settings to change");
    }
    fields.finish()?;
    printable("owner", owner.as_deref().unwrap_or_default())?;
    printable("reason", reason.as_deref().unwrap_or_default())?;
    Ok(NewOverride {
        settings: settings.unwrap_or_default(),
        ttl: ttl.unwrap_or_default(),
        owner: owner.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    })
}

/// Reads the fields of a small body and collects what is wrong with them.
struct Fields<'a> {
    body: Option<&'a Value>,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    fn new(body: Option<&'a Value>, known: &[&str]) -> Result<Self, Failure> {
        let mut problems = Vec::new();
        if let Some(body) = body {
            let Some(object) = body.as_object() else {
                let allowed = format!("an object with {}", known.join(", "));
                return Err(Problems::one(Problem::new(
                    Field::root(),
                    "the body is not an object",
                    allowed,
                ))
                .into());
            };
            let unknown = object.keys().filter(|key| !known.contains(&key.as_str()));
            problems.extend(unknown.map(|key| {
                let path = Field::root().key(key);
                Problem::new(path, "unknown field", known.join(", ")).about(Subject::Name)
            }));
        }
        Ok(Self { body, problems })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.body.and_then(|body| body.get(name))
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        if !value.is_string() {
            self.problem(name, format!("{value} is not a text"), "a text");
        }
        Some(value.as_str().unwrap_or_default().to_owned())
    }

    fn duration(&mut self, name: &str) -> Option<Duration> {
        let value = self.get(name)?;
        let parsed = value.as_str().and_then(|text| parse_duration(text).ok());
        if parsed.is_none() {
            self.problem(name, format!("{value} is not allowed"), TTL);
        }
        // Any good duration does: the request is refused already.
        Some(parsed.unwrap_or(MAX_TTL))
    }

    fn missing(&mut self, name: &str, allowed: &str) {
        self.problem(name, "missing".to_owned(), allowed);
    }

    fn problem(&mut self, name: &str, message: String, allowed: &str) {
        self.problems
            .push(Problem::new(Field::root().key(name), message, allowed));
    }

    fn finish(self) -> Result<(), Failure> {
        Ok(Problems::none_or(self.problems)?)
    }
}

//! `/v1/settings` and `/v1/revisions`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use weir_api::admin::{ChangeView, ReloadView, RevisionList, SaveView};

use super::{
    AdminState,
    answer::{Done, Failure},
    body::{Body, Terms},
};
use crate::settings::{Changed, SaveError, Store, StoreError, paths};

pub(super) async fn read(State(state): State<AdminState>) -> Result<impl IntoResponse, Failure> {
    let store = Arc::clone(&state.store);
    let view = state.workers.report(move || store.view()).await?;
    let tag = format!("\"{}\"", view.revision);
    Ok(([(header::ETAG, tag)], Json(view)))
}

pub(super) async fn patch(
    State(state): State<AdminState>,
    terms: Terms,
    body: Body,
) -> Result<Done<ChangeView>, Failure> {
    let patch = body.required()?;
    let Terms {
        conditions, author, ..
    } = terms;
    let changed = change(&state, move |store| {
        store.patch(&patch, author.clone(), conditions)
    })
    .await?;
    Ok(view(changed, conditions.dry_run))
}

pub(super) async fn discard(
    State(state): State<AdminState>,
    terms: Terms,
) -> Result<Done<ChangeView>, Failure> {
    let Terms {
        conditions, author, ..
    } = terms;
    let changed = change(&state, move |store| {
        store.discard_patches(author.clone(), conditions)
    })
    .await?;
    Ok(view(changed, conditions.dry_run))
}

/// One setting, or a table of them, by the names on the way to it.
pub(super) async fn read_at(
    State(state): State<AdminState>,
    Path(path): Path<String>,
) -> Result<impl IntoResponse, Failure> {
    let current = state.store.current();
    let settings = current.settings.to_json();
    let found = paths::lookup(&settings, &names(&path)).map_err(Failure::no_such_setting)?;
    let tag = format!("\"{}\"", current.revision);
    Ok(([(header::ETAG, tag)], Json(found.clone())))
}

/// Another value for one setting or one table.
pub(super) async fn put_at(
    State(state): State<AdminState>,
    Path(path): Path<String>,
    terms: Terms,
    body: Body,
) -> Result<Done<ChangeView>, Failure> {
    let value = body.required()?;
    let settings = state.store.current().settings.to_json();
    let patch = paths::replacing(&settings, &names(&path), value)?;
    let Terms {
        conditions, author, ..
    } = terms;
    let changed = change(&state, move |store| {
        store.patch(&patch, author.clone(), conditions)
    })
    .await?;
    Ok(view(changed, conditions.dry_run))
}

/// A trailing slash is forgiven.
fn names(path: &str) -> Vec<&str> {
    path.trim_end_matches('/').split('/').collect()
}

pub(super) async fn rollback(
    State(state): State<AdminState>,
    Path(revision): Path<String>,
    terms: Terms,
) -> Result<Done<ChangeView>, Failure> {
    let revision = revision.parse().map_err(|_| {
        let message = format!("{revision:?} is not a revision's number, such as 7");
        Failure::bad_request("bad_revision", message)
    })?;
    let Terms {
        conditions, author, ..
    } = terms;
    let changed = change(&state, move |store| {
        store.rollback(revision, author.clone(), conditions)
    })
    .await?;
    Ok(view(changed, conditions.dry_run))
}

pub(super) async fn save(
    State(state): State<AdminState>,
    terms: Terms,
) -> Result<Done<SaveView>, Failure> {
    let Terms {
        conditions, author, ..
    } = terms;
    let saved = change(&state, move |store| store.save(&author, conditions)).await?;
    Ok(Done(SaveView {
        revision: saved.revision,
        dry_run: conditions.dry_run,
        file: saved.file.display().to_string(),
        diff: saved.diff,
        text_diff: saved.text_diff,
    }))
}

/// Reads the file again. One that does not validate changes nothing.
pub(super) async fn reload(
    State(state): State<AdminState>,
    terms: Terms,
) -> Result<Done<ReloadView>, Failure> {
    let Some(reload) = state.reload.clone() else {
        return Err(StoreError::from(SaveError::NoFile).into());
    };
    if terms.conditions.expected.is_some() {
        let message = "a reload takes no If-Match: it follows the file, not the settings in force";
        return Err(Failure::bad_request("bad_if_match", message));
    }
    let (dry_run, author) = (terms.conditions.dry_run, terms.author);
    let reloaded = state
        .workers
        .change(move || reload(dry_run, author))
        .await?;
    reloaded
        .map(Done)
        .map_err(|what| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "file_invalid", what))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default = "Page::usual")]
    limit: usize,
}

impl Page {
    fn usual() -> usize {
        100
    }
}

pub(super) async fn revisions(
    State(state): State<AdminState>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RevisionList>, Failure> {
    let Query(page) = page.map_err(|rejection| {
        let message = format!("{}; allowed: limit=1 to 1000", rejection.body_text());
        Failure::bad_request("bad_query", message)
    })?;
    let store = Arc::clone(&state.store);
    let revisions = state.workers.report(move || store.revisions(page.limit));
    let revisions = revisions.await?;
    let revision = state.store.revision();
    Ok(Json(RevisionList {
        revision,
        revisions,
    }))
}

/// Makes a change on a thread that may wait: names of new servers are looked up first. A change that was
/// begun is finished even when the client goes away.
pub(super) async fn change<T: Send + 'static>(
    state: &AdminState,
    change: impl Fn(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let store = Arc::clone(&state.store);
    let done = state.workers.change(move || store.make(change)).await?;
    done.map_err(Failure::from)
}

pub(super) fn view(changed: Changed, dry_run: bool) -> Done<ChangeView> {
    Done(ChangeView {
        revision: changed.revision,
        dry_run,
        diff: changed.diff,
        superseded: changed.superseded,
    })
}

//! `/v1/settings` and `/v1/revisions`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use weir_api::admin::{ChangeView, RevisionList};

use super::{
    AdminState,
    answer::Failure,
    body::{Body, Terms},
};
use crate::settings::{Changed, Store, StoreError};

pub(super) async fn read(State(state): State<AdminState>) -> impl IntoResponse {
    let view = state.store.view();
    let tag = format!("\"{}\"", view.revision);
    ([(header::ETAG, tag)], Json(view))
}

pub(super) async fn patch(
    State(state): State<AdminState>,
    terms: Terms,
    body: Body,
) -> Result<Json<ChangeView>, Failure> {
    let patch = body.required()?;
    let Terms { conditions, author } = terms;
    let changed = change(&state, move |store| store.patch(&patch, author, conditions)).await?;
    Ok(view(changed, conditions.dry_run))
}

pub(super) async fn discard(
    State(state): State<AdminState>,
    terms: Terms,
) -> Result<Json<ChangeView>, Failure> {
    let Terms { conditions, author } = terms;
    let changed = change(&state, move |store| {
        store.discard_patches(author, conditions)
    })
    .await?;
    Ok(view(changed, conditions.dry_run))
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
    let revisions = state.store.revisions(page.limit);
    let revision = state.store.revision();
    Ok(Json(RevisionList {
        revision,
        revisions,
    }))
}

/// Makes a change on a thread that may wait: the engine's hook may resolve names. A change that was
/// begun is finished even when the client goes away.
pub(super) async fn change<T: Send + 'static>(
    state: &AdminState,
    make: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let store = Arc::clone(&state.store);
    match tokio::task::spawn_blocking(move || make(&store)).await {
        Ok(done) => done.map_err(Failure::from),
        Err(error) => Err(Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("the change was not made: {error}"),
        )),
    }
}

fn view(changed: Changed, dry_run: bool) -> Json<ChangeView> {
    Json(ChangeView {
        revision: changed.revision,
        dry_run,
        diff: changed.diff,
        superseded: changed.superseded,
    })
}

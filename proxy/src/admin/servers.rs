//! `/v1/upstreams/{name}/servers`.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir_api::admin::{ChangeView, DrainView};

use super::{
    AdminState,
    answer::{Done, Failure},
    body::{Body, Terms},
    settings::{change, view},
};
use crate::settings::{Changed, ServerChange};

/// How long a drain waits when nobody says.
const WAIT: Duration = Duration::from_secs(30);
/// How often it looks at the requests in flight.
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn add(
    State(state): State<AdminState>,
    Path(upstream): Path<String>,
    terms: Terms,
    body: Body,
) -> Result<(StatusCode, Done<ChangeView>), Failure> {
    let dry_run = terms.conditions.dry_run;
    let added = ServerChange::Add(body.required()?);
    let view = view(make(&state, upstream, added, terms).await?, dry_run);
    let status = if dry_run {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, view))
}

pub(super) async fn set(
    State(state): State<AdminState>,
    Path((upstream, address)): Path<(String, String)>,
    terms: Terms,
    body: Body,
) -> Result<Done<ChangeView>, Failure> {
    let dry_run = terms.conditions.dry_run;
    let set = ServerChange::Set(address, body.required()?);
    Ok(view(make(&state, upstream, set, terms).await?, dry_run))
}

pub(super) async fn remove(
    State(state): State<AdminState>,
    Path((upstream, address)): Path<(String, String)>,
    terms: Terms,
) -> Result<Done<ChangeView>, Failure> {
    let dry_run = terms.conditions.dry_run;
    let remove = ServerChange::Remove(address);
    Ok(view(make(&state, upstream, remove, terms).await?, dry_run))
}

/// Sets a server down, and answers when nothing is in flight on it or the time is over.
pub(super) async fn drain(
    State(state): State<AdminState>,
    Path((upstream, address)): Path<(String, String)>,
    terms: Terms,
) -> Result<Done<DrainView>, Failure> {
    let dry_run = terms.conditions.dry_run;
    let until = Instant::now() + terms.wait.unwrap_or(WAIT);
    let down = ServerChange::Set(address.clone(), json!({"down": true}));
    let changed = make(&state, upstream.clone(), down, terms).await?;
    let mut closing = state.closing.subscribe();
    // A request that began just before may still be choosing its server: one look is not enough.
    let mut empty = 0;
    let in_flight = loop {
        let look = Arc::clone(&state.upstreams);
        let (of, at) = (upstream.clone(), address.clone());
        let in_flight = state.workers.report(move || in_flight(&look(), &of, &at));
        let in_flight = in_flight.await?;
        empty = if in_flight == 0 { empty + 1 } else { 0 };
        if dry_run || empty == 3 || Instant::now() >= until || *closing.borrow() {
            break in_flight;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            // An error would say that the proxy has gone, and so has this request.
            _ = closing.wait_for(|closing| *closing) => {}
        }
    };
    Ok(Done(DrainView {
        revision: changed.revision,
        dry_run,
        diff: changed.diff,
        in_flight,
        drained: in_flight == 0,
    }))
}

async fn make(
    state: &AdminState,
    upstream: String,
    server: ServerChange,
    terms: Terms,
) -> Result<Changed, Failure> {
    let (author, conditions) = (terms.author, terms.conditions);
    change(state, move |store| {
        store.change_servers(&upstream, &server, author.clone(), conditions)
    })
    .await
}

/// Requests in flight on a server, by the report of `/v1/upstreams`. A name may stand for several
/// addresses.
fn in_flight(report: &Value, upstream: &str, server: &str) -> u64 {
    let is = |value: &Value, name: &str| value.get("name").and_then(Value::as_str) == Some(name);
    let inner = |value: &Value, name: &str| -> Vec<Value> {
        let list = value.get(name).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    inner(report, "upstreams")
        .iter()
        .filter(|it| is(it, upstream))
        .flat_map(|it| inner(it, "servers"))
        .filter(|it| is(it, server))
        .filter_map(|it| it.get("in_flight")?.as_u64())
        .sum()
}

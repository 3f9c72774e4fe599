//! The handler of each endpoint.

use std::sync::OnceLock;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post, put},
};
use serde_json::Value;
use weir_api::{
    endpoints::{ENDPOINTS, Operation},
    openapi,
    schema::{LIVE, Purpose, json_schema},
};

use super::{
    AdminState,
    answer::Failure,
    dashboard, events,
    guard::{self, Gate, Guard},
    observe, overrides, profile, servers, settings,
};

/// A router of every endpoint in the table, each behind its gate.
pub(super) fn all(guard: &Guard) -> Router<AdminState> {
    ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        let gate = Gate(guard.clone(), endpoint);
        let handler = handler(endpoint.operation);
        let layer = middleware::from_fn_with_state(gate, guard::pass);
        router.route(endpoint.path, handler.route_layer(layer))
    })
}

fn handler(operation: Operation) -> MethodRouter<AdminState> {
    match operation {
        Operation::ReadSettings => get(settings::read),
        Operation::PatchSettings => patch(settings::patch),
        Operation::DiscardPatches => delete(settings::discard),
        Operation::ReadSetting => get(settings::read_at),
        Operation::PutSetting => put(settings::put_at),
        Operation::SaveSettings => post(settings::save),
        Operation::ReloadFile => post(settings::reload),
        Operation::ListRevisions => get(settings::revisions),
        Operation::RollBack => post(settings::rollback),
        Operation::ListOverrides => get(overrides::list),
        Operation::CreateOverride => post(overrides::create),
        Operation::ReadOverride => get(overrides::read),
        Operation::DeleteOverride => delete(overrides::delete),
        Operation::RenewOverride => post(overrides::renew),
        Operation::Upstreams => get(observe::upstreams),
        Operation::AddServer => post(servers::add),
        Operation::ChangeServer => patch(servers::set),
        Operation::RemoveServer => delete(servers::remove),
        Operation::DrainServer => post(servers::drain),
        Operation::Limits => get(observe::limits),
        Operation::Stats => get(observe::stats),
        Operation::History => get(dashboard::history),
        Operation::Chart => get(dashboard::chart),
        Operation::Dashboard => get(dashboard::page),
        Operation::DashboardPart => get(dashboard::part),
        Operation::Events => get(events::read),
        Operation::Profile => get(profile::take),
        Operation::SettingsSchema => get(schema),
        Operation::OpenApi => get(document),
        Operation::Healthz => get(observe::healthz),
        Operation::Readyz => get(observe::readyz),
        Operation::Metrics => get(observe::metrics),
    }
}

/// Neither changes while the program runs.
static SCHEMA: OnceLock<Bytes> = OnceLock::new();
static DOCUMENT: OnceLock<Bytes> = OnceLock::new();

async fn schema(State(state): State<AdminState>) -> Result<Response, Failure> {
    once(&state, &SCHEMA, || json_schema(&LIVE, Purpose::Whole)).await
}

async fn document(State(state): State<AdminState>) -> Result<Response, Failure> {
    let make = || openapi::document(env!("CARGO_PKG_VERSION"));
    once(&state, &DOCUMENT, make).await
}

/// A document that is made when it is first asked for.
async fn once(
    state: &AdminState,
    made: &'static OnceLock<Bytes>,
    make: fn() -> Value,
) -> Result<Response, Failure> {
    if let Some(text) = made.get() {
        return Ok(json(text.clone()));
    }
    let make = move || {
        let text = made.get_or_init(|| Bytes::from(make().to_string()));
        text.clone()
    };
    Ok(json(state.workers.report(make).await?))
}

fn json(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

//! What the proxy tells about itself.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde_json::Value;

use super::{AdminState, Phase, Report, answer::Failure};

/// The process is alive.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The proxy takes requests.
pub(super) async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    match state.readiness.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

pub(super) async fn metrics(State(state): State<AdminState>) -> Result<impl IntoResponse, Failure> {
    // The version that Prometheus' text format has in this header.
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], state.metrics.get().await?))
}

pub(super) async fn upstreams(State(state): State<AdminState>) -> Result<Json<Value>, Failure> {
    report(&state, &state.upstreams).await
}

pub(super) async fn limits(State(state): State<AdminState>) -> Result<Json<Value>, Failure> {
    report(&state, &state.limits).await
}

pub(super) async fn stats(State(state): State<AdminState>) -> Result<Json<Value>, Failure> {
    report(&state, &state.stats).await
}

async fn report(state: &AdminState, make: &Report) -> Result<Json<Value>, Failure> {
    let make = Arc::clone(make);
    state.workers.report(move || Json(make())).await
}

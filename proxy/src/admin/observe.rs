//! What the proxy tells about itself.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde_json::Value;

use super::{AdminState, Phase};

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

pub(super) async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    // The version that Prometheus' text format has in this header.
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (state.metrics)())
}

pub(super) async fn upstreams(State(state): State<AdminState>) -> Json<Value> {
    Json((state.upstreams)())
}

pub(super) async fn limits(State(state): State<AdminState>) -> Json<Value> {
    Json((state.limits)())
}

pub(super) async fn stats(State(state): State<AdminState>) -> Json<Value> {
    Json((state.stats)())
}

//! The dashboard: one page that loads nothing from anywhere else.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use weir_api::admin::HistoryView;

use super::{
    AdminState,
    answer::Failure,
    charts::{self, NAMES},
};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPTS: [(&str, &str); 4] = [
    ("app.js", include_str!("app.js")),
    ("api.js", include_str!("api.js")),
    ("settings.js", include_str!("settings.js")),
    ("tables.js", include_str!("tables.js")),
];
/// Nothing but what this process serves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", PAGE)
}

/// What the page loads.
pub(super) async fn part(Path(name): Path<String>) -> Result<Response, Failure> {
    if name == "style.css" {
        return Ok(file("text/css; charset=utf-8", STYLE));
    }
    match SCRIPTS.into_iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Ok(file("text/javascript; charset=utf-8", text)),
        None => Err(Failure::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("the dashboard has no {name:?}"),
        )),
    }
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    #[serde(default = "Span::usual")]
    seconds: usize,
}

impl Span {
    fn usual() -> usize {
        300
    }

    fn read(span: Result<Query<Self>, QueryRejection>) -> Result<usize, Failure> {
        match span {
            Ok(Query(span)) if (1..=300).contains(&span.seconds) => Ok(span.seconds),
            Ok(Query(span)) => Err(format!("seconds={}", span.seconds)),
            Err(rejection) => Err(rejection.body_text()),
        }
        .map_err(|what| {
            Failure::bad_request("bad_query", format!("{what}; allowed: seconds=1 to 300"))
        })
    }
}

/// `/v1/history`.
pub(super) async fn history(
    State(state): State<AdminState>,
    span: Result<Query<Span>, QueryRejection>,
) -> Result<axum::Json<HistoryView>, Failure> {
    let moments = state.history.last(Span::read(span)?);
    Ok(axum::Json(HistoryView {
        revision: state.store.revision(),
        moments,
    }))
}

/// `/v1/charts/{name}`.
pub(super) async fn chart(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    span: Result<Query<Span>, QueryRejection>,
) -> Result<Response, Failure> {
    let moments = state.history.last(Span::read(span)?);
    let drawn = {
        let name = name.clone();
        state.workers.report(move || charts::draw(&name, &moments))
    };
    match drawn.await? {
        Some(Ok(svg)) => {
            Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], svg).into_response())
        }
        Some(Err(error)) => Err(Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "chart_failed",
            error,
        )),
        None => Err(Failure::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no chart {name:?}; there are {}", NAMES.join(", ")),
        )),
    }
}

//! The admin API: a small web application on a listener of its own.
//!
//! It reads and changes settings, lists what the proxy knows about itself, and answers health checks
//! and scrapes. Bodies are in [`weir_api::admin`], the endpoints in `docs/reference/admin-api.md`.
//! It trusts whoever reaches it, therefore it listens on loopback only, and requests that a
//! web page could make a browser send are refused.

mod answer;
mod body;
mod events;
mod guard;
mod json;
mod observe;
mod overrides;
mod readiness;
mod servers;
mod settings;
mod state;

use std::{future::Future, io, time::Duration};

use axum::{
    Router,
    http::{StatusCode, Uri},
    middleware,
    routing::{get, patch, post},
};
use tracing::warn;

pub use readiness::{Phase, Readiness};
pub use state::{AdminState, Report, Text};

use answer::Failure;

/// How long a shutdown waits for admin requests in flight.
const LINGER: Duration = Duration::from_secs(2);

/// Serves the admin API on a bound listener until `shutdown` completes, then finishes what is in
/// flight, for two seconds at most.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    state: AdminState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let closing = std::sync::Arc::clone(&state.closing);
    let watching = tokio::spawn(events::watch_servers(state.clone()));
    let serving = axum::serve(listener, app(state, address)).with_graceful_shutdown(async move {
        shutdown.await;
        closing.send_replace(true);
        // The other end is gone only when serving has ended.
        let _ = stopping.send(());
    });
    let limit = async {
        // An error means that the sender went away without a shutdown: nothing to limit.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LINGER).await;
    };
    let done = tokio::select! {
        done = async { serving.await } => done,
        () = limit => {
            warn!("admin requests still in flight after {LINGER:?}, ended");
            Ok(())
        }
    };
    watching.abort();
    done
}

/// The application, without a listener. `address` is where it will listen.
fn app(state: AdminState, address: std::net::SocketAddr) -> Router {
    let guard = guard::Guard::new(address, state.clone());
    Router::new()
        .route(
            "/v1/settings",
            get(settings::read)
                .patch(settings::patch)
                .delete(settings::discard),
        )
        .route("/v1/settings/save", post(settings::save))
        .route(
            "/v1/settings/{*path}",
            get(settings::read_at).put(settings::put_at),
        )
        .route("/v1/revisions", get(settings::revisions))
        .route("/v1/revisions/{number}/rollback", post(settings::rollback))
        .route(
            "/v1/overrides",
            get(overrides::list).post(overrides::create),
        )
        .route(
            "/v1/overrides/{id}",
            get(overrides::read).delete(overrides::delete),
        )
        .route("/v1/overrides/{id}/renew", post(overrides::renew))
        .route("/v1/upstreams", get(observe::upstreams))
        .route("/v1/upstreams/{name}/servers", post(servers::add))
        .route(
            "/v1/upstreams/{name}/servers/{address}",
            patch(servers::set).delete(servers::remove),
        )
        .route(
            "/v1/upstreams/{name}/servers/{address}/drain",
            post(servers::drain),
        )
        .route("/v1/limits", get(observe::limits))
        .route("/v1/events", get(events::read))
        .route("/healthz", get(observe::healthz))
        .route("/readyz", get(observe::readyz))
        .route("/metrics", get(observe::metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::extract::DefaultBodyLimit::max(body::LIMIT))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(state)
}

async fn unknown(uri: Uri) -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!(
            "there is no {}; there are /v1/settings, /v1/revisions, /v1/overrides, /v1/upstreams, /v1/limits, /v1/events, /healthz, /readyz and /metrics",
            uri.path()
        ),
    )
}

async fn wrong_method(method: axum::http::Method, uri: Uri) -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!(
            "{} does not take {method}; the Allow header lists what it takes",
            uri.path()
        ),
    )
}

#[cfg(test)]
mod tests;

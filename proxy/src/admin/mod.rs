//! The admin API: a small web application on a listener of its own.
//!
//! It reads and changes settings, lists what the proxy knows about itself, and answers health checks
//! and scrapes. Its requests are in [`weir_api::endpoints`], bodies in [`weir_api::admin`], all of it in
//! `docs/reference/admin-api.md`. Without tokens it trusts whoever reaches it, therefore it listens on
//! loopback only then, and requests that a web page could make a browser send are refused.

mod access;
mod answer;
mod audit;
mod body;
mod charts;
mod dashboard;
mod events;
mod guard;
mod history;
mod json;
mod observe;
mod overrides;
mod profile;
mod readiness;
mod record;
mod routes;
mod serve;
mod servers;
mod settings;
mod share;
mod sockets;
mod state;
mod workers;

use std::{future::Future, io};

use axum::{
    Router,
    http::{StatusCode, Uri},
    middleware,
};
use tokio::sync::oneshot;

pub use access::{TOKEN_NAME_ALLOWED, TokenError, TokenFile, generate_token, is_token_name};
pub use audit::AuditLog;
pub use readiness::{Phase, Readiness};
pub use sockets::{SocketError, Sockets, TlsConfig, UnixSocket, load_tls};
pub use state::{Access, AdminState, Reload, Report, Text};

use answer::Failure;
use weir_api::endpoints::ENDPOINTS;

/// Serves the admin API until `shutdown` completes, then finishes what is in flight, for two seconds
/// at most.
///
/// # Errors
/// When a listener cannot be used.
pub async fn serve(
    sockets: Sockets,
    state: AdminState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let address = sockets.address()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (report, mut ended) = oneshot::channel();
    // A thread of its own: whatever else this program waits for, probes are answered.
    let serving = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(workers::THREADS)
            .build();
        match runtime {
            Ok(runtime) => {
                let served = run(sockets, app(state.clone(), address), state, stopped);
                // An error would say that nobody waits for it any more.
                let _ = report.send(runtime.block_on(served));
                // Work that lasts, such as a change that waits for another, does not hold anyone up.
                runtime.shutdown_background();
            }
            Err(error) => drop(report.send(Err(error))),
        }
    };
    std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(serving)?;
    let gone = |_| Err(io::Error::other("the admin thread has ended"));
    tokio::select! {
        done = &mut ended => return done.unwrap_or_else(gone),
        () = shutdown => drop(stop),
    }
    ended.await.unwrap_or_else(gone)
}

async fn run(
    sockets: Sockets,
    app: Router,
    state: AdminState,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let closing = std::sync::Arc::clone(&state.closing);
    let watching = tokio::spawn(events::watch_servers(state.clone()));
    let remembering = tokio::spawn(history::keep(state.clone()));
    let recording = tokio::spawn(record::publications(state));
    let done = serve::serve(sockets, app, async move {
        // A sender that is gone means the same.
        let _ = stopped.await;
        closing.send_replace(true);
    })
    .await;
    watching.abort();
    remembering.abort();
    recording.abort();
    done
}

/// The application, without a listener. `address` is where it will listen.
fn app(state: AdminState, address: std::net::SocketAddr) -> Router {
    let guard = guard::Guard::new(address, state.clone());
    routes::all(&guard)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::extract::DefaultBodyLimit::max(body::LIMIT))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(state)
}

async fn unknown(uri: Uri) -> Failure {
    let mut there: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
    there.retain(|path| !path.contains('{'));
    there.dedup();
    Failure::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is no {}; there are {}", uri.path(), there.join(", ")),
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

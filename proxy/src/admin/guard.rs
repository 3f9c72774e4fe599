//! What every request must pass before it is looked at, and what every response carries.
//!
//! The admin API has no login, so nothing a web page can make a browser send may have an effect. A
//! page of another origin announces itself in `Origin`; a name of the attacker's that resolves to
//! this machine (DNS rebinding) shows in `Host`. Both are refused.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_api::admin::REVISION_HEADER;

use super::{AdminState, answer::Failure};

/// Most requests of settings and reports that are worked on at once.
const AT_ONCE: usize = 64;
/// Most requests at once that may last: streams of events and drains.
const LASTING: usize = 32;
/// How long one request may take, its body included.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of a request that may last; the answer's body keeps it.
#[derive(Clone)]
pub(super) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Place {
    /// One of the places, if any is free.
    pub(super) fn take(places: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(places).try_acquire_owned().ok()?;
        Some(Self {
            _permit: Arc::new(permit),
        })
    }
}

#[derive(Clone)]
pub(super) struct Guard {
    address: SocketAddr,
    slots: Arc<Semaphore>,
    lasting: Arc<Semaphore>,
    state: AdminState,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, state: AdminState) -> Self {
        Self {
            address,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            lasting: Arc::new(Semaphore::new(LASTING)),
            state,
        }
    }

    /// Whether a request comes from a program on this machine, as far as its headers tell.
    fn admits(&self, uri: &axum::http::Uri, headers: &HeaderMap) -> Result<(), Failure> {
        let refused = |what: String| Failure::new(StatusCode::FORBIDDEN, "forbidden", what);
        // A request in absolute form names the host in its target, and that one counts (RFC 9112, 3.2.2).
        let host = match (uri.authority(), headers.get(header::HOST)) {
            (Some(authority), _) => Some(authority.clone()),
            (None, Some(value)) => {
                let parsed = Authority::try_from(value.as_bytes());
                Some(parsed.map_err(|_| refused("the Host header is malformed".to_owned()))?)
            }
            // HTTP/1.0 has none; a browser always sends it.
            (None, None) => None,
        };
        if let Some(host) = &host
            && !self.is_ours(host.host())
        {
            return Err(refused(format!(
                "Host is {host}, which is not this machine: use a loopback address, localhost, or {}",
                self.address
            )));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let same = host.is_some_and(|host| {
            origin.to_str().ok().and_then(|o| o.strip_prefix("http://")) == Some(host.as_str())
        });
        if same {
            Ok(())
        } else {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            Err(refused(format!(
                "Origin is {origin:?}: requests from other web pages are refused"
            )))
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.eq_ignore_ascii_case("localhost")
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback() || ip == self.address.ip())
    }
}

/// Admits a request or refuses it, and puts the revision on the response.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.admits(request.uri(), request.headers()) {
        Err(refused) => refused.into_response(),
        Ok(()) => work(&guard, request, next).await,
    };
    let revision = HeaderValue::from(guard.state.store.revision());
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(REVISION_HEADER), revision);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

async fn work(guard: &Guard, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/v1/events" || path.ends_with("/drain") {
        let Some(place) = Place::take(&guard.lasting) else {
            let message = format!("{LASTING} streams and drains are under way already");
            return Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).into_response();
        };
        request.extensions_mut().insert(place.clone());
        let response = next.run(request).await;
        drop(place);
        return response;
    }
    // Health checks and scrapes wait for nothing, and must not fail because others are slow.
    let limited = request.uri().path().starts_with("/v1/");
    let slot = limited.then(|| guard.slots.try_acquire());
    if let Some(Err(_)) = slot {
        let message = format!("{AT_ONCE} admin requests are in flight already: try again");
        return Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).into_response();
    }
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!(
                "the request took longer than {} seconds",
                PATIENCE.as_secs()
            );
            Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", message).into_response()
        }
    }
}

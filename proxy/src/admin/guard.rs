//! What every request must pass before it is looked at, and what every response carries.
//!
//! Without tokens the admin API trusts whoever reaches it on this machine, so nothing a web page can make
//! a browser send may have an effect. A page of another origin announces itself in `Origin`; a name of the
//! attacker's that resolves to this machine (DNS rebinding) shows in `Host`. Both are refused. A request
//! with a token was made on purpose, whatever name it used: a browser never adds one by itself.

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
use weir_api::{
    admin::REVISION_HEADER,
    endpoints::{Endpoint, Operation, Scope},
};

use super::{
    AdminState,
    access::{Caller, Peer, Throttle},
    answer::Failure,
    record,
};

/// Most requests of settings and reports that are worked on at once.
const AT_ONCE: usize = 64;
/// Most requests at once that may last: streams of events, drains and profiles.
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
    throttle: Arc<Throttle>,
    state: AdminState,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, state: AdminState) -> Self {
        Self {
            address,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            lasting: Arc::new(Semaphore::new(LASTING)),
            throttle: Arc::new(Throttle::new()),
            state,
        }
    }

    /// Who makes a request.
    fn caller(&self, peer: Peer, headers: &HeaderMap) -> Result<Caller, Failure> {
        let Some(tokens) = &self.state.access.tokens else {
            return Ok(Caller::Trusted);
        };
        if matches!(peer, Peer::Unix(_)) {
            return Ok(Caller::Trusted);
        }
        let Some(shown) = headers.get(header::AUTHORIZATION) else {
            return Ok(Caller::Anonymous);
        };
        let token = shown
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        token
            .and_then(|token| tokens.holder(token))
            .map(Caller::Holder)
            .ok_or_else(|| unauthorized("the token is not one of those in admin.tokens"))
    }

    /// Whether a request comes from a program of the user's, as far as its headers tell.
    fn admits(
        &self,
        caller: &Caller,
        uri: &axum::http::Uri,
        headers: &HeaderMap,
    ) -> Result<(), Failure> {
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
            && caller.token().is_none()
            && !PROBES.contains(&uri.path())
            && !self.is_ours(host.host())
        {
            return Err(refused(format!(
                "Host is {host}, which is not this machine: use a loopback address, localhost, {}, or a name in admin.hosts",
                self.address
            )));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let same = host.is_some_and(|host| {
            let origin = origin.to_str().unwrap_or_default();
            let rest = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            rest == Some(host.as_str())
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
        let named = self.state.access.hosts.iter();
        bare.eq_ignore_ascii_case("localhost")
            || named
                .into_iter()
                .any(|name| bare.eq_ignore_ascii_case(name))
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback() || ip == self.address.ip())
    }
}

fn unauthorized(what: &str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", what)
}

/// Whoever probes this process names it as it reaches it, by an address that the process need not know (kubelet: the
/// pod's); the answers tell nothing worth rebinding a name for.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Admits a request or refuses it, and puts the revision on the response.
pub(super) async fn check(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    // Only tests serve without saying where a connection comes from.
    let peer = peer.unwrap_or(Peer::Unix(None));
    let about = record::About::new(peer, &request);
    let caller = guard.caller(peer, request.headers());
    let admitted = caller.and_then(|caller| {
        guard.admits(&caller, request.uri(), request.headers())?;
        // Health checks must not fail because others ask too much.
        if request.uri().path().starts_with("/v1/") && !guard.throttle.admits() {
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(Failure::new(status, "too_fast", Throttle::told()));
        }
        Ok(caller)
    });
    let (caller, mut response) = match admitted {
        Err(refused) => (Caller::Anonymous, refused.into_response()),
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            (caller, next.run(request).await)
        }
    };
    record::response(&guard.state, &about, &caller, &response).await;
    let revision = HeaderValue::from(guard.state.store.revision());
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(REVISION_HEADER), revision);
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// An endpoint, and what guards it.
#[derive(Clone)]
pub(super) struct Gate(pub(super) Guard, pub(super) &'static Endpoint);

/// Lets a request through to its endpoint if its caller may, and bounds how many and how long.
pub(super) async fn pass(
    State(Gate(guard, endpoint)): State<Gate>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>();
    let mut response = match caller {
        Some(caller) if caller.may(endpoint.scope) => work(&guard, endpoint, request, next).await,
        Some(Caller::Holder(_)) => {
            let message = format!("the token lacks the scope {:?}", endpoint.scope.as_str());
            Failure::new(StatusCode::FORBIDDEN, "scope", message).into_response()
        }
        _ => unauthorized("a token is needed: Authorization: Bearer TOKEN").into_response(),
    };
    response.extensions_mut().insert(endpoint);
    response
}

async fn work(guard: &Guard, endpoint: &Endpoint, mut request: Request, next: Next) -> Response {
    if matches!(
        endpoint.operation,
        Operation::Events | Operation::DrainServer | Operation::Profile
    ) {
        let Some(place) = Place::take(&guard.lasting) else {
            let message = format!("{LASTING} streams, drains and profiles are under way already");
            return Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).into_response();
        };
        request.extensions_mut().insert(place.clone());
        let response = next.run(request).await;
        drop(place);
        return response;
    }
    // Health checks and scrapes wait for nothing, and must not fail because others are slow.
    let limited = endpoint.scope != Scope::Open && endpoint.operation != Operation::Metrics;
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

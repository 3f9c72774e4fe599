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
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::Authority},
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
    access::{Caller, Payer, Peer, Throttle},
    answer::Failure,
    body, record,
    serve::{Connection, Phase},
    share::share,
};

/// Most requests of settings and reports that are worked on at once, over TCP and over the Unix socket each.
const AT_ONCE: usize = 64;
/// Most streams of events at once, at each of both; fewer where descriptors are few.
const STREAMS: usize = 32;
/// Most drains and profiles at once, at each of both.
const LASTING: usize = 16;
/// Requests a second of one caller, and how many at once; health checks are not counted.
const REQUESTS: (u32, u32) = (1000, 2000);
/// Scrapes a second of one caller, and how many at once.
const SCRAPES: (u32, u32) = (100, 1000);
/// How long a request waits for its turn when so many are at work.
const TURN: Duration = Duration::from_secs(2);
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

/// How much is worked on at once for those who come over TCP, or through the Unix socket.
#[derive(Debug, Clone)]
struct Budget {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    lasting: Arc<Semaphore>,
}

impl Budget {
    fn new() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(AT_ONCE)),
            streams: Arc::new(Semaphore::new(share(STREAMS, 16))),
            lasting: Arc::new(Semaphore::new(LASTING)),
        }
    }
}

#[derive(Clone)]
pub(super) struct Guard {
    address: SocketAddr,
    tcp: Budget,
    unix: Budget,
    requests: Arc<Throttle>,
    scrapes: Arc<Throttle>,
    state: AdminState,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, state: AdminState) -> Self {
        let throttle = |(per_second, burst)| Arc::new(Throttle::new(per_second, burst));
        Self {
            address,
            tcp: Budget::new(),
            unix: Budget::new(),
            requests: throttle(REQUESTS),
            scrapes: throttle(SCRAPES),
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
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Failure> {
        let refused = |what: String| Failure::new(StatusCode::FORBIDDEN, "forbidden", what);
        // Another program on the way may look at the other one (RFC 9112, 3.2).
        if headers.get_all(header::HOST).iter().nth(1).is_some() {
            let message = "several Host fields: one is allowed";
            return Err(Failure::bad_request("bad_host", message));
        }
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
        if caller.token().is_none() && !is_of_this_page(method, uri, headers) {
            return Err(refused(
                "Sec-Fetch-Site says that another site's page asks: only the dashboard can be opened from there"
                    .to_owned(),
            ));
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

/// Whether a request that a browser makes is made by a page of this API, or by the user (W3C Fetch Metadata).
/// A link to the dashboard may stand anywhere. Ports do not matter to what browsers call the same site, so a
/// page of another program on this machine is of the same site, and refused too.
fn is_of_this_page(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|shown| shown == value);
    let elsewhere = headers.get_all("sec-fetch-site").iter().any(|site| {
        let site = site.as_bytes();
        site != b"same-origin" && site != b"none"
    });
    let opened = method == Method::GET
        && uri.path() == "/"
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document");
    !elsewhere || opened
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
    let payer = Payer::of(caller.as_ref().unwrap_or(&Caller::Anonymous), peer);
    let admitted = caller.and_then(|caller| {
        guard.admits(&caller, request.method(), request.uri(), request.headers())?;
        Ok(caller)
    });
    // Health checks must not fail because others ask too much.
    let exempt = PROBES.contains(&request.uri().path());
    let admitted = if exempt || guard.requests.admits(&payer) {
        admitted
    } else {
        Err(too_fast(&guard.requests))
    };
    let (caller, mut response) = match admitted {
        Err(refused) => (Caller::Anonymous, refused.into_response()),
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            request.extensions_mut().insert(payer);
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

fn too_fast(throttle: &Throttle) -> Failure {
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_fast", throttle.told())
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

async fn work(guard: &Guard, endpoint: &Endpoint, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let enter = |phase| {
        if let Some(connection) = &connection {
            connection.enter(phase);
        }
    };
    let request = match complete(request).await {
        Ok(request) => request,
        Err(failure) => return failure.into_response(),
    };
    enter(Phase::Queued);
    match admit(guard, endpoint, request).await {
        Err(failure) => failure.into_response(),
        Ok(Admitted::Lasting(request, _place)) => {
            enter(Phase::Working);
            next.run(request).await
        }
        Ok(Admitted::Brief(request, slot)) => {
            if slot.is_some() {
                enter(Phase::Working);
            }
            match tokio::time::timeout(PATIENCE, next.run(request)).await {
                Ok(response) => response,
                Err(_) => late().into_response(),
            }
        }
    }
}

/// Waits until all of a request is there. Only then does it get a place: whoever sends a body slowly, or never, keeps
/// none from others.
async fn complete(request: Request) -> Result<Request, Failure> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(request);
    }
    let complete = tokio::time::timeout(PATIENCE, body::complete(request)).await;
    complete.unwrap_or_else(|_| Err(late()))
}

/// A request that may be worked on.
enum Admitted {
    /// It has to be done soon; with its place among those at once, unless it needs none.
    Brief(Request, Option<OwnedSemaphorePermit>),
    /// It may last. Its place is in the request too, for an answer that lasts longer than the work.
    Lasting(Request, Place),
}

/// Gives a request its place.
async fn admit(
    guard: &Guard,
    endpoint: &Endpoint,
    mut request: Request,
) -> Result<Admitted, Failure> {
    let budget = match request.extensions().get::<Peer>() {
        Some(Peer::Tcp(_)) => &guard.tcp,
        Some(Peer::Unix(_)) | None => &guard.unix,
    };
    let busy = |what: String| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", what);
    let (places, what) = match endpoint.operation {
        Operation::Events => (&budget.streams, format!("{STREAMS} streams of events")),
        Operation::DrainServer | Operation::Profile => {
            (&budget.lasting, format!("{LASTING} drains and profiles"))
        }
        Operation::Metrics => {
            // Many at once cost no more than one, so they need no place.
            return match request.extensions().get::<Payer>() {
                Some(payer) if !guard.scrapes.admits(payer) => Err(too_fast(&guard.scrapes)),
                _ => Ok(Admitted::Brief(request, None)),
            };
        }
        _ if endpoint.scope == Scope::Open => return Ok(Admitted::Brief(request, None)),
        _ => {
            let slot = Arc::clone(&budget.requests).acquire_owned();
            return match tokio::time::timeout(TURN, slot).await {
                Ok(Ok(slot)) => Ok(Admitted::Brief(request, Some(slot))),
                _ => Err(busy(format!(
                    "{AT_ONCE} admin requests are in flight already: try again"
                ))),
            };
        }
    };
    let place = Place::take(places).ok_or_else(|| busy(format!("{what} are under way already")))?;
    request.extensions_mut().insert(place.clone());
    Ok(Admitted::Lasting(request, place))
}

fn late() -> Failure {
    let message = format!(
        "the request took longer than {} seconds",
        PATIENCE.as_secs()
    );
    Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
}

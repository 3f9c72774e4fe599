//! The session engine: a `reqwest` client a user, with its own connections, cookies and token.

use std::{
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use cookie_store::{CookieStore, RawCookie};
use http::{HeaderMap, HeaderValue, header};
use rand::{SeedableRng as _, rngs::SmallRng};
use reqwest::Url;

use super::{
    Answer, Client, Endpoint, Kept, Plan, Received, counting::Counting, transport::trusting_nobody,
};
use crate::{
    record::{FailureKind, connections::Setup},
    scenario::{Place, Template, UserState},
};

/// Host of the URLs of a target in the clear. `reqwest` parses each URL three times, and the pool of
/// `hyper` compares host and port letter by letter more often than that: the name that the target
/// has is in the `Host` header, and its address is known.
const NICKNAME: &str = "t";

/// A request, as far as it can be known ahead.
#[derive(Debug)]
struct Prepared {
    url: Option<Url>,
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// One user.
#[derive(Debug)]
pub(crate) struct SessionClient {
    plan: Arc<Plan>,
    client: reqwest::Client,
    opening: Opening,
    /// Requests that the current connection has seen.
    used: u32,
    /// What URLs begin with, and what that stands for: cookies belong to the latter.
    base: String,
    origin: Url,
    requests: Vec<Prepared>,
    /// Made when the first cookie comes. With its own cookie support compiled in, `reqwest` parses
    /// the URL of every request once more, cookies or not.
    cookies: Option<CookieStore>,
    kept: Kept,
    random: SmallRng,
}

/// How a user opens connections.
#[derive(Debug)]
struct Opening {
    tls: Arc<rustls::ClientConfig>,
    /// Host of the URLs, which TLS asks for, and the address that was approved: names are not
    /// resolved again.
    name: String,
    address: SocketAddr,
    source: Option<IpAddr>,
    counting: Counting,
}

impl Opening {
    /// A client without connections.
    fn client(&self, plan: &Plan) -> io::Result<reqwest::Client> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&self.tls))
            .connector_layer(self.counting.clone())
            .resolve(&self.name, self.address)
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(plan.timeouts.connect)
            .local_address(self.source)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(usize::from(plan.transport.http.keeps_alive()))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        let builder = if plan.transport.is_http2() {
            builder.http2_prior_knowledge()
        } else {
            // Only HTTP/2 says which requests may be sent again: nothing is kept for that.
            let never = reqwest::retry::never().max_retries_per_request(0);
            builder.http1_only().retry(never)
        };
        builder.build().map_err(io::Error::other)
    }
}

impl SessionClient {
    /// A user of the lane's base URL; `source` is the local address to connect from.
    pub(crate) fn new(plan: Arc<Plan>, lane: u32, source: Option<IpAddr>) -> io::Result<Self> {
        let base = plan
            .base(lane)
            .ok_or_else(|| io::Error::other("a plan without a target"))?;
        weir_api::tls::provide();
        let tls = match plan.transport.tls_of_one_user() {
            Some(config) => config,
            None => Arc::new(trusting_nobody().map_err(io::Error::other)?),
        };
        let real = format!("{}://{}", base.scheme(), plan.transport.authority(base));
        let origin = Url::parse(&real).map_err(io::Error::other)?;
        // HTTP/2 and TLS tell the server what is in the URL.
        let (name, url) = if base.is_secure() || plan.transport.is_http2() {
            (plan.transport.server_name(base), real)
        } else {
            (NICKNAME, format!("http://{NICKNAME}"))
        };
        let opening = Opening {
            tls,
            name: name.to_owned(),
            address: base.address(),
            source,
            counting: Counting::default(),
        };
        let client = opening.client(&plan)?;
        let closes = !plan.transport.http.keeps_alive() && !plan.transport.is_http2();
        let usual = usual_headers(&plan, &origin);
        let requests = plan
            .endpoints
            .iter()
            .map(|endpoint| prepare(endpoint, &url, &usual, closes))
            .collect();
        Ok(Self {
            random: SmallRng::seed_from_u64(super::lane_seed(plan.seed, lane)),
            plan,
            client,
            opening,
            used: 0,
            base: url,
            origin,
            requests,
            cookies: None,
            kept: Kept::default(),
        })
    }

    fn request(&mut self, index: usize, user: &UserState) -> Option<reqwest::Request> {
        let endpoint = self.plan.endpoints.get(index)?;
        let prepared = self.requests.get(index)?;
        let url = match &prepared.url {
            Some(url) => url.clone(),
            None => {
                let mut url = self.base.clone();
                let random = &mut self.random;
                endpoint
                    .path
                    .render_into(&mut url, Place::Path, user, random);
                Url::parse(&url).ok()?
            }
        };
        let cookies = self
            .cookies
            .as_ref()
            .and_then(|jar| cookie_header(jar, &at_origin(&self.origin, &url)));
        let mut request = reqwest::Request::new(endpoint.method.clone(), url);
        *request.headers_mut() = prepared.headers.clone();
        for (name, value) in endpoint.headers.iter().filter(|(_, v)| !v.is_static()) {
            let value = value.render(Place::Header, user, &mut self.random);
            let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = HeaderValue::from_str(&value).ok()?;
            request.headers_mut().insert(name, value);
        }
        if let Some(cookies) = cookies {
            request.headers_mut().insert(header::COOKIE, cookies);
        }
        *request.body_mut() = match (&prepared.body, &endpoint.body) {
            (Some(bytes), _) => Some(bytes.clone().into()),
            (None, Some(template)) => {
                let body = template.render(Place::Body, user, &mut self.random);
                Some(body.into())
            }
            (None, None) => None,
        };
        Some(request)
    }

    async fn talk(&mut self, index: usize, user: &UserState) -> (Option<FailureKind>, u64) {
        self.kept.clear();
        let Some(request) = self.request(index, user) else {
            return (Some(FailureKind::Other), 0);
        };
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => return (Some(classify(&error)), 0),
        };
        let Some(endpoint) = self.plan.endpoints.get(index) else {
            return (Some(FailureKind::Other), 0);
        };
        if self.plan.cookies && response.headers().contains_key(header::SET_COOKIE) {
            let set = response.headers().get_all(header::SET_COOKIE).iter();
            let set = set.filter_map(|value| {
                let cookie = RawCookie::parse(value.to_str().ok()?).ok()?;
                Some(cookie.into_owned())
            });
            self.cookies
                .get_or_insert_with(CookieStore::default)
                .store_response_cookies(set, &at_origin(&self.origin, response.url()));
        }
        self.kept
            .head(endpoint, response.status(), response.headers());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    self.kept.add(endpoint, &chunk);
                }
                Ok(None) => break,
                Err(error) => return (Some(classify(&error)), self.kept.size()),
            }
        }
        (None, self.kept.size())
    }
}

/// Headers that every request has, unless the scenario has its own: `reqwest` and `hyper` would
/// make them anew for each request.
fn usual_headers(plan: &Plan, origin: &Url) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // HTTP/2 has the host elsewhere.
    if !plan.transport.is_http2()
        && let Some(host) = host_of(origin)
    {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers
}

/// Host, and port unless it is the usual one.
fn host_of(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    match url.port() {
        Some(port) => HeaderValue::from_str(&format!("{host}:{port}")).ok(),
        None => HeaderValue::from_str(host).ok(),
    }
}

fn prepare(endpoint: &Endpoint, base: &str, usual: &HeaderMap, closes: bool) -> Prepared {
    let own: HeaderMap = endpoint
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.fixed()?).ok()?))
        })
        .collect();
    let mut headers = usual.clone();
    headers.extend(own);
    if closes {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let path = endpoint.path.fixed();
    let url = path.and_then(|path| Url::parse(&format!("{base}{path}")).ok());
    let body = endpoint.body.as_ref().and_then(Template::fixed);
    let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes()));
    Prepared { url, headers, body }
}

/// The same path and query at the target's own name.
fn at_origin(origin: &Url, url: &Url) -> Url {
    let mut real = origin.clone();
    real.set_path(url.path());
    real.set_query(url.query());
    real
}

/// The cookies that belong to a URL, as a header.
fn cookie_header(jar: &CookieStore, url: &Url) -> Option<HeaderValue> {
    let pairs: Vec<_> = jar
        .get_request_values(url)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if pairs.is_empty() {
        return None;
    }
    HeaderValue::from_str(&pairs.join("; ")).ok()
}

/// Finds out what really happened behind an error of `reqwest`.
fn classify(error: &reqwest::Error) -> FailureKind {
    if error.is_timeout() {
        return if error.is_connect() {
            FailureKind::ConnectTimeout
        } else {
            FailureKind::Timeout
        };
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return FailureKind::of_io(io);
        }
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return FailureKind::of_h2(h2);
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            if hyper.is_incomplete_message() {
                return FailureKind::ClosedEarly;
            }
            if hyper.is_parse() {
                return FailureKind::BadResponse;
            }
        }
        cause = error.source();
    }
    FailureKind::Other
}

impl Client for SessionClient {
    /// The pool opens connections when they are needed.
    async fn connect(&mut self) -> Result<(), FailureKind> {
        Ok(())
    }

    async fn exchange(&mut self, endpoint: usize, user: &UserState) -> Answer {
        // The pool lets nobody count requests: a connection that has seen enough goes with its pool.
        if let Some(most) = self.plan.transport.http.requests_per_connection
            && most > 1
        {
            if self.used >= most
                && let Ok(client) = self.opening.client(&self.plan)
            {
                self.client = client;
                self.used = 0;
            }
            self.used += 1;
        }
        let (failure, bytes) = self.talk(endpoint, user).await;
        Answer { failure, bytes }
    }

    fn opened(&mut self) -> Option<Setup> {
        let whole = self.opening.counting.take()?;
        let tls = None;
        Some(Setup {
            whole,
            tls,
            resumed: false,
        })
    }

    fn received(&self) -> Received<'_> {
        self.kept.received()
    }

    fn authorize(&mut self, token: &str) {
        let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) else {
            return;
        };
        value.set_sensitive(true);
        let login = self.plan.login.as_ref().map(|(index, _)| *index);
        for (index, request) in self.requests.iter_mut().enumerate() {
            if Some(index) != login {
                request.headers.insert(header::AUTHORIZATION, value.clone());
            }
        }
    }
}

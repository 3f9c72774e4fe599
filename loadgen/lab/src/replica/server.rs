//! The stand-in API over HTTP/1.1 and HTTP/2, with or without TLS.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use rustls::ServerConfig;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use weir_load::alarm::Alarms;

use super::{
    bodies::{Bodies, Route, new_id, record_id, record_path, route},
    capacity::{Capacity, Slots, Work, burn},
    fault::{Fate, Faults},
    listen::{self, Local},
    stats::Stats,
    token::{LIFETIME_S, Tokens},
};

/// Largest body that a request may have.
const MAX_BODY: usize = 1 << 20;
/// How often a stand-in that does not accept looks whether it may again.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

type Answer = Response<Full<Bytes>>;

/// What to serve.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) capacity: Option<Capacity>,
    pub(super) secret: String,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

struct Api {
    name: HeaderValue,
    tls: Option<Arc<ServerConfig>>,
    tokens: Tokens,
    bodies: Bodies,
    slots: Option<RefCell<Slots>>,
    /// Permits for slots that burn processor time: when those finish cannot be computed ahead.
    cpu: Arc<Semaphore>,
    faults: RefCell<Faults>,
    stats: Rc<Stats>,
    alarms: Alarms,
    /// Records written so far.
    records: Cell<u32>,
}

/// A connection that is closed on purpose, without an answer.
#[derive(Debug)]
struct ClosedOnPurpose;

impl fmt::Display for ClosedOnPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for ClosedOnPurpose {}

/// Time spent on a request.
#[derive(Debug, Clone, Copy, Default)]
struct Timing {
    queue: Duration,
    service: Duration,
}

/// Serves until told to stop, then answers what is in flight, for a limited time.
pub(super) async fn serve(
    server: Server,
    listeners: Vec<TcpListener>,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) -> io::Result<()> {
    let now = Instant::now();
    let capacity = server.capacity;
    let seed = capacity.as_ref().map_or(0, |capacity| capacity.seed);
    let permits = capacity
        .as_ref()
        .map_or(1, |capacity| capacity.slots.max(1));
    let api = Rc::new(Api {
        name: HeaderValue::from_str(&server.name).map_err(io::Error::other)?,
        tls: server.tls,
        tokens: Tokens::new(&server.secret),
        bodies: Bodies::default(),
        slots: capacity.map(|capacity| RefCell::new(Slots::new(capacity, now))),
        cpu: Arc::new(Semaphore::new(permits as usize)),
        faults: RefCell::new(Faults::new(seed)),
        stats: Stats::new(now),
        alarms: Alarms::start()?,
        records: Cell::new(0),
    });
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::task::spawn_local(accept(api.clone(), listener, stop.clone())))
        .collect();
    // A closed channel means that nobody is left to serve for.
    let _ = stop.wait_for(|stop| *stop).await;
    for task in accepting {
        task.abort();
    }
    let patience = Instant::now() + drain;
    while api.stats.open() > 0 && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn accept(api: Rc<Api>, listener: TcpListener, stop: watch::Receiver<bool>) {
    loop {
        if !api.faults.borrow_mut().accepts(Instant::now()) {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection(api.clone(), stream, stop.clone()));
            }
            // Out of descriptors, most likely: some will be closed.
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

async fn connection(api: Rc<Api>, stream: TcpStream, mut stop: watch::Receiver<bool>) {
    let _open = api.stats.connection();
    let Ok(stream) = listen::take(stream, api.tls.as_ref()).await else {
        return;
    };
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { api.answer(request).await }
    });
    let mut builder = auto::Builder::new(Local);
    // Small answers: one buffer costs less than a list of two.
    builder.http1().writev(false);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let mut stopping = false;
    loop {
        tokio::select! {
            _ = served.as_mut() => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

impl Api {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, ClosedOnPurpose> {
        let path = request.uri().path();
        match path {
            "/health" => return Ok(self.dress(json_answer(r#"{"status":"ok"}"#), None)),
            "/__stats" => {
                let queued = self
                    .slots
                    .as_ref()
                    .map_or(0, |slots| slots.borrow_mut().queued(Instant::now()));
                let name = self.name.to_str().unwrap_or_default();
                return Ok(json_answer(self.stats.to_json(name, queued)));
            }
            "/__fault" => {
                let query = request.uri().query().unwrap_or_default();
                let set = self.faults.borrow_mut().set(query, Instant::now());
                return Ok(match set {
                    Ok(()) => json_answer(r#"{"faults":"set"}"#),
                    Err(message) => problem(StatusCode::BAD_REQUEST, &message),
                });
            }
            _ => {}
        }
        let _in_flight = self.stats.request();
        let fate = self.faults.borrow_mut().fate(Instant::now());
        let (refusal, wait) = match fate {
            Fate::Served(wait) => (None, wait),
            Fate::Refused(status, wait) => (StatusCode::from_u16(status).ok(), wait),
            Fate::Closed => return Err(ClosedOnPurpose),
        };
        if !wait.is_zero() {
            self.alarms.sleep_until(Instant::now() + wait).await;
        }
        if let Some(status) = refusal {
            return Ok(self.dress(problem(status, "a fault on demand"), None));
        }
        Ok(self.serve(request).await)
    }

    async fn serve(&self, request: Request<Incoming>) -> Answer {
        let Some((method, route)) = route(request.uri().path()) else {
            return self.dress(problem(StatusCode::NOT_FOUND, "no such path"), None);
        };
        let path = request.uri().path().to_owned();
        let deletes = route == Route::Record && request.method() == Method::DELETE;
        if *request.method() != method
            && !(method == Method::GET && request.method() == Method::HEAD)
            && !deletes
        {
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "wrong method");
            if let Ok(allowed) = HeaderValue::from_str(method.as_str()) {
                answer.headers_mut().insert(header::ALLOW, allowed);
            }
            return self.dress(answer, None);
        }
        let authorization = request.headers().get(header::AUTHORIZATION);
        let authorization = authorization.map(HeaderValue::as_bytes);
        if route != Route::Login && !self.tokens.accepts(authorization) {
            let mut answer = problem(StatusCode::UNAUTHORIZED, "a valid bearer token is needed");
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return self.dress(answer, None);
        }
        let size = request.uri().query().and_then(size_of);
        let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                return self.dress(
                    problem(StatusCode::PAYLOAD_TOO_LARGE, "body too large"),
                    None,
                );
            }
        };
        let Some(timing) = self.work().await else {
            self.stats.rejected();
            let answer = problem(StatusCode::SERVICE_UNAVAILABLE, "the queue is full");
            return self.dress(answer, None);
        };
        let answer = match route {
            Route::Login => self.login(&body),
            Route::Read(text) => match size {
                Some(size) => json_answer(self.bodies.sized(size)),
                None => json_answer(text),
            },
            Route::Write(kind) => {
                let number = self.records.get();
                self.records.set(number.wrapping_add(1));
                written(kind, number, &body)
            }
            Route::Record if deletes => {
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer
            }
            Route::Record => record(record_id(&path).unwrap_or_default(), &path),
        };
        self.dress(answer, Some(timing))
    }

    /// Occupies a slot for one service time; `None` if the queue is full.
    async fn work(&self) -> Option<Timing> {
        let Some(slots) = &self.slots else {
            return Some(Timing::default());
        };
        let arrived = Instant::now();
        let work = slots.borrow().capacity().work;
        if work == Work::Wait {
            let turn = slots.borrow_mut().admit(arrived).ok()?;
            self.alarms.sleep_until(turn.finish).await;
            return Some(Timing {
                queue: turn.start - arrived,
                service: turn.finish - turn.start,
            });
        }
        let (service, most) = {
            let mut slots = slots.borrow_mut();
            let capacity = slots.capacity();
            let most = capacity.slots.max(1) as usize + capacity.queue;
            (slots.sample(), most)
        };
        if self.stats.in_flight() as usize > most {
            return None;
        }
        let permit = self.cpu.clone().acquire_owned().await.ok()?;
        let started = Instant::now();
        // The permit goes along: a slot is busy until its work is done, whoever still waits.
        let burned = tokio::task::spawn_blocking(move || {
            burn(service);
            drop(permit);
        });
        burned.await.ok()?;
        Some(Timing {
            queue: started - arrived,
            service: started.elapsed(),
        })
    }

    fn login(&self, body: &[u8]) -> Answer {
        let user = serde_json::from_slice::<serde_json::Value>(body)
            .ok()
            .and_then(|json| {
                let name = json.get("username").or_else(|| json.get("email"))?;
                Some(name.as_str()?.to_owned())
            });
        let Some(user) = user else {
            let message = "a JSON body with `username` is needed";
            return problem(StatusCode::UNPROCESSABLE_ENTITY, message);
        };
        match self.tokens.issue(&user) {
            Ok(token) => json_answer(
                json!({
                    "access_token": token,
                    "token_type": "bearer",
                    "expires_in": LIFETIME_S,
                })
                .to_string(),
            ),
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    /// Adds who answered and where the time went.
    fn dress(&self, mut answer: Answer, timing: Option<Timing>) -> Answer {
        let headers = answer.headers_mut();
        headers.insert("x-replica", self.name.clone());
        if let Some(Timing { queue, service }) = timing {
            let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
            let (queue, service) = (ms(queue), ms(service));
            let text = format!("queue;dur={queue:.3}, app;dur={service:.3}");
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert("server-timing", value);
            }
            if let Ok(value) = HeaderValue::from_str(&format!("{queue:.3}")) {
                headers.insert("x-queue-ms", value);
            }
        }
        answer
    }
}

fn size_of(query: &str) -> Option<usize> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("size="))
        .and_then(|size| size.parse().ok())
}

fn json_answer(body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

fn problem(status: StatusCode, detail: &str) -> Answer {
    let mut answer = json_answer(json!({ "detail": detail }).to_string());
    *answer.status_mut() = status;
    answer
}

/// A record was made, if the body is JSON.
fn written(kind: &str, number: u32, body: &[u8]) -> Answer {
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "the body is not JSON");
    }
    let id = new_id(kind, number);
    let path = record_path(kind, &id);
    let mut answer = json_answer(format!(
        r#"{{"id":"{id}","kind":"{kind}","status":"accepted","bytes":{},"links":{{"self":"{path}"}},"created_at":"2025-01-31T23:59:58Z","owner":"stand-in api"}}"#,
        body.len()
    ));
    *answer.status_mut() = StatusCode::CREATED;
    if let Ok(path) = HeaderValue::from_str(&path) {
        answer.headers_mut().insert(header::LOCATION, path);
    }
    answer
}

/// What is known about a record: replicas keep none, so it is little.
fn record(id: &str, path: &str) -> Answer {
    json_answer(
        json!({
            "id": id,
            "status": "open",
            "links": { "self": path },
            "created_at": "2025-01-31T23:59:58Z",
            "owner": "stand-in api",
        })
        .to_string(),
    )
}

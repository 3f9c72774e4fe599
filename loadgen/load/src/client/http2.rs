//! The wire engine over HTTP/2: raw connections, one a lane or one for several.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderName, HeaderValue, Request, Uri, header};
use rand::{SeedableRng as _, rngs::SmallRng};
use tokio::sync::Mutex;

use super::{Answer, Client, Endpoint, Kept, Plan, Received, connect::Connector};
use crate::{
    record::{FailureKind, connections::Setup},
    scenario::{Place, Template, UserState},
};

/// Bytes of an answer that the peer may send before it hears from us; the default of 65,535 would
/// make larger answers wait for a round trip.
const STREAM_WINDOW: u32 = 2 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Where a connection goes, by number of the base URL, and from which address.
type Destination = (usize, Option<IpAddr>);

/// What the HTTP/2 clients of one worker share.
#[derive(Debug)]
pub(crate) struct Http2Shared {
    plan: Arc<Plan>,
    /// Connections that take further lanes, by base URL and source address.
    filling: RefCell<HashMap<Destination, (Rc<Group>, u32)>>,
}

impl Http2Shared {
    pub(crate) fn new(plan: Arc<Plan>) -> Rc<Self> {
        Rc::new(Self {
            plan,
            filling: RefCell::default(),
        })
    }

    /// The connection of a lane: its own, or one with room for another lane.
    fn group(&self, lane: u32, source: Option<IpAddr>) -> io::Result<Rc<Group>> {
        let http = &self.plan.transport.http;
        let key = (lane as usize % self.plan.bases.len().max(1), source);
        let mut filling = self.filling.borrow_mut();
        if let Some((group, lanes)) = filling.get_mut(&key)
            && *lanes < http.streams_per_connection
        {
            *lanes += 1;
            return Ok(group.clone());
        }
        let group = Rc::new(Group {
            connector: Connector::new(&self.plan, lane, source)?,
            most: http.requests_per_connection,
            live: RefCell::new(None),
            generation: Cell::new(0),
            opening: Mutex::new(()),
        });
        filling.insert(key, (group.clone(), 1));
        Ok(group)
    }
}

/// One connection at a time, for one lane or several.
#[derive(Debug)]
struct Group {
    connector: Connector,
    /// Requests before a connection is replaced.
    most: Option<u32>,
    live: RefCell<Option<Live>>,
    generation: Cell<u64>,
    /// Held while a connection is opened, so that lanes that share it open one and not many.
    opening: Mutex<()>,
}

#[derive(Debug)]
struct Live {
    sender: SendRequest<Bytes>,
    used: u32,
    generation: u64,
}

impl Group {
    /// A connection that can take a request; `opened` says how, if it is a new one.
    async fn sender(&self, opened: &mut Option<Setup>) -> Result<SendRequest<Bytes>, FailureKind> {
        loop {
            if let Some((sender, generation)) = self.take() {
                match sender.ready().await {
                    Ok(sender) => return Ok(sender),
                    // It ended while nobody was looking: that is no failure of this request.
                    Err(error) => {
                        self.forget(generation);
                        if opened.is_some() {
                            return Err(FailureKind::of_h2(&error));
                        }
                    }
                }
            }
            let _opening = self.opening.lock().await;
            if self.live.borrow().is_some() {
                continue;
            }
            *opened = Some(self.open().await?);
        }
    }

    /// The connection, if there is one, and one request less that it may take.
    fn take(&self) -> Option<(SendRequest<Bytes>, u64)> {
        let mut live = self.live.borrow_mut();
        let current = live.as_mut()?;
        current.used += 1;
        let taken = (current.sender.clone(), current.generation);
        if self.most.is_some_and(|most| current.used >= most) {
            *live = None;
        }
        Some(taken)
    }

    fn forget(&self, generation: u64) {
        let mut live = self.live.borrow_mut();
        if live.as_ref().is_some_and(|l| l.generation == generation) {
            *live = None;
        }
    }

    async fn open(&self) -> Result<Setup, FailureKind> {
        let (stream, setup) = self.connector.open().await?;
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await
            .map_err(|error| FailureKind::of_h2(&error))?;
        self.generation.set(self.generation.get() + 1);
        // It ends by itself once nobody holds a sender and no stream is left.
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        *self.live.borrow_mut() = Some(Live {
            sender,
            used: 0,
            generation: self.generation.get(),
        });
        Ok(setup)
    }
}

/// A request, as far as it can be known ahead.
#[derive(Debug)]
struct Prepared {
    request: Request<()>,
    /// The body, unless it has placeholders.
    body: Option<Bytes>,
}

/// One lane.
#[derive(Debug)]
pub(crate) struct Http2Client {
    plan: Arc<Plan>,
    group: Rc<Group>,
    /// Scheme and authority.
    base: String,
    requests: Vec<Prepared>,
    opened: Option<Setup>,
    kept: Kept,
    random: SmallRng,
}

impl Http2Client {
    /// A client of the lane's base URL; `source` is the local address to connect from.
    pub(crate) fn new(shared: &Http2Shared, lane: u32, source: Option<IpAddr>) -> io::Result<Self> {
        let plan = shared.plan.clone();
        let base = plan
            .base(lane)
            .ok_or_else(|| io::Error::other("a plan without a target"))?;
        let base = format!("{}://{}", base.scheme(), plan.transport.authority(base));
        let requests = plan
            .endpoints
            .iter()
            .map(|endpoint| prepare(endpoint, &base))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            group: shared.group(lane, source)?,
            random: SmallRng::seed_from_u64(super::lane_seed(plan.seed, lane)),
            base,
            requests,
            opened: None,
            kept: Kept::default(),
            plan,
        })
    }

    fn request(&mut self, index: usize, user: &UserState) -> Option<(Request<()>, Option<Bytes>)> {
        let endpoint = self.plan.endpoints.get(index)?;
        let prepared = self.requests.get(index)?;
        let mut request = prepared.request.clone();
        if endpoint.is_static() {
            return Some((request, prepared.body.clone()));
        }
        let mut url = self.base.clone();
        let random = &mut self.random;
        endpoint
            .path
            .render_into(&mut url, Place::Path, user, random);
        *request.uri_mut() = url.parse().ok()?;
        for (name, value) in endpoint.headers.iter().filter(|(_, v)| !v.is_static()) {
            let value = value.render(Place::Header, user, random);
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = HeaderValue::from_str(&value).ok()?;
            request.headers_mut().insert(name, value);
        }
        let body = endpoint
            .body
            .as_ref()
            .map(|template| Bytes::from(template.render(Place::Body, user, random)));
        if let Some(body) = &body {
            request
                .headers_mut()
                .insert(header::CONTENT_LENGTH, body.len().into());
        }
        Some((request, body))
    }

    /// Sends and reads.
    async fn talk(&mut self, index: usize, user: &UserState) -> Result<(), FailureKind> {
        let (request, body) = self.request(index, user).ok_or(FailureKind::Other)?;
        let plan = self.plan.clone();
        let endpoint = plan.endpoints.get(index).ok_or(FailureKind::Other)?;
        let mut sender = self.group.sender(&mut self.opened).await?;
        let of_h2 = |error: h2::Error| FailureKind::of_h2(&error);
        let (response, mut outgoing) = sender
            .send_request(request, body.is_none())
            .map_err(of_h2)?;
        drop(sender);
        if let Some(body) = body {
            // A server may answer before it has read everything: the answer tells what happened.
            let _ = outgoing.send_data(body, true);
        }
        let response = response.await.map_err(of_h2)?;
        self.kept
            .head(endpoint, response.status(), response.headers());
        let mut incoming = response.into_body();
        while let Some(chunk) = incoming.data().await {
            let chunk = chunk.map_err(of_h2)?;
            incoming
                .flow_control()
                .release_capacity(chunk.len())
                .map_err(of_h2)?;
            self.kept.add(endpoint, &chunk);
        }
        Ok(())
    }
}

fn prepare(endpoint: &Endpoint, base: &str) -> io::Result<Prepared> {
    let mut request = Request::new(());
    *request.method_mut() = endpoint.method.clone();
    *request.version_mut() = http::Version::HTTP_2;
    let path = endpoint.path.fixed().unwrap_or("/");
    *request.uri_mut() = format!("{base}{path}")
        .parse::<Uri>()
        .map_err(io::Error::other)?;
    for (name, value) in &endpoint.headers {
        let Some(value) = value.fixed() else {
            continue;
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        let value = HeaderValue::from_str(value).map_err(io::Error::other)?;
        request.headers_mut().append(name, value);
    }
    let body = endpoint.body.as_ref().and_then(Template::fixed);
    let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes()));
    if let Some(body) = &body {
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, body.len().into());
    }
    Ok(Prepared { request, body })
}

impl Client for Http2Client {
    async fn connect(&mut self) -> Result<(), FailureKind> {
        let group = self.group.clone();
        let _opening = group.opening.lock().await;
        if group.live.borrow().is_none() {
            self.opened = Some(group.open().await?);
        }
        Ok(())
    }

    async fn exchange(&mut self, endpoint: usize, user: &UserState) -> Answer {
        self.kept.clear();
        let failure = self.talk(endpoint, user).await.err();
        Answer {
            failure,
            bytes: self.kept.size(),
        }
    }

    fn opened(&mut self) -> Option<Setup> {
        self.opened.take()
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
        for (index, prepared) in self.requests.iter_mut().enumerate() {
            if Some(index) != login {
                let headers = prepared.request.headers_mut();
                headers.insert(header::AUTHORIZATION, value.clone());
            }
        }
    }
}

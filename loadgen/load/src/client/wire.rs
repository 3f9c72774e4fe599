//! The wire engine over HTTP/1.1: one raw connection a lane, two system calls a request.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, ready},
};

use rand::{SeedableRng as _, rngs::SmallRng};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{
    Answer, Client, Endpoint, Headers, Plan, Received,
    connect::{Connector, Stream},
    http1::ResponseReader,
};
use crate::{
    record::{FailureKind, connections::Setup},
    scenario::{Place, Template, UserState},
};

/// Size of the one read buffer that the connections of a worker share.
const READ_BUFFER: usize = 64 << 10;

/// What the wire clients of one worker share.
#[derive(Debug)]
pub(crate) struct WireShared {
    plan: Arc<Plan>,
    /// Reads go here first; only what is incomplete is copied.
    buffer: RefCell<Box<[u8]>>,
    /// Requests without a token, the same for every lane of a base URL.
    anonymous: Vec<Rc<[Prepared]>>,
}

/// A request, as far as it can be known ahead.
#[derive(Debug)]
enum Prepared {
    /// Every byte of it.
    Whole(Box<[u8]>),
    /// It has placeholders: everything after the path up to `content-length`, but the headers
    /// that have placeholders themselves.
    Template { headers: Box<str> },
}

impl WireShared {
    pub(crate) fn new(plan: Arc<Plan>) -> Rc<Self> {
        let anonymous = plan
            .bases
            .iter()
            .map(|base| prepare(&plan, &plan.transport.authority(base), None))
            .collect();
        Rc::new(Self {
            plan,
            buffer: RefCell::new(vec![0; READ_BUFFER].into_boxed_slice()),
            anonymous,
        })
    }
}

fn prepare(plan: &Plan, authority: &str, token: Option<&str>) -> Rc<[Prepared]> {
    plan.endpoints
        .iter()
        .map(|endpoint| {
            let mut headers = format!("host: {authority}\r\n");
            for (name, value) in &endpoint.headers {
                if let Some(value) = value.fixed() {
                    headers.push_str(&format!("{name}: {value}\r\n"));
                }
            }
            if !plan.transport.http.keeps_alive() {
                headers.push_str("connection: close\r\n");
            }
            if let Some(token) = token {
                headers.push_str(&format!("authorization: Bearer {token}\r\n"));
            }
            if !endpoint.is_static() {
                return Prepared::Template {
                    headers: headers.into_boxed_str(),
                };
            }
            let body = endpoint.body.as_ref().and_then(Template::fixed);
            let path = endpoint.path.fixed().unwrap_or("/");
            let mut request = String::new();
            compose(&mut request, endpoint, path, &headers, body);
            Prepared::Whole(request.into_bytes().into_boxed_slice())
        })
        .collect()
}

fn compose(out: &mut String, endpoint: &Endpoint, path: &str, headers: &str, body: Option<&str>) {
    out.push_str(endpoint.method.as_str());
    out.push(' ');
    out.push_str(path);
    out.push_str(" HTTP/1.1\r\n");
    out.push_str(headers);
    if let Some(body) = body {
        out.push_str("content-length: ");
        out.push_str(&body.len().to_string());
        out.push_str("\r\n\r\n");
        out.push_str(body);
    } else {
        out.push_str("\r\n");
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct WireClient {
    shared: Rc<WireShared>,
    connector: Connector,
    authority: Box<str>,
    requests: Rc<[Prepared]>,
    /// The connection, and the requests that it has seen.
    stream: Option<(Stream, u32)>,
    opened: Option<Setup>,
    reader: ResponseReader,
    random: SmallRng,
    rendered: String,
    rendered_path: String,
    rendered_headers: String,
    rendered_body: String,
}

impl WireClient {
    /// A client of the lane's base URL; `source` is the local address to connect from.
    pub(crate) fn new(
        shared: Rc<WireShared>,
        lane: u32,
        source: Option<IpAddr>,
    ) -> io::Result<Self> {
        let index = lane as usize % shared.anonymous.len().max(1);
        let (Some(base), Some(requests)) = (shared.plan.base(lane), shared.anonymous.get(index))
        else {
            return Err(io::Error::other("a plan without a target"));
        };
        Ok(Self {
            connector: Connector::new(&shared.plan, lane, source)?,
            authority: shared.plan.transport.authority(base).into(),
            requests: requests.clone(),
            stream: None,
            opened: None,
            reader: ResponseReader::default(),
            random: SmallRng::seed_from_u64(super::lane_seed(shared.plan.seed, lane)),
            rendered: String::new(),
            rendered_path: String::new(),
            rendered_headers: String::new(),
            rendered_body: String::new(),
            shared,
        })
    }

    async fn open(&mut self) -> Result<Stream, FailureKind> {
        let (stream, setup) = self.connector.open().await?;
        self.opened = Some(setup);
        Ok(stream)
    }

    /// Fills `self.rendered` if the request has placeholders.
    fn render(&mut self, index: usize, user: &UserState) {
        let Some(Prepared::Template { headers }) = self.requests.get(index) else {
            return;
        };
        let Some(endpoint) = self.shared.plan.endpoints.get(index) else {
            return;
        };
        self.rendered_path.clear();
        let (path, random) = (&mut self.rendered_path, &mut self.random);
        endpoint.path.render_into(path, Place::Path, user, random);
        self.rendered_headers.clear();
        self.rendered_headers.push_str(headers);
        for (name, value) in endpoint.headers.iter().filter(|(_, v)| !v.is_static()) {
            let out = &mut self.rendered_headers;
            out.push_str(name);
            out.push_str(": ");
            value.render_into(out, Place::Header, user, random);
            out.push_str("\r\n");
        }
        self.rendered_body.clear();
        let body = endpoint.body.as_ref().map(|body| {
            body.render_into(&mut self.rendered_body, Place::Body, user, random);
            self.rendered_body.as_str()
        });
        self.rendered.clear();
        compose(
            &mut self.rendered,
            endpoint,
            &self.rendered_path,
            &self.rendered_headers,
            body,
        );
    }

    /// Sends and reads; the connection comes back if it can be used again.
    async fn talk(&mut self, stream: &mut Stream, index: usize) -> Result<(), FailureKind> {
        let request = match self.requests.get(index) {
            Some(Prepared::Whole(bytes)) => bytes,
            _ => self.rendered.as_bytes(),
        };
        let sent = write_all(stream, request).await;
        // A server may answer and close before it has read everything: look for the answer first.
        let answered = self.read(stream).await;
        match (answered, sent) {
            (Err(FailureKind::ClosedEarly), Err(error)) if self.reader.is_untouched() => {
                Err(FailureKind::of_io(&error))
            }
            (answered, sent) => {
                self.reader.keep_alive &= sent.is_ok();
                answered
            }
        }
    }

    async fn read(&mut self, stream: &mut Stream) -> Result<(), FailureKind> {
        let (shared, reader) = (&self.shared, &mut self.reader);
        poll_fn(|cx| {
            let mut buffer = shared.buffer.borrow_mut();
            loop {
                let mut target = ReadBuf::new(&mut buffer);
                match ready!(Pin::new(&mut *stream).poll_read(cx, &mut target)) {
                    Ok(()) if target.filled().is_empty() => return Poll::Ready(reader.end()),
                    Ok(()) => match reader.feed(target.filled()) {
                        Ok(true) => return Poll::Ready(Ok(())),
                        Ok(false) => {}
                        Err(kind) => return Poll::Ready(Err(kind)),
                    },
                    Err(error) => return Poll::Ready(Err(FailureKind::of_io(&error))),
                }
            }
        })
        .await
    }

    /// Whether an idle connection is still open, without a system call unless something happened.
    async fn is_alive(&self, stream: &mut Stream) -> bool {
        poll_fn(|cx| {
            let mut buffer = self.shared.buffer.borrow_mut();
            let mut target = ReadBuf::new(&mut buffer);
            let read = Pin::new(&mut *stream).poll_read(cx, &mut target);
            // An idle connection has nothing to read: neither data nor its end.
            Poll::Ready(read.is_pending())
        })
        .await
    }
}

async fn write_all(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    poll_fn(|cx| {
        while !bytes.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        // Does nothing on TCP; TLS may hold back the end of a record.
        Pin::new(&mut *stream).poll_flush(cx)
    })
    .await
}

impl Client for WireClient {
    async fn connect(&mut self) -> Result<(), FailureKind> {
        if self.stream.is_none() {
            self.stream = Some((self.open().await?, 0));
        }
        Ok(())
    }

    async fn exchange(&mut self, endpoint: usize, user: &UserState) -> Answer {
        if let Some(endpoint) = self.shared.plan.endpoints.get(endpoint) {
            let to_head = endpoint.method == http::Method::HEAD;
            self.reader
                .begin(endpoint.keeps_body, endpoint.keeps_headers, to_head);
        }
        self.render(endpoint, user);
        // Taken out, so that a request that is given up takes its connection with it.
        let mut stream = self.stream.take();
        if let Some((idle, _)) = &mut stream
            && !self.is_alive(idle).await
        {
            stream = None;
        }
        let (mut stream, used) = match stream {
            Some(stream) => stream,
            None => match self.open().await {
                Ok(stream) => (stream, 0),
                Err(kind) => {
                    return Answer {
                        failure: Some(kind),
                        bytes: 0,
                    };
                }
            },
        };
        let result = self.talk(&mut stream, endpoint).await;
        let failure = match result {
            Ok(()) => {
                let used = used.saturating_add(1);
                let most = self.shared.plan.transport.http.requests_per_connection;
                if self.reader.keep_alive && most.is_none_or(|most| used < most) {
                    self.stream = Some((stream, used));
                }
                None
            }
            Err(kind) => Some(kind),
        };
        Answer {
            failure,
            bytes: self.reader.bytes,
        }
    }

    fn opened(&mut self) -> Option<Setup> {
        self.opened.take()
    }

    fn received(&self) -> Received<'_> {
        Received {
            status: self.reader.status,
            headers: Headers::Lines(&self.reader.kept_head),
            body: &self.reader.body,
            size: self.reader.body_size,
        }
    }

    fn authorize(&mut self, token: &str) {
        self.requests = prepare(&self.shared.plan, &self.authority, Some(token));
    }
}

//! The null server: one fixed answer to everything, so that a generator meets its own ceiling.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use weir_load::alarm::Alarms;

use super::{
    listen::{self, Accepted},
    stats::Stats,
};

const BUFFER: usize = 64 << 10;
/// A head that is longer than this ends the connection.
const MAX_HEAD: usize = 64 << 10;
/// Streams that a client may have open on a connection.
const MOST_STREAMS: u32 = 1000;
const JSON: http::HeaderValue = http::HeaderValue::from_static("application/json");

struct Null {
    answer: Vec<u8>,
    body: Bytes,
    delay: Duration,
    tls: Option<Arc<ServerConfig>>,
    /// One read buffer for all connections: only incomplete requests are copied out of it.
    buffer: RefCell<Box<[u8]>>,
    stats: Rc<Stats>,
    alarms: Alarms,
}

/// Answers until told to stop.
pub(super) async fn serve(
    body: usize,
    delay: Duration,
    tls: Option<Arc<ServerConfig>>,
    listeners: Vec<TcpListener>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {body}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + body, b'x');
    let null = Rc::new(Null {
        answer,
        body: vec![b'x'; body].into(),
        delay,
        tls,
        buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
        stats: Stats::new(Instant::now()),
        alarms: Alarms::start()?,
    });
    for listener in listeners {
        let null = null.clone();
        tokio::task::spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let null = null.clone();
                        tokio::task::spawn_local(async move {
                            let _open = null.stats.connection();
                            let _ = null.accepted(stream).await;
                        });
                    }
                    // Out of descriptors, most likely: some will be closed.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
    }
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}

impl Null {
    async fn accepted(self: &Rc<Self>, stream: TcpStream) -> io::Result<()> {
        let stream = listen::take(stream, self.tls.as_ref()).await?;
        if listen::is_http2(&stream).await? {
            self.http2(stream).await.map_err(io::Error::other)
        } else {
            self.http1(stream).await
        }
    }

    async fn pause(&self) {
        if !self.delay.is_zero() {
            self.alarms.sleep_until(Instant::now() + self.delay).await;
        }
    }

    async fn http1(&self, mut stream: Accepted) -> io::Result<()> {
        let mut partial = Vec::new();
        let mut body_left: usize = 0;
        loop {
            let found = poll_fn(|cx| {
                let mut buffer = self.buffer.borrow_mut();
                let mut target = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut stream).poll_read(cx, &mut target))?;
                let data = target.filled();
                if data.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(requests(data, &mut partial, &mut body_left))
            })
            .await?;
            if found.stats {
                let json = self.stats.to_json("null", 0);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", json.len());
                stream.write_all(format!("{head}{json}").as_bytes()).await?;
                stream.flush().await?;
                continue;
            }
            self.stats.requests(found.count as u64);
            if found.count > 0 {
                self.pause().await;
            }
            match found.count {
                0 => {}
                1 => stream.write_all(&self.answer).await?,
                several => stream.write_all(&self.answer.repeat(several)).await?,
            }
            // Does nothing on TCP; TLS may hold back the end of a record.
            stream.flush().await?;
            if found.close {
                return stream.shutdown().await;
            }
        }
    }

    async fn http2(self: &Rc<Self>, stream: Accepted) -> Result<(), h2::Error> {
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(MOST_STREAMS)
            .handshake(stream)
            .await?;
        while let Some(request) = connection.accept().await {
            let (request, reply) = request?;
            let stats = request.uri().path() == "/__stats";
            let mut incoming = request.into_body();
            if self.delay.is_zero() && incoming.is_end_stream() {
                self.answer(stats, reply)?;
                continue;
            }
            let null = self.clone();
            tokio::task::spawn_local(async move {
                while let Some(Ok(chunk)) = incoming.data().await {
                    let _ = incoming.flow_control().release_capacity(chunk.len());
                }
                null.pause().await;
                let _ = null.answer(stats, reply);
            });
        }
        Ok(())
    }

    fn answer(
        &self,
        stats: bool,
        mut reply: h2::server::SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let body: Bytes = if stats {
            self.stats.to_json("null", 0).into()
        } else {
            self.stats.requests(1);
            self.body.clone()
        };
        let mut answer = http::Response::new(());
        let headers = answer.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, JSON);
        headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        let mut stream = reply.send_response(answer, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        Ok(())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    count: usize,
    stats: bool,
    /// The last request asks for the connection to be closed.
    close: bool,
}

/// Counts the requests that end in `data`.
fn requests(data: &[u8], partial: &mut Vec<u8>, body_left: &mut usize) -> io::Result<Found> {
    let mut found = Found::default();
    let joined;
    let mut rest = if partial.is_empty() {
        data
    } else {
        partial.extend_from_slice(data);
        joined = std::mem::take(partial);
        joined.as_slice()
    };
    loop {
        let skip = (*body_left).min(rest.len());
        *body_left -= skip;
        rest = rest.get(skip..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(found);
        }
        let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
            if rest.len() > MAX_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            partial.extend_from_slice(rest);
            return Ok(found);
        };
        let (head, tail) = rest.split_at(end + 4);
        found.count += 1;
        found.close = memchr::memmem::find(head, b"onnection: close").is_some();
        if head.starts_with(b"GET ") {
            found.stats |= head.starts_with(b"GET /__stats");
        } else {
            *body_left = content_length(head)?;
        }
        rest = tail;
    }
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request
        .parse(head)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |header| {
            std::str::from_utf8(header.value)
                .ok()
                .and_then(|value| value.trim().parse().ok())
                .ok_or_else(|| io::ErrorKind::InvalidData.into())
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIPELINE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n\
                              POST /x HTTP/1.1\r\ncontent-length: 7\r\n\r\n\r\n\r\nabc\
                              GET /y HTTP/1.1\r\n\r\n";

    proptest! {
        #[test]
        fn requests_are_counted_however_they_are_cut(
            cuts in prop::collection::vec(0..PIPELINE.len(), 0..6)
        ) {
            let mut cuts = cuts;
            cuts.extend([0, PIPELINE.len()]);
            cuts.sort_unstable();
            let (mut partial, mut left, mut count) = (Vec::new(), 0, 0);
            for pair in cuts.windows(2) {
                let piece = &PIPELINE[pair[0]..pair[1]];
                count += requests(piece, &mut partial, &mut left).unwrap().count;
            }
            prop_assert_eq!(count, 3);
        }
    }
}

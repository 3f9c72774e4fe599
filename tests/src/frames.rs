//! An HTTP/2 client that sends exactly what a test tells it to, frame by frame.

use std::net::SocketAddr;

use crate::client::Conn;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const WITH_PRIORITY: u8 = 0x20;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// An HTTP/2 connection, by hand.
#[derive(Debug)]
pub struct Frames {
    pub conn: Conn,
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A field block in which every field is a literal that is not indexed, without Huffman coding.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name.as_bytes());
        string(&mut out, value.as_bytes());
    }
    out
}

/// A string literal of HPACK.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        out.push(text.len() as u8);
    } else {
        out.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            out.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend(text);
}

/// The pseudo-header fields of `GET path`, and more fields.
pub fn get<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<u8> {
    ask("GET", path, more)
}

/// The same with another method.
pub fn ask<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ];
    fields.extend(more);
    block(&fields)
}

/// `GET /` on a stream, complete.
pub fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/", &[]))
}

/// One setting.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

pub fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn ping(payload: &[u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, payload)
}

// === impl Frame ===

impl Frame {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The code of RST_STREAM or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The last stream that GOAWAY speaks of.
    pub fn last_stream(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    /// The status of HEADERS, if HPACK's static table has it.
    pub fn status(&self) -> Option<u16> {
        let known = [200, 204, 206, 304, 400, 404, 500];
        let index = self.payload.first()?.checked_sub(0x88)?;
        known.get(usize::from(index)).copied()
    }
}

// === impl Frames ===

impl Frames {
    /// Connects and says nothing.
    pub async fn silent(to: SocketAddr) -> Self {
        Self {
            conn: Conn::open(to).await,
        }
    }

    /// Connects, sends the preface with these settings, and takes those of the server.
    pub async fn open_with(to: SocketAddr, settings: &[u8]) -> Self {
        let mut frames = Self::silent(to).await;
        frames
            .send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat())
            .await;
        let first = frames.next().await.expect("the server's SETTINGS");
        assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
        frames.send(frame(SETTINGS, ACK, 0, &[])).await;
        frames
    }

    pub async fn open(to: SocketAddr) -> Self {
        Self::open_with(to, &[]).await
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.conn.send(bytes).await;
    }

    /// The next frame; none if the server has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        let head = self.conn.try_receive_exactly(9).await?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = self.conn.try_receive_exactly(len as usize).await?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff,
            payload,
        })
    }

    /// The next frame for which `wanted` holds; none if the server closes first.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Waits for the end of the answer on a stream. Returns its status and body.
    pub async fn answer(&mut self, stream: u32) -> (Option<u16>, Vec<u8>) {
        let (mut status, mut body) = (None, Vec::new());
        loop {
            let frame = self.next().await.expect("an answer, not the end");
            if frame.stream != stream {
                assert_ne!(frame.kind, GOAWAY, "{frame:?}");
                continue;
            }
            match frame.kind {
                HEADERS if status.is_none() => status = frame.status(),
                DATA => body.extend(&frame.payload),
                RST_STREAM => panic!("the stream was reset: {frame:?}"),
                _ => {}
            }
            if frame.has(END_STREAM) && matches!(frame.kind, HEADERS | DATA) {
                return (status, body);
            }
        }
    }

    /// Whether the connection still works.
    pub async fn is_alive(&mut self) -> bool {
        self.send(ping(b"alive???")).await;
        let answer = self
            .until(|frame| frame.kind == PING && frame.payload == b"alive???")
            .await;
        answer.is_some()
    }
}

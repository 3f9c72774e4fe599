//! One line of the access log.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use super::stages::Stages;
use crate::upstream::Endpoint;

/// What a line tells of a request.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When the request began.
    pub at: SystemTime,
    /// Request id.
    pub id: &'a str,
    /// The client, after trusted proxies have been believed.
    pub client: IpAddr,
    /// Method.
    pub method: &'a str,
    /// Host asked for.
    pub host: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// `HTTP/1.1` …
    pub protocol: &'a str,
    /// Status sent; 499 if the client went away first.
    pub status: u16,
    /// Body bytes sent.
    pub bytes: u64,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// Route, if one matched.
    pub route: Option<&'a str>,
    /// The server that answered, or was tried last.
    pub server: Option<Endpoint>,
    /// Servers tried.
    pub tries: u32,
    /// Opening the connection to the server; zero on a kept one.
    pub connect: Option<Duration>,
    /// From sending the request to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// When the request reached each stage; none without an answer of a server.
    pub stages: Option<Stages>,
    /// `rejected:ZONE`, `delayed:ZONE` or `dry_run:ZONE`.
    pub limit: Option<(&'static str, &'a str)>,
    /// Why there is no answer of the server.
    pub error: Option<&'a str>,
    /// How a call of gRPC went.
    pub grpc_status: Option<u16>,
    /// `User-Agent`.
    pub user_agent: &'a [u8],
    /// `Referer`.
    pub referer: &'a [u8],
    /// What was agreed on in the TLS handshake; none in the clear.
    pub tls: Option<TlsEntry<'a>>,
    /// Settings revision that the request saw.
    pub revision: u64,
}

/// What a line tells of TLS.
#[derive(Debug, Clone, Copy)]
pub struct TlsEntry<'a> {
    /// `1.2` or `1.3`.
    pub version: &'a str,
    /// The cipher suite.
    pub cipher: &'a str,
    /// The name that the client asked for.
    pub server_name: Option<&'a str>,
    /// Whether an earlier session goes on.
    pub resumed: bool,
    /// Subject (RFC 4514) and SHA-256 of the client's certificate.
    pub client: Option<(&'a str, &'a str)>,
}

/// The second as text, made once a second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: i64,
    pub(super) iso: String,
    pub(super) clf: String,
}

// === impl Clock ===

impl Clock {
    /// Sets the clock and returns the milliseconds within the second.
    pub(super) fn set(&mut self, at: SystemTime) -> u32 {
        let since = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if second != self.second || self.iso.is_empty() {
            let time = DateTime::<Utc>::from_timestamp(second, 0).unwrap_or_default();
            self.second = second;
            self.iso = time.format("%Y-%m-%dT%H:%M:%S").to_string();
            self.clf = time.format("%d/%b/%Y:%H:%M:%S +0000").to_string();
        }
        since.subsec_millis()
    }
}

/// Appends `e` as a JSON object; `second` and `millis` are its time.
pub(super) fn json_line(out: &mut Vec<u8>, e: &Entry<'_>, second: &str, millis: u32) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        r#"{{"time":"{second}.{millis:03}Z","id":"{}","client":"{}","method":"{}","host":"#,
        e.id, e.client, e.method
    );
    json_string(out, e.host);
    out.extend_from_slice(br#","target":"#);
    json_string(out, e.target);
    let _ = write!(
        out,
        r#","protocol":"{}","status":{},"bytes":{},"duration_ms":"#,
        e.protocol, e.status, e.bytes
    );
    json_millis(out, e.duration);
    if let Some(route) = e.route {
        out.extend_from_slice(br#","route":"#);
        json_string(out, route.as_bytes());
    }
    if let Some(server) = e.server {
        out.extend_from_slice(br#","server":"#);
        match server {
            Endpoint::Inet(address) => {
                let _ = write!(out, "\"{address}\"");
            }
            // A path may hold anything.
            unix @ Endpoint::Unix(_) => json_string(out, unix.to_string().as_bytes()),
        }
        let _ = write!(out, r#","tries":{}"#, e.tries);
    }
    if let Some(connect) = e.connect {
        out.extend_from_slice(br#","connect_ms":"#);
        json_millis(out, connect);
    }
    if let Some(first_byte) = e.first_byte {
        out.extend_from_slice(br#","first_byte_ms":"#);
        json_millis(out, first_byte);
    }
    if let Some(stages) = e.stages {
        let [choose, connect, wait, send] = stages.lengths(e.duration).map(|d| d.as_micros());
        let _ = write!(
            out,
            r#","stages_us":{{"choose":{choose},"connect":{connect},"wait":{wait},"send":{send}}}"#
        );
    }
    if let Some((what, zone)) = e.limit {
        out.extend_from_slice(br#","limit":"#);
        json_string(out, format!("{what}:{zone}").as_bytes());
    }
    if let Some(status) = e.grpc_status {
        let _ = write!(out, r#","grpc_status":{status}"#);
    }
    if let Some(error) = e.error {
        out.extend_from_slice(br#","error":"#);
        json_string(out, error.as_bytes());
    }
    if let Some(tls) = e.tls {
        json_tls(out, &tls);
    }
    out.extend_from_slice(br#","user_agent":"#);
    json_string(out, e.user_agent);
    let _ = writeln!(out, r#","revision":{}}}"#, e.revision);
}

fn json_tls(out: &mut Vec<u8>, tls: &TlsEntry<'_>) {
    let _ = write!(
        out,
        r#","tls":{{"version":"{}","cipher":"{}","resumed":{}"#,
        tls.version, tls.cipher, tls.resumed
    );
    if let Some(name) = tls.server_name {
        out.extend_from_slice(br#","server_name":"#);
        json_string(out, name.as_bytes());
    }
    if let Some((subject, fingerprint)) = tls.client {
        out.extend_from_slice(br#","client_subject":"#);
        json_string(out, subject.as_bytes());
        out.extend_from_slice(br#","client_fingerprint":"#);
        json_string(out, fingerprint.as_bytes());
    }
    out.push(b'}');
}

/// Milliseconds with three decimals.
fn json_millis(out: &mut Vec<u8>, d: Duration) {
    let micros = d.as_micros();
    let _ = write!(out, "{}.{:03}", micros / 1000, micros % 1000);
}

/// A JSON string; bytes that are not ASCII text are escaped as Latin-1 code points, so that any
/// request line gives a valid line.
fn json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if text
        .iter()
        .all(|&b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\')
    {
        out.extend_from_slice(text);
    } else {
        for &b in text {
            match b {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
                b' '..0x7f => out.push(b),
                _ => {
                    let _ = write!(out, "\\u{:04x}", u32::from(b));
                }
            }
        }
    }
    out.push(b'"');
}

/// Appends `e` in nginx's `combined` format.
pub(super) fn text_line(out: &mut Vec<u8>, e: &Entry<'_>, time: &str) {
    let _ = write!(out, "{} - - [{time}] \"{} ", e.client, e.method);
    text_escaped(out, e.target);
    let _ = write!(out, " {}\" {} {} \"", e.protocol, e.status, e.bytes);
    text_escaped(
        out,
        if e.referer.is_empty() {
            b"-"
        } else {
            e.referer
        },
    );
    out.extend_from_slice(b"\" \"");
    text_escaped(
        out,
        if e.user_agent.is_empty() {
            b"-"
        } else {
            e.user_agent
        },
    );
    out.extend_from_slice(b"\"\n");
}

/// nginx's escaping: `\xHH` for what could break a line or a quoted field.
fn text_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for &b in text {
        match b {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{b:02X}");
            }
            _ => out.push(b),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn entry() -> Entry<'static> {
        Entry {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            id: "00ff",
            client: "127.0.0.1".parse().unwrap(),
            method: "GET",
            host: b"x",
            target: b"/a?b=\"\xff\\",
            protocol: "HTTP/1.1",
            status: 200,
            bytes: 5,
            duration: Duration::from_micros(1_234),
            route: Some("/"),
            server: Some("127.0.0.1:8000".parse().unwrap()),
            tries: 1,
            connect: None,
            first_byte: Some(Duration::from_micros(1_000)),
            stages: Some(Stages {
                chosen: Duration::from_micros(20),
                connected: Duration::from_micros(134),
                first_byte: Duration::from_micros(1_134),
            }),
            limit: Some(("delayed", "api_limit")),
            error: None,
            grpc_status: Some(14),
            user_agent: b"curl",
            referer: b"",
            tls: Some(TlsEntry {
                version: "1.3",
                cipher: "TLS13_AES_128_GCM_SHA256",
                server_name: Some("x"),
                resumed: true,
                client: Some((r"CN=a\, b", "00ff")),
            }),
            revision: 7,
        }
    }

    #[test]
    fn json_lines_are_json_whatever_the_client_sends() {
        let mut out = Vec::new();
        json_line(&mut out, &entry(), "2023-11-14T22:13:20", 123);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(line["target"], "/a?b=\"\u{ff}\\");
        assert_eq!(line["duration_ms"], 1.234);
        assert_eq!(line["limit"], "delayed:api_limit");
        let stages = &line["stages_us"];
        let lengths =
            ["choose", "connect", "wait", "send"].map(|name| stages[name].as_u64().unwrap());
        assert_eq!(
            lengths,
            [20, 114, 1_000, 100],
            "they add up to the duration"
        );
        assert_eq!(line["tls"]["version"], "1.3");
        assert_eq!(line["tls"]["resumed"], true);
        assert_eq!(line["tls"]["client_subject"], r"CN=a\, b");
        assert_eq!(line["grpc_status"], 14);
        assert_eq!(line["revision"], 7);
    }

    #[test]
    fn text_lines_are_combined_format() {
        let mut out = Vec::new();
        let mut clock = Clock::default();
        clock.set(entry().at);
        text_line(&mut out, &entry(), &clock.clf);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b=\\x22\\xFF\\x5C HTTP/1.1\" 200 5 \"-\" \"curl\"\n"
        );
    }
}

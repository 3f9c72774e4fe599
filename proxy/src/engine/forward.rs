//! The request head as an upstream server gets it.

use std::io::Write as _;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue, header};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use weir_api::config::HeaderChanges;

/// Header changes of a route, ready for use.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderOps {
    pub(super) set: Vec<(HeaderName, HeaderValue)>,
    pub(super) remove: Vec<HeaderName>,
}

impl From<&HeaderChanges> for HeaderOps {
    /// Names and values were validated with the file; anything invalid would be left out here.
    fn from(changes: &HeaderChanges) -> Self {
        let name = |text: &String| HeaderName::from_bytes(text.as_bytes()).ok();
        Self {
            set: changes
                .set
                .iter()
                .filter_map(|(n, v)| Some((name(n)?, HeaderValue::from_str(v).ok()?)))
                .collect(),
            remove: changes.remove.iter().filter_map(name).collect(),
        }
    }
}

impl HeaderOps {
    fn replaces(&self, name: &HeaderName) -> bool {
        !(self.set.is_empty() && self.remove.is_empty())
            && (self.remove.contains(name) || self.set.iter().any(|(n, _)| n == name))
    }
}

/// Who the client is, seen through the proxies in front that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// The client; the peer itself unless that is a trusted proxy.
    pub(super) client: IpAddr,
    /// The peer is a trusted proxy.
    pub(super) trusted: bool,
}

impl Origin {
    /// The client behind `peer`: the last address in `X-Forwarded-For` that is not a trusted proxy
    /// (nginx: `real_ip_recursive on`).
    pub(super) fn find(peer: IpAddr, trusted: &[IpNet], req: &RequestHeader) -> Self {
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
        if trusted.is_empty() || !is_trusted(&peer) {
            return Self {
                peer,
                client: peer,
                trusted: false,
            };
        }
        let mut client = peer;
        'lines: for value in req.headers.get_all("x-forwarded-for").iter().rev() {
            for item in value.as_bytes().rsplit(|&b| b == b',') {
                let Some(ip) = std::str::from_utf8(item.trim_ascii())
                    .ok()
                    .and_then(|t| t.parse().ok())
                else {
                    break 'lines;
                };
                client = ip;
                if !is_trusted(&ip) {
                    break 'lines;
                }
            }
        }
        Self {
            peer,
            client,
            trusted: true,
        }
    }
}

/// How the request body is framed towards the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestBody {
    None,
    Length(u64),
    Chunked,
}

/// What goes into the head beside the client's own fields.
#[derive(Debug)]
pub(super) struct Forward<'a> {
    pub(super) origin: Origin,
    pub(super) id: &'a str,
    pub(super) scheme: &'a str,
    /// Name of the upstream: the `Host` of a request that has none (nginx: `$proxy_host`).
    pub(super) upstream: &'a str,
    pub(super) body: RequestBody,
    pub(super) upgrade: bool,
    pub(super) ops: &'a HeaderOps,
}

/// Appends the head of `req` for the server.
///
/// Hop-by-hop fields stay behind, framing is stated anew, and the forwarding fields say what this
/// proxy knows: what the client claimed about itself is passed on only from a trusted proxy.
pub(super) fn write_head(out: &mut Vec<u8>, req: &RequestHeader, fwd: &Forward<'_>) {
    out.extend_from_slice(req.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(origin_form(req));
    out.extend_from_slice(b" HTTP/1.1\r\n");

    let nominated = nominated(req);
    if !fwd.ops.replaces(&header::HOST) {
        let host = req.headers.get(header::HOST).map(HeaderValue::as_bytes);
        field(out, b"host", host.unwrap_or(fwd.upstream.as_bytes()));
    }
    for (name, value) in &req.headers {
        if is_ours(name) || fwd.ops.replaces(name) || nominated.contains(name) {
            continue;
        }
        field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    for (name, value) in &fwd.ops.set {
        field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    match fwd.body {
        RequestBody::None => {}
        RequestBody::Length(n) => {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "content-length: {n}\r\n");
        }
        RequestBody::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if let Some(upgrade) = req.headers.get(header::UPGRADE).filter(|_| fwd.upgrade) {
        field(out, b"connection", b"upgrade");
        field(out, b"upgrade", upgrade.as_bytes());
    }
    forwarding(out, req, fwd);
    out.extend_from_slice(b"\r\n");
}

fn forwarding(out: &mut Vec<u8>, req: &RequestHeader, fwd: &Forward<'_>) {
    let missing = |name: &HeaderName| !fwd.ops.replaces(name);
    let told = |name: &HeaderName| req.headers.get(name).filter(|_| fwd.origin.trusted);
    if missing(&X_REQUEST_ID) {
        field(out, b"x-request-id", fwd.id.as_bytes());
    }
    if missing(&X_REAL_IP) {
        let _ = write!(out, "x-real-ip: {}\r\n", fwd.origin.client);
    }
    if missing(&X_FORWARDED_FOR) {
        out.extend_from_slice(b"x-forwarded-for: ");
        if fwd.origin.trusted {
            for value in req.headers.get_all(&X_FORWARDED_FOR) {
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b", ");
            }
        }
        let _ = write!(out, "{}\r\n", fwd.origin.peer);
    }
    if missing(&X_FORWARDED_PROTO) {
        let proto = told(&X_FORWARDED_PROTO).map_or(fwd.scheme.as_bytes(), HeaderValue::as_bytes);
        field(out, b"x-forwarded-proto", proto);
    }
    if missing(&X_FORWARDED_HOST)
        && let Some(host) = told(&X_FORWARDED_HOST).or_else(|| req.headers.get(header::HOST))
    {
        field(out, b"x-forwarded-host", host.as_bytes());
    }
}

pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields that are hop-by-hop (RFC 9110 section 7.6.1) or that this proxy states itself.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST
            | header::CONNECTION
            | header::CONTENT_LENGTH
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::EXPECT
            | header::TE
            | header::TRAILER
    ) || matches!(
        name.as_str(),
        "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "x-request-id"
            | "x-real-ip"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
    )
}

/// Fields that the client's `Connection` names; they are for this hop only. Those that the server
/// must get whatever a client nominates stay.
fn nominated(req: &RequestHeader) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in req.headers.get_all(header::CONNECTION) {
        for token in value
            .as_bytes()
            .split(|&b| b == b',')
            .map(<[u8]>::trim_ascii)
        {
            if token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(token)
                && !matches!(
                    name,
                    header::AUTHORIZATION | header::COOKIE | header::CONTENT_TYPE
                )
            {
                names.push(name);
            }
        }
    }
    names
}

/// The target as a server expects it: path and query, or `*`.
pub(super) fn origin_form(req: &RequestHeader) -> &[u8] {
    let raw = req.raw_path();
    if raw.starts_with(b"/") || raw == b"*" {
        return raw;
    }
    req.uri
        .path_and_query()
        .map_or(b"/", |p| p.as_str().as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut req = RequestHeader::build("GET", b"/a?b", None).unwrap();
        for (name, value) in fields {
            req.append_header(*name, *value).unwrap();
        }
        req
    }

    fn head(req: &RequestHeader, trusted: &[IpNet]) -> String {
        let origin = Origin::find("127.0.0.9".parse().unwrap(), trusted, req);
        let mut out = Vec::new();
        let fwd = Forward {
            origin,
            id: "0123",
            scheme: "http",
            upstream: "api",
            body: RequestBody::None,
            upgrade: false,
            ops: &HeaderOps::default(),
        };
        write_head(&mut out, req, &fwd);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_stranger_claims_is_not_passed_on() {
        let req = request(&[
            ("host", "x"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "mine"),
            ("connection", "x-hop, keep-alive, authorization"),
            ("x-hop", "1"),
            ("authorization", "Bearer t"),
            ("accept", "*/*"),
        ]);
        assert_eq!(
            head(&req, &[]),
            "GET /a?b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\naccept: */*\r\nx-request-id: 0123\r\n\
             x-real-ip: 127.0.0.9\r\nx-forwarded-for: 127.0.0.9\r\nx-forwarded-proto: http\r\nx-forwarded-host: x\r\n\r\n"
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let trusted = ["127.0.0.0/8".parse().unwrap()];
        let req = request(&[
            ("host", "x"),
            ("x-forwarded-for", "6.6.6.6, 5.5.5.5"),
            ("x-forwarded-for", "127.0.0.7"),
            ("x-forwarded-proto", "https"),
        ]);
        let text = head(&req, &trusted);
        assert!(text.contains("x-real-ip: 5.5.5.5\r\n"), "{text}");
        assert!(
            text.contains("x-forwarded-for: 6.6.6.6, 5.5.5.5, 127.0.0.7, 127.0.0.9\r\n"),
            "{text}"
        );
        assert!(text.contains("x-forwarded-proto: https\r\n"), "{text}");
    }
}

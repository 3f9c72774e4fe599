//! The request head as an upstream server gets it.

use std::io::Write as _;
use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use weir_api::config::HeaderChanges;
use weir_http1::{Field, Fields, Name, RequestBody, RequestHead, Version};

use crate::route::client;
use crate::tls::ClientIdentity;

/// Header changes of a route, ready for use.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderOps {
    set: Vec<(Vec<u8>, Vec<u8>)>,
    remove: Vec<Vec<u8>>,
}

impl From<&HeaderChanges> for HeaderOps {
    /// Names and values were validated with the file; anything invalid is left out when it is written.
    fn from(changes: &HeaderChanges) -> Self {
        Self {
            set: changes
                .set
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect(),
            remove: changes
                .remove
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect(),
        }
    }
}

// === impl HeaderOps ===

impl HeaderOps {
    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    fn replaces(&self, name: &[u8]) -> bool {
        let set = self.set.iter().map(|(set, _)| set);
        set.chain(&self.remove)
            .any(|changed| changed.eq_ignore_ascii_case(name))
    }

    /// Changes `fields`.
    pub(super) fn apply(&self, fields: &mut Fields) {
        for name in &self.remove {
            fields.remove_called(name);
        }
        for (name, value) in &self.set {
            fields.set(name, value);
        }
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
    /// The client behind `peer`, as [`client::find`] says.
    pub(super) fn find(peer: IpAddr, trusted: &[IpNet], fields: &Fields) -> Self {
        let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
        if trusted.is_empty() || !is_trusted(peer) {
            return Self {
                peer,
                client: peer,
                trusted: false,
            };
        }
        let claims = fields.all(Name::XForwardedFor);
        let claims = claims.map(|value| (&b"x-forwarded-for"[..], value));
        Self {
            peer,
            client: client::find(peer, is_trusted, claims),
            trusted: true,
        }
    }
}

/// What goes into the head beside the client's own fields.
#[derive(Debug)]
pub(super) struct Forward<'a> {
    pub(super) origin: Origin,
    pub(super) id: &'a str,
    pub(super) scheme: &'a str,
    /// The holder of the client's certificate.
    pub(super) identity: Option<&'a ClientIdentity>,
    /// Name of the upstream: the `Host` of a request that has none (nginx: `$proxy_host`).
    pub(super) upstream: &'a str,
    pub(super) body: RequestBody,
    /// The protocols that the client offers to switch to are offered to the server.
    pub(super) upgrade: bool,
    pub(super) ops: &'a HeaderOps,
}

/// Appends the HTTP/1.1 head of `req` for the server.
///
/// Hop-by-hop fields stay behind, framing is stated anew, and the forwarding fields say what this
/// proxy knows: what the client claimed about itself is passed on only from a trusted proxy.
pub(super) fn write_head(out: &mut Vec<u8>, req: &RequestHead, fwd: &Forward<'_>) {
    out.reserve(512 + req.target().len());
    out.extend_from_slice(req.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(req.origin_form());
    out.extend_from_slice(b" HTTP/1.1\r\n");

    if !fwd.ops.replaces(b"host") {
        let host = Some(req.authority()).filter(|host| !host.is_empty());
        // A Host that is there and empty is what the client meant.
        let host = host.or_else(|| req.fields.get(Name::Host));
        out.field(b"Host", host.unwrap_or(fwd.upstream.as_bytes()));
    }
    let nominated = Nominated::by(&req.fields);
    let changed = !fwd.ops.is_empty();
    req.fields.write_where(out, |f| {
        !(is_ours(f, fwd.body)
            || is_strange(f, fwd.origin.trusted)
            || nominated.names(f.name)
            || (changed && fwd.ops.replaces(f.name)))
    });
    for (name, value) in &fwd.ops.set {
        out.field(name, value);
    }
    match fwd.body {
        RequestBody::None => {}
        RequestBody::Length(n) => {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "Content-Length: {n}\r\n");
        }
        RequestBody::Stream => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    let trailers = wants_trailers(req);
    if fwd.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: ");
        for (at, protocol) in req.upgrades().enumerate() {
            if at > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(protocol);
        }
        out.extend_from_slice(b"\r\n");
    } else if trailers {
        out.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n");
    }
    forwarding(out, req, fwd);
    out.extend_from_slice(b"\r\n");
}

/// A head under construction, of any version.
pub(super) trait HeadSink {
    /// Adds the field `name` with the value that `write` appends.
    fn compose(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>));

    /// Adds a field.
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.compose(name, |out| out.extend_from_slice(value));
    }
}

impl HeadSink for Vec<u8> {
    fn compose(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.extend_from_slice(name);
        self.extend_from_slice(b": ");
        write(self);
        self.extend_from_slice(b"\r\n");
    }
}

impl HeadSink for HeaderMap {
    fn compose(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let mut value = Vec::with_capacity(48);
        write(&mut value);
        self.field(name, &value);
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            // Fails only beyond 32,768 fields, more than a head may have bytes for.
            let _ = self.try_append(name, value);
        }
    }
}

/// Who is asked, as HTTP/2 says it in `:authority`.
pub(super) fn authority<'a>(req: &'a RequestHead, fwd: &'a Forward<'_>) -> &'a [u8] {
    let set = fwd.ops.set.iter().rev();
    if let Some((_, host)) = set.clone().find(|(n, _)| n.eq_ignore_ascii_case(b"host")) {
        return host;
    }
    match req.authority() {
        b"" => fwd.upstream.as_bytes(),
        host => host,
    }
}

/// The fields of `req` for a server that speaks HTTP/2: those of [`write_head`], without any about the
/// connection (RFC 9113 section 8.2.2).
pub(super) fn http2_fields(req: &RequestHead, fwd: &Forward<'_>) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(req.fields.len() + 8);
    let nominated = Nominated::by(&req.fields);
    for f in req.fields.iter() {
        let stays = is_ours(f, fwd.body)
            || is_strange(f, fwd.origin.trusted)
            || nominated.names(f.name)
            || fwd.ops.replaces(f.name);
        if !stays {
            out.field(f.name, f.value);
        }
    }
    for (name, value) in &fwd.ops.set {
        if !is_about_connection(Name::of(name)) {
            out.field(name, value);
        }
    }
    if let RequestBody::Length(n) = fwd.body {
        // Writing to a Vec cannot fail.
        out.compose(b"content-length", |out| drop(write!(out, "{n}")));
    }
    if wants_trailers(req) {
        out.field(b"te", b"trailers");
    }
    forwarding(&mut out, req, fwd);
    out
}

/// The client takes trailers. In HTTP/2 no `Connection` names `TE`.
fn wants_trailers(req: &RequestHead) -> bool {
    req.fields.has_token(Name::Te, b"trailers")
        && (req.version == Version::Http2 || req.fields.has_token(Name::Connection, b"te"))
}

/// Fields that HTTP/2 has no place for.
fn is_about_connection(name: Name) -> bool {
    matches!(
        name,
        Name::Host
            | Name::Connection
            | Name::ContentLength
            | Name::TransferEncoding
            | Name::Upgrade
            | Name::Te
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::Http2Settings
    )
}

fn forwarding(out: &mut impl HeadSink, req: &RequestHead, fwd: &Forward<'_>) {
    let missing = |name: &[u8]| fwd.ops.is_empty() || !fwd.ops.replaces(name);
    let claimed = |name: Name| req.fields.get(name).filter(|_| fwd.origin.trusted);
    if missing(b"x-request-id") {
        out.field(b"X-Request-Id", fwd.id.as_bytes());
    }
    if missing(b"x-real-ip") {
        out.compose(b"X-Real-IP", |out| {
            drop(write!(out, "{}", fwd.origin.client))
        });
    }
    if missing(b"x-forwarded-for") {
        out.compose(b"X-Forwarded-For", |out| {
            if fwd.origin.trusted {
                let values = req.fields.all(Name::XForwardedFor);
                for value in values.filter(|value| !value.is_empty()) {
                    out.extend_from_slice(value);
                    out.extend_from_slice(b", ");
                }
            }
            drop(write!(out, "{}", fwd.origin.peer));
        });
    }
    if missing(b"x-forwarded-proto") {
        let proto = claimed(Name::XForwardedProto).unwrap_or(fwd.scheme.as_bytes());
        out.field(b"X-Forwarded-Proto", proto);
    }
    if missing(b"x-forwarded-host") {
        let host = claimed(Name::XForwardedHost).unwrap_or_else(|| req.authority());
        if !host.is_empty() {
            out.field(b"X-Forwarded-Host", host);
        }
    }
    let identity = fwd.identity;
    for (id, name, own) in [
        (
            Name::XClientCertSubject,
            "X-Client-Cert-Subject",
            identity.map(|it| it.subject.as_bytes()),
        ),
        (
            Name::XClientCertFingerprint,
            "X-Client-Cert-Fingerprint",
            identity.map(|it| it.fingerprint.as_bytes()),
        ),
    ] {
        if let Some(value) = own.or_else(|| claimed(id))
            && missing(&name.to_ascii_lowercase().into_bytes())
        {
            out.field(name.as_bytes(), value);
        }
    }
}

/// Fields that are hop-by-hop (RFC 9110 section 7.6.1) or that this proxy states itself.
fn is_ours(field: Field<'_>, body: RequestBody) -> bool {
    match field.id {
        Name::Host
        | Name::Connection
        | Name::ContentLength
        | Name::TransferEncoding
        | Name::Upgrade
        | Name::Expect
        | Name::Te
        | Name::KeepAlive
        | Name::ProxyConnection
        | Name::Http2Settings
        | Name::XRequestId
        | Name::XRealIp
        | Name::XForwardedFor
        | Name::XForwardedProto
        | Name::XForwardedHost
        | Name::XClientCertSubject
        | Name::XClientCertFingerprint => true,
        // It speaks of trailers, which only such a body has.
        Name::Trailer => body != RequestBody::Stream,
        _ => false,
    }
}

/// Claims that must not reach a server: any from a client that is no trusted proxy, and from anybody those spelt with
/// underscores, which a trusted proxy may have passed on unseen.
fn is_strange(field: Field<'_>, trusted: bool) -> bool {
    matches!(field.id, Name::Other | Name::Forwarded)
        && client::is_claim(field.name)
        && (!trusted || field.name.contains(&b'_'))
}

/// Fields that the client's `Connection` names; they are for this hop only. Those that the server
/// must get whatever a client nominates stay.
struct Nominated<'a>(Vec<&'a [u8]>);

impl<'a> Nominated<'a> {
    fn by(fields: &'a Fields) -> Self {
        let mut names = Vec::new();
        for token in fields.tokens(Name::Connection) {
            let kept = token.eq_ignore_ascii_case(b"keep-alive")
                || token.eq_ignore_ascii_case(b"close")
                || matches!(
                    Name::of(token),
                    Name::Authorization | Name::Cookie | Name::ContentType
                );
            if !kept {
                names.push(token);
            }
        }
        Self(names)
    }

    fn names(&self, name: &[u8]) -> bool {
        self.0.iter().any(|token| token.eq_ignore_ascii_case(name))
    }
}

/// Trailers as they are passed on: without those that a recipient must not take from there (RFC 9110
/// section 6.5.1), framing and routing above all.
pub(super) fn plain_trailers(mut trailers: Fields) -> Fields {
    trailers.retain(|f| {
        !(is_ours(f, RequestBody::None)
            || matches!(
                f.id,
                Name::Authorization
                    | Name::CacheControl
                    | Name::ContentEncoding
                    | Name::ContentRange
                    | Name::ContentType
                    | Name::Cookie
                    | Name::Forwarded
                    | Name::ProxyAuthorization
                    | Name::SetCookie
            ))
    });
    trailers
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use weir_http1::RequestParser;

    use super::*;

    fn request(text: &str) -> RequestHead {
        let mut parser = RequestParser::new();
        let len = parser.advance(text.as_bytes()).unwrap().unwrap();
        parser.finish(text.as_bytes()[..len].to_vec()).unwrap()
    }

    fn head(req: &RequestHead, trusted: &[IpNet]) -> String {
        let origin = Origin::find("127.0.0.9".parse().unwrap(), trusted, &req.fields);
        let mut out = Vec::new();
        let fwd = Forward {
            origin,
            id: "0123",
            scheme: "http",
            identity: None,
            upstream: "api",
            body: RequestBody::None,
            upgrade: req.upgrades().next().is_some(),
            ops: &HeaderOps::default(),
        };
        write_head(&mut out, req, &fwd);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_stranger_claims_is_not_passed_on() {
        let req = request(
            "GET /a?b HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\n\
             x-client-cert-subject: CN=root\r\nX-Client-Cert-Fingerprint: 00\r\n\
             x-forwarded-proto: https\r\nx-request-id: mine\r\nconnection: x-hop, keep-alive, authorization\r\n\
             x-hop: 1\r\nauthorization: Bearer t\r\naccept: */*\r\n\r\n",
        );
        assert_eq!(
            head(&req, &[]),
            "GET /a?b HTTP/1.1\r\nHost: x\r\nauthorization: Bearer t\r\naccept: */*\r\nX-Request-Id: 0123\r\n\
             X-Real-IP: 127.0.0.9\r\nX-Forwarded-For: 127.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: x\r\n\r\n"
        );
    }

    #[test]
    fn claims_in_other_spellings_are_no_better() {
        let req = request(
            "GET / HTTP/1.1\r\nhost: x\r\nforwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n\
             x-forwarded-port: 1\r\nx_real-ip: 6.6.6.6\r\nx-forwarded: kept\r\n\r\n",
        );
        let text = head(&req, &[]);
        assert!(
            !text.contains("6.6.6.6") && !text.contains("port"),
            "{text}"
        );
        assert!(text.contains("x-forwarded: kept\r\n"), "{text}");
        let text = head(&req, &["127.0.0.0/8".parse().unwrap()]);
        assert!(text.contains("forwarded: for=6.6.6.6\r\n"), "{text}");
        assert!(text.contains("x-forwarded-port: 1\r\n"), "{text}");
        assert!(!text.contains("X_F") && !text.contains("x_real"), "{text}");
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let trusted = ["127.0.0.0/8".parse().unwrap()];
        let req = request(
            "GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 6.6.6.6, 5.5.5.5\r\n\
             x-forwarded-for: 127.0.0.7\r\nx-forwarded-proto: https\r\n\r\n",
        );
        let text = head(&req, &trusted);
        assert!(text.contains("X-Real-IP: 5.5.5.5\r\n"), "{text}");
        assert!(
            text.contains("X-Forwarded-For: 6.6.6.6, 5.5.5.5, 127.0.0.7, 127.0.0.9\r\n"),
            "{text}"
        );
        assert!(text.contains("X-Forwarded-Proto: https\r\n"), "{text}");
    }

    proptest! {
        /// The server reads the same request as this proxy did, whatever the client sent.
        #[test]
        fn what_is_forwarded_parses_to_the_same_request(
            target in "(/|http://b)[!-~&&[^#]]{0,20}",
            fields in prop::collection::vec(("[A-Za-z-]{1,10}", "[ -~\t]{0,20}"), 0..6),
        ) {
            let fields: String = fields.iter().map(|(name, value)| format!("X-{name}:{value}\r\n")).collect();
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut parser = RequestParser::new();
            prop_assume!(matches!(parser.advance(text.as_bytes()), Ok(Some(_))));
            let req = parser.finish(text.into_bytes()).unwrap();
            let again = request(&head(&req, &[]));
            prop_assert_eq!(&req.method, &again.method);
            prop_assert_eq!(req.origin_form(), again.target());
            prop_assert_eq!(req.authority(), again.authority());
            let pairs = |head: &RequestHead| -> Vec<(Vec<u8>, Vec<u8>)> {
                let theirs = |f: &Field<'_>| !is_ours(*f, RequestBody::None);
                head.fields.iter().filter(theirs).map(|f| (f.name.to_vec(), f.value.to_vec())).collect()
            };
            prop_assert_eq!(pairs(&req), pairs(&again));
        }
    }

    #[test]
    fn the_host_is_that_of_an_absolute_target() {
        let text = head(&request("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n"), &[]);
        assert!(text.starts_with("GET /x HTTP/1.1\r\nHost: b\r\n"), "{text}");
        let text = head(&request("GET / HTTP/1.0\r\n\r\n"), &[]);
        assert!(
            text.starts_with("GET / HTTP/1.1\r\nHost: api\r\n"),
            "{text}"
        );
    }

    #[test]
    fn an_upgrade_and_trailers_are_offered_anew() {
        let text = head(
            &request(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
            ),
            &[],
        );
        assert!(
            text.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"),
            "{text}"
        );
        let text = head(
            &request("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers, gzip\r\n\r\n"),
            &[],
        );
        assert!(
            text.contains("Connection: TE\r\nTE: trailers\r\n"),
            "{text}"
        );
        assert!(!text.contains("gzip"), "{text}");
    }
}

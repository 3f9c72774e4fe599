//! Who is at the other end of a client's connection.

use std::net::{Ipv4Addr, SocketAddr};

use rustls::{HandshakeKind, ServerConnection};

use crate::observe::access_log::TlsEntry;
use crate::proxy_protocol::Origin;
use crate::tls::ClientIdentity;

/// The address of whoever connects to a Unix socket: somebody on this machine.
pub(super) const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// HTTP/2 as ALPN calls it (RFC 9113 section 3.2).
const ALPN_HTTP2: &[u8] = b"h2";

/// Who is at the other end, as far as the connection itself tells.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where it connects from, or what a PROXY header of a trusted sender says; [`LOCAL`] on a Unix socket.
    pub(super) address: SocketAddr,
    /// Where it connected to, as far as that is known.
    pub(super) local: Option<SocketAddr>,
    /// None in the clear.
    pub(super) tls: Option<Box<Secure>>,
}

/// What was agreed on in a handshake.
#[derive(Debug)]
pub(super) struct Secure {
    /// `1.2` or `1.3`.
    pub(super) version: &'static str,
    /// The suite by its name in IANA's registry.
    pub(super) cipher: &'static str,
    /// The name that the client asked for.
    pub(super) server_name: Option<Box<str>>,
    /// The holder of a client certificate.
    pub(super) identity: Option<ClientIdentity>,
    /// Whether an earlier session goes on.
    pub(super) resumed: bool,
    /// Whether HTTP/2 was agreed on (ALPN).
    pub(super) http2: bool,
}

impl Peer {
    /// In the clear.
    pub(super) fn plain(address: SocketAddr, local: Option<SocketAddr>) -> Self {
        Self {
            address,
            local,
            tls: None,
        }
    }

    /// What a server is told of it in a PROXY header.
    pub(super) fn origin(&self) -> Origin {
        match self.local {
            Some(destination) => Origin::Client {
                source: self.address,
                destination,
            },
            None => Origin::Unknown,
        }
    }

    /// The scheme of its requests.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The holder of its certificate.
    pub(super) fn identity(&self) -> Option<&ClientIdentity> {
        self.tls.as_ref()?.identity.as_ref()
    }
}

impl Secure {
    /// After a handshake.
    pub(super) fn of(session: &ServerConnection) -> Self {
        let suite = session.negotiated_cipher_suite();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        Self {
            version: version(session),
            cipher: suite
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
            server_name: session.server_name().map(Box::from),
            identity: shown.and_then(ClientIdentity::of),
            http2: session.alpn_protocol() == Some(ALPN_HTTP2),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl Secure {
    /// What the access log tells.
    pub(super) fn entry(&self) -> TlsEntry<'_> {
        let identity = self.identity.as_ref();
        TlsEntry {
            version: self.version,
            cipher: self.cipher,
            server_name: self.server_name.as_deref(),
            resumed: self.resumed,
            client: identity.map(|it| (it.subject.as_str(), it.fingerprint.as_str())),
        }
    }
}

/// `1.2`, `1.3`, or `none` as long as none is agreed on.
pub(super) fn version(session: &ServerConnection) -> &'static str {
    match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        _ => "none",
    }
}

//! Where a request comes from and who makes it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use weir_api::endpoints::Scope;

use super::tokens::Holder;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over the Unix socket; the user's id when the system tells.
    Unix(Option<u32>),
}

/// Whose connections and requests are counted together: those of one address (IPv6: one /64 network, which is
/// what one machine gets), or of one user on the Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::admin) enum Origin {
    /// An address, or the first of a network.
    Address(IpAddr),
    /// A user's id when the system tells.
    User(Option<u32>),
}

impl Peer {
    /// With whom it is counted.
    pub(in crate::admin) fn origin(self) -> Origin {
        match self {
            Self::Unix(uid) => Origin::User(uid),
            Self::Tcp(from) => Origin::Address(match from.ip().to_canonical() {
                IpAddr::V6(ip) => {
                    let [a, b, c, d, ..] = ip.segments();
                    IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
                }
                ip @ IpAddr::V4(_) => ip,
            }),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(uid)) => write!(f, "unix socket, uid {uid}"),
            Self::Unix(None) => f.write_str("unix socket"),
        }
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) enum Caller {
    /// Someone on this machine, while there are no tokens or through the Unix socket.
    Trusted,
    /// Who holds a token.
    Holder(Holder),
    /// Nobody in particular.
    Anonymous,
}

impl Caller {
    /// Whether it may do what needs this scope.
    pub(in crate::admin) fn may(&self, scope: Scope) -> bool {
        match self {
            _ if scope == Scope::Open => true,
            Self::Trusted => true,
            Self::Holder(holder) => holder.scopes.contains(&scope),
            Self::Anonymous => false,
        }
    }

    /// The name of the token that was shown.
    pub(in crate::admin) fn token(&self) -> Option<&str> {
        match self {
            Self::Holder(holder) => Some(&holder.name),
            Self::Trusted | Self::Anonymous => None,
        }
    }

    /// The author of a change: what the request says of itself, and the token, which is what is known.
    pub(in crate::admin) fn author(&self, said: &str) -> String {
        match (self.token(), said) {
            (None, "") => "admin API".to_owned(),
            (None, said) => said.to_owned(),
            (Some(token), "") => token.to_owned(),
            (Some(token), said) if token == said => token.to_owned(),
            (Some(token), said) => format!("{said} (token {token})"),
        }
    }
}

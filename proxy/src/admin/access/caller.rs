//! Where a request comes from and who makes it.

use std::{fmt, net::SocketAddr};

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

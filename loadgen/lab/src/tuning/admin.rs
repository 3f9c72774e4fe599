//! Where the admin API of a proxy under test is, and what it wants to see.

use std::{fmt, net::SocketAddr};

use weir_api::client::{AdminClient, ClientError, Credentials, Node};

/// An admin API, with the token that it asks for, if it asks for one.
#[derive(Clone)]
pub struct AdminAt {
    address: SocketAddr,
    token: Option<String>,
}

impl AdminAt {
    /// One that wants a token.
    #[must_use]
    pub fn with_token(address: SocketAddr, token: String) -> Self {
        Self {
            address,
            token: Some(token),
        }
    }

    pub(crate) fn client(&self) -> Result<AdminClient, ClientError> {
        let credentials = Credentials {
            token: self.token.clone(),
            ca: None,
        };
        AdminClient::with(Node::from(self.address), credentials)
    }
}

impl From<SocketAddr> for AdminAt {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
        }
    }
}

impl fmt::Debug for AdminAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is nobody's business.
        write!(f, "AdminAt({})", self.address)
    }
}

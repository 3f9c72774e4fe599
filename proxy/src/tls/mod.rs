//! TLS: certificates and keys read and checked, the certificate chosen by name, client certificates,
//! connections to servers.
//!
//! Nothing here knows a socket or a runtime: the engine keeps a [`ServerTls`] for a listener and a
//! [`ClientTls`] for an upstream, and asks each for the configuration of the next handshake. Files that
//! change are read again by `refresh`; what is wrong with them leaves those before in use.

mod certificate;
mod client;
mod credentials;
mod identity;
mod names;
mod pair;
mod read;
mod server;
mod stamp;

pub use client::{ClientTls, handshake_failure};
pub use credentials::{Credentials, Upstreams};
pub use identity::ClientIdentity;
pub use pair::Pair;
pub use read::FileError;
pub use server::{Alpn, ServerTls};

use weir_api::settings::{Path, Problem};

/// What is wrong with one field of a `tls` table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {error}; right would be: {}", error.remedy())]
pub struct TlsProblem {
    /// The field within the table, such as `certificates[1].key`.
    pub field: Path,
    /// What is wrong.
    pub error: FileError,
}

/// Everything that is wrong with a `tls` table; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct TlsProblems(pub Vec<TlsProblem>);

impl TlsProblem {
    /// The same as a problem of a document in which the table is at `table`.
    #[must_use]
    pub fn at(&self, table: &Path) -> Problem {
        let path = table.join(&self.field);
        Problem::new(path, self.error.to_string(), self.error.remedy())
    }
}

/// What a refresh of changed files came to.
#[derive(Debug)]
pub enum Refreshed {
    /// No file has changed.
    Unchanged,
    /// The new files are in use.
    Replaced,
    /// Something is wrong with the new files; the old ones stay in use.
    Kept(TlsProblems),
}

#[cfg(test)]
mod tests;

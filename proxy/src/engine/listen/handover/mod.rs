//! Listening sockets that pass from a running process to its successor.
//!
//! The successor (`weir run --upgrade`) opens everything of its own that can fail, and then waits at
//! `server.upgrade_socket`. On SIGQUIT the running process connects to it:
//!
//! | who | says | and then |
//! |---|---|---|
//! | running | `offer`: protocol, version, names of its sockets; then the sockets | both hold them, the running one accepts |
//! | successor | `ready`, or `failed` and why | from now on nothing of its own can fail |
//! | running | `serve`, when the successor has lived for [`PROBATION`] | |
//! | successor | `serving` | it accepts; the running one stops accepting and drains |
//! | successor | `leaving`, when it ends in good order | the running one goes on draining |
//! | running | `withdrawn`, when it stops or gives up before `serving` | the successor gives up |
//!
//! Until `serving` the running process serves as if nothing were, whatever becomes of the successor. Should the running
//! one die before, without `withdrawn`, a successor that has the sockets serves. After `serving` the
//! running one keeps the sockets while it drains: should the connection end without `leaving`, the successor has
//! died, and the running one takes the clients back. A side that has waited too long stops reading before it
//! looks a last time for the word it waits for: either that word has arrived, or the other side cannot send it any
//! more. So the two never both believe that they serve, nor that the other does.
//!
//! Both sides ask the kernel who the other is; only a process of the same user is dealt with.

mod lock;
mod offer;
mod wait;
mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_api::config::ListenAddress;

pub use self::offer::{After, Successor, hand_over};
pub use self::wait::{Inherited, Offered, Predecessor, Waiting};

/// Version of the protocol. Sides that speak different ones do not deal with each other.
const PROTOCOL: u32 = 1;
/// How long a successor waits for the running process.
pub const WAIT: Duration = Duration::from_secs(10);
/// How long the running process looks for a successor after SIGQUIT.
pub const FIND: Duration = Duration::from_secs(3);
/// How long one side waits for a word of the other.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a successor has to live, ready and not yet serving, before it is trusted.
pub const PROBATION: Duration = Duration::from_secs(1);

/// What a socket is for, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// A `[[listener]]`, by its address.
    Listener(std::net::SocketAddr),
    /// A `[[listener]]` that is a Unix socket, by its path.
    ListenerSocket(PathBuf),
    /// `admin.listen`.
    Admin(std::net::SocketAddr),
    /// `admin.socket`.
    AdminSocket(PathBuf),
}

impl From<&ListenAddress> for Name {
    fn from(address: &ListenAddress) -> Self {
        match address {
            ListenAddress::Inet(address) => Self::Listener(*address),
            ListenAddress::Unix(path) => Self::ListenerSocket(path.clone()),
        }
    }
}

/// What one side tells the other.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    Offer {
        protocol: u32,
        version: String,
        sockets: Vec<Name>,
    },
    Ready,
    Failed(String),
    Serve,
    Serving,
    Leaving,
    Withdrawn,
}

/// Why sockets did not pass. The running process goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// Another process waits for the sockets.
    #[error(
        "another weir with --upgrade waits at {} already; let it finish, or end it", path.display()
    )]
    Taken {
        /// `server.upgrade_socket`.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("server.upgrade_socket: cannot listen on {}: {cause}", path.display())]
    Socket {
        /// `server.upgrade_socket`.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Nobody came.
    #[error(
        "no running weir has offered its sockets through {} within {} s: send it SIGQUIT while this one waits",
        path.display(), WAIT.as_secs()
    )]
    NoPredecessor {
        /// `server.upgrade_socket`.
        path: PathBuf,
    },
    /// Nobody waits.
    #[error("no process started with --upgrade waits at {}", path.display())]
    NoSuccessor {
        /// `server.upgrade_socket`.
        path: PathBuf,
    },
    /// The other side belongs to someone else.
    #[error("the process at the other end belongs to user {theirs}, this one to user {ours}")]
    Foreign {
        /// Effective user of the other process.
        theirs: u32,
        /// Effective user of this one.
        ours: u32,
    },
    /// The other side speaks another protocol.
    #[error(
        "the running weir ({version}) hands over by protocol {theirs}, this one by {PROTOCOL}: restart instead"
    )]
    Protocol {
        /// Version of the running program.
        version: String,
        /// Its protocol.
        theirs: u32,
    },
    /// The successor says that it cannot serve.
    #[error("the successor cannot serve: {0}")]
    Failed(String),
    /// The other side has ended or hung up.
    #[error("the other process has ended, or has given up")]
    Ended,
    /// The running process stops, or goes on by itself.
    #[error("the running weir has withdrawn its sockets: it has been told to stop, or goes on")]
    Withdrawn,
    /// The other side does not answer.
    #[error("the other process does not answer")]
    Silent,
    /// What came is no message of this protocol, or not the one that is due.
    #[error("not understood: {0}")]
    Garbled(String),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests;

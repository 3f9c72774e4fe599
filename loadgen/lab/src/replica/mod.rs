//! The stand-in API: the documented endpoints with a capacity that is declared, not guessed.
//!
//! [`start`] serves on a thread of its own; `weir-bench replica` does so in a process.

mod bodies;
mod capacity;
mod fault;
mod listen;
mod null;
pub mod secure;
mod server;
mod stats;
mod token;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
};

pub use self::{
    capacity::{Capacity, Distribution, Work},
    secure::Certificate,
};

/// What a stand-in serves.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// Name, sent in `X-Replica`.
    pub name: String,
    /// Addresses to listen on; port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    /// What it does.
    pub kind: Kind,
}

/// What a stand-in does.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The documented endpoints with login and token.
    Api {
        /// Declared capacity; `None` answers as fast as it can.
        capacity: Option<Capacity>,
        /// Key of the tokens; replicas that share it accept each other's.
        secret: String,
    },
    /// The same small answer to everything, at the least possible cost.
    Null {
        /// Size of the body, bytes.
        body: usize,
        /// Time until each answer; zero answers at once.
        delay: Duration,
    },
}

/// Key of the tokens when nobody chooses another; stand-ins keep nothing worth protecting.
pub const DEFAULT_SECRET: &str = "weir-stand-in-api";

/// A stand-in that is running; stops when dropped.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Where it listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops it: no new connections, requests in flight are answered, then the end.
    ///
    /// # Errors
    ///
    /// When serving ended with an error, or its thread panicked.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let _ = self.stop.send(true);
        match self.thread.take() {
            Some(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the stand-in panicked"))),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Starts a stand-in on a thread of its own; it accepts connections when this returns.
///
/// # Errors
///
/// When an address cannot be bound or a thread cannot be started.
pub fn start(config: ReplicaConfig) -> io::Result<Running> {
    begin(config, None)
}

/// Starts a stand-in that speaks TLS; HTTP/2 and HTTP/1.1 are offered through ALPN.
///
/// # Errors
///
/// As [`start`], and when the certificate cannot be made, read or written.
pub fn start_secure(config: ReplicaConfig, certificate: &Certificate) -> io::Result<Running> {
    begin(config, Some(secure::configuration(certificate)?))
}

fn begin(config: ReplicaConfig, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Running> {
    let (listeners, addresses) = bind(&config.listen)?;
    let (stop, stopped) = watch::channel(false);
    let thread = std::thread::Builder::new()
        .name(format!("replica-{}", config.name))
        .spawn(move || serve(config, tls, listeners, stopped))?;
    Ok(Running {
        addresses,
        stop,
        thread: Some(thread),
    })
}

/// Binds all addresses or none.
pub fn bind(listen: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
    let mut listeners = Vec::with_capacity(listen.len());
    let mut addresses = Vec::with_capacity(listen.len());
    for address in listen {
        let listener = TcpListener::bind(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        listener.set_nonblocking(true)?;
        addresses.push(listener.local_addr()?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

/// Longest wait for requests in flight after a stop.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves until told to stop.
pub fn serve(
    config: ReplicaConfig,
    tls: Option<Arc<rustls::ServerConfig>>,
    listeners: Vec<TcpListener>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listeners = listeners
            .into_iter()
            .map(tokio::net::TcpListener::from_std)
            .collect::<io::Result<Vec<_>>>()?;
        match config.kind {
            Kind::Api { capacity, secret } => {
                let api = server::Server {
                    name: config.name,
                    capacity,
                    secret,
                    tls,
                };
                server::serve(api, listeners, stop, DRAIN).await
            }
            Kind::Null { body, delay } => null::serve(body, delay, tls, listeners, stop).await,
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! Live metrics of the client for Prometheus: what [`weir_load::progress::Progress`] tells, on an HTTP
//! endpoint of its own (`run --metrics 127.0.0.1:9464`).
//!
//! Figures change once a second, when the collecting thread has merged what the workers recorded;
//! a scrape never touches a worker.

mod book;
mod histogram;
mod server;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
};

use tokio::sync::oneshot;
use weir_load::progress::Progress;

use self::book::Book;

/// A metrics endpoint cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address cannot be used.
    #[error("--metrics {address}: {cause}; choose a free port, or port 0 for any")]
    Listen {
        /// As given.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// A metric cannot be registered; a defect of this program.
    #[error("metrics: {0}")]
    Register(#[from] prometheus::Error),
    /// The thread cannot be started.
    #[error("starting the thread that serves metrics: {0}")]
    Thread(io::Error),
}

/// The endpoint; it ends when this is dropped.
pub struct Endpoint {
    address: SocketAddr,
    book: Arc<Book>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens on `address` and answers `GET /metrics` in a thread of its own. `scenario` and
    /// `subject` become labels of `weir_bench_run_info`.
    ///
    /// # Errors
    ///
    /// When the address cannot be used or the thread not be started.
    pub fn start(address: SocketAddr, scenario: &str, subject: &str) -> Result<Self, MetricsError> {
        let listen = |cause| MetricsError::Listen { address, cause };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let book = Arc::new(Book::new(scenario, subject)?);
        let (stop, stopped) = oneshot::channel();
        let served = book.clone();
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(move || server::serve(listener, &served, stopped))
            .map_err(MetricsError::Thread)?;
        Ok(Self {
            address: bound,
            book,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the run tells how it goes.
    #[must_use]
    pub fn progress(&self) -> Arc<dyn Progress> {
        self.book.clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

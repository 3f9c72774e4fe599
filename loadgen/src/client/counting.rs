//! Knowing when `reqwest` opens a connection: a layer around its connector that takes note.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tower_layer::Layer;
use tower_service::Service;

/// Connections that one client opened. A request costs one look at a counter; the lock is taken only
/// where a connection was opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Counting(Arc<Opened>);

#[derive(Debug, Default)]
struct Opened {
    count: AtomicU64,
    times: Mutex<Vec<Duration>>,
}

impl Counting {
    /// How long the next connection that was not asked for yet took, TLS handshake included.
    pub(super) fn take(&self) -> Option<Duration> {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let taken = self.0.times.lock().pop();
        if taken.is_some() {
            self.0.count.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    fn opened(&self, took: Duration) {
        self.0.times.lock().push(took);
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            counting: self.clone(),
        }
    }
}

/// A connector whose successes are counted.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    inner: S,
    counting: Counting,
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let began = Instant::now();
        let connecting = self.inner.call(request);
        let counting = self.counting.clone();
        Box::pin(async move {
            let connection = connecting.await?;
            counting.opened(began.elapsed());
            Ok(connection)
        })
    }
}

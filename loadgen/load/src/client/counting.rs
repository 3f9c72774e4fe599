//! Knowing when `reqwest` opens a connection: a layer around its connector that takes note.

use std::{
    future::poll_fn,
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
        Counted(Arc::new(Shared {
            inner: Mutex::new(inner),
            counting: self.clone(),
        }))
    }
}

/// A connector whose successes are counted.
///
/// `reqwest` and `hyper` clone their connector six times a request, connection or not: a clone of
/// this one is one more owner of it. What is under it is cloned once a connection.
#[derive(Debug)]
pub(super) struct Counted<S>(Arc<Shared<S>>);

#[derive(Debug)]
struct Shared<S> {
    inner: Mutex<S>,
    counting: Counting,
}

// Derived, it would ask the same of what is under it.
impl<S> Clone for Counted<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    /// Always ready: each connection asks a connector of its own.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let began = Instant::now();
        let mut connector = self.0.inner.lock().clone();
        let counting = self.0.counting.clone();
        Box::pin(async move {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            let connection = connector.call(request).await?;
            counting.opened(began.elapsed());
            Ok(connection)
        })
    }
}

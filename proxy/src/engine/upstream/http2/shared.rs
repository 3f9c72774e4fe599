//! The shared connections of one upstream, and who may open another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::ConnectError;
use crate::limit::monotonic_ms;
use crate::upstream::Endpoint;

/// Streams that are taken to fit on a connection whose server has not told yet.
pub(super) const USUAL_STREAMS: usize = 100;

/// How the opening of a connection ended; none while it is under way.
pub(in super::super::super) type Opened = Option<Result<(), ConnectError>>;

/// The shared connections of one upstream, to all its servers, of all threads.
#[derive(Debug, Default)]
pub(in super::super) struct SharedConns {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    conns: Vec<Arc<SharedConn>>,
    opening: Vec<Opening>,
    /// How many streams a server allowed last.
    allowed: HashMap<Endpoint, usize>,
    next_id: u64,
}

/// A connection on its way, and how many requests wait for it.
#[derive(Debug)]
struct Opening {
    id: u64,
    address: Endpoint,
    home: ThreadId,
    waiting: usize,
    opened: watch::Receiver<Opened>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct SharedConn {
    address: Endpoint,
    /// The thread whose event loop has the socket.
    home: ThreadId,
    sender: SendRequest<Bytes>,
    streams: AtomicUsize,
    /// Streams so far.
    served: AtomicU64,
    /// When the last stream ended, in milliseconds of [`monotonic_ms`].
    idle_since: AtomicU64,
}

/// One stream's place on a connection.
#[derive(Debug)]
pub(in super::super::super) struct Lease {
    conn: Arc<SharedConn>,
    reused: bool,
}

/// What a request that needs a stream gets.
#[derive(Debug)]
pub(in super::super::super) enum Place {
    /// A stream of an open connection.
    Free(Lease),
    /// A connection is on its way and has room: ask again once it is there.
    Wait(watch::Receiver<Opened>),
    /// A connection is to be opened, by whoever got this.
    Open(Permit),
}

/// The right to open a connection. Others wait for it until it is dropped.
#[derive(Debug)]
pub(in super::super::super) struct Permit {
    pub(super) conns: Arc<SharedConns>,
    pub(super) address: Endpoint,
    id: u64,
    opened: watch::Sender<Opened>,
}

// === impl SharedConns ===

impl SharedConns {
    /// A place for a stream to `address`.
    pub(in super::super) fn place(self: &Arc<Self>, address: Endpoint) -> Place {
        let here = thread::current().id();
        let mut inner = self.inner.lock();
        if let Some(lease) = inner.lease(address, here) {
            return Place::Free(lease);
        }
        let room = *inner.allowed.get(&address).unwrap_or(&USUAL_STREAMS);
        let on_its_way = inner
            .opening
            .iter_mut()
            .find(|it| it.address == address && it.home == here && it.waiting < room);
        if let Some(opening) = on_its_way {
            opening.waiting += 1;
            return Place::Wait(opening.opened.clone());
        }
        let (sender, opened) = watch::channel(None);
        let id = inner.next_id;
        inner.next_id += 1;
        inner.opening.push(Opening {
            id,
            address,
            home: here,
            waiting: 1,
            opened,
        });
        Place::Open(Permit {
            conns: Arc::clone(self),
            address,
            id,
            opened: sender,
        })
    }

    /// Takes a connection up. Returns it for its task, to take it out again.
    pub(super) fn add(&self, address: Endpoint, sender: SendRequest<Bytes>) -> Arc<SharedConn> {
        let conn = Arc::new(SharedConn {
            address,
            home: thread::current().id(),
            sender,
            streams: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            idle_since: AtomicU64::new(monotonic_ms()),
        });
        let mut inner = self.inner.lock();
        inner.allowed.insert(address, conn.max_streams());
        inner.conns.push(Arc::clone(&conn));
        conn
    }

    /// Gives no more streams of this connection away.
    pub(super) fn remove(&self, conn: &Arc<SharedConn>) {
        self.inner.lock().conns.retain(|it| !Arc::ptr_eq(it, conn));
    }

    /// Closes idle connections beyond `cap`, those idle for longer than `limit`, and takes out those
    /// that the server is about to close.
    pub(in super::super) fn sweep(&self, limit: Duration, cap: usize) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let now = monotonic_ms();
        let mut closed = self.take_where(|conn| {
            !conn.is_open() || conn.idle_for(now).is_some_and(|idle| idle >= limit)
        });
        while self.len() > cap {
            closed.extend(self.take_oldest());
        }
    }

    /// Gives no more streams to `address` away: its connections close once they are idle.
    pub(in super::super) fn close_to(&self, address: Endpoint) {
        drop(self.take_where(|conn| conn.address == address));
    }

    /// How long the longest idle connection has been idle.
    pub(in super::super) fn oldest(&self) -> Option<Duration> {
        let now = monotonic_ms();
        let inner = self.inner.lock();
        let idle = inner.conns.iter().filter_map(|conn| conn.idle_for(now));
        idle.max().map(Duration::from_millis)
    }

    /// Takes the longest idle connection out, which closes it.
    pub(in super::super) fn close_oldest(&self) -> bool {
        self.take_oldest().is_some()
    }

    /// How many connections are idle.
    pub(in super::super) fn len(&self) -> usize {
        let inner = self.inner.lock();
        inner.conns.iter().filter(|conn| conn.is_idle()).count()
    }

    /// How many connections to `address` are idle.
    pub(in super::super) fn len_to(&self, address: Endpoint) -> usize {
        let inner = self.inner.lock();
        let idle = inner.conns.iter().filter(|conn| conn.is_idle());
        idle.filter(|conn| conn.address == address).count()
    }

    fn take_oldest(&self) -> Option<Arc<SharedConn>> {
        let now = monotonic_ms();
        let mut inner = self.inner.lock();
        let idle = inner.conns.iter().enumerate();
        let (at, _) = idle
            .filter_map(|(at, conn)| Some((at, conn.idle_for(now)?)))
            .max_by_key(|(_, idle)| *idle)?;
        Some(inner.conns.swap_remove(at))
    }

    /// They are dropped outside the lock, which may close them.
    fn take_where(&self, mut is: impl FnMut(&SharedConn) -> bool) -> Vec<Arc<SharedConn>> {
        let mut inner = self.inner.lock();
        inner.conns.extract_if(.., |conn| is(conn)).collect()
    }
}

impl Inner {
    /// A stream on the fullest connection of this thread that has room, so that others become idle.
    fn lease(&mut self, address: Endpoint, here: ThreadId) -> Option<Lease> {
        self.conns
            .retain(|conn| conn.address != address || conn.home != here || conn.is_open());
        let mine = self
            .conns
            .iter()
            .filter(|conn| conn.address == address && conn.home == here);
        let conn = mine
            .filter(|conn| conn.streams.load(Ordering::Relaxed) < conn.max_streams())
            .max_by_key(|conn| conn.streams.load(Ordering::Relaxed))?;
        // Under the lock, so that no more are given away than there are.
        conn.streams.fetch_add(1, Ordering::Relaxed);
        Some(Lease {
            conn: Arc::clone(conn),
            reused: conn.served.fetch_add(1, Ordering::Relaxed) > 0,
        })
    }
}

// === impl SharedConn ===

impl SharedConn {
    /// How many streams the server allows at once.
    fn max_streams(&self) -> usize {
        self.sender.current_max_send_streams().max(1)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Relaxed) == 0
    }

    /// For how long no stream has been open, in milliseconds; none if one is.
    fn idle_for(&self, now: u64) -> Option<u64> {
        let since = self.idle_since.load(Ordering::Relaxed);
        self.is_idle().then(|| now.saturating_sub(since))
    }

    /// Whether new streams may be opened: not after GOAWAY, nor after the end.
    fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(
            self.sender.clone().poll_ready(&mut cx),
            std::task::Poll::Ready(Err(_))
        )
    }
}

// === impl Lease ===

impl Lease {
    /// Whether there was another stream on the connection before.
    pub(in super::super::super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.conn.sender.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.conn
            .idle_since
            .store(monotonic_ms(), Ordering::Relaxed);
        self.conn.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Permit ===

impl Permit {
    /// How it ends, for those who wait.
    pub(in super::super::super) fn watch(&self) -> watch::Receiver<Opened> {
        self.opened.subscribe()
    }

    /// Tells those who wait how it ended.
    pub(in super::super::super) fn finish(self, result: Result<(), ConnectError>) {
        self.opened.send_replace(Some(result));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.conns.inner.lock();
        inner.opening.retain(|opening| opening.id != self.id);
    }
}

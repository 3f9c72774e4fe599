//! Connections of one upstream that are kept (nginx: `keepalive`): idle ones of HTTP/1, and the shared ones
//! of HTTP/2.
//!
//! One cap for the whole upstream, over all its servers and all threads, changeable while running.
//! The least recently used connection is closed first; the most recently used is handed out first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::http1::Conn;
use super::http2::{Place, SharedConns};
use crate::upstream::Endpoint;

/// Idle connections, least recently used first, and shared ones.
#[derive(Debug, Default)]
pub(in super::super) struct IdlePool {
    idle: Mutex<VecDeque<Idle>>,
    shared: Arc<SharedConns>,
}

#[derive(Debug)]
struct Idle {
    conn: Box<Conn>,
    since: Instant,
    /// The thread whose event loop knows the socket: waking across threads costs more.
    home: ThreadId,
}

impl IdlePool {
    /// A stream of an HTTP/2 connection to `address` of this thread, or the way to one.
    pub(in super::super) fn place(&self, address: Endpoint) -> Place {
        self.shared.place(address)
    }

    /// The most recently used idle connection to `address` that is still open, preferably one of
    /// this thread.
    pub(in super::super) fn take(&self, address: Endpoint) -> Option<Box<Conn>> {
        let here = thread::current().id();
        loop {
            let mut idle = self.idle.lock();
            let mut found = None;
            for (at, entry) in idle.iter().enumerate().rev() {
                if entry.conn.address() == address {
                    if entry.home == here {
                        found = Some(at);
                        break;
                    }
                    found = found.or(Some(at));
                }
            }
            let mut entry = idle.remove(found?)?;
            // Looked at, and closed if need be, outside the lock.
            drop(idle);
            if entry.conn.is_quiet() {
                return Some(entry.conn);
            }
        }
    }

    /// Keeps `conn`, closing the least recently used ones above `cap`.
    pub(in super::super) fn put(&self, mut conn: Box<Conn>, cap: usize) {
        conn.rest();
        let entry = Idle {
            conn,
            since: Instant::now(),
            home: thread::current().id(),
        };
        let mut closed = Vec::new();
        {
            let mut idle = self.idle.lock();
            idle.push_back(entry);
            while idle.len() > cap {
                closed.extend(idle.pop_front());
            }
        }
        // Sockets are closed outside the lock.
        drop(closed);
    }

    /// Closes what has been idle for `limit`, is above `cap`, or was closed by the server.
    pub(in super::super) fn sweep(&self, limit: Duration, cap: usize) {
        self.shared.sweep(limit, cap);
        let now = Instant::now();
        let mut closed = Vec::new();
        {
            let mut idle = self.idle.lock();
            while idle.len() > cap {
                closed.extend(idle.pop_front());
            }
            let mut at = 0;
            while let Some(entry) = idle.get_mut(at) {
                if now.duration_since(entry.since) >= limit || !entry.conn.is_quiet() {
                    closed.extend(idle.remove(at));
                } else {
                    at += 1;
                }
            }
        }
        drop(closed);
    }

    /// Closes every connection to `address`.
    pub(in super::super) fn close_to(&self, address: Endpoint) {
        self.shared.close_to(address);
        let closed: VecDeque<Idle>;
        {
            let mut idle = self.idle.lock();
            (closed, *idle) = std::mem::take(&mut *idle)
                .into_iter()
                .partition(|entry| entry.conn.address() == address);
        }
        drop(closed);
    }

    /// Since when the least recently used connection has been idle.
    pub(in super::super) fn oldest(&self) -> Option<Instant> {
        let kept = self.idle.lock().front().map(|entry| entry.since);
        let shared = self.shared.oldest();
        let shared = shared.and_then(|idle| Instant::now().checked_sub(idle));
        kept.into_iter().chain(shared).min()
    }

    /// Closes the least recently used connection, if there is any.
    pub(in super::super) fn close_oldest(&self) -> bool {
        let shared = self.shared.oldest();
        let closed = {
            let mut idle = self.idle.lock();
            let longer = idle.front().map(|entry| entry.since.elapsed());
            match longer >= shared {
                true => idle.pop_front(),
                false => None,
            }
        };
        closed.is_some() || self.shared.close_oldest()
    }

    /// How many connections are idle.
    pub(in super::super) fn len(&self) -> usize {
        self.idle.lock().len() + self.shared.len()
    }

    /// How many connections to `address` are idle.
    pub(in super::super) fn len_to(&self, address: Endpoint) -> usize {
        let kept = {
            let idle = self.idle.lock();
            let mine = idle.iter().filter(|it| it.conn.address() == address);
            mine.count()
        };
        kept + self.shared.len_to(address)
    }
}

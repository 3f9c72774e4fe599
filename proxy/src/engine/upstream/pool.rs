//! Idle connections of one upstream (nginx: `keepalive`).
//!
//! One cap for the whole upstream, over all its servers and all threads, changeable while running.
//! The least recently used connection is closed first; the most recently used is handed out first.

use std::collections::VecDeque;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::UpstreamConn;
use crate::upstream::Endpoint;

/// Idle connections, least recently used first.
#[derive(Debug, Default)]
pub(in super::super) struct IdlePool {
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    conn: Box<UpstreamConn>,
    since: Instant,
    /// The thread whose event loop knows the socket: waking across threads costs more.
    home: ThreadId,
}

impl IdlePool {
    /// The most recently used idle connection to `address` that is still open, preferably one of
    /// this thread.
    pub(in super::super) fn take(&self, address: Endpoint) -> Option<Box<UpstreamConn>> {
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
    pub(in super::super) fn put(&self, mut conn: Box<UpstreamConn>, cap: usize) {
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
        self.idle.lock().front().map(|entry| entry.since)
    }

    /// Closes the least recently used connection, if there is any.
    pub(in super::super) fn close_oldest(&self) -> bool {
        let closed = self.idle.lock().pop_front();
        closed.is_some()
    }

    /// How many connections are idle.
    pub(in super::super) fn len(&self) -> usize {
        self.idle.lock().len()
    }

    /// How many connections to `address` are idle.
    pub(in super::super) fn len_to(&self, address: Endpoint) -> usize {
        self.idle
            .lock()
            .iter()
            .filter(|entry| entry.conn.address() == address)
            .count()
    }
}

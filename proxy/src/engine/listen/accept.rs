//! Accepting connections.
//!
//! Each listener is accepted from on one thread, which gives every connection to the thread with the fewest
//! open ones, itself first. There the socket joins that thread's event loop and stays. If every thread waited on
//! the same listener, each new connection would wake all of them for nothing, and whoever is awake already would
//! get most of the connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_runtime::Runtime;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::super::conn;
use super::super::room::TRY_AGAIN;
use super::super::shared::Shared;
use super::super::slots::Side;
use super::establish::establish;
use super::queue::{Accepted, Next, Queue};
use super::socket::ListenSocket;
use super::terms::Terms;

/// How many connections may be accepted that nobody has decided on yet: each has a descriptor without a place.
pub(in crate::engine) const MAX_ARRIVING: u32 = 16;

/// How often the log says that there are no descriptors.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Whether listeners accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Accepting {
    /// They do.
    Open,
    /// They take what is in the queue, and close.
    Closing,
    /// They close at once: a successor has the sockets, with their queues.
    HandedOver,
}

/// The threads that connections go to, and the listeners that are accepted from.
pub(in crate::engine) struct Acceptors {
    place: Place,
    /// Tells the listeners when to close.
    accepting: Mutex<watch::Sender<Accepting>>,
}

/// One thread of the runtime.
struct Worker {
    handle: Handle,
    /// Its open connections, from accepting to closing.
    open: AtomicU32,
}

/// What the acceptors of all listeners have in common.
#[derive(Clone)]
struct Place {
    shared: Arc<Shared>,
    workers: Arc<[Worker]>,
    arriving: Arc<Arriving>,
}

/// Connections that are accepted and not decided on yet.
#[derive(Default)]
struct Arriving {
    count: AtomicU32,
    decided: Notify,
}

struct Acceptor {
    queue: Queue,
    terms: Arc<Terms>,
    place: Place,
    /// The thread that it runs on.
    here: usize,
    said: Option<Instant>,
}

impl Acceptors {
    pub(in crate::engine) fn new(runtime: &Runtime, shared: &Arc<Shared>) -> Self {
        Self {
            place: Place {
                shared: Arc::clone(shared),
                workers: handles(runtime).map(Worker::new).collect(),
                arriving: Arc::default(),
            },
            accepting: Mutex::new(watch::Sender::new(Accepting::HandedOver)),
        }
    }

    /// Accepts from `listeners`, which must not block, until [`Acceptors::close`].
    pub(in crate::engine) fn start(&self, listeners: Vec<(ListenSocket, Arc<Terms>)>) {
        let (accepting, follow) = watch::channel(Accepting::Open);
        for (at, (listener, terms)) in listeners.into_iter().enumerate() {
            let here = at % self.place.workers.len().max(1);
            let Some(worker) = self.place.workers.get(here) else {
                return;
            };
            let (place, follow) = (self.place.clone(), follow.clone());
            worker.handle.spawn(async move {
                match Acceptor::new(listener, terms, place, here) {
                    Ok(acceptor) => acceptor.run(follow).await,
                    Err(error) => tracing::error!(%error, "cannot accept connections"),
                }
            });
        }
        *self.accepting.lock() = accepting;
    }

    /// Stops accepting. The sockets close if no other handle of them is left.
    pub(in crate::engine) fn close(&self, how: Accepting) {
        // The first word counts: once a successor has the sockets, their queues are its own.
        self.accepting.lock().send_if_modified(|now| {
            let open = *now == Accepting::Open;
            if open {
                *now = how;
            }
            open
        });
    }

    /// Whether a connection is open, or may still come from the queue of a listener that was told to close.
    pub(in crate::engine) fn are_busy(&self) -> bool {
        let open = |worker: &Worker| worker.open.load(Ordering::SeqCst) > 0;
        !self.accepting.lock().is_closed() || self.place.workers.iter().any(open)
    }
}

fn handles(runtime: &Runtime) -> Box<dyn Iterator<Item = Handle> + '_> {
    match runtime {
        Runtime::NoSteal(threads) => {
            Box::new((0..threads.threads()).map(|thread| threads.get_runtime_at(thread).clone()))
        }
        other => Box::new(std::iter::once(other.get_handle().clone())),
    }
}

impl Worker {
    fn new(handle: Handle) -> Self {
        Self {
            handle,
            open: AtomicU32::new(0),
        }
    }
}

impl Acceptor {
    fn new(
        listener: ListenSocket,
        terms: Arc<Terms>,
        place: Place,
        here: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            queue: Queue::new(listener)?,
            terms,
            place,
            here,
            said: None,
        })
    }

    async fn run(mut self, mut follow: watch::Receiver<Accepting>) {
        let how = loop {
            let filled = tokio::select! {
                biased;
                how = closed(&mut follow) => break how,
                filled = self.queue.is_filled() => filled,
            };
            if let Err(error) = filled {
                tracing::error!(%error, "a listener cannot be waited for");
                return;
            }
            let next = self.queue.next();
            self.take(next).await;
        };
        if how == Accepting::Closing {
            // Whoever is in the queue has been told that the connection stands.
            for _ in 0..Queue::LENGTH {
                match self.queue.next_unnoticed() {
                    Next::Empty => return,
                    next => self.take(next).await,
                }
            }
        }
    }

    /// Gives what came from the queue to a thread.
    async fn take(&mut self, next: Next) {
        match next {
            Next::Taken(accepted) => {
                self.place.spawn(accepted, &self.terms, self.here);
                self.place.arriving.wait_for_few().await;
                // Not at the expense of the connections of this thread.
                tokio::task::consume_budget().await;
            }
            Next::Empty => {}
            Next::Exhausted(error) => {
                self.say(&error);
                self.place.shared.make_way();
                self.pause().await;
            }
            Next::Failed(error) => tracing::debug!(%error, "cannot accept a connection"),
        }
    }

    /// Waits until a connection closes or has been decided on, or for a moment.
    async fn pause(&self) {
        self.place.shared.slots.freed_within(TRY_AGAIN).await;
    }

    fn say(&mut self, error: &io::Error) {
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(
                %error,
                "no file descriptor for another client: new ones wait until a connection closes"
            );
        }
    }
}

/// Resolves when listeners are to close.
async fn closed(follow: &mut watch::Receiver<Accepting>) -> Accepting {
    match follow.wait_for(|now| *now != Accepting::Open).await {
        Ok(how) => *how,
        // The engine is gone.
        Err(_) => Accepting::HandedOver,
    }
}

// === impl Place ===

impl Place {
    fn spawn(&self, accepted: Accepted, terms: &Arc<Terms>, here: usize) {
        let Some(worker) = self.choose(here) else {
            return;
        };
        let arriving = self.arriving.one();
        let open = Open::new(&self.workers, worker);
        let (shared, terms) = (Arc::clone(&self.shared), Arc::clone(terms));
        if let Some(worker) = self.workers.get(worker) {
            let serving = serve(shared, accepted, terms, arriving, open);
            worker.handle.spawn(serving);
        }
    }

    fn choose(&self, here: usize) -> Option<usize> {
        let open = |worker: &Worker| worker.open.load(Ordering::Relaxed);
        fewest(self.workers.iter().map(open), here)
    }
}

/// The position of the lowest count; of several, `here` if it is one of them.
fn fewest(counts: impl Iterator<Item = u32>, here: usize) -> Option<usize> {
    let lowest = counts
        .enumerate()
        .min_by_key(|&(at, count)| (count, at != here));
    lowest.map(|(at, _)| at)
}

/// A connection from being accepted to being closed.
async fn serve(
    shared: Arc<Shared>,
    accepted: Accepted,
    terms: Arc<Terms>,
    arriving: Undecided,
    open: Open,
) {
    let _open = open;
    let slot = {
        let snapshot = shared.snapshot.load_full();
        shared.room(Side::Client, &snapshot).await
    };
    drop(arriving);
    let Some(_slot) = slot else {
        shared.metrics.refused.inc();
        return;
    };
    if let Some((stream, peer)) = establish(&shared, accepted, &terms).await {
        conn::serve_client(&shared, stream, peer, terms.protocols).await;
    }
}

// === impl Arriving ===

impl Arriving {
    fn one(self: &Arc<Self>) -> Undecided {
        self.count.fetch_add(1, Ordering::SeqCst);
        Undecided(Arc::clone(self))
    }

    async fn wait_for_few(&self) {
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            // First, so that no decision from here on is missed.
            decided.as_mut().enable();
            if self.count.load(Ordering::SeqCst) < MAX_ARRIVING {
                return;
            }
            decided.await;
        }
    }
}

/// Counts as arriving until dropped.
struct Undecided(Arc<Arriving>);

impl Drop for Undecided {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) >= MAX_ARRIVING {
            self.0.decided.notify_waiters();
        }
    }
}

/// An open connection of a thread.
struct Open {
    workers: Arc<[Worker]>,
    at: usize,
}

impl Open {
    fn new(workers: &Arc<[Worker]>, at: usize) -> Self {
        let open = Self {
            workers: Arc::clone(workers),
            at,
        };
        open.change(|count| count.fetch_add(1, Ordering::SeqCst));
        open
    }

    fn change(&self, change: impl FnOnce(&AtomicU32) -> u32) {
        if let Some(worker) = self.workers.get(self.at) {
            change(&worker.open);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.change(|count| count.fetch_sub(1, Ordering::SeqCst));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_the_fewest_are_and_stays_here_if_it_can() {
        let choice = |counts: &[u32], here| fewest(counts.iter().copied(), here);
        assert_eq!(choice(&[3, 1, 2], 0), Some(1));
        assert_eq!(choice(&[1, 1, 1], 2), Some(2));
        assert_eq!(choice(&[0, 1, 0], 1), Some(0));
        assert_eq!(choice(&[], 0), None);
    }

    #[test]
    fn an_idle_connection_is_a_small_task() {
        fn size<F: Future>(
            _: fn(Arc<Shared>, Accepted, Arc<Terms>, Undecided, Open) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let size = size(serve);
        assert!(size <= 1024, "{size}");
    }
}

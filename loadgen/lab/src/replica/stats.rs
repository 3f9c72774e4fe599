//! What the stand-in counts, for `/__stats`.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Instant,
};

use serde_json::json;

/// Seconds of history.
const HISTORY: usize = 600;

#[derive(Debug)]
pub(super) struct Stats {
    started: Instant,
    accepted: Cell<u64>,
    open: Cell<u64>,
    requests: Cell<u64>,
    in_flight: Cell<u64>,
    rejected: Cell<u64>,
    /// Second since the start of the last entry, and requests and accepts by second.
    history: RefCell<(u64, VecDeque<(u64, u64)>)>,
}

impl Stats {
    pub(super) fn new(now: Instant) -> Rc<Self> {
        Rc::new(Self {
            started: now,
            accepted: Cell::new(0),
            open: Cell::new(0),
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            rejected: Cell::new(0),
            history: RefCell::new((0, VecDeque::from([(0, 0)]))),
        })
    }

    /// A connection was accepted; it is open as long as the guard lives.
    pub(super) fn connection(self: &Rc<Self>) -> Guard {
        add(&self.accepted, 1);
        self.tally(0, 1);
        Guard::new(self.clone(), |stats| &stats.open)
    }

    /// A request has arrived; it is in flight as long as the guard lives.
    pub(super) fn request(self: &Rc<Self>) -> Guard {
        self.requests(1);
        Guard::new(self.clone(), |stats| &stats.in_flight)
    }

    /// Requests have arrived and are answered at once.
    pub(super) fn requests(&self, count: u64) {
        add(&self.requests, count);
        self.tally(count, 0);
    }

    pub(super) fn rejected(&self) {
        add(&self.rejected, 1);
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    pub(super) fn open(&self) -> u64 {
        self.open.get()
    }

    fn tally(&self, requests: u64, accepts: u64) {
        let second = self.started.elapsed().as_secs();
        let mut history = self.history.borrow_mut();
        let (last, counts) = &mut *history;
        if second > *last {
            for _ in *last..second.min(*last + HISTORY as u64) {
                counts.push_back((0, 0));
            }
            while counts.len() > HISTORY {
                counts.pop_front();
            }
            *last = second;
        }
        if let Some(count) = counts.back_mut() {
            count.0 += requests;
            count.1 += accepts;
        }
    }

    pub(super) fn to_json(&self, name: &str, queued: usize) -> String {
        self.tally(0, 0);
        let history = self.history.borrow();
        let (requests, accepts): (Vec<_>, Vec<_>) = history.1.iter().copied().unzip();
        json!({
            "name": name,
            "uptime_s": self.started.elapsed().as_secs_f64(),
            "accepted": self.accepted.get(),
            "open": self.open.get(),
            "requests": self.requests.get(),
            "in_flight": self.in_flight.get(),
            "queued": queued,
            "rejected": self.rejected.get(),
            "requests_per_second": requests,
            "accepted_per_second": accepts,
        })
        .to_string()
    }
}

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

/// Counts one thing as long as it lives.
pub(super) struct Guard {
    stats: Rc<Stats>,
    cell: fn(&Stats) -> &Cell<u64>,
}

impl Guard {
    fn new(stats: Rc<Stats>, cell: fn(&Stats) -> &Cell<u64>) -> Self {
        add(cell(&stats), 1);
        Self { stats, cell }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let cell = (self.cell)(&self.stats);
        cell.set(cell.get().saturating_sub(1));
    }
}

//! Handing the arrivals of an open model to lanes that are free.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, Waker},
};

use crate::record::Nanos;

/// One arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) endpoint: usize,
    /// Replay: number in the trace.
    pub(super) line: usize,
    /// When the schedule meant it to be sent.
    pub(super) intended: Nanos,
    /// When the generator got to it; later than intended by its own lag.
    pub(super) offered: Nanos,
    /// Whether no lane was free at that time.
    pub(super) waited: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    job: Cell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

/// The lanes of a worker and the arrivals that wait for one.
#[derive(Debug)]
pub(super) struct Dispatch {
    inboxes: Vec<Inbox>,
    /// Free lanes; the one that has been free for longest is next, so that all take turns.
    free: RefCell<VecDeque<usize>>,
    backlog: RefCell<VecDeque<Job>>,
    most: usize,
    /// Arrivals handed to a lane that has not looked yet.
    handed: Cell<usize>,
}

impl Dispatch {
    pub(super) fn new(lanes: usize, most_waiting: usize) -> Self {
        let mut inboxes = Vec::new();
        inboxes.resize_with(lanes, Inbox::default);
        Self {
            inboxes,
            free: RefCell::new(VecDeque::with_capacity(lanes)),
            backlog: RefCell::new(VecDeque::new()),
            most: most_waiting,
            handed: Cell::new(0),
        }
    }

    /// Gives an arrival to a free lane, or lets it wait; `false` if too many wait already.
    pub(super) fn offer(&self, mut job: Job) -> bool {
        let lane = self.free.borrow_mut().pop_front();
        if let Some(inbox) = lane.and_then(|lane| self.inboxes.get(lane)) {
            inbox.job.set(Some(job));
            self.handed.set(self.handed.get() + 1);
            if let Some(waker) = inbox.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
            return true;
        }
        let mut backlog = self.backlog.borrow_mut();
        if backlog.len() >= self.most {
            return false;
        }
        job.waited = true;
        backlog.push_back(job);
        true
    }

    /// The next arrival for a lane that has become free.
    pub(super) async fn next(&self, lane: usize) -> Job {
        if let Some(job) = self.backlog.borrow_mut().pop_front() {
            return job;
        }
        let Some(inbox) = self.inboxes.get(lane) else {
            return std::future::pending().await;
        };
        self.free.borrow_mut().push_back(lane);
        poll_fn(|cx| {
            if let Some(job) = inbox.job.take() {
                self.handed.set(self.handed.get() - 1);
                return Poll::Ready(job);
            }
            let mut waker = inbox.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Whether a lane is about to start what it was given.
    pub(super) fn is_handing_over(&self) -> bool {
        self.handed.get() > 0
    }

    /// Whether arrivals wait for a lane.
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.borrow().is_empty()
    }

    /// Whether nothing waits for a lane, nor for a lane to look at what it was given.
    pub(super) fn is_empty(&self) -> bool {
        self.backlog.borrow().is_empty() && !self.is_handing_over()
    }

    /// Takes back what still waits for a lane.
    pub(super) fn withdraw(&self) -> VecDeque<Job> {
        std::mem::take(&mut *self.backlog.borrow_mut())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::Context,
    };

    use super::*;

    fn job(intended: Nanos) -> Job {
        Job {
            endpoint: 0,
            line: 0,
            intended,
            offered: intended,
            waited: false,
        }
    }

    fn poll<F: Future<Output = Job>>(future: Pin<&mut F>) -> Option<Job> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(job) => Some(job),
            Poll::Pending => None,
        }
    }

    #[test]
    fn free_lanes_take_turns_and_the_rest_waits() {
        let dispatch = Dispatch::new(2, 10);
        let mut first = pin!(dispatch.next(0));
        let mut second = pin!(dispatch.next(1));
        assert!(poll(first.as_mut()).is_none());
        assert!(poll(second.as_mut()).is_none());
        for intended in 1..=3 {
            assert!(dispatch.offer(job(intended)));
        }
        assert_eq!(poll(first.as_mut()).unwrap().intended, 1);
        assert_eq!(poll(second.as_mut()).unwrap().intended, 2);
        let late = poll(pin!(dispatch.next(0))).unwrap();
        assert!(late.waited && late.intended == 3);
    }

    #[test]
    fn the_backlog_is_bounded_and_nothing_is_lost() {
        let dispatch = Dispatch::new(1, 2);
        let mut lane = pin!(dispatch.next(0));
        assert!(poll(lane.as_mut()).is_none());
        let taken = (0..5).filter(|n| dispatch.offer(job(*n))).count();
        assert_eq!(taken, 3);
        assert_eq!(dispatch.withdraw().len(), 2);
        assert!(dispatch.is_handing_over());
        assert_eq!(poll(lane.as_mut()).unwrap().intended, 0);
        assert!(!dispatch.is_handing_over());
    }
}

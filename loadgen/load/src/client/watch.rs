//! Timeouts without a timer per request: one sweep looks at every slot now and then.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::record::Nanos;

const NEVER: Nanos = Nanos::MAX;

/// Where one lane says until when it is willing to wait, and for what.
#[derive(Debug)]
pub(crate) struct Slot {
    deadline: Cell<Nanos>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Endpoint and intended start of the request in flight.
    current: Cell<Option<(usize, Nanos, Nanos)>>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            deadline: Cell::new(NEVER),
            expired: Cell::new(false),
            waker: RefCell::new(None),
            current: Cell::new(None),
        }
    }
}

impl Slot {
    /// Endpoint, intended start and actual start of the request in flight, if there is one.
    pub(crate) fn current(&self) -> Option<(usize, Nanos, Nanos)> {
        self.current.get()
    }

    /// Runs a future for a request; `None` if its deadline passed first.
    pub(crate) fn guard<F: Future>(
        &self,
        request: (usize, Nanos, Nanos),
        deadline: Nanos,
        future: F,
    ) -> Guarded<'_, F> {
        self.current.set(Some(request));
        self.expired.set(false);
        self.deadline.set(deadline);
        Guarded { slot: self, future }
    }
}

/// A future with a deadline; see [`Slot::guard`].
pub(crate) struct Guarded<'a, F> {
    slot: &'a Slot,
    future: F,
}

impl<F: Future + Unpin> Future for Guarded<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.slot.expired.get() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = Pin::new(&mut self.future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        let mut waker = self.slot.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<F> Drop for Guarded<'_, F> {
    fn drop(&mut self) {
        self.slot.deadline.set(NEVER);
        self.slot.current.set(None);
    }
}

/// All slots of a worker.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    slots: RefCell<Vec<Rc<Slot>>>,
}

impl Watch {
    /// A slot for one more lane.
    pub(crate) fn slot(&self) -> Rc<Slot> {
        let slot = Rc::new(Slot::default());
        self.slots.borrow_mut().push(slot.clone());
        slot
    }

    /// How often to sweep: often enough that a timeout is at most 2 % late, at least every 50 ms.
    pub(crate) fn interval(timeout: Duration) -> Duration {
        (timeout / 50).clamp(Duration::from_millis(1), Duration::from_millis(50))
    }

    /// Ends every wait whose deadline has passed.
    pub(crate) fn sweep(&self, now: Nanos) {
        for slot in self.slots.borrow().iter() {
            if slot.deadline.get() <= now {
                slot.deadline.set(NEVER);
                slot.expired.set(true);
                if let Some(waker) = slot.waker.borrow().as_ref() {
                    waker.wake_by_ref();
                }
            }
        }
    }

    /// Requests that are still in flight: endpoint, intended start, actual start.
    pub(crate) fn in_flight(&self) -> Vec<(usize, Nanos, Nanos)> {
        self.slots
            .borrow()
            .iter()
            .filter_map(|slot| slot.current())
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{future::pending, pin::pin, task::Waker};

    use super::*;

    #[test]
    fn a_sweep_ends_only_what_is_overdue() {
        let watch = Watch::default();
        let (early, late) = (watch.slot(), watch.slot());
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(early.guard((0, 1, 1), 100, Box::pin(pending::<()>())));
        let mut second = pin!(late.guard((1, 2, 2), 200, Box::pin(pending::<()>())));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        watch.sweep(99);
        assert!(first.as_mut().poll(&mut cx).is_pending());
        watch.sweep(100);
        assert_eq!(first.as_mut().poll(&mut cx), Poll::Ready(None));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert_eq!(watch.in_flight().len(), 2);
    }

    #[test]
    fn a_slot_is_free_again_after_its_request() {
        let watch = Watch::default();
        let slot = watch.slot();
        {
            let mut done = pin!(slot.guard((0, 1, 1), 100, Box::pin(async { 7 })));
            let mut cx = Context::from_waker(Waker::noop());
            assert_eq!(done.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
        }
        assert!(watch.in_flight().is_empty());
        watch.sweep(1000);
        let mut next = pin!(slot.guard((0, 1, 1), 2000, Box::pin(async { 8 })));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(next.as_mut().poll(&mut cx), Poll::Ready(Some(8)));
    }
}

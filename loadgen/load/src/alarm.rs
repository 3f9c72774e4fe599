//! Waking up on time: timers finer than the milliseconds of the runtime's own.
//!
//! `tokio` rounds timers up to the next millisecond, which would show as send lag and would cost a
//! stand-in replica a tenth of its capacity. A `timerfd` fires within tens of microseconds.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    future::poll_fn,
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// One precise timer, for one sleeper at a time.
#[derive(Debug)]
pub(crate) struct Alarm {
    descriptor: AsyncFd<Descriptor>,
}

impl Alarm {
    /// A timer bound to the current runtime.
    // `AsyncFd::new` is deprecated because a type could name a descriptor that it does not own;
    // `Descriptor` owns its own. The replacement needs `unsafe`, which this crate forbids.
    #[allow(deprecated)]
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self {
            descriptor: AsyncFd::new(Descriptor(timer))?,
        })
    }

    /// Sleeps at least this long.
    pub(crate) async fn sleep(&self, duration: Duration) -> io::Result<()> {
        if duration.is_zero() {
            return Ok(());
        }
        self.descriptor.get_ref().0.set(
            Expiration::OneShot(TimeSpec::from_duration(duration)),
            TimerSetTimeFlags::empty(),
        )?;
        loop {
            let mut ready = self.descriptor.readable().await?;
            // The readiness may be left over from a sleep that was given up: then this blocks.
            let expired = ready.try_io(|descriptor| Ok(descriptor.get_ref().0.wait()?));
            if let Ok(result) = expired {
                return result;
            }
        }
    }
}

/// Precise timers for many sleepers of one thread, over a single alarm.
#[derive(Debug, Clone)]
pub struct Alarms(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    due: RefCell<BinaryHeap<Reverse<(Instant, u64)>>>,
    sleepers: RefCell<HashMap<u64, Waker>>,
    next_id: Cell<u64>,
    /// Wakes the driver when an earlier deadline than its own appears.
    driver: RefCell<Option<Waker>>,
}

impl Alarms {
    /// Starts the driver on the current local runtime; it ends with the runtime.
    pub fn start() -> io::Result<Self> {
        let alarm = Alarm::new()?;
        let alarms = Self(Rc::new(Shared::default()));
        let driven = alarms.clone();
        tokio::task::spawn_local(async move { driven.drive(&alarm).await });
        Ok(alarms)
    }

    /// Sleeps until an instant.
    pub async fn sleep_until(&self, deadline: Instant) {
        if deadline <= Instant::now() {
            return;
        }
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        let sleeper = Sleeper { alarms: self, id };
        let mut registered = false;
        poll_fn(|cx| {
            if registered && !self.0.sleepers.borrow().contains_key(&sleeper.id) {
                return Poll::Ready(());
            }
            self.0
                .sleepers
                .borrow_mut()
                .insert(sleeper.id, cx.waker().clone());
            if !registered {
                registered = true;
                let first = {
                    let mut due = self.0.due.borrow_mut();
                    due.push(Reverse((deadline, sleeper.id)));
                    due.peek().is_some_and(|Reverse((_, id))| *id == sleeper.id)
                };
                if first && let Some(driver) = self.0.driver.borrow().as_ref() {
                    driver.wake_by_ref();
                }
            }
            Poll::Pending
        })
        .await;
    }

    async fn drive(&self, alarm: &Alarm) {
        loop {
            let now = Instant::now();
            while let Some(id) = self.pop_due(now) {
                let waker = self.0.sleepers.borrow_mut().remove(&id);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            let next = self.0.due.borrow().peek().map(|Reverse((at, _))| *at);
            let changed = poll_fn(|cx| {
                *self.0.driver.borrow_mut() = Some(cx.waker().clone());
                let first = self.0.due.borrow().peek().map(|Reverse((at, _))| *at);
                if first == next {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            });
            match next {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        _ = alarm.sleep(at.saturating_duration_since(now)) => {}
                    }
                }
            }
        }
    }

    fn pop_due(&self, now: Instant) -> Option<u64> {
        let mut due = self.0.due.borrow_mut();
        match due.peek() {
            Some(Reverse((at, id))) if *at <= now => {
                let id = *id;
                due.pop();
                Some(id)
            }
            _ => None,
        }
    }
}

/// Forgets a sleep that is given up.
struct Sleeper<'a> {
    alarms: &'a Alarms,
    id: u64,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.alarms.0.sleepers.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    fn local<F: Future>(future: F) -> F::Output {
        Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn an_alarm_never_fires_early_even_after_one_that_was_given_up() {
        local(async {
            let alarm = Alarm::new().unwrap();
            let short = Duration::from_millis(2);
            for _ in 0..5 {
                let _ = tokio::time::timeout(short, alarm.sleep(short * 50)).await;
                let before = Instant::now();
                alarm.sleep(short).await.unwrap();
                assert!(before.elapsed() >= short);
            }
        });
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_deadlines() {
        local(async {
            let alarms = Alarms::start().unwrap();
            let order = Rc::new(RefCell::new(Vec::new()));
            let start = Instant::now();
            let tasks: Vec<_> = [30_u64, 10, 20, 0]
                .into_iter()
                .map(|ms| {
                    let (alarms, order) = (alarms.clone(), order.clone());
                    tokio::task::spawn_local(async move {
                        let deadline = start + Duration::from_millis(ms);
                        alarms.sleep_until(deadline).await;
                        assert!(Instant::now() >= deadline);
                        order.borrow_mut().push(ms);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), [0, 10, 20, 30]);
        });
    }

    #[test]
    fn a_sleep_that_is_given_up_leaves_nothing_behind() {
        local(async {
            let alarms = Alarms::start().unwrap();
            let far = Instant::now() + Duration::from_millis(50);
            let _ = tokio::time::timeout(Duration::from_millis(1), alarms.sleep_until(far)).await;
            assert!(alarms.0.sleepers.borrow().is_empty());
            alarms.sleep_until(far).await;
            assert!(Instant::now() >= far);
        });
    }
}

//! Closing a client connection so that its last answer can be read (nginx: `lingering_close`).
//!
//! A socket that is closed with unread bytes is reset, and the reset may overtake the answer. A client
//! that writes its whole request before it reads would then see a broken pipe in place of the 413.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::wire::{Timer, Wire};

/// How long in all, and how long between two reads.
const TOTAL: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(3);
/// How much is read and thrown away at most.
const MAX_BYTES: u64 = 1 << 30;
/// How much before others have their turn.
const TURN: usize = 128 * 1024;

/// Sends what waits, says that nothing more comes, and with `unread` reads on until the client is done,
/// within bounds. Such a connection counts as idle: it gives way to others when places are short.
pub(super) async fn close(shared: &Shared, mut wire: Wire, mut timer: Timer, unread: bool) {
    let send = shared.snapshot.load().settings.timeouts.send;
    let deadline = Instant::now() + send;
    let shut = poll_fn(|cx| {
        if let Poll::Ready(done) = wire.poll_shutdown(cx) {
            return Poll::Ready(done.is_ok());
        }
        timer.poll_until(cx, deadline).map(|()| false)
    })
    .await;
    if shut && unread {
        Box::pin(discard(shared, &mut wire, &mut timer)).await;
    }
}

async fn discard(shared: &Shared, wire: &mut Wire, timer: &mut Timer) {
    let _idle = shared.slots.idle();
    let end = Instant::now() + TOTAL;
    let mut left = MAX_BYTES;
    while left > 0 && !shared.closing.load(Ordering::Acquire) {
        let reclaimed = shared.slots.reclaim().notified();
        tokio::pin!(reclaimed);
        reclaimed.as_mut().enable();
        let deadline = end.min(Instant::now() + IDLE);
        let mut turn = 0;
        let read = poll_fn(|cx| {
            loop {
                match wire.poll_discard(cx) {
                    Poll::Ready(Ok(n)) if n > 0 => turn += n,
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending if turn > 0 => return Poll::Ready(true),
                    Poll::Pending => return timer.poll_until(cx, deadline).map(|()| false),
                }
                if turn >= TURN {
                    return Poll::Ready(true);
                }
            }
        });
        tokio::select! {
            biased;
            more = read => if !more || Instant::now() >= end { return },
            () = &mut reclaimed => {
                let max = shared.snapshot.load().settings.connections.max;
                if shared.slots.should_close(max) {
                    return;
                }
            }
        }
        left = left.saturating_sub(turn as u64);
        tokio::task::yield_now().await;
    }
}

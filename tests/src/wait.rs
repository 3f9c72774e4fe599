//! Waiting for conditions, never for time.

use std::{future::Future, time::Duration};

/// The longest any single step of a test may take.
pub const BOUND: Duration = Duration::from_secs(15);

/// The result of `future`, which must come within [`BOUND`].
#[track_caller]
pub fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let (what, caller) = (what.to_owned(), std::panic::Location::caller());
    async move {
        match tokio::time::timeout(BOUND, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: waited {BOUND:?} for {what}"),
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(what, async move {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

/// Waits until an asynchronous probe yields something, and returns that.
#[track_caller]
pub fn eventually_some<T>(
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    within(what, async move {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

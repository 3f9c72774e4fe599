//! A fixed number of requests, shared by all threads of a run.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::stop::StopToken;

/// How many requests of the measured part users may still start; clones share the same state.
///
/// Exact across threads: every request takes one, and there are no more than there were.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Option<Arc<Counted>>);

#[derive(Debug)]
struct Counted {
    left: AtomicU64,
    spent: StopToken,
}

impl Budget {
    /// So many requests; without a number, as many as there is time for.
    pub(super) fn new(requests: Option<u64>) -> Self {
        Self(requests.map(|requests| {
            let spent = StopToken::new();
            if requests == 0 {
                spent.stop();
            }
            Arc::new(Counted {
                left: AtomicU64::new(requests),
                spent,
            })
        }))
    }

    /// Takes a request; `false` if there is none left.
    pub(super) fn take(&self) -> bool {
        let Some(counted) = &self.0 else {
            return true;
        };
        let before = counted
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(1)
            });
        if before == Ok(1) {
            counted.spent.stop();
        }
        before.is_ok()
    }

    /// Whether every request has been taken.
    pub(super) fn is_spent(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|counted| counted.spent.is_stopped())
    }

    /// Waits until every request has been taken; for ever if their number is not fixed.
    pub(super) async fn spent(&self) {
        match &self.0 {
            Some(counted) => counted.spent.stopped().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn threads_together_take_exactly_as_many_as_there_are() {
        let budget = Budget::new(Some(1000));
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let budget = budget.clone();
                std::thread::spawn(move || (0..1000).filter(|_| budget.take()).count())
            })
            .collect();
        let taken: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(taken, 1000);
        assert!(budget.is_spent() && !budget.take());
    }

    #[test]
    fn without_a_number_there_is_no_end() {
        let budget = Budget::new(None);
        assert!((0..100).all(|_| budget.take()));
        assert!(!budget.is_spent());
        assert!(Budget::new(Some(0)).is_spent());
    }
}

//! Work that may wait or take long, on threads of its own: the thread that answers probes never does it.

use std::sync::Arc;

use axum::{body::Bytes, http::StatusCode};
use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
};

use super::{Text, answer::Failure};

/// Most reports that are made at once.
const REPORTS: usize = 4;
/// Most changes that are made, or wait for each other, at once.
const CHANGES: usize = 16;
/// Most threads that all of it may take, with those for profiles, metrics and looking at servers.
pub(super) const THREADS: usize = REPORTS + CHANGES + 12;

/// Threads for reports and for changes; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    reports: Arc<Semaphore>,
    changes: Arc<Semaphore>,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            reports: Arc::new(Semaphore::new(REPORTS)),
            changes: Arc::new(Semaphore::new(CHANGES)),
        }
    }
}

impl Workers {
    /// Makes a report: something that only looks.
    pub(super) async fn report<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        run(&self.reports, make).await
    }

    /// Makes a change. One that was begun is finished even when the client goes away.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        run(&self.changes, make).await
    }
}

async fn run<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(|error| failed(&error))?;
    let done = spawn_blocking(move || {
        // Kept until the work is done, even when nobody waits for it any more.
        let _place = place;
        work()
    });
    done.await.map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    let message = format!("the work was not done: {error}");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
}

/// A text that is made for one asker at a time. Those who ask meanwhile share the next one, so that many cost no
/// more than one; none gets a text that was begun before it asked.
#[derive(Clone)]
pub(super) struct Shared {
    make: Text,
    made: Arc<Mutex<Made>>,
    begun: Arc<std::sync::atomic::AtomicU64>,
}

/// The last text, and how many were begun until then.
#[derive(Debug, Default)]
struct Made {
    number: u64,
    text: Bytes,
}

impl Shared {
    pub(super) fn new(make: Text) -> Self {
        Self {
            make,
            made: Arc::default(),
            begun: Arc::default(),
        }
    }

    /// A text that was begun after this was called.
    pub(super) async fn get(&self) -> Result<Bytes, Failure> {
        use std::sync::atomic::Ordering::SeqCst;
        let before = self.begun.load(SeqCst);
        let mut made = Arc::clone(&self.made).lock_owned().await;
        if made.number > before {
            return Ok(made.text.clone());
        }
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        let make = Arc::clone(&self.make);
        let done = spawn_blocking(move || {
            let text = Bytes::from(make());
            *made = Made {
                number,
                text: text.clone(),
            };
            text
        });
        done.await.map_err(|error| failed(&error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn many_askers_share_a_text_that_is_not_older_than_their_question() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let shared = Shared::new(Arc::new(move || {
            std::thread::sleep(Duration::from_millis(20));
            counted.fetch_add(1, Ordering::SeqCst).to_string()
        }));
        let askers: Vec<_> = (0..50)
            .map(|_| {
                let shared = shared.clone();
                tokio::spawn(async move { shared.get().await.map(|text| text.len()) })
            })
            .collect();
        for asker in askers {
            assert!(asker.await.unwrap().is_ok());
        }
        let made = calls.load(Ordering::SeqCst);
        assert!(made <= 3, "{made}");
        let Ok(next) = shared.get().await else {
            return assert_eq!(0, 1, "no text");
        };
        assert_eq!(next, made.to_string());
    }
}

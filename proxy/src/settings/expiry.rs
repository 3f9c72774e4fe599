//! Ends overrides on time.

use std::time::Duration;

use tracing::{error, warn};
use weir_api::events::OverrideAction;

use super::{
    Author, Store, StoreError,
    layers::Layers,
    overrides::Override,
    store::{Kind, State},
};

/// How soon an ending that the engine refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Store {
    /// Ends overrides when their time has come. Runs until it is dropped: spawn it once.
    pub async fn run_expiry(&self) {
        loop {
            let changed = self.changed().notified();
            match self.until_next_expiry() {
                Some(wait) => {
                    // Either way the loop looks again at what is due.
                    let _ = tokio::time::timeout(wait, changed).await;
                }
                None => changed.await,
            }
            self.expire_due();
        }
    }

    /// Ends the overrides that are due now; their number.
    pub fn expire_due(&self) -> usize {
        let mut state = self.lock();
        let now = self.clock().now();
        let mut layers = state.layers.clone();
        let (due, kept): (Vec<_>, Vec<_>) = layers
            .overrides
            .into_iter()
            .partition(|active| active.due <= now);
        if due.is_empty() {
            return 0;
        }
        layers.overrides = kept;
        let why = due
            .iter()
            .map(Override::told)
            .collect::<Vec<_>>()
            .join("; ");
        let author = Author::new("expiry", format!("override ended: {why}"));
        match self.end(&mut state, layers, author) {
            Ok(_) => {
                for active in &due {
                    let reason = "its time was over".to_owned();
                    self.tell_of(active, OverrideAction::Ended, reason);
                }
                due.len()
            }
            Err(refused) => {
                error!(
                    "settings cannot go back yet, override should have ended ({why}): {refused}"
                );
                let again = now + RETRY;
                for active in &mut state.layers.overrides {
                    if active.due <= now {
                        active.due = again;
                    }
                }
                0
            }
        }
    }

    /// Publishes layers from which overrides were removed. An override that only stood on a removed
    /// one, for instance `delay` where the other had switched `nodelay` off, ends with it.
    pub(super) fn end(
        &self,
        state: &mut State,
        mut layers: Layers,
        mut author: Author,
    ) -> Result<u64, StoreError> {
        let mut with_it = Vec::new();
        while let Err(problems) = layers.effective() {
            // What is left without overrides was valid whenever it was changed.
            let Some(last) = layers.overrides.pop() else {
                return Err(StoreError::Invalid(problems));
            };
            warn!(
                "override {} ends too, it cannot stand alone: {problems}",
                last.told()
            );
            author.why = format!(
                "{}; with it {}, which cannot stand alone",
                author.why,
                last.told()
            );
            with_it.push((last, problems));
        }
        let changed = self.commit(state, layers, author, Kind::Publish)?;
        for (ended, problems) in with_it {
            let reason = format!("it cannot stand without another that has ended: {problems}");
            self.tell_of(&ended, OverrideAction::Ended, reason);
        }
        Ok(changed.revision)
    }

    fn until_next_expiry(&self) -> Option<Duration> {
        let state = self.lock();
        let next = state
            .layers
            .overrides
            .iter()
            .map(|active| active.due)
            .min()?;
        Some(next.saturating_duration_since(self.clock().now()))
    }
}

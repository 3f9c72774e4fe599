//! Raising the proxy's limits for a run, and proving that they are back afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tokio::runtime::Runtime;
use weir_api::{
    admin::{Change as ApiChange, OverrideRequest, SettingsView},
    client::{AdminClient, ClientError},
};

use super::error::TopologyError;
use crate::record::{Change, TuningRecord};

/// Who owns the overrides of this program.
const OWNER: &str = "weir-bench";
/// Renewals in one time to live.
const RENEWALS_PER_TTL: u32 = 3;

/// A temporary override that is renewed until it is put back. Dropping it deletes the override too.
#[derive(Debug)]
pub struct Tuning {
    record: TuningRecord,
    before: SettingsView,
    during: SettingsView,
    renewals: Arc<AtomicU64>,
    keeper: Option<Keeper>,
}

/// The thread that renews, and in the end deletes, the override.
#[derive(Debug)]
struct Keeper {
    stop: Sender<()>,
    thread: JoinHandle<Ending>,
}

/// How the life of the override ended.
#[derive(Debug)]
struct Ending {
    after: Result<SettingsView, ClientError>,
    problems: Vec<String>,
}

impl Tuning {
    /// Creates the override and starts renewing it, three times in a time to live.
    ///
    /// # Errors
    ///
    /// When the admin API refuses or does not answer.
    pub fn apply(
        admin: impl Into<AdminAt>,
        settings: Value,
        reason: &str,
        ttl: Duration,
    ) -> Result<Self, TopologyError> {
        let runtime = runtime()?;
        let client = admin
            .into()
            .client()
            .map_err(failed("reach the proxy's admin API"))?;
        let before = runtime
            .block_on(client.get_settings())
            .map_err(failed("read the proxy's settings"))?;
        let request = OverrideRequest {
            settings: settings.clone(),
            ttl,
            owner: OWNER.to_owned(),
            reason: reason.to_owned(),
        };
        let created = runtime
            .block_on(client.create_override(&request))
            .map_err(failed("raise the proxy's limits"))?;
        let during = runtime
            .block_on(client.get_settings())
            .map_err(failed("read the proxy's settings"))?;
        let record = TuningRecord {
            owner: OWNER.to_owned(),
            reason: reason.to_owned(),
            settings,
            ttl_s: ttl.as_secs_f64(),
            renewals: 0,
            applied_revision: Some(created.revision),
            changes: created.diff.iter().map(half_of_a_change).collect(),
            restored: false,
            problem: String::new(),
        };
        let renewals = Arc::new(AtomicU64::new(0));
        let keeper = Keeper::start(runtime, client, created.id, ttl, renewals.clone())?;
        Ok(Self {
            record,
            before,
            during,
            renewals,
            keeper: Some(keeper),
        })
    }

    /// Settings and revision while the override is in force.
    #[must_use]
    pub fn during(&self) -> &SettingsView {
        &self.during
    }

    /// Deletes the override and compares every setting with what it was before.
    #[must_use]
    pub fn put_back(mut self) -> TuningRecord {
        let mut record = self.record.clone();
        let ending = self.keeper.take().and_then(Keeper::end);
        record.renewals = self.renewals.load(Ordering::Relaxed);
        let mut problems = Vec::new();
        match ending {
            Some(Ending {
                after: Ok(after),
                problems: met,
            }) => {
                problems = met;
                for change in &mut record.changes {
                    change.after = at_path(&after.effective, &change.path);
                }
                record.restored = after.effective == self.before.effective;
                if !record.restored {
                    problems.push("other settings are in force now than before the run".to_owned());
                }
            }
            Some(Ending {
                after: Err(error),
                problems: met,
            }) => {
                problems = met;
                problems.push(format!(
                    "the settings could not be read after the run: {error}"
                ));
            }
            None => problems.push("the thread that keeps the override ended early".to_owned()),
        }
        record.problem = problems.join("; ");
        record
    }
}

impl Drop for Tuning {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.end();
        }
    }
}

impl Keeper {
    fn start(
        runtime: Runtime,
        client: AdminClient,
        id: String,
        ttl: Duration,
        renewals: Arc<AtomicU64>,
    ) -> Result<Self, TopologyError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = Builder::new()
            .name("override".into())
            .spawn(move || {
                let mut problems = Vec::new();
                while stopped.recv_timeout(ttl / RENEWALS_PER_TTL) == Err(RecvTimeoutError::Timeout)
                {
                    match runtime.block_on(client.renew_override(&id, Some(ttl))) {
                        Ok(_) => {
                            renewals.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => problems.push(format!("a renewal failed: {error}")),
                    }
                }
                if let Err(error) = runtime.block_on(client.delete_override(&id)) {
                    problems.push(format!("the override could not be deleted: {error}"));
                }
                Ending {
                    after: runtime.block_on(client.get_settings()),
                    problems,
                }
            })
            .map_err(TopologyError::Thread)?;
        Ok(Self { stop, thread })
    }

    fn end(self) -> Option<Ending> {
        drop(self.stop);
        self.thread.join().ok()
    }
}

/// Reads the settings in force.
pub fn settings_of(admin: impl Into<AdminAt>) -> Result<SettingsView, TopologyError> {
    let client = admin
        .into()
        .client()
        .map_err(failed("reach the proxy's admin API"))?;
    runtime()?
        .block_on(client.get_settings())
        .map_err(failed("read the proxy's settings"))
}

pub(super) fn runtime() -> Result<Runtime, TopologyError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TopologyError::Thread)
}

pub(super) fn failed(what: &'static str) -> impl Fn(ClientError) -> TopologyError {
    move |cause| TopologyError::Admin { what, cause }
}

fn half_of_a_change(change: &ApiChange) -> Change {
    Change {
        path: change.path.clone(),
        before: change.old.clone(),
        during: change.new.clone(),
        after: Value::Null,
    }
}

/// The value at a dotted path; null when there is none.
fn at_path(settings: &Value, path: &str) -> Value {
    let mut value = settings;
    for key in path.split('.') {
        match value.get(key) {
            Some(inner) => value = inner,
            None => return Value::Null,
        }
    }
    value.clone()
}

mod admin;
#[cfg(test)]
mod tests;

pub use self::admin::AdminAt;

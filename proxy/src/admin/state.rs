//! What the admin API works with.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Readiness;
use crate::settings::Store;

/// Makes a text, for instance of all metrics.
pub type Text = Arc<dyn Fn() -> String + Send + Sync>;
/// Makes a JSON value, for instance of all servers' states.
pub type Report = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the admin API works with; cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    pub(super) store: Arc<Store>,
    pub(super) readiness: Readiness,
    pub(super) metrics: Text,
    pub(super) upstreams: Report,
    pub(super) limits: Report,
    /// Becomes true when the admin API stops: streams end then.
    pub(super) closing: Arc<watch::Sender<bool>>,
}

impl AdminState {
    /// With settings and readiness; metrics are empty and reports are `{}` until they are given.
    #[must_use]
    pub fn new(store: Arc<Store>, readiness: Readiness) -> Self {
        Self {
            store,
            readiness,
            metrics: Arc::new(String::new),
            upstreams: Arc::new(|| json!({})),
            limits: Arc::new(|| json!({})),
            closing: Arc::new(watch::Sender::new(false)),
        }
    }

    /// What `/metrics` answers, in Prometheus' text format.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Arc::new(metrics);
        self
    }

    /// What `/v1/upstreams` answers.
    #[must_use]
    pub fn with_upstreams(mut self, report: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.upstreams = Arc::new(report);
        self
    }

    /// What `/v1/limits` answers.
    #[must_use]
    pub fn with_limits(mut self, report: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.limits = Arc::new(report);
        self
    }
}

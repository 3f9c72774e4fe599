//! What the admin API works with.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use weir_api::admin::ReloadView;

use super::{
    Readiness,
    access::TokenFile,
    audit::AuditLog,
    history::History,
    workers::{Shared, Workers},
};
use crate::settings::{Author, Store};

/// Makes a text, for instance of all metrics.
pub type Text = Arc<dyn Fn() -> String + Send + Sync>;
/// Makes a JSON value, for instance of all servers' states.
pub type Report = Arc<dyn Fn() -> Value + Send + Sync>;

/// Reads the configuration file again, or with the first argument true only says what that would change.
pub type Reload = Arc<dyn Fn(bool, Author) -> Result<ReloadView, String> + Send + Sync>;

/// Who may use the admin API, and who writes it down.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Tokens; without them whoever reaches the admin API is trusted.
    pub tokens: Option<Arc<TokenFile>>,
    /// Names by which it is called, besides its address.
    pub hosts: Vec<String>,
    /// The audit log.
    pub audit: Option<Arc<AuditLog>>,
    /// Whether profiles may be taken.
    pub profile: bool,
}

/// What the admin API works with; cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    pub(super) store: Arc<Store>,
    pub(super) readiness: Readiness,
    pub(super) metrics: Shared,
    pub(super) upstreams: Report,
    pub(super) limits: Report,
    pub(super) stats: Report,
    pub(super) reload: Option<Reload>,
    pub(super) access: Access,
    pub(super) history: History,
    pub(super) workers: Workers,
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
            metrics: Shared::new(Arc::new(String::new)),
            upstreams: Arc::new(|| json!({})),
            limits: Arc::new(|| json!({})),
            stats: Arc::new(|| json!({})),
            reload: None,
            access: Access::default(),
            history: History::default(),
            workers: Workers::default(),
            closing: Arc::new(watch::Sender::new(false)),
        }
    }

    /// What `/metrics` answers, in Prometheus' text format.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Shared::new(Arc::new(metrics));
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

    /// What `/v1/stats` answers.
    #[must_use]
    pub fn with_stats(mut self, report: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.stats = Arc::new(report);
        self
    }

    /// What `/v1/settings/reload` does.
    #[must_use]
    pub fn with_reload(
        mut self,
        reload: impl Fn(bool, Author) -> Result<ReloadView, String> + Send + Sync + 'static,
    ) -> Self {
        self.reload = Some(Arc::new(reload));
        self
    }

    /// Who may use it.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }
}

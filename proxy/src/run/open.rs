//! What `weir run` opens: logs, tokens, the admin API.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use weir_proxy::admin::{Access, AdminState, AuditLog, Readiness, TokenFile};
use weir_proxy::config::{Config, LogFormat};
use weir_proxy::engine::Engine;
use weir_proxy::observe::access_log::{AccessLog, Format};
use weir_proxy::settings::Store;

/// The program's own log goes to standard error; `WEIR_LOG` chooses how much of it.
pub(super) fn start_log() {
    let filter = EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,pingora_core=error,pingora=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .init();
}

pub(super) fn admin_state(
    engine: &Arc<Engine>,
    store: &Arc<Store>,
    readiness: Readiness,
) -> AdminState {
    let (for_metrics, for_upstreams) = (Arc::clone(engine), Arc::clone(engine));
    let (for_limits, for_stats) = (Arc::clone(engine), Arc::clone(engine));
    let (overrides, counted) = (Arc::clone(store), Arc::clone(store));
    AdminState::new(Arc::clone(store), readiness)
        .with_metrics(move || for_metrics.metrics_text(overrides.overrides().len() as u64))
        .with_upstreams(move || for_upstreams.upstreams_json())
        .with_limits(move || for_limits.limits_json())
        .with_stats(move || for_stats.stats_json(counted.overrides().len() as u64))
}

/// Who may use the admin API.
pub(super) fn open_access(config: &Config) -> anyhow::Result<Access> {
    let admin = &config.admin;
    let tokens = admin.tokens.as_deref().map(TokenFile::open).transpose();
    let audit = admin.audit_log.as_deref().map(|path| {
        AuditLog::open(path)
            .with_context(|| format!("admin.audit_log: cannot open {}", path.display()))
    });
    Ok(Access {
        tokens: tokens.context("admin.tokens")?.map(Arc::new),
        hosts: admin.hosts.clone(),
        audit: audit.transpose()?.map(Arc::new),
        profile: admin.profile,
    })
}

pub(super) fn open_log(config: &Config) -> anyhow::Result<Option<AccessLog>> {
    let log = &config.access_log;
    if !log.enabled {
        return Ok(None);
    }
    let format = match log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    AccessLog::open(&log.path, format, log.buffer)
        .map(Some)
        .with_context(|| format!("access_log.path: cannot open {}", log.path.display()))
}

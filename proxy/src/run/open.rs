//! What `weir run` opens before it serves: everything that can fail.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::Context as _;
use tracing::info;
use weir_proxy::admin::{self, Access, AuditLog, TlsConfig, TokenFile, UnixSocket};
use weir_proxy::config::{Config, ListenAddress, LogFormat};
use weir_proxy::engine::handover::Inherited;
use weir_proxy::engine::{Claim, Engine};
use weir_proxy::observe::access_log::{AccessLog, Format};
use weir_proxy::observe::log::ErrorLog;
use weir_proxy::observe::metrics::Metrics;
use weir_proxy::settings::Store;
use weir_proxy::tls::Credentials;

use super::files::{self, Pending};
use crate::cli::RunArgs;

/// What is open before the sockets of a running process are asked for.
pub(super) struct Opened {
    listeners: Vec<Claim>,
    admin: Claim,
    admin_socket: Option<UnixSocket>,
    pid_file: Option<Pending>,
    tls: Option<TlsConfig>,
    access: Access,
    store: Arc<Store>,
    engine: Arc<Engine>,
    errors: ErrorLog,
}

/// All that is needed to serve.
pub(super) struct Ready {
    pub(super) engine: Arc<Engine>,
    pub(super) store: Arc<Store>,
    pub(super) access: Access,
    pub(super) tls: Option<TlsConfig>,
    pub(super) admin: TcpListener,
    pub(super) admin_socket: Option<UnixSocket>,
    /// The program's own log.
    pub(super) errors: ErrorLog,
    /// Tell where this process is, as soon as it serves.
    pub(super) files: Vec<Pending>,
}

impl Opened {
    /// Opens logs, tokens, certificates, sockets and the pid file, looks up names, and starts the engine.
    pub(super) fn open(
        args: &RunArgs,
        config: &Config,
        text: &str,
        errors: ErrorLog,
        credentials: Arc<Credentials>,
    ) -> anyhow::Result<Self> {
        let claim = |address: ListenAddress| {
            let claim = Claim::new(address);
            // Only a successor may get it from another process.
            if args.upgrade {
                Ok(claim)
            } else {
                claim.opened()
            }
        };
        let admin = claim(config.admin.listen.into()).context("admin.listen")?;
        let listeners = config.listeners.iter().map(|it| claim(it.address.clone()));
        let listeners = listeners.collect::<Result<_, _>>()?;
        let access = open_access(config)?;
        let tls = config.admin.tls.as_ref().map(admin::load_tls).transpose()?;
        let store = Arc::new(
            Store::new(config.settings(), config.routes.as_slice().into())
                .map_err(|e| anyhow::anyhow!("{e}"))?,
        );
        store.read_from(&args.config, text);
        let log = open_log(config)?;
        let first = store.current();
        let metrics = Arc::new(Metrics::new()?);
        metrics.watch_log("error", errors.losses());
        if let Some(log) = &log {
            metrics.watch_log("access", log.losses());
        }
        if let Some(audit) = &access.audit {
            metrics.watch_log("audit", audit.losses());
        }
        let engine = Engine::new(config, credentials, &first, metrics, log)?;
        let engine = Arc::new(engine);
        store
            .on_publish({
                let engine = Arc::clone(&engine);
                Box::new(move |next| Ok(engine.publish(next)?))
            })
            .map_err(|e| anyhow::anyhow!("{e}"))?;
        store.on_unresolved({
            let engine = Arc::clone(&engine);
            Box::new(move |servers| engine.look_up(servers).map_err(|e| e.to_string()))
        });
        // Last: they make files, which a start that is broken off would leave.
        let admin_socket = config.admin.socket.as_deref().map(UnixSocket::prepare);
        Ok(Self {
            listeners,
            admin,
            admin_socket: admin_socket.transpose()?,
            pid_file: files::pid_file(config)?,
            tls,
            access,
            store,
            engine,
            errors,
        })
    }

    /// With the sockets that another process has sent, if any. Nothing can fail after this.
    pub(super) fn ready(
        mut self,
        args: &RunArgs,
        config: &Config,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Ready> {
        let admin = inherited.admin(config.admin.listen).map(OwnedFd::from);
        let admin = self.admin.settle(admin).context("admin.listen")?;
        let admin = TcpListener::from(admin.into_fd());
        let mut listeners = Vec::new();
        for claim in self.listeners {
            let socket = inherited.listener(claim.address());
            listeners.push(claim.settle(socket)?);
        }
        self.engine.listen(listeners);
        if let Some(path) = &config.admin.socket
            && let Some(socket) = inherited.admin_socket(path)
        {
            self.admin_socket = Some(UnixSocket::inherit(path, socket));
        }
        if let Some(socket) = &mut self.admin_socket {
            socket.place()?;
        }
        let ports_file = files::ports_file(args, &self.engine.addresses(), admin.local_addr()?)?;
        for name in inherited.rest() {
            info!(?name, "the running process listens here; this one does not");
        }
        Ok(Ready {
            engine: self.engine,
            store: self.store,
            errors: self.errors,
            access: self.access,
            tls: self.tls,
            admin,
            admin_socket: self.admin_socket,
            files: self.pid_file.into_iter().chain(ports_file).collect(),
        })
    }
}

/// Who may use the admin API.
fn open_access(config: &Config) -> anyhow::Result<Access> {
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

fn open_log(config: &Config) -> anyhow::Result<Option<AccessLog>> {
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

//! Reading the configuration file again, on SIGHUP and through the admin API.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{error, info, warn};
use weir_api::admin::ReloadView;
use weir_api::settings::Problem;
use weir_proxy::admin::TokenFile;
use weir_proxy::config::{self, Config};
use weir_proxy::engine::Engine;
use weir_proxy::settings::{Author, Store};
use weir_proxy::tls::Upstreams;

/// What a reload works on.
pub(crate) struct Reloader {
    pub(crate) file: PathBuf,
    /// The configuration that the process was started with.
    pub(crate) running: Config,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<Store>,
    pub(crate) tokens: Option<Arc<TokenFile>>,
    /// One at a time.
    pub(crate) turn: Mutex<()>,
}

impl Reloader {
    /// Reads the file again, or only says what that would change. A file that does not validate changes
    /// nothing; the error has everything that is wrong with it.
    pub(crate) fn reload(&self, dry_run: bool, author: Author) -> Result<ReloadView, String> {
        let _turn = self.turn.lock();
        let text = config::read(&self.file).map_err(|problems| config::render(&problems))?;
        let name = self.file.display().to_string();
        let mut next = config::parse(&text, &name).map_err(|problems| config::render(&problems))?;
        next.folder.clone_from(&self.running.folder);
        let upstreams = self
            .credentials(&next)
            .map_err(|problems| config::render(&config::locate(&text, &name, problems)))?;
        let needs_restart: Vec<String> = self
            .running
            .fixed_differences(&next)
            .into_iter()
            .filter(|part| *part != "route")
            .map(str::to_owned)
            .collect();
        let publish = || {
            self.store
                .make(|store| store.reload(next.settings(), &next.routes, author.clone(), dry_run))
                .map_err(|error| error.to_string())
        };
        let done = match dry_run {
            true => publish()?,
            false => self.engine.reload_with(&next, upstreams, publish)?,
        };
        if !dry_run {
            self.store.read_from(&self.file, &text);
            if let Some(tokens) = &self.tokens
                && let Err(error) = tokens.reread()
            {
                error!(%error, "the old tokens stay in use");
            }
        }
        Ok(ReloadView {
            revision: done.revision,
            dry_run,
            diff: done.diff,
            routes_changed: done.routes_changed,
            needs_restart,
            shadowed: done.shadowed,
        })
    }

    /// Checks the certificates and keys of the next configuration; those for servers are returned.
    fn credentials(&self, next: &Config) -> Result<Upstreams, Vec<Problem>> {
        let listeners = self.engine.credentials().check_listeners(&next.listeners);
        let upstreams = self.engine.credentials().next_upstreams(next);
        match (listeners, upstreams) {
            (Ok(()), Ok(upstreams)) => Ok(upstreams),
            (Err(one), Err(other)) => Err(one.and(other).into_vec()),
            (Err(problems), Ok(_)) | (Ok(()), Err(problems)) => Err(problems.into_vec()),
        }
    }

    /// The same on a signal: what came of it goes to the log. May wait for names to be looked up.
    pub(crate) fn on_signal(&self) {
        let author = Author::new("SIGHUP", "configuration file read again");
        match self.reload(false, author) {
            Ok(done) => {
                if !done.needs_restart.is_empty() {
                    warn!(
                        parts = done.needs_restart.join(", "),
                        "these parts of the file have changed and need a restart"
                    );
                }
                info!(
                    revision = done.revision,
                    changes = done.diff.len(),
                    "configuration file read again"
                );
                for path in &done.shadowed {
                    warn!(%path, "changed in the file, but a patch or an override is in force");
                }
            }
            Err(what) => error!("reload refused, everything stays as it was:\n{what}"),
        }
    }
}

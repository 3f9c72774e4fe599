//! TLS to the servers of an upstream.

mod failure;
mod unverified;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use weir_api::config::UpstreamTls;
use weir_api::settings::Path as FieldPath;

use super::pair::{Pair, Wrong};
use super::read::{self, FileError};
use super::stamp::Watch;
use super::{Refreshed, TlsProblem, TlsProblems};

pub use failure::handshake_failure;

/// Sessions remembered for resumption, over all servers of an upstream.
const REMEMBERED_SESSIONS: usize = 256;

/// TLS to the servers of one upstream: the configuration of the next handshake, replaced as a whole when
/// files change.
#[derive(Debug)]
pub struct ClientTls {
    table: UpstreamTls,
    folder: PathBuf,
    current: ArcSwap<ClientConfig>,
    watch: Mutex<Watch>,
}

impl ClientTls {
    /// Reads and checks the files of a table; relative paths are relative to `folder`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(table: &UpstreamTls, folder: &Path, now: i64) -> Result<Self, TlsProblems> {
        let named = [&table.ca, &table.cert, &table.key];
        let files = named.into_iter().flatten().map(|path| folder.join(path));
        let watch = Watch::start(files.collect());
        Ok(Self {
            table: table.clone(),
            folder: folder.to_owned(),
            current: ArcSwap::new(load(table, folder, now)?),
            watch: Mutex::new(watch),
        })
    }

    /// The table that this was made from.
    #[must_use]
    pub const fn table(&self) -> &UpstreamTls {
        &self.table
    }

    /// The configuration of the next handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.current.load_full()
    }

    /// The name to ask for and to verify at a server of this host: `server_name`, else the host itself.
    /// None if neither is a DNS name or an IP address.
    #[must_use]
    pub fn server_name(&self, host: &str) -> Option<ServerName<'static>> {
        let name = self.table.server_name.as_deref().unwrap_or(host);
        let name = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name);
        ServerName::try_from(name.to_owned()).ok()
    }

    /// Reads the files again if they have changed since, and have settled. To be called every few seconds.
    pub fn refresh(&self, now: i64) -> Refreshed {
        if !self.watch.lock().is_due() {
            return Refreshed::Unchanged;
        }
        match load(&self.table, &self.folder, now) {
            Ok(config) => {
                self.current.store(config);
                Refreshed::Replaced
            }
            Err(problems) => Refreshed::Kept(problems),
        }
    }
}

fn load(table: &UpstreamTls, folder: &Path, now: i64) -> Result<Arc<ClientConfig>, TlsProblems> {
    let provider = weir_api::tls::provider();
    let problem = |name: &str, error| TlsProblem {
        field: FieldPath::root().key(name),
        error,
    };
    let mut problems = Vec::new();
    let verifier =
        verifier(table, folder, &provider).map_err(|error| problems.push(problem("ca", error)));
    let own = match table.cert.as_ref().zip(table.key.as_ref()) {
        Some((cert, key)) => {
            match Pair::load(&folder.join(cert), &folder.join(key), now, &provider) {
                Ok(pair) => Some(pair),
                Err(Wrong::Cert(error)) => {
                    problems.push(problem("cert", error));
                    None
                }
                Err(Wrong::Key(error)) => {
                    problems.push(problem("key", error));
                    None
                }
            }
        }
        None => None,
    };
    let verifier = match verifier {
        Ok(verifier) if problems.is_empty() => verifier,
        _ => return Err(TlsProblems(problems)),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|cause| {
            let cause = cause.to_string();
            TlsProblems(vec![problem("ca", FileError::Refused { cause })])
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        Some(pair) => {
            let own = SingleCertAndKey::from(pair.key.as_ref().clone());
            builder.with_client_cert_resolver(Arc::new(own))
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn verifier(
    table: &UpstreamTls,
    folder: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, FileError> {
    let roots = match &table.ca {
        Some(file) => read::authorities(&folder.join(file))?,
        None if !table.verify => return Ok(unverified::any_certificate(provider)),
        None => read::system_authorities()?,
    };
    if !table.verify {
        return Ok(unverified::any_certificate(provider));
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = built.build().map_err(|cause| FileError::Refused {
        cause: cause.to_string(),
    })?;
    Ok(verifier)
}

//! How requests travel, prepared once for all lanes: versions, limits, and the TLS configuration.

use std::{net::IpAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject as _},
    },
    version::{TLS12, TLS13},
};

use crate::{
    scenario::{Engine, Http, HttpVersion, Scenario, Tls, TlsVersion},
    target::{BaseUrl, Target},
};

/// Sessions that a user keeps for resumption.
const KEPT_SESSIONS: usize = 8;

/// What makes a transport impossible; the message says what and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransportError {
    /// A file with certificates or a key.
    #[error("`tls.{field}`: cannot use {file}: {why}")]
    File {
        /// Key in the scenario.
        field: &'static str,
        /// As given.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// What the certificates, keys and versions add up to.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// A name for TLS that an engine cannot use.
    #[error(
        "`tls.server_name`: the session engine needs a DNS name here, not the address {0}; use engine = \"wire\""
    )]
    AddressAsName(IpAddr),
}

/// How requests travel.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pub(crate) http: Http,
    tls: Tls,
    config: Option<Arc<ClientConfig>>,
}

impl Transport {
    /// What a scenario says; TLS is set up by [`Self::load`].
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            http: scenario.http.clone(),
            tls: scenario.tls.clone(),
            config: None,
        }
    }

    /// Reads certificates and keys, if any base URL of the target needs them.
    pub(crate) fn load(&mut self, engine: Engine, target: &Target) -> Result<(), TransportError> {
        if !target.base_urls().iter().any(BaseUrl::is_secure) {
            return Ok(());
        }
        let address = self.tls.server_name.as_ref().and_then(|n| n.parse().ok());
        if let (Engine::Session, Some(address)) = (engine, address) {
            return Err(TransportError::AddressAsName(address));
        }
        self.config = Some(Arc::new(configuration(&self.tls, self.http.version)?));
        Ok(())
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.http.version == HttpVersion::Http2
    }

    /// TLS for one user. Sessions are resumed only if the scenario says so, and never those of
    /// somebody else: users do not share what they know.
    pub(crate) fn tls_of_one_user(&self) -> Option<Arc<ClientConfig>> {
        let config = self.config.as_ref()?;
        if !self.tls.resumption {
            return Some(config.clone());
        }
        let mut own = ClientConfig::clone(config);
        own.resumption = Resumption::in_memory_sessions(KEPT_SESSIONS);
        Some(Arc::new(own))
    }

    /// Name that TLS asks `base` for.
    pub(crate) fn server_name<'a>(&'a self, base: &'a BaseUrl) -> &'a str {
        match &self.tls.server_name {
            Some(name) if base.is_secure() => name,
            _ => base.host(),
        }
    }

    /// Host and port that requests to `base` name.
    pub(crate) fn authority(&self, base: &BaseUrl) -> String {
        match &self.tls.server_name {
            Some(name) if base.is_secure() => format!("{name}:{}", base.address().port()),
            _ => base.authority().to_owned(),
        }
    }
}

/// A configuration that trusts nobody, for clients that speak in clear text only: the default one
/// would read the certificates of the system for each user.
pub(super) fn trusting_nobody() -> Result<ClientConfig, TransportError> {
    weir_api::tls::provide();
    let builder = ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Tls(error.to_string()))?;
    let mut config = builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    // It would keep room for sessions that never come.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn provider() -> Result<Arc<CryptoProvider>, TransportError> {
    weir_api::tls::provide();
    CryptoProvider::get_default()
        .cloned()
        .ok_or_else(|| TransportError::Tls("no cryptography was chosen".into()))
}

fn configuration(tls: &Tls, version: HttpVersion) -> Result<ClientConfig, TransportError> {
    let provider = provider()?;
    let wrong = |error: rustls::Error| TransportError::Tls(error.to_string());
    let versions: &[&'static SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(wrong)?;
    let builder = match &tls.ca {
        _ if tls.insecure => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        Some(file) => builder.with_root_certificates(roots(file)?),
        None => {
            let system = rustls_platform_verifier::Verifier::new(provider).map_err(wrong)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(system))
        }
    };
    let mut config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = certificates("certificate", &own.chain)?;
            let key = PrivateKeyDer::from_pem_file(&own.key)
                .map_err(|error| unusable("key", &own.key, &error))?;
            builder.with_client_auth_cert(chain, key).map_err(wrong)?
        }
    };
    config.alpn_protocols = match version {
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn roots(file: &Path) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", file)? {
        roots
            .add(certificate)
            .map_err(|error| TransportError::File {
                field: "ca",
                file: file.display().to_string(),
                why: error.to_string(),
            })?;
    }
    Ok(roots)
}

fn certificates(
    field: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(field, file, &error))?;
    if found.is_empty() {
        return Err(unusable(field, file, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn unusable(field: &'static str, file: &Path, error: &pem::Error) -> TransportError {
    let why = match error {
        pem::Error::NoItemsFound => "it holds nothing of that kind in PEM".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    TransportError::File {
        field,
        file: file.display().to_string(),
        why,
    }
}

/// Accepts every certificate, because somebody asked for it; signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_that_do_not_fit_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing\n").unwrap();
        for file in [empty, dir.path().join("missing.pem")] {
            let tls = Tls {
                ca: Some(file.clone()),
                ..Tls::default()
            };
            let error = configuration(&tls, HttpVersion::Http1).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&file.display().to_string()), "{text}");
            assert!(text.contains("tls.ca"), "{text}");
        }
    }

    #[test]
    fn only_the_version_asked_for_is_offered() {
        let tls = Tls {
            insecure: true,
            ..Tls::default()
        };
        let offered = |version| configuration(&tls, version).unwrap().alpn_protocols;
        assert_eq!(offered(HttpVersion::Http1), [b"http/1.1".to_vec()]);
        assert_eq!(offered(HttpVersion::Http2), [b"h2".to_vec()]);
    }
}

//! TLS of a stand-in: a certificate that is given, or one that it signs itself.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};

/// Names in a self-signed certificate.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the certificate of a stand-in comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Made for this one run, for `localhost`, 127.0.0.1, ::1 and further names; valid until the end of 4095.
    SelfSigned {
        /// Further DNS names or addresses.
        names: Vec<String>,
        /// Where to write it, as PEM, so that clients can be told to trust it.
        save: Option<PathBuf>,
    },
    /// Certificate chain and private key, PEM.
    Files {
        /// The chain.
        chain: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// Configuration of a server that offers HTTP/2 and HTTP/1.1 through ALPN.
pub fn configuration(certificate: &Certificate) -> io::Result<Arc<ServerConfig>> {
    weir_api::tls::provide();
    let (chain, key) = match certificate {
        Certificate::SelfSigned { names, save } => self_signed(names, save.as_deref())?,
        Certificate::Files { chain, key } => read(chain, key)?,
    };
    let provider = CryptoProvider::get_default()
        .cloned()
        .ok_or_else(|| io::Error::other("no cryptography was chosen"))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| io::Error::other(format!("the certificate cannot be used: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed(names: &[String], save: Option<&Path>) -> io::Result<Pair> {
    let names: Vec<String> = NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .chain(names.iter().cloned())
        .collect();
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    if let Some(file) = save {
        std::fs::write(file, made.cert.pem())
            .map_err(|error| named(file, "write", &error.to_string()))?;
    }
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

fn read(chain: &Path, key: &Path) -> io::Result<Pair> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(|error| named(chain, "read certificates from", &error.to_string()))?;
    if certificates.is_empty() {
        return Err(named(chain, "read certificates from", "it holds none"));
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| named(key, "read a key from", &error.to_string()))?;
    Ok((certificates, key))
}

fn named(file: &Path, what: &str, why: &str) -> io::Error {
    io::Error::other(format!("cannot {what} {}: {why}", file.display()))
}

//! The certificate for a server name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// Certificates by the names in them: an exact name before a wildcard, the first certificate when no name
/// matches or the client names none.
#[derive(Debug)]
pub(super) struct ByName {
    default: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`, which stands for one label (RFC 9525 section 6.3).
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    /// Sorts certificates, the default first.
    pub(super) fn new(pairs: &[Pair]) -> Self {
        let mut exact: HashMap<String, Vec<_>> = HashMap::new();
        let mut wildcard: HashMap<String, Vec<_>> = HashMap::new();
        for pair in pairs {
            for name in &pair.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(name.to_owned())
                    .or_default()
                    .push(Arc::clone(&pair.key));
            }
        }
        // A second certificate for the names of the first (RSA beside ECDSA) serves as default too.
        let names = pairs.first().map(|first| first.names.as_slice());
        let alike = |pair: &&Pair| Some(pair.names.as_slice()) == names;
        let default = pairs
            .iter()
            .take(1)
            .chain(pairs.iter().skip(1).filter(alike));
        Self {
            default: default.map(|pair| Arc::clone(&pair.key)).collect(),
            exact,
            wildcard,
        }
    }

    /// The certificates for a name, in the order of the file; never empty if there is any certificate.
    pub(super) fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else {
            return &self.default;
        };
        // rustls hands names on in lower case only if the client wrote them so.
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let wild = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wild).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = self.candidates(hello.server_name());
        // Of several for one name, the first whose key the client can verify.
        let usable =
            |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        found.iter().find(usable).or_else(|| found.first()).cloned()
    }
}

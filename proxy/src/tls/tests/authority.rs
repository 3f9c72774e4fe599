//! Certificates for the tests.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;
use weir_api::config::{CertificateFiles, ClientAuth, ListenerTls, TlsVersion};

/// A day within the validity of every certificate made here, in seconds since 1970.
pub(super) const NOW: i64 = 1_800_000_000;

/// A folder, and an authority that signs what is put into it.
pub(super) struct Authority {
    pub(super) folder: TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

fn named(name: &str, dns: &[&str]) -> CertificateParams {
    let dns: Vec<String> = dns.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(dns).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    pub(super) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(authority("Root"), KeyPair::generate().unwrap());
        let it = Self {
            folder: TempDir::new().unwrap(),
            root: root.unwrap(),
        };
        it.write("ca.pem", &it.root.pem());
        it
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub(super) fn issue(&self, name: &str, dns: &[&str]) -> CertificateFiles {
        self.issue_with(name, dns, |_| {})
    }

    pub(super) fn issue_with(
        &self,
        name: &str,
        dns: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name, dns);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.root).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
        files(name)
    }

    /// Writes `NAME.pem`, a chain of three: the certificate, one between, and the root.
    pub(super) fn issue_chain(&self, name: &str) -> [String; 3] {
        let between = KeyPair::generate().unwrap();
        let between = CertifiedIssuer::signed_by(authority("Between"), between, &self.root);
        let between = between.unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = named(name, &[name]).signed_by(&key, &between).unwrap();
        let chain = [leaf.pem(), between.pem(), self.root.pem()];
        self.write(&format!("{name}.pem"), &chain.concat());
        self.write(&format!("{name}.key"), &key.serialize_pem());
        chain
    }
}

pub(super) fn files(name: &str) -> CertificateFiles {
    CertificateFiles {
        cert: PathBuf::from(format!("{name}.pem")),
        key: PathBuf::from(format!("{name}.key")),
    }
}

/// A table of these certificates, everything else at its default.
pub(super) fn table(certificates: impl IntoIterator<Item = CertificateFiles>) -> ListenerTls {
    ListenerTls {
        certificates: certificates.into_iter().collect(),
        short: false,
        min_version: TlsVersion::Tls12,
        client_ca: None,
        client_auth: ClientAuth::Off,
    }
}

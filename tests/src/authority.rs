//! Certificates for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// A folder, and an authority that signs what is put into it. Its own certificate is `ca.pem`.
pub struct Authority {
    folder: TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

impl Authority {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut params = named("Authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        Self { folder, root }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`, for these hosts. A new pair takes the place of an old one.
    pub fn issue(&self, name: &str, hosts: &[&str]) {
        self.write(name, named(name, hosts));
    }

    /// The same, but it expired in 2021.
    pub fn issue_expired(&self, name: &str, hosts: &[&str]) {
        let mut params = named(name, hosts);
        params.not_after = date_time_ymd(2021, 2, 3);
        self.write(name, params);
    }

    fn write(&self, name: &str, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.root).unwrap();
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Certificate and key in TOML, without braces.
    pub fn pair(&self, name: &str) -> String {
        let folder = self.folder().display();
        format!("cert = '{folder}/{name}.pem', key = '{folder}/{name}.key'")
    }

    /// The authority's own certificate in TOML.
    pub fn ca(&self) -> String {
        format!("'{}'", self.file("ca.pem").display())
    }
}

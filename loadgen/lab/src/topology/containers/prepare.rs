//! The files of a run that containers read and write, in its folder.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use weir_api::config::Config;

use super::{ADMIN_PORT, API_PORT, PROXY_PORT, overlay, owner::Owner, token::Token};
use crate::{
    error::TopologyError,
    proxies::derived::{self, Addresses},
    topology::{Places, TopologySpec},
};

/// Name of the tokens' file, beside the proxy's configuration.
const TOKENS: &str = "tokens.toml";

/// The derived configuration, in its files.
pub(super) struct Prepared {
    pub(super) overlay: PathBuf,
    /// The proxy's; none without one.
    pub(super) proxy: Option<Derived>,
}

/// The configuration of the proxy.
pub(super) struct Derived {
    pub(super) text: String,
    pub(super) config: Config,
    /// What the admin API asks for.
    pub(super) token: String,
}

/// Folder of what is mounted at /etc/weir, in the run folder.
fn mounted(folder: &Path) -> PathBuf {
    folder.join("etc-weir")
}

impl Prepared {
    pub(super) fn write(
        spec: &TopologySpec,
        places: &Places,
        owner: &Owner,
    ) -> Result<Self, TopologyError> {
        let folder = &places.folder;
        let config = mounted(folder);
        let access_log = folder.join("access.log");
        let proxy = if spec.proxy {
            let addresses = Addresses {
                listener: format!("0.0.0.0:{PROXY_PORT}"),
                admin: format!("0.0.0.0:{ADMIN_PORT}"),
                tokens: Some(PathBuf::from("/etc/weir").join(TOKENS)),
                servers: vec![format!("api:{API_PORT}")],
                upgrade_socket: "/run/weir/upgrade.sock".into(),
                access_log: overlay::ACCESS_LOG.into(),
            };
            let (text, parsed) = derived::derive(&places.proxy_config, &addresses)?;
            let Token { secret, entry } = Token::new("weir-bench");
            // The container's user is nobody on this machine: it reads and writes as "others" do.
            make(&config, |path| fs::create_dir_all(path), 0o755)?;
            make(
                &config.join("proxy.toml"),
                |path| fs::write(path, &text),
                0o644,
            )?;
            make(&config.join(TOKENS), |path| fs::write(path, &entry), 0o644)?;
            make(&access_log, |path| fs::write(path, ""), 0o666)?;
            Some(Derived {
                text,
                config: parsed,
                token: secret,
            })
        } else {
            None
        };
        let path = folder.join("compose.bench.json");
        let overlay = overlay::overlay(spec, &owner.to_string(), &config, &access_log);
        let text = format!("{overlay:#}\n");
        make(&path, |path| fs::write(path, &text), 0o644)?;
        Ok(Self {
            overlay: path,
            proxy,
        })
    }
}

/// Makes a file or folder with exactly these permissions.
fn make(
    path: &Path,
    how: impl FnOnce(&Path) -> io::Result<()>,
    mode: u32,
) -> Result<(), TopologyError> {
    how(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|cause| TopologyError::Write {
            path: path.to_owned(),
            cause,
        })
}

/// Leaves in the run folder what a run of processes leaves there.
pub(super) fn tidy(folder: &Path) {
    let config = mounted(folder);
    let _ = fs::rename(config.join("proxy.toml"), folder.join("proxy.toml"));
    let _ = fs::remove_dir_all(&config);
    let _ = fs::set_permissions(folder.join("access.log"), Permissions::from_mode(0o644));
}

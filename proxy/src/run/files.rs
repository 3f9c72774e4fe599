//! The files that tell where the proxy is: the pid file and the ports file.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tracing::info;
use weir_proxy::config::Config;
use weir_proxy::engine::Engine;

use crate::cli::RunArgs;

/// Tells where the proxy can be reached.
pub(super) fn announce(
    args: &RunArgs,
    config: &Config,
    engine: &Engine,
    admin: SocketAddr,
) -> anyhow::Result<()> {
    for address in engine.addresses() {
        info!(%address, "listening");
    }
    info!(address = %admin, "admin API");
    if let Some(file) = &config.server.pid_file {
        write_whole(file, &format!("{}\n", std::process::id()))
            .with_context(|| format!("server.pid_file: cannot write {}", file.display()))?;
    }
    if let Some(file) = &args.ports_file {
        let listeners: Vec<String> = engine
            .addresses()
            .iter()
            .map(SocketAddr::to_string)
            .collect();
        let text = json!({ "listeners": listeners, "admin": admin.to_string(), "pid": std::process::id() });
        write_whole(file, &text.to_string())
            .with_context(|| format!("--ports-file: cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Writes a file so that a reader sees all of it or nothing.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let temp = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut out = std::fs::File::create(&temp)?;
    out.write_all(text.as_bytes())?;
    std::fs::rename(&temp, file)
}

/// Removes the pid file, unless a successor has written its own.
pub(super) fn remove_pid_file(config: &Config) {
    let Some(file) = &config.server.pid_file else {
        return;
    };
    let ours = std::process::id().to_string();
    if std::fs::read_to_string(file).is_ok_and(|text| text.trim() == ours) {
        // It may have been removed by hand meanwhile.
        let _ = std::fs::remove_file(file);
    }
}

//! Upgrades: sockets taken from the process that runs, and handed to the one that follows.

use std::os::fd::OwnedFd;

use tracing::{error, info};
use weir_proxy::config::Config;
use weir_proxy::engine::handover::{self, HandOverError, Name, Predecessor, Successor, Waiting};

use super::open::{Opened, Ready};
use crate::cli::RunArgs;

/// Waits for the sockets of the process that runs, and for its leave to serve.
pub(super) async fn take_over(
    args: &RunArgs,
    config: &Config,
    opened: Opened,
) -> anyhow::Result<(Ready, Predecessor)> {
    let path = &config.server.upgrade_socket;
    let waiting = Waiting::at(path)?;
    info!(socket = %path.display(), "ready for an upgrade; waiting for SIGQUIT to the running weir");
    let mut offered = waiting.offered().await?;
    match opened.ready(args, config, &mut offered.sockets) {
        Ok(mut ready) => {
            let predecessor = offered.ready().await?;
            // Until now the file was the other's, who would have gone on.
            if let Some(socket) = &mut ready.admin_socket {
                socket.keep_file();
            }
            Ok((ready, predecessor))
        }
        Err(error) => {
            offered.decline(&format!("{error:#}")).await;
            Err(error)
        }
    }
}

/// Hands the sockets to the successor that waits for them.
pub(super) async fn hand_over(ready: &Ready, config: &Config) -> Result<Successor, HandOverError> {
    let sockets = sockets(ready)?;
    handover::hand_over(&config.server.upgrade_socket, &sockets).await
}

fn sockets(ready: &Ready) -> std::io::Result<Vec<(Name, OwnedFd)>> {
    let mut sockets: Vec<(Name, OwnedFd)> = Vec::new();
    for socket in ready.engine.sockets()? {
        sockets.push((Name::from(socket.address()), socket.into_fd()));
    }
    let admin = ready.admin.try_clone()?;
    sockets.push((Name::Admin(admin.local_addr()?), admin.into()));
    if let Some(socket) = &ready.admin_socket {
        let name = Name::AdminSocket(socket.path().to_owned());
        match socket.share()?.into_listener() {
            Some(listener) => sockets.push((name, listener.into())),
            None => error!("admin.socket is closed"),
        }
    }
    Ok(sockets)
}

//! The stand-in API of `weir-bench`.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    process::{Process, program},
    wait::eventually_some,
    weir::Server,
};

/// A running `weir-bench replica`.
#[derive(Debug)]
pub struct Replica {
    pub process: Process,
    _dir: TempDir,
    address: SocketAddr,
}

impl Replica {
    pub async fn start(args: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), args).await
    }

    /// Starts one on an address that is known, for instance that of one that was killed.
    pub async fn start_on(address: SocketAddr, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = dir.path().join("ports.json");
        let mut command = Command::new(program("weir-bench"));
        command
            .args(["replica", "--listen", &address.to_string(), "--ports-file"])
            .arg(&ports)
            .args(args);
        let mut process = Process::start("replica", command, dir.path());
        let told = eventually_some("a replica to be ready", || {
            assert!(
                process.ended().is_none(),
                "the replica ended: {}",
                process.stderr()
            );
            let told = std::fs::read(&ports).ok();
            async { told }
        })
        .await;
        let told: Value = serde_json::from_slice(&told).unwrap();
        let address = told["listeners"][0].as_str().unwrap().parse().unwrap();
        Self {
            process,
            _dir: dir,
            address,
        }
    }
}

impl Server for Replica {
    fn addr(&self) -> SocketAddr {
        self.address
    }
}

//! The real nginx, for differential tests.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command};

use crate::{
    process::{Process, free_address},
    wait::eventually_some,
};

/// A running nginx of our own, apart from any that the system runs.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    _dir: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// Starts nginx with `http` inside its `http` block and `server` inside a server that listens. `ADDRESS` in `http` is
    /// where it listens, for more servers there.
    pub async fn start(http: &str, server: &str) -> Self {
        let program = find();
        // The port is free now; should someone take it first, nginx ends and another one is tried.
        for _ in 0..5 {
            let address = free_address();
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().display();
            let http = http.replace("ADDRESS", &address.to_string());
            let config = format!(
                "daemon off; master_process off; worker_processes 1;
                 pid {root}/nginx.pid; error_log {root}/error.log;
                 events {{ worker_connections 1024; }}
                 http {{
                   access_log off;
                   client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
                   fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
                   {http}
                   server {{ listen {address}; {server} }}
                 }}"
            );
            let file = dir.path().join("nginx.conf");
            std::fs::write(&file, config).unwrap();
            let mut command = Command::new(&program);
            command
                .arg("-p")
                .arg(dir.path())
                .arg("-c")
                .arg(&file)
                .arg("-e")
                .arg(dir.path().join("early.log"));
            let mut process = Process::start("nginx", command, dir.path());
            let listening = eventually_some("nginx to listen", || {
                let ended = process.ended().is_some();
                async move {
                    let listens = TcpStream::connect(address).await.is_ok();
                    (ended || listens).then_some(!ended)
                }
            })
            .await;
            if listening {
                return Self {
                    _process: process,
                    _dir: dir,
                    address,
                };
            }
            let said = process.stderr();
            assert!(
                said.contains("Address already in use"),
                "nginx does not start: {said}"
            );
        }
        panic!("no free port for nginx");
    }

    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

fn find() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.push("/usr/sbin".into());
    directories
        .iter()
        .map(|dir| dir.join("nginx"))
        .find(|file: &PathBuf| Path::is_file(file))
        .expect("nginx is not installed, and these tests compare with the real one: `make test` installs it, or `apt-get install nginx`")
}

//! The system's resolver: `getaddrinfo`, and whatever `/etc/nsswitch.conf` has it ask.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::{Answer, LookupError};

type Running = Shared<BoxFuture<'static, Result<Vec<IpAddr>, String>>>;

/// Asks the system's resolver on threads that may block, one for each name at most: one that is asked
/// for again before it is answered waits for the same answer.
#[derive(Debug, Default)]
pub(super) struct System {
    running: Arc<Mutex<HashMap<String, Running>>>,
}

impl System {
    /// The addresses of `host`.
    pub(super) async fn look_up(&self, host: &str) -> Result<Answer, LookupError> {
        let found = self.run(host).await.map_err(LookupError::System)?;
        Answer::new(found).ok_or_else(|| LookupError::System("no address".to_owned()))
    }

    fn run(&self, host: &str) -> Running {
        let mut running = self.running.lock();
        if let Some(running) = running.get(host) {
            return running.clone();
        }
        let (name, all) = (host.to_owned(), Arc::clone(&self.running));
        let asked = tokio::task::spawn_blocking(move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            all.lock().remove(&name);
            found
                .map(|found| found.map(|address: SocketAddr| address.ip()).collect())
                .map_err(|error| error.to_string())
        });
        let asked = asked
            .map(|done| done.unwrap_or_else(|error| Err(error.to_string())))
            .boxed()
            .shared();
        running.insert(host.to_owned(), asked.clone());
        asked
    }
}

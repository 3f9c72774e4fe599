//! Clients that keep asking while something happens to the proxy.

use std::net::SocketAddr;

use tokio::{sync::watch, task::JoinHandle};

use crate::{Conn, wait::within};

/// Clients in tasks of their own, each with a new connection for every request. Any answer but a 200 fails the test.
#[derive(Debug)]
pub struct Clients {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Clients {
    /// So many clients that ask `to` until they are stopped.
    pub fn asking(to: SocketAddr, count: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let client = |_| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut answers = 0;
                while !*stopped.borrow() {
                    Conn::open(to).await.get("/").await.expect(200);
                    answers += 1;
                }
                answers
            })
        };
        let tasks = (0..count).map(client).collect();
        Self { stop, tasks }
    }

    /// Stops them; each must have had an answer.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let answers = within("a client's last answer", task).await.unwrap();
            assert!(answers > 0);
        }
    }
}

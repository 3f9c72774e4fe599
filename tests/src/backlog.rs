//! An address where connecting hangs.

use std::{net::SocketAddr, time::Duration};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

/// A listener whose queue is full: nobody accepts, and further connects get no answer.
#[derive(Debug)]
pub struct FullBacklog {
    listener: Socket,
    held: Vec<TcpStream>,
}

impl FullBacklog {
    pub async fn start() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let mut full = Self {
            listener,
            held: Vec::new(),
        };
        // Connections are completed until the queue is full; the first that is not shows that it is.
        for _ in 0..8 {
            let connect = TcpStream::connect(full.addr());
            match tokio::time::timeout(Duration::from_millis(300), connect).await {
                Ok(stream) => full.held.push(stream.unwrap()),
                Err(_) => return full,
            }
        }
        panic!("the queue of a listener with backlog 0 does not fill");
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}

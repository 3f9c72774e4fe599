//! A DNS server that answers as a test wants it to.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// A DNS server on loopback; it does not know names that nobody has set.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    names: Arc<Mutex<HashMap<String, Answer>>>,
    task: JoinHandle<()>,
}

/// What it says of a name.
#[derive(Debug, Clone)]
enum Answer {
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: u32,
        after: Duration,
    },
    /// An error of the server (SERVFAIL).
    Failure,
    /// Nothing at all.
    Silence,
}

const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

impl Dns {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let names: Arc<Mutex<HashMap<String, Answer>>> = Arc::default();
        Self {
            address: socket.local_addr().unwrap(),
            names: Arc::clone(&names),
            task: tokio::spawn(serve(Arc::new(socket), names)),
        }
    }

    /// TOML that makes a proxy ask this server.
    pub fn config(&self) -> String {
        format!("resolver.servers = ['{}']", self.address)
    }

    /// The name has these addresses, with a TTL in seconds.
    pub fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        self.set_slow(name, addresses, ttl, Duration::ZERO);
    }

    /// As [`Dns::set`], but the answer takes time.
    pub fn set_slow(&self, name: &str, addresses: &[&str], ttl: u32, after: Duration) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let answer = Answer::Addresses {
            addresses,
            ttl,
            after,
        };
        self.answer(name, answer);
    }

    /// Asked for the name, the server says that it cannot tell.
    pub fn fail(&self, name: &str) {
        self.answer(name, Answer::Failure);
    }

    /// Asked for the name, the server says nothing.
    pub fn be_silent(&self, name: &str) {
        self.answer(name, Answer::Silence);
    }

    fn answer(&self, name: &str, answer: Answer) {
        self.names.lock().unwrap().insert(name.to_owned(), answer);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, names: Arc<Mutex<HashMap<String, Answer>>>) {
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let query = Query::parse(&buffer[..length]);
        let answer = names.lock().unwrap().get(&query.name).cloned();
        let (after, reply) = match answer {
            None => (Duration::ZERO, query.reply(NO_SUCH_NAME, &[], 0)),
            Some(Answer::Failure) => (Duration::ZERO, query.reply(SERVER_FAILURE, &[], 0)),
            Some(Answer::Silence) => continue,
            Some(Answer::Addresses {
                addresses,
                ttl,
                after,
            }) => (after, query.reply(NO_ERROR, &addresses, ttl)),
        };
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = socket.send_to(&reply, from).await;
        });
    }
}

/// A question, see RFC 1035, section 4.
struct Query {
    id: [u8; 2],
    name: String,
    /// As it came.
    question: Vec<u8>,
    kind: u16,
}

const A: u16 = 1;
const AAAA: u16 = 28;

impl Query {
    fn parse(message: &[u8]) -> Self {
        let (mut at, mut labels) = (12, Vec::new());
        while message[at] != 0 {
            let end = at + 1 + usize::from(message[at]);
            labels.push(String::from_utf8_lossy(&message[at + 1..end]).to_lowercase());
            at = end;
        }
        let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
        Self {
            id: [message[0], message[1]],
            name: labels.join("."),
            question: message[12..at + 5].to_vec(),
            kind,
        }
    }

    fn reply(&self, code: u8, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        let records: Vec<Vec<u8>> = addresses
            .iter()
            .filter_map(|address| match (address, self.kind) {
                (IpAddr::V4(ip), A) => Some(ip.octets().to_vec()),
                (IpAddr::V6(ip), AAAA) => Some(ip.octets().to_vec()),
                _ => None,
            })
            .collect();
        let mut reply = self.id.to_vec();
        // A response, with recursion asked for and available.
        reply.extend([0x81, 0x80 | code, 0, 1, 0]);
        reply.push(u8::try_from(records.len()).unwrap());
        reply.extend([0; 4]);
        reply.extend(&self.question);
        for data in records {
            // The name is the question's; the class is IN.
            reply.extend([0xc0, 12]);
            reply.extend(self.kind.to_be_bytes());
            reply.extend([0, 1]);
            reply.extend(ttl.to_be_bytes());
            reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            reply.extend(data);
        }
        reply
    }
}

//! Clients of a stack: how many requests were sent, which failed, how, and when.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder, Response, header::CONNECTION};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use super::engine::{BOUND, until};

/// Clients that read.
const READERS: usize = 4;
/// Pause of a client between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// A record that is written.
const WRITE: &str = "/api/v1/compliance/cases";

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `GET`: may be sent again.
    Read,
    /// `POST`: must never be sent again once a replica may have seen it.
    Write,
}

/// How a request failed, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Not connected.
    Refused,
    /// Connected, and the connection ended without an answer.
    Dropped,
    /// Another status than that of success.
    Status(u16),
    /// The answer broke off.
    Broken,
    /// No answer for [`BOUND`].
    TimedOut,
}

/// A request that failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) class: Class,
    pub(super) sent: Instant,
    /// What the client said.
    told: String,
}

/// What the clients have seen.
#[derive(Default, Clone)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) failures: Vec<Failure>,
    /// Answers by the name of the replica.
    pub(super) answers: BTreeMap<String, u64>,
    /// Writes that succeeded, by the name of the replica.
    pub(super) written: BTreeMap<String, u64>,
    /// The longest that a client waited for a success.
    pub(super) slowest: Duration,
}

/// Failures by kind and class: their number, and one of them.
impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut failures = BTreeMap::new();
        for failure in &self.failures {
            let (count, _) = failures
                .entry((failure.kind, failure.class))
                .or_insert((0, &failure.told));
            *count += 1;
        }
        f.debug_struct("Tally")
            .field("sent", &self.sent)
            .field("failed", &self.failures.len())
            .field("failures", &failures)
            .field("answers", &self.answers)
            .field("written", &self.written)
            .field("slowest", &self.slowest)
            .finish()
    }
}

/// Clients that send one request after the other until told to stop: four that read, one that writes.
pub(super) struct Load {
    site: Site,
    stop: watch::Sender<bool>,
    clients: Vec<JoinHandle<()>>,
}

/// Where the requests go, and what has become of them.
#[derive(Clone)]
struct Site {
    base: String,
    token: String,
    tally: Arc<Mutex<Tally>>,
}

impl Load {
    /// Logs in, which is the first write, and starts the clients.
    pub(super) async fn start(address: &str) -> Self {
        let (token, replica) = log_in(address).await;
        let tally = Tally {
            sent: 1,
            written: BTreeMap::from([(replica, 1)]),
            ..Tally::default()
        };
        let site = Site {
            base: format!("http://{address}"),
            token,
            tally: Arc::new(Mutex::new(tally)),
        };
        let (stop, stopped) = watch::channel(false);
        let kinds = std::iter::repeat_n(Kind::Read, READERS).chain([Kind::Write]);
        let clients = kinds
            .map(|kind| {
                let (site, stopped) = (site.clone(), stopped.clone());
                tokio::spawn(async move {
                    let client = client();
                    while !*stopped.borrow() {
                        site.send(&client, kind).await;
                        tokio::time::sleep(PAUSE).await;
                    }
                })
            })
            .collect();
        Self {
            site,
            stop,
            clients,
        }
    }

    pub(super) fn so_far(&self) -> Tally {
        self.site.tally().clone()
    }

    /// Waits until this many replicas answer from now on.
    #[track_caller]
    pub(super) fn reaches(&self, replicas: usize) {
        let before = self.so_far().answers;
        until(&format!("answers of {replicas}"), || {
            let now = self.so_far().answers;
            let answering = now
                .iter()
                .filter(|(name, count)| before.get(*name) != Some(count));
            (answering.count() == replicas).then_some(())
        });
    }

    /// Waits until this many more requests have been answered well.
    #[track_caller]
    pub(super) fn goes_on(&self, answers: u64) {
        let good = || self.so_far().answers.values().sum::<u64>();
        let enough = good() + answers;
        until("further answers", || (good() >= enough).then_some(()));
    }

    /// Sends this many writes at once, beside the clients; each tells whether the answer asked for a new connection, if
    /// there was a good one.
    pub(super) fn writes_at_once(&self, writes: usize) -> Vec<JoinHandle<Option<bool>>> {
        let send = |_| {
            let site = self.site.clone();
            tokio::spawn(async move { site.send(&client(), Kind::Write).await })
        };
        (0..writes).map(send).collect()
    }

    pub(super) async fn stop(self) -> Tally {
        self.stop.send_replace(true);
        for client in self.clients {
            client.await.unwrap();
        }
        let tally = self.site.tally().clone();
        // Seen with --nocapture.
        println!("{tally:?}");
        tally
    }
}

impl Site {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap()
    }

    fn request(&self, client: &Client, kind: Kind) -> RequestBuilder {
        match kind {
            // Stand-ins do not count it among their requests, nor delay it.
            Kind::Read => client.get(format!("{}/health", self.base)),
            Kind::Write => client
                .post(format!("{}{WRITE}", self.base))
                .bearer_auth(&self.token)
                .json(&json!({ "title": "a case" })),
        }
    }

    /// Sends one request and counts it; says whether the answer asked for a new connection, if there was a good one.
    async fn send(&self, client: &Client, kind: Kind) -> Option<bool> {
        let sent = Instant::now();
        self.tally().sent += 1;
        let answer = answer(self.request(client, kind), kind).await;
        let mut tally = self.tally();
        match answer {
            Ok(answer) => {
                tally.slowest = tally.slowest.max(sent.elapsed());
                if kind == Kind::Write {
                    *tally.written.entry(answer.replica.clone()).or_default() += 1;
                }
                *tally.answers.entry(answer.replica).or_default() += 1;
                Some(answer.closes)
            }
            Err((class, told)) => {
                tally.failures.push(Failure {
                    kind,
                    class,
                    sent,
                    told,
                });
                None
            }
        }
    }
}

/// A good answer.
struct Answer {
    /// Who gave it.
    replica: String,
    /// Whether it asked for a new connection.
    closes: bool,
}

async fn answer(request: RequestBuilder, kind: Kind) -> Result<Answer, (Class, String)> {
    let response = request.send().await.map_err(|error| class(&error))?;
    let status = response.status().as_u16();
    let header = |name| text(&response, name);
    let answer = Answer {
        replica: header("x-replica"),
        closes: header(CONNECTION.as_str()).eq_ignore_ascii_case("close"),
    };
    response.bytes().await.map_err(|error| class(&error))?;
    let good = match kind {
        Kind::Read => 200,
        Kind::Write => 201,
    };
    if status != good {
        return Err((Class::Status(status), String::new()));
    }
    Ok(answer)
}

fn text(response: &Response, header: &str) -> String {
    let value = response.headers().get(header);
    let value = value.and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn class(error: &reqwest::Error) -> (Class, String) {
    let class = if error.is_connect() {
        Class::Refused
    } else if error.is_timeout() {
        Class::TimedOut
    } else if error.is_body() || error.is_decode() {
        Class::Broken
    } else {
        Class::Dropped
    };
    (class, format!("{error:?}"))
}

fn client() -> Client {
    weir_api::tls::provide();
    let builder = Client::builder().no_proxy().timeout(BOUND);
    builder.build().unwrap()
}

/// A token, and the replica that gave it.
async fn log_in(address: &str) -> (String, String) {
    let request = client().post(format!("http://{address}/api/v1/auth/login"));
    let answer = request.json(&json!({ "username": "e2e" })).send().await;
    let answer = answer.unwrap();
    let replica = text(&answer, "x-replica");
    let answer: Value = answer.json().await.unwrap();
    (answer["access_token"].as_str().unwrap().to_owned(), replica)
}

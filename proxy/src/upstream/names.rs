//! What is known of servers' names, and following where they lead.
//!
//! Nothing that puts settings in force waits for DNS: it takes the addresses that are known. A name that
//! has never been looked up is looked up before, see [`Names::look_up`]. Names in force are looked up
//! again whenever their answer is no longer good; one that cannot be looked up keeps its last addresses.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};
use weir_api::config::Resolver as Config;

use super::resolve::{Answer, LookupError, Resolver};

/// A shorter TTL counts as this.
const MIN_TTL: Duration = Duration::from_secs(1);
/// When a look-up that failed is tried again, unless `resolver.max_ttl` is shorter.
const RETRY: Duration = Duration::from_secs(5);
/// How often the log says that a name cannot be looked up.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How many names in force are looked up at once.
const AT_ONCE: usize = 16;
/// How many threads may wait for the system's resolver.
const SYSTEM_THREADS: usize = 16;
/// Most names remembered; beyond it those that were in force longest ago are forgotten.
const MOST: usize = 4096;

/// The names of servers: a cache that renews itself, on a thread of its own.
#[derive(Debug)]
pub struct Names {
    inner: Arc<Inner>,
    /// None once it is being dropped.
    runtime: Option<Runtime>,
}

/// How look-ups went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameStats {
    /// Look-ups that found addresses.
    pub answered: u64,
    /// Look-ups that failed.
    pub failed: u64,
    /// Names in force whose last look-up failed: their last addresses are used.
    pub stale: u64,
}

#[derive(Debug)]
struct Inner {
    resolver: Resolver,
    limit: Duration,
    max_ttl: Duration,
    state: Mutex<State>,
    /// A look-up has ended.
    ended: Condvar,
    /// There may be something to look up earlier than thought.
    wake: Notify,
    answered: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    names: HashMap<String, Entry>,
    in_force: HashSet<String>,
}

#[derive(Debug)]
struct Entry {
    /// Empty as long as no look-up has found any.
    addresses: Vec<IpAddr>,
    /// When it is looked up again, if it is in force.
    due: Instant,
    asking: bool,
    /// Of the last look-up.
    failure: Option<Failure>,
    /// When it was last in force or asked for.
    used: Instant,
}

#[derive(Debug)]
struct Failure {
    cause: String,
    said: Instant,
}

impl Names {
    /// Knows nothing yet.
    ///
    /// # Errors
    /// When the thread for look-ups cannot be started.
    pub fn new(config: &Config) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(SYSTEM_THREADS)
            .thread_name("weir-names")
            .enable_all()
            .build()?;
        Ok(Self {
            inner: Arc::new(Inner {
                resolver: Resolver::new(config),
                limit: config.timeout,
                max_ttl: config.max_ttl.max(MIN_TTL),
                state: Mutex::default(),
                ended: Condvar::new(),
                wake: Notify::new(),
                answered: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            }),
            runtime: Some(runtime),
        })
    }

    /// The addresses known for `server`, an address or `name:port`, in a fixed order; none if its name
    /// has never been looked up with success. Does not wait.
    #[must_use]
    pub fn addresses(&self, server: &str) -> Option<Vec<SocketAddr>> {
        if let Ok(address) = server.parse() {
            return Some(vec![address]);
        }
        let (host, port) = parts(server)?;
        let state = self.inner.state.lock();
        let known = &state.names.get(host)?.addresses;
        let addresses = known.iter().map(|ip| SocketAddr::new(*ip, port));
        (!known.is_empty()).then(|| addresses.collect())
    }

    /// Begins to look up those names of `servers` for which there are no addresses.
    pub fn want<'a>(&self, servers: impl IntoIterator<Item = &'a str>) {
        let Some(runtime) = &self.runtime else { return };
        let now = Instant::now();
        let mut state = self.inner.state.lock();
        state.forget();
        for (host, _) in servers.into_iter().filter_map(parts) {
            let entry = state.names.entry(host.to_owned());
            let entry = entry.or_insert_with(|| Entry::new(now));
            entry.used = now;
            if entry.addresses.is_empty() && !entry.asking {
                entry.asking = true;
                runtime.spawn(Arc::clone(&self.inner).ask(host.to_owned()));
            }
        }
    }

    /// Looks up those names of `servers` for which there are no addresses. Blocks for up to
    /// `resolver.timeout`.
    ///
    /// # Errors
    /// The first server whose name cannot be looked up, and why.
    pub fn look_up<'a>(
        &self,
        servers: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Result<(), (&'a str, String)> {
        self.want(servers.clone());
        // The look-ups end by themselves in time.
        let deadline = Instant::now() + self.inner.limit + Duration::from_secs(1);
        let mut state = self.inner.state.lock();
        for server in servers {
            let Some((host, _)) = parts(server) else {
                return Err((server, "not a name and a port".to_owned()));
            };
            loop {
                match state.names.get(host) {
                    Some(entry) if !entry.addresses.is_empty() => break,
                    Some(entry) if entry.asking => {}
                    Some(Entry {
                        failure: Some(failure),
                        ..
                    }) => return Err((server, failure.cause.clone())),
                    _ => return Err((server, "the look-up was given up".to_owned())),
                }
                if self
                    .inner
                    .ended
                    .wait_until(&mut state, deadline)
                    .timed_out()
                {
                    return Err((server, LookupError::Timeout(self.inner.limit).to_string()));
                }
            }
        }
        Ok(())
    }

    /// From now on the names of these servers are looked up again and again, and no others.
    pub fn follow<'a>(&self, servers: impl IntoIterator<Item = &'a str>) {
        let now = Instant::now();
        let mut state = self.inner.state.lock();
        let hosts = servers.into_iter().filter_map(parts);
        state.in_force = hosts.map(|(host, _)| host.to_owned()).collect();
        let State { names, in_force } = &mut *state;
        for host in in_force.iter() {
            if let Some(entry) = names.get_mut(host) {
                entry.used = now;
            }
        }
        self.inner.wake.notify_one();
    }

    /// Calls `changed` whenever a name that is followed stands for other addresses.
    pub fn on_change(&self, changed: impl Fn() + Send + Sync + 'static) {
        let Some(runtime) = &self.runtime else { return };
        runtime.spawn(Arc::clone(&self.inner).run(Arc::new(changed)));
    }

    /// How look-ups went.
    #[must_use]
    pub fn stats(&self) -> NameStats {
        let state = self.inner.state.lock();
        let in_force = state.in_force.iter();
        let stale = in_force
            .filter_map(|host| state.names.get(host))
            .filter(|entry| entry.failure.is_some())
            .count();
        NameStats {
            answered: self.inner.answered.load(Ordering::Relaxed),
            failed: self.inner.failed.load(Ordering::Relaxed),
            stale: stale as u64,
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A thread that waits for the system's resolver is not waited for.
            runtime.shutdown_background();
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Looks up what is in force whenever it is due.
    async fn run(self: Arc<Self>, changed: Arc<impl Fn() + Send + Sync + 'static>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let (due, next) = self.state.lock().take_due(Instant::now());
            for host in due {
                let (inner, changed) = (Arc::clone(&self), Arc::clone(&changed));
                let places = Arc::clone(&places);
                tokio::spawn(async move {
                    // It is never closed.
                    let _place = places.acquire().await;
                    if inner.ask(host).await {
                        changed();
                    }
                });
            }
            let woken = self.wake.notified();
            match next {
                // Either way there may be something to do.
                Some(next) => drop(tokio::time::timeout_at(next.into(), woken).await),
                None => woken.await,
            }
        }
    }

    /// Looks a name up and notes what came of it; whether it stands for other addresses than before.
    async fn ask(self: Arc<Self>, host: String) -> bool {
        let found = self.resolver.look_up(&host).await;
        match &found {
            Ok(_) => self.answered.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.failed.fetch_add(1, Ordering::Relaxed),
        };
        let changed = {
            let mut state = self.state.lock();
            let Some(entry) = state.names.get_mut(&host) else {
                return false;
            };
            entry.note(&host, found, Instant::now(), self.max_ttl)
        };
        self.ended.notify_all();
        self.wake.notify_one();
        changed
    }
}

// === impl State ===

impl State {
    /// The names in force that are to be looked up now, and when the next ones are.
    fn take_due(&mut self, now: Instant) -> (Vec<String>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for host in &self.in_force {
            match self.names.get_mut(host) {
                Some(entry) if !entry.asking && entry.due <= now => {
                    entry.asking = true;
                    due.push(host.clone());
                }
                Some(entry) if !entry.asking => {
                    next = Some(next.map_or(entry.due, |next| next.min(entry.due)));
                }
                _ => {}
            }
        }
        (due, next)
    }

    /// Forgets the names that were used longest ago when there are too many.
    fn forget(&mut self) {
        let Some(more) = self.names.len().checked_sub(MOST) else {
            return;
        };
        let idle = self
            .names
            .iter()
            .filter(|(host, entry)| !entry.asking && !self.in_force.contains(host.as_str()));
        let mut idle: Vec<_> = idle
            .map(|(host, entry)| (entry.used, host.clone()))
            .collect();
        idle.sort_unstable();
        for (_, host) in idle.into_iter().take(more) {
            self.names.remove(&host);
        }
    }
}

// === impl Entry ===

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            addresses: Vec::new(),
            due: now,
            asking: false,
            failure: None,
            used: now,
        }
    }

    /// Takes note of a look-up that has ended; whether there are other addresses than before.
    fn note(
        &mut self,
        host: &str,
        found: Result<Answer, LookupError>,
        now: Instant,
        max_ttl: Duration,
    ) -> bool {
        self.asking = false;
        match found {
            Ok(answer) => {
                let ttl = answer.ttl.unwrap_or(max_ttl).clamp(MIN_TTL, max_ttl);
                self.due = now + ttl;
                if self.failure.take().is_some() && !self.addresses.is_empty() {
                    tracing::info!(name = host, "a server's name can be looked up again");
                }
                let mut fresh = answer.addresses;
                if let Some(family) = answer.missing {
                    fresh.extend(self.addresses.iter().filter(|ip| family.has(ip)));
                    fresh.sort_unstable();
                    fresh.dedup();
                }
                let changed = fresh != self.addresses;
                if changed && !self.addresses.is_empty() {
                    tracing::info!(
                        name = host,
                        before = ?self.addresses,
                        now = ?fresh,
                        "a server's name stands for other addresses now"
                    );
                }
                self.addresses = fresh;
                changed
            }
            Err(error) => {
                self.due = now + RETRY.min(max_ttl);
                let cause = error.to_string();
                let said = self.failure.as_ref().map(|failure| failure.said);
                let quiet = said.is_some_and(|said| now - said < SAY_EVERY);
                if !quiet && !self.addresses.is_empty() {
                    tracing::warn!(
                        name = host,
                        cause,
                        "cannot look up a server's name; keeping the last addresses"
                    );
                }
                let said = said.filter(|_| quiet).unwrap_or(now);
                self.failure = Some(Failure { cause, said });
                false
            }
        }
    }
}

/// Host and port of a server that is named; none for one that is an address.
fn parts(server: &str) -> Option<(&str, u16)> {
    if server.parse::<SocketAddr>().is_ok() {
        return None;
    }
    let (host, port) = server.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::resolve::Family;
    use super::*;

    const MAX: Duration = Duration::from_secs(5);

    fn answer(addresses: &[&str], ttl: u64) -> Result<Answer, LookupError> {
        Ok(Answer {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ttl: Some(Duration::from_secs(ttl)),
            missing: None,
        })
    }

    #[test]
    fn a_ttl_is_honoured_within_bounds() {
        let now = Instant::now();
        let mut entry = Entry::new(now);
        for (ttl, seconds) in [(0, 1), (3, 3), (600, 5)] {
            entry.note("api", answer(&["10.0.0.1"], ttl), now, MAX);
            assert_eq!(entry.due, now + Duration::from_secs(seconds), "{ttl}");
        }
    }

    #[test]
    fn a_failed_look_up_keeps_the_last_addresses() {
        let now = Instant::now();
        let mut entry = Entry::new(now);
        assert!(entry.note("api", answer(&["10.0.0.1", "10.0.0.2"], 1), now, MAX));
        assert!(!entry.note("api", Err(LookupError::NoSuchHost), now, MAX));
        assert_eq!(entry.addresses.len(), 2);
        assert!(entry.failure.is_some());
        assert!(!entry.note("api", answer(&["10.0.0.1", "10.0.0.2"], 1), now, MAX));
        assert!(entry.failure.is_none());
        assert!(entry.note("api", answer(&["10.0.0.2"], 1), now, MAX));
    }

    #[test]
    fn a_family_that_fails_alone_keeps_its_last_addresses() {
        let now = Instant::now();
        let mut entry = Entry::new(now);
        entry.note("api", answer(&["10.0.0.1", "fd00::1"], 1), now, MAX);
        let mut half = answer(&["10.0.0.2"], 1).unwrap();
        half.missing = Some(Family::V6);
        assert!(entry.note("api", Ok(half), now, MAX));
        let texts: Vec<_> = entry.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.2", "fd00::1"]);
    }

    #[test]
    fn the_log_is_told_of_failures_once_a_minute() {
        let now = Instant::now();
        let mut entry = Entry::new(now);
        entry.note("api", answer(&["10.0.0.1"], 1), now, MAX);
        let mut said = Vec::new();
        for seconds in 0..=120 {
            let at = now + Duration::from_secs(seconds);
            entry.note("api", Err(LookupError::NoSuchHost), at, MAX);
            said.push(entry.failure.as_ref().unwrap().said);
        }
        said.dedup();
        assert_eq!(said.len(), 3);
    }

    #[test]
    fn only_what_is_in_force_and_due_is_looked_up() {
        let now = Instant::now();
        let mut state = State::default();
        let later = now + Duration::from_secs(3);
        for (host, due) in [("now", now), ("later", later), ("idle", now)] {
            let entry = Entry {
                due,
                ..Entry::new(now)
            };
            state.names.insert(host.to_owned(), entry);
        }
        state.in_force = ["now", "later"].map(str::to_owned).into();
        assert_eq!(state.take_due(now), (vec!["now".to_owned()], Some(later)));
        assert_eq!(state.take_due(now), (Vec::new(), Some(later)), "once");
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let now = Instant::now();
        let mut state = State::default();
        for n in 0..=MOST + 1 {
            let entry = Entry::new(now + Duration::from_millis(n as u64));
            state.names.insert(n.to_string(), entry);
        }
        state.in_force.insert("0".to_owned());
        state.forget();
        assert_eq!(state.names.len(), MOST);
        assert!(state.names.contains_key("0"), "in force");
        assert!(!state.names.contains_key("1") && !state.names.contains_key("2"));
    }

    #[test]
    fn servers_are_names_or_addresses() {
        assert_eq!(parts("api.internal:8000"), Some(("api.internal", 8000)));
        assert_eq!(parts("127.0.0.1:80"), None);
        assert_eq!(parts("[::1]:80"), None);
    }
}

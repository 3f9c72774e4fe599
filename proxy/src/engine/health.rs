//! Keeps checking servers, and acts on what the checks find.
//!
//! One task decides which server is asked when; each check is a task of its own. Neither touches requests: all
//! that they see is the flag in [`ServerState`].

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};

use super::probe::Probe;
use super::shared::Shared;
use super::snapshot::UpstreamPlan;
use crate::limit::monotonic_ms;
use crate::upstream::health::{Change, CheckResult, Schedule, Thresholds};
use crate::upstream::{Endpoint, ServerState};

/// A server, told apart from others by what is known about it.
#[derive(Debug, Clone)]
struct Key(Arc<ServerState>);

/// A server to check, under the settings in force.
#[derive(Debug)]
struct Target {
    upstream: Arc<UpstreamPlan>,
    server: Arc<ServerState>,
    address: Endpoint,
    /// As the metrics and the log name it.
    label: String,
    probe: Probe,
}

/// How a check ended, and how long it took.
type Ended = (CheckResult, Duration);

/// Checks the servers of every upstream that wants it, for as long as the process serves.
pub(super) async fn check_servers(shared: Arc<Shared>) {
    let mut checker = Checker {
        schedule: Schedule::new(rand::random::<f64>),
        checks: JoinSet::new(),
        keys: HashMap::new(),
        shared,
    };
    checker.follow();
    loop {
        let due = checker.schedule.next_due();
        let wait = async move {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = checker.shared.published.notified() => checker.follow(),
            Some(ended) = checker.checks.join_next_with_id() => match ended {
                Ok((id, ended)) => checker.ended(id, ended),
                Err(e) => {
                    let what = CheckResult::Skipped("the check itself broke".to_owned());
                    checker.ended(e.id(), (what, Duration::ZERO));
                }
            },
            () = wait => checker.start(),
        }
    }
}

struct Checker {
    shared: Arc<Shared>,
    schedule: Schedule<Key, Arc<Target>>,
    checks: JoinSet<Ended>,
    /// Whom the checks under way are about.
    keys: HashMap<Id, Key>,
}

impl Checker {
    /// Checks what the snapshot in force wants checked.
    fn follow(&mut self) {
        let snapshot = self.shared.snapshot.load_full();
        let wanted = snapshot.upstreams.iter().flat_map(|upstream| {
            let interval = upstream.health_check.interval;
            targets(upstream).map(move |target| (Key(Arc::clone(&target.server)), target, interval))
        });
        let followed = self.schedule.follow(wanted, Instant::now());
        let metrics = &self.shared.metrics.checks;
        for target in followed.gone {
            let upstream = target.upstream.state.name();
            metrics.forget(upstream, &target.label);
            let mut left = snapshot.upstreams.iter().flat_map(|it| it.state.servers());
            let stays = left.any(|(_, server)| Arc::ptr_eq(server, &target.server));
            if target.server.checks.end() && stays {
                tracing::info!(
                    upstream,
                    server = target.label,
                    "server is not checked any more, and takes requests again"
                );
            }
        }
        for target in followed.new {
            target.server.checks.begin();
            metrics.begin(target.upstream.state.name(), &target.label);
        }
    }

    /// Starts the checks that are due.
    fn start(&mut self) {
        for (key, target) in self.schedule.start(Instant::now()) {
            let shared = Arc::clone(&self.shared);
            let check = async move { target.probe.run(&shared, &target.upstream).await };
            let id = self.checks.spawn(check).id();
            self.keys.insert(id, key);
        }
    }

    /// Takes in the end of a check.
    fn ended(&mut self, id: Id, (result, took): Ended) {
        let Some(key) = self.keys.remove(&id) else {
            return;
        };
        let Some(target) = self.schedule.finish(&key, Instant::now()) else {
            return;
        };
        let Target {
            upstream,
            server,
            address,
            label,
            ..
        } = &*target;
        let name = upstream.state.name();
        let (kind, why) = (result.kind(), result.to_string());
        let thresholds = Thresholds {
            rise: upstream.health_check.rise,
            fall: upstream.health_check.fall,
        };
        let change = upstream
            .state
            .note_check(server, result, took, monotonic_ms(), thresholds);
        let metrics = &self.shared.metrics.checks;
        metrics.ended(name, label, kind, took, !server.checks.is_out());
        match change {
            Some(Change::Out) => {
                upstream.pool.close_to(*address);
                tracing::warn!(
                    upstream = name,
                    server = label,
                    why,
                    "health checks have taken the server out"
                );
            }
            Some(Change::Back) => {
                tracing::info!(
                    upstream = name,
                    server = label,
                    why,
                    "health checks have brought the server back"
                );
            }
            None => {}
        }
    }
}

/// The servers of an upstream that are to be checked.
fn targets(upstream: &Arc<UpstreamPlan>) -> impl Iterator<Item = Arc<Target>> {
    let servers = upstream.state.named_servers();
    servers.filter_map(move |(name, address, server)| {
        let probe = Probe::new(&upstream.health_check, upstream.protocol, name, address)?;
        Some(Arc::new(Target {
            upstream: Arc::clone(upstream),
            server: Arc::clone(server),
            address,
            label: address.to_string(),
            probe,
        }))
    })
}

// === impl Key ===

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

//! Failure recovery: a replica is killed while load is on, and started again on the same address.
//! How many requests fail, for how long, and how long until the replica serves again.
//!
//! Failures are those that the client saw, with the time at which each was noticed. When the
//! restarted replica serves again is asked of the replica itself, not of the proxy.

pub(crate) mod page;
mod probe;
mod record;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant, SystemTime},
};

use weir_api::config::Config;
use weir_lab::{
    error::TopologyError,
    provenance::Provenance,
    topology::{Topology, TopologySpec},
};
use weir_load::{
    progress::{Progress, Tick, Watched},
    record::SecondRow,
    scenario::{Overrides, Scenario},
    stop::StopToken,
    summary::Verdict,
};

use crate::{
    exit::Usage,
    judge::gate,
    measure::{
        MeasureError, Setup,
        side::{Side, run_watched},
    },
    results::now_utc,
};
pub use record::{Bounds, Moments, RecoveryRecord, SecondOfFailures};

/// Pause between two looks at the restarted replica: the resolution of "serves again".
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Longest pause without looking whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Load that goes on after the replica serves again: a late failure would show in it.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Longest wait for the replica to serve again, beyond the proxy's `fail_timeout`.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is broken, when, and what is allowed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The load; it goes on until the replica serves again.
    pub scenario: Scenario,
    /// The processes; two replicas or more, or nobody is left to serve.
    pub topology: TopologySpec,
    /// The replica that is killed.
    pub kill: String,
    /// Load before that.
    pub after: Duration,
    /// Time until it is started again.
    pub restart_after: Duration,
    /// What is allowed.
    pub bounds: Bounds,
}

impl Plan {
    /// Whether it can be done at all.
    ///
    /// # Errors
    ///
    /// [`Usage`] with what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.topology.is_in_containers() {
            return Err(Usage::new(format!("recovery: {}", TopologyError::NotInContainers)).into());
        }
        if !self.topology.proxy {
            return Err(Usage::new(
                "recovery needs a topology with the proxy: without it nobody could take over",
            )
            .into());
        }
        let names: Vec<_> = (1..=self.topology.replicas)
            .map(|number| format!("replica-{number}"))
            .collect();
        if !names.contains(&self.kill) {
            return Err(Usage::new(TopologyError::NoReplica {
                name: self.kill.clone(),
                known: names.join(", "),
            })
            .into());
        }
        if self.after.is_zero() {
            return Err(
                Usage::new("--after must be above 0: there must be load before the kill").into(),
            );
        }
        Ok(())
    }
}

/// Moments as the controlling thread saw them.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    killed: Option<SystemTime>,
    restarted: Option<SystemTime>,
    served: Option<SystemTime>,
}

/// Breaks a replica under load and watches what happens. Logs go to `folder`.
///
/// # Errors
///
/// When the plan does not fit, processes cannot be started, the run cannot be made, limits are not
/// back afterwards, or the user stops it.
pub fn recover(
    plan: &Plan,
    setup: &Setup,
    folder: &Path,
    progress: Arc<dyn Progress>,
    stop: &StopToken,
) -> anyhow::Result<RecoveryRecord> {
    plan.check()?;
    let created_at = now_utc();
    let mut side = Side::start(&plan.topology, &[&plan.scenario], setup, folder, stop)
        .map_err(crate::measure::as_usage)?;
    let (target, described) = (side.target.clone(), side.record());
    let Some(mut topology) = side.topology.take() else {
        return Err(TopologyError::NoReplicas.into());
    };
    let fail_timeout = topology.config().map(fail_timeout).unwrap_or_default();
    let longest = fail_timeout + PATIENCE;
    let scenario = Overrides {
        duration: Some(plan.after + plan.restart_after + longest + AFTERWARDS),
        ..Overrides::default()
    }
    .apply(plan.scenario.clone())
    .map_err(Usage::new)?;
    let mut watched = topology.watched();
    watched.retain(|watched| watched.name != plan.kill);
    watched.push(Watched::generator());

    let own_stop = StopToken::new();
    let clock = Arc::new(LoadClock {
        inner: progress,
        start: OnceLock::new(),
    });
    let (outcome, seen) = thread::scope(|scope| {
        let controller = scope.spawn(|| {
            let control = Control {
                plan,
                warmup: scenario.warmup,
                longest,
                folder,
                clock: &clock,
                user: stop,
                load: &own_stop,
            };
            let seen = control.break_and_mend(&mut topology);
            // Whatever happened, the load does not outlive its purpose.
            own_stop.stop();
            seen
        });
        let progress: Arc<dyn Progress> = clock.clone();
        let outcome = run_watched(&scenario, &target, watched, setup, progress, &own_stop);
        // A load that ended by itself, with an error, ends the wait of the other thread, too.
        own_stop.stop();
        let seen = controller.join().map_err(|_| MeasureError::Io {
            what: "wait for the thread that breaks replicas",
            cause: std::io::Error::other("it panicked"),
        });
        (outcome, seen)
    });
    let outcome = outcome.map_err(crate::measure::as_usage)?;
    let seen = seen??;
    side.topology = Some(topology);
    let died = side.ended();
    let tuning = side.put_back();
    drop(side);
    if stop.is_stopped() {
        return Err(TopologyError::Stopped.into());
    }
    if let Some(tuning) = tuning.filter(|tuning| !tuning.restored) {
        anyhow::bail!(
            "the raised limits are not verified as put back: {}",
            tuning.problem
        );
    }
    if let Some(error) = died {
        return Err(error.into());
    }
    let start = outcome.recording.measured_start();
    let rows = outcome.recording.seconds();
    let moments = moments(&seen, start, rows);
    let mut summary = outcome.summary;
    // The load is ended on purpose as soon as there is nothing more to see.
    let validity = &mut summary.validity;
    validity
        .reasons
        .retain(|reason| !reason.starts_with("ended early"));
    if validity.reasons.is_empty() {
        validity.verdict = Verdict::Valid;
    }
    let verdict = record::judge(&moments, &summary, &plan.bounds);
    Ok(RecoveryRecord {
        format: RecoveryRecord::FORMAT,
        provenance: Provenance::collect(created_at),
        scenario: serde_json::to_value(&scenario).unwrap_or_default(),
        topology: described,
        killed: plan.kill.clone(),
        fail_timeout_s: fail_timeout.as_secs_f64(),
        moments,
        requests: summary.requests,
        ok: summary.ok,
        limited: summary.limited,
        errors: summary.errors,
        error_rate: summary.error_rate,
        failures: summary.failures.clone(),
        seconds: seconds(rows),
        response: summary.response.clone(),
        bounds: plan.bounds,
        gate: gate(&verdict, &summary.validity).text().to_owned(),
        verdict,
        validity: summary.validity,
    })
}

/// The longest rest of a server that has failed.
pub(crate) fn fail_timeout(config: &Config) -> Duration {
    let servers = config
        .settings()
        .upstream
        .values()
        .flat_map(|upstream| &upstream.servers);
    servers
        .map(|server| server.fail_timeout)
        .max()
        .unwrap_or_default()
}

/// Passes progress on and notes when the load began, warm-up included.
struct LoadClock {
    inner: Arc<dyn Progress>,
    start: OnceLock<Instant>,
}

impl Progress for LoadClock {
    fn tick(&self, tick: &Tick) {
        self.start.get_or_init(|| {
            let now = Instant::now();
            now.checked_sub(tick.elapsed).unwrap_or(now)
        });
        self.inner.tick(tick);
    }
}

/// What the controlling thread needs.
struct Control<'a> {
    plan: &'a Plan,
    warmup: Duration,
    longest: Duration,
    folder: &'a Path,
    clock: &'a LoadClock,
    user: &'a StopToken,
    load: &'a StopToken,
}

impl Control<'_> {
    fn break_and_mend(&self, topology: &mut Topology) -> Result<Seen, TopologyError> {
        let mut seen = Seen::default();
        let name = &self.plan.kill;
        let address = topology.replica_address(name)?;
        let began = loop {
            if let Some(began) = self.clock.start.get() {
                break *began;
            }
            if !self.wait_until(Instant::now() + LOOK_EVERY) {
                return Ok(seen);
            }
        };
        if !self.wait_until(began + self.warmup + self.plan.after) {
            return Ok(seen);
        }
        seen.killed = Some(SystemTime::now());
        topology.kill_replica(name)?;
        if !self.wait_until(Instant::now() + self.plan.restart_after) {
            return Ok(seen);
        }
        topology.restart_replica(name, self.folder, self.user)?;
        seen.restarted = Some(SystemTime::now());
        let deadline = Instant::now() + self.longest;
        while Instant::now() < deadline {
            if probe::requests_served(address).is_some_and(|served| served > 0) {
                seen.served = Some(SystemTime::now());
                break;
            }
            if !self.wait_until(Instant::now() + PROBE_EVERY) {
                return Ok(seen);
            }
        }
        self.wait_until(Instant::now() + AFTERWARDS);
        Ok(seen)
    }

    /// Waits; false when the load has ended or the user wants to stop.
    fn wait_until(&self, at: Instant) -> bool {
        while !self.user.is_stopped() && !self.load.is_stopped() {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
        false
    }
}

/// The moments on the clock of the measured part, and what lies between them.
fn moments(seen: &Seen, start: SystemTime, rows: &[SecondRow]) -> Moments {
    let at = |moment: Option<SystemTime>| {
        moment.map(|moment| match moment.duration_since(start) {
            Ok(since) => since.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    };
    let killed_s = at(seen.killed);
    let since_kill = |row: &&SecondRow| {
        row.errors_between_s
            .zip(killed_s)
            .is_some_and(|((_, last), killed)| last >= killed)
    };
    let last_error_s = rows
        .iter()
        .filter(since_kill)
        .filter_map(|row| row.errors_between_s.map(|(_, last)| last))
        .reduce(f64::max);
    let first_error_s = rows
        .iter()
        .filter(since_kill)
        .filter_map(|row| row.errors_between_s.map(|(first, _)| first))
        .reduce(f64::min);
    let between =
        |from: Option<f64>, to: Option<f64>| from.zip(to).map(|(from, to)| (to - from).max(0.0));
    let (restarted_s, served_s) = (at(seen.restarted), at(seen.served));
    Moments {
        killed_s,
        restarted_s,
        served_s,
        first_error_s,
        last_error_s,
        // Without an error it was free of errors at once.
        error_free_after_s: killed_s
            .map(|killed| last_error_s.map_or(0.0, |last| (last - killed).max(0.0))),
        served_after_s: between(restarted_s, served_s),
    }
}

fn seconds(rows: &[SecondRow]) -> Vec<SecondOfFailures> {
    rows.iter()
        .map(|row| SecondOfFailures {
            t_s: row.t_s,
            ok: row.counts.ok,
            errors: row.counts.errors,
            kinds: row
                .failures
                .iter()
                .map(|(kind, count)| (kind.name().into_owned(), *count))
                .collect::<BTreeMap<_, _>>(),
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(t_s: f64, errors: Option<(f64, f64)>) -> SecondRow {
        SecondRow {
            t_s,
            length_s: 1.0,
            errors_between_s: errors,
            ..SecondRow::default()
        }
    }

    #[test]
    fn what_happened_is_told_from_the_kill_on() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let seen = Seen {
            killed: Some(start + Duration::from_millis(5_200)),
            restarted: Some(start + Duration::from_millis(10_500)),
            served: Some(start + Duration::from_millis(12_000)),
        };
        let rows = [
            row(1.0, Some((1.5, 1.6))),
            row(5.0, Some((5.25, 5.9))),
            row(6.0, Some((6.1, 6.2))),
            row(7.0, None),
        ];
        let found = moments(&seen, start, &rows);
        assert_eq!(
            (found.first_error_s, found.last_error_s),
            (Some(5.25), Some(6.2))
        );
        assert!(
            (found.error_free_after_s.unwrap() - 1.0).abs() < 1e-9,
            "{found:?}"
        );
        assert!((found.served_after_s.unwrap() - 1.5).abs() < 1e-9);
        let clean = moments(&seen, start, &rows[3..]);
        assert_eq!(
            (clean.error_free_after_s, clean.last_error_s),
            (Some(0.0), None)
        );
        let never = moments(
            &Seen {
                served: None,
                ..seen
            },
            start,
            &rows,
        );
        assert_eq!(never.served_after_s, None);
    }
}

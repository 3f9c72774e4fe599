//! The runs behind the result.

use std::time::Duration;

use weir_lab::{
    host::CpuClock,
    proxies::tuned::{Capacity, RigSpec},
};

use super::{
    super::{
        pairs::{Pair, Side, interleave},
        rig::{Lab, ProxyKind, Rig, RigError, base::patch, client::Asked},
        tuning::workload::{
            exchange::{Flow, flow},
            tools::quantile_ms,
        },
    },
    record::{Balance, Bottleneck, Efficiency, Failing, Sweep, TopologyResult},
    report::replicas_text,
};
use crate::stats::{estimate, fit, log_ratio, usl};

/// Idle upstream connections of the rigs: more than are ever in flight, so that the limit of idle
/// connections is not what is measured.
const KEEPALIVE: u32 = 1024;
/// What a slow replica adds to each request, in service times.
const SLOW: u32 = 9;

/// What is measured, and how long.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) capacity: Capacity,
    pub(crate) replicas: Vec<usize>,
    pub(crate) proxies: Vec<ProxyKind>,
    pub(crate) rounds: usize,
    pub(crate) run: Duration,
    pub(crate) levels: Vec<u32>,
}

impl Plan {
    /// Requests in flight that keep every slot of the largest topology busy, and as many waiting.
    pub(crate) fn in_flight(&self) -> u32 {
        let most = self.replicas.iter().copied().max().unwrap_or(1) as u32;
        (self.capacity.slots * most * 2).max(2)
    }
}

/// One topology that runs.
struct Stand {
    proxy: ProxyKind,
    replicas: usize,
    rig: Rig,
    runs: Vec<Run>,
}

/// One run of a topology.
struct Run {
    rps: f64,
    times: Vec<Duration>,
    failed: u64,
    generator: f64,
    proxy: f64,
}

fn spec(plan: &Plan, replicas: usize) -> RigSpec {
    RigSpec {
        replicas,
        capacity: Some(plan.capacity),
        keepalive: Some(KEEPALIVE),
        ..RigSpec::default()
    }
}

fn one_run(lab: &Lab, rig: &mut Rig, in_flight: u32, duration: Duration) -> Result<Run, RigError> {
    let own =
        || CpuClock::of(&[std::process::id()]).map_err(RigError::io("cannot read own CPU time"));
    let before = own()?;
    let asked = Asked::read(rig.token());
    let flow: Flow = flow(lab, rig, asked, in_flight, duration)?;
    let used = own()?.since(before);
    let seconds = flow.lasted.as_secs_f64().max(f64::EPSILON);
    let share = |clock: CpuClock| (clock.ran + clock.waited).as_secs_f64() / seconds;
    Ok(Run {
        rps: flow.times.len() as f64 / seconds,
        failed: flow.failed,
        generator: share(used),
        proxy: share(flow.cpu),
        times: flow.times,
    })
}

/// Every topology side by side, saturated, in rounds that run forwards and backwards.
pub(crate) fn saturated(
    lab: &Lab,
    plan: &Plan,
    say: &mut dyn FnMut(&str),
) -> Result<(Vec<TopologyResult>, Vec<Efficiency>), RigError> {
    let mut stands = Vec::new();
    for proxy in &plan.proxies {
        for replicas in &plan.replicas {
            // Without a proxy there is nothing that spreads load.
            if *proxy == ProxyKind::Direct && *replicas != 1 {
                continue;
            }
            let name = format!("{}-{replicas}", proxy.name());
            let mut rig = Rig::start_with(lab, *proxy, &name, spec(plan, *replicas))?;
            one_run(lab, &mut rig, 8, Duration::from_millis(200))?;
            stands.push(Stand {
                proxy: *proxy,
                replicas: *replicas,
                rig,
                runs: Vec::new(),
            });
        }
    }
    let in_flight = plan.in_flight();
    for round in 0..plan.rounds {
        say(&format!(
            "round {} of {}, {in_flight} requests in flight",
            round + 1,
            plan.rounds
        ));
        let mut order: Vec<usize> = (0..stands.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            if let Some(stand) = stands.get_mut(index) {
                let run = one_run(lab, &mut stand.rig, in_flight, plan.run)?;
                stand.runs.push(run);
            }
        }
    }
    let results = stands.iter().map(|stand| result(plan, stand)).collect();
    let mut efficiency = Vec::new();
    for stand in stands.iter().filter(|stand| stand.replicas > 1) {
        let one = stands
            .iter()
            .find(|other| other.proxy == stand.proxy && other.replicas == 1);
        if let Some(one) = one {
            efficiency.push(efficiency_of(one, stand));
        }
    }
    Ok((results, efficiency))
}

fn result(plan: &Plan, stand: &Stand) -> TopologyResult {
    let runs = &stand.runs;
    let mean =
        |value: fn(&Run) -> f64| runs.iter().map(value).sum::<f64>() / runs.len().max(1) as f64;
    let times = || runs.iter().flat_map(|run| run.times.iter().copied());
    let failed: u64 = runs.iter().map(|run| run.failed).sum();
    let requests = times().count() as u64 + failed;
    let slots = f64::from(plan.capacity.slots) * stand.replicas as f64;
    let mean_rps = mean(|run| run.rps);
    TopologyResult {
        proxy: stand.proxy,
        replicas: stand.replicas,
        throughput: runs.iter().map(|run| run.rps).collect(),
        mean_rps,
        p50_ms: quantile_ms(times(), 0.5),
        p95_ms: quantile_ms(times(), 0.95),
        p99_ms: quantile_ms(times(), 0.99),
        error_rate: failed as f64 / requests.max(1) as f64,
        bottleneck: Bottleneck {
            generator: mean(|run| run.generator),
            proxy: mean(|run| run.proxy),
            slots: mean_rps * plan.capacity.service_time.as_secs_f64() / slots,
            waiting: f64::from(plan.in_flight()) / slots,
        },
    }
}

fn efficiency_of(one: &Stand, many: &Stand) -> Efficiency {
    let rounds: Vec<_> = one
        .runs
        .iter()
        .zip(&many.runs)
        .map(|(one, many)| Pair {
            a: one.rps,
            b: many.rps,
        })
        .collect();
    let (efficiency, interval) = efficiency_from(&rounds, many.replicas);
    Efficiency {
        proxy: many.proxy,
        replicas: many.replicas,
        rounds,
        efficiency,
        interval,
    }
}

/// Efficiency and its interval from the throughput of one and of `replicas`, round by round.
pub(super) fn efficiency_from(rounds: &[Pair], replicas: usize) -> (f64, Option<(f64, f64)>) {
    let each: Vec<f64> = rounds
        .iter()
        .filter_map(|pair| log_ratio(pair.a * replicas as f64, pair.b))
        .collect();
    let mean = each.iter().sum::<f64>() / each.len().max(1) as f64;
    let interval = estimate(&each, 7).map(|found| found.ratio_interval());
    (mean.exp(), interval)
}

/// Throughput over concurrency of each number of replicas, and the law fitted to it.
pub(crate) fn sweeps(
    lab: &Lab,
    plan: &Plan,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Sweep>, RigError> {
    let mut sweeps = Vec::new();
    let proxy = ProxyKind::Weir;
    for replicas in &plan.replicas {
        say(&format!(
            "sweep over concurrency, {}",
            replicas_text(*replicas)
        ));
        let name = format!("sweep-{replicas}");
        let mut rig = Rig::start_with(lab, proxy, &name, spec(plan, *replicas))?;
        let mut points = Vec::new();
        // Up and down, so that drift does not look like scaling.
        let down = plan.levels.iter().rev();
        for level in plan.levels.iter().chain(down) {
            let run = one_run(lab, &mut rig, *level, plan.run / 2)?;
            points.push(usl::Point {
                concurrency: f64::from(*level),
                throughput: run.rps.max(f64::MIN_POSITIVE),
            });
        }
        let fitted = fit(&points);
        let doubts = match &fitted {
            Ok(fit) => fit.distrust.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        sweeps.push(Sweep {
            proxy,
            replicas: *replicas,
            points,
            fit: fitted.ok(),
            doubts,
        });
    }
    Ok(sweeps)
}

/// `least_conn` against `round_robin` while one of two replicas is slow, switched live.
pub(crate) fn balance(
    lab: &Lab,
    plan: &Plan,
    say: &mut dyn FnMut(&str),
) -> Result<Balance, RigError> {
    say("least_conn against round_robin beside a slow replica");
    let mut rig = Rig::start_with(lab, ProxyKind::Weir, "balance", spec(plan, 2))?;
    let extra = plan.capacity.service_time * SLOW;
    rig.fault_of(lab, 1..2, &format!("latency={}us", extra.as_micros()))?;
    let in_flight = plan.capacity.slots;
    let trials = interleave(plan.rounds.max(3), |_, side| {
        let balance = match side {
            Side::A => "round_robin",
            Side::B => "least_conn",
        };
        rig.switch(
            lab,
            &patch("upstream.api.balance", balance.into()),
            "scaling: balance",
        )?;
        one_run(lab, &mut rig, in_flight, plan.run)
    })?;
    let of = |figure: fn(&Run) -> f64| -> Vec<Pair> {
        trials
            .iter()
            .map(|(a, b)| Pair {
                a: figure(a),
                b: figure(b),
            })
            .collect()
    };
    let throughput = of(|run| run.rps);
    let logs: Vec<_> = throughput
        .iter()
        .filter_map(|pair| log_ratio(pair.a, pair.b))
        .collect();
    let found = estimate(&logs, 8);
    let p95 = of(|run| quantile_ms(run.times.iter().copied(), 0.95));
    let _ = rig.close();
    Ok(Balance {
        slow: format!(
            "one of two replicas takes {} ms longer for each request",
            extra.as_millis()
        ),
        p95,
        throughput,
        gain: found.map(|found| found.mean.exp_m1()),
        interval: found.map(|found| (found.low.exp_m1(), found.high.exp_m1())),
    })
}

/// One of two replicas closes every connection without an answer in the middle of three phases.
pub(crate) fn failing(
    lab: &Lab,
    plan: &Plan,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Failing>, RigError> {
    let mut results = Vec::new();
    for proxy in plan
        .proxies
        .iter()
        .filter(|proxy| **proxy != ProxyKind::Direct)
    {
        say(&format!("a failing replica behind {}", proxy.name()));
        let name = format!("failing-{}", proxy.name());
        let mut rig = Rig::start_with(lab, *proxy, &name, spec(plan, 2))?;
        let in_flight = plan.capacity.slots;
        let mut phases = Vec::new();
        for fault in ["clear", "close_rate=1", "clear"] {
            rig.fault_of(lab, 1..2, fault)?;
            phases.push(one_run(lab, &mut rig, in_flight, plan.run)?);
        }
        let failed = phases.iter().map(|run| run.failed).sum();
        let served: usize = phases.iter().map(|run| run.times.len()).sum();
        let mut rps = phases.iter().map(|run| run.rps);
        let mut next = || rps.next().unwrap_or(0.0);
        results.push(Failing {
            proxy: *proxy,
            requests: served as u64 + failed,
            failed,
            phases: [next(), next(), next()],
        });
    }
    Ok(results)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn efficiency_is_what_a_further_replica_adds() {
        let rounds: Vec<_> = [(800.0, 1520.0), (790.0, 1510.0), (805.0, 1530.0)]
            .map(|(a, b)| Pair { a, b })
            .to_vec();
        let (efficiency, interval) = efficiency_from(&rounds, 2);
        let (low, high) = interval.unwrap();
        assert!((0.94..0.97).contains(&efficiency) && low < efficiency && efficiency < high);
        assert_eq!(efficiency_from(&rounds[..2], 2).1, None);
    }

    #[test]
    fn the_busiest_part_is_the_bottleneck() {
        let of = |generator, proxy, slots, waiting| Bottleneck {
            generator,
            proxy,
            slots,
            waiting,
        };
        assert!(of(0.3, 0.4, 0.98, 2.0).text().starts_with("replica"));
        assert!(of(0.3, 0.99, 0.5, 2.0).text().starts_with("proxy"));
        assert!(of(0.95, 0.5, 0.5, 2.0).text().starts_with("generator"));
        assert!(of(0.3, 0.4, 0.5, 0.5).text().contains("too few"));
        assert!(of(0.3, 0.4, 0.5, 2.0).text().starts_with("none"));
    }
}

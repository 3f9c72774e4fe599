//! Synchronised volleys: between two of them all upstream connections are idle, and those above the
//! cap are closed, so the next volley has to open as many anew.

use std::time::{Duration, Instant};

use super::{
    Trial,
    tools::{open, quantile_ms, volley},
};
use crate::study::rig::{Lab, Rig, RigError, client::Asked};

pub(super) const MEASURES: &[&str] = &[
    "opened_per_request",
    "opened",
    "requests",
    "failed",
    "proxy_cpu_us",
    "p50_ms",
    "p95_ms",
    "late_ms",
];

/// Volleys before those that count: they bring the pool of idle connections to its cap.
const WARM_UP: u32 = 2;

pub(super) struct Shape {
    pub(super) size: u32,
    pub(super) every: Duration,
    pub(super) count: u32,
    pub(super) service_time: Duration,
}

pub(super) fn run(lab: &Lab, rig: &mut Rig, shape: &Shape) -> Result<Trial, RigError> {
    rig.fault(
        lab,
        &format!("latency={}us", shape.service_time.as_micros()),
    )?;
    let (target, asked) = (rig.target(), Asked::read(rig.token()));
    let mut trial = Trial::default();
    let (opened, shots, late) = lab.wait_for(async {
        let mut connections = open(target, None, shape.size).await?;
        let mut counts = rig.counts().await?;
        let (mut opened, mut all, mut late) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut due = Instant::now();
        let mut cpu = rig.cpu()?;
        for number in 0..WARM_UP + shape.count {
            tokio::time::sleep_until(due.into()).await;
            late = late.max(due.elapsed());
            if number == WARM_UP {
                cpu = rig.cpu()?;
            }
            let (back, shots) = volley(connections, &asked).await;
            connections = back;
            let now = rig.counts().await?;
            if number >= WARM_UP {
                opened.push(now.accepted - counts.accepted);
                all.extend(shots);
            }
            counts = now;
            // A volley that took longer than the interval delays those after it.
            due = (due + shape.every).max(Instant::now());
        }
        let used = rig.cpu()?.since(cpu).ran;
        trial.put(
            "proxy_cpu_us",
            used.as_secs_f64() * 1e6 / all.len().max(1) as f64,
        );
        Ok((opened, all, late))
    })?;
    rig.fault(lab, "")?;
    let total: u64 = opened.iter().sum();
    let requests = shots.len().max(1) as f64;
    trial.put("requests", shots.len() as f64);
    trial.put("opened", total as f64);
    trial.put("opened_per_request", total as f64 / requests);
    trial.put(
        "failed",
        shots.iter().filter(|shot| !shot.end.is_served()).count() as f64,
    );
    for (name, share) in [("p50_ms", 0.5), ("p95_ms", 0.95)] {
        trial.put(name, quantile_ms(shots.iter().map(|shot| shot.took), share));
    }
    trial.put("late_ms", late.as_secs_f64() * 1e3);
    let points = opened.iter().enumerate();
    let points = points.map(|(number, opened)| ((number + 1) as f64, *opened as f64));
    trial.line("connections opened by each volley", points.collect());
    Ok(trial)
}

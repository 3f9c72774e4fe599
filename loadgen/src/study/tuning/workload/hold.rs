//! Many connections at once, each with a request that takes its time: do client and upstream
//! connections together reach the limit, and what happens beyond it?

use std::time::{Duration, Instant};

use super::{
    Trial,
    tools::{ANSWER_WITHIN, median_ms},
};
use crate::study::rig::{
    Lab, Rig, RigError,
    client::{Asked, End, once},
};

pub(super) const MEASURES: &[&str] = &[
    "served_share",
    "served",
    "unserved",
    "refused",
    "server_errors",
    "timed_out",
    "recovery_ms",
    "p50_ms",
    "requests",
];

/// How long the proxy may take to serve again.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn run(
    lab: &Lab,
    rig: &mut Rig,
    connections: u32,
    service_time: Duration,
) -> Result<Trial, RigError> {
    rig.fault(lab, &format!("latency={}us", service_time.as_micros()))?;
    let (target, asked) = (rig.target(), Asked::read(rig.token()));
    let held = lab.wait_for(async {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let asked = asked.clone();
                tokio::spawn(async move {
                    let (end, took) = once(target, None, &asked, ANSWER_WITHIN).await;
                    (end, took, begun.elapsed())
                })
            })
            .collect();
        let mut ends = Vec::new();
        for task in tasks {
            if let Ok(end) = task.await {
                ends.push(end);
            }
        }
        Ok(ends)
    })?;
    rig.fault(lab, "")?;
    let recovery = lab.wait_for(async {
        let begun = Instant::now();
        while begun.elapsed() < RECOVERS_WITHIN {
            if once(target, None, &asked, ANSWER_WITHIN)
                .await
                .0
                .is_served()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(begun.elapsed())
    })?;
    let count =
        |wanted: fn(End) -> bool| held.iter().filter(|(end, ..)| wanted(*end)).count() as f64;
    let served = count(End::is_served);
    let mut trial = Trial::default();
    trial.put("requests", held.len() as f64);
    trial.put("served", served);
    trial.put("served_share", served / held.len().max(1) as f64);
    trial.put("unserved", held.len() as f64 - served);
    trial.put("refused", count(|end| end == End::Refused));
    trial.put(
        "server_errors",
        count(|end| matches!(end, End::Answered(500..=599, _))),
    );
    trial.put("timed_out", count(|end| end == End::TimedOut));
    trial.put("recovery_ms", recovery.as_secs_f64() * 1e3);
    let times = held
        .iter()
        .filter(|(end, ..)| end.is_served())
        .map(|(_, took, _)| *took);
    trial.put("p50_ms", median_ms(times));
    let mut at: Vec<(f64, bool)> = held
        .iter()
        .map(|(end, _, at)| (at.as_secs_f64(), end.is_served()))
        .collect();
    at.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (name, wanted) in [("served so far", true), ("refused or failed so far", false)] {
        let so_far = at.iter().filter(|(_, served)| *served == wanted);
        let points: Vec<_> = so_far
            .enumerate()
            .map(|(n, (at, _))| (*at, (n + 1) as f64))
            .collect();
        if !points.is_empty() {
            trial.line(name, points);
        }
    }
    Ok(trial)
}

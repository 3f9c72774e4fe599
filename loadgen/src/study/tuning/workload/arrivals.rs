//! Even arrivals of several client addresses: what is admitted, beside the exact model.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    super::limiter::Bucket,
    Trial,
    tools::{ANSWER_WITHIN, fresh_client, limit_of, open, quantile_ms, volley},
};
use crate::study::rig::{
    Lab, Rig, RigError,
    client::{Asked, Connection},
};

pub(super) const MEASURES: &[&str] = &[
    "admitted_share",
    "admitted_per_second",
    "rejected",
    "requests",
    "failed",
    "model_admitted",
    "model_gap",
    "lag_p99_ms",
];

/// Most requests of the volley that fills a bucket.
const MOST_TO_FILL: u32 = 2_000;

/// One request of one address.
struct Shot {
    sent: Duration,
    admitted: bool,
    failed: bool,
    lag: Duration,
}

pub(super) fn run(
    lab: &Lab,
    rig: &mut Rig,
    rate: f64,
    keys: u32,
    duration: Duration,
    settings: &Value,
) -> Result<Trial, RigError> {
    let (target, asked) = (rig.target(), Asked::read(rig.token()));
    let (limit, burst) = limit_of(settings);
    let gap = Duration::from_secs_f64(1.0 / rate);
    // A full bucket has room for the first arrival once one request has leaked out.
    let leak = Duration::from_secs_f64(1.0 / limit).max(gap);
    let by_key = lab.wait_for(async {
        let mut ready = Vec::new();
        for _ in 0..keys {
            let client = fresh_client();
            // A full bucket shows the sustained rate from the first request on.
            let fill = open(target, Some(client), (burst + 1).min(MOST_TO_FILL)).await?;
            let own = open(target, Some(client), 1).await?;
            ready.push((fill, own));
        }
        let begun = Instant::now();
        let tasks: Vec<_> = ready
            .into_iter()
            .enumerate()
            .map(|(key, (fill, own))| {
                let asked = asked.clone();
                // The addresses take turns within one gap.
                let first = gap.mul_f64(key as f64 / f64::from(keys));
                tokio::spawn(async move {
                    let filled = begun.elapsed();
                    let (_, shots) = volley(fill, &asked).await;
                    let filling = shots.iter().filter(|shot| shot.end.is_served()).count();
                    let start = begun.elapsed() + leak + first;
                    let shots = one_client(own, &asked, begun, start, gap, duration).await;
                    (filled, filling, shots)
                })
            })
            .collect();
        let mut by_key = Vec::new();
        for task in tasks {
            if let Ok(shots) = task.await {
                by_key.push(shots);
            }
        }
        Ok(by_key)
    })?;
    let mut trial = Trial::default();
    let (mut model, mut measured, mut expected) = (0, Vec::new(), Vec::new());
    let (mut requests, mut failed, mut lags) = (0_u64, 0_u64, Vec::new());
    for (filled, filling, shots) in &by_key {
        let mut bucket = Bucket::new(limit, burst);
        for _ in 0..*filling {
            bucket.admits(*filled);
        }
        for shot in shots {
            requests += 1;
            failed += u64::from(shot.failed);
            lags.push(shot.lag);
            if bucket.admits(shot.sent) {
                model += 1;
                expected.push(shot.sent.as_secs_f64());
            }
            if shot.admitted {
                measured.push(shot.sent.as_secs_f64());
            }
        }
    }
    let admitted = measured.len() as f64;
    trial.put("requests", requests as f64);
    trial.put("failed", failed as f64);
    trial.put("rejected", requests as f64 - admitted - failed as f64);
    trial.put("admitted_share", admitted / requests.max(1) as f64);
    trial.put(
        "admitted_per_second",
        admitted / f64::from(keys) / duration.as_secs_f64(),
    );
    trial.put("model_admitted", f64::from(model));
    trial.put("model_gap", (admitted - f64::from(model)).abs());
    trial.put("lag_p99_ms", quantile_ms(lags, 0.99));
    for (name, mut times) in [("admitted so far", measured), ("exact model", expected)] {
        times.sort_by(f64::total_cmp);
        let points = times
            .iter()
            .enumerate()
            .map(|(n, at)| (*at, (n + 1) as f64));
        trial.line(name, points.collect());
    }
    Ok(trial)
}

async fn one_client(
    connections: Vec<Connection>,
    asked: &Asked,
    begun: Instant,
    start: Duration,
    gap: Duration,
    duration: Duration,
) -> Vec<Shot> {
    let mut shots = Vec::new();
    let Some(mut connection) = connections.into_iter().next() else {
        return shots;
    };
    let count = (duration.as_secs_f64() / gap.as_secs_f64()).round() as u32;
    for number in 0..count {
        let due = start + gap * number;
        tokio::time::sleep_until((begun + due).into()).await;
        let sent = begun.elapsed();
        let end = connection.get(asked, ANSWER_WITHIN).await;
        shots.push(Shot {
            sent,
            admitted: end.is_served(),
            failed: !end.is_served() && !end.is_rejected(),
            lag: sent.saturating_sub(due),
        });
    }
    shots
}

//! A server whose queue is full beside one that serves: how long does the slowest client wait?

use std::time::{Duration, Instant};

use serde_json::Value;
use weir_load::units::parse_duration;

use super::{Trial, tools::median_ms};
use crate::study::rig::{
    FullQueue, Lab, Rig, RigError,
    client::{Asked, once},
};

pub(super) const MEASURES: &[&str] = &[
    "slowest_s",
    "over_5s",
    "unanswered_syns",
    "requests",
    "served_share",
    "failed",
    "p50_ms",
];

/// From one single request to the next, after the simultaneous ones.
const EVERY: Duration = Duration::from_millis(100);
/// Single requests.
const SINGLES: u32 = 10;
/// How often half-open connections are counted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The client waits this much longer than the proxy's timeout.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(
    lab: &Lab,
    rig: &mut Rig,
    requests: u32,
    dead: Option<&FullQueue>,
    settings: &Value,
) -> Result<Trial, RigError> {
    let (target, asked) = (rig.target(), Asked::read(rig.token()));
    let timeout = settings
        .pointer("/timeouts/connect")
        .and_then(Value::as_str)
        .and_then(|text| parse_duration(text).ok())
        .unwrap_or(Duration::from_secs(30));
    let within = timeout * 2 + PATIENCE;
    let (ends, syns) = lab.wait_for(async {
        let begun = Instant::now();
        let mut tasks = Vec::new();
        let shoot = |asked: Asked| {
            tokio::spawn(async move {
                let started = begun.elapsed();
                let (end, took) = once(target, None, &asked, within).await;
                (started, end, took)
            })
        };
        tasks.extend((0..requests).map(|_| shoot(asked.clone())));
        let watch = async {
            let mut most = 0;
            if let Some(dead) = dead {
                loop {
                    most = most.max(dead.unanswered().unwrap_or(0));
                    // What hangs does so for a long time: a moment's look is enough.
                    if begun.elapsed() > EVERY * SINGLES {
                        break;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            most
        };
        let singles = async {
            let mut tasks = Vec::new();
            for _ in 0..SINGLES {
                tokio::time::sleep(EVERY).await;
                tasks.push(shoot(asked.clone()));
            }
            tasks
        };
        let (syns, singles) = tokio::join!(watch, singles);
        tasks.extend(singles);
        let mut ends = Vec::new();
        for task in tasks {
            if let Ok(end) = task.await {
                ends.push(end);
            }
        }
        Ok((ends, syns))
    })?;
    let served = ends.iter().filter(|(_, end, _)| end.is_served()).count() as f64;
    let slowest = ends
        .iter()
        .map(|(.., took)| *took)
        .max()
        .unwrap_or_default();
    let five = Duration::from_secs(5);
    let mut trial = Trial::default();
    trial.put("requests", ends.len() as f64);
    trial.put("slowest_s", slowest.as_secs_f64());
    trial.put(
        "over_5s",
        ends.iter().filter(|(.., took)| *took > five).count() as f64,
    );
    trial.put("unanswered_syns", syns as f64);
    trial.put("served_share", served / ends.len().max(1) as f64);
    trial.put("failed", ends.len() as f64 - served);
    trial.put("p50_ms", median_ms(ends.iter().map(|(.., took)| *took)));
    let mut points: Vec<_> = ends
        .iter()
        .map(|(started, _, took)| (started.as_secs_f64(), took.as_secs_f64()))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    trial.line("seconds until the answer, by start", points);
    Ok(trial)
}

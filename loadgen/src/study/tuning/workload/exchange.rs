//! A closed model without think time: requests always in flight.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use weir_lab::host::CpuClock;

use super::{
    Trial,
    compress::summed_up,
    tools::{ANSWER_WITHIN, open},
};
use crate::study::rig::{
    Lab, Rig, RigError,
    client::{Asked, End},
};

pub(super) const MEASURES: &[&str] = &[
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "mean_ms",
    "proxy_cpu_us",
    "proxy_busy",
    "requests_per_second",
    "bytes_per_response",
    "requests",
    "failed",
];

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(100);
/// Points of the line of CPU time.
const LOOKS: u32 = 10;

pub(super) fn run(
    lab: &Lab,
    rig: &mut Rig,
    in_flight: u32,
    duration: Duration,
    service_time: Duration,
) -> Result<Trial, RigError> {
    rig.fault(lab, &format!("latency={}us", service_time.as_micros()))?;
    let asked = Asked::read(rig.token());
    let flow = flow(lab, rig, asked, in_flight, duration)?;
    rig.fault(lab, "")?;
    Ok(summed_up(&flow))
}

/// Requests per second at a replica directly.
pub(super) fn ceiling(lab: &Lab, rig: &mut Rig, duration: Duration) -> Result<f64, RigError> {
    let asked = Asked::read(rig.token());
    let target = rig.replicas().first().copied().unwrap_or(rig.target());
    let flow = flow_to(lab, rig, target, asked, 32, duration)?;
    Ok(flow.times.len() as f64 / flow.lasted.as_secs_f64().max(f64::EPSILON))
}

/// What a flow of requests gave.
pub(crate) struct Flow {
    /// Response times of the answers.
    pub(crate) times: Vec<Duration>,
    pub(crate) bytes: u64,
    pub(crate) failed: u64,
    pub(crate) lasted: Duration,
    pub(crate) cpu: CpuClock,
    pub(crate) cpu_over_time: Vec<(f64, f64)>,
}

/// Keeps so many requests in flight, and counts those that are answered in the time that counts.
pub(crate) fn flow(
    lab: &Lab,
    rig: &mut Rig,
    asked: Asked,
    in_flight: u32,
    duration: Duration,
) -> Result<Flow, RigError> {
    let target = rig.target();
    flow_to(lab, rig, target, asked, in_flight, duration)
}

fn flow_to(
    lab: &Lab,
    rig: &mut Rig,
    target: SocketAddr,
    asked: Asked,
    in_flight: u32,
    duration: Duration,
) -> Result<Flow, RigError> {
    lab.wait_for(async {
        let connections = open(target, None, in_flight).await?;
        let from = Instant::now() + WARM_UP;
        let until = from + duration;
        let answered = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let (asked, answered) = (asked.clone(), answered.clone());
                tokio::spawn(async move {
                    let (mut times, mut bytes, mut failed) = (Vec::new(), 0, 0_u64);
                    loop {
                        let sent = Instant::now();
                        if sent >= until {
                            break;
                        }
                        let end = connection.get(&asked, ANSWER_WITHIN).await;
                        let now = Instant::now();
                        answered.fetch_add(1, Ordering::Relaxed);
                        if now < from || now >= until {
                            continue;
                        }
                        match end {
                            End::Answered(200..=299, size) => {
                                times.push(now - sent);
                                bytes += size;
                            }
                            _ => {
                                failed += 1;
                                // What fails at once would otherwise fail as fast as it can.
                                tokio::time::sleep(Duration::from_millis(1)).await;
                            }
                        }
                    }
                    (times, bytes, failed)
                })
            })
            .collect();
        tokio::time::sleep_until(from.into()).await;
        let (began, before) = (Instant::now(), rig.cpu()?);
        let mut line = Vec::new();
        let mut last = (before, answered.load(Ordering::Relaxed));
        for look in 1..=LOOKS {
            tokio::time::sleep_until((from + duration * look / LOOKS).into()).await;
            let now = (rig.cpu()?, answered.load(Ordering::Relaxed));
            let requests = now.1.saturating_sub(last.1);
            if requests > 0 {
                let used = now.0.since(last.0).ran.as_secs_f64() * 1e6;
                line.push((began.elapsed().as_secs_f64(), used / requests as f64));
            }
            last = now;
        }
        let (lasted, cpu) = (began.elapsed(), last.0.since(before));
        let mut flow = Flow {
            times: Vec::new(),
            bytes: 0,
            failed: 0,
            lasted,
            cpu,
            cpu_over_time: line,
        };
        for task in tasks {
            if let Ok((times, bytes, failed)) = task.await {
                flow.times.extend(times);
                flow.bytes += bytes;
                flow.failed += failed;
            }
        }
        Ok(flow)
    })
}

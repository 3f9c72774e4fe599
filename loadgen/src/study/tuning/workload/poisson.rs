//! Smooth load: independent arrivals at random times with hundreds of requests in flight. Their
//! number hardly falls, so few connections are ever idle at once.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::unbounded_channel;
use weir_load::{
    scenario::{Arrivals, Open, Stage},
    schedule::{ArrivalPacer, Pacer as _},
    units::Rate,
};

use super::{
    Trial,
    tools::{ANSWER_WITHIN, open, quantile_ms},
};
use crate::study::rig::{
    Lab, Rig, RigError,
    client::{Asked, Connection},
};

pub(super) const MEASURES: &[&str] = &[
    "opened_per_request",
    "opened",
    "in_flight",
    "in_flight_least",
    "in_flight_most",
    "largest_fall",
    "requests",
    "failed",
    "proxy_cpu_us",
    "p50_ms",
    "p95_ms",
    "lag_p99_ms",
];

/// Service times before anything counts: one fills the proxy's connections, the others let the
/// number in flight reach its usual height.
const WARM_UP: u32 = 3;
/// From the last connection to the first arrival.
const LEAD: Duration = Duration::from_millis(20);
/// Points of the line of requests in flight.
const POINTS: usize = 100;

#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rate: Rate,
    pub(super) service_time: Duration,
    pub(super) duration: Duration,
    pub(super) seed: u64,
}

/// One arrival, by the time since the first.
#[derive(Debug, Clone, Copy)]
struct Shot {
    due: Duration,
    sent: Duration,
    ended: Duration,
    served: bool,
}

impl Shape {
    /// Requests in flight on average, by Little's law.
    pub(super) fn in_flight(&self) -> f64 {
        self.rate.get() * self.service_time.as_secs_f64()
    }

    /// Before anything counts.
    pub(super) fn warm_up(&self) -> Duration {
        self.service_time * WARM_UP
    }

    /// When requests arrive: the same times for the same seed.
    fn arrivals(&self) -> Vec<Duration> {
        let open = Open {
            stages: vec![Stage {
                duration: self.warm_up() + self.duration,
                from: self.rate,
                to: self.rate,
            }],
            wave: None,
            arrivals: Arrivals::Poisson,
        };
        let mut pacer = ArrivalPacer::new(&open, Duration::ZERO, self.seed);
        std::iter::from_fn(|| pacer.next_event()).collect()
    }

    /// Client connections that are open from the beginning: so many that more are hardly ever
    /// needed at once.
    fn connections(&self) -> u32 {
        let mean = self.in_flight();
        (mean + 5.0 * mean.sqrt()).ceil() as u32 + 5
    }
}

pub(super) fn run(lab: &Lab, rig: &mut Rig, shape: Shape) -> Result<Trial, RigError> {
    rig.fault(
        lab,
        &format!("latency={}us", shape.service_time.as_micros()),
    )?;
    let (target, asked) = (rig.target(), Asked::read(rig.token()));
    let from = shape.warm_up();
    let until = from + shape.duration;
    let (shots, opened, cpu) = lab.wait_for(async {
        let connections = open(target, None, shape.connections()).await?;
        let begun = Instant::now() + LEAD;
        let sender = tokio::spawn(send(target, asked, connections, shape.arrivals(), begun));
        tokio::time::sleep_until((begun + from).into()).await;
        let (accepted, clock) = (rig.counts().await?.accepted, rig.cpu()?);
        tokio::time::sleep_until((begun + until).into()).await;
        let opened = rig.counts().await?.accepted - accepted;
        let cpu = rig.cpu()?.since(clock).ran;
        let shots = sender.await.unwrap_or_default();
        Ok((shots, opened, cpu))
    })?;
    rig.fault(lab, "")?;
    let counted: Vec<_> = shots
        .iter()
        .filter(|shot| shot.due >= from && shot.due < until)
        .collect();
    let requests = counted.len().max(1) as f64;
    let mut trial = Trial::default();
    trial.put("requests", counted.len() as f64);
    trial.put("opened", opened as f64);
    trial.put("opened_per_request", opened as f64 / requests);
    trial.put(
        "failed",
        counted.iter().filter(|shot| !shot.served).count() as f64,
    );
    trial.put("proxy_cpu_us", cpu.as_secs_f64() * 1e6 / requests);
    let times = || counted.iter().map(|shot| shot.ended - shot.due);
    trial.put("p50_ms", quantile_ms(times(), 0.5));
    trial.put("p95_ms", quantile_ms(times(), 0.95));
    let lags = counted.iter().map(|shot| shot.sent - shot.due);
    trial.put("lag_p99_ms", quantile_ms(lags, 0.99));
    let course = Course::of(&shots, from, until);
    trial.put("in_flight", course.mean);
    trial.put("in_flight_least", course.least);
    trial.put("in_flight_most", course.most);
    trial.put("largest_fall", course.fall);
    trial.line("requests in flight", course.points);
    Ok(trial)
}

/// Sends every request when it is due, over the connection that was used last, and waits for all.
async fn send(
    target: SocketAddr,
    asked: Asked,
    mut idle: Vec<Connection>,
    arrivals: Vec<Duration>,
    begun: Instant,
) -> Vec<Shot> {
    let (back, mut returned) = unbounded_channel();
    let mut shots = Vec::with_capacity(arrivals.len());
    for due in arrivals {
        tokio::time::sleep_until((begun + due).into()).await;
        while let Ok((connection, shot)) = returned.try_recv() {
            idle.extend(connection);
            shots.push(shot);
        }
        let (connection, asked, back) = (idle.pop(), asked.clone(), back.clone());
        tokio::spawn(async move {
            let sent = begun.elapsed().max(due);
            let connection = match connection {
                Some(connection) => Ok(connection),
                None => Connection::open(target, None).await,
            };
            let (connection, served) = match connection {
                Ok(mut connection) => {
                    let served = connection.get(&asked, ANSWER_WITHIN).await.is_served();
                    (served.then_some(connection), served)
                }
                Err(_) => (None, false),
            };
            let shot = Shot {
                due,
                sent,
                ended: begun.elapsed().max(sent),
                served,
            };
            // The receiver lives until every sender is gone.
            let _ = back.send((connection, shot));
        });
    }
    drop(back);
    while let Some((_, shot)) = returned.recv().await {
        shots.push(shot);
    }
    shots
}

/// How many requests were in flight over a part of the trial.
#[derive(Debug, Default, PartialEq)]
struct Course {
    mean: f64,
    least: f64,
    most: f64,
    /// How far the number fell below the highest so far, the warm-up included: so many of the
    /// connections that were needed at once were idle later.
    fall: f64,
    /// Seconds since the warm-up, and requests in flight.
    points: Vec<(f64, f64)>,
}

impl Course {
    fn of(shots: &[Shot], from: Duration, until: Duration) -> Self {
        let starts = shots.iter().map(|shot| (shot.sent, 1.0));
        let ends = shots.iter().map(|shot| (shot.ended, -1.0));
        let mut steps: Vec<(Duration, f64)> = starts.chain(ends).collect();
        // At the same time an end goes before a start.
        steps.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut course = Self {
            least: f64::INFINITY,
            ..Self::default()
        };
        let length = (until - from).as_secs_f64().max(f64::EPSILON);
        let (mut now, mut highest, mut last) = (0.0_f64, 0.0_f64, from);
        let (mut area, mut next_point) = (0.0, 0.0);
        for (at, step) in steps.into_iter().take_while(|(at, _)| *at < until) {
            if at >= from {
                course.see(now, highest);
                area += now * (at - last).as_secs_f64();
                last = at;
                let since = (at - from).as_secs_f64();
                if since >= next_point {
                    course.points.push((since, now));
                    next_point = since + length / POINTS as f64;
                }
            }
            now += step;
            highest = highest.max(now);
        }
        course.see(now, highest);
        area += now * (until - last).as_secs_f64();
        course.mean = area / length;
        course.points.push((length, now));
        course
    }

    fn see(&mut self, now: f64, highest: f64) {
        self.least = self.least.min(now);
        self.most = self.most.max(now);
        self.fall = self.fall.max(highest - now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shape(seed: u64) -> Shape {
        Shape {
            rate: Rate::per_second(1000.0).unwrap(),
            service_time: Duration::from_millis(200),
            duration: Duration::from_secs(2),
            seed,
        }
    }

    #[test]
    fn arrivals_follow_the_seed_and_the_rate() {
        let times = shape(1).arrivals();
        assert_eq!(times, shape(1).arrivals());
        assert_ne!(times, shape(2).arrivals());
        // 2,600 expected, standard deviation 51.
        assert!((2_300..2_900).contains(&times.len()), "{}", times.len());
        // Exponential gaps: their standard deviation is their mean.
        let gaps: Vec<_> = times
            .windows(2)
            .map(|w| (w[1] - w[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.8..1.2).contains(&(square.sqrt() / mean)));
    }

    #[test]
    fn the_course_is_that_of_the_requests() {
        let ms = Duration::from_millis;
        let shot = |sent, ended| Shot {
            due: ms(sent),
            sent: ms(sent),
            ended: ms(ended),
            served: true,
        };
        // Three in the warm-up; from 100 ms on one, none, then two.
        let shots = [
            shot(10, 90),
            shot(20, 95),
            shot(30, 150),
            shot(160, 250),
            shot(170, 180),
        ];
        let course = Course::of(&shots, ms(100), ms(200));
        assert_eq!((course.least, course.most, course.fall), (0.0, 2.0, 3.0));
        // 50 ms one, 10 none, 10 one, 10 two, 20 one.
        assert!((course.mean - 1.0).abs() < 1e-9, "{course:?}");
    }

    #[test]
    fn smooth_arrivals_hardly_fall_and_volleys_do() {
        let shots = |times: Vec<Duration>| -> Vec<Shot> {
            let shot = |due| Shot {
                due,
                sent: due,
                ended: due + Duration::from_millis(200),
                served: true,
            };
            times.into_iter().map(shot).collect()
        };
        let (from, until) = (Duration::from_millis(600), Duration::from_millis(2600));
        let smooth = Course::of(&shots(shape(1).arrivals()), from, until);
        assert!((180.0..220.0).contains(&smooth.mean), "{smooth:?}");
        assert!(smooth.least > 130.0 && smooth.fall < 100.0, "{smooth:?}");
        let volleys = (0..10).flat_map(|n| vec![Duration::from_millis(n * 300); 200]);
        let volleys = Course::of(&shots(volleys.collect()), from, until);
        assert_eq!((volleys.least, volleys.fall), (0.0, 200.0));
    }
}

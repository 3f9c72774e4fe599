//! The values of a scenario as people write them.

use std::{fmt, time::Duration};

use super::{Arrivals, Load, Open, Scenario, ThinkTime};
use crate::units::format_duration;

impl fmt::Display for ThinkTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format_duration;
        match *self {
            Self::None => f.write_str("none"),
            Self::Constant(pause) => f.write_str(&text(pause)),
            Self::Uniform { min, max } => write!(f, "uniform, {} to {}", text(min), text(max)),
            Self::Exponential { mean } => write!(f, "exponential, mean {}", text(mean)),
            Self::Normal { mean, deviation } => {
                write!(
                    f,
                    "normal, mean {}, deviation {}",
                    text(mean),
                    text(deviation)
                )
            }
            Self::LogNormal { mean, deviation } => {
                write!(
                    f,
                    "log-normal, mean {}, deviation {}",
                    text(mean),
                    text(deviation)
                )
            }
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Poisson => f.write_str("poisson"),
            Self::Volley(size) => write!(f, "volleys of {size}"),
            Self::Replay(replay) => write!(
                f,
                "replay of {} requests from {} at speed {}",
                replay.trace.len(),
                replay.file.display(),
                replay.speed
            ),
        }
    }
}

/// Values that are not only what a file says: those with defaults, and those that the environment
/// and flags can change. `shape` is the field that says how users or arrivals come.
pub(super) fn values(scenario: &Scenario, shape: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |field: &str, value: String| rows.push((field.to_owned(), value));
    let maybe = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
    row("duration", format_duration(scenario.duration));
    row("warmup", format_duration(scenario.warmup));
    let total = scenario.requests_total.map(|total| total.to_string());
    row("requests_total", maybe(total, "no limit"));
    match &scenario.load {
        Load::Closed(closed) => {
            row("load.model", "closed".to_owned());
            let stages = closed.stages.iter().map(|stage| {
                let (from, to) = (stage.from.to_string(), stage.to.to_string());
                part(&from, &to, stage.duration)
            });
            let users = if closed.stages.is_empty() {
                closed.users.to_string()
            } else {
                stages.collect::<Vec<_>>().join(", ")
            };
            row(shape, users);
            if closed.stages.is_empty() {
                let rate = closed.spawn_rate.map(|rate| rate.to_string());
                row("load.spawn_rate", maybe(rate, "all at once"));
            }
            match closed.pacing {
                Some(pacing) => row("load.pacing", format_duration(pacing)),
                None => row("load.think_time", closed.think_time.to_string()),
            }
        }
        Load::Open(open) => {
            row("load.model", "open".to_owned());
            if !matches!(open.arrivals, Arrivals::Replay(_)) {
                row(shape, rates(open));
            }
            row("load.arrivals", open.arrivals.to_string());
        }
    }
    row("engine", scenario.engine.name().to_owned());
    row("connections", scenario.connections.to_string());
    row("cookies", scenario.cookies.to_string());
    row("seed", scenario.seed.to_string());
    row(
        "timeouts.connect",
        format_duration(scenario.timeouts.connect),
    );
    row("timeouts.total", format_duration(scenario.timeouts.total));
    let http = &scenario.http;
    row("http.version", http.version.name().to_owned());
    let most = http.requests_per_connection.map(|most| most.to_string());
    row("http.requests_per_connection", maybe(most, "no limit"));
    row(
        "http.streams_per_connection",
        http.streams_per_connection.to_string(),
    );
    let tls = &scenario.tls;
    let ca = tls.ca.as_ref().map(|path| path.display().to_string());
    row("tls.ca", maybe(ca, "those of the system"));
    row("tls.insecure", tls.insecure.to_string());
    row(
        "tls.server_name",
        maybe(tls.server_name.clone(), "the target's"),
    );
    rows
}

fn rates(open: &Open) -> String {
    if let (Some(wave), Some(stage)) = (open.wave, open.stages.first()) {
        return format!(
            "{} ± {} every {}",
            stage.from,
            wave.amplitude,
            format_duration(wave.period)
        );
    }
    if let [stage] = open.stages.as_slice()
        && stage.from == stage.to
    {
        return stage.from.to_string();
    }
    let stages = open.stages.iter().map(|stage| {
        let (from, to) = (stage.from.to_string(), stage.to.to_string());
        part(&from, &to, stage.duration)
    });
    stages.collect::<Vec<_>>().join(", ")
}

/// `300 for 2m`, or `300 → 500 in 6m`.
fn part(from: &str, to: &str, duration: Duration) -> String {
    let duration = format_duration(duration);
    if from == to {
        format!("{from} for {duration}")
    } else {
        format!("{from} → {to} in {duration}")
    }
}

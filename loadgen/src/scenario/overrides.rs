//! Changing a scenario from the command line.

use std::time::Duration;

use super::{Closed, Engine, HttpOverrides, Load, Scenario, ScenarioError, Stage};
use crate::units::Rate;

/// What the command line may change in a scenario; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Multiplies durations (warm-up, measured part, stages, spawn phase); 0.1 makes a run ten
    /// times shorter. Think times and rates stay.
    pub time_scale: Option<f64>,
    /// Length of the measured part; stages are stretched to it.
    pub duration: Option<Duration>,
    /// Warm-up.
    pub warmup: Option<Duration>,
    /// Users of a closed model.
    pub users: Option<u32>,
    /// Rate of an open model; stages keep their proportions to the highest of them.
    pub rate: Option<Rate>,
    /// Most requests in flight of an open model.
    pub connections: Option<u32>,
    /// Client engine.
    pub engine: Option<Engine>,
    /// Seed.
    pub seed: Option<u64>,
    /// Time to wait for a connection.
    pub connect_timeout: Option<Duration>,
    /// Time to wait for a whole answer.
    pub timeout: Option<Duration>,
    /// Version of HTTP, connections, TLS.
    pub http: HttpOverrides,
}

impl Overrides {
    /// Applies the overrides; the scale comes first, explicit lengths win over it.
    ///
    /// # Errors
    ///
    /// When a value is out of range or belongs to the other load model.
    pub fn apply(&self, mut scenario: Scenario) -> Result<Scenario, ScenarioError> {
        if let Some(scale) = self.time_scale {
            if !(scale.is_finite() && scale > 0.0) {
                return Err(wrong("--time-scale", "must be a number above 0"));
            }
            scenario.warmup = scenario.warmup.mul_f64(scale);
            scale_measured(&mut scenario, scale);
            if let Load::Closed(Closed {
                spawn_rate: Some(spawn),
                ..
            }) = &mut scenario.load
            {
                *spawn = scaled(*spawn, 1.0 / scale);
            }
        }
        if let Some(warmup) = self.warmup {
            scenario.warmup = warmup;
        }
        if let Some(duration) = self.duration {
            if duration.is_zero() {
                return Err(wrong("--duration", "must be above 0"));
            }
            let scale = duration.as_secs_f64() / scenario.duration.as_secs_f64();
            scale_measured(&mut scenario, scale);
            scenario.duration = duration;
        }
        if let Some(users) = self.users {
            let Load::Closed(closed) = &mut scenario.load else {
                return Err(wrong(
                    "--users",
                    "this scenario has model = \"open\"; use `--rate`",
                ));
            };
            if users == 0 {
                return Err(wrong("--users", "must be at least 1"));
            }
            closed.users = users;
            scenario.connections = users;
        }
        if let Some(rate) = self.rate {
            set_rate(&mut scenario, rate)?;
        }
        if let Some(connections) = self.connections {
            if connections == 0 {
                return Err(wrong("--connections", "must be at least 1"));
            }
            if matches!(scenario.load, Load::Closed(_)) {
                return Err(wrong(
                    "--connections",
                    "a closed model has one connection a user; use `--users`",
                ));
            }
            scenario.connections = connections;
        }
        if let Some(engine) = self.engine {
            scenario.engine = engine;
        }
        if let Some(seed) = self.seed {
            scenario.seed = seed;
        }
        for (flag, given, timeout) in [
            (
                "--connect-timeout",
                self.connect_timeout,
                &mut scenario.timeouts.connect,
            ),
            ("--timeout", self.timeout, &mut scenario.timeouts.total),
        ] {
            if let Some(given) = given {
                if given < Duration::from_millis(1) {
                    return Err(wrong(flag, "must be at least 1ms"));
                }
                *timeout = given;
            }
        }
        self.http
            .apply(&mut scenario.http, &mut scenario.tls, scenario.engine)
            .map_err(|(flag, message)| wrong(flag, &message))?;
        Ok(scenario)
    }
}

fn scale_measured(scenario: &mut Scenario, scale: f64) {
    scenario.duration = scenario.duration.mul_f64(scale);
    if let Load::Open(open) = &mut scenario.load {
        for stage in &mut open.stages {
            stage.duration = stage.duration.mul_f64(scale);
        }
    }
}

fn set_rate(scenario: &mut Scenario, rate: Rate) -> Result<(), ScenarioError> {
    let Load::Open(open) = &mut scenario.load else {
        return Err(wrong(
            "--rate",
            "this scenario has model = \"closed\"; use `--users`",
        ));
    };
    if rate.get() <= 0.0 {
        return Err(wrong("--rate", "must be above 0"));
    }
    let highest = open
        .stages
        .iter()
        .flat_map(|stage| [stage.from.get(), stage.to.get()])
        .fold(0.0, f64::max);
    let factor = rate.get() / highest;
    for Stage { from, to, .. } in &mut open.stages {
        *from = scaled(*from, factor);
        *to = scaled(*to, factor);
    }
    Ok(())
}

fn scaled(rate: Rate, factor: f64) -> Rate {
    Rate::per_second(rate.get() * factor).unwrap_or(rate)
}

fn wrong(flag: &'static str, message: &str) -> ScenarioError {
    ScenarioError::Override {
        flag,
        message: message.to_owned(),
    }
}

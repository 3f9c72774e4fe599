//! Changing a scenario from the environment and the command line.

use std::time::Duration;

use super::{
    Arrivals, Engine, HttpOverrides, Load, Scenario, ScenarioError, Stage, validate_load::replayed,
};
use crate::units::Rate;

/// What the environment or the command line may change in a scenario; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Multiplies durations (warm-up, measured part, stages, waves, spawn phase); 0.1 makes a run
    /// ten times shorter. Think times and rates stay. A replay is cut.
    pub time_scale: Option<f64>,
    /// Length of the measured part; stages are stretched to it, a replay is cut.
    pub duration: Option<Duration>,
    /// Warm-up.
    pub warmup: Option<Duration>,
    /// Users of a closed model; stages keep their proportions to the highest of them.
    pub users: Option<u32>,
    /// Rate of an open model; stages keep their proportions to the highest of them.
    pub rate: Option<Rate>,
    /// Most requests in flight of an open model.
    pub connections: Option<u32>,
    /// Client engine.
    pub engine: Option<Engine>,
    /// Seed.
    pub seed: Option<u64>,
    /// Ends the run after so many requests.
    pub requests: Option<u64>,
    /// Time to wait for a connection.
    pub connect_timeout: Option<Duration>,
    /// Time to wait for a whole answer.
    pub timeout: Option<Duration>,
    /// Version of HTTP, connections, TLS.
    pub http: HttpOverrides,
}

/// One override: it does nothing if it is not given.
type Step = fn(&Overrides, &mut Scenario) -> Result<(), ScenarioError>;

/// The overrides in the order in which they apply, each with the flags that it belongs to: the scale
/// comes first, explicit lengths win over it.
pub(super) const STEPS: [(&str, Step); 12] = [
    ("--time-scale", Overrides::scale_time),
    ("--warmup", Overrides::set_warmup),
    ("--duration", Overrides::set_duration),
    ("--users", Overrides::set_users),
    ("--rate", Overrides::set_rate),
    ("--connections", Overrides::set_connections),
    ("--engine", Overrides::set_engine),
    ("--seed", Overrides::set_seed),
    ("--requests", Overrides::set_requests),
    ("--connect-timeout", Overrides::set_connect_timeout),
    ("--timeout", Overrides::set_timeout),
    (HTTP_FLAGS, Overrides::set_http),
];

/// Stands for all flags that change how requests travel.
pub(super) const HTTP_FLAGS: &str = "--http-version and its kind";

impl Overrides {
    /// Applies the overrides; the scale comes first, explicit lengths win over it.
    ///
    /// # Errors
    ///
    /// When a value is out of range or belongs to the other load model.
    pub fn apply(&self, mut scenario: Scenario) -> Result<Scenario, ScenarioError> {
        for (_, step) in STEPS {
            step(self, &mut scenario)?;
        }
        Ok(scenario)
    }

    fn scale_time(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        let Some(scale) = self.time_scale else {
            return Ok(());
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(wrong("--time-scale", "must be a number above 0"));
        }
        let warmup = scenario.warmup.mul_f64(scale);
        stretch(scenario, scale, warmup, "--time-scale")?;
        if let Load::Closed(closed) = &mut scenario.load
            && let Some(spawn) = &mut closed.spawn_rate
        {
            *spawn = scaled(*spawn, 1.0 / scale);
        }
        Ok(())
    }

    fn set_warmup(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        match self.warmup {
            Some(warmup) => stretch(scenario, 1.0, warmup, "--warmup"),
            None => Ok(()),
        }
    }

    fn set_duration(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        let Some(duration) = self.duration else {
            return Ok(());
        };
        if duration.is_zero() {
            return Err(wrong("--duration", "must be above 0"));
        }
        let scale = duration.as_secs_f64() / scenario.duration.as_secs_f64();
        let warmup = scenario.warmup;
        stretch(scenario, scale, warmup, "--duration")?;
        scenario.duration = duration;
        Ok(())
    }

    fn set_users(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        let Some(users) = self.users else {
            return Ok(());
        };
        let Load::Closed(closed) = &mut scenario.load else {
            return Err(wrong(
                "--users",
                "this scenario has model = \"open\"; use `--rate`",
            ));
        };
        if users == 0 {
            return Err(wrong("--users", "must be at least 1"));
        }
        let factor = f64::from(users) / f64::from(closed.users.max(1));
        let in_proportion = |before: u32| match before {
            0 => 0,
            // Rounded, but a stage with users keeps at least one.
            before => ((f64::from(before) * factor).round() as u32).max(1),
        };
        for stage in &mut closed.stages {
            stage.from = in_proportion(stage.from);
            stage.to = in_proportion(stage.to);
        }
        closed.users = users;
        scenario.connections = users;
        Ok(())
    }

    fn set_rate(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let Load::Open(open) = &mut scenario.load else {
            return Err(wrong(
                "--rate",
                "this scenario has model = \"closed\"; use `--users`",
            ));
        };
        if matches!(open.arrivals, Arrivals::Replay(_)) {
            return Err(wrong(
                "--rate",
                "a replay sends when its trace says; change `load.speed` instead",
            ));
        }
        if rate.get() <= 0.0 {
            return Err(wrong("--rate", "must be above 0"));
        }
        let factor = rate.get() / open.peak_rate();
        for Stage { from, to, .. } in &mut open.stages {
            *from = scaled(*from, factor);
            *to = scaled(*to, factor);
        }
        if let Some(wave) = &mut open.wave {
            wave.amplitude = scaled(wave.amplitude, factor);
        }
        Ok(())
    }

    fn set_connections(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        let Some(connections) = self.connections else {
            return Ok(());
        };
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
        Ok(())
    }

    fn set_engine(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        scenario.engine = self.engine.unwrap_or(scenario.engine);
        Ok(())
    }

    fn set_seed(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        Ok(())
    }

    fn set_requests(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        if self.requests == Some(0) {
            return Err(wrong("--requests", "must be at least 1"));
        }
        scenario.requests_total = self.requests.or(scenario.requests_total);
        Ok(())
    }

    fn set_connect_timeout(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        set_timeout(
            "--connect-timeout",
            self.connect_timeout,
            &mut scenario.timeouts.connect,
        )
    }

    fn set_timeout(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        set_timeout("--timeout", self.timeout, &mut scenario.timeouts.total)
    }

    fn set_http(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        let engine = scenario.engine;
        self.http
            .apply(&mut scenario.http, &mut scenario.tls, engine)
            .map_err(|(flag, message)| wrong(flag, &message))
    }
}

fn set_timeout(
    flag: &'static str,
    given: Option<Duration>,
    timeout: &mut Duration,
) -> Result<(), ScenarioError> {
    if given.is_some_and(|given| given < Duration::from_millis(1)) {
        return Err(wrong(flag, "must be at least 1ms"));
    }
    *timeout = given.unwrap_or(*timeout);
    Ok(())
}

/// Changes the lengths of the measured part and the warm-up; the shape of the load goes with them,
/// except for a replay, which is cut.
fn stretch(
    scenario: &mut Scenario,
    scale: f64,
    warmup: Duration,
    flag: &'static str,
) -> Result<(), ScenarioError> {
    let duration = scenario.duration.mul_f64(scale);
    scenario.duration = duration;
    scenario.warmup = warmup;
    match &mut scenario.load {
        Load::Closed(closed) => {
            for stage in &mut closed.stages {
                stage.duration = stage.duration.mul_f64(scale);
            }
        }
        Load::Open(open) => {
            if let Arrivals::Replay(replay) = &open.arrivals {
                // The end of the measured part lies a moment after the last request.
                if warmup + duration > replay.length() + Duration::from_millis(2) {
                    return Err(wrong(
                        flag,
                        "a replay can be cut, not stretched: its trace is not that long; lower `load.speed` instead",
                    ));
                }
                *open = replayed(replay.clone(), warmup, duration);
                return Ok(());
            }
            for stage in &mut open.stages {
                stage.duration = stage.duration.mul_f64(scale);
            }
            if let Some(wave) = &mut open.wave {
                wave.period = wave.period.mul_f64(scale);
            }
        }
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

//! How much load, when, and whether it waits for answers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;

use super::{ThinkTime, Trace};
use crate::units::{Rate, as_text};

/// Load model with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "model", rename_all = "lowercase")]
pub enum Load {
    /// N users, each waiting for its answer and then thinking.
    Closed(Closed),
    /// Arrivals on a schedule that does not wait for answers.
    Open(Open),
}

/// A closed model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Closed {
    /// Users at full load, that is, in the highest of the stages; at least 1.
    pub users: u32,
    /// Users started per second; `None` starts all at once.
    pub spawn_rate: Option<Rate>,
    /// Pause of a user between an answer and its next request.
    pub think_time: ThinkTime,
    /// Instead of a pause: time from the start of one request of a user to that of its next. An
    /// answer that takes longer is followed by the next request at once.
    #[serde(serialize_with = "as_text::maybe_duration")]
    pub pacing: Option<Duration>,
    /// How the number of users changes over the measured part; empty when it does not. Warm-up has
    /// as many users as the first stage begins with.
    pub stages: Vec<UserStage>,
}

/// A piece of a closed model's number of users over time; it changes linearly from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UserStage {
    /// How long it lasts.
    #[serde(serialize_with = "as_text::duration")]
    pub duration: Duration,
    /// Users at its start.
    pub from: u32,
    /// Users at its end.
    pub to: u32,
}

impl Closed {
    /// So many users from the start to the end, all started at once.
    pub fn steady(users: u32, think_time: ThinkTime) -> Self {
        Self {
            users,
            spawn_rate: None,
            think_time,
            pacing: None,
            stages: Vec::new(),
        }
    }

    /// Time that passes at least, on average, between two requests of a user.
    pub fn cycle(&self) -> Duration {
        self.pacing.unwrap_or_else(|| self.think_time.mean())
    }

    /// Users, averaged over the measured part; those that a spawn rate has yet to start count.
    pub fn mean_users(&self) -> f64 {
        let length: f64 = self.stages.iter().map(|s| s.duration.as_secs_f64()).sum();
        if length <= 0.0 {
            return f64::from(self.users);
        }
        let area: f64 = self
            .stages
            .iter()
            .map(|s| (f64::from(s.from) + f64::from(s.to)) / 2.0 * s.duration.as_secs_f64())
            .sum();
        area / length
    }
}

/// An open model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Open {
    /// Stages of the measured part, in order; never empty, together as long as `duration`.
    /// Warm-up runs at the rate with which the first stage begins. A replay has one, at its mean
    /// rate.
    pub stages: Vec<Stage>,
    /// A swell on top of the stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<Wave>,
    /// How arrivals are spread in time.
    pub arrivals: Arrivals,
}

impl Open {
    /// Expected number of arrivals in the measured part; exact for a replay.
    pub fn expected(&self) -> f64 {
        let stages: f64 = self
            .stages
            .iter()
            .map(|stage| (stage.from.get() + stage.to.get()) / 2.0 * stage.duration.as_secs_f64())
            .sum();
        let length = self.stages.iter().map(|stage| stage.duration).sum();
        stages + self.wave.map_or(0.0, |wave| wave.arrivals(length))
    }

    /// Highest rate; of a replay, that of its busiest second.
    pub fn peak_rate(&self) -> f64 {
        if let Arrivals::Replay(replay) = &self.arrivals {
            return replay.trace.busiest_second() as f64 * replay.speed;
        }
        let stages = self
            .stages
            .iter()
            .flat_map(|stage| [stage.from.get(), stage.to.get()])
            .fold(0.0, f64::max);
        stages + self.wave.map_or(0.0, |wave| wave.amplitude.get())
    }
}

/// A piece of an open model's rate over time; the rate changes linearly from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stage {
    /// How long it lasts.
    #[serde(serialize_with = "as_text::duration")]
    pub duration: Duration,
    /// Arrivals per second at its start.
    pub from: Rate,
    /// Arrivals per second at its end.
    pub to: Rate,
}

/// A sine on top of the stages: `amplitude · sin(2π·t / period)`, t from the start of the measured
/// part. Never larger than the rate that it is added to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Wave {
    /// Arrivals per second that the crest is above the middle.
    pub amplitude: Rate,
    /// From crest to crest; above 0.
    #[serde(serialize_with = "as_text::duration")]
    pub period: Duration,
}

impl Wave {
    /// Arrivals that it adds from the start of the measured part up to `time`: the integral of the
    /// sine.
    pub fn arrivals(&self, time: Duration) -> f64 {
        let omega = std::f64::consts::TAU / self.period.as_secs_f64();
        self.amplitude.get() / omega * (1.0 - (omega * time.as_secs_f64()).cos())
    }
}

/// How arrivals are spread in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Evenly spaced.
    Uniform,
    /// A Poisson process: independent arrivals, exponential gaps.
    Poisson,
    /// Groups of this many at the same instant, evenly spaced; the rate stays the same.
    Volley(u32),
    /// As they were recorded.
    Replay(Replay),
}

/// A recorded trace and how fast it is replayed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// Its file.
    pub file: PathBuf,
    /// Twice as fast at 2; above 0.
    pub speed: f64,
    /// The requests.
    #[serde(skip)]
    pub trace: Arc<Trace>,
}

impl Replay {
    /// When a request of the trace is due, from the start of the load; `None` beyond the end.
    pub fn due(&self, index: usize) -> Option<Duration> {
        self.trace.at(index).map(|at| at.div_f64(self.speed))
    }

    /// How long the trace lasts at this speed, up to and with the last request.
    pub fn length(&self) -> Duration {
        self.trace.length().div_f64(self.speed)
    }
}

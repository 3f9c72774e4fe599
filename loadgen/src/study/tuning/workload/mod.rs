//! What is done to the proxy in one trial, and what is measured meanwhile.
//!
//! A workload reaches one kind of setting (it *binds*), with its own parameters it can also be made
//! not to: that is the control. Every workload is hermetic: stand-in replicas and sockets of this
//! machine's loopback network, nothing else.

mod arrivals;
mod burst;
mod check;
mod compress;
pub(crate) mod exchange;
mod hold;
mod poisson;
pub(crate) mod tools;
mod unanswered;
mod variants;
mod volleys;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_lab::proxies::tuned::RigSpec;
use weir_load::units::{Rate, format_duration, parse_duration};

use crate::study::rig::{FullQueue, Lab, Rig, RigError, servers_patch};

/// Figures of one trial, by name.
pub type Measures = BTreeMap<String, f64>;

/// Points of one line of a plot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Horizontal and vertical values; horizontal ones rise.
    pub points: Vec<(f64, f64)>,
}

/// What one trial gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Trial {
    /// Figures by name.
    pub measures: Measures,
    /// How it went on, as far as that is of interest.
    pub lines: Vec<Line>,
}

impl Trial {
    fn put(&mut self, name: &str, value: f64) {
        self.measures.insert(name.to_owned(), value);
    }

    fn line(&mut self, name: &str, points: Vec<(f64, f64)>) {
        self.lines.push(Line {
            name: name.to_owned(),
            points,
        });
    }
}

/// A duration as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = weir_load::units::UnitError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_duration(&text).map(Self)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        format_duration(span.0)
    }
}

/// A way of using the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "workload", rename_all = "snake_case", deny_unknown_fields)]
pub enum Workload {
    /// So many connections at once, each with one request that is answered slowly.
    Hold {
        /// Client connections.
        connections: u32,
        /// How long a replica takes.
        service_time: Span,
    },
    /// Volleys of simultaneous requests over kept-alive connections.
    Volleys {
        /// Requests of a volley.
        size: u32,
        /// From one volley to the next.
        every: Span,
        /// Volleys that count; two more warm up.
        count: u32,
        /// How long a replica takes.
        service_time: Span,
    },
    /// Smooth load: independent arrivals at random times, over kept-alive connections.
    Poisson {
        /// Arrivals.
        rate: Rate,
        /// How long a replica takes: with the rate, how many are in flight.
        service_time: Span,
        /// What counts; three service times more warm up.
        duration: Span,
        /// The same seed gives the same arrivals, on both sides of every pair.
        #[serde(default = "first_seed")]
        seed: u64,
    },
    /// Even arrivals from several client addresses whose buckets are full when the trial begins.
    Arrivals {
        /// Arrivals of each address.
        rate: Rate,
        /// Client addresses.
        keys: u32,
        /// Length of the trial.
        duration: Span,
    },
    /// One volley from a client address that was never seen before.
    Burst {
        /// Requests of the volley.
        size: u32,
    },
    /// A server that does not answer SYNs beside one that serves.
    Unanswered {
        /// Simultaneous requests at the beginning; single ones follow.
        requests: u32,
        /// Whether there is such a server at all.
        #[serde(default = "yes")]
        dead: bool,
    },
    /// JSON bodies of one size, as fast as they come.
    Compress {
        /// Bytes of a body before compression.
        body: u32,
        /// Requests in flight.
        in_flight: u32,
        /// Length of the trial.
        duration: Span,
        /// Whether the client accepts gzip.
        #[serde(default = "yes")]
        accept: bool,
    },
    /// Small answers: requests always in flight, at a replica that takes its time.
    Exchange {
        /// Requests in flight.
        in_flight: u32,
        /// Length of the trial.
        duration: Span,
        /// How long a replica takes.
        service_time: Span,
    },
}

fn yes() -> bool {
    true
}

fn first_seed() -> u64 {
    1
}

/// Something that must stay there while a trial runs.
#[derive(Debug, Default)]
pub struct Prepared {
    dead: Option<FullQueue>,
}

impl Workload {
    /// Its name in the file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hold { .. } => "hold",
            Self::Volleys { .. } => "volleys",
            Self::Poisson { .. } => "poisson",
            Self::Arrivals { .. } => "arrivals",
            Self::Burst { .. } => "burst",
            Self::Unanswered { .. } => "unanswered",
            Self::Compress { .. } => "compress",
            Self::Exchange { .. } => "exchange",
        }
    }

    /// The figures that it gives.
    #[must_use]
    pub fn measures(&self) -> &'static [&'static str] {
        match self {
            Self::Hold { .. } => hold::MEASURES,
            Self::Volleys { .. } => volleys::MEASURES,
            Self::Poisson { .. } => poisson::MEASURES,
            Self::Arrivals { .. } => arrivals::MEASURES,
            Self::Burst { .. } => burst::MEASURES,
            Self::Unanswered { .. } => unanswered::MEASURES,
            Self::Compress { .. } => compress::MEASURES,
            Self::Exchange { .. } => exchange::MEASURES,
        }
    }

    /// What it needs around it.
    #[must_use]
    pub fn rig(&self) -> RigSpec {
        RigSpec {
            limited: matches!(self, Self::Arrivals { .. } | Self::Burst { .. }),
            compressed: matches!(self, Self::Compress { .. }),
            ..RigSpec::default()
        }
    }

    /// About how long a trial takes, with a setting of that many seconds if it is a time.
    #[must_use]
    pub fn lasts(&self, timeout: Option<Duration>) -> Duration {
        let overhead = Duration::from_millis(150);
        overhead
            + match *self {
                Self::Hold {
                    service_time,
                    connections,
                } => service_time.0 + Duration::from_micros(600) * connections,
                Self::Volleys { every, count, .. } => every.0 * (count + 2),
                // The last answers take one more.
                Self::Poisson {
                    service_time,
                    duration,
                    ..
                } => duration.0 + service_time.0 * 4,
                Self::Arrivals { duration, .. } => duration.0,
                Self::Burst { .. } => Duration::from_millis(50),
                Self::Unanswered { dead: false, .. } => Duration::from_secs(1),
                Self::Unanswered { .. } => timeout.unwrap_or_default() + Duration::from_secs(2),
                Self::Compress { duration, .. } | Self::Exchange { duration, .. } => duration.0,
            }
    }

    /// Sets up what must be there before the setting is switched, and what the switch has to say
    /// about it.
    ///
    /// # Errors
    ///
    /// When a socket cannot be had.
    pub fn prepare(&self, rig: &Rig) -> Result<(Prepared, Option<Value>), RigError> {
        match self {
            Self::Unanswered { dead: true, .. } => {
                let queue =
                    FullQueue::start().map_err(RigError::io("cannot fill a listener's queue"))?;
                let mut servers = rig.replicas();
                // A server of its own for every trial: what was learned about the last is no help.
                servers.push(queue.address());
                let prepared = Prepared { dead: Some(queue) };
                Ok((prepared, Some(servers_patch(&servers))))
            }
            _ => Ok((Prepared::default(), None)),
        }
    }

    /// Makes a trial. `settings` are those in force.
    ///
    /// # Errors
    ///
    /// When the machine or a replica fails; not when requests do.
    pub fn run(
        &self,
        lab: &Lab,
        rig: &mut Rig,
        prepared: &Prepared,
        settings: &Value,
    ) -> Result<Trial, RigError> {
        match *self {
            Self::Hold {
                connections,
                service_time,
            } => hold::run(lab, rig, connections, service_time.0),
            Self::Volleys {
                size,
                every,
                count,
                service_time,
            } => volleys::run(
                lab,
                rig,
                &volleys::Shape {
                    size,
                    every: every.0,
                    count,
                    service_time: service_time.0,
                },
            ),
            Self::Poisson {
                rate,
                service_time,
                duration,
                seed,
            } => poisson::run(
                lab,
                rig,
                poisson::Shape {
                    rate,
                    service_time: service_time.0,
                    duration: duration.0,
                    seed,
                },
            ),
            Self::Arrivals {
                rate,
                keys,
                duration,
            } => arrivals::run(lab, rig, rate.get(), keys, duration.0, settings),
            Self::Burst { size } => burst::run(lab, rig, size, settings),
            Self::Unanswered { requests, .. } => {
                unanswered::run(lab, rig, requests, prepared.dead.as_ref(), settings)
            }
            Self::Compress {
                body,
                in_flight,
                duration,
                accept,
            } => compress::run(
                lab,
                rig,
                &compress::Shape {
                    body,
                    in_flight,
                    duration: duration.0,
                    accept,
                },
            ),
            Self::Exchange {
                in_flight,
                duration,
                service_time,
            } => exchange::run(lab, rig, in_flight, duration.0, service_time.0),
        }
    }
}

/// Requests per second that the generator reaches at a replica, with no proxy in between.
pub(super) fn ceiling(lab: &Lab, rig: &mut Rig, duration: Duration) -> Result<f64, RigError> {
    exchange::ceiling(lab, rig, duration)
}

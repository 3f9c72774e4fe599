//! What a rule can be about, and in which unit.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    record::FailureKind,
    units::{Rate, parse_duration},
};

/// A figure of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// A statistic of the latency of successes, milliseconds.
    Latency {
        /// Which time.
        time: Time,
        /// Which statistic of it.
        statistic: Statistic,
    },
    /// Successful requests per second.
    Throughput,
    /// Completed requests per second, failures and 429 included.
    Rate,
    /// Share of requests that failed, 429 excluded.
    Errors,
    /// Share of requests that succeeded.
    Success,
    /// Share of requests that were answered with 429.
    Limited,
    /// Share of intended requests that were never sent (open model).
    Unsent,
    /// Share of requests that failed in this way, by its name in results: `timeout`, `status_503`.
    Failure(String),
}

/// Which of the two latencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Time {
    /// Intended start to last byte.
    #[default]
    Response,
    /// Sent to last byte.
    Service,
}

/// A statistic of a latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// A percentile, above 0 and at most 100.
    Percentile(f64),
    /// Arithmetic mean.
    Mean,
    /// Smallest.
    Min,
    /// Largest.
    Max,
}

/// Unit of a metric and of its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds; people write durations.
    Milliseconds,
    /// A share from 0 to 1; people write percentages.
    Share,
    /// Events per second; people write rates.
    PerSecond,
}

impl Metric {
    /// The response time at a percentile (0 to 100).
    #[must_use]
    pub fn percentile(percent: f64) -> Self {
        Self::Latency {
            time: Time::Response,
            statistic: Statistic::Percentile(percent),
        }
    }

    /// Unit of its values.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::Latency { .. } => Unit::Milliseconds,
            Self::Throughput | Self::Rate => Unit::PerSecond,
            Self::Errors | Self::Success | Self::Limited | Self::Unsent | Self::Failure(_) => {
                Unit::Share
            }
        }
    }

    /// Whether a greater value is a better one.
    #[must_use]
    pub fn more_is_better(&self) -> bool {
        matches!(self, Self::Throughput | Self::Rate | Self::Success)
    }
}

impl Statistic {
    fn name(self) -> String {
        match self {
            Self::Percentile(percent) => format!("p{percent}"),
            Self::Mean => "mean".to_owned(),
            Self::Min => "min".to_owned(),
            Self::Max => "max".to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Result<Self, String>> {
        match text {
            "mean" | "avg" | "average" => return Some(Ok(Self::Mean)),
            "median" => return Some(Ok(Self::Percentile(50.0))),
            "min" => return Some(Ok(Self::Min)),
            "max" => return Some(Ok(Self::Max)),
            _ => {}
        }
        let percent = text.strip_prefix('p')?;
        if !percent.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        Some(match percent.parse::<f64>() {
            Ok(value) if value > 0.0 && value <= 100.0 => Ok(Self::Percentile(value)),
            // p999 is what others write for 99.9.
            Ok(_) if percent.len() > 2 && percent.chars().all(|c| c.is_ascii_digit()) => {
                let (whole, rest) = percent.split_at(2);
                Err(format!(
                    "`{text}` is above 100; did you mean `p{whole}.{rest}`?"
                ))
            }
            _ => Err(format!(
                "`{text}` is not a percentile: write p50, p99 or p99.9"
            )),
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { time, statistic } => {
                if *time == Time::Service {
                    f.write_str("service ")?;
                }
                f.write_str(&statistic.name())
            }
            Self::Throughput => f.write_str("throughput"),
            Self::Rate => f.write_str("rate"),
            Self::Errors => f.write_str("errors"),
            Self::Success => f.write_str("success"),
            Self::Limited => f.write_str("limited"),
            Self::Unsent => f.write_str("unsent"),
            Self::Failure(kind) => f.write_str(kind),
        }
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let mut words = text.split_whitespace();
        let (first, second, rest) = (words.next(), words.next(), words.next());
        let (time, name) = match (first, second, rest) {
            (Some("response"), Some(name), None) => (Some(Time::Response), name),
            (Some("service"), Some(name), None) => (Some(Time::Service), name),
            (Some(name), None, None) => (None, name),
            _ => return Err(unknown(text)),
        };
        if let Some(statistic) = Statistic::parse(name) {
            return Ok(Self::Latency {
                time: time.unwrap_or_default(),
                statistic: statistic?,
            });
        }
        if time.is_some() {
            return Err(format!(
                "`{name}` is not a statistic of a latency: write p99, mean, min or max"
            ));
        }
        match name {
            "throughput" => Ok(Self::Throughput),
            "rate" => Ok(Self::Rate),
            "errors" | "error_rate" => Ok(Self::Errors),
            "success" => Ok(Self::Success),
            "limited" | "429" | "status_429" => Ok(Self::Limited),
            "unsent" => Ok(Self::Unsent),
            _ if FailureKind::NAMED.iter().any(|kind| kind.name() == name) => {
                Ok(Self::Failure(name.to_owned()))
            }
            _ => match name.strip_prefix("status_").map(str::parse::<u16>) {
                Some(Ok(100..=599)) => Ok(Self::Failure(name.to_owned())),
                Some(_) => Err(format!(
                    "`{name}` is not an HTTP status: write status_503, from 100 to 599"
                )),
                None => Err(unknown(name)),
            },
        }
    }
}

fn unknown(name: &str) -> String {
    format!(
        "`{name}` is not a metric: write p99.9, mean, max, throughput, rate, errors, success, \
         limited, unsent, or a kind of failure such as timeout or status_503"
    )
}

impl Unit {
    /// Reads a limit as people write it.
    ///
    /// # Errors
    ///
    /// A sentence that says what would be right.
    pub fn read(self, text: &str) -> Result<f64, String> {
        let text = text.trim();
        match self {
            Self::Milliseconds => parse_duration(text)
                .map(|value| value.as_secs_f64() * 1000.0)
                .map_err(|error| error.to_string()),
            Self::PerSecond => text
                .parse::<Rate>()
                .map(Rate::get)
                .map_err(|error| error.to_string()),
            Self::Share => text
                .strip_suffix('%')
                .and_then(|number| number.trim().parse::<f64>().ok())
                .filter(|percent| (0.0..=100.0).contains(percent))
                .map(|percent| percent / 100.0)
                .ok_or_else(|| {
                    format!("`{text}` is not a share: write 0 to 100 with a %, such as \"0.1%\"")
                }),
        }
    }

    /// Writes a limit so that [`Self::read`] reads the same again.
    #[must_use]
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Milliseconds => {
                let duration = Duration::try_from_secs_f64(value / 1000.0).unwrap_or_default();
                if duration >= Duration::from_secs(1) {
                    format!("{}s", tidy(value / 1000.0))
                } else {
                    format!("{}ms", tidy(value))
                }
            }
            Self::Share => format!("{}%", tidy(value * 100.0)),
            Self::PerSecond => format!("{}/s", tidy(value)),
        }
    }
}

/// A number without the noise of binary fractions.
fn tidy(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

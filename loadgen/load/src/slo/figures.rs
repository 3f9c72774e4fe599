//! The figures that rules are held against: of a run that goes on, or of one that is over.

use hdrhistogram::Histogram;

use super::{Metric, Rule, Statistic, Time, Unit};
use crate::{
    record::{Counts, Totals},
    summary::{Latency, Summary},
    units::{milliseconds, percent, rounded},
};

/// Microseconds in a millisecond: histograms count microseconds, rules milliseconds.
const US_PER_MS: f64 = 1000.0;

/// Histograms of a run, whole and by endpoint, microseconds.
pub trait Histograms {
    /// The histogram of the successes of one endpoint, or of all; none when the endpoint is not
    /// known.
    fn histogram(&self, endpoint: Option<&str>, time: Time) -> Option<&Histogram<u64>>;
}

impl Histograms for Totals {
    fn histogram(&self, endpoint: Option<&str>, time: Time) -> Option<&Histogram<u64>> {
        let Some(name) = endpoint else {
            return Some(match time {
                Time::Response => &self.response,
                Time::Service => &self.service,
            });
        };
        let of = self.endpoints.iter().find(|of| of.name == name)?;
        Some(match time {
            Time::Response => &of.response,
            Time::Service => &of.service,
        })
    }
}

/// What rules are held against.
pub trait Figures {
    /// Length of the measured part, or of what has passed of it.
    fn seconds(&self) -> f64;
    /// Requests of one endpoint, or of all; none when the endpoint is not known.
    fn counts(&self, endpoint: Option<&str>) -> Option<Counts>;
    /// Failures of one kind.
    fn failures(&self, endpoint: Option<&str>, kind: &str) -> u64;
    /// A statistic of a latency, milliseconds; none when it was not recorded.
    fn latency(&self, endpoint: Option<&str>, time: Time, statistic: Statistic) -> Option<f64>;
    /// Share of intended requests that were never sent; none in a closed model.
    fn unsent(&self) -> Option<f64>;
}

/// A value, or why there is none.
pub(super) type Value = Result<f64, &'static str>;

/// The value that a rule is about, in the unit of its metric.
pub fn value(figures: &impl Figures, rule: &Rule) -> Value {
    let endpoint = rule.endpoint.as_deref();
    let counts = figures
        .counts(endpoint)
        .ok_or("no such endpoint in this run")?;
    let per_second = |count: u64| match figures.seconds() {
        seconds if seconds > 0.0 => Ok(count as f64 / seconds),
        _ => Err("nothing was measured"),
    };
    if counts.requests == 0 {
        return Err("no request");
    }
    let share = |count: u64| count as f64 / counts.requests as f64;
    match &rule.metric {
        Metric::Latency { time, statistic } => {
            if counts.ok == 0 {
                return Err("no successful request");
            }
            figures
                .latency(endpoint, *time, *statistic)
                .ok_or("needs the interval logs, which are missing")
        }
        Metric::Throughput => per_second(counts.ok),
        Metric::Rate => per_second(counts.requests),
        Metric::Errors => Ok(share(counts.errors)),
        Metric::Success => Ok(share(counts.ok)),
        Metric::Limited => Ok(share(counts.limited)),
        Metric::Failure(kind) => Ok(share(figures.failures(endpoint, kind))),
        Metric::Unsent => figures
            .unsent()
            .ok_or("a closed model has no intended requests"),
    }
}

/// A statistic of a histogram of microseconds, in milliseconds.
fn statistic_of(histogram: &Histogram<u64>, statistic: Statistic) -> f64 {
    match statistic {
        Statistic::Percentile(percent) => {
            histogram.value_at_quantile(percent / 100.0) as f64 / US_PER_MS
        }
        Statistic::Mean => histogram.mean() / US_PER_MS,
        Statistic::Min => histogram.min() as f64 / US_PER_MS,
        Statistic::Max => histogram.max() as f64 / US_PER_MS,
    }
}

/// A run that goes on.
pub(crate) struct Live<'a> {
    pub(crate) totals: &'a Totals,
    pub(crate) seconds: f64,
}

impl Figures for Live<'_> {
    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn counts(&self, endpoint: Option<&str>) -> Option<Counts> {
        match endpoint {
            None => Some(self.totals.counts),
            Some(name) => {
                let mut endpoints = self.totals.endpoints.iter();
                endpoints.find(|of| of.name == name).map(|of| of.counts)
            }
        }
    }

    fn failures(&self, endpoint: Option<&str>, kind: &str) -> u64 {
        let of_endpoint = endpoint.and_then(|name| {
            let mut endpoints = self.totals.endpoints.iter();
            endpoints.find(|of| of.name == name)
        });
        let failures = of_endpoint.map_or(&self.totals.failures, |of| &of.failures);
        failures
            .iter()
            .filter(|(of, _)| of.name() == kind)
            .map(|(_, count)| count)
            .sum()
    }

    fn latency(&self, endpoint: Option<&str>, time: Time, statistic: Statistic) -> Option<f64> {
        let histogram = self.totals.histogram(endpoint, time)?;
        Some(statistic_of(histogram, statistic))
    }

    fn unsent(&self) -> Option<f64> {
        None
    }
}

/// A run that is over.
pub struct Finished<'a> {
    /// Its key figures.
    pub summary: &'a Summary,
    /// Without them only the percentiles of the summary are known.
    pub histograms: Option<&'a dyn Histograms>,
}

impl Figures for Finished<'_> {
    fn seconds(&self) -> f64 {
        self.summary.duration_s
    }

    fn counts(&self, endpoint: Option<&str>) -> Option<Counts> {
        let summary = self.summary;
        let Some(name) = endpoint else {
            return Some(Counts {
                requests: summary.requests,
                ok: summary.ok,
                limited: summary.limited,
                errors: summary.errors,
            });
        };
        let of = summary.endpoints.iter().find(|of| of.name == name)?;
        Some(Counts {
            requests: of.requests,
            ok: of.ok,
            limited: of.limited,
            errors: of.errors,
        })
    }

    fn failures(&self, endpoint: Option<&str>, kind: &str) -> u64 {
        let mut endpoints = self.summary.endpoints.iter();
        match endpoint {
            Some(name) => endpoints
                .find(|of| of.name == name)
                .and_then(|of| of.failures.get(kind))
                .copied()
                .unwrap_or(0),
            None => self
                .summary
                .failures
                .iter()
                .filter(|failure| failure.kind == kind)
                .map(|failure| failure.count)
                .sum(),
        }
    }

    fn latency(&self, endpoint: Option<&str>, time: Time, statistic: Statistic) -> Option<f64> {
        if let Some(histograms) = self.histograms {
            let histogram = histograms.histogram(endpoint, time)?;
            return Some(statistic_of(histogram, statistic));
        }
        let latency = match (endpoint, time) {
            (None, Time::Response) => &self.summary.response,
            (None, Time::Service) => &self.summary.service,
            (Some(name), Time::Response) => {
                let mut endpoints = self.summary.endpoints.iter();
                &endpoints.find(|of| of.name == name)?.response
            }
            (Some(_), Time::Service) => return None,
        };
        summarised(latency, statistic)
    }

    fn unsent(&self) -> Option<f64> {
        let intended = self.summary.intended_rps? * self.summary.duration_s;
        (intended > 0.0).then(|| self.summary.unsent as f64 / intended)
    }
}

/// A statistic that every summary holds.
fn summarised(latency: &Latency, statistic: Statistic) -> Option<f64> {
    let Statistic::Percentile(percent) = statistic else {
        return Some(match statistic {
            Statistic::Mean => latency.mean_ms,
            Statistic::Min => latency.min_ms,
            _ => latency.max_ms,
        });
    };
    let known = [
        (50.0, latency.p50_ms),
        (90.0, latency.p90_ms),
        (95.0, latency.p95_ms),
        (99.0, latency.p99_ms),
        (99.9, latency.p999_ms),
        (100.0, latency.max_ms),
    ];
    known
        .iter()
        .find(|(of, _)| *of == percent)
        .map(|(_, value)| *value)
}

/// A value with its unit, for people.
pub fn write(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Milliseconds => milliseconds(value),
        Unit::Share => percent(value),
        Unit::PerSecond => format!("{}/s", rounded((value * 10.0).round() / 10.0)),
    }
}

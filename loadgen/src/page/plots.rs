//! Which charts a run's report has.

use weir_load::summary::{Distribution, Interval, Model, ProcessSummary, Summary};

use super::chart::{Axis, Ink, Plot, Point, Series, Shape};
use crate::judge::Thresholds;

/// A threshold further than this many times above the data is left out: it would flatten the plot.
const THRESHOLD_IN_SIGHT: f64 = 2.5;
/// 99th percentile of the send lag above which a run is invalid, milliseconds.
const MOST_SEND_LAG_MS: f64 = 1.0;
/// Bytes in a megabyte.
const MB: f64 = 1e6;

/// The charts of a run, in reading order.
#[must_use]
pub(crate) fn plots(summary: &Summary, thresholds: &Thresholds) -> Vec<Plot> {
    let mut plots = Vec::new();
    if !summary.intervals.is_empty() {
        plots.push(latency_over_time(summary, thresholds));
        plots.push(throughput(summary, thresholds));
    }
    let shapes = &summary.distributions;
    if !shapes.response.quantiles.is_empty() {
        plots.push(percentiles(summary));
        plots.push(histogram(summary));
    }
    if !summary.intervals.is_empty() {
        plots.push(failures(summary));
        plots.push(in_flight(summary));
        plots.extend(send_lag(summary));
    }
    if summary
        .processes
        .iter()
        .any(|process| !process.samples.is_empty())
    {
        plots.push(resource(
            "cpu",
            "CPU by process",
            "100 % is one core.",
            summary,
            "%",
            |(_, cpu, _)| cpu,
        ));
        plots.push(resource(
            "rss",
            "Resident memory by process",
            "Flat is good: growth under steady load is a leak until proven otherwise.",
            summary,
            "MB",
            |(_, _, rss)| rss as f64 / MB,
        ));
    }
    plots
}

fn time_axis(summary: &Summary) -> Axis {
    let last = summary
        .intervals
        .last()
        .map_or(0.0, |interval| interval.t_s + 1.0);
    Axis::Linear {
        from: 0.0,
        to: summary.duration_s.max(last).max(1.0),
        unit: "s",
    }
}

/// A value of every second, drawn in the middle of it.
fn per_second(summary: &Summary, value: impl Fn(&Interval) -> Option<f64>) -> Vec<Point> {
    summary
        .intervals
        .iter()
        .map(|interval| (interval.t_s + 0.5, value(interval)))
        .collect()
}

fn largest<'a>(series: impl IntoIterator<Item = &'a Series>) -> f64 {
    let values = series
        .into_iter()
        .flat_map(|series| series.points.iter().filter_map(|(_, y)| *y));
    values.fold(0.0, f64::max)
}

fn level(name: String, at: f64, axis: &Axis) -> Series {
    let (from, to) = match axis {
        Axis::Linear { from, to, .. } | Axis::Log { from, to, .. } => (*from, *to),
        Axis::Percentile { to } => (0.0, *to),
    };
    Series {
        name,
        ink: Ink::Muted,
        shape: Shape::Dashed,
        points: vec![(from, Some(at)), (to, Some(at))],
    }
}

fn latency_over_time(summary: &Summary, thresholds: &Thresholds) -> Plot {
    let measured = |value: fn(&Interval) -> f64| {
        per_second(summary, move |interval| {
            (interval.ok > 0).then(|| value(interval))
        })
    };
    let series = |name: &str, ink, shape, value| Series {
        name: name.to_owned(),
        ink,
        shape,
        points: measured(value),
    };
    let x = time_axis(summary);
    let mut all = vec![
        series("p50", Ink::First, Shape::Line, |i: &Interval| i.p50_ms),
        series("p95", Ink::Second, Shape::Strip, |i: &Interval| i.p95_ms),
        series("p99", Ink::Third, Shape::Strip, |i: &Interval| i.p99_ms),
    ];
    let top = largest(&all);
    let limits = [
        ("p99", thresholds.p99_ms),
        ("p95", thresholds.p95_ms),
        ("p50", thresholds.p50_ms),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit.filter(|limit| *limit < top * THRESHOLD_IN_SIGHT) {
            all.push(level(format!("{name} threshold"), limit, &x));
        }
    }
    Plot {
        id: "latency".into(),
        title: "Response time, each second".into(),
        hint: match summary.model {
            Model::Open => "From the intended start to the last byte, successes only. Strips: from p50 to p95, and from there to p99.".into(),
            Model::Closed => "From the send to the last byte, successes only. Strips: from p50 to p95, and from there to p99.".into(),
        },
        y: Axis::from_zero(largest(&all), "ms"),
        x,
        series: all,
    }
}

fn throughput(summary: &Summary, thresholds: &Thresholds) -> Plot {
    let x = time_axis(summary);
    let count = |name: &str, ink, shape, value: fn(&Interval) -> u64| Series {
        name: name.to_owned(),
        ink,
        shape,
        points: per_second(summary, move |interval| Some(value(interval) as f64)),
    };
    let mut series = vec![count("successes", Ink::First, Shape::Filled, |i| i.ok)];
    if summary.model == Model::Open {
        series.push(count("intended", Ink::Muted, Shape::Dashed, |i| i.intended));
    }
    let top = largest(&series);
    if let Some(limit) = thresholds
        .throughput_rps
        .filter(|limit| *limit < top * THRESHOLD_IN_SIGHT)
    {
        let mut line = level("threshold".into(), limit, &x);
        line.ink = Ink::Warn;
        series.push(line);
    }
    Plot {
        id: "throughput".into(),
        title: "Throughput, each second".into(),
        hint: match summary.model {
            Model::Open => "Successes against what the schedule intended; a gap is load the target did not take.".into(),
            Model::Closed => "Successes. Users wait for their answers, so a slow target also lowers the load.".into(),
        },
        y: Axis::from_zero(largest(&series), "/s"),
        x,
        series,
    }
}

fn percentiles(summary: &Summary) -> Plot {
    let shapes = &summary.distributions;
    let curve = |name: &str, ink, shape: Shape, of: &Distribution| Series {
        name: name.to_owned(),
        ink,
        shape,
        points: of
            .quantiles
            .iter()
            .map(|point| (point.quantile, Some(point.ms)))
            .collect(),
    };
    let mut series = vec![curve(
        "response time",
        Ink::First,
        Shape::Line,
        &shapes.response,
    )];
    let mut hint = "Each step right is one more nine. ".to_owned();
    if summary.model == Model::Open {
        series.push(curve(
            "service time",
            Ink::Second,
            Shape::Line,
            &shapes.service,
        ));
        hint += "Where the two curves part, requests waited before they could be sent.";
    } else {
        hint += "Users send when they are ready, so response and service time are the same.";
    }
    let to = shapes
        .response
        .quantiles
        .last()
        .map_or(0.9, |point| point.quantile);
    let values: Vec<_> = series
        .iter()
        .flat_map(|series| series.points.iter().filter_map(|(_, y)| *y))
        .collect();
    Plot {
        id: "percentiles".into(),
        title: "Latency by percentile".into(),
        hint,
        x: Axis::Percentile { to },
        y: Axis::log_around(values.into_iter(), "ms"),
        series,
    }
}

fn histogram(summary: &Summary) -> Plot {
    let bins = &summary.distributions.response.bins;
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let edges = bins.iter().flat_map(|bin| [bin.from_ms, bin.to_ms]);
    let share = |count: u64| count as f64 * 100.0 / total.max(1) as f64;
    let top = bins.iter().map(|bin| share(bin.count)).fold(0.0, f64::max);
    let points: Vec<_> = bins
        .iter()
        .map(|bin| (bin.from_ms, Some(share(bin.count))))
        .collect();
    let ratio = bins.first().map_or(1.1, |bin| bin.to_ms / bin.from_ms);
    Plot {
        id: "histogram".into(),
        title: "Distribution of response time".into(),
        hint: "Share of all successes in each bin; bins widen with the value.".into(),
        x: Axis::log_around(edges, "ms"),
        y: Axis::from_zero(top, "%"),
        series: vec![Series {
            name: "share".into(),
            ink: Ink::First,
            shape: Shape::LogBars(ratio),
            points,
        }],
    }
}

fn failures(summary: &Summary) -> Plot {
    let bars = |name: &str, ink, value: fn(&Interval) -> u64| Series {
        name: name.to_owned(),
        ink,
        shape: Shape::Bars(0.9),
        points: summary
            .intervals
            .iter()
            .map(|i| (i.t_s + 0.05, Some(value(i) as f64)))
            .collect(),
    };
    let stacked = summary
        .intervals
        .iter()
        .map(|i| (i.errors + i.limited) as f64)
        .fold(0.0, f64::max);
    let none = stacked == 0.0;
    Plot {
        id: "failures".into(),
        title: "Failures and 429, each second".into(),
        hint: if none {
            "None in this run.".into()
        } else {
            "429 answers are counted apart: the target refused on purpose.".into()
        },
        x: time_axis(summary),
        y: Axis::from_zero(if none { 10.0 } else { stacked }, "/s"),
        series: vec![
            bars("failures", Ink::Bad, |i| i.errors),
            bars("429", Ink::Warn, |i| i.limited),
        ],
    }
}

fn in_flight(summary: &Summary) -> Plot {
    let series = vec![Series {
        name: "in flight".into(),
        ink: Ink::Fifth,
        shape: Shape::Filled,
        points: per_second(summary, |interval| Some(interval.in_flight as f64)),
    }];
    Plot {
        id: "in-flight".into(),
        title: "Requests in flight".into(),
        hint: "At the end of each second. Rising under a constant rate means a growing queue."
            .into(),
        x: time_axis(summary),
        y: Axis::from_zero(largest(&series).max(1.0), ""),
        series,
    }
}

/// None in a closed model, and for results that do not keep it.
fn send_lag(summary: &Summary) -> Option<Plot> {
    let x = time_axis(summary);
    let points = per_second(summary, |interval| interval.send_lag_p99_ms);
    if points.iter().all(|(_, lag)| lag.is_none()) {
        return None;
    }
    let mut series = vec![Series {
        name: "p99 send lag".into(),
        ink: Ink::Fourth,
        shape: Shape::Line,
        points,
    }];
    if largest(&series) * THRESHOLD_IN_SIGHT > MOST_SEND_LAG_MS {
        series.push(level(
            "allowed over the whole run".into(),
            MOST_SEND_LAG_MS,
            &x,
        ));
    }
    Some(Plot {
        id: "send-lag".into(),
        title: "Send lag, each second".into(),
        hint: "From the intended to the actual send: how late the generator itself was.".into(),
        x,
        y: Axis::from_zero(largest(&series), "ms"),
        series,
    })
}

fn resource(
    id: &str,
    title: &str,
    hint: &str,
    summary: &Summary,
    unit: &'static str,
    value: fn((f64, f64, u64)) -> f64,
) -> Plot {
    let line = |(index, process): (usize, &ProcessSummary)| Series {
        name: process.name.clone(),
        ink: Ink::ranked(index),
        shape: Shape::Line,
        points: process
            .samples
            .iter()
            .map(|sample| (sample.0, Some(value(*sample))))
            .collect(),
    };
    let series: Vec<_> = summary.processes.iter().enumerate().map(line).collect();
    Plot {
        id: id.into(),
        title: title.into(),
        hint: hint.into(),
        x: time_axis(summary),
        y: Axis::from_zero(largest(&series), unit),
        series,
    }
}

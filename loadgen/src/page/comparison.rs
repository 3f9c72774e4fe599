//! A report over several runs: topologies side by side, the scaling line, what the proxy costs.

use std::path::{Path, PathBuf};

use minijinja::{Value, context, value::Serde};
use serde::{Deserialize, Serialize};
use weir_lab::{provenance::Provenance, record::TuningRecord};
use weir_load::summary::{Summary, Validity};

use super::{
    PageError,
    chart::{Axis, Ink, Plot, Series, Shape, token_css},
    template::{charts, environment},
};
use crate::{
    judge::Row,
    lint::Finding,
    results::{Overhead, RunFolder, RunRecord},
};

/// What `comparison.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ComparisonRecord {
    /// Version of this shape.
    pub format: u32,
    /// Title of the report.
    pub title: String,
    /// One or two sentences on what was done.
    pub description: String,
    /// Outcome over all runs: `passed`, `failed` or `invalid`.
    pub gate: String,
    /// Where and with what.
    pub provenance: Provenance,
    /// The runs, in order.
    pub runs: Vec<RunCard>,
    /// One replica against two, saturated.
    pub scaling: Option<ScalingRecord>,
    /// What the proxy costs, one entry a scenario.
    pub overheads: Vec<ScenarioOverhead>,
    /// Overrides that were applied.
    pub tuning: Vec<RunTuning>,
    /// Contradictions found before any run.
    pub findings: Vec<Finding>,
}

impl ComparisonRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

/// Key figures of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunCard {
    /// Name of its folder beside the folder of the comparison.
    pub folder: String,
    /// Scenario.
    pub scenario: String,
    /// Topology.
    pub topology: String,
    /// Outcome of its gate.
    pub gate: String,
    /// Whether its numbers may be believed.
    pub validity: Validity,
    /// Threshold rows.
    pub rows: Vec<Row>,
    /// Successful requests per second.
    pub throughput_rps: f64,
    /// Response time.
    pub p50_ms: f64,
    /// Response time.
    pub p95_ms: f64,
    /// Response time.
    pub p99_ms: f64,
    /// Failed share, 0 to 1.
    pub error_rate: f64,
    /// Answers 429.
    pub limited: u64,
}

impl RunCard {
    /// The card of a run.
    #[must_use]
    pub fn of(record: &RunRecord, summary: &Summary) -> Self {
        Self {
            folder: record.id.clone(),
            scenario: summary.scenario.clone(),
            topology: record
                .topology
                .as_ref()
                .map_or_else(|| "–".to_owned(), |t| t.name.clone()),
            gate: record.gate.clone(),
            validity: summary.validity.clone(),
            rows: record.verdict.clone(),
            throughput_rps: summary.throughput_rps,
            p50_ms: summary.response.p50_ms,
            p95_ms: summary.response.p95_ms,
            p99_ms: summary.response.p99_ms,
            error_rate: summary.error_rate,
            limited: summary.limited,
        }
    }
}

/// Throughput of one replica against two under saturation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScalingRecord {
    /// Mean throughput of one replica, requests/s.
    pub one_rps: f64,
    /// Mean throughput of two replicas, requests/s.
    pub two_rps: f64,
    /// Mean efficiency, X₂ / (2·X₁).
    pub efficiency: f64,
    /// 95 % interval of the efficiency over the pairs, if there are at least three.
    pub interval: Option<(f64, f64)>,
    /// Each pair of runs.
    pub pairs: Vec<ScalingPair>,
    /// Whether all of these runs may be believed, and why not.
    pub validity: Validity,
    /// How it was measured and what it means.
    pub explanation: String,
}

/// A pair of runs, one replica and two.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ScalingPair {
    /// One replica, requests/s.
    pub one_rps: f64,
    /// Two replicas, requests/s.
    pub two_rps: f64,
    /// X₂ / (2·X₁).
    pub efficiency: f64,
}

/// What the proxy costs under one scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScenarioOverhead {
    /// The scenario.
    pub scenario: String,
    /// The cost.
    pub overhead: Overhead,
}

/// An override that one run applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunTuning {
    /// The scenario.
    pub scenario: String,
    /// The topology.
    pub topology: String,
    /// The override.
    pub tuning: TuningRecord,
}

/// Writes `comparison.json` and `report.html` and returns the path of the report.
///
/// # Errors
///
/// When the report cannot be rendered or a file not be written.
pub fn write_comparison(
    folder: &RunFolder,
    comparison: &ComparisonRecord,
    runs: &[(RunRecord, Summary)],
) -> Result<PathBuf, PageError> {
    folder.write_json("comparison.json", comparison)?;
    let page = render_comparison(comparison, &plots(runs))?;
    Ok(folder.write("report.html", &page)?)
}

/// Makes `report.html` of a comparison again, reading the runs that lie beside it.
///
/// # Errors
///
/// When a run is missing or a file cannot be read or written.
pub(crate) fn rewrite_comparison(path: &Path) -> Result<PathBuf, PageError> {
    let folder = RunFolder::open_comparison(path)?;
    let comparison: ComparisonRecord = folder.read_json("comparison.json")?;
    let mut runs = Vec::new();
    for card in &comparison.runs {
        let beside = folder
            .path()
            .parent()
            .unwrap_or(Path::new("."))
            .join(&card.folder);
        runs.push(RunFolder::open(&beside)?.load()?);
    }
    let page = render_comparison(&comparison, &plots(&runs))?;
    Ok(folder.write("report.html", &page)?)
}

fn plots(runs: &[(RunRecord, Summary)]) -> Vec<Plot> {
    let mut scenarios: Vec<&str> = Vec::new();
    for (_, summary) in runs {
        if !scenarios.contains(&summary.scenario.as_str()) {
            scenarios.push(&summary.scenario);
        }
    }
    let mut plots = Vec::new();
    for scenario in scenarios {
        let same: Vec<_> = runs
            .iter()
            .filter(|(_, summary)| summary.scenario == scenario)
            .collect();
        plots.push(percentiles(scenario, &same));
        plots.push(throughput(scenario, &same));
    }
    plots
}

fn series(index: usize, record: &RunRecord, points: impl Iterator<Item = (f64, f64)>) -> Series {
    Series {
        name: record
            .topology
            .as_ref()
            .map_or_else(|| record.id.clone(), |t| t.name.clone()),
        ink: Ink::ranked(index),
        shape: Shape::Line,
        points: points.map(|(x, y)| (x, Some(y))).collect(),
    }
}

fn percentiles(scenario: &str, runs: &[&(RunRecord, Summary)]) -> Plot {
    let curves: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(index, (record, summary))| {
            let points = &summary.distributions.response.quantiles;
            series(
                index,
                record,
                points.iter().map(|point| (point.quantile, point.ms)),
            )
        })
        .collect();
    let points = || curves.iter().flat_map(|curve| curve.points.iter());
    let to = points().map(|(quantile, _)| *quantile).fold(0.5, f64::max);
    Plot {
        id: format!("percentiles-{scenario}"),
        title: format!("Response time by percentile: {scenario}"),
        hint: "The same load on each topology. Lower is better.".into(),
        x: Axis::Percentile { to },
        y: Axis::log_around(points().filter_map(|(_, ms)| *ms), "ms"),
        series: curves,
    }
}

fn throughput(scenario: &str, runs: &[&(RunRecord, Summary)]) -> Plot {
    let lines: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(index, (record, summary))| {
            series(
                index,
                record,
                summary.intervals.iter().map(|i| (i.t_s + 0.5, i.ok as f64)),
            )
        })
        .collect();
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let last = points().map(|(x, _)| x + 0.5).fold(1.0, f64::max);
    let top = points().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    Plot {
        id: format!("throughput-{scenario}"),
        title: format!("Throughput, each second: {scenario}"),
        hint:
            "Successful requests. The lines lie on each other when every topology takes the load."
                .into(),
        x: Axis::Linear {
            from: 0.0,
            to: last,
            unit: "s",
        },
        y: Axis::from_zero(top, "/s"),
        series: lines,
    }
}

/// Makes the report of a comparison over several runs.
///
/// # Errors
///
/// When a chart or the template cannot be rendered.
pub(crate) fn render_comparison(
    comparison: &ComparisonRecord,
    plots: &[Plot],
) -> Result<String, PageError> {
    let charts = charts(plots)?;
    let context = context! {
        title => comparison.title.clone(),
        comparison => Value::from(Serde(comparison)),
        charts => Value::from(Serde(&charts)),
        tokens => token_css(),
    };
    Ok(environment()?
        .get_template("comparison.html")?
        .render(context)?)
}

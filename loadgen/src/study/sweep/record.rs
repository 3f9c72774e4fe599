//! `sweep.json`: every run of a sweep, each level summed up, and the law fitted to them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_lab::{
    provenance::Provenance,
    record::{TopologyRecord, TuningRecord},
};
use weir_load::summary::Verdict;

use crate::{
    stats::{Point, fit},
    study::search::{Figures, Over},
};

/// Name of the file in the folder of a sweep.
pub const FILE: &str = "sweep.json";
/// Levels of concurrency from which a law is fitted.
const LEVELS_FOR_A_LAW: usize = 6;

/// What `sweep.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepRecord {
    /// Version of this shape.
    pub format: u32,
    /// Name of the folder.
    pub id: String,
    /// Where and with what.
    pub provenance: Provenance,
    /// The scenario that every run is a short one of.
    pub scenario: Value,
    /// What a level is.
    pub over: Over,
    /// Measured part of a run, seconds.
    pub measured_s: f64,
    /// Warm-up of a run, seconds.
    pub warmup_s: f64,
    /// Runs of each level.
    pub repeats: usize,
    /// Seed of the order and of the runs.
    pub seed: u64,
    /// Base URLs that were driven.
    pub targets: Vec<String>,
    /// The processes under test, if this program started them.
    pub topology: Option<TopologyRecord>,
    /// Settings of the proxy while runs were made.
    pub proxy_settings: Option<Value>,
    /// What was changed for the sweep, and whether it was put back.
    pub tuning: Option<TuningRecord>,
    /// Every run, in the order in which they were made.
    pub runs: Vec<SweepRun>,
    /// Each level summed up, rising.
    pub levels: Vec<LevelRecord>,
    /// The scalability law, when the sweep is over concurrency and has six levels or more.
    pub law: Option<LawRecord>,
    /// Why there is no law, when somebody may expect one.
    pub no_law: Option<String>,
}

impl SweepRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRun {
    /// Its number in the order of runs, from 1.
    pub number: usize,
    /// Since the sweep began, seconds.
    pub at_s: f64,
    /// The level.
    pub level: f64,
    /// Which block of levels it belongs to, from 1.
    pub repeat: usize,
    /// Key figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// A level over its valid runs: least, median and most of each figure. Percentiles of different
/// runs are not averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelRecord {
    /// The level.
    pub level: f64,
    /// Runs that count.
    pub runs: usize,
    /// Runs that were invalid; they count for nothing.
    pub invalid: usize,
    /// Successes per second.
    pub throughput_rps: Range,
    /// Response time, milliseconds.
    pub mean_ms: Range,
    /// Response time, milliseconds.
    pub p50_ms: Range,
    /// Response time, milliseconds.
    pub p95_ms: Range,
    /// Response time, milliseconds.
    pub p99_ms: Range,
    /// Largest failed share, 0 to 1.
    pub error_rate: f64,
    /// Smallest share of intended requests that succeeded, 0 to 1.
    pub served: f64,
}

/// Least, median and most of a figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Least.
    pub least: f64,
    /// Median.
    pub median: f64,
    /// Most.
    pub most: f64,
}

impl Range {
    /// The range of these values; zeros when there are none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let at = |index: usize| values.get(index).copied().unwrap_or(*most);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        };
        Self {
            least: *least,
            median,
            most: *most,
        }
    }
}

/// Sums up each level, rising.
#[must_use]
pub(crate) fn levels(runs: &[SweepRun]) -> Vec<LevelRecord> {
    let mut levels: Vec<f64> = runs.iter().map(|run| run.level).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let record = |level: f64| {
        let all: Vec<_> = runs.iter().filter(|run| run.level == level).collect();
        let valid: Vec<_> = all
            .iter()
            .filter(|run| run.figures.verdict != Verdict::Invalid)
            .collect();
        let range = |value: fn(&Figures) -> f64| {
            Range::of(valid.iter().map(|run| value(&run.figures)).collect())
        };
        LevelRecord {
            level,
            runs: valid.len(),
            invalid: all.len() - valid.len(),
            throughput_rps: range(|figures| figures.throughput_rps),
            mean_ms: range(|figures| figures.mean_ms),
            p50_ms: range(|figures| figures.p50_ms),
            p95_ms: range(|figures| figures.p95_ms),
            p99_ms: range(|figures| figures.p99_ms),
            error_rate: range(|figures| figures.error_rate).most,
            served: range(|figures| figures.served).least,
        }
    };
    levels.into_iter().map(record).collect()
}

/// Gunther's law as fitted to a sweep over concurrency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LawRecord {
    /// λ: throughput of a concurrency of one, requests/s.
    pub lambda: f64,
    /// σ: contention.
    pub sigma: f64,
    /// κ: coherency.
    pub kappa: f64,
    /// Standard error of σ; none at the bound 0.
    pub sigma_error: Option<f64>,
    /// Standard error of κ; none at the bound 0.
    pub kappa_error: Option<f64>,
    /// Concurrency and throughput of the peak, if there is one.
    pub peak: Option<(f64, f64)>,
    /// What throughput tends to when κ is 0 and σ is not.
    pub limit: Option<f64>,
    /// Root mean square of the relative residuals.
    pub residual: f64,
    /// Share of the variance that the law explains.
    pub r_squared: f64,
    /// Fitted curve: concurrency and throughput.
    pub curve: Vec<(f64, f64)>,
    /// Why not to trust it; empty when nothing speaks against it.
    pub distrust: Vec<String>,
}

/// Fits the law to the runs that count.
///
/// # Errors
///
/// A sentence that says why there is no law: too few levels, or not over concurrency.
pub(crate) fn law(over: Over, runs: &[SweepRun]) -> Result<LawRecord, String> {
    if over == Over::Rate {
        return Err(
            "a sweep over the rate has no concurrency to fit the scalability law to".to_owned(),
        );
    }
    let points: Vec<Point> = runs
        .iter()
        .filter(|run| run.figures.verdict != Verdict::Invalid && run.figures.throughput_rps > 0.0)
        .map(|run| Point {
            concurrency: run.level,
            throughput: run.figures.throughput_rps,
        })
        .collect();
    let mut levels: Vec<f64> = points.iter().map(|point| point.concurrency).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    if levels.len() < LEVELS_FOR_A_LAW {
        return Err(format!(
            "{} valid levels: {LEVELS_FOR_A_LAW} or more are needed to fit the scalability law",
            levels.len()
        ));
    }
    let fit = fit(&points).map_err(|error| error.to_string())?;
    let highest = levels.last().copied().unwrap_or(1.0);
    let lowest = levels.first().copied().unwrap_or(1.0);
    let at = |step: u32| lowest * (highest / lowest).powf(f64::from(step) / 60.0);
    Ok(LawRecord {
        lambda: fit.lambda,
        sigma: fit.sigma,
        kappa: fit.kappa,
        sigma_error: fit.sigma_error,
        kappa_error: fit.kappa_error,
        peak: fit.peak.map(|peak| (peak.concurrency, peak.throughput)),
        limit: fit.limit,
        residual: fit.residual,
        r_squared: fit.r_squared,
        curve: (0..=60).map(|step| (at(step), fit.at(at(step)))).collect(),
        distrust: fit.distrust.iter().map(ToString::to_string).collect(),
    })
}

impl LawRecord {
    /// The law in one sentence, with its doubts.
    #[must_use]
    pub fn text(&self) -> String {
        let error = |error: Option<f64>| {
            error.map_or_else(|| " (at its bound)".to_owned(), |e| format!(" ± {e:.5}"))
        };
        let peak = match (self.peak, self.limit) {
            (Some((at, rate)), _) => format!("peak {rate:.0}/s at a concurrency of {at:.0}"),
            (None, Some(limit)) => format!("no peak, tends to {limit:.0}/s"),
            (None, None) => "no peak".to_owned(),
        };
        let trust = if self.distrust.is_empty() {
            "trustworthy within the measured range".to_owned()
        } else {
            format!("NOT TRUSTWORTHY: {}", self.distrust.join("; "))
        };
        format!(
            "scalability law: λ = {:.1}/s, σ = {:.5}{}, κ = {:.6}{}; {peak}; residual {:.1} %; {trust}",
            self.lambda,
            self.sigma,
            error(self.sigma_error),
            self.kappa,
            error(self.kappa_error),
            self.residual * 100.0,
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(level: f64, throughput: f64, verdict: Verdict) -> SweepRun {
        SweepRun {
            number: 1,
            at_s: 0.0,
            level,
            repeat: 1,
            figures: Figures {
                intended_rps: None,
                throughput_rps: throughput,
                served: 1.0,
                requests: 100,
                samples: 100,
                error_rate: 0.0,
                limited: 0,
                mean_ms: 1.0,
                p50_ms: 1.0,
                p95_ms: 1.0,
                p99_ms: 1.0,
                p999_ms: 1.0,
                send_lag_p99_ms: None,
                in_flight: None,
                cpu_percent: Vec::new(),
                verdict,
                reasons: Vec::new(),
            },
        }
    }

    #[test]
    fn invalid_runs_count_for_nothing() {
        let runs = [
            run(10.0, 100.0, Verdict::Valid),
            run(10.0, 900.0, Verdict::Invalid),
            run(10.0, 110.0, Verdict::Suspect),
            run(5.0, 50.0, Verdict::Valid),
        ];
        let levels = levels(&runs);
        assert_eq!(levels[0].level, 5.0);
        assert_eq!((levels[1].runs, levels[1].invalid), (2, 1));
        assert_eq!(levels[1].throughput_rps.median, 105.0);
        assert_eq!(levels[1].throughput_rps.most, 110.0);
    }

    #[test]
    fn a_law_needs_six_levels_of_concurrency() {
        let curve = |n: f64| 100.0 * n / (1.0 + 0.05 * (n - 1.0) + 0.001 * n * (n - 1.0));
        let runs: Vec<_> = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
            .map(|n| run(n, curve(n), Verdict::Valid))
            .to_vec();
        let law_of = |runs: &[SweepRun]| law(Over::Connections, runs);
        let fitted = law_of(&runs).unwrap();
        assert!((fitted.sigma - 0.05).abs() < 1e-3, "{fitted:?}");
        assert!((fitted.kappa - 0.001).abs() < 1e-4);
        assert!(fitted.text().contains("peak"), "{}", fitted.text());
        assert!(law_of(&runs[..5]).unwrap_err().contains("6 or more"));
        assert!(law(Over::Rate, &runs).is_err());
    }

    #[test]
    fn a_range_has_a_median() {
        assert_eq!(Range::of(vec![3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Range::of(vec![4.0, 1.0]).median, 2.5);
        assert_eq!(Range::of(Vec::new()), Range::default());
    }
}

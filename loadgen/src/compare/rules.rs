//! What counts as a regression: `config/compare.toml`, or the documented rules.

use std::path::Path;

use serde::Deserialize;
use weir_load::{
    config_file::{ConfigError, ConfigText},
    scenario::locate::Step,
    slo::{Metric, Statistic, Time, Unit},
};

use super::figures::figure_name;
use crate::stats;

/// Where the rules are when no file is named.
const DEFAULT_FILE: &str = "config/compare.toml";

/// What counts as a regression.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareRules {
    /// Rules for single figures; of several for one figure, all count.
    pub rules: Vec<CompareRule>,
    /// Any other figure that worsens by more than this share is flagged.
    pub flag: f64,
    /// What it takes to tell a change from noise.
    pub evidence: Evidence,
}

/// A rule for one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareRule {
    /// The figure, by its name.
    pub figure: String,
    /// The limit.
    pub limit: Limit,
    /// What it means to be beyond.
    pub severity: Severity,
}

/// How much is too much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Worse than the baseline by more than this share.
    Worse(f64),
    /// Above this value, whatever the baseline has; in the unit of the metric.
    Above(f64),
}

/// What it means to be beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look.
    Warn,
    /// A regression.
    Fail,
}

/// What it takes to tell a change from noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Runs on each side from which intervals decide; at least 3.
    pub fewest_runs: usize,
    /// Confidence of the intervals; a claim needs a corrected p-value below 1 minus this.
    pub confidence: f64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            fewest_runs: stats::estimate::FEWEST,
            confidence: stats::LEVEL,
            resamples: stats::RESAMPLES,
        }
    }
}

impl Default for CompareRules {
    /// The documented rules: fail if the error rate is above 0.5 %, if p95 worsens by more than
    /// 25 % or p99 by more than 35 %; warn if throughput drops by more than 15 %; flag anything
    /// else that worsens by more than 10 %.
    fn default() -> Self {
        let rule = |figure: &str, limit, severity| CompareRule {
            figure: figure.to_owned(),
            limit,
            severity,
        };
        Self {
            rules: vec![
                rule("errors", Limit::Above(0.005), Severity::Fail),
                rule("p95", Limit::Worse(0.25), Severity::Fail),
                rule("p99", Limit::Worse(0.35), Severity::Fail),
                rule("throughput", Limit::Worse(0.15), Severity::Warn),
            ],
            flag: 0.10,
            evidence: Evidence::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flag: Option<String>,
    rules: Option<Vec<RawRule>>,
    #[serde(default)]
    evidence: RawEvidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    metric: String,
    endpoint: Option<String>,
    fail: Option<String>,
    warn: Option<String>,
    fail_above: Option<String>,
    warn_above: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvidence {
    fewest_runs: Option<usize>,
    confidence: Option<String>,
    resamples: Option<usize>,
}

impl CompareRules {
    /// The rules of a file; without one, those of `config/compare.toml` if that exists, else the
    /// documented ones.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a value in it is wrong.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        match path {
            Some(path) => read(&ConfigText::read(path)?),
            None if Path::new(DEFAULT_FILE).is_file() => {
                read(&ConfigText::read(Path::new(DEFAULT_FILE))?)
            }
            None => Ok(Self::default()),
        }
    }
}

pub(super) fn read(source: &ConfigText) -> Result<CompareRules, ConfigError> {
    let file: File = source.parse()?;
    let default = CompareRules::default();
    let flag = match &file.flag {
        Some(text) => share(text).map_err(|message| source.wrong(&["flag".into()], message))?,
        None => default.flag,
    };
    let rules = match &file.rules {
        None => default.rules,
        Some(raw) => {
            let mut rules = Vec::new();
            for (index, raw) in raw.iter().enumerate() {
                rules.extend(rules_of(raw).map_err(|(field, message)| {
                    source.wrong(&["rules".into(), index.into(), field.into()], message)
                })?);
            }
            rules
        }
    };
    Ok(CompareRules {
        rules,
        flag,
        evidence: evidence(source, &file.evidence)?,
    })
}

type FieldError = (&'static str, String);

fn rules_of(raw: &RawRule) -> Result<Vec<CompareRule>, FieldError> {
    let metric: Metric = raw.metric.parse().map_err(|message| ("metric", message))?;
    let figure = figure_name(raw.endpoint.as_deref(), &metric);
    if !compared(raw.endpoint.is_some(), &metric) {
        return Err((
            "metric",
            format!(
                "`{metric}` is not compared{}: write {}",
                if raw.endpoint.is_some() {
                    " for an endpoint"
                } else {
                    ""
                },
                if raw.endpoint.is_some() {
                    "errors, mean, p50, p95 or p99"
                } else {
                    "throughput, errors, limited, mean, p50, p95, p99 or p99.9, or service mean, p50, p95 or p99"
                }
            ),
        ));
    }
    let absolute = |field: &'static str, text: &Option<String>| {
        text.as_deref()
            .map(|text| {
                let value = metric.unit().read(text);
                value.map(Limit::Above).map_err(|message| (field, message))
            })
            .transpose()
    };
    let relative = |field: &'static str, text: &Option<String>| {
        text.as_deref()
            .map(|text| {
                share(text)
                    .map(Limit::Worse)
                    .map_err(|message| (field, message))
            })
            .transpose()
    };
    let limits = [
        (Severity::Fail, relative("fail", &raw.fail)?),
        (Severity::Warn, relative("warn", &raw.warn)?),
        (Severity::Fail, absolute("fail_above", &raw.fail_above)?),
        (Severity::Warn, absolute("warn_above", &raw.warn_above)?),
    ];
    let rules: Vec<_> = limits
        .into_iter()
        .filter_map(|(severity, limit)| {
            Some(CompareRule {
                figure: figure.clone(),
                limit: limit?,
                severity,
            })
        })
        .collect();
    if rules.is_empty() {
        return Err((
            "metric",
            "a rule needs one of `fail`, `warn` (worse by a share), `fail_above` and `warn_above` (a value)"
                .to_owned(),
        ));
    }
    Ok(rules)
}

/// Whether runs are compared by this metric.
fn compared(of_endpoint: bool, metric: &Metric) -> bool {
    match metric {
        Metric::Errors => true,
        Metric::Throughput | Metric::Limited => !of_endpoint,
        Metric::Latency { time, statistic } => match statistic {
            Statistic::Mean => !(of_endpoint && *time == Time::Service),
            Statistic::Percentile(percent) => {
                let near = [50.0, 95.0, 99.0].contains(percent);
                let far = *percent == 99.9;
                if of_endpoint || *time == Time::Service {
                    near && !(of_endpoint && *time == Time::Service)
                } else {
                    near || far
                }
            }
            Statistic::Min | Statistic::Max => false,
        },
        _ => false,
    }
}

fn evidence(source: &ConfigText, raw: &RawEvidence) -> Result<Evidence, ConfigError> {
    let default = Evidence::default();
    let at = |field: &str| -> [Step; 2] { ["evidence".into(), field.into()] };
    let fewest_runs = raw.fewest_runs.unwrap_or(default.fewest_runs);
    if fewest_runs < stats::estimate::FEWEST {
        return Err(source.wrong(
            &at("fewest_runs"),
            format!(
                "must be at least {}: fewer runs have no interval",
                stats::estimate::FEWEST
            ),
        ));
    }
    let resamples = raw.resamples.unwrap_or(default.resamples);
    if !(1000..=1_000_000).contains(&resamples) {
        return Err(source.wrong(&at("resamples"), "must be from 1000 to 1000000".to_owned()));
    }
    let confidence = match &raw.confidence {
        None => default.confidence,
        Some(text) => share(text)
            .ok()
            .filter(|share| (0.5..=0.999).contains(share))
            .ok_or_else(|| {
                source.wrong(
                    &at("confidence"),
                    format!("`{text}` is not a confidence: write 50% to 99.9%, such as \"95%\""),
                )
            })?,
    };
    Ok(Evidence {
        fewest_runs,
        confidence,
        resamples,
    })
}

/// A share of the baseline; more than all of it is possible.
fn share(text: &str) -> Result<f64, String> {
    text.trim()
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| percent.is_finite() && *percent >= 0.0)
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is not a share: write a number with a %, such as \"25%\""))
}

impl Limit {
    /// The limit in words, for a figure of this unit.
    #[must_use]
    pub fn text(self, unit: Unit) -> String {
        match self {
            Self::Worse(share) => format!("worse by more than {}", Unit::Share.write(share)),
            Self::Above(value) => format!("above {}", unit.write(value)),
        }
    }
}

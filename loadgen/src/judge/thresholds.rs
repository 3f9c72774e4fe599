//! Thresholds of a gate: the documented ones, or those of a TOML file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use weir_load::{
    scenario::{self, Scenario},
    slo::{Metric, Relation, Rule, RuleEntry, Statistic, Time},
    units::{Rate, parse_duration},
};

/// Thresholds that belong to no scenario.
const DEFAULT_FILE: &str = "config/thresholds.toml";

/// What a run must meet. A missing value is not judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Thresholds {
    /// Median response time must be below, milliseconds.
    pub p50_ms: Option<f64>,
    /// 95th percentile must be below, milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile must be below, milliseconds.
    pub p99_ms: Option<f64>,
    /// Failed share of all requests must be below, 0 to 1.
    pub error_rate: Option<f64>,
    /// Successful requests per second must be above.
    pub throughput_rps: Option<f64>,
    /// Growth of resident memory must be below, bytes per hour.
    pub memory_growth_per_hour: Option<f64>,
    /// Rules about anything else, of the whole run or of one endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A threshold file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ThresholdsError {
    /// It cannot be read.
    #[error("cannot read thresholds {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not what is expected.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what would be right.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gate: GateTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GateTable {
    p50: Option<String>,
    p95: Option<String>,
    p99: Option<String>,
    error_rate: Option<String>,
    throughput: Option<String>,
    memory_growth: Option<String>,
    #[serde(default)]
    rules: Vec<RuleEntry>,
}

impl Thresholds {
    /// The documented gate: p50 < 50 ms, p95 < 100 ms, p99 < 200 ms, errors < 0.1 %,
    /// throughput > 500 requests/s, memory growth < 10 MB per hour.
    #[must_use]
    pub fn documented() -> Self {
        Self {
            p50_ms: Some(50.0),
            p95_ms: Some(100.0),
            p99_ms: Some(200.0),
            error_rate: Some(0.001),
            throughput_rps: Some(500.0),
            memory_growth_per_hour: Some(10e6),
            rules: Vec::new(),
        }
    }

    /// Reads a file like `config/thresholds.toml`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not TOML, has unknown keys or wrong units.
    pub fn load(path: &Path) -> Result<Self, ThresholdsError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ThresholdsError::Read {
            path: path.to_owned(),
            cause,
        })?;
        Self::parse(&text).map_err(|reason| ThresholdsError::Content {
            path: path.to_owned(),
            reason,
        })
    }

    /// What a scenario is judged by: its own thresholds, and from `file` (by default
    /// `config/thresholds.toml`, if it exists) those that belong to no scenario, such as memory
    /// growth. A file that is named explicitly wins over the scenario wherever it sets a value.
    ///
    /// # Errors
    ///
    /// As for [`Self::load`].
    pub fn for_scenario(scenario: &Scenario, file: Option<&Path>) -> Result<Self, ThresholdsError> {
        let own = Self::from(&scenario.thresholds);
        if let Some(path) = file {
            let named = Self::load(path)?;
            named
                .check_endpoints(scenario)
                .map_err(|reason| ThresholdsError::Content {
                    path: path.to_owned(),
                    reason: format!("gate.rules: {reason}"),
                })?;
            return Ok(named.or(own));
        }
        let path = Path::new(DEFAULT_FILE);
        let general = if path.is_file() {
            Self::load(path)?
        } else {
            Self::documented()
        };
        Ok(Self {
            memory_growth_per_hour: general.memory_growth_per_hour,
            ..own
        })
    }

    /// These values, and those of `other` where these are missing. Of two rules about the same
    /// thing the one here stays, and a rule here wins over a value of `other` about the same.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let other = self.rules.iter().fold(other, Self::without);
        let mut rules = self.rules;
        rules.extend(other.rules);
        Self {
            rules,
            p50_ms: self.p50_ms.or(other.p50_ms),
            p95_ms: self.p95_ms.or(other.p95_ms),
            p99_ms: self.p99_ms.or(other.p99_ms),
            error_rate: self.error_rate.or(other.error_rate),
            throughput_rps: self.throughput_rps.or(other.throughput_rps),
            memory_growth_per_hour: self.memory_growth_per_hour.or(other.memory_growth_per_hour),
        }
    }

    /// These thresholds with more rules; a new rule takes the place of what judged the same.
    #[must_use]
    pub fn with_rules(self, rules: Vec<Rule>) -> Self {
        Self {
            rules,
            ..Self::default()
        }
        .or(self)
    }

    /// Without whatever judges the same as this rule.
    fn without(mut self, rule: &Rule) -> Self {
        self.rules.retain(|other| !rule.replaces(other));
        if rule.endpoint.is_some() {
            return self;
        }
        let upper = rule.relation.is_upper_bound();
        match (&rule.metric, upper) {
            (
                Metric::Latency {
                    time: Time::Response,
                    statistic: Statistic::Percentile(percent),
                },
                true,
            ) => {
                for (of, limit) in [
                    (50.0, &mut self.p50_ms),
                    (95.0, &mut self.p95_ms),
                    (99.0, &mut self.p99_ms),
                ] {
                    if of == *percent {
                        *limit = None;
                    }
                }
            }
            (Metric::Errors, true) => self.error_rate = None,
            (Metric::Throughput, false) => self.throughput_rps = None,
            _ => {}
        }
        self
    }

    /// All thresholds as rules, memory growth apart.
    #[must_use]
    pub fn all_rules(&self) -> Vec<Rule> {
        let rule = |metric, relation, limit: Option<f64>| {
            limit.map(|limit| Rule {
                endpoint: None,
                metric,
                relation,
                limit,
                abort: None,
            })
        };
        let below = |percent, limit| rule(Metric::percentile(percent), Relation::Below, limit);
        let mut rules: Vec<Rule> = [
            below(50.0, self.p50_ms),
            below(95.0, self.p95_ms),
            below(99.0, self.p99_ms),
            rule(Metric::Errors, Relation::Below, self.error_rate),
            rule(Metric::Throughput, Relation::Above, self.throughput_rps),
        ]
        .into_iter()
        .flatten()
        .collect();
        rules.extend(self.rules.iter().cloned());
        rules
    }

    /// Checks that every endpoint of a rule is one of the scenario's.
    ///
    /// # Errors
    ///
    /// A sentence that names the rule and the endpoints that exist.
    pub fn check_endpoints(&self, scenario: &Scenario) -> Result<(), String> {
        for rule in &self.rules {
            rule.check_endpoint(scenario.endpoint_names())
                .map_err(|reason| format!("`{rule}`: {reason}"))?;
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let gate = file.gate;
        Ok(Self {
            p50_ms: field("p50", gate.p50, milliseconds)?,
            p95_ms: field("p95", gate.p95, milliseconds)?,
            p99_ms: field("p99", gate.p99, milliseconds)?,
            error_rate: field("error_rate", gate.error_rate, share)?,
            throughput_rps: field("throughput", gate.throughput, rate)?,
            memory_growth_per_hour: field("memory_growth", gate.memory_growth, growth)?,
            rules: gate.rules.into_iter().map(|entry| entry.0).collect(),
        })
    }
}

impl From<&scenario::Thresholds> for Thresholds {
    fn from(own: &scenario::Thresholds) -> Self {
        let ms = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64() * 1000.0);
        Self {
            p50_ms: ms(own.p50),
            p95_ms: ms(own.p95),
            p99_ms: ms(own.p99),
            error_rate: own.error_rate,
            throughput_rps: own.min_throughput.map(Rate::get),
            memory_growth_per_hour: None,
            rules: own.rules.clone(),
        }
    }
}

fn field(
    name: &str,
    text: Option<String>,
    read: impl Fn(&str) -> Result<f64, String>,
) -> Result<Option<f64>, String> {
    text.map(|text| read(&text).map_err(|reason| format!("gate.{name}: {reason}")))
        .transpose()
}

fn milliseconds(text: &str) -> Result<f64, String> {
    parse_duration(text)
        .map(|value| value.as_secs_f64() * 1000.0)
        .map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse::<Rate>()
        .map(Rate::get)
        .map_err(|error| error.to_string())
}

fn share(text: &str) -> Result<f64, String> {
    text.trim()
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| {
            format!("`{text}` is not a share: write 0 to 100 with a %, such as \"0.1%\"")
        })
}

fn growth(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a growth: write \"10MB/h\" or \"5MB/m\"");
    let (size, per) = text.trim().split_once('/').ok_or_else(wrong)?;
    let hours = match per {
        "h" => 1.0,
        "m" | "min" => 1.0 / 60.0,
        _ => return Err(wrong()),
    };
    let megabytes = size.trim().strip_suffix("MB").ok_or_else(wrong)?;
    let value: f64 = megabytes.trim().parse().map_err(|_| wrong())?;
    if value.is_finite() && value > 0.0 {
        Ok(value * 1e6 / hours)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_holds_the_documented_values() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/thresholds.toml");
        assert_eq!(Thresholds::load(&path).unwrap(), Thresholds::documented());
    }

    #[test]
    fn wrong_units_and_unknown_keys_name_the_field() {
        let wrong = Thresholds::parse("[gate]\np95 = \"100\"\n").unwrap_err();
        assert!(wrong.starts_with("gate.p95: "), "{wrong}");
        let wrong = Thresholds::parse("[gate]\nerror_rate = \"0.1\"\n").unwrap_err();
        assert!(wrong.contains("0.1%"), "{wrong}");
        let wrong = Thresholds::parse("[gate]\np96 = \"1s\"\n").unwrap_err();
        assert!(wrong.contains("p96") && wrong.contains("line 2"), "{wrong}");
        assert!(Thresholds::parse("[gate]\nmemory_growth = \"10/h\"\n").is_err());
    }
}

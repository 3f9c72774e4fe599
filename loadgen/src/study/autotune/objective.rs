//! What a configuration must meet: rules as `run --slo` has them, or conditions on the measures of
//! the workload.

use std::fmt;

use serde::Serialize;
use weir_load::slo::{Metric, Relation, Rule, Statistic, Time};

use super::super::tuning::{
    claim::Condition,
    workload::{Measures, Workload},
};

/// One demand on a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// As people read it: `p99 < 200ms`, `rejected <= 0`.
    text: String,
    demand: Demand,
}

#[derive(Debug, Clone, PartialEq)]
enum Demand {
    /// A measure against a number.
    Condition(Condition),
    /// A figure made of measures against a limit in the rule's unit.
    Rule(Figure, Relation, f64),
}

/// Where the figure of a rule comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    /// A measure times a factor.
    Measure(&'static str, f64),
    /// A measure as a share of the requests.
    Share(&'static str),
    /// What is left of the requests without this share.
    Without(&'static str),
}

/// Rules and where a workload has their figure, the first that is measured. Units as in
/// [`Metric::unit`]: milliseconds, shares of 1, per second.
const SOURCES: [(&str, &[Figure]); 9] = [
    ("p50", &[Figure::Measure("p50_ms", 1.0)]),
    ("p95", &[Figure::Measure("p95_ms", 1.0)]),
    ("p99", &[Figure::Measure("p99_ms", 1.0)]),
    ("mean", &[Figure::Measure("mean_ms", 1.0)]),
    ("max", &[Figure::Measure("slowest_s", 1e3)]),
    (
        "errors",
        &[Figure::Share("failed"), Figure::Share("unserved")],
    ),
    (
        "success",
        &[
            Figure::Measure("admitted_share", 1.0),
            Figure::Measure("served_share", 1.0),
            Figure::Without("failed"),
        ],
    ),
    ("limited", &[Figure::Share("rejected")]),
    ("throughput", &[Figure::Measure("requests_per_second", 1.0)]),
];

impl Objective {
    /// Reads one argument: demands separated by commas, each a rule (`p99<200ms`, `errors<0.1%`) or
    /// a measure of the workload with `> >= < <=` and a number (`opened_per_request <= 0.02`).
    ///
    /// # Errors
    ///
    /// What is wrong, and what this workload has.
    pub fn parse_list(text: &str, workload: &Workload) -> Result<Vec<Self>, String> {
        text.split(',')
            .map(|one| Self::parse(one.trim(), workload))
            .collect()
    }

    fn parse(text: &str, workload: &Workload) -> Result<Self, String> {
        let measures = workload.measures();
        let condition = Condition::parse(&spaced(text)).ok();
        if let Some(condition) = &condition
            && measures.contains(&condition.measure.as_str())
        {
            return Ok(Self {
                text: condition.to_string(),
                demand: Demand::Condition(condition.clone()),
            });
        }
        match (text.parse::<Rule>(), condition) {
            (Ok(rule), _) => Self::from_rule(&rule, workload),
            (Err(_), Some(condition)) if condition.measure.parse::<Metric>().is_err() => {
                Err(format!(
                    "the workload `{}` does not measure `{}`; {}",
                    workload.name(),
                    condition.measure,
                    offered(workload)
                ))
            }
            (Err(error), _) => Err(format!("{error}; {}", offered(workload))),
        }
    }

    fn from_rule(rule: &Rule, workload: &Workload) -> Result<Self, String> {
        let refused = |why: &str| Err(format!("`{rule}`: {why}"));
        if rule.endpoint.is_some() {
            return refused("the workloads of the tuning table have no endpoints with names");
        }
        if rule.abort.is_some() {
            return refused("a trial is too short to be aborted");
        }
        let figure = name_of(&rule.metric).and_then(|name| figure_of(name, workload));
        let Some(figure) = figure else {
            return Err(format!(
                "`{rule}`: the workload `{}` does not measure `{}`; {}",
                workload.name(),
                rule.metric,
                offered(workload)
            ));
        };
        Ok(Self {
            text: rule.to_string(),
            demand: Demand::Rule(figure, rule.relation, rule.limit),
        })
    }

    /// Whether a trial met it; not if the figure is missing.
    #[must_use]
    pub fn is_met(&self, measures: &Measures) -> bool {
        match &self.demand {
            Demand::Condition(condition) => condition.holds(measures) == Some(true),
            Demand::Rule(figure, relation, limit) => figure
                .of(measures)
                .is_some_and(|value| relation.holds(value, *limit)),
        }
    }
}

impl Figure {
    fn measure(self) -> &'static str {
        match self {
            Self::Measure(name, _) | Self::Share(name) | Self::Without(name) => name,
        }
    }

    fn of(self, measures: &Measures) -> Option<f64> {
        let value = *measures.get(self.measure())?;
        let share = || {
            let requests = measures.get("requests").copied().unwrap_or(0.0);
            (requests > 0.0).then(|| value / requests)
        };
        match self {
            Self::Measure(_, factor) => Some(value * factor),
            Self::Share(_) => share(),
            Self::Without(_) => share().map(|share| 1.0 - share),
        }
    }
}

/// The rule's name in [`SOURCES`], if its metric may be there.
fn name_of(metric: &Metric) -> Option<&'static str> {
    Some(match metric {
        Metric::Latency {
            time: Time::Response,
            statistic,
        } => match statistic {
            Statistic::Percentile(50.0) => "p50",
            Statistic::Percentile(95.0) => "p95",
            Statistic::Percentile(99.0) => "p99",
            Statistic::Mean => "mean",
            Statistic::Max | Statistic::Percentile(100.0) => "max",
            _ => return None,
        },
        Metric::Errors => "errors",
        Metric::Success => "success",
        Metric::Limited => "limited",
        Metric::Throughput => "throughput",
        _ => return None,
    })
}

fn figure_of(name: &str, workload: &Workload) -> Option<Figure> {
    let measures = workload.measures();
    let (_, figures) = SOURCES.iter().find(|(rule, _)| *rule == name)?;
    figures
        .iter()
        .copied()
        .find(|figure| measures.contains(&figure.measure()))
}

/// What an objective for this workload can be about.
fn offered(workload: &Workload) -> String {
    let rules: Vec<_> = SOURCES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| figure_of(name, workload).is_some())
        .collect();
    format!(
        "it measures {}, and knows the rules {}",
        workload.measures().join(", "),
        rules.join(", ")
    )
}

/// `p95_ms<=100` as `p95_ms <= 100`.
fn spaced(text: &str) -> String {
    let mut out = String::new();
    let mut in_relation = false;
    for symbol in text.chars() {
        let relation = matches!(symbol, '<' | '>' | '=');
        if relation != in_relation {
            out.push(' ');
        }
        out.push(symbol);
        in_relation = relation;
    }
    out
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Objective {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::study::tuning::file;

    fn workload(row: &str) -> Workload {
        let table = include_str!("../../../../config/tuning.toml");
        let claims = file::parse(table, "tuning.toml").unwrap();
        let claim = claims.into_iter().find(|claim| claim.row == row);
        claim.unwrap().binding
    }

    fn measured(figures: &[(&str, f64)]) -> Measures {
        let own = |(name, value): &(&str, f64)| ((*name).to_owned(), *value);
        figures.iter().map(own).collect()
    }

    #[test]
    fn rules_of_runs_are_read_from_the_measures_of_trials() {
        let gzip = workload("gzip_comp_level");
        let list =
            Objective::parse_list("p99<200ms, errors < 0.1%,throughput>=500/s", &gzip).unwrap();
        let texts: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["p99 < 200ms", "errors < 0.1%", "throughput >= 500/s"]
        );
        let trial = |p99, failed, rps| {
            measured(&[
                ("p99_ms", p99),
                ("failed", failed),
                ("requests", 1000.0),
                ("requests_per_second", rps),
            ])
        };
        let met = |trial: &Measures| -> Vec<bool> {
            list.iter()
                .map(|objective| objective.is_met(trial))
                .collect()
        };
        assert_eq!(met(&trial(199.0, 0.0, 500.0)), [true, true, true]);
        assert_eq!(met(&trial(200.0, 1.0, 499.0)), [false, false, false]);
        assert_eq!(met(&Measures::new()), [false, false, false]);
    }

    #[test]
    fn each_workload_has_its_own_source() {
        let one = |row: &str, text: &str, trial: &[(&str, f64)]| {
            let list = Objective::parse_list(text, &workload(row)).unwrap();
            list[0].is_met(&measured(trial))
        };
        let held = [("unserved", 10.0), ("requests", 1000.0)];
        assert!(one("worker_connections", "errors <= 1%", &held));
        assert!(!one("worker_connections", "errors < 1%", &held));
        assert!(one(
            "proxy_connect_timeout",
            "max < 11s",
            &[("slowest_s", 10.0)]
        ));
        assert!(one(
            "burst",
            "limited <= 0%",
            &[("rejected", 0.0), ("requests", 9.0)]
        ));
        assert!(one("burst", "success >= 100%", &[("admitted_share", 1.0)]));
        assert!(one(
            "keepalive",
            "success > 99%",
            &[("failed", 0.0), ("requests", 9.0)]
        ));
    }

    #[test]
    fn measures_are_read_with_or_without_spaces() {
        let keepalive = workload("keepalive");
        for text in ["p95_ms <= 100", "p95_ms<=100"] {
            let list = Objective::parse_list(text, &keepalive).unwrap();
            assert_eq!(list[0].to_string(), "p95_ms <= 100");
            assert!(list[0].is_met(&measured(&[("p95_ms", 100.0)])));
        }
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let error =
            |row: &str, text: &str| Objective::parse_list(text, &workload(row)).unwrap_err();
        let found = error("burst", "happiness > 1");
        assert!(
            found.contains("`burst` does not measure `happiness`; it measures admitted_share")
                && found.contains("rules errors, success, limited"),
            "{found}"
        );
        let found = error("keepalive", "p99 < 200ms");
        assert!(
            found.contains("does not measure `p99`") && found.contains("rules p50, p95, errors"),
            "{found}"
        );
        assert!(error("keepalive", "service p95 < 1s").contains("does not measure"));
        assert!(error("keepalive", "login: p95 < 1s").contains("no endpoints"));
        assert!(error("keepalive", "p95 < 1s abort").contains("aborted"));
        assert!(error("keepalive", "p95 < 100").contains("is not a duration"));
        assert!(error("keepalive", "errors").contains("it measures"));
        assert!(error("keepalive", "").contains("a rule is missing"));
    }
}

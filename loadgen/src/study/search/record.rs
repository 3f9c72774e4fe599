//! `search.json`: every probe, the answer, and what it rests on.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_lab::{
    provenance::Provenance,
    record::{TopologyRecord, TuningRecord},
};
use weir_load::summary::{Summary, Verdict};

use super::finder::{Found, Limit, Purpose, Reading};

/// Name of the file in the folder of a search.
pub const FILE: &str = "search.json";

/// What `search.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SearchRecord {
    /// Version of this shape.
    pub format: u32,
    /// Name of the folder.
    pub id: String,
    /// Where and with what.
    pub provenance: Provenance,
    /// The scenario that every probe is a short run of.
    pub scenario: Value,
    /// What a level is.
    pub over: Over,
    /// What a probe must meet.
    pub objectives: Vec<String>,
    /// How it was searched.
    pub procedure: Procedure,
    /// Base URLs that were driven.
    pub targets: Vec<String>,
    /// The processes under test, if this program started them.
    pub topology: Option<TopologyRecord>,
    /// Settings of the proxy while probes were made.
    pub proxy_settings: Option<Value>,
    /// What was changed for the search, and whether it was put back.
    pub tuning: Option<TuningRecord>,
    /// Every probe, in order.
    pub probes: Vec<ProbeRecord>,
    /// The answer.
    pub answer: Answer,
}

impl SearchRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

/// What a level of a search or a sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Arrivals per second of an open model.
    Rate,
    /// Users of a closed model, with the think time of the scenario.
    Users,
    /// Requests always in flight: users without think time.
    Connections,
}

impl Over {
    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Users => "users",
            Self::Connections => "connections",
        }
    }

    /// The unit of a level, as it follows a number.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "/s",
            Self::Users | Self::Connections => "",
        }
    }

    /// Whether levels are whole numbers.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self != Self::Rate
    }

    /// A level with its unit.
    #[must_use]
    pub fn level(self, level: f64) -> String {
        match self {
            Self::Rate => format!("{}/s", weir_load::units::rounded(level)),
            Self::Users => format!("{level:.0} users"),
            Self::Connections => format!("{level:.0} connections"),
        }
    }
}

/// How it was searched.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Procedure {
    /// Lowest level.
    pub min: f64,
    /// Highest level.
    pub max: f64,
    /// First level.
    pub start: f64,
    /// Gap that ends the search, relative to the answer.
    pub precision: f64,
    /// Fresh probes that must hold at the answer.
    pub confirm: u32,
    /// Measured part of a probe, seconds.
    pub probe_s: f64,
    /// Warm-up of a probe, seconds.
    pub warmup_s: f64,
    /// Longest time for everything, seconds.
    pub budget_s: f64,
    /// Share of intended requests that must be answered well, whatever the objectives say.
    pub least_served: f64,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// Its number, from 1.
    pub number: usize,
    /// Since the search began, seconds.
    pub at_s: f64,
    /// The level.
    pub level: f64,
    /// `climb`, `descend`, `narrow` or `confirm`.
    pub purpose: String,
    /// `holds`, `misses` or `invalid`.
    pub reading: String,
    /// What it missed, or why it is invalid.
    pub why: Vec<String>,
    /// Key figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Key figures of a short run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Rate that the schedule intended, requests/s.
    pub intended_rps: Option<f64>,
    /// Successes per second.
    pub throughput_rps: f64,
    /// Share of intended requests that succeeded.
    pub served: f64,
    /// Requests completed.
    pub requests: u64,
    /// Successes: what latencies rest on.
    pub samples: u64,
    /// Failed share, 0 to 1.
    pub error_rate: f64,
    /// Answers 429.
    pub limited: u64,
    /// Mean response time, milliseconds.
    pub mean_ms: f64,
    /// Response time, milliseconds.
    pub p50_ms: f64,
    /// Response time, milliseconds.
    pub p95_ms: f64,
    /// Response time, milliseconds.
    pub p99_ms: f64,
    /// Response time, milliseconds.
    pub p999_ms: f64,
    /// 99th percentile of the generator's own lateness, milliseconds.
    pub send_lag_p99_ms: Option<f64>,
    /// Mean number in flight.
    pub in_flight: Option<f64>,
    /// CPU of each process, percent of one core.
    pub cpu_percent: Vec<(String, f64)>,
    /// Whether the measurement may be believed.
    pub verdict: Verdict,
    /// Why not.
    pub reasons: Vec<String>,
}

impl Figures {
    /// The key figures of a run.
    #[must_use]
    pub fn of(summary: &Summary) -> Self {
        Self {
            intended_rps: summary.intended_rps,
            throughput_rps: summary.throughput_rps,
            served: served(summary),
            requests: summary.requests,
            samples: summary.response.count,
            error_rate: summary.error_rate,
            limited: summary.limited,
            mean_ms: summary.response.mean_ms,
            p50_ms: summary.response.p50_ms,
            p95_ms: summary.response.p95_ms,
            p99_ms: summary.response.p99_ms,
            p999_ms: summary.response.p999_ms,
            send_lag_p99_ms: summary.send_lag.as_ref().map(|lag| lag.p99_ms),
            in_flight: summary.extra.get("in_flight_mean").copied(),
            cpu_percent: summary
                .processes
                .iter()
                .map(|process| (process.name.clone(), process.cpu_percent))
                .collect(),
            verdict: summary.validity.verdict,
            reasons: summary.validity.reasons.clone(),
        }
    }
}

/// Share of the intended requests that were answered well, 0 to 1. A request that was never sent, or
/// was answered with 429, is not served.
#[must_use]
pub fn served(summary: &Summary) -> f64 {
    let intended = summary.requests + summary.unsent;
    if intended == 0 {
        return 0.0;
    }
    summary.ok as f64 / intended as f64
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Highest level that holds; none when not even the lowest does.
    pub level: Option<f64>,
    /// Whether fresh probes confirmed it.
    pub confirmed: bool,
    /// Lowest level known not to hold, or not to be measurable.
    pub ceiling: Option<f64>,
    /// Successes per second in the probes at the answer that held: least, mean, most.
    pub throughput_rps: Option<(f64, f64, f64)>,
    /// What is in the way of more: `objective`, `instrument`, `maximum` or `budget`.
    pub limit: String,
    /// The same in words.
    pub explanation: String,
    /// Probes that said nothing about the target.
    pub invalid_probes: usize,
}

impl Answer {
    /// The answer, explained from the probes.
    #[must_use]
    pub fn of(found: Found, probes: &[ProbeRecord], over: Over) -> Self {
        let at_answer: Vec<f64> = probes
            .iter()
            .filter(|probe| {
                Some(probe.level) == found.level && probe.reading == word(Reading::Holds)
            })
            .map(|probe| probe.figures.throughput_rps)
            .collect();
        let least = at_answer.iter().copied().fold(f64::INFINITY, f64::min);
        let most = at_answer.iter().copied().fold(0.0, f64::max);
        let mean = at_answer.iter().sum::<f64>() / at_answer.len().max(1) as f64;
        Self {
            level: found.level,
            confirmed: found.confirmed && found.level.is_some(),
            ceiling: found.ceiling,
            throughput_rps: (!at_answer.is_empty()).then_some((least, mean, most)),
            limit: limit_word(found.limit).to_owned(),
            explanation: explain(found, probes, over),
            invalid_probes: probes
                .iter()
                .filter(|probe| probe.reading == word(Reading::Invalid))
                .count(),
        }
    }
}

/// The word of a reading in files.
#[must_use]
pub fn word(reading: Reading) -> &'static str {
    match reading {
        Reading::Holds => "holds",
        Reading::Misses => "misses",
        Reading::Invalid => "invalid",
    }
}

/// The word of a purpose in files.
pub(super) fn purpose_word(purpose: Purpose) -> String {
    purpose.text().to_owned()
}

fn limit_word(limit: Limit) -> &'static str {
    match limit {
        Limit::Objective => "objective",
        Limit::Instrument => "instrument",
        Limit::Maximum => "maximum",
        Limit::Budget => "budget",
    }
}

fn explain(found: Found, probes: &[ProbeRecord], over: Over) -> String {
    let why_at = |level: Option<f64>, reading: Reading| {
        let mut all: Vec<String> = Vec::new();
        let at = probes
            .iter()
            .filter(|probe| Some(probe.level) == level && probe.reading == word(reading));
        for reason in at.flat_map(|probe| &probe.why) {
            if !all.contains(reason) && all.len() < 3 {
                all.push(reason.clone());
            }
        }
        all.join("; ")
    };
    let ceiling = found.ceiling.map_or_else(String::new, |at| over.level(at));
    match found.limit {
        Limit::Objective if found.level.is_none() => format!(
            "not even the lowest level, {ceiling}, meets the objectives: {}",
            why_at(found.ceiling, Reading::Misses)
        ),
        Limit::Objective => format!(
            "limited by the objectives: at {ceiling} it missed {}",
            why_at(found.ceiling, Reading::Misses)
        ),
        Limit::Instrument => format!(
            "limited by the instrument, not by the target: {ceiling} could not be measured validly: {}",
            why_at(found.ceiling, Reading::Invalid)
        ),
        Limit::Maximum => {
            "limited by the highest level allowed: it holds; the target may do more".to_owned()
        }
        Limit::Budget => {
            "the budget ran out before the answer was confirmed; give more time (--budget) or accept a coarser answer (--precision)".to_owned()
        }
    }
}

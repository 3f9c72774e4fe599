//! The TOML of a scenario as it is written, before anything is checked across fields.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::slo::RuleEntry;

use super::transport::{RawHttp, RawTls};
use super::{
    content::{RawFeed, RawFlow, RawLogin, RawRequest},
    text::{
        ArrivalsText, DurationText, EngineText, LevelText, ModelText, RateText, Share,
        ThinkTimeText,
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScenario {
    /// Scenario that supplies requests, login, timeouts and thresholds where this one has none.
    pub(super) extends: Option<String>,
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) duration: Option<DurationText>,
    #[serde(default)]
    pub(super) warmup: DurationText,
    pub(super) requests_total: Option<u64>,
    pub(super) engine: Option<EngineText>,
    pub(super) connections: Option<u32>,
    #[serde(default = "yes")]
    pub(super) cookies: bool,
    #[serde(default)]
    pub(super) seed: u64,
    pub(super) load: RawLoad,
    pub(super) http: Option<RawHttp>,
    pub(super) tls: Option<RawTls>,
    pub(super) timeouts: Option<RawTimeouts>,
    #[serde(default)]
    pub(super) feeds: Vec<RawFeed>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, String>,
    pub(super) login: Option<RawLogin>,
    #[serde(default)]
    pub(super) requests: Vec<RawRequest>,
    #[serde(default)]
    pub(super) flows: Vec<RawFlow>,
    pub(super) thresholds: Option<RawThresholds>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLoad {
    pub(super) model: ModelText,
    pub(super) users: Option<u32>,
    pub(super) spawn_rate: Option<RateText>,
    pub(super) think_time: Option<ThinkTimeText>,
    pub(super) rate: Option<RateText>,
    pub(super) arrivals: Option<ArrivalsText>,
    pub(super) volley: Option<u32>,
    pub(super) stages: Option<Vec<RawStage>>,
    pub(super) spike: Option<RawSpike>,
    pub(super) sine: Option<RawSine>,
    pub(super) pacing: Option<DurationText>,
    pub(super) trace: Option<String>,
    pub(super) speed: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStage {
    pub(super) duration: DurationText,
    pub(super) rate: Option<RateText>,
    pub(super) users: Option<u32>,
    #[serde(default)]
    pub(super) ramp: bool,
}

/// Shorthand of three stages: base, peak, base.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSpike {
    pub(super) base: LevelText,
    pub(super) peak: LevelText,
    /// From the start of the measured part.
    pub(super) at: DurationText,
    pub(super) length: DurationText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSine {
    pub(super) mean: RateText,
    pub(super) amplitude: RateText,
    pub(super) period: DurationText,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimeouts {
    pub(super) connect: Option<DurationText>,
    pub(super) total: Option<DurationText>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawThresholds {
    pub(super) p50: Option<DurationText>,
    pub(super) p95: Option<DurationText>,
    pub(super) p99: Option<DurationText>,
    pub(super) error_rate: Option<Share>,
    pub(super) min_throughput: Option<RateText>,
    #[serde(default)]
    pub(super) rules: Vec<RuleEntry>,
}

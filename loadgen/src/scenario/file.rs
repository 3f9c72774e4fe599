//! The TOML of a scenario as it is written, before anything is checked across fields.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::judge::slo::RuleEntry;

use super::text::{
    ArrivalsText, DurationText, EngineText, ModelText, RateText, Share, ThinkTimeText,
};
use super::transport::{RawHttp, RawTls};

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
    pub(super) login: Option<RawLogin>,
    #[serde(default)]
    pub(super) requests: Vec<RawRequest>,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStage {
    pub(super) duration: DurationText,
    pub(super) rate: RateText,
    #[serde(default)]
    pub(super) ramp: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimeouts {
    pub(super) connect: Option<DurationText>,
    pub(super) total: Option<DurationText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogin {
    #[serde(default = "post")]
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) token: String,
}

fn post() -> String {
    "POST".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    pub(super) name: String,
    #[serde(default = "get")]
    pub(super) method: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    #[serde(default = "one")]
    pub(super) weight: f64,
    #[serde(default)]
    pub(super) expect: RawExpect,
}

fn get() -> String {
    "GET".into()
}

fn one() -> f64 {
    1.0
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpect {
    pub(super) status: Option<u16>,
    pub(super) body_contains: Option<String>,
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

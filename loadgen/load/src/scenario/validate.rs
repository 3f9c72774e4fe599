//! The checks that make what is written in a file a [`Scenario`].

use std::{path::Path, time::Duration};

use super::{
    Arrivals, Engine, Load, Open, Scenario, Thresholds, Timeouts,
    content::{Content, RawContent, content},
    file::{RawScenario, RawThresholds, RawTimeouts},
    locate::Step,
    recorded::recorded,
    validate_load::load_model,
};

/// Slots of an open model when the file does not say.
const DEFAULT_CONNECTIONS: u32 = 256;
/// More than this many users or connections cannot be meant: ports and descriptors run out first.
pub(super) const MOST_LANES: u32 = 100_000;

/// A check that failed: where, and what would be right.
pub(super) struct Wrong {
    pub(super) path: Vec<Step>,
    pub(super) message: String,
}

pub(super) fn wrong<const N: usize>(path: [Step; N], message: impl Into<String>) -> Wrong {
    Wrong {
        path: path.into(),
        message: message.into(),
    }
}

macro_rules! at {
    ($($step:expr),*) => { [$($crate::scenario::locate::Step::from($step)),*] };
}
pub(super) use at;

/// Checks a scenario as a whole; what it does not say comes from `base`. `folder` is where its
/// files of data are.
pub(super) fn validate(
    raw: RawScenario,
    base: Option<Scenario>,
    folder: &Path,
) -> Result<Scenario, Wrong> {
    if raw.name.is_empty() || !raw.name.chars().all(is_name_character) {
        return Err(wrong(
            at!["name"],
            "must be letters, digits, `-`, `_` or `.`: it becomes part of folder names",
        ));
    }
    let (load, duration) = load_model(&raw, folder)?;
    let engine = raw.engine.map_or(Engine::Session, |text| text.0);
    let connections = connections(&raw, &load)?;
    let own_http = super::transport::http(raw.http.as_ref(), engine)?;
    let own_tls = super::transport::tls(raw.tls.as_ref())?;
    let mut http = raw.http.is_some().then_some(own_http);
    let mut tls = raw.tls.is_some().then_some(own_tls);
    let mut timeouts = raw.timeouts.as_ref().map(timeouts).transpose()?;
    let mut thresholds = raw.thresholds.as_ref().map(thresholds);
    let mut inherited = Content::default();
    if let Some(base) = base {
        timeouts = timeouts.or(Some(base.timeouts));
        http = http.or(Some(base.http));
        tls = tls.or(Some(base.tls));
        thresholds = thresholds.or(Some(base.thresholds));
        inherited = Content {
            feeds: base.feeds,
            variables: base.variables,
            login: base.login,
            requests: base.requests,
            flows: base.flows,
        };
    }
    let replay = match &load {
        Load::Open(Open {
            arrivals: Arrivals::Replay(replay),
            ..
        }) => Some(replay),
        _ => None,
    };
    if replay.is_some() {
        // Its requests come from the trace.
        for (field, given) in [
            ("requests", !raw.requests.is_empty()),
            ("flows", !raw.flows.is_empty()),
        ] {
            if given {
                return Err(wrong(
                    at![field],
                    "the requests of a replay come from its trace; remove these",
                ));
            }
        }
        inherited.requests = Vec::new();
        inherited.flows = Vec::new();
    }
    if raw.requests_total == Some(0) {
        return Err(wrong(at!["requests_total"], "must be at least 1"));
    }
    let written = RawContent {
        feeds: &raw.feeds,
        variables: &raw.variables,
        login: raw.login.as_ref(),
        requests: &raw.requests,
        flows: &raw.flows,
    };
    let mut content = content(&written, inherited, folder)?;
    if let Some(replay) = replay {
        content.requests = recorded(&replay.trace);
    }
    if content.requests.is_empty() && content.flows.is_empty() {
        return Err(wrong(
            at!["requests"],
            "a scenario needs at least one request: add a `[[requests]]` table with `name` and `path`, or `extends`",
        ));
    }
    let scenario = Scenario {
        name: raw.name,
        description: raw.description,
        load,
        duration,
        requests_total: raw.requests_total,
        warmup: raw.warmup.0,
        engine,
        connections,
        cookies: raw.cookies,
        http: http.unwrap_or_default(),
        tls: tls.unwrap_or_default(),
        timeouts: timeouts.unwrap_or_default(),
        feeds: content.feeds,
        variables: content.variables,
        login: content.login,
        requests: content.requests,
        flows: content.flows,
        thresholds: thresholds.unwrap_or_default(),
        seed: raw.seed,
        source: None,
    };
    for (index, rule) in scenario.thresholds.rules.iter().enumerate() {
        rule.check_endpoint(scenario.endpoint_names())
            .map_err(|why| wrong(at!["thresholds", "rules", index], why))?;
    }
    Ok(scenario)
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn connections(raw: &RawScenario, load: &Load) -> Result<u32, Wrong> {
    match (load, raw.connections) {
        (Load::Closed(closed), None) => Ok(closed.users),
        (Load::Closed(closed), Some(given)) if given == closed.users => Ok(given),
        (Load::Closed(closed), Some(_)) => Err(wrong(
            at!["connections"],
            format!(
                "a closed model has one connection a user ({}); leave it out",
                closed.users
            ),
        )),
        (Load::Open(_), None) => Ok(DEFAULT_CONNECTIONS),
        (Load::Open(_), Some(given @ 1..=MOST_LANES)) => Ok(given),
        (Load::Open(_), Some(_)) => Err(wrong(
            at!["connections"],
            format!("must be between 1 and {MOST_LANES}"),
        )),
    }
}

fn timeouts(raw: &RawTimeouts) -> Result<Timeouts, Wrong> {
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: raw.connect.map_or(default.connect, |text| text.0),
        total: raw.total.map_or(default.total, |text| text.0),
    };
    for (field, value) in [("connect", timeouts.connect), ("total", timeouts.total)] {
        if value < Duration::from_millis(1) {
            return Err(wrong(at!["timeouts", field], "must be at least 1ms"));
        }
    }
    Ok(timeouts)
}

fn thresholds(raw: &RawThresholds) -> Thresholds {
    Thresholds {
        p50: raw.p50.map(|text| text.0),
        p95: raw.p95.map(|text| text.0),
        p99: raw.p99.map(|text| text.0),
        error_rate: raw.error_rate.map(|share| share.0),
        min_throughput: raw.min_throughput.map(|text| text.0),
        rules: raw.rules.iter().map(|entry| entry.0.clone()).collect(),
    }
}

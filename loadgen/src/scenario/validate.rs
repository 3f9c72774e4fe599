//! The checks that make what is written in a file a [`Scenario`].

use std::{path::Path, time::Duration};

use super::{
    Arrivals, Closed, Engine, Load, Open, Scenario, Stage, ThinkTime, Thresholds, Timeouts,
    content::{Content, RawContent, content},
    file::{RawLoad, RawScenario, RawStage, RawThresholds, RawTimeouts},
    locate::Step,
    text::{self, DurationText, RateText},
};
use crate::units::Rate;

/// Slots of an open model when the file does not say.
const DEFAULT_CONNECTIONS: u32 = 256;
/// More than this many users or connections cannot be meant: ports and descriptors run out first.
const MOST_LANES: u32 = 100_000;

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
    ($($step:expr),*) => { [$(Step::from($step)),*] };
}

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
    let (load, duration) = load(&raw)?;
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
    let written = RawContent {
        feeds: &raw.feeds,
        variables: &raw.variables,
        login: raw.login.as_ref(),
        requests: &raw.requests,
        flows: &raw.flows,
    };
    let content = content(&written, inherited, folder)?;
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

fn load(raw: &RawScenario) -> Result<(Load, Duration), Wrong> {
    let load = &raw.load;
    let closed = load.model == text::ModelText::Closed;
    let misplaced = [
        ("users", load.users.is_some(), true),
        ("spawn_rate", load.spawn_rate.is_some(), true),
        ("think_time", load.think_time.is_some(), true),
        ("rate", load.rate.is_some(), false),
        ("arrivals", load.arrivals.is_some(), false),
        ("volley", load.volley.is_some(), false),
        ("stages", load.stages.is_some(), false),
    ];
    for (field, given, belongs_to_closed) in misplaced {
        if given && belongs_to_closed != closed {
            let (model, allowed) = if closed {
                ("open", "`users`, `spawn_rate` and `think_time`")
            } else {
                ("closed", "`rate` or `stages`, `arrivals` and `volley`")
            };
            return Err(wrong(
                at!["load", field],
                format!("belongs to model = \"{model}\"; this model takes {allowed}"),
            ));
        }
    }
    if closed {
        Ok((Load::Closed(closed_model(load)?), stated_duration(raw)?))
    } else {
        open_model(raw)
    }
}

fn stated_duration(raw: &RawScenario) -> Result<Duration, Wrong> {
    match raw.duration {
        Some(DurationText(duration)) if !duration.is_zero() => Ok(duration),
        Some(_) => Err(wrong(at!["duration"], "must be above 0")),
        None => Err(wrong(
            at!["duration"],
            "is missing: say how long to measure, such as duration = \"1m\"",
        )),
    }
}

fn closed_model(load: &RawLoad) -> Result<Closed, Wrong> {
    let users = match load.users {
        Some(users @ 1..=MOST_LANES) => users,
        Some(_) => {
            return Err(wrong(
                at!["load", "users"],
                format!("must be between 1 and {MOST_LANES}"),
            ));
        }
        None => {
            return Err(wrong(
                at!["load", "users"],
                "is missing: a closed model needs `users = N`",
            ));
        }
    };
    let spawn_rate = match load.spawn_rate {
        Some(RateText(rate)) if rate.get() <= 0.0 => {
            return Err(wrong(
                at!["load", "spawn_rate"],
                "must be above 0; leave it out to start all users at once",
            ));
        }
        rate => rate.map(|text| text.0),
    };
    let think_time = load.think_time.map_or(ThinkTime::None, |text| text.0);
    if matches!(think_time, ThinkTime::Uniform { min, max } if min > max) {
        return Err(wrong(
            at!["load", "think_time"],
            "`min` is above `max`; swap them",
        ));
    }
    Ok(Closed {
        users,
        spawn_rate,
        think_time,
    })
}

fn open_model(raw: &RawScenario) -> Result<(Load, Duration), Wrong> {
    let load = &raw.load;
    let (stages, duration) = match (&load.rate, &load.stages) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                at!["load", "stages"],
                "`rate` and `stages` exclude each other; put the rate into the stages",
            ));
        }
        (None, None) => {
            return Err(wrong(
                at!["load", "rate"],
                "is missing: an open model needs `rate = \"N/s\"` or `stages`",
            ));
        }
        (Some(RateText(rate)), None) => {
            if rate.get() <= 0.0 {
                return Err(wrong(at!["load", "rate"], "must be above 0"));
            }
            let duration = stated_duration(raw)?;
            let stage = Stage {
                duration,
                from: *rate,
                to: *rate,
            };
            (vec![stage], duration)
        }
        (None, Some(raw_stages)) => {
            let stages = stages(raw_stages)?;
            let sum = stages.iter().map(|stage| stage.duration).sum();
            if raw.duration.is_some_and(|stated| stated.0 != sum) {
                return Err(wrong(
                    at!["duration"],
                    format!(
                        "the stages last {}; leave `duration` out or make it equal",
                        crate::units::format_duration(sum)
                    ),
                ));
            }
            (stages, sum)
        }
    };
    let arrivals = match (load.arrivals, load.volley) {
        (Some(text::ArrivalsText::Volley), Some(size @ 1..)) => Arrivals::Volley(size),
        (Some(text::ArrivalsText::Volley), _) => {
            return Err(wrong(
                at!["load", "volley"],
                "arrivals = \"volley\" needs `volley = N`, at least 1",
            ));
        }
        (_, Some(_)) => {
            return Err(wrong(at!["load", "volley"], "needs arrivals = \"volley\""));
        }
        (Some(text::ArrivalsText::Poisson), None) => Arrivals::Poisson,
        (Some(text::ArrivalsText::Uniform) | None, None) => Arrivals::Uniform,
    };
    Ok((Load::Open(Open { stages, arrivals }), duration))
}

fn stages(raw: &[RawStage]) -> Result<Vec<Stage>, Wrong> {
    let mut stages: Vec<Stage> = Vec::with_capacity(raw.len());
    for (index, stage) in raw.iter().enumerate() {
        if stage.duration.0.is_zero() {
            return Err(wrong(
                at!["load", "stages", index, "duration"],
                "must be above 0",
            ));
        }
        let to = stage.rate.0;
        let before = stages.last().map_or(Rate::default(), |stage| stage.to);
        stages.push(Stage {
            duration: stage.duration.0,
            from: if stage.ramp { before } else { to },
            to,
        });
    }
    if stages
        .iter()
        .all(|stage| stage.from.get() + stage.to.get() <= 0.0)
    {
        return Err(wrong(
            at!["load", "stages"],
            "at least one stage needs a rate above 0",
        ));
    }
    Ok(stages)
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

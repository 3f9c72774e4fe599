//! The TOML of a scenario: its raw shape, and the checks that make it a [`Scenario`].

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Arrivals, Closed, Engine, Expect, Load, Login, Open, RequestSpec, Scenario, ScenarioError,
    Stage, ThinkTime, Thresholds, Timeouts,
    locate::{self, Step},
    text::{self, DurationText, RateText, Share},
};
use crate::units::Rate;

/// Folder of the scenarios that can be chosen by name, relative to the working directory.
pub const FOLDER: &str = "config/scenarios";

/// Slots of an open model when the file does not say.
const DEFAULT_CONNECTIONS: u32 = 256;
/// More than this many users or connections cannot be meant: ports and descriptors run out first.
const MOST_LANES: u32 = 100_000;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    #[serde(default)]
    description: String,
    duration: Option<DurationText>,
    #[serde(default)]
    warmup: DurationText,
    engine: Option<text::EngineText>,
    connections: Option<u32>,
    #[serde(default = "yes")]
    cookies: bool,
    #[serde(default)]
    seed: u64,
    load: RawLoad,
    #[serde(default)]
    timeouts: RawTimeouts,
    login: Option<RawLogin>,
    #[serde(default)]
    requests: Vec<RawRequest>,
    #[serde(default)]
    thresholds: RawThresholds,
}

fn yes() -> bool {
    true
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLoad {
    model: text::ModelText,
    users: Option<u32>,
    spawn_rate: Option<RateText>,
    think_time: Option<text::ThinkTimeText>,
    rate: Option<RateText>,
    arrivals: Option<text::ArrivalsText>,
    volley: Option<u32>,
    stages: Option<Vec<RawStage>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStage {
    duration: DurationText,
    rate: RateText,
    #[serde(default)]
    ramp: bool,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimeouts {
    connect: Option<DurationText>,
    total: Option<DurationText>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLogin {
    #[serde(default = "post")]
    method: String,
    path: String,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    token: String,
}

fn post() -> String {
    "POST".into()
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    name: String,
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default)]
    expect: RawExpect,
}

fn get() -> String {
    "GET".into()
}

fn one() -> f64 {
    1.0
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    status: Option<u16>,
    body_contains: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThresholds {
    p50: Option<DurationText>,
    p95: Option<DurationText>,
    p99: Option<DurationText>,
    error_rate: Option<Share>,
    min_throughput: Option<RateText>,
}

/// A check that failed: where, and what would be right.
struct Wrong {
    path: Vec<Step>,
    message: String,
}

fn wrong<const N: usize>(path: [Step; N], message: impl Into<String>) -> Wrong {
    Wrong {
        path: path.into(),
        message: message.into(),
    }
}

macro_rules! at {
    ($($step:expr),*) => { [$(Step::from($step)),*] };
}

impl Scenario {
    /// Loads a scenario by path, or by name from [`FOLDER`].
    ///
    /// # Errors
    ///
    /// When it does not exist, cannot be read, or is not valid.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        Self::load_from(name_or_path, Path::new(FOLDER))
    }

    /// Loads a scenario by path, or by name from a folder.
    ///
    /// # Errors
    ///
    /// When it does not exist, cannot be read, or is not valid.
    pub fn load_from(name_or_path: &str, folder: &Path) -> Result<Self, ScenarioError> {
        let path = resolve(name_or_path, folder)?;
        let source = fs::read_to_string(&path).map_err(|source| ScenarioError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let mut scenario = Self::parse(&source, &path.display().to_string())?;
        scenario.source = Some(path);
        Ok(scenario)
    }

    /// Parses and validates the text of a scenario; `origin` names it in errors.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Invalid`] with line, column and field of the first mistake.
    pub fn parse(source: &str, origin: &str) -> Result<Self, ScenarioError> {
        let invalid = |offset: usize, path: &[Step], message: String| {
            let (line, column) = locate::line_column(source, offset);
            ScenarioError::Invalid {
                file: origin.to_owned(),
                line,
                column,
                field: locate::display(path),
                message,
            }
        };
        let raw: RawScenario = toml::from_str(source).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let path = locate::path_at(source, offset);
            invalid(offset, &path, error.message().replace('\n', "; "))
        })?;
        validate(raw).map_err(|Wrong { path, message }| {
            invalid(locate::offset_of(source, &path), &path, message)
        })
    }

    /// Names of the scenarios in a folder, sorted.
    pub fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "toml")
            })
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names
    }
}

fn resolve(name_or_path: &str, folder: &Path) -> Result<PathBuf, ScenarioError> {
    let path = Path::new(name_or_path);
    let looks_like_a_path = path.extension().is_some() || name_or_path.contains('/');
    if path.is_file() || looks_like_a_path && path.exists() {
        return Ok(path.to_owned());
    }
    let named = folder.join(format!("{name_or_path}.toml"));
    if !name_or_path.is_empty() && named.is_file() {
        return Ok(named);
    }
    Err(ScenarioError::NotFound {
        name: name_or_path.to_owned(),
        searched: folder.to_owned(),
        known: Scenario::names_in(folder),
    })
}

fn validate(raw: RawScenario) -> Result<Scenario, Wrong> {
    if raw.name.is_empty() || !raw.name.chars().all(is_name_character) {
        return Err(wrong(
            at!["name"],
            "must be letters, digits, `-`, `_` or `.`: it becomes part of folder names",
        ));
    }
    let (load, duration) = load(&raw)?;
    let engine = raw.engine.map_or(Engine::Session, |text| text.0);
    let connections = connections(&raw, &load)?;
    if raw.requests.is_empty() {
        return Err(wrong(
            at!["requests"],
            "a scenario needs at least one request: add a `[[requests]]` table with `name` and `path`",
        ));
    }
    let mut requests: Vec<RequestSpec> = Vec::with_capacity(raw.requests.len());
    for (index, request) in raw.requests.iter().enumerate() {
        if requests.iter().any(|other| other.name == request.name) {
            return Err(wrong(
                at!["requests", index, "name"],
                format!("`{}` is used twice; names are unique", request.name),
            ));
        }
        requests.push(self::request(index, request)?);
    }
    Ok(Scenario {
        name: raw.name,
        description: raw.description,
        load,
        duration,
        warmup: raw.warmup.0,
        engine,
        connections,
        cookies: raw.cookies,
        timeouts: timeouts(&raw.timeouts)?,
        login: raw.login.as_ref().map(login).transpose()?,
        requests,
        thresholds: thresholds(&raw.thresholds),
        seed: raw.seed,
        source: None,
    })
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

fn login(raw: &RawLogin) -> Result<Login, Wrong> {
    if raw.token.is_empty() || raw.token.split('.').any(str::is_empty) {
        return Err(wrong(
            at!["login", "token"],
            "must be a dotted path into the JSON answer, such as \"access_token\" or \"data.token\"",
        ));
    }
    Ok(Login {
        method: text::method(&raw.method).map_err(|why| wrong(at!["login", "method"], why))?,
        path: text::path(&raw.path).map_err(|why| wrong(at!["login", "path"], why))?,
        body: text::body(raw.body.as_deref()).map_err(|why| wrong(at!["login", "body"], why))?,
        headers: text::headers(&raw.headers)
            .map_err(|(name, why)| wrong(at!["login", "headers", name.as_str()], why))?,
        token: raw.token.clone(),
    })
}

fn request(index: usize, raw: &RawRequest) -> Result<RequestSpec, Wrong> {
    let at = |field: &str| at!["requests", index, field];
    if raw.name.is_empty() || raw.name.chars().any(|c| c == ',' || c.is_whitespace()) {
        return Err(wrong(
            at("name"),
            "must not be empty nor hold commas or spaces: it tags lines of interval logs",
        ));
    }
    if !(raw.weight.is_finite() && raw.weight > 0.0) {
        return Err(wrong(at("weight"), "must be a number above 0"));
    }
    if let Some(status) = raw
        .expect
        .status
        .filter(|status| !(100..600).contains(status))
    {
        return Err(wrong(
            at!["requests", index, "expect", "status"],
            format!("{status} is not an HTTP status: 100 to 599"),
        ));
    }
    Ok(RequestSpec {
        name: raw.name.clone(),
        method: text::method(&raw.method).map_err(|why| wrong(at("method"), why))?,
        path: text::path(&raw.path).map_err(|why| wrong(at("path"), why))?,
        headers: text::headers(&raw.headers)
            .map_err(|(name, why)| wrong(at!["requests", index, "headers", name.as_str()], why))?,
        body: text::body(raw.body.as_deref()).map_err(|why| wrong(at("body"), why))?,
        weight: raw.weight,
        expect: Expect {
            status: raw.expect.status,
            body_contains: raw.expect.body_contains.clone(),
        },
    })
}

fn thresholds(raw: &RawThresholds) -> Thresholds {
    Thresholds {
        p50: raw.p50.map(|text| text.0),
        p95: raw.p95.map(|text| text.0),
        p99: raw.p99.map(|text| text.0),
        error_rate: raw.error_rate.map(|share| share.0),
        min_throughput: raw.min_throughput.map(|text| text.0),
    }
}

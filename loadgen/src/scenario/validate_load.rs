//! The checks of `[load]`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Arrivals, Closed, Load, Open, Replay, Stage, ThinkTime, Trace, UserStage, Wave,
    file::{RawLoad, RawScenario, RawSine, RawSpike, RawStage},
    text::{self, DurationText, LevelText, RateText},
    validate::{MOST_LANES, Wrong, at, wrong},
};
use crate::units::{Rate, format_duration};

/// Bound on time of a run with a fixed number of requests that states no other.
const LONGEST_COUNTED: Duration = Duration::from_secs(3600);
/// A replay is measured a little beyond its last request, so that this one counts too.
const AFTER_THE_LAST: Duration = Duration::from_millis(1);

/// Which model a key of `[load]` belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Belongs {
    Closed,
    Open,
}

/// The load model and the length of the measured part. A trace is sought in `folder`.
pub(super) fn load_model(raw: &RawScenario, folder: &Path) -> Result<(Load, Duration), Wrong> {
    let load = &raw.load;
    let model = match load.model {
        text::ModelText::Closed => Belongs::Closed,
        text::ModelText::Open => Belongs::Open,
    };
    let keys = [
        ("users", load.users.is_some(), Belongs::Closed),
        ("spawn_rate", load.spawn_rate.is_some(), Belongs::Closed),
        ("think_time", load.think_time.is_some(), Belongs::Closed),
        ("pacing", load.pacing.is_some(), Belongs::Closed),
        ("rate", load.rate.is_some(), Belongs::Open),
        ("arrivals", load.arrivals.is_some(), Belongs::Open),
        ("volley", load.volley.is_some(), Belongs::Open),
        ("sine", load.sine.is_some(), Belongs::Open),
        ("trace", load.trace.is_some(), Belongs::Open),
        ("speed", load.speed.is_some(), Belongs::Open),
    ];
    for (field, given, belongs) in keys {
        if given && belongs != model {
            let (other, allowed) = match belongs {
                Belongs::Open => (
                    "open",
                    "`users`, `stages` or `spike`, `spawn_rate`, `think_time` and `pacing`",
                ),
                Belongs::Closed => (
                    "closed",
                    "`rate`, `stages`, `spike`, `sine` or `trace`, `arrivals`, `volley` and `speed`",
                ),
            };
            return Err(wrong(
                at!["load", field],
                format!("belongs to model = \"{other}\"; this model takes {allowed}"),
            ));
        }
    }
    match model {
        Belongs::Closed => {
            let (closed, duration) = closed_model(raw)?;
            Ok((Load::Closed(closed), duration))
        }
        Belongs::Open => {
            let (open, duration) = open_model(raw, folder)?;
            Ok((Load::Open(open), duration))
        }
    }
}

/// The length of the measured part where nothing else states it.
fn stated_duration(raw: &RawScenario) -> Result<Duration, Wrong> {
    match raw.duration {
        Some(DurationText(Duration::ZERO)) => Err(wrong(at!["duration"], "must be above 0")),
        Some(DurationText(duration)) => Ok(duration),
        None if raw.requests_total.is_some() => Ok(LONGEST_COUNTED),
        None => Err(wrong(
            at!["duration"],
            "is missing: say how long to measure, such as duration = \"1m\"",
        )),
    }
}

/// Together, stages are the duration; one that is stated as well must say the same.
fn same_duration(raw: &RawScenario, sum: Duration) -> Result<Duration, Wrong> {
    match raw.duration {
        Some(stated) if stated.0 != sum => Err(wrong(
            at!["duration"],
            format!(
                "the stages last {}; leave `duration` out or make it equal",
                format_duration(sum)
            ),
        )),
        _ => Ok(sum),
    }
}

fn closed_model(raw: &RawScenario) -> Result<(Closed, Duration), Wrong> {
    let load = &raw.load;
    let given = [
        load.users.is_some(),
        load.stages.is_some(),
        load.spike.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err(wrong(
            at![
                "load",
                if load.stages.is_some() {
                    "stages"
                } else {
                    "spike"
                }
            ],
            "`users`, `stages` and `spike` exclude each other; each of them says how many users there are",
        ));
    }
    let stages = match (&load.stages, &load.spike) {
        (Some(stages), _) => user_stages(stages)?,
        (None, Some(spike)) => user_spike(spike, stated_duration(raw)?)?,
        (None, None) => Vec::new(),
    };
    let users = most_users(load, &stages)?;
    let duration = if stages.is_empty() {
        stated_duration(raw)?
    } else {
        same_duration(raw, stages.iter().map(|stage| stage.duration).sum())?
    };
    let spawn_rate = match load.spawn_rate {
        Some(_) if !stages.is_empty() => {
            return Err(wrong(
                at!["load", "spawn_rate"],
                "the stages say when users start; give a stage `ramp = true` instead",
            ));
        }
        Some(RateText(rate)) if rate.get() <= 0.0 => {
            return Err(wrong(
                at!["load", "spawn_rate"],
                "must be above 0; leave it out to start all users at once",
            ));
        }
        rate => rate.map(|text| text.0),
    };
    let think_time = load.think_time.map_or(ThinkTime::None, |text| text.0);
    if !think_time.is_in_order() {
        return Err(wrong(
            at!["load", "think_time"],
            "`min` is above `max`; swap them",
        ));
    }
    let pacing = load.pacing.map(|text| text.0);
    if pacing == Some(Duration::ZERO) {
        return Err(wrong(
            at!["load", "pacing"],
            "must be above 0; leave it out to send as fast as answers come",
        ));
    }
    if pacing.is_some() && load.think_time.is_some() {
        return Err(wrong(
            at!["load", "pacing"],
            "`pacing` and `think_time` exclude each other: one fixes the interval, the other the pause",
        ));
    }
    let closed = Closed {
        users,
        spawn_rate,
        think_time,
        pacing,
        stages,
    };
    Ok((closed, duration))
}

fn most_users(load: &RawLoad, stages: &[UserStage]) -> Result<u32, Wrong> {
    let most = stages.iter().flat_map(|stage| [stage.from, stage.to]).max();
    match (most.or(load.users), most.is_some()) {
        (Some(users @ 1..=MOST_LANES), _) => Ok(users),
        (Some(0), true) => Err(wrong(
            at!["load", "stages"],
            "at least one stage needs users",
        )),
        (Some(_), true) => Err(wrong(
            at!["load", "stages"],
            format!("must not have more than {MOST_LANES} users"),
        )),
        (Some(_), false) => Err(wrong(
            at!["load", "users"],
            format!("must be between 1 and {MOST_LANES}"),
        )),
        (None, _) => Err(wrong(
            at!["load", "users"],
            "is missing: a closed model needs `users = N`, `stages` or `spike`",
        )),
    }
}

fn user_stages(raw: &[RawStage]) -> Result<Vec<UserStage>, Wrong> {
    let mut stages: Vec<UserStage> = Vec::with_capacity(raw.len());
    for (index, stage) in raw.iter().enumerate() {
        let duration = length_of(index, stage)?;
        let to = match (stage.users, stage.rate) {
            (Some(users), None) => users,
            (_, Some(_)) => {
                return Err(wrong(
                    at!["load", "stages", index, "rate"],
                    "belongs to model = \"open\"; stages of a closed model take `users`",
                ));
            }
            (None, None) => {
                return Err(wrong(
                    at!["load", "stages", index],
                    "needs `users`: how many there are in this stage, or at its end with `ramp = true`",
                ));
            }
        };
        let before = stages.last().map_or(0, |stage| stage.to);
        stages.push(UserStage {
            duration,
            from: if stage.ramp { before } else { to },
            to,
        });
    }
    if stages.is_empty() {
        return Err(no_stage());
    }
    Ok(stages)
}

fn user_spike(spike: &RawSpike, duration: Duration) -> Result<Vec<UserStage>, Wrong> {
    let users = |field, level| match level {
        LevelText::Users(users) => Ok(users),
        LevelText::Rate(_) => Err(wrong(
            at!["load", "spike", field],
            "must be a number of users such as 300: this is a closed model",
        )),
    };
    let (base, peak) = (users("base", spike.base)?, users("peak", spike.peak)?);
    let levels = [base, peak, base];
    let stages = spike_lengths(spike, duration)?.into_iter().zip(levels);
    Ok(stages
        .filter(|(duration, _)| !duration.is_zero())
        .map(|(duration, users)| UserStage {
            duration,
            from: users,
            to: users,
        })
        .collect())
}

/// Lengths of the parts before, in and after a spike.
fn spike_lengths(spike: &RawSpike, duration: Duration) -> Result<[Duration; 3], Wrong> {
    let (at, length) = (spike.at.0, spike.length.0);
    if length.is_zero() {
        return Err(wrong(at!["load", "spike", "length"], "must be above 0"));
    }
    let after = duration.checked_sub(at + length).ok_or_else(|| {
        wrong(
            at!["load", "spike", "length"],
            format!(
                "the spike ends after {}, the measured part after {}",
                format_duration(at + length),
                format_duration(duration)
            ),
        )
    })?;
    Ok([at, length, after])
}

fn length_of(index: usize, stage: &RawStage) -> Result<Duration, Wrong> {
    if stage.duration.0.is_zero() {
        return Err(wrong(
            at!["load", "stages", index, "duration"],
            "must be above 0",
        ));
    }
    Ok(stage.duration.0)
}

fn no_stage() -> Wrong {
    wrong(at!["load", "stages"], "needs at least one stage")
}

fn open_model(raw: &RawScenario, folder: &Path) -> Result<(Open, Duration), Wrong> {
    let load = &raw.load;
    if load.arrivals == Some(text::ArrivalsText::Replay) {
        return replay(raw, folder);
    }
    for (field, given) in [
        ("trace", load.trace.is_some()),
        ("speed", load.speed.is_some()),
    ] {
        if given {
            return Err(wrong(at!["load", field], "needs arrivals = \"replay\""));
        }
    }
    let given: Vec<_> = [
        ("rate", load.rate.is_some()),
        ("stages", load.stages.is_some()),
        ("spike", load.spike.is_some()),
        ("sine", load.sine.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    if let [_, second, ..] = given.as_slice() {
        return Err(wrong(
            at!["load", *second],
            "`rate`, `stages`, `spike` and `sine` exclude each other; each of them says how the rate runs",
        ));
    }
    let mut wave = None;
    let (stages, duration) = if let Some(raw_stages) = &load.stages {
        let stages = rate_stages(raw_stages)?;
        let sum = stages.iter().map(|stage| stage.duration).sum();
        (stages, same_duration(raw, sum)?)
    } else if let Some(spike) = &load.spike {
        let duration = stated_duration(raw)?;
        (rate_spike(spike, duration)?, duration)
    } else if let Some(sine) = &load.sine {
        wave = Some(wave_of(sine)?);
        let duration = stated_duration(raw)?;
        (vec![level(duration, sine.mean.0)], duration)
    } else if let Some(RateText(rate)) = load.rate {
        if rate.get() <= 0.0 {
            return Err(wrong(at!["load", "rate"], "must be above 0"));
        }
        let duration = stated_duration(raw)?;
        (vec![level(duration, rate)], duration)
    } else {
        return Err(wrong(
            at!["load", "rate"],
            "is missing: an open model needs `rate = \"N/s\"`, `stages`, `spike`, `sine`, or arrivals = \"replay\"",
        ));
    };
    let arrivals = arrivals(load)?;
    Ok((
        Open {
            stages,
            wave,
            arrivals,
        },
        duration,
    ))
}

fn arrivals(load: &RawLoad) -> Result<Arrivals, Wrong> {
    match (load.arrivals, load.volley) {
        (Some(text::ArrivalsText::Volley), Some(size @ 1..)) => Ok(Arrivals::Volley(size)),
        (Some(text::ArrivalsText::Volley), _) => Err(wrong(
            at!["load", "volley"],
            "arrivals = \"volley\" needs `volley = N`, at least 1",
        )),
        (_, Some(_)) => Err(wrong(at!["load", "volley"], "needs arrivals = \"volley\"")),
        (Some(text::ArrivalsText::Poisson), None) => Ok(Arrivals::Poisson),
        _ => Ok(Arrivals::Uniform),
    }
}

fn level(duration: Duration, rate: Rate) -> Stage {
    Stage {
        duration,
        from: rate,
        to: rate,
    }
}

fn rate_stages(raw: &[RawStage]) -> Result<Vec<Stage>, Wrong> {
    let mut stages: Vec<Stage> = Vec::with_capacity(raw.len());
    for (index, stage) in raw.iter().enumerate() {
        let duration = length_of(index, stage)?;
        let to = match (stage.rate, stage.users) {
            (Some(RateText(rate)), None) => rate,
            (_, Some(_)) => {
                return Err(wrong(
                    at!["load", "stages", index, "users"],
                    "belongs to model = \"closed\"; stages of an open model take `rate`",
                ));
            }
            (None, None) => {
                return Err(wrong(
                    at!["load", "stages", index],
                    "needs `rate`: that of this stage, or at its end with `ramp = true`",
                ));
            }
        };
        let before = stages.last().map_or(Rate::default(), |stage| stage.to);
        stages.push(Stage {
            duration,
            from: if stage.ramp { before } else { to },
            to,
        });
    }
    if stages.is_empty() {
        return Err(no_stage());
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

fn rate_spike(spike: &RawSpike, duration: Duration) -> Result<Vec<Stage>, Wrong> {
    let rate = |field, level| match level {
        LevelText::Rate(rate) => Ok(rate),
        LevelText::Users(_) => Err(wrong(
            at!["load", "spike", field],
            "must be a rate such as \"300/s\": this is an open model",
        )),
    };
    let (base, peak) = (rate("base", spike.base)?, rate("peak", spike.peak)?);
    if base.get() + peak.get() <= 0.0 {
        return Err(wrong(at!["load", "spike", "peak"], "must be above 0"));
    }
    let levels = [base, peak, base];
    let stages = spike_lengths(spike, duration)?.into_iter().zip(levels);
    Ok(stages
        .filter(|(duration, _)| !duration.is_zero())
        .map(|(duration, rate)| level(duration, rate))
        .collect())
}

fn wave_of(sine: &RawSine) -> Result<Wave, Wrong> {
    if sine.mean.0.get() <= 0.0 {
        return Err(wrong(at!["load", "sine", "mean"], "must be above 0"));
    }
    if sine.amplitude.0 > sine.mean.0 {
        return Err(wrong(
            at!["load", "sine", "amplitude"],
            "must not be above `mean`: the rate would fall below 0",
        ));
    }
    if sine.period.0.is_zero() {
        return Err(wrong(at!["load", "sine", "period"], "must be above 0"));
    }
    Ok(Wave {
        amplitude: sine.amplitude.0,
        period: sine.period.0,
    })
}

/// Arrivals as a trace recorded them. The first of them are warm-up.
fn replay(raw: &RawScenario, folder: &Path) -> Result<(Open, Duration), Wrong> {
    let load = &raw.load;
    let excluded = [
        ("rate", load.rate.is_some()),
        ("stages", load.stages.is_some()),
        ("spike", load.spike.is_some()),
        ("sine", load.sine.is_some()),
        ("volley", load.volley.is_some()),
    ];
    if let Some((field, _)) = excluded.into_iter().find(|(_, given)| *given) {
        return Err(wrong(
            at!["load", field],
            "a replay sends when its trace says; remove it, or change `speed`",
        ));
    }
    let Some(trace) = &load.trace else {
        return Err(wrong(
            at!["load", "trace"],
            "is missing: arrivals = \"replay\" needs `trace = \"FILE\"`",
        ));
    };
    let speed = load.speed.unwrap_or(1.0);
    if !(1e-6..=1e6).contains(&speed) {
        return Err(wrong(
            at!["load", "speed"],
            "must be a number above 0: 1 as recorded, 2 twice as fast",
        ));
    }
    let file = beside(folder, trace);
    let trace =
        Trace::read(&file).map_err(|error| wrong(at!["load", "trace"], error.to_string()))?;
    let replay = Replay { file, speed, trace };
    let measured = replay.length().checked_sub(raw.warmup.0).ok_or_else(|| {
        wrong(
            at!["warmup"],
            format!(
                "takes all of the trace, which lasts {}; the warm-up of a replay is its first part",
                format_duration(replay.length())
            ),
        )
    })? + AFTER_THE_LAST;
    let duration = match raw.duration {
        None => measured,
        Some(DurationText(Duration::ZERO)) => {
            return Err(wrong(at!["duration"], "must be above 0"));
        }
        Some(DurationText(stated)) if stated > measured => {
            return Err(wrong(
                at!["duration"],
                format!(
                    "the trace has {} to measure at this speed; leave `duration` out, or shorten it to replay a part",
                    format_duration(measured)
                ),
            ));
        }
        Some(DurationText(stated)) => stated,
    };
    let open = replayed(replay, raw.warmup.0, duration);
    Ok((open, duration))
}

/// An open model that replays; its one stage has the mean rate of the measured part.
pub(super) fn replayed(replay: Replay, warmup: Duration, duration: Duration) -> Open {
    let count = (0..)
        .map_while(|index| replay.due(index))
        .skip_while(|due| *due < warmup)
        .take_while(|due| *due < warmup + duration)
        .count();
    let rate = Rate::per_second(count as f64 / duration.as_secs_f64()).unwrap_or_default();
    Open {
        stages: vec![level(duration, rate)],
        wave: None,
        arrivals: Arrivals::Replay(replay),
    }
}

/// A file named in a scenario: beside the scenario, or else below the working directory.
fn beside(folder: &Path, file: &str) -> PathBuf {
    let near = folder.join(file);
    if near.exists() { near } else { file.into() }
}

//! The checks of an open model: requests arrive at a rate, answered or not.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::{
        Arrivals, Open, Replay, Stage, Trace, Wave,
        file::{RawLoad, RawScenario, RawSine, RawSpike, RawStage},
        text::{ArrivalsText, DurationText, LevelText, RateText},
        validate::{Wrong, at, wrong},
    },
    length_of, no_stage, same_duration, spike_lengths, stated_duration,
};
use crate::units::{Rate, format_duration};

/// A replay is measured a little beyond its last request, so that this one counts too.
const AFTER_THE_LAST: Duration = Duration::from_millis(1);

pub(super) fn open_model(raw: &RawScenario, folder: &Path) -> Result<(Open, Duration), Wrong> {
    let load = &raw.load;
    if load.arrivals == Some(ArrivalsText::Replay) {
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
        (Some(ArrivalsText::Volley), Some(size @ 1..)) => Ok(Arrivals::Volley(size)),
        (Some(ArrivalsText::Volley), _) => Err(wrong(
            at!["load", "volley"],
            "arrivals = \"volley\" needs `volley = N`, at least 1",
        )),
        (_, Some(_)) => Err(wrong(at!["load", "volley"], "needs arrivals = \"volley\"")),
        (Some(ArrivalsText::Poisson), None) => Ok(Arrivals::Poisson),
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
pub(in crate::scenario) fn replayed(replay: Replay, warmup: Duration, duration: Duration) -> Open {
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

//! The checks of `[load]`.

mod closed;
mod open;

use std::{path::Path, time::Duration};

use self::{closed::closed_model, open::open_model};
use super::{
    Load,
    file::{RawScenario, RawSpike, RawStage},
    text::{DurationText, ModelText},
    validate::{Wrong, at, wrong},
};
use crate::units::format_duration;

pub(super) use self::open::replayed;

/// Bound on time of a run with a fixed number of requests that states no other.
const LONGEST_COUNTED: Duration = Duration::from_secs(3600);

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
        ModelText::Closed => Belongs::Closed,
        ModelText::Open => Belongs::Open,
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

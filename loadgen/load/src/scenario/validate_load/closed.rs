//! The checks of a closed model: so many users, each waiting for its answer.

use std::time::Duration;

use super::{
    super::{
        Closed, ThinkTime, UserStage,
        file::{RawLoad, RawScenario, RawSpike, RawStage},
        text::{LevelText, RateText},
        validate::{MOST_LANES, Wrong, at, wrong},
    },
    length_of, no_stage, same_duration, spike_lengths, stated_duration,
};

pub(super) fn closed_model(raw: &RawScenario) -> Result<(Closed, Duration), Wrong> {
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

//! A scenario at one level of load: constant, so that a probe measures one thing.

use std::time::Duration;

use weir_load::{
    scenario::{Arrivals, Closed, Load, Open, Scenario, Stage, ThinkTime},
    units::Rate,
};

use super::Over;

/// Lengths of a short run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Load before the measured part.
    pub warmup: Duration,
    /// Measured part.
    pub measured: Duration,
}

/// The requests of a scenario at a constant level of load.
///
/// - rate: arrivals as the scenario spreads them (Poisson when it has users instead);
/// - users: all at once, with the think time of the scenario (none when it has arrivals instead);
/// - connections: users without think time, so that so many requests are always in flight.
///
/// # Errors
///
/// A sentence, when the level cannot be.
pub fn at_level(
    base: &Scenario,
    over: Over,
    level: f64,
    lengths: Lengths,
) -> Result<Scenario, String> {
    if matches!(&base.load, Load::Open(open) if matches!(open.arrivals, Arrivals::Replay(_))) {
        let message = "a replay sends what its trace says and has no level to vary: take a scenario with requests of its own";
        return Err(message.to_owned());
    }
    let mut scenario = base.clone();
    scenario.requests_total = None;
    scenario.warmup = lengths.warmup;
    scenario.duration = lengths.measured;
    match over {
        Over::Rate => {
            let rate = Rate::per_second(level).map_err(|error| error.to_string())?;
            if level <= 0.0 {
                return Err("a rate must be above 0".to_owned());
            }
            let arrivals = match &base.load {
                Load::Open(open) => open.arrivals.clone(),
                Load::Closed(_) => Arrivals::Poisson,
            };
            let stage = Stage {
                duration: lengths.measured,
                from: rate,
                to: rate,
            };
            scenario.load = Load::Open(Open {
                stages: vec![stage],
                wave: None,
                arrivals,
            });
        }
        Over::Users | Over::Connections => {
            if !(level >= 1.0 && level <= f64::from(u32::MAX) && level.fract() == 0.0) {
                return Err(format!(
                    "{} must be whole numbers from 1, not {level}",
                    over.text()
                ));
            }
            let (think_time, pacing) = match (&base.load, over) {
                (Load::Closed(closed), Over::Users) => (closed.think_time, closed.pacing),
                _ => (ThinkTime::None, None),
            };
            scenario.connections = level as u32;
            scenario.load = Load::Closed(Closed {
                pacing,
                ..Closed::steady(level as u32, think_time)
            });
        }
    }
    Ok(scenario)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LENGTHS: Lengths = Lengths {
        warmup: Duration::from_secs(1),
        measured: Duration::from_secs(5),
    };

    #[test]
    fn a_level_is_constant_and_keeps_the_requests() {
        let base = Scenario::load("rate").unwrap();
        let at = at_level(&base, Over::Rate, 250.0, LENGTHS).unwrap();
        assert_eq!(at.intended_rate().unwrap().get(), 250.0);
        assert_eq!(at.requests.len(), base.requests.len());
        assert_eq!(at.connections, base.connections);
        let at = at_level(&base, Over::Connections, 16.0, LENGTHS).unwrap();
        assert_eq!(at.lanes(), 16);
        assert!(matches!(&at.load, Load::Closed(closed) if closed.think_time == ThinkTime::None));
    }

    #[test]
    fn users_keep_their_think_time() {
        let base = Scenario::load("documented").unwrap();
        let Load::Closed(documented) = &base.load else {
            unreachable!()
        };
        let at = at_level(&base, Over::Users, 30.0, LENGTHS).unwrap();
        let Load::Closed(closed) = &at.load else {
            unreachable!()
        };
        assert_eq!(closed.users, 30);
        assert_eq!(closed.think_time, documented.think_time);
        assert_eq!(closed.spawn_rate, None);
    }

    #[test]
    fn levels_that_cannot_be_are_refused() {
        let base = Scenario::load("rate").unwrap();
        for (over, level) in [
            (Over::Rate, 0.0),
            (Over::Rate, -1.0),
            (Over::Users, 0.0),
            (Over::Users, 1.5),
        ] {
            assert!(at_level(&base, over, level, LENGTHS).is_err());
        }
    }
}

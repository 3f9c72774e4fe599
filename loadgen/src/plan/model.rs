//! From the capacity of one replica to the number of replicas: arithmetic, with its uncertainty
//! carried through.
//!
//! Two measured points (one replica and two) cannot fit a law. Two continuations are therefore
//! computed, and their difference is part of the range:
//!
//! - *steady*: every further replica adds what the second one added, X(n) = X₁·(1 + (n − 1)·(2E − 1));
//! - *Amdahl*: what the second one lost is a serialised share σ = 1/E − 1, and losses grow with every
//!   replica, X(n) = n·X₁ / (1 + σ·(n − 1)) (Gunther, *Guerrilla Capacity Planning*, κ = 0).

use serde::{Deserialize, Serialize};

/// Most replicas that anybody would be told.
const MOST: f64 = 100_000.0;

/// A value that is only known to lie between two others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Not less than this.
    pub low: f64,
    /// Not more than this.
    pub high: f64,
}

impl Span {
    /// Both ends in order.
    #[must_use]
    pub fn new(a: f64, b: f64) -> Self {
        Self {
            low: a.min(b),
            high: a.max(b),
        }
    }

    /// The smallest span that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }
}

/// What was measured, as far as replicas go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scaling {
    /// Capacity of one replica, requests/s.
    pub one: Span,
    /// Efficiency of the second, X₂ / (2·X₁); none when it is neither measured nor assumed.
    pub efficiency: Option<Span>,
    /// The largest number of replicas that was measured.
    pub measured: u32,
}

/// How many replicas a demand needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Need {
    /// Capacity that is needed, requests/s.
    pub capacity_rps: f64,
    /// Fewest replicas, with the favourable end of everything; none when that is not known.
    pub fewest: Option<u32>,
    /// Replicas with the unfavourable ends, each further one adding as much as the second; none
    /// when no number is enough.
    pub steady: Option<u32>,
    /// Replicas with the unfavourable ends, losses growing; none when no number is enough.
    pub amdahl: Option<u32>,
    /// Whether more replicas are told than were measured.
    pub extrapolated: bool,
}

/// What keeps the needed capacity away from the demand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Margin {
    /// The demand is multiplied by this, for growth and peaks.
    pub headroom: f64,
    /// Replicas are used up to this share of their capacity, 0 to 1.
    pub utilisation: f64,
}

/// The replicas that a demand needs.
#[must_use]
pub fn need(scaling: &Scaling, demand_rps: f64, margin: Margin) -> Need {
    let capacity_rps = demand_rps * margin.headroom / margin.utilisation;
    let one = scaling.one;
    if capacity_rps <= one.low {
        return Need {
            capacity_rps,
            fewest: Some(1),
            steady: Some(1),
            amdahl: Some(1),
            extrapolated: scaling.measured < 1,
        };
    }
    let Some(efficiency) = scaling.efficiency else {
        return Need {
            capacity_rps,
            fewest: (capacity_rps <= one.high).then_some(1),
            steady: None,
            amdahl: None,
            extrapolated: true,
        };
    };
    let fewest = steady(one.high, efficiency.high, capacity_rps);
    let worst_steady = steady(one.low, efficiency.low, capacity_rps);
    let worst_amdahl = amdahl(one.low, efficiency.low, capacity_rps);
    let most = [fewest, worst_steady, worst_amdahl]
        .into_iter()
        .flatten()
        .max();
    Need {
        capacity_rps,
        fewest,
        steady: worst_steady,
        amdahl: worst_amdahl,
        extrapolated: most.is_none_or(|most| most > scaling.measured),
    }
}

/// Fewest replicas when each further one adds what the second one added.
fn steady(one: f64, efficiency: f64, capacity: f64) -> Option<u32> {
    // More than twice the throughput with two replicas is noise, not a law.
    let added = 2.0 * efficiency.min(1.0) - 1.0;
    if capacity <= one {
        return Some(1);
    }
    if !(added > 0.0 && one > 0.0) {
        return None;
    }
    whole(1.0 + (capacity / one - 1.0) / added)
}

/// Fewest replicas when the loss of the second is a serialised share.
fn amdahl(one: f64, efficiency: f64, capacity: f64) -> Option<u32> {
    if capacity <= one {
        return Some(1);
    }
    if !(efficiency > 0.0 && one > 0.0) {
        return None;
    }
    let sigma = (1.0 / efficiency - 1.0).max(0.0);
    let left = one - capacity * sigma;
    if left <= 0.0 {
        return None;
    }
    whole(capacity * (1.0 - sigma) / left)
}

/// The next whole number; a hair above one is still that one.
fn whole(replicas: f64) -> Option<u32> {
    let up = (replicas - 1e-9).ceil().max(1.0);
    (up.is_finite() && up <= MOST).then_some(up as u32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Margin = Margin {
        headroom: 1.0,
        utilisation: 1.0,
    };

    fn exactly(value: f64) -> Span {
        Span::new(value, value)
    }

    fn scaling(one: f64, efficiency: f64) -> Scaling {
        Scaling {
            one: exactly(one),
            efficiency: Some(exactly(efficiency)),
            measured: 2,
        }
    }

    #[test]
    fn perfect_scaling_is_division() {
        let need = need(&scaling(700.0, 1.0), 5000.0, NONE);
        assert_eq!(
            (need.fewest, need.steady, need.amdahl),
            (Some(8), Some(8), Some(8))
        );
        assert!(need.extrapolated);
    }

    #[test]
    fn the_two_measured_points_are_met_by_both_continuations() {
        // X1 = 700, E = 0.9: X2 = 1260.
        let two = scaling(700.0, 0.9);
        for demand in [701.0, 1260.0] {
            let need = need(&two, demand, NONE);
            assert_eq!((need.steady, need.amdahl), (Some(2), Some(2)), "{demand}");
            assert!(!need.extrapolated);
        }
        assert_eq!(need(&two, 1261.0, NONE).steady, Some(3));
        assert!(need(&two, 1261.0, NONE).extrapolated);
    }

    #[test]
    fn growing_losses_can_put_a_demand_out_of_reach() {
        // σ = 1/0.9 − 1 = 0.111: no number of replicas gives more than 700 / 0.111 = 6,300.
        let need = need(&scaling(700.0, 0.9), 6500.0, NONE);
        assert_eq!(need.amdahl, None);
        // (6500 / 700 − 1) / 0.8 + 1 = 11.36
        assert_eq!(need.steady, Some(12));
    }

    #[test]
    fn headroom_and_utilisation_are_both_applied() {
        let margin = Margin {
            headroom: 1.5,
            utilisation: 0.75,
        };
        let need = need(&scaling(1000.0, 1.0), 1000.0, margin);
        assert_eq!((need.capacity_rps, need.steady), (2000.0, Some(2)));
    }

    #[test]
    fn without_an_efficiency_more_than_one_replica_is_not_told() {
        let one = Scaling {
            one: Span::new(700.0, 735.0),
            efficiency: None,
            measured: 1,
        };
        assert_eq!(need(&one, 700.0, NONE).steady, Some(1));
        let beyond = need(&one, 1400.0, NONE);
        assert_eq!(
            (beyond.fewest, beyond.steady, beyond.amdahl),
            (None, None, None)
        );
        // Between what is sure and what is possible: perhaps one is enough.
        assert_eq!(need(&one, 720.0, NONE).fewest, Some(1));
    }

    proptest! {
        #[test]
        fn uncertainty_never_narrows_the_range(
            one in 10.0_f64..5_000.0, spread in 1.0_f64..1.3, e in 0.6_f64..1.0, width in 0.0_f64..0.1,
            demand in 1.0_f64..50_000.0,
        ) {
            let wide = Scaling {
                one: Span::new(one, one * spread),
                efficiency: Some(Span::new(e - width, e)),
                measured: 2,
            };
            let best = need(&scaling(one * spread, e), demand, NONE);
            let worst = need(&scaling(one, e - width), demand, NONE);
            let range = need(&wide, demand, NONE);
            prop_assert!(range.fewest <= best.steady.or(range.fewest));
            prop_assert_eq!(range.steady, worst.steady);
            if let (Some(fewest), Some(most)) = (range.fewest, range.steady) {
                prop_assert!(fewest <= most);
            }
            // Growing losses never need fewer replicas.
            if let (Some(steady), Some(amdahl)) = (range.steady, range.amdahl) {
                prop_assert!(steady <= amdahl);
            }
        }

        #[test]
        fn the_number_told_is_enough_and_one_fewer_is_not(
            one in 10.0_f64..5_000.0, e in 0.55_f64..1.0, demand in 1.0_f64..50_000.0,
        ) {
            let x = |n: f64| one * (1.0 + (n - 1.0) * (2.0 * e - 1.0));
            if let Some(n) = need(&scaling(one, e), demand, NONE).steady {
                let n = f64::from(n);
                prop_assert!(x(n) >= demand * (1.0 - 1e-6));
                prop_assert!(n == 1.0 || x(n - 1.0) < demand * (1.0 + 1e-6));
            }
        }
    }
}

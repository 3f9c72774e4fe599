//! Successive halving over candidates that are compared with a common opponent.

use serde::Serialize;

/// A candidate in the tournament.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entrant {
    /// Its number among the candidates.
    pub candidate: usize,
    /// Improvements over the current values, as log-ratios, one a pair.
    pub improvements: Vec<f64>,
    /// Pairs in which the objective was met.
    pub met: usize,
    /// The round after which it dropped out, from 1; none: it won, or was still in at the end.
    pub dropped_after: Option<usize>,
}

impl Entrant {
    /// Mean improvement; the worst there is without a pair.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self.improvements.len() {
            0 => f64::NEG_INFINITY,
            count => self.improvements.iter().sum::<f64>() / count as f64,
        }
    }

    /// Improvements by round: 2^(k − 1) pairs in round k.
    #[must_use]
    pub fn rounds(&self) -> Vec<&[f64]> {
        let mut rounds = Vec::new();
        let mut rest = self.improvements.as_slice();
        while !rest.is_empty() {
            let (round, later) = rest.split_at(rest.len().min(1 << rounds.len().min(30)));
            rounds.push(round);
            rest = later;
        }
        rounds
    }

    /// Whether the metric could be compared in every pair.
    #[must_use]
    pub fn is_comparable(&self) -> bool {
        self.improvements.iter().all(|log| *log > WORST)
    }

    /// Share of the pairs in which the objective was met.
    fn share(&self) -> f64 {
        self.met as f64 / self.improvements.len().max(1) as f64
    }
}

/// An improvement that is none: the metric could not be compared.
const WORST: f64 = -100.0;

/// Halves the field until one is left or `go_on` says no; round k has 2^(k − 1) pairs for each that
/// is left. Those that meet the objective more often go before those that are better. `try_it` makes
/// a pair with a candidate: the improvement over the current values, if it has one, and whether the
/// objective was met. Returns all entrants, the winner first.
///
/// # Errors
///
/// The first error of a pair.
pub fn halve<E>(
    candidates: usize,
    mut go_on: impl FnMut() -> bool,
    mut try_it: impl FnMut(usize, usize) -> Result<(Option<f64>, bool), E>,
) -> Result<Vec<Entrant>, E> {
    let entrant = |candidate| Entrant {
        candidate,
        improvements: Vec::new(),
        met: 0,
        dropped_after: None,
    };
    let mut field: Vec<Entrant> = (0..candidates).map(entrant).collect();
    let mut out: Vec<Entrant> = Vec::new();
    let mut round = 1;
    while field.len() > 1 && go_on() {
        for pair in 0..1_usize << (round - 1) {
            for entrant in &mut field {
                let (improvement, met) = try_it(entrant.candidate, pair)?;
                entrant.improvements.push(improvement.unwrap_or(WORST));
                entrant.met += usize::from(met);
            }
        }
        field.sort_by(|a, b| {
            let met = b.share().total_cmp(&a.share());
            met.then(b.mean().total_cmp(&a.mean()))
        });
        let mut dropped = field.split_off(field.len().div_ceil(2));
        for entrant in &mut dropped {
            entrant.dropped_after = Some(round);
        }
        dropped.extend(out);
        out = dropped;
        round += 1;
    }
    field.extend(out);
    Ok(field)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    use super::*;

    #[test]
    fn the_best_of_eight_wins_and_gets_the_most_pairs() {
        let mut random = SmallRng::seed_from_u64(4);
        let truth = [0.0, 0.02, 0.3, -0.1, 0.05, 0.1, -0.3, 0.08];
        let try_it = |candidate: usize, _| {
            let noise: f64 = random.random_range(-0.05..0.05);
            Ok::<_, ()>((Some(truth[candidate] + noise), true))
        };
        let field = halve(8, || true, try_it).unwrap();
        assert_eq!(field[0].candidate, 2);
        assert_eq!(field[0].improvements.len(), 1 + 2 + 4);
        let rounds: Vec<_> = field[0].rounds().iter().map(|round| round.len()).collect();
        assert_eq!(rounds, [1, 2, 4]);
        assert!(field[0].is_comparable());
        assert_eq!(field.len(), 8);
        assert_eq!(field.last().unwrap().dropped_after, Some(1));
    }

    #[test]
    fn meeting_the_objective_goes_before_being_better() {
        let try_it = |candidate: usize, _| {
            let fast = candidate == 0;
            Ok::<_, ()>((Some(if fast { 0.9 } else { 0.1 }), !fast))
        };
        assert_eq!(halve(2, || true, try_it).unwrap()[0].candidate, 1);
    }

    #[test]
    fn it_ends_when_told_and_on_errors() {
        let field = halve(4, || false, |_, _| Ok::<_, ()>((None, false))).unwrap();
        assert!(field.iter().all(|entrant| entrant.improvements.is_empty()));
        assert_eq!(halve(4, || true, |_, _| Err(())).unwrap_err(), ());
        let one_fails = |candidate: usize, _| Ok::<_, ()>(((candidate == 1).then_some(-0.5), true));
        assert_eq!(halve(2, || true, one_fails).unwrap()[0].candidate, 1);
    }
}

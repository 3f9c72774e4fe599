//! What a search found, as `autotune.json` has it, and what follows from it.

use serde::Serialize;
use serde_json::Value;
use weir_lab::host::machine::Machine;

use super::{objective::Objective, space::Candidate, tournament::Entrant};
use crate::{
    stats::Estimate,
    study::{
        pairs::{Direction, Pair},
        tuning::workload::Measures,
    },
};

/// Pairs of the proof.
pub(crate) const PROOF: usize = 6;

/// The result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) format: u32,
    pub(crate) at: String,
    pub(crate) took_s: f64,
    pub(crate) machine: Machine,
    pub(crate) slo: Vec<Objective>,
    /// Row of the tuning table whose workload it was.
    pub(crate) workload: String,
    /// Decides among values that meet the objective.
    pub(crate) metric: String,
    pub(crate) direction: Direction,
    pub(crate) seed: u64,
    pub(crate) current: Candidate,
    pub(crate) candidates: Vec<Candidate>,
    /// Winner first.
    pub(crate) tournament: Vec<Entrant>,
    pub(crate) proof: Proof,
    /// The proposed settings as a patch; null: keep the current ones.
    pub(crate) proposal: Value,
    pub(crate) why: String,
    /// Whether every setting was verified as put back.
    pub(crate) restored: bool,
}

/// The winner against the current values, in fresh pairs.
#[derive(Debug, Serialize)]
pub(crate) struct Proof {
    pub(crate) candidate: Candidate,
    pub(crate) pairs: Vec<Pair>,
    /// Improvements as log-ratios.
    pub(crate) estimate: Option<Estimate>,
    /// Pairs in which the winner met the objective.
    pub(crate) met: usize,
    /// Pairs in which the current values met it.
    pub(crate) met_before: usize,
    /// Means of everything that was measured: with the current values, and with the winner.
    pub(crate) means: [Measures; 2],
}

impl Report {
    /// An improvement (a log-ratio) as the relative change of the metric.
    pub(super) fn change(&self, improvement: f64) -> f64 {
        (improvement * self.direction.sign()).exp_m1()
    }

    /// Mean and 95 % interval of an estimate as relative changes of the metric, lower end first.
    pub(super) fn changes(&self, found: &Estimate) -> (f64, (f64, f64)) {
        let (one, two) = (self.change(found.low), self.change(found.high));
        (self.change(found.mean), (one.min(two), one.max(two)))
    }

    /// The objective in words.
    pub(super) fn objective(&self) -> String {
        let demands: Vec<_> = self.slo.iter().map(ToString::to_string).collect();
        demands.join(" and ")
    }
}

/// Proposes the winner only if it meets the objective in every fresh pair, and either the current
/// values do not, or it is better by as much as matters, beyond chance.
pub(crate) fn proposed(proof: &Proof, smallest_effect: f64) -> (Value, String) {
    let better = proof
        .estimate
        .is_some_and(|found| found.excludes_zero() && found.mean >= smallest_effect.ln_1p());
    let (met, met_before) = (proof.met == PROOF, proof.met_before == PROOF);
    let why = match (met, met_before, better) {
        (true, false, _) => format!(
            "it meets the objective in all {PROOF} fresh pairs, the current values in {}",
            proof.met_before
        ),
        (true, true, true) => {
            "both meet the objective, and it is better by as much as matters, beyond chance"
                .to_owned()
        }
        (true, true, false) => {
            "they meet the objective, and no candidate is better beyond chance".to_owned()
        }
        (false, ..) => "no candidate met the objective in every fresh pair".to_owned(),
    };
    let propose = met && (!met_before || better);
    let proposal = if propose {
        proof.candidate.patch.clone()
    } else {
        Value::Null
    };
    (proposal, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::estimate_at;

    #[test]
    fn only_what_is_proven_is_proposed() {
        let proposes = |improvements: &[f64], met, met_before| {
            let proof = Proof {
                candidate: Candidate {
                    patch: serde_json::json!({"compression": {"level": 1}}),
                    text: "compression.level = 1".into(),
                },
                pairs: Vec::new(),
                estimate: estimate_at(improvements, 0.95, 200, 1),
                met,
                met_before,
                means: Default::default(),
            };
            !proposed(&proof, 0.05).0.is_null()
        };
        let (better, noise) = ([0.2, 0.21, 0.19, 0.2], [0.2, -0.21, 0.19, -0.2]);
        assert!(proposes(&better, PROOF, PROOF));
        assert!(proposes(&noise, PROOF, 2));
        assert!(!proposes(&noise, PROOF, PROOF));
        assert!(!proposes(&better, PROOF - 1, 0));
        assert!(!proposes(&[], PROOF, PROOF));
    }
}

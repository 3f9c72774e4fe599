//! Capacity planning from measured runs: how many replicas a demand needs, and what ends first.
//!
//! `evidence` reads folders, `model` and `limits` are arithmetic, [`plan`] puts them together.
//! Nothing is assumed silently: what was not measured is either said to be unknown or named as an
//! assumption, and a number beyond what was measured is called extrapolated.

mod demand;
mod evidence;
mod limits;
mod model;
pub(crate) mod print;

use serde::Serialize;

pub use self::{
    demand::{Demand, DemandError, documented},
    evidence::{Capacity, Costs, Efficiency, Evidence, EvidenceError, read},
    limits::{Environment, Limit, in_the_way, limits},
    model::{Margin, Need, Scaling, Span, need},
};

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Version of this shape.
    pub format: u32,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// Capacity of one replica and efficiency of the second.
    pub scaling: Scaling,
    /// Where these come from, in words.
    pub basis: Vec<String>,
    /// What keeps capacity away from demand.
    pub margin: Margin,
    /// What is known of the environment.
    pub environment: Environment,
    /// Every limit that could be reckoned, lowest first.
    pub limits: Vec<Limit>,
    /// Each demand with its replicas.
    pub rows: Vec<PlanRow>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

impl Plan {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

/// One demand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanRow {
    /// What is to be served.
    pub demand: Demand,
    /// The replicas it needs.
    pub need: Need,
    /// Limits that replicas do not move and that the demand exceeds, lowest first.
    pub in_the_way: Vec<String>,
}

/// There is nothing to plan from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No capacity of one replica.
    #[error(
        "none of the folders says what one replica can do: search with one replica (`weir-bench search --topology one`), or say with --replicas how many replicas the target had"
    )]
    NoCapacity,
}

/// Makes a plan from what was measured.
///
/// # Errors
///
/// When nothing says what one replica can do.
pub fn plan(
    evidence: Vec<Evidence>,
    demands: Vec<Demand>,
    margin: Margin,
    environment: Environment,
    assumed_efficiency: Option<f64>,
) -> Result<Plan, PlanError> {
    let mut basis = Vec::new();
    let mut notes = Vec::new();
    let (one, sources) = capacity_of(&evidence, 1).ok_or(PlanError::NoCapacity)?;
    basis.push(format!(
        "capacity of one replica {} requests/s: {}; from {sources}",
        span_text(one),
        if was_exceeded(&evidence, 1) {
            "held and, above, not held"
        } else {
            "held; nothing higher was tried"
        }
    ));
    let (efficiency, measured) = efficiency_of(&evidence, one, assumed_efficiency, &mut basis);
    let objectives: Vec<&str> = evidence
        .iter()
        .filter_map(|one| one.capacity.as_ref())
        .map(|capacity| capacity.objectives.as_str())
        .collect();
    if objectives
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a != b))
    {
        notes.push("the folders were judged by different objectives: capacities are not strictly comparable".to_owned());
    }
    for one in &evidence {
        for doubt in &one.doubts {
            notes.push(format!("{}: {doubt}", one.folder));
        }
    }
    let costs = costs_of(&evidence);
    for (zone, rate) in &costs.rate_limits {
        if environment.clients.is_none() {
            notes.push(format!(
                "rate limit {zone} admits {rate}/s for each client address: a demand of D requests/s needs at least D / {rate} different addresses (say how many with --clients)"
            ));
        }
    }
    let limits = limits(&costs, &environment);
    let scaling = Scaling {
        one,
        efficiency,
        measured,
    };
    let rows: Vec<_> = demands
        .into_iter()
        .map(|demand| PlanRow {
            need: need(&scaling, demand.rps, margin),
            in_the_way: in_the_way(&limits, demand.rps * margin.headroom)
                .iter()
                .map(|limit| format!("{} at {:.0}/s", limit.name, limit.rps))
                .collect(),
            demand,
        })
        .collect();
    if rows.iter().any(|row| row.need.extrapolated) {
        notes.push(format!(
            "numbers of more than {measured} replicas are EXTRAPOLATED: two points cannot fit a law. The range spans a steady gain per replica and losses that grow (Amdahl); measure more replicas before relying on it"
        ));
    }
    if efficiency.is_none() {
        notes.push("the efficiency of a second replica was not measured: numbers above one are not told. Measure it (`weir-bench demo`, or a search with two replicas) or assume one with --assume-efficiency".to_owned());
    }
    if rows.iter().any(|row| row.demand.daily) {
        notes.push("a demand for a day is an average: the busiest hour is often two to three times as busy (--headroom)".to_owned());
    }
    Ok(Plan {
        format: Plan::FORMAT,
        evidence,
        scaling,
        basis,
        margin,
        environment,
        limits,
        rows,
        notes,
    })
}

/// Capacity with this many replicas, and where it is from. Searches count before single runs, and
/// runs before saturated sweeps.
/// Whether some folder tells of a throughput that so many replicas did not hold.
fn was_exceeded(evidence: &[Evidence], replicas: u32) -> bool {
    evidence
        .iter()
        .filter(|one| one.replicas == Some(replicas))
        .filter_map(|one| one.capacity.as_ref())
        .any(|capacity| capacity.fails.is_some())
}

fn capacity_of(evidence: &[Evidence], replicas: u32) -> Option<(Span, String)> {
    let of_kind = |kind: &str| -> Vec<&Evidence> {
        evidence
            .iter()
            .filter(|one| one.kind == kind && one.replicas == Some(replicas))
            .filter(|one| one.capacity.is_some())
            .collect()
    };
    for kind in ["search", "run", "sweep"] {
        let found = of_kind(kind);
        let capacities: Vec<&Capacity> = found
            .iter()
            .filter_map(|one| one.capacity.as_ref())
            .collect();
        let holds = capacities.iter().map(|c| c.holds).filter(|c| *c > 0.0);
        let fails = capacities.iter().filter_map(|c| c.fails);
        let span = if kind == "search" {
            // Each search has its own edge: they span the uncertainty.
            let low = holds.clone().reduce(f64::min);
            let high = fails.chain(holds).reduce(f64::max);
            low.zip(high)
        } else {
            // Runs close in on one edge from both sides.
            let low = holds.reduce(f64::max);
            low.map(|low| {
                let above = fails.filter(|fail| *fail > low).reduce(f64::min);
                (low, above.unwrap_or(low))
            })
        };
        if let Some((low, high)) = span {
            let folders: Vec<_> = found.iter().map(|one| one.folder.as_str()).collect();
            return Some((Span::new(low, high), folders.join(", ")));
        }
    }
    None
}

/// Efficiency of the second replica, and the largest number of replicas that was measured.
fn efficiency_of(
    evidence: &[Evidence],
    one: Span,
    assumed: Option<f64>,
    basis: &mut Vec<String>,
) -> (Option<Span>, u32) {
    let most = evidence
        .iter()
        .filter(|one| one.capacity.is_some())
        .filter_map(|one| one.replicas)
        .max()
        .unwrap_or(1);
    let compared = evidence
        .iter()
        .filter_map(|one| Some((one, one.efficiency?)))
        .next();
    if let Some((source, efficiency)) = compared {
        let span = efficiency
            .interval
            .unwrap_or_else(|| Span::new(efficiency.mean, efficiency.mean));
        basis.push(format!(
            "efficiency of the second replica {:.3} ({}), from {}",
            efficiency.mean,
            efficiency.interval.map_or_else(
                || "no interval".to_owned(),
                |span| format!("{:.3} to {:.3}", span.low, span.high)
            ),
            source.folder
        ));
        return (Some(span), most.max(2));
    }
    if let Some((many, sources)) = (2..=most)
        .find_map(|replicas| capacity_of(evidence, replicas).map(|found| (replicas, found)))
        .map(|(replicas, (span, sources))| ((replicas, span), sources))
    {
        let (replicas, span) = many;
        // What each further replica added, as the efficiency of a second one.
        let added = |x: f64, one: f64| (x / one - 1.0) / f64::from(replicas - 1);
        let e = |x: f64, one: f64| f64::midpoint(added(x, one), 1.0);
        let efficiency = Span::new(e(span.low, one.high), e(span.high, one.low));
        basis.push(format!(
            "efficiency of a further replica {} = ((X{replicas} / X1 − 1) / {} + 1) / 2 with X{replicas} = {} requests/s, from {sources}",
            exact_text(efficiency),
            replicas - 1,
            span_text(span)
        ));
        return (Some(efficiency), most);
    }
    if let Some(assumed) = assumed {
        basis.push(format!(
            "efficiency of the second replica {assumed}: ASSUMED, not measured"
        ));
        return (Some(Span::new(assumed, assumed)), most);
    }
    (None, most)
}

/// What a request costs: each figure from the first folder that has it.
fn costs_of(evidence: &[Evidence]) -> Costs {
    let mut costs = Costs::default();
    for one in evidence {
        let own = &one.costs;
        if costs.cpu_s.is_empty() {
            costs.cpu_s.clone_from(&own.cpu_s);
        }
        // The proxy may only be part of a later folder.
        if let Some(cpu) = own.cpu_s.get("weir") {
            costs.cpu_s.entry("weir".to_owned()).or_insert(*cpu);
        }
        costs.in_flight_s = costs.in_flight_s.or(own.in_flight_s);
        costs.declared_rps = costs.declared_rps.or(own.declared_rps);
        costs.connections_max = costs.connections_max.or(own.connections_max);
        if costs.rate_limits.is_empty() {
            costs.rate_limits.clone_from(&own.rate_limits);
        }
        costs.cores = costs.cores.or(own.cores);
        if costs.engine.is_none() {
            costs.engine.clone_from(&own.engine);
        }
    }
    costs
}

fn span_text(span: Span) -> String {
    if span.high - span.low < 0.5 {
        format!("{:.0}", span.low)
    } else {
        format!("{:.0} to {:.0}", span.low, span.high)
    }
}

fn exact_text(span: Span) -> String {
    format!("{:.3} to {:.3}", span.low, span.high)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn evidence(kind: &str, replicas: u32, holds: f64, fails: Option<f64>) -> Evidence {
        Evidence {
            folder: format!("{kind}-{replicas}"),
            kind: kind.to_owned(),
            replicas: Some(replicas),
            capacity: Some(Capacity {
                holds,
                fails,
                objectives: "p99 < 200ms".to_owned(),
            }),
            efficiency: None,
            costs: Costs::default(),
            doubts: Vec::new(),
        }
    }

    const MARGIN: Margin = Margin {
        headroom: 1.0,
        utilisation: 1.0,
    };
    const ENVIRONMENT: Environment = Environment {
        replica_cpus: 1.0,
        proxy_cpus: 2.0,
        clients: None,
        generator_rps: None,
    };

    fn plan_of(evidence: Vec<Evidence>, assumed: Option<f64>) -> Result<Plan, PlanError> {
        plan(evidence, documented(), MARGIN, ENVIRONMENT, assumed)
    }

    #[test]
    fn two_searches_give_capacity_and_efficiency_with_their_uncertainty() {
        let both = vec![
            evidence("search", 1, 700.0, Some(730.0)),
            evidence("search", 2, 1330.0, Some(1390.0)),
        ];
        let plan = plan_of(both, None).unwrap();
        assert_eq!(plan.scaling.one, Span::new(700.0, 730.0));
        let e = plan.scaling.efficiency.unwrap();
        assert!((e.low - 1330.0 / 1460.0).abs() < 1e-9, "{e:?}");
        assert!((e.high - 1390.0 / 1400.0).abs() < 1e-9, "{e:?}");
        let at = |text: &str| {
            plan.rows
                .iter()
                .find(|row| row.demand.text == text)
                .unwrap()
        };
        assert_eq!(at("500/s").need.steady, Some(1));
        assert!(!at("500/s").need.extrapolated);
        assert_eq!(at("1000/s").need.steady, Some(2));
        assert!(at("5000/s").need.extrapolated);
        assert!(plan.notes.iter().any(|note| note.contains("EXTRAPOLATED")));
    }

    #[test]
    fn one_replica_alone_tells_no_larger_number_unless_somebody_assumes() {
        let alone = || vec![evidence("search", 1, 700.0, Some(730.0))];
        let unknown = plan_of(alone(), None).unwrap();
        let large = |plan: &Plan| {
            plan.rows
                .iter()
                .find(|r| r.demand.text == "5000/s")
                .cloned()
        };
        assert_eq!(large(&unknown).unwrap().need.steady, None);
        assert!(
            unknown
                .notes
                .iter()
                .any(|note| note.contains("not measured"))
        );
        let assumed = plan_of(alone(), Some(1.0)).unwrap();
        assert_eq!(large(&assumed).unwrap().need.steady, Some(8));
        assert!(assumed.basis.iter().any(|line| line.contains("ASSUMED")));
    }

    #[test]
    fn runs_close_in_on_the_edge_and_searches_come_first() {
        let runs = vec![
            evidence("run", 1, 600.0, None),
            evidence("run", 1, 650.0, None),
            evidence("run", 1, 0.0, Some(800.0)),
        ];
        assert_eq!(capacity_of(&runs, 1).unwrap().0, Span::new(650.0, 800.0));
        let mut mixed = runs;
        mixed.push(evidence("search", 1, 700.0, Some(720.0)));
        assert_eq!(capacity_of(&mixed, 1).unwrap().0, Span::new(700.0, 720.0));
    }

    #[test]
    fn without_one_replica_there_is_no_plan() {
        let two = vec![evidence("search", 2, 1330.0, None)];
        assert_eq!(plan_of(two, None), Err(PlanError::NoCapacity));
    }
}

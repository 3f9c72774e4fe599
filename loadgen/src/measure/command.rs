//! What `weir-bench run --topology` does: one measurement, its verdict on the terminal, its exit code.

use std::{path::Path, process::ExitCode, sync::Arc};

use super::{LiveProgress, MeasureError, Order, Setup, measure};
use crate::{
    exit::{Exit, Usage},
    judge::{self, Thresholds},
    run::StopToken,
    scenario::Scenario,
    summary::Verdict,
    topology::TopologySpec,
};

/// Measures a scenario on a topology (a name, a file, or a number of replicas), prints the verdict
/// and where the report is. `thresholds` wins over the thresholds of the scenario.
///
/// # Errors
///
/// When the topology or the thresholds are not valid (usage), or the measurement cannot be made.
pub fn execute(
    scenario: Scenario,
    topology: &str,
    thresholds: Option<&Path>,
    setup: &Setup,
    stop: &StopToken,
) -> anyhow::Result<ExitCode> {
    let topology = TopologySpec::load(topology).map_err(Usage::new)?;
    let thresholds = Thresholds::for_scenario(&scenario, thresholds).map_err(Usage::new)?;
    let label = format!("{} {}", scenario.name, topology.name);
    let order = Order {
        scenario,
        topology,
        thresholds,
    };
    let done =
        measure(&order, setup, Arc::new(LiveProgress::new(label)), stop).map_err(|error| {
            if error.is_usage() {
                anyhow::Error::from(Usage::new(error))
            } else {
                error.into()
            }
        })?;
    println!(
        "{} on {}",
        done.summary.scenario, order.topology.description
    );
    println!("{}", judge::rows_table(&done.record.verdict));
    println!("{}", judge::endpoint_table(&done.summary.endpoints));
    for failure in &done.summary.failures {
        println!(
            "{:>8} × {} ({:.2} %): {}",
            failure.count, failure.kind, failure.percent, failure.likely_cause
        );
    }
    let validity = &done.summary.validity;
    match validity.verdict {
        Verdict::Valid => println!("measurement valid"),
        Verdict::Suspect => println!("measurement suspect: {}", validity.reasons.join("; ")),
        Verdict::Invalid => println!("measurement INVALID: {}", validity.reasons.join("; ")),
    }
    for finding in &done.record.findings {
        println!("lint: {}", finding.title);
    }
    if let Some(tuning) = &done.record.tuning {
        let end = if tuning.restored {
            "put back, verified"
        } else {
            "NOT VERIFIED AS PUT BACK"
        };
        println!("tuning: {} ({end})", tuning.settings);
    }
    println!("gate {}: {}", done.gate.text(), done.page.display());
    if stop.is_stopped() {
        return Err(MeasureError::from(crate::topology::TopologyError::Stopped).into());
    }
    match done.record.tuning.filter(|tuning| !tuning.restored) {
        Some(tuning) => Err(anyhow::anyhow!(
            "the raised limits are not verified as put back: {}",
            tuning.problem
        )),
        None => Ok(Exit::from(done.gate).into()),
    }
}

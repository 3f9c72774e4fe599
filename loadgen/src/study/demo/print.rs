//! What the demonstration says on the terminal, at most 100 columns wide.

use std::{io, time::Duration};

use comfy_table::{Cell, CellAlignment};
use weir_lab::{stdio, topology::TopologySpec};
use weir_load::{summary::Verdict, units::milliseconds};

use super::{Demonstration, LEAST_EFFICIENCY, Platform};
use crate::{
    judge::{Row, Status, status_cell},
    lint::Finding,
    measure::Measured,
    page::ScenarioOverhead,
    results::Overhead,
    text::{plain_table, wrapped},
};

/// Before the first run.
pub(super) fn opening(
    total: Duration,
    platform: Platform,
    topologies: &[TopologySpec],
    findings: &[Finding],
) -> io::Result<()> {
    stdio::line(format_args!(
        "weir-bench demo, about {:.0} s on {} of this machine:\n",
        total.as_secs_f64(),
        platform.text()
    ))?;
    for topology in topologies {
        let replica = &topology.replica;
        stdio::line(format_args!(
            "  {:<13} {} {} slots × {} ms each: {:.0} requests/s in all.",
            topology.name,
            topology.description,
            replica.slots,
            replica.service_time.as_secs_f64() * 1000.0,
            replica.capacity_rps() * f64::from(topology.replicas),
        ))?;
    }
    if !findings.is_empty() {
        stdio::line(format_args!(
            "\nThe documented profile against its own thresholds, by arithmetic (weir-bench lint):\n"
        ))?;
        for finding in findings {
            stdio::line(format_args!(
                "{}",
                wrapped(
                    &format!("{}: {}", finding.code, finding.title),
                    "  - ",
                    "    "
                )
            ))?;
        }
    }
    stdio::line("")
}

/// After the last run.
pub(super) fn results(
    topologies: &[TopologySpec],
    done: &Demonstration,
    overheads: &[ScenarioOverhead],
) -> io::Result<()> {
    for topology in topologies {
        let runs: Vec<_> = done
            .runs
            .iter()
            .filter(|run| name_of(run) == topology.name)
            .collect();
        stdio::line(format_args!(
            "\n{} — {}",
            topology.name, topology.description
        ))?;
        stdio::line(format_args!("{}", verdict_table(&runs)))?;
        for run in &runs {
            stdio::line(format_args!("{}", wrapped(&remarks(run), "  ", "    ")))?;
        }
    }
    scaling(done)?;
    for entry in overheads {
        stdio::line(format_args!(
            "\nProxy overhead, {} profile, one replica direct and through weir, one run each:",
            entry.scenario
        ))?;
        stdio::line(format_args!("{}", overhead_table(&entry.overhead)))?;
    }
    tuning(&done.runs)?;
    stdio::line(format_args!("\nReports (self-contained pages):"))?;
    for run in &done.runs {
        if let Some(page) = run.page() {
            stdio::line(format_args!("  {}", page.display()))?;
        }
    }
    stdio::line(format_args!("  {}  ← all of it", done.page.display()))?;
    stdio::line(format_args!("\nDemo: gate {}", done.gate.text()))
}

fn name_of(run: &Measured) -> &str {
    run.record
        .topology
        .as_ref()
        .map_or("", |topology| topology.name.as_str())
}

fn verdict_table(runs: &[&Measured]) -> comfy_table::Table {
    let mut table = plain_table(&["profile", "metric", "value", "threshold", "status"]);
    for run in runs {
        for (index, row) in run.record.verdict.iter().enumerate() {
            let profile = if index == 0 {
                run.summary.scenario.as_str()
            } else {
                ""
            };
            table.add_row(verdict_cells(profile, row));
        }
    }
    table
}

fn verdict_cells(profile: &str, row: &Row) -> Vec<Cell> {
    vec![
        Cell::new(profile),
        Cell::new(&row.metric),
        Cell::new(&row.value).set_alignment(CellAlignment::Right),
        Cell::new(&row.threshold).set_alignment(CellAlignment::Right),
        status_cell(row),
    ]
}

/// Validity, and what the load met, in one paragraph.
fn remarks(run: &Measured) -> String {
    let summary = &run.summary;
    let validity = match summary.validity.verdict {
        Verdict::Valid => "valid".to_owned(),
        Verdict::Suspect => format!("suspect: {}", summary.validity.reasons.join("; ")),
        Verdict::Invalid => format!("INVALID: {}", summary.validity.reasons.join("; ")),
    };
    let unreachable = run
        .record
        .verdict
        .iter()
        .any(|row| row.status == Status::NotReachable);
    let note = if unreachable {
        " (not reachable is the profile's limit, not the target's failure)"
    } else {
        ""
    };
    format!(
        "{}: {} requests, {} failed, {} answered 429; measurement {validity}{note}",
        summary.scenario, summary.requests, summary.errors, summary.limited
    )
}

fn scaling(done: &Demonstration) -> io::Result<()> {
    let scaling = &done.scaling;
    let interval = match scaling.interval {
        Some((low, high)) => format!(
            " (95 % interval {low:.3} to {high:.3}, {} pairs)",
            scaling.pairs.len()
        ),
        None => format!(" ({} pair: no interval)", scaling.pairs.len()),
    };
    stdio::line(format_args!(
        "\nScaling, saturated: 1 replica {:.0}/s, 2 replicas {:.0}/s: × {:.3}, efficiency {:.3}{interval}",
        scaling.one_rps,
        scaling.two_rps,
        scaling.two_rps / scaling.one_rps.max(f64::EPSILON),
        scaling.efficiency,
    ))?;
    let verdict = if scaling.efficiency >= LEAST_EFFICIENCY {
        "pass"
    } else {
        "FAIL"
    };
    stdio::line(format_args!("  efficiency ≥ {LEAST_EFFICIENCY}: {verdict}"))?;
    stdio::line(format_args!(
        "{}",
        wrapped(&scaling.explanation, "  ", "  ")
    ))?;
    for reason in &scaling.validity.reasons {
        stdio::line(wrapped(reason, "  ! ", "    "))?;
    }
    Ok(())
}

fn overhead_table(overhead: &Overhead) -> comfy_table::Table {
    let mut table = plain_table(&["response time", "direct", "through weir", "added"]);
    for row in &overhead.rows {
        let cells = [
            milliseconds(row.direct_ms),
            milliseconds(row.proxy_ms),
            format!("{:+.2} ms", row.added_ms),
        ];
        let cells = cells.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(&row.metric)).chain(cells));
    }
    let cpu = [
        String::new(),
        format!("{:.1} % of a core", overhead.proxy_cpu_percent),
        format!("{:.0} µs/request", overhead.proxy_cpu_us_per_request),
    ];
    let cpu = cpu.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
    table.add_row(std::iter::once(Cell::new("proxy CPU")).chain(cpu));
    table
}

fn tuning(runs: &[Measured]) -> io::Result<()> {
    stdio::line(format_args!(
        "\nTuning applied for the runs (temporary overrides, renewed while they ran):"
    ))?;
    for run in runs {
        let Some(tuning) = &run.record.tuning else {
            continue;
        };
        let changes: Vec<_> = tuning
            .changes
            .iter()
            .map(|change| {
                format!(
                    "{} {} → {} → {}",
                    change.path, change.before, change.during, change.after
                )
            })
            .collect();
        let end = if tuning.restored {
            "put back, verified"
        } else {
            "NOT VERIFIED AS PUT BACK"
        };
        let text = format!(
            "{} {}: {}: {end} {}",
            run.summary.scenario,
            name_of(run),
            changes.join(", "),
            tuning.problem
        );
        stdio::line(wrapped(text.trim_end(), "  - ", "    "))?;
    }
    Ok(())
}

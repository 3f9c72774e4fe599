//! A plan for people: tables for the terminal, the same as Markdown.

use weir_load::units::rounded;

use super::{Plan, PlanRow};
use crate::text::{plain_table, wrapped};

const HEADER: [&str; 6] = [
    "demand",
    "per second",
    "capacity needed",
    "replicas",
    "if losses grow",
    "in the way",
];

/// The plan as text for the terminal.
pub(crate) fn text(plan: &Plan) -> String {
    let mut table = plain_table(&HEADER);
    for row in &plan.rows {
        table.add_row(cells(row));
    }
    let mut limits = plain_table(&["limit", "requests/s", "arithmetic"]);
    for limit in &plan.limits {
        let each = if limit.per_replica { " each" } else { "" };
        limits.add_row([
            limit.name.clone(),
            format!("{:.0}{each}", limit.rps),
            limit.arithmetic.clone(),
        ]);
    }
    let mut text = String::new();
    for line in plan.basis.iter().chain([&margin(plan)]) {
        text += &(wrapped(line, "", "  ") + "\n");
    }
    text += &format!("{table}\n");
    if !plan.limits.is_empty() {
        text += &format!("{limits}\n");
    }
    text += &(wrapped(&first_limit(plan), "", "  ") + "\n");
    for note in &plan.notes {
        text += &(wrapped(note, "note: ", "      ") + "\n");
    }
    text
}

/// The plan as Markdown.
pub(crate) fn markdown(plan: &Plan) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = "## Capacity plan\n\n".to_owned();
    for basis in plan.basis.iter().chain([&margin(plan)]) {
        text += &format!("- {basis}\n");
    }
    text += "\n";
    text += &line(&HEADER.map(str::to_owned));
    text += "|---|---:|---:|---:|---:|---|\n";
    for row in &plan.rows {
        text += &line(&cells(row));
    }
    if !plan.limits.is_empty() {
        text += "\n| limit | requests/s | arithmetic |\n|---|---:|---|\n";
        for limit in &plan.limits {
            let each = if limit.per_replica { " each" } else { "" };
            text += &line(&[
                limit.name.clone(),
                format!("{:.0}{each}", limit.rps),
                limit.arithmetic.clone(),
            ]);
        }
    }
    text += &format!("\n{}\n", first_limit(plan));
    if !plan.notes.is_empty() {
        text += "\nTo be read with it:\n\n";
        for note in &plan.notes {
            text += &format!("- {note}\n");
        }
    }
    text
}

fn margin(plan: &Plan) -> String {
    format!(
        "capacity needed = demand × {} (headroom) / {} (replicas are used up to {} % of their capacity)",
        rounded(plan.margin.headroom),
        rounded(plan.margin.utilisation),
        rounded(plan.margin.utilisation * 100.0)
    )
}

fn cells(row: &PlanRow) -> [String; 6] {
    let need = &row.need;
    let mark = if need.extrapolated {
        " (extrapolated)"
    } else {
        ""
    };
    let replicas = match (need.fewest, need.steady) {
        (Some(fewest), Some(steady)) if fewest == steady => format!("{steady}{mark}"),
        (Some(fewest), Some(steady)) => format!("{fewest} to {steady}{mark}"),
        (Some(fewest), None) => format!("{fewest} or more, not told"),
        (None, _) => "not told".to_owned(),
    };
    let growing = match (need.fewest, need.amdahl) {
        (_, Some(amdahl)) => format!("up to {amdahl}{mark}"),
        (Some(_), None) if need.steady.is_some() => "out of reach (extrapolated)".to_owned(),
        _ => "not told".to_owned(),
    };
    [
        row.demand.text.clone(),
        format!("{:.0}", row.demand.rps),
        format!("{:.0}", need.capacity_rps),
        replicas,
        growing,
        if row.in_the_way.is_empty() {
            "–".to_owned()
        } else {
            row.in_the_way.join("; ")
        },
    ]
}

/// The first limit on the way up: of one replica, and of what all replicas share.
fn first_limit(plan: &Plan) -> String {
    let one = plan.scaling.one.low;
    let of_replica = plan.limits.iter().find(|limit| limit.per_replica);
    let shared = plan.limits.iter().find(|limit| !limit.per_replica);
    let mut text = match of_replica {
        Some(limit) => format!(
            "First limit of a replica: {} at {:.0}/s ({:.0} % of it was reached with the objectives met).",
            limit.name,
            limit.rps,
            one / limit.rps * 100.0
        ),
        None => "What limits a replica was not measured: its CPU was not sampled.".to_owned(),
    };
    text += &match shared {
        Some(limit) => format!(
            " First limit that more replicas do not move: {} at {:.0}/s, reached with {:.1} replicas like this one.",
            limit.name,
            limit.rps,
            limit.rps / one.max(f64::EPSILON)
        ),
        None => " Nothing is known of limits that all replicas share.".to_owned(),
    };
    text
}

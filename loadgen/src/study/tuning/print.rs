//! The result on the terminal, at most 100 columns wide.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint};

use super::{
    record::{Report, Row},
    verdict::Verdict,
};
use crate::text::{plain_table, wrapped};

/// The whole result as text.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let before = &report.before;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} · {}, {} cores, Linux {} · {:.0} s\n",
        report.proxy_version,
        report.machine.cpu,
        report.machine.cores,
        report.machine.kernel,
        report.took_s
    );
    let noise = format!(
        "Noise floor (A/A, {} pairs): a pair scatters by {:.1} %; effects from {:.1} % on can be seen. \
         Positive control: {}, should cost {}, measured {}{}: {}.",
        before.aa.pairs.len(),
        before.aa.deviation * 100.0,
        before.aa.detectable * 100.0,
        before.positive_control.injected,
        percent(before.positive_control.expected),
        percent(before.positive_control.measured),
        interval(before.positive_control.interval),
        if before.positive_control.found {
            "found"
        } else {
            "MISSED"
        },
    );
    let ceiling = format!(
        "Ceiling of the generator: {:.0} requests/s, from {}.",
        before.ceiling_rps, before.ceiling_from
    );
    let _ = writeln!(out, "{}", wrapped(&ceiling, "", ""));
    let _ = writeln!(out, "{}\n", wrapped(&noise, "", ""));
    let _ = writeln!(out, "{}", table(&report.rows));
    for row in &report.rows {
        let _ = writeln!(out, "{}", wrapped(&remarks(row), "  ", "    "));
    }
    if !report.raise.is_empty() {
        let _ = writeln!(out, "\nThe temporary raise (100 r/s, burst 200, no delay):");
        for case in &report.raise {
            let back = if case.restored {
                "put back"
            } else {
                "NOT PUT BACK"
            };
            let line = format!(
                "{}: {back} after {:.1} s; a volley of 150 then passes {:.0}",
                case.ending, case.back_after_s, case.admitted_after
            );
            let _ = writeln!(out, "{}", wrapped(&line, "  - ", "    "));
        }
    }
    if !report.documented_rows.is_empty() {
        let _ = writeln!(
            out,
            "\nUnder the documented profile (100 users, one address), by arithmetic:"
        );
        for row in &report.documented_rows {
            let binds = if row.binds {
                "is reached"
            } else {
                "is not reached"
            };
            let line = format!("{} {binds}: {}", row.row, row.why);
            let _ = writeln!(out, "{}", wrapped(&line, "  - ", "    "));
        }
    }
    let _ = writeln!(out, "\nWhat this machine could not decide:");
    for limit in &report.limits {
        let _ = writeln!(out, "{}", wrapped(limit, "  - ", "    "));
    }
    out
}

fn table(rows: &[Row]) -> comfy_table::Table {
    let mut table = plain_table(&[
        "setting",
        "tried",
        "verdict",
        "effect (95 %)",
        "pairs",
        "recommendation",
    ]);
    for row in rows {
        let effect = match (row.effect, row.interval) {
            (Some(effect), Some(interval)) => {
                format!("{} {}\n({})", row.metric, percent(effect), range(interval))
            }
            _ => "–".to_owned(),
        };
        table.add_row(vec![
            Cell::new(&row.row),
            Cell::new(format!("{} → {}", row.current, row.value)),
            Cell::new(row.verdict.text()).fg(color(row.verdict)),
            Cell::new(effect),
            Cell::new(row.pairs).set_alignment(CellAlignment::Right),
            Cell::new(short(row)),
        ]);
    }
    for index in [0, 2] {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// The recommendation in two or three words.
pub(super) fn short(row: &Row) -> String {
    let recommendation = &row.recommendation;
    let found = row
        .search
        .as_ref()
        .is_some_and(|search| search.amount.is_some());
    match (recommendation.change, found) {
        (true, true) => format!("{} is enough", recommendation.value),
        (true, false) => format!("use {}", recommendation.value),
        (false, _) => format!("keep {}", recommendation.value),
    }
}

/// The evidence of a row in a few words.
fn remarks(row: &Row) -> String {
    let measured = |name: &str| {
        row.binding
            .measured
            .get(name)
            .map(|value| format!("{name} {}", number(*value)))
    };
    let mut parts = vec![row.why.clone()];
    let measure = row.binding.condition.split(' ').next().unwrap_or_default();
    if let Some(text) = measured(measure) {
        parts.push(format!(
            "reached in {} of {} trials ({text}, wanted {})",
            row.binding.held, row.binding.trials, row.binding.condition
        ));
    }
    if let (Some(a), Some(b)) = (row.metric_current, row.metric_value) {
        parts.push(format!("{} {} → {}", row.metric, number(a), number(b)));
    }
    if let Some(noise) = &row.noise {
        parts.push(format!("noise {:.1} % a pair", noise.deviation * 100.0));
    }
    if let Some(control) = &row.positive_control {
        let found = if control.found { "found" } else { "MISSED" };
        parts.push(format!(
            "{} put in: {}, {found}",
            control.injected,
            percent(control.measured)
        ));
    }
    if row.recommendation.change {
        parts.push(row.recommendation.text.clone());
    }
    if row.time_factor != 1.0 {
        parts.push(format!("times × {}", row.time_factor));
    }
    parts.extend(row.notes.iter().cloned());
    format!("{}: {}", row.row, parts.join("; "))
}

/// A relative change with its sign.
#[must_use]
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    let percent = share * 100.0;
    if percent.abs() >= 100.0 {
        format!("{percent:+.0} %")
    } else {
        format!("{percent:+.1} %")
    }
}

/// An interval of relative changes; counts that agree to the last one have one without width.
#[must_use]
pub fn range((low, high): (f64, f64)) -> String {
    if high - low < 1e-9 {
        "the same in every pair".to_owned()
    } else {
        format!("{} to {}", percent(low), percent(high))
    }
}

fn interval(interval: Option<(f64, f64)>) -> String {
    interval.map_or_else(String::new, |(low, high)| {
        format!(" ({} to {})", percent(low), percent(high))
    })
}

/// A figure with three or so significant digits.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value == value.round() {
        format!("{value:.0}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

fn color(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Confirmed => Color::Green,
        Verdict::Harmful => Color::Red,
        Verdict::NoEffect => Color::Blue,
        Verdict::NotBound | Verdict::Invalid => Color::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(percent(-0.4567), "-45.7 %");
        assert_eq!(percent(1.5), "+150 %");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(
            [number(1024.0), number(0.0312), number(2.345)],
            ["1024", "0.031", "2.35"]
        );
    }
}

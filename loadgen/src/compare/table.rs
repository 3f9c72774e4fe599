//! A comparison on the terminal, at most 100 columns wide.

use comfy_table::{Cell, CellAlignment, Color, Table};
use weir_lab::stdio;
use weir_load::{
    slo::Unit,
    units::{milliseconds, percent, rounded},
};

use super::{Comparison, Grade, JudgedChange, figures::FigureUnit};
use crate::text::{plain_table, wrapped};

/// Bytes in a megabyte.
const MB: f64 = 1e6;

/// A value with its unit.
pub(super) fn value(unit: FigureUnit, value: f64) -> String {
    match unit {
        FigureUnit::Metric(Unit::Milliseconds) => milliseconds(value),
        FigureUnit::Metric(Unit::Share) => percent(value),
        FigureUnit::Metric(Unit::PerSecond) => {
            format!("{}/s", rounded((value * 10.0).round() / 10.0))
        }
        FigureUnit::Bytes => format!("{:.1} MB", value / MB),
        FigureUnit::Microseconds => format!("{value:.0} µs"),
    }
}

/// A relative change in percent, with its sign.
#[must_use]
pub(crate) fn signed(change: f64) -> String {
    format!("{:+.1} %", change * 100.0)
}

/// One line a figure: every figure of the whole run, and of the others those that changed.
#[must_use]
pub fn change_table(comparison: &Comparison) -> Table {
    let mut table = plain_table(&[
        "figure",
        "baseline",
        "now",
        "change",
        "95 % interval",
        "verdict",
    ]);
    for change in comparison.changes.iter().filter(|change| shown(change)) {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let verdict = if change.note.is_empty() {
            change.grade.text().to_owned()
        } else {
            format!("{} ({})", change.grade.text(), change.note)
        };
        table.add_row(vec![
            Cell::new(&change.figure),
            right(change.before.clone()),
            right(change.after.clone()),
            right(change.change.map_or_else(|| "–".to_owned(), signed)),
            right(interval(change)),
            Cell::new(verdict).fg(color(change.grade)),
        ]);
    }
    table
}

pub(super) fn interval(change: &JudgedChange) -> String {
    change.interval.map_or_else(
        || "–".to_owned(),
        |(low, high)| format!("{} … {}", signed(low), signed(high)),
    )
}

/// Figures of endpoints and processes are worth a line when something is to be said about them.
pub(crate) fn shown(change: &JudgedChange) -> bool {
    let of_whole = !change.figure.contains(": ") && !change.figure.contains(" of ");
    let of_response = of_whole && !change.figure.starts_with("service ");
    of_response || !matches!(change.grade, Grade::Within | Grade::Better | Grade::Noise)
}

/// What is said below the table.
#[must_use]
pub fn lines(comparison: &Comparison) -> String {
    let hidden = comparison
        .changes
        .iter()
        .filter(|change| !shown(change))
        .count();
    let mut lines = Vec::new();
    if hidden > 0 {
        let text = format!(
            "{hidden} more figures of service times, endpoints and processes: none is worse beyond the rules"
        );
        lines.push(wrapped(&text, "", "  "));
    }
    for text in &comparison.differences {
        lines.push(wrapped(text, "warning: ", "  "));
    }
    for text in &comparison.notes {
        lines.push(wrapped(text, "note: ", "  "));
    }
    lines.push(format!(
        "against {}: {}",
        comparison.against,
        comparison.result.text()
    ));
    lines.join("\n")
}

fn color(grade: Grade) -> Color {
    match grade {
        Grade::Within | Grade::Better => Color::Green,
        Grade::Noise | Grade::Flagged | Grade::Warning => Color::Yellow,
        Grade::Regression => Color::Red,
    }
}

/// Prints a comparison.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn print(comparison: &Comparison) -> std::io::Result<()> {
    stdio::line(change_table(comparison))?;
    stdio::line(lines(comparison))
}

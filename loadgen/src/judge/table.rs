//! Tables for the terminal, at most 100 columns wide.

use comfy_table::{Cell, CellAlignment, Color, Table};
use weir_load::{
    summary::{EndpointSummary, Validity, Verdict},
    units::milliseconds,
};

use super::{Row, Status};
use crate::text::{plain_table, shortened, wrapped};

/// Columns for the name and the path of an endpoint.
const NAME_WIDTH: usize = 40;
/// Columns that the path has however long the name is.
const PATH_AT_LEAST: usize = 14;

/// Why a measurement is not to be believed as it stands, a paragraph for each reason; none for a valid one.
#[must_use]
pub fn doubts(validity: &Validity) -> Vec<String> {
    if validity.verdict == Verdict::Valid {
        return Vec::new();
    }
    let reasons = validity.reasons.iter();
    reasons
        .map(|reason| wrapped(reason, "  ! ", "    "))
        .collect()
}

/// Metric, value, threshold, status.
#[must_use]
pub fn rows_table(rows: &[Row]) -> Table {
    let mut table = plain_table(&["metric", "value", "threshold", "status"]);
    for row in rows {
        table.add_row(vec![
            Cell::new(&row.metric),
            Cell::new(&row.value).set_alignment(CellAlignment::Right),
            Cell::new(&row.threshold).set_alignment(CellAlignment::Right),
            status_cell(row),
        ]);
    }
    table
}

/// The status of a row with its note.
#[must_use]
pub fn status_cell(row: &Row) -> Cell {
    let text = if row.note.is_empty() {
        row.status.text().to_owned()
    } else if row.status == Status::NotReachable {
        row.note.clone()
    } else {
        format!("{} ({})", row.status.text(), row.note)
    };
    Cell::new(text).fg(color(row.status))
}

/// One line an endpoint.
#[must_use]
pub fn endpoint_table(endpoints: &[EndpointSummary]) -> Table {
    let mut table = plain_table(&[
        "endpoint", "requests", "ok", "429", "errors", "p50", "p95", "p99",
    ]);
    for endpoint in endpoints {
        let width = NAME_WIDTH.saturating_sub(endpoint.name.chars().count());
        let path = shortened(&endpoint.path, width.max(PATH_AT_LEAST));
        let mut cells = vec![Cell::new(format!(
            "{} ({} {path})",
            endpoint.name, endpoint.method
        ))];
        let numbers = [
            endpoint.requests,
            endpoint.ok,
            endpoint.limited,
            endpoint.errors,
        ]
        .map(|count| count.to_string());
        let latency = &endpoint.response;
        let times = [latency.p50_ms, latency.p95_ms, latency.p99_ms].map(milliseconds);
        for text in numbers.into_iter().chain(times) {
            cells.push(Cell::new(text).set_alignment(CellAlignment::Right));
        }
        table.add_row(cells);
    }
    table
}

fn color(status: Status) -> Color {
    match status {
        Status::Pass => Color::Green,
        Status::Fail => Color::Red,
        Status::NotReachable | Status::NotMeasured => Color::Yellow,
    }
}

//! Tables for the terminal, at most 100 columns wide.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::{Row, Status, milliseconds};
use crate::summary::{EndpointSummary, Validity, Verdict};

/// Widest table in columns.
const WIDTH: u16 = 100;
/// Columns for the name and the path of an endpoint.
const NAME_WIDTH: usize = 40;
/// Columns that the path has however long the name is.
const PATH_AT_LEAST: usize = 14;

/// A table in the one style of all tables.
#[must_use]
pub fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(
            header
                .iter()
                .map(|text| Cell::new(text).add_attribute(Attribute::Bold)),
        );
    table
}

/// The cells of a row whose first column is a name and whose others are numbers.
pub fn name_and_numbers(texts: impl IntoIterator<Item = String>) -> Vec<Cell> {
    let cells = texts.into_iter().enumerate().map(|(at, text)| {
        let cell = Cell::new(text);
        if at == 0 {
            cell
        } else {
            cell.set_alignment(CellAlignment::Right)
        }
    });
    cells.collect()
}

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

/// A text of at most `width` characters: the middle of a longer one is left out, since paths differ
/// at their ends.
#[must_use]
pub fn shortened(text: &str, width: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 3;
    let tail = characters.len() - (kept - head);
    let ends = [&characters[..head], &['…'], &characters[tail..]];
    ends.into_iter().flatten().collect()
}

/// Text broken before the edge of a terminal; the first line begins with `first`, others with `rest`.
#[must_use]
pub fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > usize::from(WIDTH) - 2 {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    lines.push(line);
    lines.join("\n")
}

fn color(status: Status) -> Color {
    match status {
        Status::Pass => Color::Green,
        Status::Fail => Color::Red,
        Status::NotReachable | Status::NotMeasured => Color::Yellow,
    }
}

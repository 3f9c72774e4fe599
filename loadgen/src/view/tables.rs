//! The tables of the live screen.

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    widgets::{Block, Cell, Row, Table},
};
use weir_load::units::{milliseconds, percent};

use super::{ink::Ink, state::State};

/// Most lines of a table.
const MOST_LINES: usize = 10;

/// Lines that the longest table needs.
pub(super) fn lines(state: &State) -> usize {
    [
        state.endpoints.len(),
        state.failures.len(),
        state.processes.len(),
    ]
    .into_iter()
    .max()
    .unwrap_or(0)
    .clamp(3, MOST_LINES)
}

pub(super) fn endpoints(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let rows = state.endpoints.iter().take(MOST_LINES).map(|line| {
        let errors = match (line.errors, line.limited) {
            (0, 0) => Cell::new("0"),
            (0, limited) => Cell::new(format!("429 {limited}")).style(ink.warn()),
            (errors, _) => Cell::new(errors.to_string()).style(ink.bad()),
        };
        let time = |value: f64| match line.per_s {
            0 => "–".to_owned(),
            _ => milliseconds(value),
        };
        Row::new([
            Cell::new(line.name.clone()),
            Cell::new(line.per_s.to_string()),
            errors,
            Cell::new(time(line.p50_ms)),
            Cell::new(time(line.p99_ms)),
        ])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
    ];
    let header = ["endpoint", "/s", "errors", "p50", "p99"];
    table(frame, area, rows.collect(), &widths, &header, ink);
}

pub(super) fn failures(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let all = state.requests.max(1) as f64;
    let rows = state
        .failures()
        .into_iter()
        .take(MOST_LINES)
        .map(|(kind, count)| {
            Row::new([
                kind.to_owned(),
                count.to_string(),
                percent(count as f64 / all),
            ])
        });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(8),
    ];
    table(
        frame,
        area,
        rows.collect(),
        &widths,
        &["failure", "count", "share"],
        ink,
    );
}

pub(super) fn processes(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let rows = state.processes.iter().take(MOST_LINES).map(|usage| {
        let cpu = usage
            .cpu_percent
            .map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.0} %"));
        let rss = usage.rss.map_or_else(
            || "gone".to_owned(),
            |rss| format!("{:.1} MB", rss as f64 / 1e6),
        );
        Row::new([usage.name.clone(), cpu, rss])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(9),
    ];
    table(
        frame,
        area,
        rows.collect(),
        &widths,
        &["process", "CPU", "memory"],
        ink,
    );
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    rows: Vec<Row<'_>>,
    widths: &[Constraint],
    header: &[&'static str],
    ink: Ink,
) {
    let table = Table::new(rows, widths)
        .header(Row::new(header.to_vec()).style(ink.soft()))
        .block(Block::bordered());
    frame.render_widget(table, area);
}

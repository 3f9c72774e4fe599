//! The charts of the live screen: a line over the seconds of the run.

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    style::Style,
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Block, Chart, Dataset, GraphType},
};
use weir_load::units::milliseconds;

use super::{
    ink::Ink,
    state::{Second, State},
};

pub(super) fn throughput(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let ok: Vec<_> = state
        .seconds
        .iter()
        .map(|second| (second.t_s, second.ok))
        .collect();
    let intended: Vec<_> = state
        .seconds
        .iter()
        .filter_map(|second| Some((second.t_s, second.intended?)))
        .collect();
    let mut lines = Vec::new();
    if !intended.is_empty() {
        lines.push(("intended", ink.soft(), intended));
    }
    lines.push(("ok", ink.good(), ok));
    chart(frame, area, " requests/s ", state, &lines, |value| {
        format!("{value:.0}")
    });
}

pub(super) fn latency(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let line = |at: usize| -> Vec<(f64, f64)> {
        let value = |second: &Second| {
            let all = second.latency_ms?;
            Some((second.t_s, *all.get(at)?))
        };
        state.seconds.iter().filter_map(value).collect()
    };
    let lines = [
        ("p99", ink.third(), line(2)),
        ("p95", ink.second(), line(1)),
        ("p50", ink.first(), line(0)),
    ];
    chart(frame, area, " response time ", state, &lines, milliseconds);
}

/// A line of a chart: its name, how it looks, and its points.
type Curve<'a> = (&'a str, Style, Vec<(f64, f64)>);

fn chart(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    state: &State,
    lines: &[Curve<'_>],
    text: impl Fn(f64) -> String,
) {
    let mut heading = vec![Span::raw(title.to_owned())];
    for (name, style, _) in lines {
        heading.push(Span::styled(format!("{name} "), *style));
    }
    let block = Block::bordered().title(Line::from(heading));
    let values = lines.iter().flat_map(|(_, _, points)| points.iter());
    let top = values.map(|(_, y)| *y).fold(0.0, f64::max);
    let (Some(first), Some(last)) = (state.seconds.first(), state.seconds.last()) else {
        frame.render_widget(block, area);
        return;
    };
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let from = first.t_s;
    let to = last.t_s.max(from + 10.0);
    let sets = lines.iter().map(|(_, style, points)| {
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(*style)
            .data(points)
    });
    let x = Axis::default()
        .bounds([from, to])
        .labels([clock(from), clock(to)]);
    let y = Axis::default()
        .bounds([0.0, top])
        .labels([text(0.0), text(top / 2.0), text(top)])
        .labels_alignment(Alignment::Right);
    let chart = Chart::new(sets.collect())
        .block(block)
        .x_axis(x)
        .y_axis(y)
        .legend_position(None);
    frame.render_widget(chart, area);
}

/// Seconds as people read them: `-3 s`, `59 s`, `2:05`, `1:02:03`.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds.round() as i64;
    if whole < 60 {
        return format!("{whole} s");
    }
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        let all = [-3.0, 59.0, 125.0, 3723.0].map(clock);
        assert_eq!(all, ["-3 s", "59 s", "2:05", "1:02:03"]);
    }
}

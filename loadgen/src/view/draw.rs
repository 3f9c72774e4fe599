//! The live screen as a picture of the [`State`]: charts, tables, and one line of keys.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Block, Cell, Chart, Dataset, GraphType, LineGauge, Paragraph, Row, Table},
};

use super::state::{State, ms};
use crate::{
    judge::{milliseconds, percent},
    run::Phase,
};

/// Below this width charts and tables stand on top of each other, and some are left out.
const WIDE: u16 = 96;
/// Below this height there are only key figures.
const TALL: u16 = 18;
/// Most lines of a table.
const MOST_LINES: usize = 10;

/// Colours, or none of them when the environment says `NO_COLOR`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    colors: bool,
}

impl Ink {
    /// What the environment asks for (<https://no-color.org>).
    pub(super) fn of_environment() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colors: !refused }
    }

    fn of(self, color: Color) -> Style {
        if self.colors {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    fn soft(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn good(self) -> Style {
        self.of(Color::Green)
    }

    fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn warn(self) -> Style {
        self.of(Color::Yellow)
    }

    fn first(self) -> Style {
        self.of(Color::Cyan)
    }

    fn second(self) -> Style {
        self.of(Color::Yellow)
    }

    fn third(self) -> Style {
        self.of(Color::Magenta)
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Instant, ink: &Ink) {
    let area = frame.area();
    let tables = (table_lines(state) + 3) as u16;
    let wide = area.width >= WIDE;
    if area.height < TALL {
        let [head, figures, keys] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(area);
        header(frame, head, state, now, *ink);
        figures_lines(frame, figures, state, *ink);
        footer(frame, keys, state, *ink);
        return;
    }
    let [head, figures, charts, lists, keys] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(3),
        Constraint::Min(8),
        Constraint::Length(tables),
        Constraint::Length(1),
    ])
    .areas(area);
    header(frame, head, state, now, *ink);
    figures_lines(frame, figures, state, *ink);
    footer(frame, keys, state, *ink);
    if wide {
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
        throughput(frame, left, state, *ink);
        latency(frame, right, state, *ink);
        let [left, middle, right] = Layout::horizontal([
            Constraint::Fill(5),
            Constraint::Fill(3),
            Constraint::Fill(3),
        ])
        .areas(lists);
        endpoints(frame, left, state, *ink);
        failures(frame, middle, state, *ink);
        processes(frame, right, state, *ink);
    } else {
        let [upper, lower] = Layout::vertical([Constraint::Fill(1); 2]).areas(charts);
        throughput(frame, upper, state, *ink);
        latency(frame, lower, state, *ink);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(lists);
        endpoints(frame, left, state, *ink);
        if state.failures.is_empty() {
            processes(frame, right, state, *ink);
        } else {
            failures(frame, right, state, *ink);
        }
    }
}

/// Lines that the longest table needs.
fn table_lines(state: &State) -> usize {
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

fn header(frame: &mut Frame<'_>, area: Rect, state: &State, now: Instant, ink: Ink) {
    let [title, load, gauge] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    let about = &state.about;
    let name = Line::from(vec![
        Span::styled(
            format!(" {} ", about.scenario),
            Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
        ),
        Span::raw(format!(" → {}", about.subject)),
    ]);
    frame.render_widget(Paragraph::new(name), title);
    frame.render_widget(
        Paragraph::new(Line::styled(format!(" {}", about.load), ink.soft())),
        load,
    );
    let (label, ratio, style) = match state.elapsed(now) {
        None => (" starting".to_owned(), 0.0, ink.soft()),
        Some((phase, elapsed, planned)) => {
            let (word, style) = match phase {
                Phase::WarmUp => ("warm-up", ink.warn()),
                Phase::Measured => ("run", ink.good()),
            };
            let left = planned.saturating_sub(elapsed);
            let label = format!(
                " {word} {} of {}, {} left ",
                clock(elapsed.as_secs_f64()),
                clock(planned.as_secs_f64()),
                clock(left.as_secs_f64().ceil())
            );
            let ratio = elapsed.as_secs_f64() / planned.as_secs_f64().max(f64::EPSILON);
            (label, ratio.clamp(0.0, 1.0), style)
        }
    };
    let bar = LineGauge::default()
        .label(label)
        .ratio(ratio)
        .filled_symbol("━")
        .unfilled_symbol("─")
        .filled_style(style)
        .unfilled_style(ink.soft());
    frame.render_widget(bar, gauge);
}

fn figures_lines(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let Some((tick, _)) = &state.last else {
        let text = "the processes under test are being started, users log in, connections open";
        frame.render_widget(
            Paragraph::new(Line::styled(format!(" {text}"), ink.soft())),
            area,
        );
        return;
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let soft = |text: &str| Span::styled(text.to_owned(), ink.soft());
    let mut now = vec![
        soft(" now  "),
        Span::styled(format!("{} ok/s", tick.ok), bold),
    ];
    if state.about.open && tick.phase == Phase::Measured {
        now.push(Span::raw(format!(" of {} intended", tick.intended)));
    }
    let who = if state.about.open {
        "connections"
    } else {
        "users"
    };
    now.extend([
        soft("   in flight "),
        Span::raw(tick.in_flight.to_string()),
        soft(&format!("   {who} ")),
        Span::raw(tick.users.to_string()),
    ]);
    let mut times = vec![soft("     ")];
    for (name, value) in [
        ("p50", tick.p50),
        ("p95", tick.p95),
        ("p99", tick.p99),
        ("max", tick.max),
    ] {
        times.push(soft(&format!(" {name} ")));
        let text = match tick.ok {
            0 => "–".to_owned(),
            _ => milliseconds(ms(value)),
        };
        times.push(Span::styled(format!("{text}  "), bold));
    }
    if state.about.open {
        let lag = ms(tick.send_lag_p99);
        let style = if lag > 1.0 { ink.warn() } else { ink.soft() };
        let text = format!(" send lag p99 {}", milliseconds(lag));
        times.push(Span::styled(text, style));
    }
    let share = state.errors as f64 / state.requests.max(1) as f64;
    let mut all = vec![
        soft(" all  "),
        Span::raw(format!("{} requests   ", state.requests)),
        Span::styled(
            format!("{} errors ({})", state.errors, percent(share)),
            if state.errors > 0 {
                ink.bad()
            } else {
                ink.good()
            },
        ),
    ];
    if state.limited > 0 {
        let text = format!("   {} limited (429)", state.limited);
        all.push(Span::styled(text, ink.warn()));
    }
    let lines = [now, times, all].map(Line::from).to_vec();
    frame.render_widget(Paragraph::new(lines), area);
}

fn footer(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let line = if state.stopping {
        Line::styled(
            " stopping: waiting for answers on their way, then the report   again: end at once",
            ink.warn(),
        )
    } else {
        Line::styled(
            " q or Ctrl-C: stop and report what was measured",
            ink.soft(),
        )
    };
    frame.render_widget(Paragraph::new(line), area);
}

fn throughput(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
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

fn latency(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let line = |at: usize| -> Vec<(f64, f64)> {
        let value = |second: &super::state::Second| {
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

fn endpoints(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
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

fn failures(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
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

fn processes(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
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

/// Seconds as people read them: `-3 s`, `59 s`, `2:05`, `1:02:03`.
fn clock(seconds: f64) -> String {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{
        record::{Counts, FailureKind},
        run::{EndpointTick, Tick},
        sample::Usage,
        view::About,
    };

    fn tick(second: u64) -> Tick {
        let endpoint = |name: &str, requests| EndpointTick {
            name: name.into(),
            counts: Counts {
                requests,
                ok: requests,
                ..Counts::default()
            },
            p50: Duration::from_micros(11_200),
            p99: Duration::from_millis(48),
            ..EndpointTick::default()
        };
        Tick {
            phase: Phase::Measured,
            elapsed: Duration::from_secs(second),
            planned: Duration::from_secs(60),
            intended: 600,
            requests: 601,
            ok: 597 + second % 3,
            limited: 1,
            errors: 3,
            p50: Duration::from_micros(11_200),
            p95: Duration::from_millis(20 + second % 5),
            p99: Duration::from_millis(40 + second % 9),
            max: Duration::from_millis(63),
            in_flight: 7,
            users: 64,
            send_lag_p99: Duration::from_micros(310),
            endpoints: vec![
                endpoint("compliance-statistics", 540),
                endpoint("audit-log", 61),
            ],
            failures: vec![(FailureKind::Reset, 3), (FailureKind::LIMITED, 1)],
        }
    }

    fn state() -> State {
        let mut state = State::new(About {
            scenario: "rate".into(),
            subject: "two".into(),
            load: "600 requests/s for 1m after 5s of warm-up".into(),
            open: true,
        });
        for second in 1..=40 {
            state.take(&tick(second), Instant::now());
        }
        state.processes = vec![
            Usage {
                name: "weir".into(),
                cpu_percent: Some(41.4),
                rss: Some(24_300_000),
            },
            Usage {
                name: "replica-1".into(),
                cpu_percent: None,
                rss: None,
            },
        ];
        state
    }

    fn screen(width: u16, height: u16, state: &State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let now = state.last.as_ref().map_or_else(Instant::now, |(_, at)| *at);
        let ink = Ink { colors: true };
        terminal
            .draw(|frame| draw(frame, state, now, &ink))
            .unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_wide_screen_shows_everything() {
        let text = screen(120, 36, &state());
        for expected in [
            "rate",
            "→ two",
            "run 40 s of 1:00, 20 s left",
            "598 ok/s of 600 intended",
            "p50 11.2 ms",
            "max 63 ms",
            "in flight 7",
            "connections 64",
            "24040 requests",
            "120 errors (0.499 %)",
            "40 limited (429)",
            "send lag p99 0.31 ms",
            "requests/s intended ok",
            "response time p99 p95 p50",
            "compliance-statistics",
            "audit-log",
            "reset",
            "120",
            "status_429",
            "weir",
            "41 %",
            "24.3 MB",
            "gone",
            "q or Ctrl-C",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
        // Something is drawn in both charts.
        let dots = text
            .chars()
            .filter(|symbol| ('\u{2801}'..='\u{28ff}').contains(symbol));
        assert!(dots.count() > 60, "{text}");
    }

    #[test]
    fn every_size_can_be_drawn_and_a_small_one_has_the_key_figures() {
        for (width, height) in [(1, 1), (20, 5), (60, 12), (80, 24), (95, 18), (300, 90)] {
            let _ = screen(width, height, &state());
            let _ = screen(width, height, &State::new(About::default()));
        }
        let small = screen(80, 12, &state());
        assert!(
            small.contains("598 ok/s") && small.contains("20 s left"),
            "{small}"
        );
        let medium = screen(80, 30, &state());
        for expected in ["requests/s", "response time", "audit-log", "status_429"] {
            assert!(medium.contains(expected), "no {expected:?} in\n{medium}");
        }
    }

    #[test]
    fn a_run_that_is_stopping_says_so() {
        let mut state = state();
        state.stopping = true;
        assert!(screen(100, 30, &state).contains("stopping"));
        assert!(screen(100, 30, &State::new(About::default())).contains("starting"));
    }

    #[test]
    fn times_are_written_for_people() {
        let all = [-3.0, 59.0, 125.0, 3723.0].map(clock);
        assert_eq!(all, ["-3 s", "59 s", "2:05", "1:02:03"]);
    }
}

//! The live screen as a picture of the [`State`]: charts, tables, and one line of keys.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{LineGauge, Paragraph},
};
use weir_load::{
    progress::Phase,
    units::{milliseconds, percent},
};

use super::{
    charts::{self, clock},
    ink::Ink,
    state::{State, ms},
    tables,
};

/// Below this width charts and tables stand on top of each other, and some are left out.
const WIDE: u16 = 96;
/// Below this height there are only key figures.
const TALL: u16 = 18;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Instant, ink: &Ink) {
    let area = frame.area();
    let tables = (tables::lines(state) + 3) as u16;
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
        charts::throughput(frame, left, state, *ink);
        charts::latency(frame, right, state, *ink);
        let [left, middle, right] = Layout::horizontal([
            Constraint::Fill(5),
            Constraint::Fill(3),
            Constraint::Fill(3),
        ])
        .areas(lists);
        tables::endpoints(frame, left, state, *ink);
        tables::failures(frame, middle, state, *ink);
        tables::processes(frame, right, state, *ink);
    } else {
        let [upper, lower] = Layout::vertical([Constraint::Fill(1); 2]).areas(charts);
        charts::throughput(frame, upper, state, *ink);
        charts::latency(frame, lower, state, *ink);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(lists);
        tables::endpoints(frame, left, state, *ink);
        if state.failures.is_empty() {
            tables::processes(frame, right, state, *ink);
        } else {
            tables::failures(frame, right, state, *ink);
        }
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend};
    use weir_lab::sample::Usage;
    use weir_load::{
        progress::{EndpointTick, Tick},
        record::{Counts, FailureKind},
    };

    use super::*;
    use crate::view::About;

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
}

//! `weir ctl top`: what proxies are doing, second by second.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row, Sparkline, Table},
};
use serde_json::Value;
use weir_api::{admin::Moment, client::AdminClient, text::printable};

use super::nodes::{Fault, Nodes};
use crate::exit::EXIT_FAILED;
use crate::output::print;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Seconds in the little chart.
const SPAN: usize = 120;
/// Size of the picture that is printed without a terminal.
const PLAIN: (u16, u16) = (100, 26);

/// What is shown of one proxy.
struct View {
    name: String,
    seen: Result<Seen, String>,
}

struct Seen {
    moments: Vec<Moment>,
    revision: u64,
    upstreams: Value,
    limits: Value,
    overrides: usize,
}

/// Shows until `q`, Escape or Ctrl-C; once and as plain text without a terminal or with `once`.
pub(super) async fn top(nodes: &Nodes, once: bool) -> Result<ExitCode, Fault> {
    if once || !io::stdout().is_terminal() {
        let views = look(nodes).await;
        let text = plain(&views).map_err(|error| Fault::failed(error.to_string()))?;
        let lost = views.iter().any(|view| view.seen.is_err());
        return Ok(print(&text).code(if lost { EXIT_FAILED } else { 0 }));
    }
    let mut terminal =
        ratatui::try_init().map_err(|e| Fault::failed(format!("the terminal: {e}")))?;
    let done = watch(nodes, &mut terminal).await;
    // A terminal that is gone needs none of it.
    let _ = ratatui::try_restore();
    done.map(|()| ExitCode::SUCCESS)
        .map_err(|error| Fault::failed(format!("the terminal: {error}")))
}

async fn watch(nodes: &Nodes, terminal: &mut ratatui::DefaultTerminal) -> io::Result<()> {
    loop {
        let views = look(nodes).await;
        terminal.draw(|frame| draw(frame, &views))?;
        let until = tokio::time::Instant::now() + EVERY;
        while tokio::time::Instant::now() < until {
            if wants_to_leave()? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether one of the keys was pressed that end it; does not wait.
fn wants_to_leave() -> io::Result<bool> {
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()? {
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                KeyCode::Char('c') if interrupt => return Ok(true),
                _ => {}
            }
        }
    }
    Ok(false)
}

async fn look(nodes: &Nodes) -> Vec<View> {
    let mut views = Vec::new();
    for (name, node) in nodes.clients() {
        let seen = see(node).await.map_err(|error| error.to_string());
        views.push(View {
            name: name.clone(),
            seen,
        });
    }
    views
}

async fn see(node: &AdminClient) -> Result<Seen, weir_api::client::ClientError> {
    let history = node.history(SPAN).await?;
    Ok(Seen {
        moments: history.moments,
        revision: history.revision,
        upstreams: node.upstreams().await?,
        limits: node.limits().await?,
        overrides: node.list_overrides().await?.overrides.len(),
    })
}

/// One picture as plain text.
fn plain(views: &[View]) -> io::Result<String> {
    let (width, each) = PLAIN;
    let height = each.saturating_mul(u16::try_from(views.len()).unwrap_or(1));
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(io::Error::other)?;
    terminal
        .draw(|frame| draw(frame, views))
        .map_err(io::Error::other)?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width)) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn draw(frame: &mut Frame<'_>, views: &[View]) {
    let shares = vec![Constraint::Fill(1); views.len()];
    let areas = Layout::vertical(shares).split(frame.area());
    for (view, area) in views.iter().zip(areas.iter()) {
        match &view.seen {
            Ok(seen) => draw_node(frame, *area, &view.name, seen),
            Err(what) => {
                let block = Block::bordered().title(printable(&view.name));
                let text = Paragraph::new(printable(what)).red().block(block);
                frame.render_widget(text, *area);
            }
        }
    }
}

fn draw_node(frame: &mut Frame<'_>, area: Rect, name: &str, seen: &Seen) {
    let held = match seen.overrides {
        0 => String::new(),
        n => format!(", {n} override{}", if n == 1 { "" } else { "s" }),
    };
    let block = Block::bordered().title(format!(
        " weir {}, revision {}{held} ",
        printable(name),
        seen.revision
    ));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let servers = servers(&seen.upstreams);
    let limits = limits(&seen.limits);
    let rows =
        |n: usize| Constraint::Length(u16::try_from(n).unwrap_or(u16::MAX).saturating_add(2));
    let parts = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(4),
        rows(servers.len()),
        rows(limits.len()),
        Constraint::Fill(1),
    ])
    .split(inner);
    let part = |n: usize| parts.get(n).copied().unwrap_or_default();
    frame.render_widget(Paragraph::new(figures(seen.moments.last())), part(0));
    let rates: Vec<u64> = seen
        .moments
        .iter()
        .map(|m| m.requests_per_s as u64)
        .collect();
    let most = rates.iter().max().copied().unwrap_or_default();
    let chart = Sparkline::default()
        .block(Block::new().title(format!("requests/s, last {SPAN} s, highest {most}").dark_gray()))
        .style(Style::new().fg(Color::Green))
        .data(rates);
    frame.render_widget(chart, part(1));
    let widths = [
        Constraint::Length(12),
        Constraint::Min(21),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(11),
        Constraint::Length(9),
    ];
    let head = [
        "upstream",
        "server",
        "state",
        "in flight",
        "idle",
        "requests",
        "failures",
    ];
    let table = Table::new(servers, widths).header(Row::new(head).dark_gray());
    frame.render_widget(table, part(2));
    let widths = [
        Constraint::Length(16),
        Constraint::Length(5),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Min(10),
    ];
    let head = ["limit", "", "admitted", "delayed", "rejected", "keys"];
    let table = Table::new(limits, widths).header(Row::new(head).dark_gray());
    frame.render_widget(table, part(3));
}

fn figures(now: Option<&Moment>) -> Vec<Line<'static>> {
    let Some(now) = now else {
        return vec![Line::from("the first second is not over yet").dark_gray()];
    };
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.2}"));
    let bad = if now.server_errors_per_s > 0.0 {
        Color::Red
    } else {
        Color::Reset
    };
    vec![
        Line::from(vec![
            Span::raw(format!("{:>9.1} req/s", now.requests_per_s)).bold(),
            Span::raw(format!(
                "   p50 {} ms   p95 {} ms   p99 {} ms",
                ms(now.p50_ms),
                ms(now.p95_ms),
                ms(now.p99_ms)
            )),
        ]),
        Line::from(vec![
            Span::raw(format!("{:>9.1} ok/s", now.ok_per_s)),
            Span::raw(format!(
                "   429 {:.1}/s   4xx {:.1}/s",
                now.limited_per_s, now.client_errors_per_s
            )),
            Span::styled(
                format!("   5xx {:.1}/s", now.server_errors_per_s),
                Style::new().fg(bad),
            ),
        ]),
        Line::from(format!(
            "{:>9.0} in flight   {:.0} client and {:.0} upstream connections   CPU {:.0} %   {:.1} MiB",
            now.in_flight,
            now.client_connections,
            now.upstream_connections,
            now.cpu_percent,
            now.memory_bytes / f64::from(1 << 20)
        )),
    ]
}

fn servers(view: &Value) -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    for upstream in list(view, "upstreams") {
        for server in list(upstream, "servers") {
            let state = text(server, "state");
            let color = match state.as_str() {
                "up" => Color::Green,
                "failed" | "unhealthy" => Color::Red,
                _ => Color::Yellow,
            };
            let idle = server.pointer("/connections/idle").unwrap_or(&Value::Null);
            rows.push(Row::new([
                Cell::from(text(upstream, "name")),
                Cell::from(text(server, "address")),
                Cell::from(state).style(Style::new().fg(color)),
                Cell::from(text(server, "in_flight")),
                Cell::from(bare(idle)),
                Cell::from(text(server, "requests")),
                Cell::from(text(server, "failures")),
            ]));
        }
    }
    rows
}

fn limits(view: &Value) -> Vec<Row<'static>> {
    list(view, "limits")
        .iter()
        .map(|limit| {
            let count = |name: &str| text(limit.get("counts").unwrap_or(&Value::Null), name);
            let on = limit.get("enabled") == Some(&Value::Bool(true));
            Row::new([
                text(limit, "name"),
                if on { "on" } else { "off" }.to_owned(),
                count("admitted"),
                count("delayed"),
                count("rejected"),
                format!("{} of {}", count("keys"), count("max_keys")),
            ])
        })
        .collect()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    bare(value.get(name).unwrap_or(&Value::Null))
}

fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).into_owned(),
        Value::Null => String::new(),
        other => printable(&other.to_string()).into_owned(),
    }
}

//! Charts of the last minutes, drawn here so that the dashboard needs no library of its own.
//!
//! Colours are CSS variables of the page, so that one drawing serves light and dark.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use weir_api::admin::Moment;

/// Width and height in SVG units.
const SIZE: (u32, u32) = (560, 190);
/// Stand-ins for the page's variables; none may occur otherwise.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(1, 2, 4);
const INKS: [(RGBColor, &str); 5] = [
    (RGBColor(1, 3, 1), "var(--good)"),
    (RGBColor(1, 3, 2), "var(--warn)"),
    (RGBColor(1, 3, 3), "var(--bad)"),
    (RGBColor(1, 3, 4), "var(--ink1)"),
    (RGBColor(1, 3, 5), "var(--ink2)"),
];

/// A line of a chart: its name, its colour among [`INKS`], its values.
struct Line {
    name: &'static str,
    ink: usize,
    values: Vec<f64>,
}

/// What can be drawn.
pub(super) const NAMES: [&str; 4] = ["rate", "latency", "load", "process"];

/// A chart as SVG; none when there is no such chart.
pub(super) fn draw(name: &str, moments: &[Moment]) -> Option<Result<String, String>> {
    let line = |name, ink, value: fn(&Moment) -> f64| Line {
        name,
        ink,
        values: moments.iter().map(value).collect(),
    };
    let (title, lines) = match name {
        "rate" => (
            "requests a second",
            vec![
                line("answered", 0, |m| m.ok_per_s),
                line("limited (429)", 1, |m| m.limited_per_s),
                line("client errors", 4, |m| m.client_errors_per_s),
                line("server errors", 2, |m| m.server_errors_per_s),
            ],
        ),
        "latency" => (
            "latency, ms",
            vec![
                line("p50", 0, |m| m.p50_ms.unwrap_or_default()),
                line("p95", 3, |m| m.p95_ms.unwrap_or_default()),
                line("p99", 2, |m| m.p99_ms.unwrap_or_default()),
            ],
        ),
        "load" => (
            "in flight and connections",
            vec![
                line("requests in flight", 2, |m| m.in_flight),
                line("client connections", 3, |m| m.client_connections),
                line("upstream connections", 0, |m| m.upstream_connections),
            ],
        ),
        "process" => (
            "this process",
            vec![
                line("CPU, % of a core", 3, |m| m.cpu_percent),
                line("memory, MiB", 4, |m| m.memory_bytes / f64::from(1 << 20)),
            ],
        ),
        _ => return None,
    };
    Some(svg(title, &lines).map_err(|error| error.to_string()))
}

fn svg(title: &str, lines: &[Line]) -> Result<String, Box<dyn std::error::Error>> {
    let length = lines.first().map_or(0, |line| line.values.len()).max(60);
    let highest = lines
        .iter()
        .flat_map(|line| line.values.iter().copied())
        .fold(0.0, f64::max);
    let top = nice(highest);
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(10)
            .margin_right(12)
            .set_label_area_size(LabelAreaPosition::Left, 52)
            .set_label_area_size(LabelAreaPosition::Bottom, 24)
            .build_cartesian_2d(-(length as f64 - 1.0)..0.0, 0.0..top)?;
        let text = TextStyle::from(("sans-serif", 14)).color(&TEXT);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_labels(6)
            .y_labels(5)
            .x_label_formatter(&|at| seconds(*at))
            .y_label_formatter(&|value| number(*value))
            .x_label_style(text.pos(Pos::new(HPos::Center, VPos::Top)))
            .y_label_style(text.pos(Pos::new(HPos::Right, VPos::Center)))
            .draw()?;
        for line in lines {
            let ink = INKS.get(line.ink).map_or(TEXT, |ink| ink.0);
            let from = -(line.values.len() as f64 - 1.0);
            let points = line
                .values
                .iter()
                .enumerate()
                .map(|(n, value)| (from + n as f64, *value));
            chart.draw_series(LineSeries::new(points, ink.stroke_width(2)))?;
        }
        root.present()?;
    }
    for (stand_in, variable) in INKS
        .into_iter()
        .chain([(TEXT, "var(--dim)"), (GRID, "var(--line)")])
    {
        let RGBColor(r, g, b) = stand_in;
        out = out.replace(&format!("#{r:02X}{g:02X}{b:02X}"), variable);
    }
    let head = format!(
        "<svg role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {} {}\" ",
        SIZE.0, SIZE.1
    );
    let (_, rest) = out.split_once('>').unwrap_or(("", &out));
    let legend: String = lines
        .iter()
        .map(|line| {
            let ink = INKS.get(line.ink).map_or("var(--dim)", |ink| ink.1);
            format!(
                "<span><i data-ink=\"{}\"></i>{}</span>",
                ink.trim_start_matches("var(--").trim_end_matches(')'),
                line.name
            )
        })
        .collect();
    Ok(format!(
        "<figcaption><b>{title}</b>{legend}</figcaption>{head}xmlns=\"http://www.w3.org/2000/svg\">{rest}"
    ))
}

/// The next round number above: 1, 2 or 5 times a power of ten.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * power >= value * 1.02);
    step.unwrap_or(20.0) * power
}

fn seconds(at: f64) -> String {
    if at > -0.5 {
        return "now".to_owned();
    }
    let ago = -at;
    if ago >= 60.0 && ago % 60.0 < 0.5 {
        format!("−{:.0} min", ago / 60.0)
    } else {
        format!("−{ago:.0} s")
    }
}

fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}k", value / 1000.0)
    } else if value >= 10.0 || value == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_is_drawn_in_the_colours_of_the_page() {
        for name in NAMES {
            for moments in [Vec::new(), vec![Moment::default(); 300]] {
                let svg = draw(name, &moments).unwrap().unwrap();
                assert!(svg.contains("<svg") && svg.contains("var(--dim)"), "{svg}");
                assert!(!svg.contains("#0102") && !svg.contains("#0103"), "{svg}");
            }
        }
        assert!(draw("colour", &[]).is_none());
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in [
            (0.0, 1.0),
            (0.7, 1.0),
            (1.0, 2.0),
            (40.0, 50.0),
            (99.5, 200.0),
            (1234.0, 2000.0),
        ] {
            assert!((nice(value) - top).abs() < 1e-9, "{value}: {}", nice(value));
        }
    }
}

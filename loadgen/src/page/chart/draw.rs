//! Drawing a plot as SVG, and the numbers the page needs to show values under the pointer.

use std::fmt::Write as _;

use plotters::{
    coord::cartesian::Cartesian2d,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use serde::Serialize;

use super::{Ink, Plot, Point, Series, Shape, Size, scale::Scale};

/// Token of axis text in the SVG.
const TEXT: RGBColor = RGBColor(0x47, 0x55, 0x69);
/// Token of grid lines in the SVG.
const GRID: RGBColor = RGBColor(0xE2, 0xE8, 0xF0);
/// Space left of the plot for tick texts, in SVG units.
const LEFT: i32 = 58;
/// Space below the plot for tick texts, in SVG units.
const BELOW: i32 = 26;

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("chart `{id}` cannot be drawn: {reason}")]
pub struct ChartError {
    id: String,
    reason: String,
}

/// A drawing and where in it the data lies.
#[derive(Debug, Clone, Serialize)]
pub struct Drawn {
    /// The SVG element.
    pub svg: String,
    /// Left edge of the plotting area, SVG units.
    pub left: i32,
    /// Right edge.
    pub right: i32,
    /// Upper edge.
    pub top: i32,
    /// Lower edge.
    pub bottom: i32,
}

/// Font size that the backend turns into about 12 SVG units.
const TEXT_SIZE: i32 = 15;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// Draws a plot.
///
/// # Errors
///
/// When the backend refuses, which for an SVG in memory means a defect in the plot's numbers.
pub fn draw(plot: &Plot, size: Size) -> Result<Drawn, ChartError> {
    let mut svg = String::new();
    let area = draw_into(&mut svg, plot, size).map_err(|error| ChartError {
        id: plot.id.clone(),
        reason: error.to_string(),
    })?;
    let mut labelled = String::with_capacity(svg.len() + 128);
    let _ = write!(
        labelled,
        "<svg class=\"plot\" role=\"img\" aria-label=\"{}\" ",
        escape(&plot.title)
    );
    labelled.push_str(svg.trim_start().strip_prefix("<svg ").unwrap_or(&svg));
    Ok(Drawn {
        svg: labelled,
        left: area.0,
        right: area.1,
        top: area.2,
        bottom: area.3,
    })
}

type BackendError = Box<dyn std::error::Error>;

fn draw_into(
    svg: &mut String,
    plot: &Plot,
    size: Size,
) -> Result<(i32, i32, i32, i32), BackendError> {
    let root = SVGBackend::with_string(svg, size.pixels()).into_drawing_area();
    let (x_wanted, y_wanted) = if size == Size::Wide { (8, 5) } else { (4, 5) };
    let (x_ticks, y_ticks) = (plot.x.ticks(x_wanted), plot.y.ticks(y_wanted));
    let mut chart = ChartBuilder::on(&root)
        .margin_top(10)
        .margin_right(18)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
        .build_cartesian_2d(
            Scale::new(plot.x.span(), &x_ticks),
            Scale::new(plot.y.span(), &y_ticks),
        )?;
    let text = TextStyle::from(("sans-serif", TEXT_SIZE)).color(&TEXT);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .set_all_tick_mark_size(3)
        .x_labels(x_ticks.len())
        .y_labels(y_ticks.len())
        .x_label_formatter(&|at| label(&x_ticks, *at))
        .y_label_formatter(&|at| label(&y_ticks, *at))
        .x_label_style(text.pos(Pos::new(HPos::Center, VPos::Top)))
        .y_label_style(text.pos(Pos::new(HPos::Right, VPos::Center)))
        .draw()?;
    let mut stack = Vec::new();
    let mut below: Option<&Series> = None;
    for series in &plot.series {
        if let (Shape::Strip, Some(below)) = (series.shape, below) {
            draw_strip(&mut chart, plot, series, below)?;
        }
        draw_series(&mut chart, plot, series, &mut stack)?;
        below = Some(series);
    }
    let (x_pixels, y_pixels) = chart.plotting_area().get_pixel_range();
    drop(chart);
    root.present()?;
    Ok((x_pixels.start, x_pixels.end, y_pixels.start, y_pixels.end))
}

fn draw_series(
    chart: &mut Chart<'_, '_>,
    plot: &Plot,
    series: &Series,
    stack: &mut Vec<(f64, f64)>,
) -> Result<(), BackendError> {
    let (red, green, blue) = series.ink.rgb();
    let color = RGBColor(red, green, blue);
    let floor = plot.y.span().0;
    match series.shape {
        Shape::Bars(width) => {
            for (x, y) in series.points.iter().filter_map(|(x, y)| y.map(|y| (*x, y))) {
                let below = stack
                    .iter()
                    .find(|(at, _)| *at == x)
                    .map_or(0.0, |(_, sum)| *sum);
                if y > 0.0 {
                    let corner = (plot.x.position(x), plot.y.position(below));
                    let opposite = (plot.x.position(x + width), plot.y.position(below + y));
                    chart.draw_series([Rectangle::new([corner, opposite], color.filled())])?;
                }
                stack.retain(|(at, _)| *at != x);
                stack.push((x, below + y));
            }
        }
        Shape::LogBars(ratio) => {
            for (x, y) in series.points.iter().filter_map(|(x, y)| y.map(|y| (*x, y))) {
                // A hairline of background between neighbours.
                let corner = (plot.x.position(x * ratio.powf(0.06)), floor);
                let opposite = (plot.x.position(x * ratio.powf(0.94)), plot.y.position(y));
                chart.draw_series([Rectangle::new([corner, opposite], color.filled())])?;
            }
        }
        Shape::Line | Shape::Filled | Shape::Strip | Shape::Dashed => {
            for run in runs(&series.points) {
                let line: Vec<_> = run
                    .iter()
                    .map(|(x, y)| (plot.x.position(*x), plot.y.position(*y)))
                    .collect();
                if series.shape == Shape::Filled
                    && let (Some(first), Some(last)) = (line.first(), line.last())
                {
                    let mut outline = line.clone();
                    outline.push((last.0, floor));
                    outline.push((first.0, floor));
                    chart.draw_series([Polygon::new(outline, color.mix(0.14))])?;
                }
                if series.shape == Shape::Dashed {
                    let style = color.stroke_width(2);
                    chart.draw_series(DashedLineSeries::new(line, 6, 5, style))?;
                } else if line.len() == 1 {
                    chart.draw_series(
                        line.into_iter()
                            .map(|at| Circle::new(at, 3, color.filled())),
                    )?;
                } else {
                    chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?;
                }
            }
        }
    }
    Ok(())
}

/// Tints the area between a series and the one below it, where both have a value.
fn draw_strip(
    chart: &mut Chart<'_, '_>,
    plot: &Plot,
    upper: &Series,
    lower: &Series,
) -> Result<(), BackendError> {
    let (red, green, blue) = upper.ink.rgb();
    let color = RGBColor(red, green, blue);
    for outline in strips(&upper.points, &lower.points) {
        let outline: Vec<_> = outline
            .into_iter()
            .map(|(x, y)| (plot.x.position(x), plot.y.position(y)))
            .collect();
        chart.draw_series([Polygon::new(outline, color.mix(0.22))])?;
    }
    Ok(())
}

/// Outlines of the areas between two series with the same x: along the upper, back along the lower.
fn strips(upper: &[Point], lower: &[Point]) -> Vec<Vec<(f64, f64)>> {
    let both: Vec<_> = upper
        .iter()
        .zip(lower)
        .map(|((x, above), (_, below))| above.zip(*below).map(|(above, below)| (*x, above, below)))
        .collect();
    both.split(Option::is_none)
        .map(|run| run.iter().flatten())
        .filter(|run| run.clone().count() > 1)
        .map(|run| {
            let there = run.clone().map(|(x, above, _)| (*x, *above));
            let back = run.rev().map(|(x, _, below)| (*x, *below));
            there.chain(back).collect()
        })
        .collect()
}

/// Splits a series at its gaps.
fn runs(points: &[Point]) -> Vec<Vec<(f64, f64)>> {
    points
        .split(|(_, y)| y.is_none())
        .map(|run| {
            run.iter()
                .filter_map(|(x, y)| y.map(|y| (*x, y)))
                .collect::<Vec<_>>()
        })
        .filter(|run| !run.is_empty())
        .collect()
}

fn label(ticks: &[(f64, String)], at: f64) -> String {
    ticks
        .iter()
        .find(|(position, _)| (position - at).abs() < 1e-9 * (1.0 + at.abs()))
        .map(|(_, text)| text.clone())
        .unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// Selectors of the style sheet, so that tokens and style cannot drift apart.
#[must_use]
pub(crate) fn token_css() -> String {
    let inks = [
        Ink::First,
        Ink::Second,
        Ink::Third,
        Ink::Fourth,
        Ink::Fifth,
        Ink::Bad,
        Ink::Warn,
        Ink::Muted,
    ];
    let mut css = String::new();
    let mut rule = |rgb: (u8, u8, u8), variable: &str| {
        let hex = format!("#{:02X}{:02X}{:02X}", rgb.0, rgb.1, rgb.2);
        let _ = writeln!(
            css,
            "svg.plot [stroke=\"{hex}\"]{{stroke:var(--{variable})}}"
        );
        let _ = writeln!(css, "svg.plot [fill=\"{hex}\"]{{fill:var(--{variable})}}");
    };
    for ink in inks {
        rule(ink.rgb(), ink.class());
    }
    rule((TEXT.0, TEXT.1, TEXT.2), "soft");
    rule((GRID.0, GRID.1, GRID.2), "line");
    css
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::Axis, *};

    fn plot(points: Vec<Point>) -> Plot {
        Plot {
            id: "p".into(),
            title: "Latency <over> time".into(),
            hint: String::new(),
            x: Axis::Linear {
                from: 0.0,
                to: 10.0,
                unit: "s",
            },
            y: Axis::from_zero(5.0, "ms"),
            series: vec![Series {
                name: "p50".into(),
                ink: Ink::First,
                shape: Shape::Filled,
                points,
            }],
        }
    }

    #[test]
    fn colours_are_tokens_of_the_style_sheet() {
        let drawn = draw(&plot(vec![(0.0, Some(1.0)), (5.0, Some(4.0))]), Size::Wide).unwrap();
        assert!(drawn.svg.contains("#2563EB"));
        assert!(token_css().contains("[stroke=\"#2563EB\"]{stroke:var(--ink1)}"));
        assert!(drawn.svg.contains("aria-label=\"Latency &lt;over>"));
        assert!(drawn.left < drawn.right && drawn.top < drawn.bottom);
    }

    #[test]
    fn a_strip_lies_between_two_series_and_not_over_gaps() {
        let upper = vec![
            (0.0, Some(3.0)),
            (1.0, Some(4.0)),
            (2.0, None),
            (3.0, Some(5.0)),
        ];
        let lower = vec![
            (0.0, Some(1.0)),
            (1.0, Some(2.0)),
            (2.0, Some(2.0)),
            (3.0, Some(2.0)),
        ];
        let outline = vec![(0.0, 3.0), (1.0, 4.0), (1.0, 2.0), (0.0, 1.0)];
        assert_eq!(strips(&upper, &lower), [outline]);
    }

    #[test]
    fn gaps_split_a_line_and_nothing_at_all_draws_an_empty_plot() {
        let points = vec![
            (0.0, Some(1.0)),
            (1.0, None),
            (2.0, Some(2.0)),
            (3.0, Some(2.5)),
        ];
        assert_eq!(runs(&points).len(), 2);
        assert!(draw(&plot(Vec::new()), Size::Narrow).is_ok());
    }
}

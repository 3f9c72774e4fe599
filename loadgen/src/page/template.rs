//! What all pages share: one file, no outside network, readable without scripts.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;
use weir_load::units::{milliseconds, percent, rounded};

use super::chart::{ChartError, Drawn, Plot, Size, draw};
use crate::{results::FolderError, text::shortened};

/// Characters of a path that stand beside the name of an endpoint; the whole is under the pointer.
const PATH_WIDTH: usize = 44;

/// A report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The template; a defect of this program, not of the run.
    #[error("report template: {0:#}")]
    Template(#[from] minijinja::Error),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A chart as the template sees it.
#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    id: String,
    title: String,
    hint: String,
    legend: Vec<LegendEntry>,
    wide: Drawn,
    narrow: Drawn,
    data: String,
}

#[derive(Debug, Serialize)]
struct LegendEntry {
    name: String,
    class: &'static str,
    dashed: bool,
}

/// Numbers for the value display under the pointer.
#[derive(Debug, Serialize)]
struct Hover {
    /// First and last position of the horizontal axis.
    span: (f64, f64),
    series: Vec<HoverSeries>,
}

#[derive(Debug, Serialize)]
struct HoverSeries {
    name: String,
    class: &'static str,
    unit: &'static str,
    /// Position, text of the horizontal value, vertical value.
    points: Vec<(f64, String, f64)>,
}

pub(super) fn charts(plots: &[Plot]) -> Result<Vec<Chart>, ChartError> {
    plots
        .iter()
        .map(|plot| {
            let legend = plot.series.iter().map(|series| LegendEntry {
                name: series.name.clone(),
                class: series.ink.class(),
                dashed: series.shape == super::chart::Shape::Dashed,
            });
            Ok(Chart {
                id: plot.id.clone(),
                title: plot.title.clone(),
                hint: plot.hint.clone(),
                legend: legend.collect(),
                wide: draw(plot, Size::Wide)?,
                narrow: draw(plot, Size::Narrow)?,
                // `<` must not end the script element that carries the data.
                data: serde_json::to_string(&hover(plot))
                    .unwrap_or_default()
                    .replace('<', "\\u003c"),
            })
        })
        .collect()
}

fn hover(plot: &Plot) -> Hover {
    let text = |x: f64| match plot.x.unit() {
        "%" => format!("{} %", rounded((x * 1e7).round() / 1e5)),
        unit => format!("{} {unit}", rounded(x)),
    };
    let series = plot.series.iter().map(|series| HoverSeries {
        name: series.name.clone(),
        class: series.ink.class(),
        unit: plot.y.unit(),
        points: series
            .points
            .iter()
            .filter_map(|(x, y)| y.map(|y| (plot.x.position(*x), text(*x), y)))
            .collect(),
    });
    Hover {
        span: plot.x.span(),
        series: series.collect(),
    }
}

pub(super) fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".html") {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    environment.add_template("base.html", include_str!("templates/base.html"))?;
    environment.add_template("parts.html", include_str!("templates/parts.html"))?;
    environment.add_template("report.html", include_str!("templates/report.html"))?;
    environment.add_template("sheet.html", include_str!("templates/sheet.html"))?;
    environment.add_template("comparison.html", include_str!("templates/comparison.html"))?;
    environment.add_template("document.html", include_str!("templates/document.html"))?;
    environment.add_template("style.css", include_str!("templates/style.css"))?;
    environment.add_template("script.js", include_str!("templates/script.js"))?;
    environment.add_filter("ms", milliseconds);
    environment.add_filter("percent", percent);
    environment.add_filter("count", thousands);
    environment.add_filter("bytes", bytes);
    environment.add_filter("decimals", |value: f64, places: usize| {
        format!("{value:.places$}")
    });
    environment.add_filter("signed", |value: f64| format!("{value:+.2}"));
    environment.add_filter("value", plain_value);
    environment.add_filter("shortened", |text: String| shortened(&text, PATH_WIDTH));
    Ok(environment)
}

/// A count with thin spaces between thousands.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("−{text}")
    } else {
        text
    }
}

fn bytes(value: f64) -> String {
    let units = BTreeMap::from([(0, "B"), (1, "kB"), (2, "MB"), (3, "GB"), (4, "TB")]);
    let mut size = value.abs();
    let mut step = 0;
    while size >= 1000.0 && step < 4 {
        size /= 1000.0;
        step += 1;
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let unit = units.get(&step).copied().unwrap_or("B");
    let decimals = usize::from(step > 0 && size < 100.0);
    format!("{sign}{size:.decimals$} {unit}")
}

/// A JSON value without the quotes of a string.
fn plain_value(value: Value) -> String {
    match bool::try_from(value.clone()) {
        Ok(truth) => truth.to_string(),
        Err(_) if value.is_undefined() || value.is_none() => "–".to_owned(),
        Err(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(thousands(12.0), "12");
        assert_eq!(bytes(12_345_678.0), "12.3 MB");
        assert_eq!(bytes(-500.0), "−500 B");
    }
}

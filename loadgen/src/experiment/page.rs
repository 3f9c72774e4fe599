//! The result as one HTML page.

use minijinja::{AutoEscape, Environment, Value, context, value::Serde};
use serde::Serialize;

use super::{
    print,
    record::{Report, Row},
};
use crate::report::{
    PageError,
    chart::{Axis, Ink, Plot, Series, Shape},
    chart_fragments, style,
};

/// A row as the template sees it.
#[derive(Serialize)]
struct Shown<'a> {
    row: &'a Row,
    verdict: &'static str,
    class: &'static str,
    effect: String,
    interval: String,
    metric_current: String,
    metric_value: String,
    bound: Vec<(String, String)>,
    arms: Vec<ShownArm>,
    sizes: Vec<ShownSize>,
    charts: Vec<Value>,
}

#[derive(Serialize)]
struct ShownArm {
    value: String,
    verdict: &'static str,
    effect: String,
    p: String,
    pairs: usize,
}

#[derive(Serialize)]
struct ShownSize {
    size: String,
    figures: Vec<(String, String, String)>,
}

/// Makes the page.
///
/// # Errors
///
/// When a chart or the template cannot be rendered.
pub fn render(report: &Report) -> Result<String, PageError> {
    let rows = report
        .rows
        .iter()
        .map(shown)
        .collect::<Result<Vec<_>, _>>()?;
    let before = charts(&[noise_plot(report)])?;
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("tuning.html", include_str!("templates/tuning.html"))?;
    let context = context! {
        report => Value::from(Serde(report)),
        rows => Value::from(Serde(&rows)),
        before,
        style => style(),
        aa_deviation => print::percent(report.before.aa.deviation),
        aa_detectable => print::percent(report.before.aa.detectable),
        expected => print::percent(report.before.positive_control.expected),
        measured => print::percent(report.before.positive_control.measured),
    };
    Ok(environment.get_template("tuning.html")?.render(context)?)
}

fn shown(row: &Row) -> Result<Shown<'_>, PageError> {
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), print::number);
    let mut plots = pair_plots(row);
    plots.extend(series_plot(row));
    plots.extend(search_plot(row));
    Ok(Shown {
        row,
        verdict: row.verdict.text(),
        class: class(row),
        effect: row.effect.map_or_else(|| "–".to_owned(), print::percent),
        interval: row.interval.map_or_else(String::new, |(low, high)| {
            format!("{} to {}", print::percent(low), print::percent(high))
        }),
        metric_current: number(row.metric_current),
        metric_value: number(row.metric_value),
        bound: row
            .binding
            .measured
            .iter()
            .map(|(name, value)| (name.clone(), print::number(*value)))
            .collect(),
        arms: row
            .arms
            .iter()
            .map(|arm| ShownArm {
                value: arm.value.to_string(),
                verdict: arm.verdict.text(),
                effect: arm.effect.map_or_else(|| "–".to_owned(), print::percent),
                p: format!("{:.4}", arm.p_adjusted),
                pairs: arm.pairs.len(),
            })
            .collect(),
        sizes: row
            .sizes
            .iter()
            .map(|size| ShownSize {
                size: size.size.clone(),
                figures: size
                    .current
                    .iter()
                    .map(|(name, value)| {
                        let other = size.value.get(name).copied().unwrap_or(f64::NAN);
                        (name.clone(), print::number(*value), print::number(other))
                    })
                    .collect(),
            })
            .collect(),
        charts: charts(&plots)?,
    })
}

fn class(row: &Row) -> &'static str {
    use super::verdict::Verdict;
    match row.verdict {
        Verdict::Confirmed => "good",
        Verdict::Harmful => "bad",
        Verdict::NoEffect => "plain",
        Verdict::NotBound | Verdict::Invalid => "warn",
    }
}

fn charts(plots: &[Plot]) -> Result<Vec<Value>, PageError> {
    Ok(chart_fragments(plots)?
        .into_iter()
        .map(|(id, title, hint, legend, wide, narrow)| {
            context! { id, title, hint, legend => Value::from(Serde(&legend)),
                wide => Value::from_safe_string(wide), narrow => Value::from_safe_string(narrow) }
        })
        .collect())
}

fn linear(from: f64, to: f64, unit: &'static str) -> Axis {
    Axis::Linear {
        from,
        to: if to > from { to } else { from + 1.0 },
        unit,
    }
}

fn line(name: &str, ink: Ink, shape: Shape, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: name.to_owned(),
        ink,
        shape,
        points: points.into_iter().map(|(x, y)| (x, Some(y))).collect(),
    }
}

/// Every pair of every arm: relative change, its mean and its interval.
fn pair_plots(row: &Row) -> Vec<Plot> {
    let sign = row.direction.sign();
    row.arms
        .iter()
        .enumerate()
        .filter(|(_, arm)| !arm.pairs.is_empty())
        .map(|(index, arm)| {
            let values: Vec<_> = arm
                .pairs
                .iter()
                .enumerate()
                .map(|(n, pair)| {
                    let log = pair.improvement(row.direction, 1e-9).unwrap_or(0.0);
                    ((n + 1) as f64, (log * sign).exp_m1() * 100.0)
                })
                .collect();
            let last = values.len() as f64 + 0.5;
            let mut series = vec![line("pairs", Ink::First, Shape::Line, values)];
            let mut level = |name: &str, ink, share: Option<f64>| {
                if let Some(share) = share {
                    let at = share * 100.0;
                    series.push(line(name, ink, Shape::Dashed, vec![(0.5, at), (last, at)]));
                }
            };
            level("mean", Ink::Second, arm.effect);
            level("95 %, low", Ink::Muted, arm.interval.map(|i| i.0));
            level("95 %, high", Ink::Muted, arm.interval.map(|i| i.1));
            level("no change", Ink::Fifth, Some(0.0));
            let all = || series.iter().flat_map(|s| s.points.iter().filter_map(|(_, y)| *y));
            let (low, high) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
            let room = ((high - low) * 0.1).max(1.0);
            Plot {
                id: format!("{}-pairs-{index}", row.row),
                title: format!("{} {} → {}, pair by pair", row.row, row.current, arm.value),
                hint: format!("Change of {} in percent; {} is better.", row.metric, if sign > 0.0 { "higher" } else { "lower" }),
                x: linear(0.5, last, ""),
                y: linear(low - room, high + room, "%"),
                series,
            }
        })
        .collect()
}

/// How a typical trial went on, with the current value and with the other.
fn series_plot(row: &Row) -> Option<Plot> {
    let mut series = Vec::new();
    let sides = [
        (&row.series.current, row.current.to_string()),
        (&row.series.value, row.claim.recommended.last()?.to_string()),
    ];
    for (lines, value) in sides {
        for one in lines {
            let model = one.name.contains("model");
            let ink = Ink::ranked(series.len());
            let shape = if model { Shape::Dashed } else { Shape::Line };
            series.push(line(&format!("{} ({value})", one.name), ink, shape, one.points.clone()));
        }
    }
    let points = || series.iter().flat_map(|s| s.points.iter());
    let right = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let top = points().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    if series.is_empty() || right <= 0.0 {
        return None;
    }
    let counted = matches!(row.claim.binding, super::workload::Workload::Volleys { .. });
    Some(Plot {
        id: format!("{}-series", row.row),
        title: format!("{}: one trial with each value", row.row),
        hint: if counted { "By number of the volley." } else { "By time since the beginning of the trial." }.to_owned(),
        x: linear(0.0, right, if counted { "" } else { "s" }),
        y: Axis::from_zero(top, ""),
        series,
    })
}

/// What every value that was tried came to.
fn search_plot(row: &Row) -> Option<Plot> {
    let search = row.search.as_ref()?;
    let enough = row.claim.enough.as_ref()?;
    let mut points: Vec<_> = search.steps.iter().map(|step| (step.amount, step.measured)).collect();
    if let Some(at) = row.metric_current.filter(|_| enough.measure == row.metric) {
        points.push((row.current.amount, at));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let right = points.last()?.0;
    let top = points.iter().map(|(_, y)| *y).fold(enough.limit, f64::max);
    Some(Plot {
        id: format!("{}-search", row.row),
        title: format!("{}: which value is enough", row.row),
        hint: format!("{} at the values that were tried; enough is {enough}.", enough.measure),
        x: linear(points.first()?.0, right, ""),
        y: Axis::from_zero(top, ""),
        series: vec![
            line(&enough.measure, Ink::First, Shape::Line, points.clone()),
            line("enough", Ink::Muted, Shape::Dashed, vec![(points.first()?.0, enough.limit), (right, enough.limit)]),
        ],
    })
}

/// A/A and positive control, pair by pair.
fn noise_plot(report: &Report) -> Plot {
    let slower = |pairs: &[super::pairs::Pair]| -> Vec<(f64, f64)> {
        pairs
            .iter()
            .enumerate()
            .map(|(n, pair)| ((n + 1) as f64, (pair.b / pair.a - 1.0) * 100.0))
            .collect()
    };
    let before = &report.before;
    let series = vec![
        line("A/A: no difference", Ink::First, Shape::Line, slower(&before.aa.pairs)),
        line("positive control", Ink::Fourth, Shape::Line, slower(&before.positive_control.pairs)),
    ];
    let all = || series.iter().flat_map(|s| s.points.iter().filter_map(|(_, y)| *y));
    let (low, high) = (all().fold(-1.0, f64::min), all().fold(1.0, f64::max));
    let last = before.aa.pairs.len().max(before.positive_control.pairs.len()) as f64;
    Plot {
        id: "noise".into(),
        title: "What this machine can tell apart today".into(),
        hint: "Change of the median response time in percent, pair by pair.".into(),
        x: linear(0.5, last + 0.5, ""),
        y: linear(low * 1.1, high * 1.1, "%"),
        series,
    }
}

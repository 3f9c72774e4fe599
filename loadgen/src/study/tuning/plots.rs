//! The plots of the page.

use super::{
    record::{Report, Row},
    workload::Workload,
};
use crate::{
    page::chart::{Axis, Ink, Plot, Series, Shape},
    study::pairs::{Direction, Pair},
};

fn linear(from: f64, to: f64, unit: &'static str) -> Axis {
    Axis::Linear {
        from,
        to: if to > from { to } else { from + 1.0 },
        unit,
    }
}

pub(crate) fn line(name: &str, ink: Ink, shape: Shape, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: name.to_owned(),
        ink,
        shape,
        points: points.into_iter().map(|(x, y)| (x, Some(y))).collect(),
    }
}

/// Every pair of every arm: relative change, its mean and its interval.
pub(super) fn pair_plots(row: &Row) -> Vec<Plot> {
    row.arms
        .iter()
        .enumerate()
        .filter(|(_, arm)| !arm.pairs.is_empty())
        .map(|(index, arm)| {
            pair_plot(
                format!("{}-pairs-{index}", row.row),
                format!("{} {} → {}, pair by pair", row.row, row.current, arm.value),
                &row.metric,
                row.direction,
                &arm.pairs,
                arm.effect,
                arm.interval,
            )
        })
        .collect()
}

/// Pairs with the mean of their changes and its interval, both as shares.
pub(crate) fn pair_plot(
    id: String,
    title: String,
    metric: &str,
    direction: Direction,
    pairs: &[Pair],
    effect: Option<f64>,
    interval: Option<(f64, f64)>,
) -> Plot {
    let sign = direction.sign();
    let values: Vec<_> = pairs
        .iter()
        .enumerate()
        .map(|(n, pair)| {
            let log = pair.improvement(direction, 1e-9).unwrap_or(0.0);
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
    level("mean", Ink::Second, effect);
    level("95 %, low", Ink::Muted, interval.map(|i| i.0));
    level("95 %, high", Ink::Muted, interval.map(|i| i.1));
    level("no change", Ink::Fifth, Some(0.0));
    let all = || {
        series
            .iter()
            .flat_map(|s| s.points.iter().filter_map(|(_, y)| *y))
    };
    let (low, high) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
    let room = ((high - low) * 0.1).max(1.0);
    Plot {
        id,
        title,
        hint: format!(
            "Change of {metric} in percent; {} is better.",
            if sign > 0.0 { "higher" } else { "lower" }
        ),
        x: linear(0.5, last, ""),
        y: linear(low - room, high + room, "%"),
        series,
    }
}

/// How a typical trial went on, with the current value and with the other.
pub(super) fn series_plot(row: &Row) -> Option<Plot> {
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
            series.push(line(
                &format!("{} ({value})", one.name),
                ink,
                shape,
                one.points.clone(),
            ));
        }
    }
    let points = || series.iter().flat_map(|s| s.points.iter());
    let right = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let top = points().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    if series.is_empty() || right <= 0.0 {
        return None;
    }
    let counted = matches!(row.claim.binding, Workload::Volleys { .. });
    Some(Plot {
        id: format!("{}-series", row.row),
        title: format!("{}: one trial with each value", row.row),
        hint: if counted {
            "By number of the volley."
        } else {
            "By time since the beginning of the trial."
        }
        .to_owned(),
        x: linear(0.0, right, if counted { "" } else { "s" }),
        y: Axis::from_zero(top, ""),
        series,
    })
}

/// What every value that was tried came to.
pub(super) fn search_plot(row: &Row) -> Option<Plot> {
    let search = row.search.as_ref()?;
    let enough = row.claim.enough.as_ref()?;
    let mut points: Vec<_> = search
        .steps
        .iter()
        .map(|step| (step.amount, step.measured))
        .collect();
    if let Some(at) = row.metric_current.filter(|_| enough.measure == row.metric) {
        points.push((row.current.amount, at));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let right = points.last()?.0;
    let top = points.iter().map(|(_, y)| *y).fold(enough.limit, f64::max);
    Some(Plot {
        id: format!("{}-search", row.row),
        title: format!("{}: which value is enough", row.row),
        hint: format!(
            "{} at the values that were tried; enough is {enough}.",
            enough.measure
        ),
        x: linear(points.first()?.0, right, ""),
        y: Axis::from_zero(top, ""),
        series: vec![
            line(&enough.measure, Ink::First, Shape::Line, points.clone()),
            line(
                "enough",
                Ink::Muted,
                Shape::Dashed,
                vec![(points.first()?.0, enough.limit), (right, enough.limit)],
            ),
        ],
    })
}

/// A/A and positive control, pair by pair.
pub(super) fn noise_plot(report: &Report) -> Plot {
    let slower = |pairs: &[Pair]| -> Vec<(f64, f64)> {
        pairs
            .iter()
            .enumerate()
            .map(|(n, pair)| ((n + 1) as f64, (pair.b / pair.a - 1.0) * 100.0))
            .collect()
    };
    let before = &report.before;
    let series = vec![
        line(
            "A/A: no difference",
            Ink::First,
            Shape::Line,
            slower(&before.aa.pairs),
        ),
        line(
            "positive control",
            Ink::Fourth,
            Shape::Line,
            slower(&before.positive_control.pairs),
        ),
    ];
    let all = || {
        series
            .iter()
            .flat_map(|s| s.points.iter().filter_map(|(_, y)| *y))
    };
    let (low, high) = (all().fold(-1.0, f64::min), all().fold(1.0, f64::max));
    let last = before
        .aa
        .pairs
        .len()
        .max(before.positive_control.pairs.len()) as f64;
    Plot {
        id: "noise".into(),
        title: "What this machine can tell apart today".into(),
        hint: "Change of the median response time in percent, pair by pair.".into(),
        x: linear(0.5, last + 0.5, ""),
        y: linear(low * 1.1, high * 1.1, "%"),
        series,
    }
}

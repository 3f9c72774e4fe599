//! The result as one HTML page.

use super::{
    print,
    record::{Report, Row},
    verdict::Verdict,
};
use crate::report::{
    PageError, Provenance,
    chart::{Axis, Ink, Plot, Series, Shape},
    document::{Document, Part, Tone},
};

/// Makes the page.
///
/// # Errors
///
/// When a chart or the template cannot be rendered.
pub fn render(report: &Report) -> Result<String, PageError> {
    let provenance = Provenance::collect(report.at.clone());
    let title = format!("The tuning table, checked on {}", report.proxy.name());
    let mut document = Document::new(title, &provenance).lead(format!(
        "{} claims on {}, in {:.0} s of a budget of {:.0} s. The unit of evidence is an interleaved pair of trials on the same warm proxy; {:.0} % intervals, Holm's correction over all claims.",
        report.rows.len(),
        report.proxy_version,
        report.took_s,
        report.plan.budget.as_secs_f64(),
        (1.0 - report.plan.alpha) * 100.0,
    ));
    for verdict in [
        Verdict::Confirmed,
        Verdict::NoEffect,
        Verdict::Harmful,
        Verdict::NotBound,
        Verdict::Invalid,
    ] {
        let count = report
            .rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count();
        if count > 0 {
            document = document.badge(format!("{count} {verdict}"), tone(verdict));
        }
    }
    for row in &report.rows {
        for note in &row.notes {
            document = document.remark(format!("{}: {note}", row.row));
        }
    }
    document = document
        .part(verdicts(report))
        .part(before(report))
        .part(Part::Charts(vec![noise_plot(report)]));
    for row in &report.rows {
        document = document.part(story(row));
        let mut plots = pair_plots(row);
        plots.extend(series_plot(row));
        plots.extend(search_plot(row));
        if !plots.is_empty() {
            document = document.part(Part::Charts(plots));
        }
        document = document.part(figures(row));
        if !row.sizes.is_empty() {
            document = document.part(sizes(row));
        }
    }
    if !report.raise.is_empty() {
        document = document.part(raise(report));
    }
    if !report.documented_profile.is_empty() {
        document = document.part(Part::Text {
            title: "Under the documented profile".into(),
            paragraphs: report
                .documented_profile
                .iter()
                .map(|finding| format!("{}. {} {}", finding.title, finding.detail, finding.remedy))
                .collect(),
        });
    }
    document
        .part(Part::Text {
            title: "What this machine could not decide".into(),
            paragraphs: report.limits.clone(),
        })
        .render()
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Confirmed => Tone::Good,
        Verdict::Harmful => Tone::Bad,
        Verdict::NoEffect | Verdict::NotBound | Verdict::Invalid => Tone::Warn,
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

fn interval(interval: Option<(f64, f64)>) -> String {
    or_dash(
        interval.map(|(low, high)| format!("{} to {}", print::percent(low), print::percent(high))),
    )
}

fn headers(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn verdicts(report: &Report) -> Part {
    Part::Table {
        title: "Verdicts".into(),
        header: headers(&["setting", "current → tried", "verdict", "metric", "effect", "95 % interval", "pairs", "recommendation"]),
        rows: report
            .rows
            .iter()
            .map(|row| {
                vec![
                    row.row.clone(),
                    format!("{} → {}", row.current, row.value),
                    row.verdict.to_string(),
                    row.metric.clone(),
                    or_dash(row.effect.map(print::percent)),
                    interval(row.interval),
                    row.pairs.to_string(),
                    row.recommendation.text.clone(),
                ]
            })
            .collect(),
        note: "Confirmed: better by as much as was declared to matter, beyond chance. No effect: a difference that matters is ruled out. Harmful: worse. Not bound: the workload never reached the setting. Invalid: the measurement cannot decide.".into(),
    }
}

fn before(report: &Report) -> Part {
    let before = &report.before;
    let control = &before.positive_control;
    Part::Text {
        title: "Before any claim".into(),
        paragraphs: vec![
            format!(
                "The generator reaches {:.0} requests/s at a replica without a proxy.",
                before.ceiling_rps
            ),
            format!(
                "A/A, the same setting on both sides, {} pairs: a pair scatters by {:.1} %, the mean change is {} ({}). So many pairs can see effects from {:.1} % on.",
                before.aa.pairs.len(),
                before.aa.deviation * 100.0,
                or_dash(
                    before
                        .aa
                        .estimate
                        .map(|e| print::percent((-e.mean).exp_m1()))
                ),
                interval(
                    before
                        .aa
                        .estimate
                        .map(|e| ((-e.high).exp_m1(), (-e.low).exp_m1()))
                ),
                before.aa.detectable * 100.0,
            ),
            format!(
                "Positive control, {}: it should make responses slower by {}; measured {} ({}), {}.",
                control.injected,
                print::percent(control.expected),
                print::percent(control.measured),
                interval(control.interval),
                if control.found { "found" } else { "missed" },
            ),
        ],
    }
}

/// The claim, what happened and why that is the verdict.
fn story(row: &Row) -> Part {
    let mut paragraphs = vec![
        format!(
            "Claim: {} from {} to {} ({}). Judged by {}, which should be {:?}; a change below {:.0} % does not matter.",
            row.setting,
            row.current,
            row.claim.recommended.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
            row.claim.reason,
            row.metric,
            row.direction,
            row.claim.smallest_effect * 100.0
        )
        .replace("Higher", "higher")
        .replace("Lower", "lower"),
        format!("Verdict: {}: {}.", row.verdict, row.why),
        format!(
            "Binding: {} held in {} of {} trials with the current value.",
            row.binding.condition, row.binding.held, row.binding.trials
        ),
        format!("Recommendation: {}.", row.recommendation.text),
    ];
    if let Some(control) = &row.control {
        paragraphs.push(format!(
            "Control, where the setting cannot bind: difference {} (a difference of {} would matter), {} pairs: {:?}.",
            print::number(control.difference),
            print::number(control.bound),
            control.pairs,
            control.outcome
        ));
    }
    if let Some(noise) = &row.noise {
        paragraphs.push(format!(
            "Noise of this row: a pair scatters by {:.1} %; its pairs can see effects from {:.1} % on.",
            noise.deviation * 100.0,
            noise.detectable * 100.0
        ));
    }
    if let Some(positive) = &row.positive_control {
        paragraphs.push(format!(
            "Positive control, {}: {} should change by about {}; measured {} ({}), {}.",
            positive.injected,
            positive.metric,
            print::percent(positive.expected),
            print::percent(positive.measured),
            interval(positive.interval),
            if positive.found { "found" } else { "missed" }
        ));
    }
    for arm in &row.arms {
        paragraphs.push(format!(
            "{} → {}: {}, {} ({}), {} pairs, p = {:.4} after correction.",
            row.current,
            arm.value,
            arm.verdict,
            or_dash(arm.effect.map(print::percent)),
            interval(arm.interval),
            arm.pairs.len(),
            arm.p_adjusted
        ));
    }
    if row.time_factor != 1.0 {
        paragraphs.push(format!(
            "The trials were shortened: times of the setting × {}.",
            row.time_factor
        ));
    }
    Part::Text {
        title: row.row.clone(),
        paragraphs,
    }
}

/// Means of everything that was measured.
fn figures(row: &Row) -> Part {
    let mut header = vec!["figure".to_owned(), row.current.to_string()];
    header.extend(row.arms.iter().map(|arm| arm.value.to_string()));
    let measured = row
        .arms
        .first()
        .map_or(&row.binding.measured, |arm| &arm.means[0]);
    Part::Table {
        title: format!("{}: means of the trials", row.row),
        header,
        rows: measured
            .iter()
            .map(|(name, value)| {
                let mut cells = vec![name.clone(), print::number(*value)];
                cells.extend(
                    row.arms
                        .iter()
                        .map(|arm| or_dash(arm.means[1].get(name).map(|v| print::number(*v)))),
                );
                cells
            })
            .collect(),
        note: String::new(),
    }
}

fn sizes(row: &Row) -> Part {
    let names: Vec<_> = row
        .sizes
        .first()
        .map(|size| size.current.keys().cloned().collect())
        .unwrap_or_default();
    let mut header = vec!["size".to_owned(), "value".to_owned()];
    header.extend(names.iter().cloned());
    let other = row
        .claim
        .recommended
        .last()
        .map_or_else(String::new, ToString::to_string);
    let cells = |size: &str, value: String, measures: &super::workload::Measures| {
        let mut cells = vec![size.to_owned(), value];
        cells.extend(
            names
                .iter()
                .map(|name| or_dash(measures.get(name).map(|v| print::number(*v)))),
        );
        cells
    };
    Part::Table {
        title: format!("{}: the workload at other sizes", row.row),
        header,
        rows: row
            .sizes
            .iter()
            .flat_map(|size| {
                [
                    cells(&size.size, row.current.to_string(), &size.current),
                    cells(&size.size, other.clone(), &size.value),
                ]
            })
            .collect(),
        note: "One trial each.".into(),
    }
}

fn raise(report: &Report) -> Part {
    Part::Table {
        title: "The temporary raise: 100 r/s, burst 200, no delay".into(),
        header: headers(&[
            "its holder",
            "was in force",
            "volley of 150 passes",
            "put back",
            "after",
            "volley passes then",
        ]),
        rows: report
            .raise
            .iter()
            .map(|case| {
                let count = |value: f64| {
                    if value.is_finite() {
                        format!("{value:.0}")
                    } else {
                        "–".to_owned()
                    }
                };
                vec![
                    case.ending.clone(),
                    if case.raised { "yes" } else { "no" }.to_owned(),
                    count(case.admitted_raised),
                    if case.restored { "yes" } else { "NO" }.to_owned(),
                    format!("{:.1} s", case.back_after_s),
                    count(case.admitted_after),
                ]
            })
            .collect(),
        note: format!(
            "With the documented limit 21 pass. A killed holder cannot put anything back: its override ends by itself, here {} s after the last renewal.",
            super::raise::SHORT_TTL.as_secs()
        ),
    }
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
            let all = || {
                series
                    .iter()
                    .flat_map(|s| s.points.iter().filter_map(|(_, y)| *y))
            };
            let (low, high) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
            let room = ((high - low) * 0.1).max(1.0);
            Plot {
                id: format!("{}-pairs-{index}", row.row),
                title: format!("{} {} → {}, pair by pair", row.row, row.current, arm.value),
                hint: format!(
                    "Change of {} in percent; {} is better.",
                    row.metric,
                    if sign > 0.0 { "higher" } else { "lower" }
                ),
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
    let counted = matches!(row.claim.binding, super::workload::Workload::Volleys { .. });
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
fn search_plot(row: &Row) -> Option<Plot> {
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

//! The result as one HTML page.

use weir_lab::provenance::Provenance;

use super::{
    plots::{noise_plot, pair_plots, search_plot, series_plot},
    print,
    record::{Report, Row},
    verdict::Verdict,
    workload::Measures,
};
use crate::page::{
    PageError,
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
    if !report.documented_rows.is_empty() {
        document = document.part(under_profile(report));
    }
    if !report.documented_profile.is_empty() {
        document = document.part(Part::Text {
            title: "What contradicts itself in the documented profile".into(),
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

pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

fn interval(interval: Option<(f64, f64)>) -> String {
    or_dash(interval.map(print::range))
}

/// `= 0.0312`, or that it is smaller than anybody cares about.
pub(crate) fn probability(p: f64) -> String {
    if p < 0.0001 {
        "< 0.0001".to_owned()
    } else {
        format!("= {p:.4}")
    }
}

pub(crate) fn headers(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn verdicts(report: &Report) -> Part {
    let cells = |row: &Row| {
        let metric = match (row.metric_current, row.metric_value) {
            (Some(a), Some(b)) => {
                format!("{} {} → {}", row.metric, print::number(a), print::number(b))
            }
            _ => row.metric.clone(),
        };
        vec![
            row.row.clone(),
            format!("{} → {}", row.current, row.value),
            row.verdict.to_string(),
            metric,
            or_dash(row.effect.map(print::percent)),
            interval(row.interval),
            row.pairs.to_string(),
            print::short(row),
        ]
    };
    Part::Table {
        title: "Verdicts".into(),
        header: headers(&[
            "setting",
            "tried",
            "verdict",
            "metric",
            "effect",
            "95 % interval",
            "pairs",
            "so",
        ]),
        rows: report.rows.iter().map(cells).collect(),
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
                "The generator's one thread reaches {:.0} requests/s without a proxy, according to {}. A row whose trials come closer to that than 80 % is invalid.",
                before.ceiling_rps, before.ceiling_from
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
        format!("Verdict: {}; {}.", row.verdict, row.why),
        format!(
            "Binding: {} held in {} of {} trials with the current value.",
            row.binding.condition, row.binding.held, row.binding.trials
        ),
        format!("Recommendation: {}.", row.recommendation.text),
    ];
    if let Some(control) = &row.control {
        paragraphs.push(format!(
            "Control, where the setting must make no difference that matters: difference {} (a difference of {} would matter), {} pairs: {}.",
            print::number(control.difference),
            print::number(control.bound),
            control.pairs,
            control.outcome.text()
        ));
    }
    paragraphs.extend(control_measured(row));
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
            "{} → {}: {}, {} ({}), {} pairs, p {} after correction.",
            row.current,
            arm.value,
            arm.verdict,
            or_dash(arm.effect.map(print::percent)),
            interval(arm.interval),
            arm.pairs.len(),
            probability(arm.p_adjusted)
        ));
    }
    if row.time_factor != 1.0 {
        paragraphs.push(format!(
            "The trials were shortened: times of the setting × {}.",
            row.time_factor
        ));
    }
    Part::Text {
        title: format!("{}: {}", row.row, row.verdict),
        paragraphs,
    }
}

/// What the control workload was, and its means.
fn control_measured(row: &Row) -> Option<String> {
    let [before, after] = row.control_measured.as_ref()?;
    let figures: Vec<_> = before
        .iter()
        .map(|(name, value)| {
            let with = or_dash(after.get(name).map(|value| print::number(*value)));
            format!("{name} {} → {with}", print::number(*value))
        })
        .collect();
    Some(format!(
        "The control is a workload `{}`; its means: {}.",
        row.claim.control.name(),
        figures.join(", ")
    ))
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
    let cells = |size: &str, value: String, measures: &Measures| {
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

fn under_profile(report: &Report) -> Part {
    let intro = "100 users with 0.5 to 2 s of think time from one address, five minutes; computed, not measured.";
    let rows = report.documented_rows.iter().map(|row| {
        let binds = if row.binds { "reached" } else { "not reached" };
        format!("{}: {binds}; {}.", row.row, row.why)
    });
    Part::Text {
        title: "Each row under the documented profile".into(),
        paragraphs: std::iter::once(intro.to_owned()).chain(rows).collect(),
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

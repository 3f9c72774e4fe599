//! The page of a search: every probe as a mark, what it missed, and the answer.

use weir_load::units::{milliseconds, percent, rounded};

use super::record::{Over, ProbeRecord, SearchRecord};
use crate::page::{
    Kind, Sheet, SheetTable,
    chart::{Axis, Ink, Plot, Point, Series, Shape},
};

/// The page of a search.
pub(crate) fn sheet(record: &SearchRecord) -> Sheet {
    let answer = &record.answer;
    let over = record.over;
    let level = answer
        .level
        .map_or_else(|| "none".to_owned(), |level| over.level(level));
    let state = match (answer.level, answer.confirmed) {
        (Some(_), true) => ("confirmed".to_owned(), Kind::Good),
        (Some(_), false) => ("not confirmed".to_owned(), Kind::Warn),
        (None, _) if answer.limit == "instrument" => ("not measurable".to_owned(), Kind::Bad),
        (None, _) => ("nothing holds".to_owned(), Kind::Bad),
    };
    let mut tiles = vec![(level, format!("highest {} that holds", over.text()))];
    if let Some((least, mean, most)) = answer.throughput_rps {
        tiles.push((
            format!("{}/s", rounded(mean.round())),
            format!("answered well there ({least:.0} to {most:.0})"),
        ));
    }
    if let Some(ceiling) = answer.ceiling {
        tiles.push((over.level(ceiling), "lowest level that does not".to_owned()));
    }
    tiles.push((
        record.probes.len().to_string(),
        format!("probes, {} of them invalid", answer.invalid_probes),
    ));
    Sheet {
        title: format!("Highest {} with {}", over.text(), record.objectives.join(", ")),
        description: format!(
            "{} against {}. Each mark is a run of {} s after {} s of warm-up on a target that stays up; the answer must hold again in {} fresh probes.",
            record
                .scenario
                .get("name")
                .and_then(|name| name.as_str())
                .unwrap_or_default(),
            record.targets.join(", "),
            rounded(record.procedure.probe_s),
            rounded(record.procedure.warmup_s),
            record.procedure.confirm,
        ),
        badges: vec![state, (format!("limit: {}", answer.limit), Kind::Plain)],
        tiles,
        plots: plots(record),
        tables: vec![table(record)],
        notes: vec![
            capital(&answer.explanation),
            "A probe that is invalid (the generator sent late, or ran near its own ceiling) is repeated and counts neither as held nor as missed.".to_owned(),
        ],
        provenance: record.provenance.clone(),
        data_file: super::FILE.to_owned(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect::<String>() + "."
    })
}

fn plots(record: &SearchRecord) -> Vec<Plot> {
    let values = record.probes.iter().map(|probe| probe.level);
    let x = Axis::log_around(values, record.over.unit());
    let latency = marks(record, |probe| probe.figures.p99_ms);
    let throughput = marks(record, |probe| probe.figures.throughput_rps);
    let all = |series: &[Series]| {
        let points = series.iter().flat_map(|series| series.points.clone());
        points.filter_map(|(_, y)| y).collect::<Vec<_>>()
    };
    let unit = match record.over {
        Over::Rate => "arrivals per second",
        Over::Users => "users",
        Over::Connections => "requests in flight",
    };
    let top = all(&throughput).into_iter().fold(0.0, f64::max);
    vec![
        Plot {
            id: "p99".into(),
            title: format!("p99 by {}", record.over.text()),
            hint: format!("Response time of successes against {unit}; each mark is a probe."),
            y: Axis::log_around(all(&latency).into_iter(), "ms"),
            x: x.clone(),
            series: latency,
        },
        Plot {
            id: "throughput".into(),
            title: format!("Throughput by {}", record.over.text()),
            hint: format!("Successes per second against {unit}."),
            y: Axis::from_zero(top, "/s"),
            x,
            series: throughput,
        },
    ]
}

/// Marks of the probes, one series a reading.
fn marks(record: &SearchRecord, value: impl Fn(&ProbeRecord) -> f64) -> Vec<Series> {
    let kinds = [
        ("holds", Ink::Second),
        ("misses", Ink::Bad),
        ("invalid", Ink::Muted),
    ];
    let series = |(reading, ink): (&str, Ink)| {
        let mut points: Vec<Point> = Vec::new();
        let mut probes: Vec<_> = record
            .probes
            .iter()
            .filter(|probe| probe.reading == reading && value(probe) > 0.0)
            .collect();
        probes.sort_by(|a, b| a.level.total_cmp(&b.level));
        for probe in probes {
            points.push((probe.level, Some(value(probe))));
            // A gap after each point: marks, not a line.
            points.push((probe.level, None));
        }
        Series {
            name: reading.to_owned(),
            ink,
            shape: Shape::Line,
            points,
        }
    };
    kinds
        .into_iter()
        .map(series)
        .filter(|series| !series.points.is_empty())
        .collect()
}

fn table(record: &SearchRecord) -> SheetTable {
    let header = [
        "probe",
        "level",
        "for",
        "throughput",
        "p50",
        "p99",
        "errors",
        "served",
        "samples",
        "reading",
    ];
    let row = |probe: &ProbeRecord| {
        let figures = &probe.figures;
        let why = probe.why.join("; ");
        let kind = match probe.reading.as_str() {
            "holds" => Kind::Good,
            "misses" => Kind::Bad,
            _ => Kind::Warn,
        };
        let reading = if why.is_empty() {
            probe.reading.clone()
        } else {
            format!("{}: {why}", probe.reading)
        };
        let plain = [
            probe.number.to_string(),
            record.over.level(probe.level),
            probe.purpose.clone(),
            format!("{:.1}/s", figures.throughput_rps),
            milliseconds(figures.p50_ms),
            milliseconds(figures.p99_ms),
            percent(figures.error_rate),
            percent(figures.served),
            figures.samples.to_string(),
        ];
        plain
            .into_iter()
            .map(|text| (text, Kind::Plain))
            .chain([(reading, kind)])
            .collect()
    };
    SheetTable {
        title: "Probes".to_owned(),
        note: format!(
            "Objectives: {}; and at least {} of the intended requests answered well.",
            record.objectives.join(", "),
            percent(record.procedure.least_served)
        ),
        header: header.map(str::to_owned).to_vec(),
        rows: record.probes.iter().map(row).collect(),
    }
}

//! The report of a sampling: tables, verdicts and plots in one file; each plot also as a file.

pub(crate) mod table;

use std::{fs, path::Path, time::Instant};

use weir_lab::sample::{
    Leak, SampleRecord, Track,
    figures::{Points, Sampled, cpu, points},
};

use crate::page::{
    PageError,
    chart::{Axis, Ink, Plot, Series, Shape, Size, draw},
    document::{Document, Part, Tone},
    sample::table::{growth_line, label, quantity, signed},
};

/// Bytes in a megabyte.
const MB: f64 = 1e6;
/// Most points of a line: a plot has fewer pixels.
const MOST_POINTS: usize = 2_000;

/// The plots of everything that was sampled.
pub(crate) fn plots(tracks: &[Track], from: Instant, length_s: f64) -> Vec<Plot> {
    let plot = |id: &str, title: &str, hint: &str, unit: &'static str, lines: Vec<Points>| {
        let series: Vec<_> = tracks
            .iter()
            .zip(lines)
            .enumerate()
            .filter(|(_, (_, points))| !points.is_empty())
            .map(|(index, (track, points))| Series {
                name: format!("{} {}", track.name, track.pid),
                ink: Ink::ranked(index),
                shape: Shape::Line,
                points: thinned(points),
            })
            .collect();
        let top = series
            .iter()
            .flat_map(|series| series.points.iter().filter_map(|(_, y)| *y))
            .fold(0.0, f64::max);
        (!series.is_empty()).then(|| Plot {
            id: id.into(),
            title: title.into(),
            hint: hint.into(),
            x: Axis::Linear {
                from: 0.0,
                to: length_s.max(0.1),
                unit: "s",
            },
            y: Axis::from_zero(top, unit),
            series,
        })
    };
    let all = |value: fn(&weir_lab::host::Reading) -> Option<f64>| -> Vec<Points> {
        tracks
            .iter()
            .map(|track| points(track, from, value))
            .collect()
    };
    let plots = [
        plot(
            "rss",
            "Resident memory",
            "Flat is good: growth under steady load is a leak until proven otherwise.",
            "MB",
            all(|r| Some(r.rss as f64 / MB)),
        ),
        plot(
            "cpu",
            "CPU",
            "Between each two readings; 100 % is one core.",
            "%",
            tracks.iter().map(|track| cpu(track, from)).collect(),
        ),
        plot(
            "pss",
            "Proportional set size",
            "Resident memory, shared pages divided among those who share them.",
            "MB",
            all(|r| r.pss.map(|pss| pss as f64 / MB)),
        ),
        plot(
            "vms",
            "Virtual memory",
            "Address space, used or not.",
            "MB",
            all(|r| Some(r.vms as f64 / MB)),
        ),
        plot(
            "threads",
            "Threads",
            "At each reading.",
            "",
            all(|r| Some(r.threads as f64)),
        ),
        plot(
            "fds",
            "File descriptors",
            "Open at each reading, sockets included.",
            "",
            all(|r| r.fds.map(|fds| fds as f64)),
        ),
        plot(
            "sockets",
            "Sockets",
            "Open at each reading.",
            "",
            all(|r| r.sockets.map(|sockets| sockets as f64)),
        ),
    ];
    plots.into_iter().flatten().collect()
}

fn thinned(points: Points) -> Vec<(f64, Option<f64>)> {
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    points
        .into_iter()
        .step_by(step)
        .map(|(x, y)| (x, Some(y)))
        .collect()
}

/// The report as one file.
pub(crate) fn render(record: &SampleRecord, plots: Vec<Plot>) -> Result<String, PageError> {
    let mut document = Document::new(
        format!("Processes: {}", record.selected.join(", ")),
        &record.provenance,
    )
    .lead(format!(
        "Read every {} s for {:.1} s; the first {} s are left out of growth and verdict. Growth that is allowed: {:.1} MB per hour.",
        record.every_s,
        record.length_s,
        record.warmup_s,
        record.limit_per_hour / MB
    ));
    for process in &record.processes {
        document = document.badge(
            format!(
                "{} {}: {}",
                process.name,
                process.pid,
                process.memory.leak.text()
            ),
            match process.memory.leak {
                Leak::Stable => Tone::Good,
                Leak::Leak => Tone::Bad,
                Leak::CannotTell => Tone::Warn,
            },
        );
    }
    document = document.part(Part::Charts(plots));
    for process in &record.processes {
        document = document.part(table(process));
    }
    if !record.notes.is_empty() {
        document = document.part(Part::Text {
            title: "Notes".into(),
            paragraphs: record.notes.clone(),
        });
    }
    document.render()
}

fn table(process: &Sampled) -> Part {
    let rows = process.figures.iter().map(|figure| {
        let growth = figure.growth_per_hour;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        vec![
            label(figure).to_owned(),
            quantity(figure, figure.initial),
            quantity(figure, figure.last),
            quantity(figure, figure.min),
            quantity(figure, figure.max),
            quantity(figure, figure.mean),
            or_dash(growth.map(|g| signed(figure, g.value / 60.0))),
            or_dash(growth.map(|g| signed(figure, g.value))),
            or_dash(
                growth.map(|g| format!("{} … {}", signed(figure, g.low), signed(figure, g.high))),
            ),
            or_dash(growth.map(|g| quantity(figure, g.detectable))),
        ]
    });
    let growth = growth_line(process).map_or_else(String::new, |line| format!(" {line}."));
    Part::Table {
        title: format!("{} (process {})", process.name, process.pid),
        header: [
            "",
            "initial",
            "final",
            "min",
            "max",
            "average",
            "growth/min",
            "growth/h",
            "95 % interval, per hour",
            "smallest detectable, per hour",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
        note: format!(
            "Memory {}: {}.{growth} {} readings; CPU {:.2} s user, {:.2} s system.{}",
            process.memory.leak.text(),
            process.memory.reason,
            process.readings,
            process.user_s,
            process.system_s,
            process
                .ended_s
                .map_or_else(String::new, |at| format!(" It ended after {at:.1} s."))
        ),
    }
}

/// Writes each plot as `<folder>/<id>.svg`.
pub(crate) fn write_svgs(folder: &Path, plots: &[Plot]) -> anyhow::Result<()> {
    for plot in plots {
        let drawn = draw(plot, Size::Wide)?;
        fs::write(folder.join(format!("{}.svg", plot.id)), drawn.svg)?;
    }
    Ok(())
}

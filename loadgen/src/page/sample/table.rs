//! What was sampled, for a terminal.

use std::io;

use comfy_table::{Cell, CellAlignment, Table};
use weir_lab::{
    host::Reading,
    sample::{Figure, SampleRecord, Track, figures::Sampled},
    stdio,
};

use crate::text::{plain_table, wrapped};

/// Bytes in a megabyte.
const MB: f64 = 1e6;
/// Minutes in an hour.
const MINUTES: f64 = 60.0;

/// One line on how a process is doing.
pub(crate) fn live_line(track: &Track, elapsed_s: f64) -> String {
    let Some((_, last)) = track.readings.last() else {
        return format!("{elapsed_s:7.1} s  {} {}: gone", track.name, track.pid);
    };
    if track.ended.is_some() {
        return format!("{elapsed_s:7.1} s  {} {}: ended", track.name, track.pid);
    }
    let count = |name: &str, value: Option<u64>| {
        value.map_or_else(String::new, |value| format!("  {value} {name}"))
    };
    format!(
        "{elapsed_s:7.1} s  {} {}: CPU {:5.1} %  RSS {:.1} MB  {} threads{}{}",
        track.name,
        track.pid,
        cpu_now(&track.readings),
        last.rss as f64 / MB,
        last.threads,
        count("descriptors", last.fds),
        count("sockets", last.sockets),
    )
}

fn cpu_now(readings: &[(std::time::Instant, Reading)]) -> f64 {
    match readings {
        [.., (earlier_at, earlier), (at, later)] => {
            let seconds = at.duration_since(*earlier_at).as_secs_f64();
            if seconds > 0.0 {
                (later.cpu_s() - earlier.cpu_s()) * 100.0 / seconds
            } else {
                0.0
            }
        }
        _ => 0.0,
    }
}

/// Prints every process with its verdict.
pub(crate) fn print(record: &SampleRecord) -> io::Result<()> {
    for process in &record.processes {
        stdio::line(heading(process))?;
        stdio::line(table(process))?;
        if let Some(growth) = growth_line(process) {
            stdio::line(wrapped(&growth, "  ", "  "))?;
        }
        let verdict = format!(
            "memory {}: {}",
            process.memory.leak.text(),
            process.memory.reason
        );
        stdio::line(wrapped(&verdict, "  ", "    ") + "\n")?;
    }
    for note in &record.notes {
        stdio::line(wrapped(note, "note: ", "  "))?;
    }
    Ok(())
}

fn heading(process: &Sampled) -> String {
    let end = process
        .ended_s
        .map_or_else(String::new, |at| format!(", ended after {at:.1} s"));
    let tcp = process.tcp.map_or_else(String::new, |tcp| {
        format!(
            "; TCP at the end: {} listening, {} established, {} in CLOSE_WAIT, {} other",
            tcp.listen, tcp.established, tcp.close_wait, tcp.other
        )
    });
    format!(
        "{} (process {}): {} readings over {:.1} s{end}; CPU {:.2} s user, {:.2} s system{tcp}",
        process.name,
        process.pid,
        process.readings,
        process.length_s,
        process.user_s,
        process.system_s
    )
}

fn table(process: &Sampled) -> Table {
    let mut table = plain_table(&[
        "",
        "initial",
        "final",
        "min",
        "max",
        "average",
        "growth/min",
        "growth/h",
    ]);
    for figure in &process.figures {
        let growth = figure.growth_per_hour;
        let signed = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| signed(figure, value))
        };
        let cells = [
            quantity(figure, figure.initial),
            quantity(figure, figure.last),
            quantity(figure, figure.min),
            quantity(figure, figure.max),
            quantity(figure, figure.mean),
            signed(growth.map(|growth| growth.value / MINUTES)),
            signed(growth.map(|growth| growth.value)),
        ];
        let cells = cells.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(label(figure))).chain(cells));
    }
    table
}

/// The interval and the smallest detectable growth of resident memory.
pub(crate) fn growth_line(process: &Sampled) -> Option<String> {
    let rss = process.figures.iter().find(|figure| figure.name == "rss")?;
    let growth = rss.growth_per_hour?;
    Some(format!(
        "RSS grows by {} per hour, 95 % interval {} to {}; the smallest growth that could have been seen is {} per hour",
        signed(rss, growth.value),
        signed(rss, growth.low),
        signed(rss, growth.high),
        quantity(rss, growth.detectable),
    ))
}

/// The name of a figure for people.
pub(crate) fn label(figure: &Figure) -> &'static str {
    match figure.name.as_str() {
        "cpu" => "CPU, % of a core",
        "rss" => "RSS",
        "pss" => "PSS",
        "vms" => "VMS",
        "threads" => "threads",
        "fds" => "descriptors",
        _ => "sockets",
    }
}

/// A value in the unit of its figure.
pub(crate) fn quantity(figure: &Figure, value: f64) -> String {
    match figure.unit.as_str() {
        "%" => format!("{value:.1}"),
        "bytes" => format!("{:.2} MB", value / MB),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// A change in the unit of its figure, with its sign.
pub(crate) fn signed(figure: &Figure, value: f64) -> String {
    let text = quantity(figure, value.abs());
    if value < 0.0 {
        format!("−{text}")
    } else {
        format!("+{text}")
    }
}

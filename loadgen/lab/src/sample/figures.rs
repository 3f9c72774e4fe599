//! From readings to figures: initial, final, smallest, largest, mean and growth of each quantity.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    GrowthEstimate, MemoryVerdict, Track, estimate_growth, estimate_growth_above, judge_growth,
    verdict::GrowthLimit,
};
use crate::{
    host::{Reading, TcpStates},
    provenance::Provenance,
};

/// Half of one descriptor or thread: the smallest spread of a count.
const LEAST_SPREAD_OF_COUNTS: f64 = 0.5;

/// What `sample.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Version of this shape.
    pub format: u32,
    /// Where and with what.
    pub provenance: Provenance,
    /// What was chosen, e.g. `pid:123`.
    pub selected: Vec<String>,
    /// Seconds between two readings, as intended.
    pub every_s: f64,
    /// Seconds at the start that growth and verdict leave out.
    pub warmup_s: f64,
    /// Seconds from the first reading to the last.
    pub length_s: f64,
    /// Growth that is allowed, bytes per hour.
    pub limit_per_hour: f64,
    /// One entry a process or container.
    pub processes: Vec<Sampled>,
    /// What a reader should know about the figures.
    pub notes: Vec<String>,
}

impl SampleRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

/// One process or container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sampled {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Readings.
    pub readings: usize,
    /// Seconds from the first reading to the last.
    pub length_s: f64,
    /// When it was found to have ended, seconds since sampling began.
    pub ended_s: Option<f64>,
    /// CPU seconds in user mode from the first reading to the last.
    pub user_s: f64,
    /// CPU seconds in the kernel.
    pub system_s: f64,
    /// TCP sockets by state at the last reading.
    pub tcp: Option<TcpStates>,
    /// One entry a quantity.
    pub figures: Vec<Figure>,
    /// Verdict on resident memory.
    pub memory: MemoryVerdict,
}

/// One quantity over time. CPU is percent of one core, memory bytes, everything else a count.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// `cpu`, `rss`, `vms`, `pss`, `threads`, `fds`, `sockets`.
    pub name: String,
    /// `%`, `bytes`, or empty for a count.
    pub unit: String,
    /// First value.
    pub initial: f64,
    /// Last value.
    pub last: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean of the readings.
    pub mean: f64,
    /// Growth per hour; none for CPU, or with too few readings.
    pub growth_per_hour: Option<GrowthFigure>,
}

/// A growth per hour in the unit of its figure.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct GrowthFigure {
    /// Theil–Sen slope.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
    /// Smallest growth that could have been told from none.
    pub detectable: f64,
}

impl From<GrowthEstimate> for GrowthFigure {
    fn from(estimate: GrowthEstimate) -> Self {
        let hour = 3600.0;
        Self {
            value: estimate.per_second * hour,
            low: estimate.low * hour,
            high: estimate.high * hour,
            detectable: estimate.detectable * hour,
        }
    }
}

/// Points in time and values, seconds since sampling began.
pub type Points = Vec<(f64, f64)>;

/// Sums up a track; none without a reading.
pub fn sum_up(
    track: &Track,
    from: Instant,
    warmup: Duration,
    limit: GrowthLimit,
) -> Option<Sampled> {
    let (first_at, first) = *track.readings.first()?;
    let (last_at, last) = *track.readings.last()?;
    let settled = |points: Points| -> Points {
        let start = warmup.as_secs_f64();
        points
            .into_iter()
            .filter(|(t_s, _)| *t_s >= start)
            .collect()
    };
    let length = last_at.duration_since(first_at.max(from + warmup));
    let rss = settled(points(track, from, |r| Some(r.rss as f64)));
    let (rss_growth, memory) = judge_growth(&rss, length, limit);

    let bytes = |name: &str, value: fn(&Reading) -> Option<f64>| {
        let all = points(track, from, value);
        let growth = estimate_growth(&settled(all.clone()), length);
        figure(name, "bytes", &all, growth)
    };
    let count = |name: &str, value: fn(&Reading) -> Option<f64>| {
        let all = points(track, from, value);
        let steady = settled(all.clone());
        let growth = estimate_growth_above(&steady, length, LEAST_SPREAD_OF_COUNTS);
        figure(name, "", &all, growth)
    };
    let figures = [
        figure("cpu", "%", &cpu(track, from), None),
        figure(
            "rss",
            "bytes",
            &points(track, from, |r| Some(r.rss as f64)),
            rss_growth,
        ),
        bytes("pss", |r| r.pss.map(|pss| pss as f64)),
        bytes("vms", |r| Some(r.vms as f64)),
        count("threads", |r| Some(r.threads as f64)),
        count("fds", |r| r.fds.map(|fds| fds as f64)),
        count("sockets", |r| r.sockets.map(|sockets| sockets as f64)),
    ];
    Some(Sampled {
        name: track.name.clone(),
        pid: track.pid,
        readings: track.readings.len(),
        length_s: last_at.duration_since(first_at).as_secs_f64(),
        ended_s: track
            .ended
            .map(|at| at.saturating_duration_since(from).as_secs_f64()),
        user_s: last.user_s - first.user_s,
        system_s: last.system_s - first.system_s,
        tcp: last.tcp,
        figures: figures.into_iter().flatten().collect(),
        memory,
    })
}

/// A quantity over time, seconds since sampling began.
pub fn points(track: &Track, from: Instant, value: impl Fn(&Reading) -> Option<f64>) -> Points {
    track
        .readings
        .iter()
        .filter_map(|(at, reading)| {
            let t_s = at.saturating_duration_since(from).as_secs_f64();
            Some((t_s, value(reading)?))
        })
        .collect()
}

/// CPU between each two readings, percent of one core.
pub fn cpu(track: &Track, from: Instant) -> Points {
    let pairs = track.readings.windows(2).filter_map(|pair| match pair {
        [(earlier_at, earlier), (at, later)] => {
            let seconds = at.duration_since(*earlier_at).as_secs_f64();
            let t_s = at.saturating_duration_since(from).as_secs_f64();
            let used = (later.cpu_s() - earlier.cpu_s()).max(0.0);
            (seconds > 0.0).then(|| (t_s, used * 100.0 / seconds))
        }
        _ => None,
    });
    pairs.collect()
}

fn figure(
    name: &str,
    unit: &str,
    points: &[(f64, f64)],
    growth: Option<GrowthEstimate>,
) -> Option<Figure> {
    let (first, last) = (points.first()?.1, points.last()?.1);
    let values = || points.iter().map(|(_, value)| *value);
    Some(Figure {
        name: name.to_owned(),
        unit: unit.to_owned(),
        initial: first,
        last,
        min: values().fold(f64::INFINITY, f64::min),
        max: values().fold(f64::NEG_INFINITY, f64::max),
        mean: values().sum::<f64>() / points.len() as f64,
        growth_per_hour: growth.map(GrowthFigure::from),
    })
}

/// Writes every reading, one line each.
pub fn write_csv(path: &Path, tracks: &[Track], from: Instant) -> io::Result<()> {
    let mut csv = csv::Writer::from_path(path)?;
    csv.write_record([
        "t_s",
        "name",
        "pid",
        "user_s",
        "system_s",
        "rss_bytes",
        "vms_bytes",
        "pss_bytes",
        "threads",
        "fds",
        "sockets",
        "tcp_listen",
        "tcp_established",
        "tcp_close_wait",
        "tcp_other",
    ])?;
    let text = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    for track in tracks {
        for (at, r) in &track.readings {
            let t_s = at.saturating_duration_since(from).as_secs_f64();
            csv.write_record([
                format!("{t_s:.3}"),
                track.name.clone(),
                track.pid.to_string(),
                format!("{:.2}", r.user_s),
                format!("{:.2}", r.system_s),
                r.rss.to_string(),
                r.vms.to_string(),
                text(r.pss),
                r.threads.to_string(),
                text(r.fds),
                text(r.sockets),
                text(r.tcp.map(|tcp| tcp.listen)),
                text(r.tcp.map(|tcp| tcp.established)),
                text(r.tcp.map(|tcp| tcp.close_wait)),
                text(r.tcp.map(|tcp| tcp.other)),
            ])?;
        }
    }
    csv.flush()
}

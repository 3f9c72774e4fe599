//! Stable, leaking, or not to be told: what a series of memory readings supports, and no more.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{GrowthEstimate, estimate_growth};

/// Bytes in a megabyte.
const MB: f64 = 1e6;
/// Seconds in an hour.
const HOUR_S: f64 = 3600.0;
/// The detectable growth falls with the length of a series to this power (`lint::memory`).
const LENGTH_POWER: f64 = 1.5;

/// A growth of memory that is allowed: bytes per second; above zero and finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GrowthLimit(f64);

impl GrowthLimit {
    /// The documented limit: 10 MB per hour.
    #[must_use]
    pub fn documented() -> Self {
        Self(10.0 * MB / HOUR_S)
    }

    /// Bytes per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0
    }

    /// Bytes per hour.
    #[must_use]
    pub fn per_hour(self) -> f64 {
        self.0 * HOUR_S
    }
}

impl FromStr for GrowthLimit {
    type Err = String;

    /// Reads `10MB/h`, `500kB/m` or `1GB/h`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a growth of memory: write a number above 0 with kB, MB or GB, and /s, /m or /h, such as \"10MB/h\""
            )
        };
        let (size, per) = text.trim().split_once('/').ok_or_else(wrong)?;
        let seconds = match per.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => HOUR_S,
            _ => return Err(wrong()),
        };
        let units = [("kB", 1e3), ("MB", MB), ("GB", 1e9)];
        let (number, unit) = units
            .iter()
            .find_map(|(name, bytes)| Some((size.trim().strip_suffix(name)?, bytes)))
            .ok_or_else(wrong)?;
        let value: f64 = number.trim().parse().map_err(|_| wrong())?;
        if value.is_finite() && value > 0.0 {
            Ok(Self(value * unit / seconds))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for GrowthLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&per_hour(self.0))
    }
}

/// What can be said about a process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leak {
    /// It grows by less than the limit, and a growth at the limit would have been seen.
    Stable,
    /// It grows by more than the limit, and went on doing so.
    Leak,
    /// The readings support neither.
    CannotTell,
}

impl Leak {
    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Leak => "LEAK",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryVerdict {
    /// The verdict.
    pub leak: Leak,
    /// Why, in one sentence.
    pub reason: String,
}

/// Judges readings of (seconds, bytes) over this length.
///
/// A process that has just started fills caches and pools: that is growth, and no leak. So a leak is
/// only called one when the second half of the readings alone still grows by more than the limit.
#[must_use]
pub fn judge_growth(
    samples: &[(f64, f64)],
    length: Duration,
    limit: GrowthLimit,
) -> (Option<GrowthEstimate>, MemoryVerdict) {
    let Some(whole) = estimate_growth(samples, length) else {
        let reason = format!(
            "{} readings are too few: 8 are needed to form an interval, and many more for a small one",
            samples.len()
        );
        return (None, verdict(Leak::CannotTell, reason));
    };
    let second_half = samples.get(samples.len() / 2..).unwrap_or_default();
    let later = estimate_growth(second_half, length / 2);
    (Some(whole), decide(whole, later, length, limit))
}

fn decide(
    whole: GrowthEstimate,
    later: Option<GrowthEstimate>,
    length: Duration,
    limit: GrowthLimit,
) -> MemoryVerdict {
    let allowed = limit.per_second();
    if whole.low > allowed {
        return match later {
            Some(later) if later.per_second > allowed => verdict(
                Leak::Leak,
                format!(
                    "it grows by at least {}, more than {limit}, and by {} in the second half alone",
                    per_hour(whole.low),
                    per_hour(later.per_second)
                ),
            ),
            Some(later) => verdict(
                Leak::CannotTell,
                format!(
                    "it grew by at least {} over all, but by only {} in the second half: growth that fades, like that of a start; leave it out with --warmup, or sample longer",
                    per_hour(whole.low),
                    per_hour(later.per_second)
                ),
            ),
            None => verdict(
                Leak::CannotTell,
                format!(
                    "it grew by at least {}, and there are too few readings to see whether it goes on",
                    per_hour(whole.low)
                ),
            ),
        };
    }
    if whole.detectable > allowed {
        let needed = length.as_secs_f64() * (whole.detectable / allowed).powf(1.0 / LENGTH_POWER);
        return verdict(
            Leak::CannotTell,
            format!(
                "{} is too short for {limit}: growth below {} could not have been told from none; at this spread it takes about {}",
                span(length.as_secs_f64()),
                per_hour(whole.detectable),
                span(needed)
            ),
        );
    }
    if whole.high < allowed {
        return verdict(
            Leak::Stable,
            format!(
                "it grows by at most {}, less than {limit}",
                per_hour(whole.high.max(0.0))
            ),
        );
    }
    verdict(
        Leak::CannotTell,
        format!(
            "its growth lies between {} and {}, on both sides of {limit}",
            per_hour(whole.low),
            per_hour(whole.high)
        ),
    )
}

fn verdict(leak: Leak, reason: String) -> MemoryVerdict {
    MemoryVerdict { leak, reason }
}

fn per_hour(per_second: f64) -> String {
    let mb = per_second * HOUR_S / MB;
    if mb.abs() < 10.0 {
        format!("{mb:.1} MB/h")
    } else {
        format!("{mb:.0} MB/h")
    }
}

fn span(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 2.0 * HOUR_S {
        format!("{:.0} minutes", seconds / 60.0)
    } else {
        format!("{:.1} hours", seconds / HOUR_S)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn series(seconds: usize, rss: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let jitter = |index: usize| ((index * 7919) % 101) as f64 * 400.0;
        (0..seconds)
            .map(|second| (second as f64, rss(second as f64) + jitter(second)))
            .collect()
    }

    fn judged(samples: &[(f64, f64)]) -> MemoryVerdict {
        let length = Duration::from_secs(samples.len() as u64);
        judge_growth(samples, length, GrowthLimit::documented()).1
    }

    #[test]
    fn limits_are_read_with_their_units() {
        let limit: GrowthLimit = "10MB/h".parse().unwrap();
        assert_eq!(limit, GrowthLimit::documented());
        assert_eq!("600 kB/m".parse::<GrowthLimit>().unwrap().per_second(), 1e4);
        assert_eq!(limit.to_string(), "10 MB/h");
        for bad in [
            "", "10", "10MB", "10MB/d", "MB/h", "0MB/h", "-1MB/h", "infMB/h", "10MiB/h",
        ] {
            assert!(bad.parse::<GrowthLimit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn steady_growth_is_a_leak() {
        let found = judged(&series(600, |t| 5e7 + 50_000.0 * t));
        assert_eq!(found.leak, Leak::Leak, "{found:?}");
    }

    #[test]
    fn flat_memory_is_stable_once_the_limit_could_have_been_seen() {
        let found = judged(&series(3600, |_| 5e7));
        assert_eq!(found.leak, Leak::Stable, "{found:?}");
        let short = judged(&series(20, |_| 5e7));
        assert_eq!(short.leak, Leak::CannotTell);
        assert!(short.reason.contains("too short for 10 MB/h"), "{short:?}");
    }

    #[test]
    fn a_start_that_fades_is_no_leak() {
        let found = judged(&series(600, |t| 5e7 + 2e7 * (t / 300.0).min(1.0)));
        assert_eq!(found.leak, Leak::CannotTell, "{found:?}");
        assert!(found.reason.contains("fades"), "{found:?}");
    }

    #[test]
    fn a_handful_of_readings_decides_nothing() {
        assert_eq!(judged(&series(3, |_| 5e7)).leak, Leak::CannotTell);
    }
}

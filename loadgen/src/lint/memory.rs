//! How much memory growth a run of some length can tell from none.
//!
//! The slope of a least-squares line through samples with spread σ over a time T has the standard
//! error σ·√(12/n)/T for n independent samples. Samples of a process's memory are not independent,
//! since an allocator takes and returns memory in steps, so n is T divided by a correlation time.
//! A growth is detectable with 80 % power at the 5 % level when it is (1.96 + 0.84) standard errors.

use weir_lab::sample::growth::{MemoryAssumption, smallest_detectable_growth};

use super::{Facts, Finding, Severity, duration, human};

/// Seconds in an hour.
const HOUR_S: f64 = 3600.0;
/// Bytes in a megabyte.
const MB: f64 = 1e6;

/// The run is too short for the claim on memory growth.
pub(super) fn claim(facts: &Facts) -> Option<Finding> {
    let limit = facts.thresholds.memory_growth_per_hour?;
    let assumption = MemoryAssumption::default();
    let detectable = smallest_detectable_growth(facts.duration_s, assumption) * HOUR_S;
    if detectable < limit {
        return None;
    }
    // detectable ∝ T^(-3/2), so the length that would do follows from this one.
    let needed_s = facts.duration_s * (detectable / limit).powf(2.0 / 3.0);
    Some(
        Finding::new(
            "memory-claim",
            Severity::Warning,
            format!(
                "{} cannot support a claim of less than {} MB/h: the smallest detectable growth is about {} MB/h",
                duration(facts.duration_s), human(limit / MB), human(detectable / MB)
            ),
        )
        .number("detectable_mb_per_hour", detectable / MB)
        .number("threshold_mb_per_hour", limit / MB)
        .number("needed_s", needed_s)
        .detail(format!(
            "Assuming that resident memory spreads by {} MB around its trend and that samples {} apart are independent. After the run, the report states it from the measured spread.",
            human(assumption.spread / MB), duration(assumption.correlation_s)
        ))
        .remedy(format!("At least {} under steady load.", duration((needed_s / 60.0).ceil() * 60.0))),
    )
}

//! Which numbers of a workload are possible.

use std::time::Duration;

use weir_load::units::format_duration;

use super::{Span, Workload, poisson};

/// Most requests in flight of smooth arrivals: client and upstream connections, and what chance adds,
/// stay below the 1,024 connections of a trial's proxy.
const MOST_IN_FLIGHT: f64 = 400.0;

impl Workload {
    /// Whether its numbers are possible.
    ///
    /// # Errors
    ///
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let count = |name: &str, value: u32, most: u32| {
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name}: must be 1 to {most}, not {value}"))
            }
        };
        let time = |name: &str, span: Span, most: u64| {
            if span.0 <= Duration::from_secs(most) {
                Ok(())
            } else {
                Err(format!(
                    "{name}: must be at most {most}s, not {}",
                    format_duration(span.0)
                ))
            }
        };
        let lasts = |span: Span| {
            if span.0 < Duration::from_millis(50) {
                return Err("duration: must be at least 50ms".to_owned());
            }
            time("duration", span, 300)
        };
        match *self {
            Self::Hold {
                connections,
                service_time,
            } => {
                count("connections", connections, 10_000)?;
                time("service_time", service_time, 30)
            }
            Self::Volleys {
                size,
                every,
                count: volleys,
                service_time,
            } => {
                count("size", size, 5_000)?;
                count("count", volleys, 1_000)?;
                time("every", every, 10)?;
                time("service_time", service_time, 10)
            }
            Self::Arrivals {
                rate,
                keys,
                duration,
            } => {
                count("keys", keys, 100)?;
                lasts(duration)?;
                if (0.1..=1_000.0).contains(&rate.get()) {
                    Ok(())
                } else {
                    Err(format!("rate: must be 0.1/s to 1000/s, not {rate}"))
                }
            }
            Self::Poisson {
                rate,
                service_time,
                duration,
                seed,
            } => {
                lasts(duration)?;
                time("service_time", service_time, 10)?;
                let shape = poisson::Shape {
                    rate,
                    service_time: service_time.0,
                    duration: duration.0,
                    seed,
                };
                let in_flight = shape.in_flight();
                if !(1.0..=10_000.0).contains(&rate.get()) {
                    Err(format!("rate: must be 1/s to 10000/s, not {rate}"))
                } else if !(1.0..=MOST_IN_FLIGHT).contains(&in_flight) {
                    Err(format!(
                        "rate × service_time: must be 1 to {MOST_IN_FLIGHT} requests in flight, not {in_flight}"
                    ))
                } else {
                    Ok(())
                }
            }
            Self::Burst { size } => count("size", size, 5_000),
            Self::Unanswered { requests, .. } => count("requests", requests, 1_000),
            Self::Compress {
                body,
                in_flight,
                duration,
                ..
            } => {
                count("body", body, 16 << 20)?;
                count("in_flight", in_flight, 1_000)?;
                lasts(duration)
            }
            Self::Exchange {
                in_flight,
                duration,
                service_time,
            } => {
                count("in_flight", in_flight, 1_000)?;
                time("service_time", service_time, 10)?;
                lasts(duration)
            }
        }
    }
}

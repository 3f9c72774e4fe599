//! The same workload otherwise: slower on purpose, shorter, at other sizes.

use std::time::Duration;

use weir_load::units::{Rate, format_duration};

use super::{Span, Workload};

/// Relative slowdown of a positive control.
const SLOWED: f64 = 0.08;

impl Workload {
    /// The same workload with a known slowdown put in, what that is, and the relative effect that it
    /// has on the cost of a request, if there is such a thing for it.
    #[must_use]
    pub fn slowed(self) -> Option<(Self, String, f64)> {
        match self {
            Self::Compress {
                body,
                in_flight,
                duration,
                accept,
            } => {
                let body = (f64::from(body) * (1.0 + SLOWED)).round() as u32;
                let slowed = Self::Compress {
                    body,
                    in_flight,
                    duration,
                    accept,
                };
                Some((slowed, format!("bodies of {body} bytes"), SLOWED))
            }
            Self::Exchange {
                in_flight,
                duration,
                service_time,
            } => {
                let service_time = Span(service_time.0.mul_f64(1.0 + SLOWED));
                let slowed = Self::Exchange {
                    in_flight,
                    duration,
                    service_time,
                };
                Some((
                    slowed,
                    format!("a service time of {}", format_duration(service_time.0)),
                    SLOWED,
                ))
            }
            _ => None,
        }
    }

    /// The same workload, shorter, for a quick look.
    #[must_use]
    pub fn quick(self) -> Self {
        let short = |span: Span| Span(span.0.min(Duration::from_millis(400)));
        match self {
            Self::Hold {
                connections,
                service_time,
            } => Self::Hold {
                connections,
                service_time: short(service_time),
            },
            Self::Volleys {
                size,
                every,
                count,
                service_time,
            } => Self::Volleys {
                size,
                every: Span(every.0.min(Duration::from_millis(150))),
                count: count.min(5),
                service_time,
            },
            Self::Arrivals {
                rate,
                keys,
                duration,
            } => Self::Arrivals {
                rate,
                keys,
                duration: Span(duration.0.min(Duration::from_millis(1500))),
            },
            Self::Poisson {
                rate,
                service_time,
                duration,
                seed,
            } => Self::Poisson {
                rate,
                service_time,
                duration: Span(duration.0.min(Duration::from_secs(1))),
                seed,
            },
            Self::Compress {
                body,
                in_flight,
                duration,
                accept,
            } => Self::Compress {
                body,
                in_flight,
                duration: short(duration),
                accept,
            },
            Self::Exchange {
                in_flight,
                duration,
                service_time,
            } => Self::Exchange {
                in_flight,
                duration: short(duration),
                service_time,
            },
            other => other,
        }
    }

    /// The same workload at another size, for the evidence: `factor` as in the file, `current` the
    /// amount of the current value. Burst has three sizes of its own.
    #[must_use]
    pub fn sizes(self, factors: &[f64], current: f64) -> Vec<(String, Self)> {
        let times = |factor: f64| format!("{factor} × current");
        match self {
            Self::Hold { service_time, .. } => factors
                .iter()
                .map(|factor| {
                    let connections = (factor * current).round().clamp(1.0, 10_000.0) as u32;
                    let workload = Self::Hold {
                        connections,
                        service_time,
                    };
                    (format!("{connections} connections"), workload)
                })
                .collect(),
            Self::Arrivals { keys, duration, .. } => factors
                .iter()
                .filter_map(|factor| {
                    let rate = Rate::per_second(factor * current).ok()?;
                    Some((
                        times(*factor),
                        Self::Arrivals {
                            rate,
                            keys,
                            duration,
                        },
                    ))
                })
                .collect(),
            Self::Burst { .. } if !factors.is_empty() => {
                let burst = current.round() as u32;
                [burst + 1, burst + 2, (2 * burst).max(1)]
                    .map(|size| (format!("volley of {size}"), Self::Burst { size }))
                    .to_vec()
            }
            Self::Compress {
                in_flight,
                duration,
                accept,
                ..
            } => factors
                .iter()
                .map(|size| {
                    let body = size.round().clamp(1.0, 16e6) as u32;
                    // Larger bodies take longer: fewer of them are in flight.
                    let in_flight = if body > 100_000 {
                        in_flight.min(6)
                    } else {
                        in_flight
                    };
                    (
                        format!("{} KB", body / 1024),
                        Self::Compress {
                            body,
                            in_flight,
                            duration,
                            accept,
                        },
                    )
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

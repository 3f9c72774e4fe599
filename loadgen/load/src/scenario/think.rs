//! Pauses of users, and their distributions.

use std::{f64::consts::SQRT_2, time::Duration};

use serde::Serialize;

use crate::units::as_text;

/// Pause of a user between an answer and its next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ThinkTime {
    /// No pause: each user sends as fast as it is answered.
    None,
    /// Always the same pause.
    Constant(#[serde(serialize_with = "as_text::duration")] Duration),
    /// Uniformly distributed between two bounds.
    Uniform {
        /// Shortest pause.
        #[serde(serialize_with = "as_text::duration")]
        min: Duration,
        /// Longest pause.
        #[serde(serialize_with = "as_text::duration")]
        max: Duration,
    },
    /// Exponentially distributed: mostly short pauses, now and then a long one.
    Exponential {
        /// Mean pause.
        #[serde(serialize_with = "as_text::duration")]
        mean: Duration,
    },
    /// Normally distributed, truncated at 0: what would be negative is drawn again.
    Normal {
        /// Mean before the truncation.
        #[serde(serialize_with = "as_text::duration")]
        mean: Duration,
        /// Standard deviation before the truncation.
        #[serde(serialize_with = "as_text::duration")]
        deviation: Duration,
    },
    /// Log-normally distributed: never negative, with a long tail, as people's pauses are.
    LogNormal {
        /// Mean pause.
        #[serde(serialize_with = "as_text::duration")]
        mean: Duration,
        /// Standard deviation of the pause itself, not of its logarithm.
        #[serde(serialize_with = "as_text::duration")]
        deviation: Duration,
    },
}

impl ThinkTime {
    /// Expected pause.
    pub fn mean(&self) -> Duration {
        match *self {
            Self::None => Duration::ZERO,
            Self::Constant(pause) => pause,
            Self::Uniform { min, max } => (min + max) / 2,
            Self::Exponential { mean } | Self::LogNormal { mean, .. } => mean,
            Self::Normal { mean, deviation } => truncated_mean(mean, deviation),
        }
    }

    /// Whether its bounds are in the right order.
    pub(crate) fn is_in_order(&self) -> bool {
        !matches!(self, Self::Uniform { min, max } if min > max)
    }
}

/// Mean of a normal distribution truncated below at 0: μ + σ·φ(μ/σ)/Φ(μ/σ) (N. L. Johnson,
/// S. Kotz, N. Balakrishnan, "Continuous Univariate Distributions", vol. 1, section 10.1).
fn truncated_mean(mean: Duration, deviation: Duration) -> Duration {
    let (mu, sigma) = (mean.as_secs_f64(), deviation.as_secs_f64());
    if sigma <= 0.0 {
        return mean;
    }
    let z = mu / sigma;
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let below = 0.5 * libm::erfc(-z / SQRT_2);
    Duration::try_from_secs_f64(mu + sigma * density / below).unwrap_or(mean)
}

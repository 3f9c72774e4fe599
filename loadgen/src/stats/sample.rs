//! Mean and spread of a few values.

/// Number, mean and standard deviation of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Standard deviation with n − 1 in the denominator; 0 for a single value.
    pub deviation: f64,
}

impl Moments {
    /// The moments of a sample; none for an empty one, or one with a value that is not finite.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if n > 1 {
            (squares / (n - 1) as f64).sqrt()
        } else {
            0.0
        };
        Some(Self { n, mean, deviation })
    }

    /// Standard error of the mean.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        self.deviation / (self.n as f64).sqrt()
    }

    /// Degrees of freedom of the deviation.
    #[must_use]
    pub fn freedom(&self) -> f64 {
        self.n.saturating_sub(1) as f64
    }
}

/// Natural logarithm of `b / a`; none unless both are positive and finite.
#[must_use]
pub fn log_ratio(a: f64, b: f64) -> Option<f64> {
    (a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite()).then(|| (b / a).ln())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_known_sample() {
        let moments = Moments::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(moments.mean, 5.0);
        assert!((moments.deviation - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Moments::of(&[]), None);
        assert_eq!(Moments::of(&[1.0, f64::NAN]), None);
        assert_eq!(Moments::of(&[3.0]).unwrap().deviation, 0.0);
    }

    #[test]
    fn twice_and_half_are_equally_far() {
        let twice = log_ratio(1.0, 2.0).unwrap();
        assert_eq!(log_ratio(2.0, 1.0).unwrap(), -twice);
        for (a, b) in [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (f64::INFINITY, 1.0)] {
            assert_eq!(log_ratio(a, b), None);
        }
    }
}

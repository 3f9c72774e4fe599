//! Axes: linear, logarithmic, and the percentile axis of latency plots.

/// Largest number of nines that the percentile axis shows.
const MOST_NINES: i32 = 7;

/// A logarithmic axis that spans less than this factor has evenly spaced ticks.
const SHORT_SPAN: f64 = 4.0;

/// How values map to positions along an axis, and what its ticks say.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// Linear between two values; the unit is written on the ticks.
    Linear {
        /// Smallest value.
        from: f64,
        /// Largest value.
        to: f64,
        /// Unit, empty for a count.
        unit: &'static str,
    },
    /// Logarithmic between two positive values.
    Log {
        /// Smallest value, above zero.
        from: f64,
        /// Largest value.
        to: f64,
        /// Unit, empty for a count.
        unit: &'static str,
    },
    /// Quantiles, 0 up to this one (below 1), spread by the number of nines as in HdrHistogram's plots.
    Percentile {
        /// Largest quantile.
        to: f64,
    },
}

impl Axis {
    /// A linear axis from zero that leaves some air above the largest value.
    #[must_use]
    pub fn from_zero(largest: f64, unit: &'static str) -> Self {
        let to = if largest.is_finite() && largest > 0.0 {
            largest * 1.08
        } else {
            1.0
        };
        Self::Linear {
            from: 0.0,
            to,
            unit,
        }
    }

    /// A logarithmic axis around positive values; falls back to one decade when there are none.
    #[must_use]
    pub fn log_around(values: impl Iterator<Item = f64>, unit: &'static str) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if high <= 0.0 {
            return Self::Log {
                from: 0.1,
                to: 1.0,
                unit,
            };
        }
        Self::Log {
            from: low / 1.25,
            to: (high * 1.25).max(low * 2.0),
            unit,
        }
    }

    /// The unit of this axis.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Linear { unit, .. } | Self::Log { unit, .. } => unit,
            Self::Percentile { .. } => "%",
        }
    }

    /// Position of a value: any monotone number, the same one that [`Self::span`] uses.
    #[must_use]
    pub fn position(&self, value: f64) -> f64 {
        match self {
            Self::Linear { .. } => value,
            Self::Log { from, .. } => value.max(*from).log10(),
            Self::Percentile { to } => -(1.0 - value.clamp(0.0, *to)).log10(),
        }
    }

    /// First and last position.
    #[must_use]
    pub fn span(&self) -> (f64, f64) {
        let (from, to) = match self {
            Self::Linear { from, to, .. } | Self::Log { from, to, .. } => (*from, *to),
            Self::Percentile { to } => (0.0, *to),
        };
        let (low, high) = (self.position(from), self.position(to));
        if high > low {
            (low, high)
        } else {
            (low, low + 1.0)
        }
    }

    /// Ticks as position and text, about `wanted` of them.
    #[must_use]
    pub fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        match self {
            Self::Linear { from, to, unit } => {
                let step = nice_step((to - from) / wanted.max(1) as f64);
                let first = (from / step).ceil() as i64;
                let last = (to / step + 1e-9).floor() as i64;
                (first..=last)
                    .map(|index| index as f64 * step)
                    .map(|value| (value, with_unit(value, step, unit)))
                    .collect()
            }
            Self::Log { from, to, unit } => {
                let values = log_ticks(*from, *to, wanted);
                let gaps = values
                    .windows(2)
                    .map(|pair| pair.iter().rev().copied().reduce(|b, a| b - a));
                let step = gaps.flatten().fold(f64::INFINITY, f64::min);
                let step = if step.is_finite() { step } else { *from };
                values
                    .into_iter()
                    .map(|value| (value.log10(), with_unit(value, step.min(value), unit)))
                    .collect()
            }
            Self::Percentile { to } => {
                let nines = self.position(*to);
                let mut ticks = Vec::new();
                // Beside the tick at 50 % there is no room for it on a narrow plot of many nines.
                if wanted > 4 || nines < 2.0 {
                    ticks.push((0.0, "0 %".to_owned()));
                }
                if nines >= 0.5 {
                    ticks.push((0.5_f64.log10().abs(), "50 %".to_owned()));
                }
                for count in 1..=MOST_NINES.min(nines.floor() as i32) {
                    let percent = 100.0 * (1.0 - 10_f64.powi(-count));
                    let decimals = usize::try_from(count - 2).unwrap_or(0);
                    ticks.push((f64::from(count), format!("{percent:.decimals$} %")));
                }
                ticks
            }
        }
    }
}

/// The next of 1, 2, 5 × 10ⁿ at or above `rough`.
fn nice_step(rough: f64) -> f64 {
    if !(rough.is_finite() && rough > 0.0) {
        return 1.0;
    }
    let magnitude = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * magnitude)
}

/// 1-2-5 values of each decade, thinned to whole decades when they would be too many; evenly spaced
/// values when the span is so short that there would be hardly any.
fn log_ticks(from: f64, to: f64, wanted: usize) -> Vec<f64> {
    if to < from * SHORT_SPAN {
        let step = nice_step((to - from) / wanted.max(1) as f64);
        let first = (from / step).ceil() as i64;
        let last = (to / step + 1e-9).floor() as i64;
        return (first..=last).map(|index| index as f64 * step).collect();
    }
    let mut best = Vec::new();
    for factors in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0][..], &[1.0][..]] {
        let mut ticks = Vec::new();
        for decade in (from.log10().floor() as i32)..=(to.log10().ceil() as i32) {
            for factor in factors {
                let value = factor * 10_f64.powi(decade);
                if (from..=to).contains(&value) {
                    ticks.push(value);
                }
            }
        }
        let fits = ticks.len() <= wanted + 2;
        if best.is_empty() || ticks.len() >= 2 {
            best = ticks;
        }
        if fits {
            break;
        }
    }
    best
}

/// A tick's text with the decimals that its step needs; large counts and bytes are shortened.
fn with_unit(value: f64, step: f64, unit: &str) -> String {
    let decimals = if step >= 1.0 {
        0
    } else {
        (-step.log10()).ceil().clamp(0.0, 4.0) as usize
    };
    let number = if value >= 10_000.0 {
        format!("{}k", trim(value / 1000.0))
    } else {
        format!("{value:.decimals$}")
    };
    if unit.is_empty() {
        number
    } else {
        format!("{number} {unit}")
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_carry_the_unit() {
        let axis = Axis::Linear {
            from: 0.0,
            to: 97.0,
            unit: "ms",
        };
        let texts: Vec<_> = axis.ticks(5).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["0 ms", "20 ms", "40 ms", "60 ms", "80 ms"]);
    }

    #[test]
    fn a_log_axis_has_several_ticks_however_short_or_long() {
        for (from, to) in [(10.0, 16.0), (9.8, 10.3), (1.0, 90.0), (0.01, 40_000.0)] {
            let ticks = Axis::Log {
                from,
                to,
                unit: "ms",
            }
            .ticks(6);
            assert!((3..=12).contains(&ticks.len()), "{from} {to}: {ticks:?}");
            let mut texts: Vec<_> = ticks.iter().map(|(_, text)| text).collect();
            texts.dedup();
            assert_eq!(texts.len(), ticks.len(), "{ticks:?}");
        }
    }

    #[test]
    fn percentile_ticks_show_the_nines_that_the_samples_support() {
        let axis = Axis::Percentile { to: 0.9995 };
        let texts: Vec<_> = axis.ticks(9).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn a_log_axis_of_nothing_is_still_an_axis() {
        let axis = Axis::log_around(std::iter::empty(), "ms");
        let (low, high) = axis.span();
        assert!(low < high);
        assert!(!axis.ticks(5).is_empty());
    }
}

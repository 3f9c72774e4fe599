//! The drawing library's view of an axis: a linear span of positions with ticks of our choosing.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// A linear span with given ticks.
pub(super) struct Scale {
    span: (f64, f64),
    ticks: Vec<f64>,
}

impl Scale {
    pub(super) fn new(span: (f64, f64), ticks: &[(f64, String)]) -> Self {
        Self {
            span,
            ticks: ticks.iter().map(|(at, _)| *at).collect(),
        }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (low, high) = self.span;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.span.0..self.span.1
    }
}

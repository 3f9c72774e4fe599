//! A rate that changes over time, piecewise linear, and its integral.

use std::time::Duration;

use crate::{scenario::Stage, units::Rate};

/// A piecewise linear rate over time. Its integral, the *mass*, is the expected number of
/// arrivals so far; placing the k-th arrival where the mass reaches k follows any shape exactly.
#[derive(Debug, Clone)]
pub struct RateProfile {
    pieces: Vec<Piece>,
    total: f64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    start_s: f64,
    length_s: f64,
    from: f64,
    to: f64,
    mass_before: f64,
}

impl Piece {
    fn mass(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.length_s
    }

    fn slope(&self) -> f64 {
        (self.to - self.from) / self.length_s
    }
}

impl RateProfile {
    /// The profile of `stages` after a warm-up at the rate with which the first of them begins.
    pub fn new(warmup: Duration, stages: &[Stage]) -> Self {
        let warmup = stages.first().map(|first| Stage {
            duration: warmup,
            from: first.from,
            to: first.from,
        });
        let mut profile = Self {
            pieces: Vec::with_capacity(stages.len() + 1),
            total: 0.0,
        };
        let mut start_s = 0.0;
        for stage in warmup.iter().chain(stages) {
            let piece = Piece {
                start_s,
                length_s: stage.duration.as_secs_f64(),
                from: stage.from.get(),
                to: stage.to.get(),
                mass_before: profile.total,
            };
            if piece.length_s > 0.0 {
                start_s += piece.length_s;
                profile.total += piece.mass();
                profile.pieces.push(piece);
            }
        }
        profile
    }

    /// Expected number of arrivals in all.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Highest rate.
    pub fn peak(&self) -> f64 {
        self.pieces
            .iter()
            .flat_map(|piece| [piece.from, piece.to])
            .fold(0.0, f64::max)
    }

    /// Seconds from the start at which the mass reaches `mass`; `None` beyond the end.
    pub fn time_of(&self, mass: f64) -> Option<f64> {
        if !(mass >= 0.0 && mass < self.total) {
            return None;
        }
        let index = self
            .pieces
            .partition_point(|piece| piece.mass_before + piece.mass() <= mass);
        let piece = self.pieces.get(index)?;
        let inside = mass - piece.mass_before;
        // Root of from·t + slope/2·t² = inside, in the form that is stable for small slopes.
        let discriminant = piece.from * piece.from + 2.0 * piece.slope() * inside;
        let denominator = piece.from + discriminant.max(0.0).sqrt();
        let offset = if denominator > 0.0 {
            2.0 * inside / denominator
        } else {
            0.0
        };
        Some(piece.start_s + offset.min(piece.length_s))
    }

    /// Rate at an offset; 0 beyond the end.
    pub fn rate_at(&self, offset: Duration) -> Rate {
        let offset = offset.as_secs_f64();
        let rate = self
            .pieces
            .iter()
            .find(|piece| offset < piece.start_s + piece.length_s)
            .map_or(0.0, |piece| {
                piece.from + piece.slope() * (offset - piece.start_s)
            });
        Rate::per_second(rate).unwrap_or_default()
    }
}

//! A rate that changes over time, and its integral.

use std::{f64::consts::TAU, time::Duration};

use crate::{
    scenario::{Open, Stage, Wave},
    units::Rate,
};

/// Newton's method has found the time of an arrival when a step is shorter than this, in seconds.
const CLOSE_ENOUGH: f64 = 1e-10;
/// More steps than Newton's method, safeguarded by bisection, ever takes.
const MOST_STEPS: u32 = 100;

/// A rate over time: linear pieces, and a sine on top if there is a wave. Its integral, the *mass*,
/// is the expected number of arrivals so far; placing the k-th arrival where the mass reaches k
/// follows any shape exactly.
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
    wave: Option<Swell>,
    mass_before: f64,
}

/// A sine, as a piece meets it.
#[derive(Debug, Clone, Copy)]
struct Swell {
    amplitude: f64,
    /// Radians per second.
    omega: f64,
    /// Radians at the start of the piece.
    phase: f64,
}

impl Piece {
    fn slope(&self) -> f64 {
        (self.to - self.from) / self.length_s
    }

    fn rate(&self, t: f64) -> f64 {
        let wave = self.wave.map_or(0.0, |wave| {
            wave.amplitude * (wave.phase + wave.omega * t).sin()
        });
        self.from + self.slope() * t + wave
    }

    /// Integral of the rate over its first `t` seconds.
    fn mass_until(&self, t: f64) -> f64 {
        let wave = self.wave.map_or(0.0, |wave| {
            wave.amplitude / wave.omega * (wave.phase.cos() - (wave.phase + wave.omega * t).cos())
        });
        self.from * t + self.slope() * t * t / 2.0 + wave
    }

    fn mass(&self) -> f64 {
        self.mass_until(self.length_s)
    }

    /// Seconds from its start until its mass is `mass`.
    fn time_of(&self, mass: f64) -> f64 {
        // Root of from·t + slope/2·t² = mass, in the form that is stable for small slopes.
        let discriminant = self.from * self.from + 2.0 * self.slope() * mass;
        let denominator = self.from + discriminant.max(0.0).sqrt();
        let linear = if denominator > 0.0 {
            (2.0 * mass / denominator).min(self.length_s)
        } else {
            0.0
        };
        if self.wave.is_none() {
            return linear;
        }
        // The integral never falls: Newton's method, kept within an interval that holds the root.
        let (mut low, mut high) = (0.0, self.length_s);
        let mut t = linear;
        for _ in 0..MOST_STEPS {
            let missing = mass - self.mass_until(t);
            if missing > 0.0 {
                low = t;
            } else {
                high = t;
            }
            let newton = t + missing / self.rate(t);
            let next = if newton.is_finite() && newton > low && newton < high {
                newton
            } else {
                f64::midpoint(low, high)
            };
            if (next - t).abs() < CLOSE_ENOUGH {
                return next;
            }
            t = next;
        }
        t
    }
}

impl RateProfile {
    /// The profile of an open model after a warm-up at the rate with which it begins.
    pub fn new(warmup: Duration, open: &Open) -> Self {
        let warmup = open.stages.first().map(|first| Stage {
            duration: warmup,
            from: first.from,
            to: first.from,
        });
        let mut profile = Self {
            pieces: Vec::with_capacity(open.stages.len() + 1),
            total: 0.0,
        };
        profile.extend(warmup.as_slice(), None);
        profile.extend(&open.stages, open.wave);
        profile
    }

    /// Adds stages; a wave begins with the first of them.
    fn extend(&mut self, stages: &[Stage], wave: Option<Wave>) {
        let begin = self.end();
        for stage in stages {
            let start_s = self.end();
            let piece = Piece {
                start_s,
                length_s: stage.duration.as_secs_f64(),
                from: stage.from.get(),
                to: stage.to.get(),
                wave: wave.map(|wave| {
                    let omega = TAU / wave.period.as_secs_f64();
                    Swell {
                        amplitude: wave.amplitude.get(),
                        omega,
                        phase: omega * (start_s - begin),
                    }
                }),
                mass_before: self.total,
            };
            if piece.length_s > 0.0 {
                self.total += piece.mass();
                self.pieces.push(piece);
            }
        }
    }

    fn end(&self) -> f64 {
        self.pieces
            .last()
            .map_or(0.0, |piece| piece.start_s + piece.length_s)
    }

    /// Expected number of arrivals in all.
    pub fn total(&self) -> f64 {
        self.total
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
        Some(piece.start_s + piece.time_of(mass - piece.mass_before))
    }

    /// Expected number of arrivals up to `seconds` from the start.
    pub fn mass_at(&self, seconds: f64) -> f64 {
        self.pieces
            .iter()
            .map(|piece| piece.mass_until((seconds - piece.start_s).clamp(0.0, piece.length_s)))
            .sum()
    }

    /// Rate at an offset; 0 beyond the end.
    pub fn rate_at(&self, offset: Duration) -> Rate {
        let offset = offset.as_secs_f64();
        let rate = self
            .pieces
            .iter()
            .find(|piece| offset < piece.start_s + piece.length_s)
            .map_or(0.0, |piece| piece.rate(offset - piece.start_s));
        Rate::per_second(rate.max(0.0)).unwrap_or_default()
    }
}

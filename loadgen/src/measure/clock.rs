//! When the measured part of a run began, on this program's own clock.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use weir_load::progress::{Phase, Progress, Tick, Watched};

/// Passes progress on and notes when the measured part began.
pub(super) struct MeasuredClock {
    inner: Arc<dyn Progress>,
    start: OnceLock<Instant>,
}

impl MeasuredClock {
    pub(super) fn new(inner: Arc<dyn Progress>) -> Self {
        Self {
            inner,
            start: OnceLock::new(),
        }
    }

    /// When the measured part began; none when it never did.
    pub(super) fn measured_start(&self) -> Option<Instant> {
        self.start.get().copied()
    }
}

impl Progress for MeasuredClock {
    fn tick(&self, tick: &Tick) {
        if tick.phase == Phase::Measured {
            self.start.get_or_init(|| {
                let now = Instant::now();
                now.checked_sub(tick.elapsed).unwrap_or(now)
            });
        }
        self.inner.tick(tick);
    }

    fn begins(&self, watched: &[Watched]) {
        self.inner.begins(watched);
    }
}

//! What the live screen knows: everything it was told so far.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use weir_lab::sample::Usage;
use weir_load::progress::{Phase, Tick};

/// Seconds that the charts look back at most.
const LOOK_BACK: usize = 300;

/// What is known about a run before it begins.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Name of the scenario.
    pub scenario: String,
    /// What the load goes to.
    pub subject: String,
    /// The load in a few words.
    pub load: String,
    /// Whether arrivals follow a schedule, independent of answers.
    pub open: bool,
}

/// One second in the charts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Second {
    /// Seconds since the measured part began; negative in warm-up.
    pub(super) t_s: f64,
    pub(super) ok: f64,
    /// None where the schedule was not told.
    pub(super) intended: Option<f64>,
    /// p50, p95 and p99 in milliseconds; none when nothing succeeded.
    pub(super) latency_ms: Option<[f64; 3]>,
}

/// An endpoint over the phase so far, and its last second.
#[derive(Debug, Clone, Default)]
pub(super) struct EndpointLine {
    pub(super) name: String,
    pub(super) per_s: u64,
    pub(super) errors: u64,
    pub(super) limited: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Everything that the screen shows.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) about: About,
    pub(super) seconds: Vec<Second>,
    pub(super) last: Option<(Tick, Instant)>,
    pub(super) requests: u64,
    pub(super) ok: u64,
    pub(super) errors: u64,
    pub(super) limited: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) endpoints: Vec<EndpointLine>,
    pub(super) processes: Vec<Usage>,
    pub(super) stopping: bool,
}

impl State {
    pub(super) fn new(about: About) -> Self {
        Self {
            about,
            ..Self::default()
        }
    }

    /// Takes one second in. Sums start anew when the measured part begins, as those of the run do.
    pub(super) fn take(&mut self, tick: &Tick, now: Instant) {
        let before = self.last.as_ref().map(|(last, _)| last.phase);
        if before == Some(Phase::WarmUp) && tick.phase == Phase::Measured {
            (self.requests, self.ok, self.errors, self.limited) = (0, 0, 0, 0);
            self.failures.clear();
            self.endpoints.clear();
        }
        self.requests += tick.requests;
        self.ok += tick.ok;
        self.errors += tick.errors;
        self.limited += tick.limited;
        for (kind, count) in &tick.failures {
            *self.failures.entry(kind.name().into_owned()).or_default() += count;
        }
        self.endpoints
            .resize_with(tick.endpoints.len(), EndpointLine::default);
        for (line, endpoint) in self.endpoints.iter_mut().zip(&tick.endpoints) {
            line.name.clone_from(&endpoint.name);
            line.per_s = endpoint.counts.requests;
            line.errors += endpoint.counts.errors;
            line.limited += endpoint.counts.limited;
            line.p50_ms = ms(endpoint.p50);
            line.p99_ms = ms(endpoint.p99);
        }
        if self.seconds.len() == LOOK_BACK {
            self.seconds.remove(0);
        }
        let elapsed = tick.elapsed.as_secs_f64();
        self.seconds.push(Second {
            t_s: match tick.phase {
                Phase::WarmUp => elapsed - tick.planned.as_secs_f64(),
                Phase::Measured => elapsed,
            },
            ok: tick.ok as f64,
            intended: (self.about.open && tick.phase == Phase::Measured)
                .then_some(tick.intended as f64),
            latency_ms: (tick.ok > 0).then(|| [ms(tick.p50), ms(tick.p95), ms(tick.p99)]),
        });
        self.last = Some((tick.clone(), now));
    }

    /// Time since the phase began and its planned length.
    pub(super) fn elapsed(&self, now: Instant) -> Option<(Phase, Duration, Duration)> {
        let (tick, at) = self.last.as_ref()?;
        // Between two ticks the clock goes on, but never beyond the next one.
        let since = now
            .saturating_duration_since(*at)
            .min(Duration::from_secs(1));
        let elapsed = (tick.elapsed + since).min(tick.planned);
        Some((tick.phase, elapsed, tick.planned))
    }

    /// Failures, most frequent first.
    pub(super) fn failures(&self) -> Vec<(&str, u64)> {
        let pairs = self.failures.iter();
        let mut list: Vec<_> = pairs.map(|(kind, count)| (kind.as_str(), *count)).collect();
        list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        list
    }
}

pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use weir_load::{progress::EndpointTick, record::FailureKind};

    use super::*;

    fn tick(phase: Phase, second: u64) -> Tick {
        Tick {
            phase,
            elapsed: Duration::from_secs(second),
            planned: Duration::from_secs(10),
            requests: 10,
            ok: 9,
            errors: 1,
            endpoints: vec![EndpointTick::default()],
            failures: vec![(FailureKind::Reset, 1)],
            ..Tick::default()
        }
    }

    #[test]
    fn warm_up_does_not_count_in_the_sums() {
        let mut state = State::new(About::default());
        let now = Instant::now();
        state.take(&tick(Phase::WarmUp, 9), now);
        state.take(&tick(Phase::WarmUp, 10), now);
        assert_eq!((state.requests, state.failures["reset"]), (20, 2));
        for second in 1..=3 {
            state.take(&tick(Phase::Measured, second), now);
        }
        assert_eq!((state.requests, state.ok, state.errors), (30, 27, 3));
        assert_eq!(state.failures(), [("reset", 3)]);
        let times: Vec<_> = state.seconds.iter().map(|second| second.t_s).collect();
        assert_eq!(times, [-1.0, 0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn the_clock_never_runs_ahead_of_the_next_tick_or_the_end() {
        let mut state = State::new(About::default());
        let now = Instant::now();
        state.take(&tick(Phase::Measured, 4), now);
        let at = |later: u64| {
            let elapsed = state.elapsed(now + Duration::from_millis(later));
            elapsed.map(|(_, elapsed, _)| elapsed)
        };
        assert_eq!(at(250), Some(Duration::from_millis(4250)));
        assert_eq!(at(60_000), Some(Duration::from_secs(5)));
    }

    #[test]
    fn the_charts_look_back_only_so_far() {
        let mut state = State::new(About::default());
        for second in 0..LOOK_BACK as u64 + 50 {
            state.take(&tick(Phase::Measured, second), Instant::now());
        }
        assert_eq!(state.seconds.len(), LOOK_BACK);
    }
}

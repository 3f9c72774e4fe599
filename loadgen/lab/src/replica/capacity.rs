//! Declared capacity: k worker slots, a service-time distribution, one bounded queue in front.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// What a stand-in can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// Requests worked on at the same time; at least 1.
    pub slots: u32,
    /// How long a request occupies its slot.
    pub service: Distribution,
    /// Requests that may wait for a slot; more are answered with 503.
    pub queue: usize,
    /// What a slot does meanwhile.
    pub work: Work,
    /// Seed of the service times.
    pub seed: u64,
}

/// Distribution of the service time; each has the mean that it is declared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Constant(Duration),
    /// Log-normal with σ = 0.5: a tail like that of many real services.
    LogNormal(Duration),
    /// Nine of ten take half the mean, one takes five and a half times the mean.
    Bimodal(Duration),
}

/// What a slot does while it is occupied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It waits, like a service that waits for a database: capacity does not depend on cores.
    Wait,
    /// It burns processor time.
    Cpu,
}

/// σ of the log-normal distribution.
const SIGMA: f64 = 0.5;

impl Distribution {
    /// The declared mean.
    pub fn mean(self) -> Duration {
        match self {
            Self::Constant(mean) | Self::LogNormal(mean) | Self::Bimodal(mean) => mean,
        }
    }

    fn sample(self, random: &mut SmallRng) -> Duration {
        match self {
            Self::Constant(time) => time,
            Self::LogNormal(mean) => {
                // exp(μ + σ²/2) is the mean: dividing by exp(σ²/2) makes it the declared one.
                let factor = (SIGMA * normal(random) - SIGMA * SIGMA / 2.0).exp();
                mean.mul_f64(factor)
            }
            Self::Bimodal(mean) if random.random_bool(0.1) => mean.mul_f64(5.5),
            Self::Bimodal(mean) => mean.mul_f64(0.5),
        }
    }
}

/// A standard normal variate, by the method of Box and Muller.
fn normal(random: &mut SmallRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

/// A place in the schedule of the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) start: Instant,
    pub(super) finish: Instant,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Assigns slots first come, first served, by arithmetic: when a request arrives, the slot that
/// frees first is known, and so are its start and finish. Late wake-ups of the process therefore
/// do not eat into the capacity.
#[derive(Debug)]
pub(super) struct Slots {
    capacity: Capacity,
    random: SmallRng,
    free_at: BinaryHeap<Reverse<Instant>>,
    /// Starts that lie ahead, in order.
    waiting: VecDeque<Instant>,
}

impl Slots {
    pub(super) fn new(capacity: Capacity, now: Instant) -> Self {
        Self {
            random: SmallRng::seed_from_u64(capacity.seed),
            free_at: (0..capacity.slots.max(1)).map(|_| Reverse(now)).collect(),
            waiting: VecDeque::new(),
            capacity,
        }
    }

    pub(super) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// Requests that wait for a slot.
    pub(super) fn queued(&mut self, now: Instant) -> usize {
        while self.waiting.front().is_some_and(|start| *start <= now) {
            self.waiting.pop_front();
        }
        self.waiting.len()
    }

    /// A service time.
    pub(super) fn sample(&mut self) -> Duration {
        self.capacity.service.sample(&mut self.random)
    }

    /// Takes a request in, or refuses it.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Turn, Full> {
        let first = self.free_at.peek().map_or(now, |Reverse(at)| *at);
        let start = first.max(now);
        if start > now {
            if self.queued(now) >= self.capacity.queue {
                return Err(Full);
            }
            self.waiting.push_back(start);
        }
        let finish = start + self.sample();
        self.free_at.pop();
        self.free_at.push(Reverse(finish));
        Ok(Turn { start, finish })
    }
}

/// Burns processor time of the calling thread.
pub(super) fn burn(time: Duration) {
    let used =
        || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from);
    let until = used().saturating_add(time);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    while used() < until {
        for _ in 0..1_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        std::hint::black_box(state);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn slots(slots: u32, service: Distribution, queue: usize) -> (Slots, Instant) {
        let now = Instant::now();
        let capacity = Capacity {
            slots,
            service,
            queue,
            work: Work::Wait,
            seed: 1,
        };
        (Slots::new(capacity, now), now)
    }

    #[test]
    fn a_burst_is_served_k_at_a_time_in_order() {
        let (mut slots, now) = slots(2, Distribution::Constant(MS * 10), 100);
        let finishes: Vec<_> = (0..5)
            .map(|_| (slots.admit(now).unwrap().finish - now).as_millis())
            .collect();
        assert_eq!(finishes, [10, 10, 20, 20, 30]);
        assert_eq!(slots.queued(now), 3);
        assert_eq!(slots.queued(now + MS * 10), 1);
        assert_eq!(slots.queued(now + MS * 20), 0);
    }

    #[test]
    fn a_full_queue_refuses_and_forgets() {
        let (mut slots, now) = slots(1, Distribution::Constant(MS * 10), 2);
        let admitted = (0..9).filter(|_| slots.admit(now).is_ok()).count();
        assert_eq!(admitted, 3);
        assert!(slots.admit(now + MS * 10).is_ok());
    }

    #[test]
    fn saturated_throughput_is_slots_over_service_time() {
        let (mut slots, now) = slots(4, Distribution::Constant(MS * 10), usize::MAX);
        let last = (0..4000).map(|_| slots.admit(now).unwrap().finish).max();
        assert_eq!(last.unwrap() - now, Duration::from_secs(10));
    }

    #[test]
    fn every_distribution_keeps_its_mean() {
        let mut random = SmallRng::seed_from_u64(5);
        for distribution in [
            Distribution::Constant(MS * 10),
            Distribution::LogNormal(MS * 10),
            Distribution::Bimodal(MS * 10),
        ] {
            let sum: Duration = (0..200_000).map(|_| distribution.sample(&mut random)).sum();
            let mean = sum.as_secs_f64() / 200_000.0;
            // The widest of them has a standard error of 0.34 % here.
            assert!(
                (mean / 0.010 - 1.0).abs() < 0.015,
                "{distribution:?} {mean}"
            );
        }
    }

    proptest! {
        #[test]
        fn starts_keep_the_order_of_arrival_and_never_exceed_the_slots(
            k in 1_u32..6, gaps in prop::collection::vec(0_u64..30, 1..100)
        ) {
            let (mut slots, mut now) = slots(k, Distribution::LogNormal(MS * 20), usize::MAX);
            let mut turns = Vec::new();
            for gap in gaps {
                now += MS * gap as u32;
                turns.push(slots.admit(now).unwrap());
            }
            prop_assert!(turns.windows(2).all(|pair| pair[0].start <= pair[1].start));
            for turn in &turns {
                let busy = turns.iter().filter(|other| {
                    other.start <= turn.start && turn.start < other.finish
                });
                prop_assert!(busy.count() <= k as usize);
            }
        }
    }
}
